"""The first step: rows of all sources to conversations, each with a place in the pool's table.

One job a file, so that files are read side by side; what a killed run had finished is not read again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aloe_bench.errors import DataError, RunMismatchError
from aloe_bench.files import safe_name, write_json
from aloe_bench.joins import FIRST
from aloe_bench.mixture.convert import IMAGES, Converter
from aloe_bench.mixture.pool import POOL_FILE, Pool, dropped, file_sha256, text_sha256, write_table
from aloe_bench.mixture.readers import read_rows, source_files
from aloe_bench.mixture.source import SourceMapping
from aloe_bench.training.data.schema import to_json
from aloe_bench.workers import Spread, here

SHARD = 10_000
STAMPS = "sources.json"
Report = Callable[[int, int], None]


def draw_of(name: str) -> int:
    """Return 64 bits drawn from an id: what all random choices of samples start from."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def ranks(draws: Any, seed: int, purpose: str) -> Any:
    """Return one uint64 a draw, in an order that depends on the ids, `seed` and `purpose` alone (SplitMix64)."""
    import numpy as np

    with np.errstate(over="ignore"):
        z = np.asarray(draws, np.uint64) ^ np.uint64(draw_of(f"{seed}\x1f{purpose}"))
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


@dataclass(frozen=True, slots=True)
class ReadJob:
    """One file of a source, and where its samples go."""

    mapping: SourceMapping
    root: Path
    file: Path
    number: int
    pool: Path

    @property
    def stem(self) -> Path:
        return self.pool / "rows" / self.mapping.name / f"{self.number:03}"

    @property
    def table(self) -> Path:
        return self.stem.with_name(f"{self.stem.name}.parquet")


def read_sources(
    pool: Pool,
    sources: Sequence[tuple[SourceMapping, Path]],
    seed: int,
    spread: Spread = here,
    report: Report = lambda done, total: None,
) -> dict[str, Any]:
    """Return the report of the step: all rows of `sources` are in the pool, malformed ones and repeats dropped.

    Raises RunMismatchError if the pool was made of other sources, naming the first difference.
    """
    jobs = [
        ReadJob(mapping, root, file, number, pool.folder)
        for mapping, root in sources
        for number, file in enumerate(source_files(root, mapping.files))
    ]
    hashes, stamps = _known_files(pool, [job.file for job in jobs], spread)
    asked: dict[str, Any] = {
        "schema": 2,
        "seed": seed,
        "sources": {
            mapping.name: {
                "mapping": _plain(mapping),
                "files": {j.file.relative_to(root).as_posix(): hashes[_path(j.file)] for j in _of(jobs, mapping)},
            }
            for mapping, root in sources
        },
    }
    if len(asked["sources"]) < len(sources):
        raise DataError("two sources have one name; give each mapping its own.")
    _claim(pool, asked)
    write_json(pool.folder / STAMPS, stamps)
    pool.sweep()
    for mapping, root in sources:
        _link(pool.folder / IMAGES / mapping.name, root)
    return pool.step("read", {"sources": text_sha256(asked)}, lambda _: _read(jobs, sources, seed, spread, report))


