"""The cells of a run as columns of numbers that pair up with those of another run on the same items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aloe_bench.boards.shapes import MAX_COLUMNS
from aloe_bench.core import Record
from aloe_bench.evaluation.cells import NO_RULES, Rule, cell_units, header_facts
from aloe_bench.facts import Place
from aloe_bench.heart.measure.answers import blocks
from aloe_bench.heart.measure.effects import table_arms

# Values and clusters of each data set; the cell is the mean over data sets of their means.
CellColumn = list[tuple[NDArray[np.float64], NDArray[np.str_]]]


def columns_of(
    header: Mapping[str, Any], records: Sequence[Record], rules: Mapping[str, Rule] = NO_RULES
) -> dict[str, CellColumn]:
    """Return the columns of the cells of a run; cells that are not measured or weigh their items are absent."""
    if header_facts(header, records).measure:
        arms = table_arms(blocks(records)).items()
        every = {name: [(arm.right[arm.there], b.clusters[arm.there]) for b, arm in of] for name, of in arms}
    else:
        every = {}
        for name, units in cell_units(header, records, rules).items():
            weights = {weight for stratum in units.strata for _, weight in stratum}
            if len(weights) == 1:
                every[name] = [
                    (
                        np.array([np.nan if r.score.value is None else r.score.value for r, _ in stratum]),
                        np.array([r.cluster for r, _ in stratum], dtype=str),
                    )
                    for stratum in units.strata
                ]
    return {name: sets for name, sets in every.items() if not any(np.isnan(values).any() for values, _ in sets)}


def shown_cells(places: Sequence[Place], cells: Sequence[str], is_attacked: bool) -> list[str]:
    """Return the cells that have a column on a page: all of an attacked table, those of its places, or the first."""
    if is_attacked:
        return list(cells)
    named = dict.fromkeys(column.cell for place in places for column in place.columns)
    return [cell for cell in named if cell in cells] or list(cells[:MAX_COLUMNS])
