"""Markdown tables in the shape of the paper's, made from results: what every page has in common."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

from aloe_bench.boards.prefer import passed_over
from aloe_bench.boards.results import doubt
from aloe_bench.boards.shapes import Shape, key_of
from aloe_bench.boards.shares import share_text
from aloe_bench.evaluation.outcomes import (
    MARKED_CUT,
    MOST_CUT,
    MOST_UNREAD,
    is_cut_often,
    is_ranked,
    is_unread_often,
    not_answered,
)

GROUP_TITLES = {
    "small": "Small models (<10B)",
    "large": "Large models (>10B)",
    "closed": "Closed models",
    None: "Unregistered size",
}
# The paper's Table 3 names no best among closed models: it has one of them.
UNRANKED_GROUPS = ("closed",)
MAX_NAME_CHARS, MAX_CAUTION_CHARS = 100, 800
# A part of the task; data that are not known to be the task's; many replies that name no option; many cut ones.
MARKS = ("†", "§", "◊", "¶")
# Some cut replies, and yet a rank.
OFTEN_CUT = "°"
APART = "≠"
NEAR = (
    "≈: in the 95 % confidence set for the best of our runs in the table, each column by itself; the paper's rows "
    "have no items to test."
)
RANKED = "Only complete runs on verified data are ranked."
GENERATED = "<!-- Generated from results/ by aloe_bench.leaderboard.build; do not edit by hand. -->"
SUBMITTED = "; submitted: its letters are its maker's word"
FOOTNOTES = {
    "†": "† A limited or partial run: not the whole task, and not ranked.",
    "§": (
        "§ Data not verified, and not ranked: the note says why. Data are verified if `aloe-bench data fetch` brought "
        "them at a commit, every checksum that `run` computed is the one that the hub lists for that commit, and all "
        "rows are on the list of the benchmark's rows, where this package has one."
    ),
    "◊": (
        f"◊ More than {MOST_UNREAD}% of the replies name no option: the number tells how answers were read, and is "
        "not ranked."
    ),
    "passed over: ": (
        "Passed over: of several runs of one model on one task a graded one is shown, of these one on verified data, "
        "of these a complete one, of these the newest."
    ),
    APART: (
        f"{APART} Runs of this task were not all asked, shown, decoded or read alike: the notes say what this one has, "
        "and how far that alone moves a score is not known."
    ),
    OFTEN_CUT: f"° Over {MARKED_CUT} % of the replies were cut at the token limit before an answer, and so wrong.",
    "¶": f"¶ Over {MOST_CUT} % of the replies were cut at the token limit before an answer: not ranked.",
    "‡": "‡ Made with --allow-missing: the tasks named had no data and were not run.",
}


@dataclass(slots=True)
class Row:
    """One line of a table; `shown` holds the printed percentages, None where there is none.

    `unranked` holds the marks of the columns that are not ranked, `often_cut` the columns with many cut replies,
    `apart` those in which runs were made in other ways, `marks` those of all its results.
    """

    name: str
    size_group: str | None
    domain: str
    shown: dict[str, Decimal | None] = field(default_factory=dict)
    small_print: dict[str, str] = field(default_factory=dict)
    unranked: dict[str, str] = field(default_factory=dict)
    often_cut: set[str] = field(default_factory=set)
    apart: set[str] = field(default_factory=set)
    near: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    marks: set[str] = field(default_factory=set)

    @property
    def title(self) -> str:
        """The name, with the marks of its results."""
        return with_marks(self.name, "".join(mark for mark in MARKS if mark in self.marks))

    def rank(self, column: str, numbers: Mapping[str, Any], marks: str) -> None:
        """Mark the cell with these counts, of a result with these marks: why it has no rank, or many cut replies."""
        if unranked := marks + cell_marks(numbers):
            self.unranked[column] = unranked
        if is_cut_often(numbers) and is_ranked(numbers):
            self.often_cut.add(column)


def with_marks(name: str, marks: str) -> str:
    """Return a row's name with marks behind it, if there are any."""
    return f"{name} {marks}" if marks else name


def percent(value: Fraction, step: str = "0.01") -> Decimal:
    """Return `value` in percent in steps of `step`, halves rounded up; what rounds to zero has no sign."""
    exact = Decimal(100 * value.numerator) / Decimal(value.denominator)
    return exact.quantize(Decimal(step), rounding=ROUND_HALF_UP) + 0


