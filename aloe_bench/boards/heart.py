"""heart.md: the shape of the paper's Table 4, and what the cues did to each model."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from importlib import resources
from typing import Any

from aloe_bench.boards.controls import controls_blocks
from aloe_bench.boards.prefer import passed_over
from aloe_bench.boards.results import doubt, is_published_heart
from aloe_bench.boards.shares import parts_of, points_text, share_text
from aloe_bench.boards.tables import (
    APART,
    FOOTNOTES,
    GENERATED,
    MARKS,
    OFTEN_CUT,
    RANKED,
    Row,
    best_two,
    cautioned,
    ended,
    escape,
    is_miniature,
    marked,
    marks_of,
    open_between,
    p_text,
    percent,
    run_name,
)
from aloe_bench.evaluation.outcomes import MOST_UNREAD, OUTCOMES, shares_not_answered
from aloe_bench.heart.attacks import shipped
from aloe_bench.heart.wordings import TESTIMONY
from aloe_bench.stats.paired import mde

Result = Mapping[str, Any]

STEP = "0.1"
TITLES = {"baseline": "Base", **{name: attack.heading for name, attack in shipped().items()}, TESTIMONY: "Testimony"}
_COLUMNS = " ".join(f"{attack.heading}: {attack.says}." for attack in shipped().values())
_COLUMNS += " Testimony: an opinion that reports further tests; a reader should believe it, so it stands apart."
LEGEND = (
    f"Accuracy in %, under the *adversarial* cue in all columns but Base. Base: no cue. {_COLUMNS} Own rows are means "
    "over data sets (macro). Best in **bold**, second <u>underlined</u>, computed from the printed digits. ≈: in "
    "the 95 % confidence set for the best of our runs on the same questions, each column by itself; paper rows have no "
    "items to test. ↓: the whole interval lies below guessing, and that of following the cue above it. "
    "Under a number: its 95 % interval over images or patients, and k/n; of a mean over data sets n, and k/n of each "
    "below; where replies were filtered, cut or failed, the accuracy had they all been wrong, and right. Intervals "
    "marked 'like these' are for all wordings like those of the cues. Rows marked *(paper)* are copied from "
    "Aloe-Vision, Table 4, whose own marks are wrong in four places (docs/robustness.md). "
    "Boxes alone: the best rule that sees no picture (box of the most usual size, most central, nearest to where "
    f"findings of other patients lie), chosen on nine tenths of the patients and counted on the last. {RANKED}"
)
EFFECTS = (
    "What the cue did, in points or %. Drop: baseline minus adversarial, paired; p: score test, then by Holm over a "
    "run's tasks and attacks, with Bonferroni's interval; MDE: the drop found with 80 % power at Holm's first step, if "
    "as many answers change as stands beside it. Led: of answers right at the baseline, those "
    "the cue turned to its own option. Excess: cue-following beyond what the baseline already answered so. Rescue: "
    "right under attack, of those wrong before (noise floor). Reliance: assistive minus adversarial accuracy. Neutral: "
    "drop with a text that claims nothing. Not answered: the replies under attack that ended otherwise. A drop with "
    f"over {MOST_UNREAD} % unread on a side is not shown. Bounds: the least and the most that it can be, whatever was "
    "filtered, cut or failed would have said. Intervals are for the wordings of the table's cues; one marked 'like "
    "these' is for all wordings of their kinds that they are a draw of. It stands where the table says how each cue is "
    "worded, in two wordings or more."
)

WORST = (
    "Accuracy under the worst cue, in %: an item is right if it is right under the adversarial cue of every attack. It "
    "falls with the number of attacks, so only tables with the same ones compare."
)


READING = (
    "Drops under cues that are drawn into the picture, beside the share of these cues that the same model names when "
    "asked what they say (run --read): a cue that is not read cannot mislead. Then among the items whose cue was read. "
    "Intervals are for the wordings of this table: other wordings are read, and followed, more or less often; those "
    "marked 'like these' reckon with that."
)


@dataclass(slots=True)
class Section:
    """The runs on one table of questions; `paper` holds Table 4's rows where that table is the published one."""

    title: str
    results: list[Result] = field(default_factory=list)
    paper: bool = False


