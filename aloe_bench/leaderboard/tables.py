"""Markdown tables in the shape of the paper's, made from results and never edited by hand."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from importlib import resources
from typing import Any

COLUMNS = tuple(f"{part}/{group}" for part in ("mcq", "vqa") for group in ("overall", "nursing", "medicine"))
PART_OF_TASK = {"careqa_vision_mcq": "mcq", "careqa_vision_open": "vqa", "careqa_vision_vqa": "vqa"}
GROUP_TITLES = {
    "small": "Small models (<10B)",
    "large": "Large models (>10B)",
    None: "Unregistered size",
}
MAX_NAME_CHARS = 100
GENERATED = "<!-- Generated from results/ by aloe_bench.leaderboard.build; do not edit by hand. -->"
LEGEND = (
    "Accuracy in %. Best in **bold**, second <u>underlined</u>, within a size group, by the printed digits; "
    "a mark does not say that a test separates the models. Under a number: its 95 % interval and the number "
    "of questions. Rows marked *(paper)* are copied from Aloe-Vision, Table 10. "
    "Only complete runs are ranked."
)
FOOTNOTE = "† A limited or partial run: not the whole task, and not ranked."


@dataclass(slots=True)
class Row:
    """One line of a table; `shown` holds the printed percentages, None where there is none."""

    name: str
    size_group: str | None
    domain: str
    shown: dict[str, Decimal | None] = field(default_factory=dict)
    small_print: dict[str, str] = field(default_factory=dict)
    unranked: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def percent(value: Fraction) -> Decimal:
    """Return `value` in percent with two decimals, halves rounded up."""
    exact = Decimal(100 * value.numerator) / Decimal(value.denominator)
    return exact.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)


def escape(text: str) -> str:
    """Return `text` as it may stand in one cell of a Markdown table, whatever it holds.

    Control and format characters become U+FFFD, line breaks spaces; a leading =, +, - or @ gets an
    apostrophe, so that a spreadsheet does not take it for a formula.
    """
    flat = " ".join(text.split())
    visible = "".join("\ufffd" if unicodedata.category(c)[0] == "C" else c for c in flat)
    if len(visible) > MAX_NAME_CHARS:
        visible = visible[: MAX_NAME_CHARS - 1] + "…"
    if visible.startswith(("=", "+", "-", "@")):
        visible = "'" + visible
    for character in "\\`*_[]~#":
        visible = visible.replace(character, "\\" + character)
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "&#124;")):
        visible = visible.replace(character, entity)
    return visible.replace("://", ":&#47;&#47;") or "(unnamed)"


def paper_rows() -> list[Row]:
    """Return the 18 rows of Table 10."""
    source = resources.files("aloe_bench.leaderboard").joinpath("data/table10_careqa_vision.csv")
    return [
        Row(
            name=f"{escape(line['model'])} *(paper)*",
            size_group=line["size_group"],
            domain=line["domain"],
            shown={column: Decimal(line[column]) for column in COLUMNS},
        )
        for line in csv.DictReader(source.read_text(encoding="utf-8").splitlines())
    ]


def is_miniature(result: Mapping[str, Any]) -> bool:
    """The model, or a judge of it, is random, miniature or a mock: its numbers say nothing about medicine."""
    model = result["model"]
    judges = (result.get("judges") or {}).get("judges", ())
    return bool(model["miniature"]) or "mock" in (model["backend"], *(judge["backend"] for judge in judges))


def protocol_label(result: Mapping[str, Any]) -> str:
    """Return what sets a row apart from the strict parser on generated text; empty for that."""
    parser = str(result.get("parser") or "strict").partition("-")[0]
    marks = ["logprob"] if result["protocol"] == "logprob" else []
    marks += ["answers as text"] if result.get("answer") == "text" else []
    marks += [f"{parser} parser"] if parser != "strict" and parser.isalnum() else []
    return "".join(f" [{mark}]" for mark in marks)


def own_rows(results: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return one row for each model, fingerprint and answer protocol of the CareQA-Vision results."""
    rows: dict[tuple[str, ...], Row] = {}
    for result in results:
        part = PART_OF_TASK.get(result["task"]["name"])
        if part is None:
            continue
        model = result["model"]
        group = model["size_group"] if model["size_group"] in ("small", "large") else None
        label = protocol_label(result)
        key = (str(model["name"]), str(model["fingerprint"]), label, str(group))
        row = rows.setdefault(
            key, Row(f"{escape(str(model['name']))}{label}", group, escape(str(model.get("domain") or "–")))
        )
        _add_part(row, part, result)
    return [rows[key] for key in sorted(rows)]


