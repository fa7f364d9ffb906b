"""The page of runs, from disk in one file or served: what is written in it, and its figures as they stand there."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any

from aloe_bench.judges.agreement.tables import visible
from aloe_bench.reporting import words
from aloe_bench.reporting.charts import ReportFigure
from aloe_bench.reporting.figures import figures
from aloe_bench.reporting.pictures import Album
from aloe_bench.reporting.probes import doses
from aloe_bench.reporting.read import QuestionSet

# Whence a page may load something: one from disk nothing, a served one more of its own items.
FROM_DISK, SERVED = "", "; connect-src 'self'; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True, slots=True)
class PageSection:
    """What a page says of one task's questions: who was asked and how, three answers, figures with their SVG."""

    title: str
    asked: str
    models: Sequence[Mapping[str, str]] = ()
    sentences: Sequence[tuple[str, Sequence[str]]] = ()
    daggers: bool = False
    otherwise: Sequence[str] = ()
    figures: Sequence[ReportFigure] = ()
    drawn: Sequence[str] = ()


def page_sections(sets: Sequence[QuestionSet]) -> tuple[list[PageSection], list[str]]:
    """Return the sections of a page with their figures drawn, and what must be said beside them."""
    made = [_section(each) for each in sets]
    curves, remarks = doses(sets)
    if curves:
        said = "One model on tables that differ in the strength of one cue; the line is the best rising curve."
        made.append(PageSection("Across strengths", said, figures=curves))
    drawn = [
        replace(section, drawn=[figure.on_page(f"f{number}{figure.name}") for figure in section.figures])
        for number, section in enumerate(made)
    ]
    return drawn, remarks


def rendered(
    sets: Sequence[QuestionSet],
    sections: Sequence[PageSection],
    remarks: Sequence[str],
    data: str,
    inside: Album,
    sidecar: str | None = None,
    sources: str = FROM_DISK,
) -> str:
    """Return the page; `data` and `inside` are what it holds of items and pictures, empty where it loads them."""
    from jinja2 import Environment, StrictUndefined

    assets = {name: _asset(name) for name in ("page.html", "page.css", "browse.js", "show.js")}
    script = assets["browse.js"] + assets["show.js"]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["visible"] = visible
    page = environment.from_string(assets["page.html"])
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return page.render(
        title=_title(sets),
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'{sources}",
        style=assets["page.css"],
        script=script,
        sections=sections,
        warnings=[*words.warnings(sets), *remarks],
        limits=words.not_to_conclude(sets),
        sidecar=sidecar,
        data=data,
        pictures=inside.text(),
        served=sources != FROM_DISK,
        thumbnails=f"Thumbnails are at most {inside.side_px} pixels wide or high; cues are at native size."
        if inside.blobs
        else "",
    )


def _asset(name: str) -> str:
    return resources.files("aloe_bench.reporting").joinpath("assets", name).read_text(encoding="utf-8")


def _title(sets: Sequence[QuestionSet]) -> str:
    models = dict.fromkeys(run.label for each in sets for run in each.runs)
    return f"{' against '.join(models)}: {', '.join(each.title for each in sets)}"


def _section(each: QuestionSet) -> PageSection:
    return PageSection(
        each.title,
        words.asked(each),
        [_model(run.header) | {"label": run.label} for run in each.runs],
        words.sentences(each),
        any("†" in run.name for run in each.runs),
        [
            f"{run.label}: not as {each.runs[0].label} in {', '.join(run.otherwise)}."
            for run in each.runs
            if run.otherwise
        ],
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
        "pictures": _pixels(model.get("profile") or {}),
        "jury": judges or "none",
        "aloe-bench": str((header.get("versions") or {}).get("aloe-bench", "")),
    }


def _pixels(profile: Mapping[str, Any]) -> str:
    ends = [f"{word} {profile[key]} pixels" for word, key in (("at least", "min_pixels"), ("at most", "max_pixels"))
            if profile.get(key) is not None]  # fmt: skip
    return ", ".join(ends) or "as the back end takes them"
