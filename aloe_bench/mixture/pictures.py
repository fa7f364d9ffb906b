"""Each picture of a pool decoded once: its size and hashes, or what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from aloe_bench.errors import DataError
from aloe_bench.images import FileImage
from aloe_bench.mixture.pool import Pool, kept, text_sha256, write_table
from aloe_bench.prints import file_print
from aloe_bench.workers import Spread, here

AT_ONCE = 500
FOLDER = "pictures"
Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class PictureJob:
    """Some pictures of a pool, and the file that their facts go to."""

    pool: Path
    paths: tuple[str, ...]
    target: Path


def look_at_pictures(pool: Pool, spread: Spread = here, report: Report = lambda done, total: None) -> int:
    """Decode every picture that a sample still shows, unless an earlier session has; return how many there are."""
    import pyarrow as pa
    import pyarrow.compute as pc

    shown = kept(pool.table("read", ["pictures", "reason"]))["pictures"].combine_chunks()
    paths = pc.unique(shown.flatten() if len(shown) else pa.array([], pa.string())).to_pylist()
    paths.sort()
    jobs = []
    for start in range(0, len(paths), AT_ONCE):
        some = tuple(paths[start : start + AT_ONCE])
        known = text_sha256([(path, *_glance(pool.folder / path)) for path in some])
        jobs.append(PictureJob(pool.folder, some, pool.folder / FOLDER / f"{known[:16]}.parquet"))
    wanted = {job.target for job in jobs}
    for old in (pool.folder / FOLDER).glob("*.parquet"):
        if old not in wanted:
            old.unlink()
    waiting = [job for job in jobs if not job.target.is_file()]
    done = len(paths) - sum(len(job.paths) for job in waiting)
    report(done, len(paths))
    for n in spread(look, waiting):
        done += n
        report(done, len(paths))
    return len(paths)


def _glance(path: Path) -> tuple[int, int, int]:
    """Return size and times of a file, by which a changed one is known; zeros if there is none.

    A picture that was inside a table is named by its content, whenever it was written.
    """
    if path.parent.name.endswith(".inside"):
        return 0, 0, 0
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def look(job: PictureJob) -> int:
    """Write the facts of the pictures of `job`; return how many there were."""
    import pyarrow as pa

    schema = pa.schema(
        [
            ("path", pa.string()), ("sha256", pa.string()), ("width", pa.int32()), ("height", pa.int32()),
            ("phash", pa.uint64()), ("pixels", pa.string()), ("fault", pa.string()),
        ]
    )  # fmt: skip
    found: list[dict[str, Any]] = []
    for path in job.paths:
        try:
            seen = file_print(job.pool / path)
        except DataError as error:
            found.append({"path": path, "fault": str(error).replace(f"{job.pool}/", "")})
            continue
        width, height = seen.size
        found.append(
            {
                "path": path, "sha256": seen.sha256, "width": width, "height": height, "phash": seen.phash,
                "pixels": seen.pixels,
            }
        )  # fmt: skip
    write_table(job.target, pa.Table.from_pylist(found, schema=schema))
    return len(found)


def picture_table(pool: Path) -> Any:
    """Return the facts of all pictures, one row each, as a pyarrow table in the order of their paths."""
    files = tuple(sorted((pool / FOLDER).glob("*.parquet")))
    return _joined(files)


@lru_cache(maxsize=1)
def _joined(files: tuple[Path, ...]) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    return pa.concat_tables([parquet.read_table(file) for file in files]).sort_by("path") if files else None


class LookedAt:
    """The pictures of some samples of a pool by path, as the filters ask for them."""

    def __init__(self, pool: Path, paths: Iterable[str]) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        wanted: Sequence[str] = sorted(set(paths))
        self._found: dict[str, FileImage | str] = {}
        table = picture_table(pool)
        if not wanted or table is None:
            return
        places = pc.index_in(pa.array(wanted), value_set=table["path"].combine_chunks())
        for path, row in zip(wanted, table.take(places).to_pylist(), strict=True):
            size = (row["width"], row["height"])
            self._found[path] = row["fault"] or FileImage(pool / path, row["sha256"], size)

    def __getitem__(self, path: str) -> FileImage | str:
        return self._found.get(path, f"{path}: not looked at; run `aloe-bench data clean` again.")
