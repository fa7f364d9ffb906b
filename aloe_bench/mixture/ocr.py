"""What stands in the pictures of a pool, read by RapidOCR, and how much of each answer does.

Each picture is read once; its models come with the package, so that nothing is downloaded. A sample is in danger where
its answer can be read off the picture (Aloe-Vision, Figure 4): the column `in_picture` has the share of the answer's
letters that stand there, the greatest over its answers and pictures; `in_picture_at` says where.

    POOL/ocr/*.parquet    the lines of some pictures, by the pictures' hashes and the version that read them
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aloe_bench.errors import need
from aloe_bench.images import open_image
from aloe_bench.mixture.evaluation import turns_of
from aloe_bench.mixture.pictures import picture_table
from aloe_bench.mixture.pool import Pool, kept, text_sha256, with_columns, write_table
from aloe_bench.mixture.standing import ReadLine, Standing, standing
from aloe_bench.training.data.schema import Conversation
from aloe_bench.workers import Spread, here

if TYPE_CHECKING:
    from PIL import Image

AT_ONCE = 50
FOLDER = "ocr"
# Lines that the reader is less sure of are mostly anatomy taken for letters.
LEAST_SURE = 0.6
QUANTILES = (0.5, 0.8, 0.95, 1.0)
Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class OcrJob:
    """Some pictures of a pool by hash and path, and the file that their lines go to."""

    pool: Path
    pictures: tuple[tuple[str, str], ...]
    target: Path


def reader_version() -> str:
    """Return the name and version of what reads. Raises DependencyError if it is not installed."""
    from importlib.metadata import version

    need("rapidocr", "onnxruntime")
    return f"rapidocr {version('rapidocr')}, onnxruntime {version('onnxruntime')}"


def ocr(pool: Pool, spread: Spread = here, report: Report = lambda done, total: None) -> dict[str, Any]:
    """Return the report of the step: of every kept sample with a picture, how much of its answer stands in it.

    Raises DependencyError without RapidOCR.
    """
    settings = {"reader": reader_version(), "least_sure": LEAST_SURE, "windows": 1}

    def make(table: Any) -> tuple[Any, dict[str, Any]]:
        rows = kept(table)
        lines = _read(pool, rows, settings["reader"], spread, report)
        return _placed(pool, table, rows, lines)

    return pool.step("ocr", settings, make)


def _read(pool: Pool, rows: Any, reader: object, spread: Spread, report: Report) -> dict[str, list[ReadLine]]:
    """Return the lines of each picture by path, reading those that no file has yet."""
    paths = sorted({path for each in rows["pictures"].to_pylist() for path in each})
    seen = picture_table(pool.folder)
    hashes = dict(zip(seen["path"].to_pylist(), seen["sha256"].to_pylist(), strict=True)) if seen is not None else {}
    by_hash: dict[str, str] = {}
    for path in paths:
        if hashes.get(path):
            by_hash.setdefault(hashes[path], path)
    todo, jobs = sorted(by_hash.items()), []
    for start in range(0, len(todo), AT_ONCE):
        some = tuple(todo[start : start + AT_ONCE])
        name = text_sha256([reader, [sha256 for sha256, _ in some]])[:16]
        jobs.append(OcrJob(pool.folder, some, pool.folder / FOLDER / f"{name}.parquet"))
    waiting = [job for job in jobs if not job.target.is_file()]
    done = len(todo) - sum(len(job.pictures) for job in waiting)
    report(done, len(todo))
    for n in spread(read_pictures, waiting):
        done += n
        report(done, len(todo))
    found = {sha256: lines for job in jobs for sha256, lines in _lines_in(job.target)}
    return {path: found[hashes[path]] for path in paths if hashes.get(path) in found}


def _lines_in(path: Path) -> list[tuple[str, list[ReadLine]]]:
    import pyarrow.parquet as parquet

    rows = parquet.read_table(path).to_pylist()
    return [
        (row["sha256"], [ReadLine(each["text"], (*each["box"],)) for each in json.loads(row["lines"])]) for row in rows
    ]


def read_pictures(job: OcrJob) -> int:
    """Write the lines of the pictures of `job`; return how many pictures there were."""
    import pyarrow as pa

    rows = []
    for sha256, path in job.pictures:
        lines = read_lines(open_image(job.pool / path))
        found = [{"text": line.text, "box": list(line.box)} for line in lines]
        rows.append({"sha256": sha256, "lines": json.dumps(found, ensure_ascii=False)})
    schema = pa.schema([("sha256", pa.string()), ("lines", pa.string())])
    write_table(job.target, pa.Table.from_pylist(rows, schema=schema))
    return len(rows)


def read_lines(image: Image.Image) -> list[ReadLine]:
    """Return the lines that stand in a picture, from top to bottom, without those that are doubtful."""
    import numpy as np

    lines = []
    for first, last, begin, end in _windows(image.width, image.height):
        window = image.convert("RGB").crop((0, first, image.width, last))
        found = _reader()(np.asarray(window)[:, :, ::-1])
        if found.txts is None:
            continue
        for text, sure, corners in zip(found.txts, found.scores, found.boxes, strict=True):
            (left, top), (right, bottom) = np.min(corners, axis=0), np.max(corners, axis=0)
            top, bottom = top + first, bottom + first
            # What stands where two windows overlap is taken from the one whose half it is in.
            if sure >= LEAST_SURE and text.strip() and begin <= (top + bottom) / 2 < end:
                width, height = image.size
                box = (_place(left, width), _place(top, height), _place(right, width), _place(bottom, height))
                lines.append(ReadLine(text, box))
    return lines


def _place(pixel: float, side: int) -> float:
    return round(1000 * min(1.0, max(0.0, float(pixel) / side)))


def _windows(width: int, height: int) -> list[tuple[int, int, float, float]]:
    """Return the parts that a picture is read in: first and last row, and the rows whose lines are this part's.

    A picture more than twice as high as wide is read in parts: whole, words in it are missed (of whole-body scans of
    96 x 384, shown at 512 x 2048, no line at all was found).
    """
    if height <= 2 * width:
        return [(0, height, -math.inf, math.inf)]
    step, overlap = round(1.25 * width), width // 4
    firsts = range(0, height - step // 2, step)
    cuts = [-math.inf, *(first + overlap / 2 for first in firsts[1:]), math.inf]
    lasts = [*(first + overlap for first in firsts[1:]), height]
    return list(zip(firsts, lasts, cuts[:-1], cuts[1:], strict=True))


@lru_cache(maxsize=1)
def _reader() -> Any:
    reader_version()
    from rapidocr import RapidOCR

    return RapidOCR(
        params={
            "EngineConfig.onnxruntime.intra_op_num_threads": 1, "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            "Global.use_cls": False, "Global.log_level": "error",
        }
    )  # fmt: skip


def leak_of(conversation: Conversation, lines: Mapping[str, Sequence[ReadLine]]) -> tuple[Standing, str] | None:
    """Return how the answer of a sample that stands in a picture the most does, and where; None if none can tell.

    The place is the picture's path and the boxes of the lines, left, top, right, bottom in thousandths.
    """
    best: tuple[Standing, str] | None = None
    for path in dict.fromkeys(conversation.pictures):
        if path not in lines:
            continue
        for _, answer in turns_of(conversation):
            found = standing(answer, lines[path])
            if found is not None and (best is None or found.share > best[0].share):
                boxes = [list(lines[path][line].box) for line in found.lines]
                best = found, json.dumps({"picture": path, "boxes": boxes}) if boxes else ""
    return best


def _placed(pool: Pool, table: Any, rows: Any, lines: Mapping[str, Sequence[ReadLine]]) -> tuple[Any, dict[str, Any]]:
    import numpy as np
    import pyarrow as pa

    found = {each.id: leak_of(each, lines) for each in pool.conversations(rows)}
    shares, places = list[float | None](), list[str | None]()
    sources: dict[str, list[float]] = {}
    for name, source, reason in zip(*(table[c].to_pylist() for c in ("id", "source", "reason")), strict=True):
        leak = found.get(name) if reason is None else None
        shares.append(leak[0].share if leak else None)
        places.append(leak[1] if leak and leak[1] else None)
        if leak:
            sources.setdefault(source, []).append(leak[0].share)
    after = with_columns(
        table, {"in_picture": pa.array(shares, pa.float64()), "in_picture_at": pa.array(places, pa.string())}
    )
    facts = {
        "pictures_read": len(lines),
        "pictures_with_words": sum(bool(each) for each in lines.values()),
        "measured": sum(map(len, sources.values())),
        "no_picture_or_too_short": len(rows) - sum(map(len, sources.values())),
        "quantiles": {
            s: {f"{q:g}": float(np.quantile(own, q)) for q in QUANTILES} for s, own in sorted(sources.items())
        },
    }
    return after, facts