def _add_part(row: Row, part: str, result: Mapping[str, Any]) -> None:
    for group, numbers in result["cells"].items():
        column = f"{part}/{group}"
        if numbers["exact"] is None:
            row.shown[column] = None
            if numbers["n"] and part == "vqa" and numbers["unjudged"]:
                row.small_print[column] = "not judged"
            elif numbers["n"]:
                row.small_print[column] = "not measured"
            continue
        row.shown[column] = percent(Fraction(numbers["exact"]))
        interval = numbers["interval"]
        low_high = ", ".join(str(percent(Fraction(bound))) for bound in interval or ())
        bounds = f"[{low_high}]" if low_high else "no interval"
        clusters = "" if numbers["n_clusters"] == numbers["n"] else f", {numbers['n_clusters']} clusters"
        row.small_print[column] = f"{bounds}, n {numbers['n']}{clusters}"
        if result["partial"]:
            row.unranked.add(column)
    overall = result["cells"]["overall"]
    counts = f"n {overall['n']}, unread {overall['unread']}, failed {overall['failed']}"
    if overall["unjudged"]:
        counts += f", not judged {overall['unjudged']}"
    if result.get("judges"):
        names = ", ".join(escape(str(judge["name"])) for judge in result["judges"]["judges"])
        split = overall.get("split")
        counts += f"; graded by {names}" + ("" if split is None else f", split {percent(Fraction(split))} %")
    partial = "partial† " if result["partial"] else ""
    version = escape(str(result["task"]["version"]))
    row.notes.append(f"{part.upper()} {partial}v{version}: {counts}; run {escape(str(result['run']))}")
    if result["partial"] and not row.name.endswith("†"):
        row.name += " †"


def render_careqa(results: Sequence[Mapping[str, Any]]) -> str:
    """Return careqa_vision.md: the paper's rows and those of `results` that are no miniatures."""
    rows = paper_rows() + own_rows([result for result in results if not is_miniature(result)])
    return _page("CareQA-Vision", [LEGEND], rows)


def render_miniature(results: Sequence[Mapping[str, Any]]) -> str:
    """Return miniature.md: random, miniature and mock models, which prove the path and nothing else."""
    rows = own_rows([result for result in results if is_miniature(result)])
    warning = (
        "Random, miniature and mock models. These numbers show that the software runs; "
        "they say nothing about any medical model and stand beside none."
    )
    return _page("Miniature models", [warning], rows)


def _page(title: str, paragraphs: Sequence[str], rows: Sequence[Row]) -> str:
    blocks = [GENERATED, f"# {title}", *paragraphs]
    for group, group_title in GROUP_TITLES.items():
        members = [row for row in rows if row.size_group == group]
        if members:
            blocks += [f"## {group_title.replace('<', '&lt;').replace('>', '&gt;')}", _table(members)]
    if not rows:
        blocks.append("No results yet.")
    if any("†" in note for row in rows for note in row.notes):
        blocks.append(FOOTNOTE)
    return "\n\n".join(blocks) + "\n"


def _table(rows: Sequence[Row]) -> str:
    titles = [f"{part} {group}" for part in ("MCQ", "VQA") for group in ("Overall", "Nursing", "Medicine")]
    lines = [["Model", "Domain", *titles, "Notes"], ["---", "---", *["---:"] * len(COLUMNS), "---"]]
    podium = {column: _best_two(rows, column) for column in COLUMNS}
    for row in rows:
        numbers = [_number(row, column, podium[column]) for column in COLUMNS]
        lines.append([row.name, row.domain, *numbers, "<br>".join(row.notes)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _best_two(rows: Sequence[Row], column: str) -> list[Decimal]:
    # Ties share a rank and the next value follows it at once, as in the paper's
    # VQA Nursing, where two models are best and a third is second.
    ranked = {row.shown.get(column) for row in rows if column not in row.unranked} - {None}
    return sorted((value for value in ranked if value is not None), reverse=True)[:2]


def _number(row: Row, column: str, podium: Sequence[Decimal]) -> str:
    value = row.shown.get(column)
    small = row.small_print.get(column, "")
    if value is None:
        return small or "–"
    text = f"{value:.2f}"
    if column not in row.unranked:
        if value == podium[0]:
            text = f"**{text}**"
        elif value in podium:
            text = f"<u>{text}</u>"
    else:
        text += "†"
    return f"{text}<br><small>{small}</small>" if small else text