def _known_files(pool: Pool, files: Sequence[Path], spread: Spread) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """Return the SHA-256 of each file, and with the file's size and times what spares the next session reading it.

    A file is read where its size, time of writing or time of change (which no program can set) is another than it was.
    """
    try:
        before = json.loads((pool.folder / STAMPS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = {}
    stamps: dict[str, dict[str, Any]] = {}
    for file in files:
        found = file.stat()
        stamps[_path(file)] = {"bytes": found.st_size, "times": [found.st_mtime_ns, found.st_ctime_ns]}
    other = [path for path, stamp in stamps.items() if {**before.get(path, {}), **stamp} != before.get(path)]
    read = dict(zip(other, spread(file_sha256, [Path(path) for path in other]), strict=True))
    hashes = {path: read[path] if path in read else str(before[path]["sha256"]) for path in stamps}
    return hashes, {path: {**stamp, "sha256": hashes[path]} for path, stamp in stamps.items()}


def _path(file: Path) -> str:
    return str(file.resolve())


def _read(
    jobs: Sequence[ReadJob], sources: Sequence[tuple[SourceMapping, Path]], seed: int, spread: Spread, report: Report
) -> tuple[Any, dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as parquet

    waiting = [job for job in jobs if not job.table.is_file()]
    report(len(jobs) - len(waiting), len(jobs))
    for done, _ in enumerate(spread(read_file, waiting), len(jobs) - len(waiting) + 1):
        report(done, len(jobs))
    table = pa.concat_tables([parquet.read_table(job.table) for job in jobs])
    table = _without_repeats(table)
    respelled = table.filter(pc.is_null(table["reason"]))["detail"].drop_null().to_pylist()
    for mapping, _ in sources:
        if mapping.sample is not None:
            table = _sampled(table, mapping, seed)
    return table, {"respelled": {"samples": len(respelled), "first": respelled[:FIRST]}} if respelled else {}


def read_file(job: ReadJob) -> int:
    """Write the samples of one file into the pool; return how many rows it had."""
    import pyarrow as pa

    job.stem.parent.mkdir(parents=True, exist_ok=True)
    converter = Converter(job.mapping, job.root, _keeper(job))
    file = job.file.relative_to(job.root).as_posix()
    found: list[dict[str, Any]] = []
    lines: list[bytes] = []
    shard = 0
    for number, row in read_rows(job.file, job.mapping.rows):
        made = _sample(converter, row, file, number)
        if line := made.pop("_line"):
            made |= {"file": f"{job.mapping.name}/{job.stem.name}-{shard:05}.jsonl", "line": len(lines)}
            lines.append(line)
        found.append(made)
        if len(lines) == SHARD:
            _write_lines(job.stem, shard, lines)
            lines, shard = [], shard + 1
    if lines:
        _write_lines(job.stem, shard, lines)
    write_table(job.table, pa.Table.from_pylist(found, schema=_schema()))
    return len(found)


def _schema() -> Any:
    import pyarrow as pa

    texts = [(name, pa.string()) for name in ("id", "source", "modality", "domain", "cluster", "tags", "file")]
    return pa.schema(
        [
            *texts, ("line", pa.int32()), ("pictures", pa.list_(pa.string())), ("draw", pa.uint64()),
            ("reason", pa.string()), ("detail", pa.string()),
        ]
    )  # fmt: skip


def _sample(converter: Converter, row: dict[str, Any] | str, file: str, number: int) -> dict[str, Any]:
    mapping = converter.mapping
    name = f"{mapping.name}/{file}:{number}" if isinstance(row, str) else converter.row_id(row, file, number)
    made: dict[str, Any] = {
        "id": name, "source": mapping.name, "modality": mapping.modality, "domain": mapping.domain,
        "cluster": name, "tags": "{}", "pictures": [], "draw": draw_of(name), "_line": b"",
    }  # fmt: skip
    if isinstance(row, str):
        return {**made, "reason": "malformed row", "detail": f"{file}:{number}: {row}"}
    if not converter.selected(row):
        wanted = ", ".join(f"{key} {' or '.join(values)}" for key, values in mapping.where.items())
        return {**made, "reason": "not selected", "detail": f"the mapping selects {wanted}"}
    converter.respelled.clear()  # of a row that was refused
    try:
        conversation = converter.conversation(row, name)
    except DataError as error:
        return {**made, "reason": "malformed row", "detail": f"{file}:{number}: {error}"}
    return {
        **made,
        "cluster": conversation.cluster,
        "tags": json.dumps(dict(conversation.tags), sort_keys=True, ensure_ascii=False),
        "pictures": list(conversation.pictures),
        "detail": _respelled(converter),
        "_line": json.dumps(to_json(conversation), ensure_ascii=False).encode("utf-8", "backslashreplace"),
    }


def _respelled(converter: Converter) -> str | None:
    """Return in words which pictures of the row just read are called otherwise, in case or composition."""
    found = [f"{place} = {name}" for place, name in converter.respelled.items()]
    return "; ".join(found) or None


def _write_lines(stem: Path, shard: int, lines: Sequence[bytes]) -> None:
    path = stem.with_name(f"{stem.name}-{shard:05}.jsonl")
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(b"\n".join(lines) + b"\n")
    os.replace(temporary, path)


def _keeper(job: ReadJob) -> Callable[[str, bytes], None]:
    folder = job.pool / IMAGES / f"{safe_name(job.mapping.name)}.inside"

    def keep(name: str, data: bytes) -> None:
        path = folder / name
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            temporary = folder / f".{name}.{os.getpid()}.tmp"
            temporary.write_bytes(data)
            os.replace(temporary, path)

    return keep


def _without_repeats(table: Any) -> Any:
    """Drop all but the first row of each id; what is out already has no say."""
    import numpy as np

    table = table.combine_chunks()
    codes = table["id"].combine_chunks().dictionary_encode().indices.to_numpy()
    out = ~table["reason"].is_null().to_numpy()
    rows = np.flatnonzero(~out)
    _, first = np.unique(codes[rows], return_index=True)
    again = np.zeros(len(table), bool)
    again[rows] = True
    again[rows[first]] = False
    return dropped(table, "repeated id", again)


def _sampled(table: Any, mapping: SourceMapping, seed: int) -> Any:
    """Drop what is not among the `sample` rows of the source with the lowest ranks."""
    import numpy as np
    import pyarrow.compute as pc

    own = pc.and_(pc.equal(table["source"], mapping.name), pc.is_null(table["reason"])).to_numpy()
    rows = np.flatnonzero(own)
    order = np.argsort(ranks(table["draw"].to_numpy()[rows], seed, "sample"), kind="stable")
    gone = np.zeros(len(table), bool)
    gone[rows[order[mapping.sample or 0 :]]] = True
    note = f"{mapping.sample} of {len(rows)} are taken"
    return dropped(table, "not sampled", gone, {int(r): note for r in np.flatnonzero(gone)})


def _plain(mapping: SourceMapping) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(asdict(mapping)))
    return found


def _of(jobs: Sequence[ReadJob], mapping: SourceMapping) -> list[ReadJob]:
    return [job for job in jobs if job.mapping is mapping]


def _claim(pool: Pool, asked: dict[str, Any]) -> None:
    """Write pool.json, or compare it with the one that is there."""
    path = pool.folder / POOL_FILE
    if not path.exists():
        if pool.folder.is_dir() and any(pool.folder.iterdir()):
            raise DataError(f"{pool.folder} is not empty and no pool. Choose another --output.")
        write_json(path, asked)
        return
    before = pool.facts()
    if before == asked:
        return
    difference = _difference(before, asked)
    raise RunMismatchError(
        f"{pool.folder}: the pool was made of something else: {difference}. Give what it was made of, choose another "
        "--output, or --fresh to start over."
    )


def _difference(before: dict[str, Any], asked: dict[str, Any]) -> str:
    """Return the first thing in which what was asked differs from what a pool was made of."""
    if before.get("schema") != asked["schema"]:
        return "another release wrote it"
    old, new = before["sources"], asked["sources"]
    if names := sorted(old.keys() ^ new.keys()):
        return f"source {names[0]} is in one of both"
    source = next((name for name in new if old[name] != new[name]), None)
    if source is None:
        return "another seed"
    was, now = old[source]["files"], new[source]["files"]
    files = [name for name in sorted(was.keys() | now.keys()) if was.get(name) != now.get(name)]
    return f"source {source}: {f'{files[0]} changed, came or went' if files else 'the mapping changed'}"


def _link(place: Path, root: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_symlink() and place.resolve() != root.resolve():
        place.unlink()
    with suppress(FileExistsError):
        place.symlink_to(root.resolve(), target_is_directory=True)
