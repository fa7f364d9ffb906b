"""The cells of a run as columns of numbers that pair up with those of another run on the same items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
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
    """Return the columns of the cells of a run; cells that are not measured are absent.

    Where items weigh differently, their values are scores times what they weigh, of which the mean is 1.
    """
    if header_facts(header, records).measure:
        arms = table_arms(blocks(records)).items()
        every = {name: [(arm.right[arm.there], b.clusters[arm.there]) for b, arm in of] for name, of in arms}
    else:
        every = {}
        for name, units in cell_units(header, records, rules).items():
            if all(units.strata):
                every[name] = [(_weighed(stratum), np.array([r.cluster for r, _ in stratum], dtype=str))
                               for stratum in units.strata]  # fmt: skip
    return {name: sets for name, sets in every.items() if not any(np.isnan(values).any() for values, _ in sets)}


def _weighed(stratum: Sequence[tuple[Record, Fraction]]) -> NDArray[np.float64]:
    """Return the scores times their weights, nan where there is none; the mean weight is 1."""
    scores = np.array([np.nan if record.score.value is None else record.score.value for record, _ in stratum])
    weights = np.array([float(weight) for _, weight in stratum])
    return scores if np.ptp(weights) == 0 else scores * weights / weights.mean()


def shown_cells(places: Sequence[Place], cells: Sequence[str], is_attacked: bool) -> list[str]:
    """Return the cells that have a column on a page: all of an attacked table, those of its places, or the first."""
    if is_attacked:
        return list(cells)
    named = dict.fromkeys(column.cell for place in places for column in place.columns)
    return [cell for cell in named if cell in cells] or list(cells[:MAX_COLUMNS])