def escape(text: str, longest: int = MAX_NAME_CHARS) -> str:
    """Return `text`, cut to `longest` characters, as it may stand in one cell of a Markdown table, whatever it holds.

    Control and format characters become U+FFFD, line breaks spaces; a leading =, +, - or @ gets an
    apostrophe, so that a spreadsheet does not take it for a formula.
    """
    flat = " ".join(text.split())
    visible = "".join("\ufffd" if unicodedata.category(c)[0] == "C" else c for c in flat)
    if len(visible) > longest:
        visible = visible[: longest - 1] + "…"
    if visible.startswith(("=", "+", "-", "@")):
        visible = "'" + visible
    for character in "\\`*_[]~#":
        visible = visible.replace(character, "\\" + character)
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "&#124;")):
        visible = visible.replace(character, entity)
    return visible.replace("://", ":&#47;&#47;") or "(unnamed)"


def words(text: str) -> str:
    """Return `text` escaped, but for underscores, which within a word need none."""
    return escape(text).replace("\\_", "_")


def paper_rows(shape: Shape) -> list[Row]:
    """Return the paper's rows of this page; the columns of tasks that the paper does not have are empty there."""
    fields = shape.paper_fields
    return [
        Row(
            name=f"{escape(line['model'])} *(paper)*",
            size_group=line["size_group"],
            domain=line["domain"],
            shown={key: Decimal(line[field]) for key, field in fields.items()},
        )
        for line in shape.paper_lines()
    ]


def is_miniature(result: Mapping[str, Any]) -> bool:
    """The model, or a judge of it, is random, miniature or a mock: its numbers say nothing about medicine."""
    model = result["model"]
    judges = (result.get("judges") or {}).get("judges", ())
    return bool(model["miniature"]) or "mock" in (model["backend"], *(judge["backend"] for judge in judges))


def marks_of(result: Mapping[str, Any]) -> str:
    """Return the marks of a result that is not ranked, "" of one that is."""
    return "".join(mark for mark, has in zip(MARKS, (result["partial"], doubt(result)), strict=False) if has)


def cell_marks(numbers: Mapping[str, Any]) -> str:
    """Return the marks of a cell that is not ranked, as too many of its replies are unread or cut; "" of any other."""
    unread = is_unread_often(numbers)
    return (MARKS[2] if unread else "") + (MARKS[3] if not is_ranked({**numbers, "unread": 0}) else "")


def protocol_label(result: Mapping[str, Any]) -> str:
    """Return what sets a row apart from the strict parser on generated text; empty for that.

    A text task, which lm-eval asks, has its one protocol, which sets nothing apart.
    """
    if (result.get("engine") or {}).get("name") == "lm-eval":
        return ""
    parser = str(result.get("parser") or "").rpartition("-")[0] or "strict"
    marks = ["logprob"] if result["protocol"] == "logprob" else []
    marks += ["answers as text"] if result.get("answer") == "text" else []
    if defence := result.get("defence"):
        marks.append(f"defence {escape(defence['name'])} {defence['sha256'][:8]}")
    marks += ["provider's decoding"] if (result.get("decoding") or {}).get("source") else []
    # It took no temperature: what it then does is its own affair, and need not be greedy.
    marks += ["temperature refused"] if "temperature" in result.get("switched", {}) else []
    marks += [f"cut replies extended by {result['extended']}"] if result.get("extended") else []
    marks += [f"{parser} parser"] if parser != "strict" and parser.replace("-", "").isalnum() else []
    return "".join(f" [{mark}]" for mark in marks)


def run_name(result: Mapping[str, Any]) -> str:
    """Return how a table calls one run: its model, what sets it apart, and its marks."""
    name = f"{escape(str(result['model']['name']))}{protocol_label(result)}"
    return with_marks(name, marks_of(result) + (APART if result.get("apart") else ""))


def p_text(p: float | None) -> str:
    """Return a p-value as a table of Markdown shows it."""
    return "–" if p is None else "&lt;0.001" if p < 0.001 else f"{p:.3f}"


def markdown(lines: Sequence[Sequence[str]], names: int = 1) -> str:
    """Return a table of Markdown whose first line is its heading; columns after the first `names` are of numbers."""
    marks = ["---"] * names + ["---:"] * (len(lines[0]) - names)
    return "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], marks, *lines[1:]])