def heart_page(results: Sequence[Result]) -> str:
    """Return heart.md: Table 4's rows, and those of `results` that are not miniatures."""
    own = [result for result in results if not is_miniature(result)]
    found = _sections(own)
    if not any(section.paper for section in found):
        found.insert(0, Section("The published table", paper=True))
    blocks = [block for section in found for block in _section_blocks(section)]
    controls = controls_blocks([result for result in own if "heart" in result])
    return "\n\n".join([GENERATED, "# HEART", LEGEND, *blocks, *controls, *_footnote(blocks)]) + "\n"


def heart_blocks(results: Sequence[Result]) -> list[str]:
    """Return the blocks for miniature.md: the same tables without the paper's rows; empty if there are none."""
    blocks = []
    for section in _sections(results):
        section.paper = False
        blocks += [
            block.replace("## ", "### ", 1) if block.startswith("## ") else block for block in _section_blocks(section)
        ]
    return ["## HEART", LEGEND, *blocks, *_footnote(blocks)] if blocks else []


def _footnote(blocks: Sequence[str]) -> list[str]:
    marks = (*MARKS, APART, OFTEN_CUT, "passed over: ")
    return [FOOTNOTES[mark] for mark in marks if any(mark in block for block in blocks)]


def _sections(results: Sequence[Result]) -> list[Section]:
    """Return a section for each table of questions: only runs on the same questions stand in one ranking."""
    found: dict[tuple[str, str], Section] = {}
    for result in results:
        if "heart" not in result:
            continue
        task = result["task"]
        key = (str(task["name"]), str(task["data_sha256"]))
        section = found.setdefault(key, Section(f"{escape(task['name'])}, data {escape(key[1][:8])}"))
        section.results.append(result)
        if is_published_heart(task) and not marks_of(result):
            section.title, section.paper = "The published table", True
    return [found[key] for key in sorted(found, key=lambda key: (not found[key].paper, key))]


def _section_blocks(section: Section) -> list[str]:
    random, rows = _paper_rows() if section.paper else (None, [])
    columns = [*rows[0].shown] if rows else []
    for result in section.results:
        columns += [name for name in result["cells"] if name not in columns]
    columns.sort(key=_place)
    rows += [_row(result) for result in section.results]
    random = random or _random(section.results, columns)
    podium = {column: best_two(rows, column) if len(rows) > 1 else [] for column in columns}
    lines = [["Model", *map(_title, columns), "Notes"], ["---", *["---:"] * len(columns), "---"]]
    lines.append([random.name, *(str(random.shown.get(column) or "–") for column in columns), ""])
    lines += _boxes_alone(section.results, columns)
    for row in rows:
        numbers = [_number(row, column, podium[column]) for column in columns]
        lines.append([row.name, *numbers, "<br>".join(row.notes)])
    blocks = [f"## {section.title}", _markdown(lines)]
    if section.results:
        blocks += [EFFECTS, _markdown(_effects(section.results))]
        if worst := _worst(section.results):
            blocks += [WORST, _markdown(worst)]
        if read := _reading(section.results):
            blocks += [READING, _markdown(read)]
        if parts := _parts(section.results):
            blocks.append(parts)
    return blocks


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _place(column: str) -> tuple[str, int, str]:
    """Return where a column stands: Table 4's order, attacks of ours last."""
    task, _, attack = column.partition("/")
    return task, [*TITLES, attack].index(attack), attack


def _title(column: str) -> str:
    task, _, attack = column.partition("/")
    return f"{escape(task.capitalize())} {TITLES.get(attack) or escape(attack)}"


def _paper_rows() -> tuple[Row, list[Row]]:
    """Return the Random row and the models' rows of Table 4."""
    source = resources.files("aloe_bench.boards").joinpath("paper", "table4_robustness.csv")
    rows = []
    for line in csv.DictReader(source.read_text(encoding="utf-8").splitlines()):
        name = f"{escape(line.pop('model'))} *(paper)*"
        rows.append(Row(name, None, "", {column: Decimal(text) for column, text in line.items()}))
    return rows[0], rows[1:]


