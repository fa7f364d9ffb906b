"""One file that opens from disk and asks nobody for anything."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from aloe_bench.errors import DataError, UsageError, need
from aloe_bench.files import safe_name, write_atomic
from aloe_bench.judges.agreement.tables import visible
from aloe_bench.reporting import words
from aloe_bench.reporting.charts import PaperForm, ReportFigure
from aloe_bench.reporting.figures import figures
from aloe_bench.reporting.pack import browser_data, packed
from aloe_bench.reporting.pictures import Album, album
from aloe_bench.reporting.places import find_pictures
from aloe_bench.reporting.probes import doses
from aloe_bench.reporting.read import QuestionSet, question_sets
from aloe_bench.reporting.sharing import may_share

log = logging.getLogger(__name__)

MEGABYTE = 1_000_000
# What the page itself, its figures and what an item overshoots may take.
PAGE_MB = 1.0
FORMS: tuple[PaperForm, ...] = ("svg", "png")


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


@dataclass(frozen=True, slots=True)
class PageSection:
    """What a page says of one task's questions: who was asked and how, three answers, figures."""

    title: str
    asked: str
    models: Sequence[Mapping[str, str]] = ()
    sentences: Sequence[tuple[str, Sequence[str]]] = ()
    daggers: bool = False
    figures: Sequence[ReportFigure] = ()


def write_report(runs: Sequence[Path], output: Path, options: ReportOptions | None = None) -> list[Path]:
    """Write the report of `runs` to `output`; return the files written: it, pictures that must stay local, figures.

    Raises UsageError where `share` is asked and a task's pictures may not be passed on, DataError where the file would
    be larger than `max_mb`.
    """
    wanted = options or ReportOptions()
    need("matplotlib")
    sets = question_sets(runs)
    open_sets = [each for each in sets if may_share(each.runs[0].header["task"])]
    kept_sets = [each for each in sets if each not in open_sets]
    _refuse_sharing(kept_sets, wanted)
    remarks: list[str] = []
    data = packed(browser_data(sets))
    left_mb = max(0.0, wanted.max_mb - len(data) / MEGABYTE - PAGE_MB)
    inside = _album(open_sets, wanted, min(wanted.pictures_mb, left_mb), remarks)
    beside = _album(kept_sets, wanted, wanted.pictures_mb, remarks)
    sidecar = output.with_name(f"{output.stem}.pictures.txt") if beside.blobs else None
    if sidecar is not None:
        names = ", ".join(each.title for each in kept_sets)
        remarks.append(
            f"{names}: the licence does not say that pictures may be passed on, so they are not in this file. "
            f"{sidecar.name} holds them, for the eyes of those who have the data: open it with the button below."
        )
    sections, said = _sections(sets)
    remarks += said
    text = _rendered(sets, sections, remarks, data, inside, sidecar)
    size_mb = len(text.encode()) / MEGABYTE
    if size_mb > wanted.max_mb:
        raise DataError(
            f"{output}: the report would be {size_mb:.1f} MB, more than --max-mb {wanted.max_mb:g} "
            f"(text {len(data) / MEGABYTE:.1f}, pictures {len(inside.text()) / MEGABYTE:.1f}). Give fewer runs, "
            "--pictures 0, or a larger --max-mb."
        )
    for remark in remarks:
        log.warning("%s", remark)
    write_atomic(output, text)
    if sidecar is not None:
        write_atomic(sidecar, beside.text())
    drawn = [] if wanted.plots is None else _write_figures(sections, wanted.plots)
    return [output, *([] if sidecar is None else [sidecar]), *drawn]


def _refuse_sharing(kept: Sequence[QuestionSet], wanted: ReportOptions) -> None:
    if wanted.share and kept and wanted.most_pictures:
        names = ", ".join(
            f"{each.title} ({each.runs[0].header['task'].get('licence') or 'no licence'})" for each in kept
        )
        raise UsageError(
            f"--share: the pictures of {names} may not be passed on. Add --pictures 0, or leave these runs out. "
            'A task of yours says `pictures="share"` in its facts where they may.'
        )


