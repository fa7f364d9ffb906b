"""What a pool holds of each combination of two tags: Figure 1 of the paper, in samples and in loss tokens.

coverage-<rows>-<columns>.csv    one line a cell: samples, loss tokens, and whether it is filled, empty or senseless
coverage-<rows>-<columns>.md     the samples as a table
coverage-<rows>-<columns>.png    the same as a heatmap, where matplotlib is installed
"""

from __future__ import annotations

import json
import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from aloe_bench.errors import UsageError, did_you_mean
from aloe_bench.files import write_atomic
from aloe_bench.mixture.leakage import csv_text
from aloe_bench.mixture.pool import Pool, kept

TAXONOMY = Path(__file__).parent / "taxonomy.toml"
UNTAGGED = "(untagged)"


@dataclass(frozen=True, slots=True)
class Coverage:
    """Counts by (row, column); a cell is "filled", "empty", "no sense", or "no sense, filled"."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    samples: Mapping[tuple[str, str], int]
    loss_tokens: Mapping[tuple[str, str], int] | None
    senseless: frozenset[tuple[str, str]]

    def state(self, row: str, column: str) -> str:
        """Return what a cell is."""
        n = self.samples.get((row, column), 0)
        if (row, column) in self.senseless:
            return "no sense, filled" if n else "no sense"
        return "filled" if n else "empty"


@lru_cache(maxsize=1)
def taxonomy() -> dict[str, Any]:
    """Return the tags of Table 5 as the data file has them."""
    return tomllib.loads(TAXONOMY.read_text(encoding="utf-8"))


@lru_cache(maxsize=8)
def _known(dimension: str) -> dict[str, str]:
    """Return the tags of a dimension by what they may be written as, without case."""
    for table in taxonomy().values():
        if table.get("name") == dimension:
            own = {str(tag).casefold(): str(tag) for tag in table["tags"]}
            return own | {str(a).casefold(): str(tag) for a, tag in table.get("aliases", {}).items()}
    return {}


def tag_of(dimension: str, text: str) -> str:
    """Return a tag as Table 5 writes it; a word that is not one of its tags stays as it is."""
    return _known(dimension).get(text.strip().casefold(), text.strip())


def coverage(pool: Pool, rows: str, columns: str) -> Coverage:
    """Return how the kept samples of `pool` spread over two tags. Raises UsageError for a tag that no sample has."""
    table = kept(pool.table())
    tags = [json.loads(text) for text in table["tags"].to_pylist()]
    there = sorted({name for each in tags for name in each})
    for name in (rows, columns):
        if name not in there:
            raise UsageError(
                f"no kept sample has a tag {name!r}.{did_you_mean(name, there)} There is {', '.join(there) or 'none'}."
            )
    counted = "loss_tokens" in table.schema.names and not table["loss_tokens"].null_count
    times = table["weight"].to_pylist() if "weight" in table.schema.names else [1] * len(table)
    losses = table["loss_tokens"].to_pylist() if counted else [0] * len(table)
    samples: dict[tuple[str, str], int] = defaultdict(int)
    tokens: dict[tuple[str, str], int] = defaultdict(int)
    for each, n, loss in zip(tags, times, losses, strict=True):
        cell = tag_of(rows, each.get(rows, UNTAGGED)), tag_of(columns, each.get(columns, UNTAGGED))
        samples[cell] += n
        tokens[cell] += n * loss
    senseless = frozenset((a, b) for a, b in taxonomy()["not_together"].get(f"{rows}_{columns}", ()))
    return Coverage(
        _axis(rows, [a for a, _ in samples]), _axis(columns, [b for _, b in samples]), dict(samples),
        dict(tokens) if counted else None, senseless,
    )  # fmt: skip


def _axis(dimension: str, found: Sequence[str]) -> tuple[str, ...]:
    """Return the tags of a dimension in the taxonomy's order, if any was found, and the others behind them."""
    known = list(dict.fromkeys(_known(dimension).values())) if set(found) & set(_known(dimension).values()) else []
    return (*known, *sorted(set(found) - set(known)))


def write_coverage(folder: Path, name: str, found: Coverage) -> list[Path]:
    """Write the table of cells, the page and, where matplotlib is installed, the heatmap; return what was written."""
    lines: list[Sequence[Any]] = [("row", "column", "samples", "loss_tokens", "state")]
    for row in found.rows:
        for column in found.columns:
            loss = "" if found.loss_tokens is None else found.loss_tokens.get((row, column), 0)
            lines.append((row, column, found.samples.get((row, column), 0), loss, found.state(row, column)))
    csv_path, page = folder / f"coverage-{name}.csv", folder / f"coverage-{name}.md"
    write_atomic(csv_path, csv_text(lines))
    write_atomic(page, as_markdown(found))
    heatmap = _heatmap(folder / f"coverage-{name}.png", found)
    return [csv_path, page, *([heatmap] if heatmap else [])]


def as_markdown(found: Coverage) -> str:
    """Return the samples of each cell as a table; rows and columns without any are named below it."""

    def cell(row: str, column: str) -> str:
        state, n = found.state(row, column), found.samples.get((row, column), 0)
        return {"no sense": "-", "no sense, filled": f"{n} !"}.get(state, str(n))

    rows = [row for row in found.rows if any(found.samples.get((row, c), 0) for c in found.columns)]
    columns = [column for column in found.columns if any(found.samples.get((r, column), 0) for r in found.rows)]
    shown = [[_escaped(row), *(cell(row, column) for column in columns)] for row in rows]
    head = ["", *map(_escaped, columns)]
    lines = ["| " + " | ".join(line) + " |" for line in (head, ["---", *["---:"] * len(columns)], *shown)]
    empty = [*(r for r in found.rows if r not in rows), *(c for c in found.columns if c not in columns)]
    marks = "0: empty. -: makes no sense. !: makes no sense, and is filled."
    return "\n".join(lines) + f"\n\n{marks}\nNo sample at all: {', '.join(empty) or 'none'}.\n"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def _heatmap(path: Path, found: Coverage) -> Path | None:
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        return None
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    counts = np.array([[found.samples.get((r, c), 0) for c in found.columns] for r in found.rows], float)
    figure = Figure(figsize=(2 + 0.5 * len(found.columns), 1.5 + 0.35 * len(found.rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.imshow(np.log10(counts + 1), cmap="Blues", aspect="auto")
    axes.set_xticks(range(len(found.columns)), found.columns, rotation=60, ha="right")
    axes.set_yticks(range(len(found.rows)), found.rows)
    for i, row in enumerate(found.rows):
        for j, column in enumerate(found.columns):
            state = found.state(row, column)
            shown = {"no sense": "x", "empty": "0"}.get(state, f"{int(counts[i, j]):,}")
            dark = counts[i, j] > 0 and np.log10(counts[i, j] + 1) > np.log10(counts.max() + 1) / 2
            axes.text(j, i, shown, ha="center", va="center", fontsize=6, color="white" if dark else "black")
    figure.savefig(path, dpi=150, metadata={"Software": None})
    return path
