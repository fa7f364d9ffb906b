"""Pictures that rows of a source name and that are not there, and pictures beside them that no row names."""

from __future__ import annotations

from pathlib import Path

from aloe_bench.errors import DataError
from aloe_bench.evaluation.leftover import PICTURE, Unmatched, keep_left_over, sentences
from aloe_bench.images import PICTURE_ENDINGS
from aloe_bench.joins import first_ten, join
from aloe_bench.mixture.pool import Pool, kept

LOST = "named by rows and not there: their samples are out"
SPARE = "named by no row that is selected: not shown"


def unmatched_pictures(pool: Pool) -> list[str]:
    """Return a sentence on each kind of picture without a partner, of all sources; POOL/dropped.csv names every one.

    Pictures whose bytes were inside a table are there. Raises DataError if a source names pictures and has none of
    them.
    """
    table = kept(pool.table("read", ["source", "pictures", "reason"]))
    named: dict[str, set[str]] = {}
    for source, paths in zip(table["source"].to_pylist(), table["pictures"].to_pylist(), strict=True):
        named.setdefault(source, set()).update(paths)
    entries: list[Unmatched] = []
    for source, paths in named.items():
        outside = {path for path in paths if not Path(path).parent.name.endswith(".inside")}
        entries += _of_source(pool, source, outside)
    keep_left_over(pool.folder, (PICTURE,), entries)
    return sentences(sorted(entries))


def _of_source(pool: Pool, source: str, named: set[str]) -> list[Unmatched]:
    there = {
        f"{folder}/{path.name}"
        for folder in {str(Path(path).parent) for path in named}
        if (pool.folder / folder).is_dir()
        for path in (pool.folder / folder).iterdir()
        if path.suffix.lower() in PICTURE_ENDINGS or f"{folder}/{path.name}" in named
    }
    if named and not named & there:
        raise DataError(
            f"source {source}: none of the {len(named)} pictures that its rows name is there, "
            f"{first_ten(sorted(named))}. Give their folder in the mapping, or --without-pictures."
        )
    # Names in another case or composition were found when the rows were read.
    joined = join(sorted(named - there), sorted(there - named))
    return [
        *(Unmatched(PICTURE, path, LOST) for path in sorted(named - there)),
        *(Unmatched(PICTURE, path, SPARE) for path in joined.right_only),
    ]