def own_rows(shape: Shape, results: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Return one row for each model, fingerprint and answer protocol of the results that this page has columns for."""
    rows: dict[tuple[str, ...], Row] = {}
    for result in results:
        if result["task"]["name"] not in shape.entries:
            continue
        model = result["model"]
        group = model["size_group"] if model["size_group"] in GROUP_TITLES else None
        label = protocol_label(result)
        key = (str(model["name"]), str(model["fingerprint"]), label, str(group))
        row = rows.setdefault(
            key, Row(f"{escape(str(model['name']))}{label}", group, escape(str(model.get("domain") or "–")))
        )
        _add_task(row, shape, result)
    return [rows[key] for key in sorted(rows)]


def _add_task(row: Row, shape: Shape, result: Mapping[str, Any]) -> None:
    task = result["task"]["name"]
    row.marks |= set(marks_of(result))
    for each in shape.entries[task].place.columns:
        column, numbers = key_of(task, each), result["cells"].get(each.cell)
        if numbers is None:
            continue
        row.shown[column] = None if numbers["exact"] is None else percent(Fraction(numbers["exact"]))
        row.small_print[column] = _small_print(result, each.cell)
        row.rank(column, numbers, marks_of(result))
        if each.cell in result.get("near", ()):
            row.near.add(column)
        if result.get("apart"):
            row.apart.add(column)
    row.notes.append(_note(shape, result))


def _small_print(result: Mapping[str, Any], cell: str) -> str:
    """Return what stands under a number: k/n (n alone of other means) and its interval; or why there is none."""
    numbers = result["cells"][cell]
    if numbers["exact"] is None:
        why = ("not judged" if numbers["unjudged"] else "not measured") if numbers["n"] else ""
        return why + open_between(numbers)
    low_high = ", ".join(str(percent(Fraction(bound))) for bound in numbers["interval"] or ())
    interval = f"[{low_high}]" if low_high else "no interval"
    clusters = "" if numbers["n_clusters"] == numbers["n"] else f", {numbers['n_clusters']} clusters"
    return f"{interval}, {share_text(result, cell)}{clusters}{open_between(numbers)}"


def open_between(numbers: Mapping[str, Any], step: str = "0.01") -> str:
    """Return what a cell would be had all that was filtered, cut or failed been wrong, and right; "" if nothing was."""
    if not numbers.get("bounds"):
        return ""
    low, high = (percent(Fraction(bound), step) for bound in numbers["bounds"])
    return f"; all wrong {low}, all right {high}"


def ended(numbers: Mapping[str, Any]) -> str:
    """Return in words how the replies of a cell ended."""
    return f"answered {numbers['answered']}" + "".join(f", {words(part)}" for part in [not_answered(numbers)] if part)


def _note(shape: Shape, result: Mapping[str, Any]) -> str:
    """Return the line on one task of a row: its version, counts, jury and run."""
    task, (name, overall) = result["task"], _first_cell(result)
    causes = result.get("unread_by", {}).get(name, {})
    counts = f"n {overall['n']}, {ended({**overall, 'unread_by': causes})}"
    if any(is_unread_often(numbers) for numbers in result["cells"].values()):
        counts += "; many unread◊"
    if overall["unjudged"]:
        counts += f", not judged {overall['unjudged']}"
    if result.get("judges"):
        names = ", ".join(escape(str(judge["name"])) for judge in result["judges"]["judges"])
        split = overall.get("split")
        counts += f"; graded by {names}" + ("" if split is None else f", split {percent(Fraction(split))} %")
        counts += _corrected_text(overall.get("corrected"))
    for name in shape.entries[task["name"]].place.asides:
        exact = result["cells"].get(name, {}).get("exact")
        counts += "" if exact is None else f"; {words(name)} {percent(Fraction(exact))} %"
    if result.get("absent"):
        absent = ", ".join(f"{escape(group)} {count}" for group, count in sorted(result["absent"].items()))
        counts += f"; absent: {absent}"
    if why := doubt(result):
        counts += f"; data not verified: {escape(why)}§"
    if result.get("left_out"):
        counts += f"; left out by this command: {', '.join(map(escape, result['left_out']))}‡"
    for run, why in passed_over(result).items():
        counts += f"; passed over: run {escape(run)}, {escape(why)}"
    partial = "partial† " if result["partial"] else ""
    label = f"{escape(shape.label(task['name']))} {partial}v{escape(str(task['version']))}"
    return f"{label}: {counts}; run {escape(str(result['run']))}{cautioned(result)}"


def _corrected_text(found: Mapping[str, Any] | None) -> str:
    """Return what experts' labels make of a judged number, or that nothing says how far the jury errs."""
    if found is None:
        return "; the jury's own error is not in the interval"
    texts = [
        "no interval" if ends is None else f"[{', '.join(str(percent(Fraction(end))) for end in ends)}]"
        for ends in (found["interval"], found["interval_experts"])
    ]
    wider = "" if found["interval_experts"] is None else f", for experts like these {texts[1]}"
    return (
        f"; corrected with {found['n_labels']} labels of {found['n_experts']} experts "
        f"{percent(Fraction(found['value']))} {texts[0]}{wider}"
    )


def cautioned(result: Mapping[str, Any]) -> str:
    """Return the cautions of a run, each on a line of its own within a cell of a table.

    Before them stands what sets it apart from others of its column, and that somebody else ran it.
    """
    said = SUBMITTED if result.get("submitted") else ""
    if found := result.get("apart"):
        said += f"; {escape('; '.join(found), MAX_CAUTION_CHARS)}{APART}"
    return said + "".join(f"<br>Caution: {escape(text, MAX_CAUTION_CHARS)}" for text in result.get("cautions", ()))


def _first_cell(result: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return name and numbers of the cell whose counts the notes tell: that of all questions, or the first."""
    cells = result["cells"]
    name = "overall" if "overall" in cells else next(iter(cells))
    return name, cells[name]


def page(shape: Shape, results: Sequence[Mapping[str, Any]]) -> str:
    """Return the page: the paper's rows and those of `results` that are not miniatures."""
    rows = paper_rows(shape) + own_rows(shape, [result for result in results if not is_miniature(result)])
    return (
        "\n\n".join([GENERATED, f"# {escape(shape.text.title)}", *shape.text.paragraphs(shape), *tables(shape, rows)])
        + "\n"
    )


def tables(shape: Shape, rows: Sequence[Row]) -> list[str]:
    """Return the blocks of Markdown that show `rows`: a title and a table for each size group, and the footnote."""
    blocks: list[str] = []
    for group, group_title in GROUP_TITLES.items():
        members = [row for row in rows if row.size_group == group]
        if members:
            title = group_title.replace("<", "&lt;").replace(">", "&gt;")
            blocks += [f"## {title}", _table(shape, members, ranked=group not in UNRANKED_GROUPS)]
    said = "".join([*(note for row in rows for note in row.notes), *blocks])
    blocks += [text for mark, text in FOOTNOTES.items() if mark in said]
    return blocks


def _table(shape: Shape, rows: Sequence[Row], ranked: bool) -> str:
    columns = list(shape.columns)
    lines = [
        ["Model", "Domain", *map(escape, shape.columns.values()), "Notes"],
        ["---", "---", *["---:"] * len(columns), "---"],
    ]
    podium = {column: best_two(rows, column) if ranked else [] for column in columns}
    for row in rows:
        numbers = [_number(row, column, podium[column]) for column in columns]
        lines.append([row.title, row.domain, *numbers, "<br>".join(row.notes)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def best_two(rows: Sequence[Row], column: str) -> list[Decimal]:
    """Return the best and the second best of the printed percentages that are ranked."""
    # Ties share a rank and the next value follows it at once, as in the paper's
    # VQA Nursing, where two models are best and a third is second.
    ranked = {row.shown.get(column) for row in rows if column not in row.unranked} - {None}
    return sorted((value for value in ranked if value is not None), reverse=True)[:2]


def marked(text: str, row: Row, column: str, podium: Sequence[Decimal]) -> str:
    """Return `text` with the mark of its value: bold if best, underlined if second, why it is not ranked."""
    value = row.shown[column]
    text += (OFTEN_CUT if column in row.often_cut else "") + (APART if column in row.apart else "")
    if column in row.unranked:
        return text + row.unranked[column]
    if podium and value == podium[0]:
        return f"**{text}**"
    return f"<u>{text}</u>" if value in podium else text


def _number(row: Row, column: str, podium: Sequence[Decimal]) -> str:
    value = row.shown.get(column)
    small = row.small_print.get(column, "")
    if value is None:
        return small or "–"
    text = marked(f"{value:.2f}", row, column, podium)
    near = "≈ " if column in row.near else ""
    return f"{text}<br><small>{near}{small}</small>" if small else text
