"""One file that opens from disk and asks nobody for anything."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aloe_bench.core import ImageRef
from aloe_bench.errors import DataError, UsageError, need
from aloe_bench.files import safe_name, write_atomic
from aloe_bench.reporting.charts import PaperForm
from aloe_bench.reporting.pack import page_data
from aloe_bench.reporting.page import PageSection, page_sections, rendered
from aloe_bench.reporting.pictures import Album, album
from aloe_bench.reporting.places import find_pictures, wanted_of
from aloe_bench.reporting.read import QuestionSet, question_sets
from aloe_bench.reporting.sharing import may_share
from aloe_bench.workers import beside

log = logging.getLogger(__name__)

MEGABYTE = 1_000_000
# What the page itself, its figures and what an item overshoots may take.
PAGE_MB = 1.0
FORMS: tuple[PaperForm, ...] = ("svg", "png")
Found = tuple[dict[str, ImageRef], list[str]]


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What a user may set of a report; `data` are places to look for pictures in, `plots` a folder for the figures."""

    data: tuple[Path, ...] = ()
    plots: Path | None = None
    share: bool = False
    most_pictures: int = 2000
    max_mb: float = 40.0
    pictures_mb: float = 14.0
    n_workers: int = 1


def write_report(runs: Sequence[Path], output: Path, options: ReportOptions | None = None) -> list[Path]:
    """Write the report of `runs` to `output`; return the files written: it, pictures that must stay local, figures.

    Raises UsageError where `share` is asked and a task's pictures may not be passed on, DataError where the file would
    be larger than `max_mb`.
    """
    wanted = options or ReportOptions()
    need("matplotlib")
    sets = question_sets(runs)
    open_sets = [each for each in sets if all(may_share(run.header["task"]) for run in each.runs)]
    kept_sets = [each for each in sets if each not in open_sets]
    _refuse_sharing(kept_sets, wanted)
    sections, remarks, data, inside, local = _made(sets, open_sets, kept_sets, wanted)
    sidecar = output.with_name(f"{output.stem}.pictures.txt") if local.blobs else None
    if sidecar is not None:
        names = ", ".join(each.title for each in kept_sets)
        remarks.append(
            f"{names}: the licence does not say that pictures may be passed on, so they are not in this file. "
            f"{sidecar.name} holds them, for the eyes of those who have the data: open it with the button below."
        )
    text = rendered(sets, sections, remarks, data, inside, sidecar.name if sidecar else None)
    size_mb = len(text.encode()) / MEGABYTE
    if size_mb > wanted.max_mb:
        raise DataError(
            f"{output}: the report would be {size_mb:.1f} MB, more than --max-mb {wanted.max_mb:g} "
            f"(text {len(data) / MEGABYTE:.1f}, pictures {len(inside.text()) / MEGABYTE:.1f}). Look at these runs with "
            "`aloe-bench view RUN...`, which has no limit; or give fewer runs, --pictures 0, or a larger --max-mb."
        )
    for remark in remarks:
        log.warning("%s", remark)
    write_atomic(output, text)
    if sidecar is not None:
        write_atomic(sidecar, local.text())
    on_paper = [] if wanted.plots is None else _write_figures(sections, wanted.plots)
    return [output, *([] if sidecar is None else [sidecar]), *on_paper]


def _made(
    sets: Sequence[QuestionSet], open_sets: Sequence[QuestionSet], kept_sets: Sequence[QuestionSet],
    wanted: ReportOptions,
) -> tuple[list[PageSection], list[str], str, Album, Album]:  # fmt: skip
    """Return the page's sections, what must be said on it, its data, and its pictures: in it, and beside it.

    Pictures are found and made small by other processes while this one packs text and draws figures.
    """
    parts = (open_sets, kept_sets) if wanted.most_pictures else ((), ())
    find = partial(find_pictures, wanted.data)
    with ExitStack() as open_:
        searches = [open_.enter_context(beside(find, [*map(wanted_of, part)], wanted.n_workers)) for part in parts]
        data = page_data(sets)
        left_mb = max(0.0, wanted.max_mb - len(data) / MEGABYTE - PAGE_MB)
        rooms_mb = min(wanted.pictures_mb, left_mb), wanted.pictures_mb
        thread = open_.enter_context(ThreadPoolExecutor(1))
        albums = [
            thread.submit(_album, part, found, room, wanted)
            for part, room, found in zip(parts, rooms_mb, searches, strict=True)
        ]
        sections, remarks = page_sections(sets)
        (inside, said), (local, more) = (each.result() for each in albums)
    return sections, [*said, *more, *remarks], data, inside, local


def _refuse_sharing(kept: Sequence[QuestionSet], wanted: ReportOptions) -> None:
    if wanted.share and kept and wanted.most_pictures:
        names = ", ".join(
            f"{each.title} ({run.header['task'].get('licence') or 'no licence'})"
            for each in kept
            for run in [next(one for one in each.runs if not may_share(one.header["task"]))]
        )
        raise UsageError(
            f"--share: the pictures of {names} may not be passed on. Add --pictures 0, or leave these runs out. "
            'A task of yours says `pictures="share"` in its facts where they may.'
        )


def _album(
    sets: Sequence[QuestionSet], found: Callable[[], Found], room_mb: float, wanted: ReportOptions
) -> tuple[Album, list[str]]:
    pictures, remarks = found()
    if not pictures:
        return Album(), remarks
    records = [record for each in sets for record in each.records]
    made = album(records, pictures, most_items=wanted.most_pictures,
                 budget_chars=round(room_mb * MEGABYTE), n_workers=wanted.n_workers)  # fmt: skip
    if made.n_left_out:
        left = (
            f"{made.n_left_out} of {made.n_items + made.n_left_out} items stand here without their pictures, for the "
            "size of the file; chosen by their ids alone."
        )
        return made, [*remarks, left]
    return made, remarks


def _write_figures(sections: Sequence[PageSection], folder: Path) -> list[Path]:
    """Write every figure as SVG and PNG into `folder`, each named by its questions; return the files."""
    written = []
    for section in sections:
        for figure in section.figures:
            for form in FORMS:
                path = folder / f"{safe_name(f'{section.title} {figure.name}'.replace(' ', '_'))}.{form}"
                write_atomic(path, figure.on_paper(form))
                written.append(path)
    return written