def _random(results: Sequence[Result], columns: Sequence[str]) -> Row:
    """Return chance by column, from a complete run where there is one: a part may lack a data set or a whole task."""
    row = Row("Random *(computed)*", None, "")
    for result in sorted(results, key=lambda result: bool(result["partial"])):
        for column in (column for column in columns if column in result["cells"]):
            row.shown.setdefault(column, percent(Fraction(_accuracy(result, column)["chance"])))
    return row


def _boxes_alone(results: Sequence[Result], columns: Sequence[str]) -> list[list[str]]:
    """Return the row of what boxes alone give away, from a complete run where there is one; none without boxes."""
    for result in sorted(results, key=lambda result: bool(result["partial"])):
        if found := result["task"].get("told", {}).get("boxes_alone"):
            shown = {
                task: f"{percent(Fraction(one['value']), STEP)}<br>"
                f"<small>{_interval(one['interval'])}, n {one['n']}</small>"
                for task, one in found.items()
            }
            return [["Boxes alone *(computed)*", *(shown.get(c.partition("/")[0], "–") for c in columns), ""]]
    return []


def _accuracy(result: Result, column: str) -> Mapping[str, Any]:
    """Return the macro entry that the cell of `column` shows."""
    task, _, attack = column.partition("/")
    measure = "accuracy" if attack == "baseline" else "adversarial"
    entry: Mapping[str, Any] = result["heart"][task]["columns"][attack][measure]["macro"]
    return entry


def _row(result: Result) -> Row:
    row = Row(run_name(result), None, "")
    for column, numbers in result["cells"].items():
        row.shown[column] = None if numbers["exact"] is None else percent(Fraction(numbers["exact"]), STEP)
        row.small_print[column] = _small_print(result, column, numbers)
        row.rank(column, numbers, marks_of(result))
        if column in result.get("near", ()):
            row.near.add(column)
        if result.get("apart"):
            row.apart.add(column)
    row.notes.append(f"v{escape(str(result['task']['version']))}: {ended(_sums(result['cells']))}")
    row.notes.append(f"run {escape(str(result['run']))}{cautioned(result)}")
    if why := doubt(result):
        row.notes.append(f"data not verified: {escape(why)}§")
    for run, why in passed_over(result).items():
        row.notes.append(f"passed over: run {escape(run)}, {escape(why)}")
    return row


def _sums(cells: Mapping[str, Any]) -> dict[str, Any]:
    """Return the counts of all of a run's cells together."""
    return {key: sum(numbers[key] for numbers in cells.values()) for key in ("n", *OUTCOMES)}


def _small_print(result: Result, column: str, numbers: Result) -> str:
    if numbers["exact"] is None:
        return f"not measured, {numbers['failed']} failed{open_between(numbers, STEP)}"
    below = _accuracy(result, column)["below_chance"] and _followed(result, column)
    clusters = "" if numbers["n_clusters"] == numbers["n"] else f", {numbers['n_clusters']} clusters"
    interval = f"{'↓ ' if below else ''}{_interval(numbers['interval'])}"
    counts = f"{share_text(result, column)}{clusters}{open_between(numbers, STEP)}"
    return f"{interval}, {counts}{_like_these(_accuracy(result, column))}"


def _like_these(entry: Mapping[str, Any]) -> str:
    """Return the interval for all wordings like those used, "" where there is none."""
    found = entry.get("interval_wordings")
    return f"; like these {_interval(found)}" if found else ""


def _followed(result: Result, column: str) -> bool:
    """Return whether the cue of a column was followed more often than guessing would: refusals are not."""
    task, _, attack = column.partition("/")
    following = result["heart"][task]["columns"][attack].get("cue_following", {}).get("macro", {})
    interval = following.get("interval")
    return bool(interval and interval[0] > _accuracy(result, column)["chance"])


def _interval(interval: Sequence[float] | None) -> str:
    if interval is None:
        return "no interval"
    low, high = (percent(Fraction(bound), STEP) for bound in interval)
    return f"[{low}, {high}]"


def _number(row: Row, column: str, podium: Sequence[Decimal]) -> str:
    value, small = row.shown.get(column), row.small_print.get(column, "")
    if value is None:
        return small or "–"
    text = marked(str(value), row, column, podium)
    near = "≈ " if column in row.near else ""
    return f"{text}<br><small>{near}{small}</small>" if small else text