def _album(sets: Sequence[QuestionSet], wanted: ReportOptions, room_mb: float, remarks: list[str]) -> Album:
    if not sets or not wanted.most_pictures:
        return Album()
    found, said = find_pictures(sets, wanted.data)
    remarks += said
    records = [record for each in sets for record in each.records]
    made = album(records, found, most_items=wanted.most_pictures,
                 budget_chars=round(room_mb * MEGABYTE), n_workers=wanted.n_workers)  # fmt: skip
    if made.n_left_out:
        remarks.append(
            f"{made.n_left_out} of {made.n_items + made.n_left_out} items stand here without their pictures, for the "
            "size of the file; chosen by their ids alone."
        )
    return made


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


def _rendered(
    sets: Sequence[QuestionSet],
    sections: Sequence[PageSection],
    remarks: Sequence[str],
    data: str,
    inside: Album,
    sidecar: Path | None,
) -> str:
    from jinja2 import Environment, StrictUndefined

    assets = {name: _asset(name) for name in ("page.html", "page.css", "browse.js", "show.js")}
    script = assets["browse.js"] + assets["show.js"]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["visible"] = visible
    page = environment.from_string(assets["page.html"])
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return page.render(
        title=_title(sets),
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
        style=assets["page.css"],
        script=script,
        sections=sections,
        warnings=[*words.warnings(sets), *remarks],
        limits=words.not_to_conclude(sets),
        sidecar=sidecar.name if sidecar else None,
        data=data,
        pictures=inside.text(),
        thumbnails=f"Thumbnails are at most {inside.side_px} pixels wide or high; cues are at native size."
        if inside.blobs
        else "",
    )


def _asset(name: str) -> str:
    return resources.files("aloe_bench.reporting").joinpath("assets", name).read_text(encoding="utf-8")


def _title(sets: Sequence[QuestionSet]) -> str:
    models = dict.fromkeys(run.label for each in sets for run in each.runs)
    return f"{' against '.join(models)}: {', '.join(each.title for each in sets)}"


def _sections(sets: Sequence[QuestionSet]) -> tuple[list[PageSection], list[str]]:
    """Return the sections of a page, and what must be said beside them."""
    made = [_section(each) for each in sets]
    curves, remarks = doses(sets)
    if curves:
        said = "One model on tables that differ in the strength of one cue; the line is the best rising curve."
        made.append(PageSection("Across strengths", said, figures=curves))
    return made, remarks


def _section(each: QuestionSet) -> PageSection:
    return PageSection(
        each.title,
        words.asked(each),
        [_model(run.header) | {"label": run.label} for run in each.runs],
        words.sentences(each),
        any(run.name != run.label for run in each.runs),
        figures(each),
    )


def _model(header: Mapping[str, Any]) -> dict[str, str]:
    """Return how a model was asked, in the words of a table."""
    task, model, decoding = header["task"], header["model"], header.get("decoding") or {}
    judges = ", ".join(str(judge["name"]) for judge in (header.get("judges") or {}).get("judges", ()))
    return {
        "run": str(header["run_id"]),
        "back end": str(model["backend"]),
        "fingerprint": str(model["fingerprint"])[:12],
        "task": f"{task['name']} v{task['version']}, data {str(task['data_sha256'])[:12]}",
        "prompt": str(header.get("prompt_sha256", ""))[:12],
        "protocol": f"{header['protocol']}, {header.get('parser')}, answers as {header.get('answer', 'letter')}",
        "decoding": ", ".join(f"{key} {value}" for key, value in decoding.items()),
        "jury": judges or "none",
        "aloe-bench": str((header.get("versions") or {}).get("aloe-bench", "")),
    }
