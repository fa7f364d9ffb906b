"""The figures of a report as SVG that takes its colours from the page, each with its numbers as a table.

Drawn by matplotlib, as the trust report's are: of the two libraries measured for this page (docs/report.md) the one
that is a dependency already.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aloe_bench.judges.agreement.tables import visible
from aloe_bench.reporting.change import CHANGES, changes
from aloe_bench.reporting.read import QuestionSet, ReportedRun
from aloe_bench.reporting.words import percent, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette, which the colour-blind can tell apart; the page sets what stands for each in its two themes.
INK, FAINT = "#010203", "#010204"
COLOURS = {"none": "#010210", "assistive": "#010211", "neutral": "#010212", "adversarial": "#010213"}
VARIABLES = {INK: "ink", FAINT: "faint", **{colour: name for name, colour in COLOURS.items()}}
CHANGE_COLOURS = {name: f"#0103{i:02x}" for i, name in enumerate(CHANGES, 16)}
VARIABLES |= {colour: "change-" + name.replace(" ", "-") for name, colour in CHANGE_COLOURS.items()}
MARKERS = "osD^vP"
WIDTH_IN = 7.6
LONGEST = 34
RUN_STEP, BLOCK_GAP = 0.36, 0.5
STYLE: dict[str, Any] = {
    "font.size": 9, "font.family": "sans-serif", "svg.fonttype": "none", "svg.hashsalt": "aloe-bench",
    "text.parse_math": False, "axes.edgecolor": FAINT, "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK,
    "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
}  # fmt: skip
Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ReportFigure:
    """A drawing, what it shows in words, and its numbers: a heading and rows."""

    name: str
    title: str
    alt: str
    svg: str
    heading: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def figures(each: QuestionSet) -> list[ReportFigure]:
    """Return the figures of one task's runs."""
    found = [_per_cue(each), _drops(each)] if each.attacked else [_per_cell(each)]
    return [*found, *_paired(each), _outcomes(each)]


def _figure(name: str, title: str, draw: Callable[[Axes], None], lines: float, numbers: Entry) -> ReportFigure:
    """Return a figure of about `lines` lines; `numbers` has its heading, rows and what is said of it."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        # A name may hold letters that the font lacks: they are drawn as boxes, and the number table has them whole.
        warnings.filterwarnings("ignore", message="Glyph")
        figure = Figure(figsize=(WIDTH_IN, 0.9 + 0.24 * lines), layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure.add_subplot())
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None}, transparent=True)
    text = file.getvalue()
    svg = re.sub(r"#0[0-9a-f]{5}\b", lambda m: f"var(--{VARIABLES[m[0]]})" if m[0] in VARIABLES else m[0],
                 text[text.index("<svg"):])  # fmt: skip
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    # Several drawings share a page, and what one clips must not clip another.
    svg = re.sub(r'(id="|#)([a-z]\w*[0-9a-f]{6,}|\w+_\d+)', rf"\1{name}-\2", svg)
    return ReportFigure(name, title, numbers["alt"], svg, numbers["heading"], numbers["rows"])


def _short(text: str) -> str:
    text = visible(text)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _columns(run: ReportedRun) -> Mapping[str, Any]:
    """Return task -> attack or "baseline" -> measure -> levels of an attacked table's run."""
    return {task: part["columns"] for task, part in run.section["heart"].items()}


def _per_cue(each: QuestionSet) -> ReportFigure:
    entries: list[tuple[str, str, str, Entry]] = []
    for task in _columns(each.runs[0]):
        for run in each.runs:
            columns = _columns(run)[task]
            entries.append((f"{task}: no cue", run.name, "none", columns["baseline"]["accuracy"]["macro"]))
        for attack in [name for name in _columns(each.runs[0])[task] if name != "baseline"]:
            for variant in ("assistive", "neutral", "adversarial"):
                for run in each.runs:
                    if levels := _columns(run)[task][attack].get(variant):
                        entries.append((f"{task}: {attack}", run.name, variant, levels["macro"]))
    words = {
        "none": "no cue",
        "assistive": "true cue",
        "neutral": "cue that claims nothing",
        "adversarial": "false cue",
    }
    return _dots("accuracy", "How often right, by cue", "accuracy in %", entries, words, each)


