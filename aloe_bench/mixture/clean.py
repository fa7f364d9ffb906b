"""Which samples of a pool can be trained on: the filters of training, shard by shard, and what each sample measures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aloe_bench.files import write_json
from aloe_bench.mixture.pictures import LookedAt, look_at_pictures, picture_table
from aloe_bench.mixture.pool import COUNTS, Pool, kept, text_sha256, with_columns, write_table
from aloe_bench.mixture.unmatched import unmatched_pictures
from aloe_bench.training.data.filters import DroppedConversation, Kept, Limits, first_fault, keep_or_drop
from aloe_bench.workers import Spread, here

if TYPE_CHECKING:
    from aloe_bench.training.collate import Encoder

_AT_ONCE = 256
Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Processor:
    """The checkpoint whose processor counts tokens, and the pixel limits that are pinned; both belong to the counts."""

    model: Path
    min_pixels: int | None = None
    max_pixels: int | None = None


@dataclass(frozen=True, slots=True)
class Cleaning:
    """What is asked of a sample. Without a processor no token is counted, and neither is length.

    `pictures` False: they are not at hand, and nothing is asked of them.
    """

    limits: Limits = Limits()  # noqa: RUF009 (a frozen dataclass: shared by all, changed by none)
    processor: Processor | None = None
    pictures: bool = True


@dataclass(frozen=True, slots=True)
class CleanJob:
    """One file of conversations, and where what is found of them goes."""

    pool: Path
    file: str
    cleaning: Cleaning
    target: Path


def clean(
    pool: Pool,
    cleaning: Cleaning,
    spread: Spread = here,
    report: Callable[[str], Report] = lambda title: lambda d, t: None,
) -> dict[str, Any]:
    """Return the report of the step: every sample that cannot be trained on is dropped, the others are measured."""
    settings = _settings(cleaning)
    left_over = unmatched_pictures(pool) if cleaning.pictures else []
    n_pictures = look_at_pictures(pool, spread, report("pictures")) if cleaning.pictures else None
    if cleaning.pictures and (seen := picture_table(pool.folder)) is not None:
        settings["pictures"] = text_sha256(seen.select(["path", "sha256", "fault"]).to_pylist())
    if cleaning.processor:
        cleaning = replace(cleaning, limits=replace(cleaning.limits, spare=_encoder(cleaning.processor).dummy_tokens))

    def make(table: Any) -> tuple[Any, dict[str, Any]]:
        return _cleaned(pool, table, cleaning, settings, spread, report("samples")), {"pictures": n_pictures}

    return _with_left_over(pool, pool.step("clean", settings, make), left_over)


def _with_left_over(pool: Pool, report: dict[str, Any], left_over: list[str]) -> dict[str, Any]:
    """Return the report with what its folders hold without a partner now, and keep it so."""
    if report.get("left_over", []) != left_over:
        report = {**report, "left_over": left_over}
        write_json(pool.folder / "steps" / "clean.json", report)
    return report


def _settings(cleaning: Cleaning) -> dict[str, Any]:
    found: dict[str, Any] = {"limits": asdict(cleaning.limits), "pictures": cleaning.pictures, "processor": None}
    if cleaning.processor:
        from aloe_bench.models.checkpoint_files import fingerprint_folder

        encoder = _encoder(cleaning.processor)
        found["processor"] = {
            "model": cleaning.processor.model.name,
            "sha256": fingerprint_folder(cleaning.processor.model),
            **encoder.settings(),
        }
    return found


@lru_cache(maxsize=1)
def _encoder(processor: Processor) -> Encoder:
    from aloe_bench.training.collate import Encoder, load_processor

    return Encoder(load_processor(processor.model, processor.min_pixels, processor.max_pixels))


def _cleaned(
    pool: Pool, table: Any, cleaning: Cleaning, settings: dict[str, Any], spread: Spread, report: Report
) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as parquet

    files = sorted(pc.unique(kept(table)["file"]).to_pylist())
    folder = pool.folder / "clean" / text_sha256(settings)[:16]
    jobs = [CleanJob(pool.folder, file, cleaning, folder / f"{file.replace('/', '+')}.parquet") for file in files]
    waiting = [job for job in jobs if not job.target.is_file()]
    report(len(jobs) - len(waiting), len(jobs))
    for done, _ in enumerate(spread(clean_file, waiting), len(jobs) - len(waiting) + 1):
        report(done, len(jobs))
    found = pa.concat_tables([parquet.read_table(job.target) for job in jobs]) if jobs else _schema().empty_table()
    places = pc.index_in(_place(table), value_set=_place(found).combine_chunks())
    judged = found.take(places)
    reasons = pc.coalesce(table["reason"], judged["reason"])
    details = pc.if_else(pc.is_null(table["reason"]), judged["detail"], table["detail"])
    return with_columns(table, {"reason": reasons, "detail": details, **{name: judged[name] for name in COUNTS}})


def _place(table: Any) -> Any:
    """Return what names a sample within a pool: its file and line; null for one that has none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    line = pc.cast(table["line"], pa.string())
    return pc.binary_join_element_wise(table["file"], line, ":")


def _schema() -> Any:
    import pyarrow as pa

    counts = [(name, pa.int32()) for name in COUNTS]
    texts = [("reason", pa.string()), ("detail", pa.string())]
    return pa.schema([("file", pa.string()), ("line", pa.int32()), *texts, *counts])


def clean_file(job: CleanJob) -> int:
    """Judge the conversations of one file and write what was found; return how many there were."""
    import pyarrow as pa

    own = kept(Pool(job.pool).table("read", ["file", "line", "pictures", "reason"], job.file))
    pictures = LookedAt(job.pool, [path for paths in own["pictures"].to_pylist() for path in paths])
    encoder = _encoder(job.cleaning.processor) if job.cleaning.processor else None
    rows: list[dict[str, Any]] = []
    lines, waiting = iter(own["line"].to_pylist()), Pool(job.pool).conversations(own)
    while batch := list(islice(waiting, _AT_ONCE)):
        if encoder is not None:
            judged: list[Any] = list(keep_or_drop(batch, pictures, encoder, job.cleaning.limits))
        else:
            at_hand = pictures if job.cleaning.pictures else None
            judged = [first_fault(each, at_hand, None, job.cleaning.limits) for each in batch]
        rows += [{"file": job.file, "line": next(lines), **_measured(each)} for each in judged]
    write_table(job.target, pa.Table.from_pylist(rows, schema=_schema()))
    return len(rows)


def _measured(found: Kept | DroppedConversation | None) -> dict[str, Any]:
    if isinstance(found, DroppedConversation):
        return {"reason": found.reason, "detail": found.detail}
    if found is None:
        return {}
    return {
        "tokens": found.tokens, "loss_tokens": found.loss_tokens, "image_tokens": found.image_tokens,
        "text_tokens": found.tokens - found.image_tokens,
    }  # fmt: skip
