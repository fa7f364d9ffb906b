"""Answers drawn at random for the experts, and the record of the draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from aloe_bench.checked import read_checked
from aloe_bench.errors import UsageError
from aloe_bench.files import write_json
from aloe_bench.seeds import rng_for

FILE = "sample.json"


@dataclass(frozen=True, slots=True)
class LabelDraw:
    """A simple random sample, without replacement, of the `n_answers` answered open questions of a run."""

    seed: int
    n_answers: int
    items: tuple[str, ...]


def draw(ids: Sequence[str], size: int, seed: int) -> LabelDraw:
    """Return `size` of `ids` drawn at random, whatever their order; a larger draw holds a smaller one."""
    if not 1 <= size <= len(ids):
        raise UsageError(f"--sample {size}: the run has {len(ids)} answered open questions; expected 1 to as many.")
    ordered = sorted(ids, key=lambda name: (rng_for(seed, "answers to label", name).random(), name))
    return LabelDraw(seed, len(ids), tuple(sorted(ordered[:size])))


def read_draw(folder: Path) -> LabelDraw | None:
    """Return the draw recorded in a run's folder, None if there is none; raises DataError for a broken record."""
    return read_checked(folder / FILE, LabelDraw, "restore a copy")


def recorded_draw(folder: Path, ids: Sequence[str], size: int | None, seed: int | None) -> LabelDraw | None:
    """Return the draw of a run, made now and recorded if `size` is given and there is none yet.

    Raises UsageError where another one is recorded: a second draw would not be the first one's random part.
    """
    known = read_draw(folder)
    if size is None:
        return known
    wanted = draw(ids, size, (known.seed if known else 0) if seed is None else seed)
    if known is not None and known != wanted:
        raise UsageError(
            f"--sample {size}: {folder / FILE} records a draw of {len(known.items)} with seed {known.seed}. Leave "
            "--sample out to continue with it, or move the file and annotations.sqlite away to begin another study."
        )
    if known is None:
        write_json(folder / FILE, asdict(wanted))
    return wanted