def _per_cell(each: QuestionSet) -> ReportFigure:
    entries: list[tuple[str, str, str, Entry]] = [
        (name, run.name, "none", {"value": cell.value, "interval": cell.interval, "n": cell.n})
        for name in each.runs[0].cells
        for run in each.runs
        if (cell := run.cells.get(name)) is not None
    ]
    return _dots("accuracy", "How often right", "accuracy in %", entries[:60], {"none": "accuracy"}, each)


def _drops(each: QuestionSet) -> ReportFigure:
    entries = [
        (f"{task}: {attack}", run.name, "adversarial", measures["robustness_gap"]["macro"])
        for task in _columns(each.runs[0])
        for attack in _columns(each.runs[0])[task]
        for run in each.runs
        for measures in [_columns(run)[task][attack]]
        if "robustness_gap" in measures
    ]
    title = "What a false cue costs: accuracy without it minus accuracy with it, same items"
    return _dots("drops", title, "points lost", entries, {"adversarial": "drop"}, each, zero=True)


def _paired(each: QuestionSet) -> list[ReportFigure]:
    """Return a figure for each pair of neighbouring runs: second minus first, item by item."""
    found = []
    for at, pair in enumerate(each.pairs):
        first, second = each.runs[at].name, each.runs[at + 1].name
        rows = [row for row in pair["rows"] if row["value"] is not None and "led" not in row["row"]]
        entries = [(row["row"].replace("/", ": "), "", "none", row) for row in rows]
        title = f"{_short(second)} against {_short(first)}: the change on the same items"
        figure = _dots(f"paired{at}", title, "points, second minus first", entries, {"none": "change"}, each, zero=True)
        found.append(figure)
    return found


def _dots(
    name: str,
    title: str,
    unit: str,
    entries: Sequence[tuple[str, str, str, Entry]],
    words: Mapping[str, str],
    each: QuestionSet,
    zero: bool = False,
) -> ReportFigure:
    """Return dots with intervals: a block for each label, in it a line for each variant; runs differ by marker."""
    runs = [run.name for run in each.runs if any(entry[1] == run.name for entry in entries)]
    shapes = {run: MARKERS[i % len(MARKERS)] for i, run in enumerate(runs)}
    places, ticks, bottom = _places(entries)

    def draw(axes: Axes) -> None:
        for label, run, variant, entry in entries:
            if entry["value"] is None:
                continue
            spread = RUN_STEP * (runs.index(run) - (len(runs) - 1) / 2) if run in runs else 0
            y, value = places[label, variant] + spread, 100 * entry["value"]
            low, high = (100 * end for end in entry["interval"] or (entry["value"], entry["value"]))
            axes.plot([low, high], [y, y], color=COLOURS[variant], linewidth=1.4, zorder=2)
            filled = not runs or run in ("", runs[0])
            axes.plot([value], [y], shapes.get(run, "o"), color=COLOURS[variant], markersize=5, zorder=3,
                      markerfacecolor=COLOURS[variant] if filled else "none", clip_on=False)  # fmt: skip
        axes.set_yticks([*ticks.values()], [_short(label) for label in ticks])
        axes.set_ylim(bottom, -0.7)
        axes.set_xlabel(unit)
        axes.grid(axis="x", color=FAINT, linewidth=0.4)
        axes.tick_params(axis="y", length=0)
        if zero:
            axes.axvline(0, color=INK, linewidth=0.8)
        else:
            axes.set_xlim(0, 100)
        _legend(axes, words, runs, shapes)

    rows = tuple(
        (label, *((run,) if runs else ()), words[variant], percent(entry["value"]).replace(" %", ""),
         span(entry["interval"]).removeprefix("95 % interval "), str(entry["n"]))
        for label, run, variant, entry in entries
    )  # fmt: skip
    heading = ("Questions", *(("Run",) if runs else ()), "Cue", "%" if not zero else "Points", "95 % interval", "n")
    alt = f"{title}. {len(rows)} values with 95 % intervals; the table below holds each."
    return _figure(name, title, draw, bottom + 0.7, {"alt": alt, "heading": heading, "rows": rows})