def _effects(results: Sequence[Result]) -> list[list[str]]:
    titles = (
        "Model",
        "Cue",
        "Drop",
        "p",
        "p (Holm)",
        "MDE",
        "Led",
        "Excess",
        "Rescue",
        "Assistive",
        "Reliance",
        "Neutral",
        "Not answered",
    )
    lines = [list(titles), ["---", "---", *["---:"] * 11]]
    for result in results:
        for task, part in result["heart"].items():
            for attack in sorted(part["columns"], key=lambda attack: _place(f"/{attack}")):
                measures = part["columns"][attack]
                if attack != "baseline" and "robustness_gap" in measures:
                    lines.append([run_name(result), _title(f"{task}/{attack}"), *_effect(measures)])
    return lines


def _worst(results: Sequence[Result]) -> list[list[str]]:
    """Return the lines of the accuracies under each item's worst cue; empty where no item has two."""
    lines = []
    for result in results:
        for task, part in result["heart"].items():
            baseline = part["columns"]["baseline"]
            if "worst_of_k" in baseline:
                shown = [_shown(baseline[name]["macro"]) for name in ("accuracy", "worst_of_k")]
                lines.append([run_name(result), task.capitalize(), *shown])
    head = [["Model", "Task", "Accuracy", "Under the worst cue"], ["---", "---", "---:", "---:"]]
    return [*head, *lines] if lines else []


def _reading(results: Sequence[Result]) -> list[list[str]]:
    """Return the lines of what each model read of drawn cues, and its drops where it did; empty if none was asked."""
    names = ("robustness_gap", "cue_read", "robustness_gap_if_read", "cue_following_if_read")
    lines = []
    for result in results:
        for task, part in result["heart"].items():
            for attack in sorted(part["columns"], key=lambda attack: _place(f"/{attack}")):
                found = [part["columns"][attack].get(name, {}).get("macro") for name in names]
                if found[1] is not None:
                    shown = [(entry or {}).get("withheld") or _shown(entry) for entry in found]
                    n = str(found[2]["n"]) if found[2] else "0"
                    lines.append([run_name(result), _title(f"{task}/{attack}"), *shown, n])
    head = [["Model", "Cue", "Drop", "Read", "Drop, of cues read", "Led, of cues read", "n read"],
            ["---", "---", *["---:"] * 5]]  # fmt: skip
    return [*head, *lines] if lines else []


def _parts(results: Sequence[Result]) -> str:
    """Return k/n in each data set of the accuracies that are means over several, "" where none is."""
    lines = [
        [run_name(result), _title(name), escape(dataset), f"{points_text(k)}/{n}"]
        for result in results
        for name in sorted(result["cells"], key=_place)
        for dataset, (k, n) in parts_of(result, name).items()
    ]
    head = [["Model", "Accuracy", "Data set", "Right"], ["---", "---", "---", "---:"]]
    return _markdown([*head, *lines]) if lines else ""


def _effect(measures: Mapping[str, Any]) -> list[str]:
    gap = measures["robustness_gap"]["macro"]
    names = (
        "targeted_attack_success", "excess_cue_following", "rescue", "assistive", "cue_reliance", "neutral_drop",
    )  # fmt: skip
    return [
        gap.get("withheld") or _shown(gap),
        p_text(gap.get("p")) + (f"<br><small>flip {p_text(gap['p_flip'])}</small>" if "p_flip" in gap else ""),
        f"{p_text(gap.get('p_adjusted'))}<br><small>{_interval(gap.get('interval_family'))}</small>",
        mde(gap),
        *(_shown(measures.get(n, {}).get("macro")) for n in names),
        shares_not_answered(measures) or "–",
    ]


def _shown(entry: Mapping[str, Any] | None) -> str:
    if entry is None or entry["value"] is None:
        return "–"
    small = _interval(entry["interval"])
    if entry.get("bounds"):
        small += f"; bounds {_interval(entry['bounds'])}"
    small += _like_these(entry)
    return f"{percent(Fraction(entry['value']), STEP)}<br><small>{small}</small>"
