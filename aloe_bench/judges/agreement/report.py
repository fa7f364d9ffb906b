"""The trust report: one HTML page that holds everything, and a Markdown page beside its plots."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from aloe_bench.files import write_atomic
from aloe_bench.joins import dropped_csv
from aloe_bench.judges.agreement.measure import Agreement
from aloe_bench.judges.agreement.plots import check_matplotlib, plots
from aloe_bench.judges.agreement.reading import Band
from aloe_bench.judges.agreement.tables import WITH_PANEL, Table, counts_line, left_over, number, span, tables, visible
from aloe_bench.stats.agreement import Alpha

__all__ = ["check_matplotlib", "write_report"]

TITLE = "How far the jury can be trusted"
TITLE_WITHOUT_RUN = "How far the experts agree"


@dataclass(frozen=True, slots=True)
class Card:
    """One headline number."""

    name: str
    value: str
    small: str


def write_report(result: Agreement, source: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write agreement.html, agreement.md and the plots that the latter shows, and dropped.csv; return their paths.

    `source` says which annotations and run were read: its values stand at the foot of the page.
    """
    drawn = plots(result)
    files = {"agreement.html": _html(result, source, drawn), "agreement.md": _markdown(result, source, drawn)}
    files |= {f"{name}.svg": svg for name, (_, svg) in drawn.items()}
    files["dropped.csv"] = _dropped(result)
    for name, text in files.items():
        write_atomic(folder / name, text)
    return [folder / name for name in files]


def _dropped(result: Agreement) -> str:
    """Return a line for everything of the file and of the run that has no part, and why."""
    return dropped_csv([*result.left_over, *((item, "ambiguous to two raters") for item in result.removed)])


def _title(result: Agreement) -> str:
    return TITLE if result.panel is not None else TITLE_WITHOUT_RUN


def _html(result: Agreement, source: Mapping[str, Any], drawn: Mapping[str, tuple[str, str]]) -> str:
    import jinja2

    template = (
        resources.files("aloe_bench.judges.agreement").joinpath("templates/trust.html").read_text(encoding="utf-8")
    )
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.from_string(template).render(
        title=_title(result),
        about=counts_line(result),
        cards=_cards(result),
        cautions=[*(visible(text) for text in result.cautions), *left_over(result)],
        findings=[visible(text) for text in result.findings],
        plots=[{"caption": caption, "uri": _data_uri(svg)} for caption, svg in drawn.values()],
        tables=tables(result),
        footer=_footer(result, source),
    )


def _data_uri(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _card(name: str, found: Alpha, band: Band) -> Card:
    value = number(found.value)
    if band.name is None:
        return Card(name, value, f"not to be read: {visible(band.reason or 'undefined')}")
    return Card(name, value, f"{span(found.bootstrap)}; by custom {band.name}")


def _cards(result: Agreement) -> list[Card]:
    level = result.level
    cards = [_card(f"alpha ({level}), experts alone", result.humans[level], result.band)]
    if result.panel is not None:
        panel = result.panel
        cards.append(_card(f"alpha ({level}), {WITH_PANEL[result.mode]}", panel.alpha[level], panel.band))
        change = panel.difference[level]
        cards.append(Card("difference", number(change.value, signed=True), span(change.interval, signed=True)))
    return cards


def _footer(result: Agreement, source: Mapping[str, Any]) -> list[str]:
    annotations, run = source["annotations"], source["run"]
    lines = [f"Annotations: {visible(annotations['name'])}, SHA-256 {annotations['sha256']}."]
    if run is not None:
        fields = ("task", "task_version", "model", "fingerprint", "id", "rubric", "jury")
        lines.append(
            "Run: "
            + ", ".join(f"{name.replace('_', ' ')} {visible(str(run[name]))}" for name in fields if run[name])
            + "."
        )
    lines.append(
        f"Mode {result.mode}, level {result.level}, {result.n_resamples} resamples of items, seed {result.seed}, "
        f"aloe-bench {source['aloe_bench']}. Alpha: Krippendorff (2011), by the krippendorff package."
    )
    return lines


def markdown_text(text: str) -> str:
    """Return `text` as plain words of a Markdown page or table cell, whatever it holds."""
    shown = visible(text)
    for character in "\\`*_[]~#|":
        shown = shown.replace(character, "\\" + character)
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        shown = shown.replace(character, entity)
    return shown.replace("://", ":&#47;&#47;").replace("\\|", "&#124;")


def _markdown(result: Agreement, source: Mapping[str, Any], drawn: Mapping[str, tuple[str, str]]) -> str:
    blocks = [f"# {_title(result)}", markdown_text(counts_line(result))]
    cards = [(card.name, card.value, card.small) for card in _cards(result)]
    blocks.append(_markdown_table(Table("", "", ("", "Value", "95 % interval and reading"), cards)))
    blocks += [f"> **Caution.** {markdown_text(text)}" for text in (*result.cautions, *left_over(result))]
    blocks.append("## What the figures allow one to say")
    blocks.append("\n".join(f"- {markdown_text(text)}" for text in result.findings))
    blocks += [f"![{caption}]({name}.svg)" for name, (caption, _) in drawn.items()]
    for table in tables(result):
        blocks += [f"## {table.title}", markdown_text(table.note), _markdown_table(table)]
    blocks += [markdown_text(line) for line in _footer(result, source)]
    return "\n\n".join(blocks) + "\n"


def _markdown_table(table: Table) -> str:
    marks = ["---" if at < table.n_names else "---:" for at in range(len(table.columns))]
    lines = [[markdown_text(cell) for cell in row] for row in (table.columns, *table.rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (lines[0], marks, *lines[1:]))