def _places(
    entries: Sequence[tuple[str, str, str, Entry]],
) -> tuple[dict[tuple[str, str], float], dict[str, float], float]:
    """Return (label, variant) -> its height, label -> the middle of its lines, and where the last line ends."""
    places: dict[tuple[str, str], float] = {}
    ticks: dict[str, float] = {}
    y = 0.0
    for label in dict.fromkeys(entry[0] for entry in entries):
        variants = list(dict.fromkeys(entry[2] for entry in entries if entry[0] == label))
        places |= {(label, variant): y + i for i, variant in enumerate(variants)}
        ticks[label] = y + (len(variants) - 1) / 2
        y += len(variants) + BLOCK_GAP
    return places, ticks, y - BLOCK_GAP - 0.3


def _legend(axes: Axes, words: Mapping[str, str], runs: Sequence[str], shapes: Mapping[str, str]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=COLOURS[key], linewidth=3, label=word) for key, word in words.items()]
    handles = handles if len(words) > 1 else []
    for i, run in enumerate(runs if len(runs) > 1 else ()):
        handles.append(Line2D([], [], color=INK, marker=shapes[run], linestyle="", label=_short(run),
                              markerfacecolor=INK if i == 0 else "none"))  # fmt: skip
    if handles:
        axes.figure.legend(handles=handles, loc="outside upper left", ncols=min(3, len(handles)), fontsize=8)


def _outcomes(each: QuestionSet) -> ReportFigure:
    counts: dict[tuple[str, str], dict[str, int]] = {}
    for run in each.runs:
        for record, change in zip(run.records, changes(run.records), strict=True):
            cue = f"{record.cue.attack}, {record.cue.variant}" if record.cue else "no cue"
            line = counts.setdefault((cue, run.name), dict.fromkeys(CHANGES, 0))
            line[change] += 1
    order = list(dict.fromkeys(cue for cue, _ in counts))
    lines = sorted(counts, key=lambda key: (order.index(key[0]), [r.name for r in each.runs].index(key[1])))
    used = [name for name in CHANGES if any(line[name] for line in counts.values())]

    def draw(axes: Axes) -> None:
        left = [0.0] * len(lines)
        for name in used:
            shares = [100 * counts[key][name] / sum(counts[key].values()) for key in lines]
            axes.barh(range(len(lines)), shares, 0.8, left, color=CHANGE_COLOURS[name], label=name, linewidth=0)
            left = [end + share for end, share in zip(left, shares, strict=True)]
        names = [f"{cue} · {_short(run)}" if len(each.runs) > 1 else cue for cue, run in lines]
        axes.set_yticks(range(len(lines)), [visible(name) for name in names])
        axes.set_ylim(len(lines) - 0.5, -0.5)
        axes.set_xlim(0, 100)
        axes.set_xlabel("% of questions")
        axes.tick_params(axis="y", length=0)
        axes.figure.legend(loc="outside upper left", ncols=min(5, len(used)), fontsize=8)

    rows = tuple((cue, run, *(str(counts[cue, run][name]) for name in used)) for cue, run in lines)
    alt = "What became of the answers: of each kind of question, the shares " + ", ".join(used) + "."
    numbers = {"alt": alt, "heading": ("Cue", "Run", *used), "rows": rows}
    return _figure("outcomes", "What became of the answers", draw, len(lines) + 2, numbers)
