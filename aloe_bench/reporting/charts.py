"""Charts: drawn once, for the page with its colours as variables, and for paper as SVG or PNG.

Drawn by matplotlib, as the trust report's are: of the two libraries measured for this page (docs/report.md) the one
that is a dependency already.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Literal

from aloe_bench.judges.agreement.tables import visible
from aloe_bench.reporting.change import CHANGES
from aloe_bench.reporting.words import percent, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Entry = Mapping[str, Any]
# What a mark stands for, whose colour page.css sets in both themes (Okabe and Ito's palette), to that colour.
Ink = Callable[[str], str]
Draw = Callable[["Axes", Ink], None]
PaperForm = Literal["svg", "png"]
_WORDS = tuple(f"change-{word.replace(' ', '-')}" for word in CHANGES)
ROLES = ("ink", "faint", "none", "assistive", "neutral", "adversarial", *_WORDS)
# Colours that stand for a role until the drawing is text, in which each becomes a variable of the page.
STAND_INS = {role: f"#0102{number:02x}" for number, role in enumerate(ROLES, 16)}
MARKERS = "osD^vP"
CURVES = ("adversarial", "none", "assistive", "neutral")
WIDTH_IN = 7.6
PAPER_DPI = 200
LONGEST = 34
RUN_STEP, BLOCK_GAP = 0.36, 0.5


@dataclass(frozen=True, slots=True)
class ReportFigure:
    """A chart of about `lines` lines, what it shows in words, and its numbers: a heading and rows."""

    name: str
    title: str
    alt: str
    draw: Draw
    lines: float
    heading: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def on_page(self, place: str) -> str:
        """Return it as SVG in the page's colours; `place` tells its inner names from those of other charts there."""
        text = self._drawn(STAND_INS.__getitem__, "svg", {"Date": None}, transparent=True).decode()
        roles = {colour: role for role, colour in STAND_INS.items()}
        svg = re.sub(r"#0102[0-9a-f]{2}\b", lambda m: f"var(--{roles[m[0]]})", text[text.index("<svg") :])
        svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
        # Several drawings share a page, and what one clips must not clip another.
        return re.sub(r'(id="|#)([a-z]\w*[0-9a-f]{6,}|\w+_\d+)', rf"\1{place}-\2", svg)

    def on_paper(self, form: PaperForm) -> bytes:
        """Return it as a file on white, in the light theme's colours; title and alt text are in the file."""
        said: dict[str, str | None] = {"Title": visible(self.title), "Description": visible(self.alt)}
        said |= {"Date": None} if form == "svg" else {}
        return self._drawn(light_colours().__getitem__, form, said, transparent=False)

    def _drawn(self, ink: Ink, form: PaperForm, said: Mapping[str, str | None], transparent: bool) -> bytes:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        with matplotlib.rc_context(_style(ink)), warnings.catch_warnings():
            # A name may hold letters that the font lacks: they are drawn as boxes, and the number table has them whole.
            warnings.filterwarnings("ignore", message="Glyph")
            figure = Figure(figsize=(WIDTH_IN, 0.9 + 0.24 * self.lines), layout="constrained")
            FigureCanvasAgg(figure)
            self.draw(figure.add_subplot(), ink)
            # Laid out once: saving would draw everything twice for it.
            if engine := figure.get_layout_engine():
                engine.execute(figure)
            figure.set_layout_engine("none")
            file = io.BytesIO()
            figure.savefig(file, format=form, dpi=PAPER_DPI, transparent=transparent, metadata=dict(said))
        return file.getvalue()


def _style(ink: Ink) -> dict[str, Any]:
    return {
        "font.size": 9, "font.family": "sans-serif", "svg.fonttype": "none", "svg.hashsalt": "aloe-bench",
        "text.parse_math": False, "axes.edgecolor": ink("faint"), "axes.labelcolor": ink("ink"),
        "text.color": ink("ink"), "xtick.color": ink("ink"), "ytick.color": ink("ink"), "axes.spines.top": False,
        "axes.spines.right": False, "legend.frameon": False,
    }  # fmt: skip


@cache
def light_colours() -> Mapping[str, str]:
    """Return role -> colour in the page's light theme."""
    css = resources.files("aloe_bench.reporting").joinpath("assets", "page.css").read_text(encoding="utf-8")
    blocks = re.findall(r"^:root \{(.*?)\}", css, re.MULTILINE | re.DOTALL)
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]+)", " ".join(blocks)))


def short(text: str) -> str:
    """Return a name that fits beside an axis."""
    text = visible(text)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def dots(
    name: str,
    title: str,
    unit: str,
    entries: Sequence[tuple[str, str, str, Entry]],
    words: Mapping[str, str],
    zero: bool = False,
) -> ReportFigure:
    """Return dots with intervals: a block for each label, in it a line for each variant; runs differ by marker.

    An entry is (label, run, variant, {value, interval, n}), values in shares; `words` says what each variant is. With
    `zero` they are differences, else shares of 0 to 100 %.
    """
    runs = list(dict.fromkeys(run for _, run, _, _ in entries if run))
    shapes = {run: MARKERS[i % len(MARKERS)] for i, run in enumerate(runs)}
    places, ticks, bottom = _places(entries)

    def draw(axes: Axes, ink: Ink) -> None:
        for label, run, variant, entry in entries:
            if entry["value"] is None:
                continue
            spread = RUN_STEP * (runs.index(run) - (len(runs) - 1) / 2) if run in runs else 0
            y, value = places[label, variant] + spread, 100 * entry["value"]
            low, high = (100 * end for end in entry["interval"] or (entry["value"], entry["value"]))
            axes.plot([low, high], [y, y], color=ink(variant), linewidth=1.4, zorder=2)
            filled = not runs or run in ("", runs[0])
            axes.plot([value], [y], shapes.get(run, "o"), color=ink(variant), markersize=5, zorder=3,
                      markerfacecolor=ink(variant) if filled else "none", clip_on=False)  # fmt: skip
        axes.set_yticks([*ticks.values()], [short(label) for label in ticks])
        axes.set_ylim(bottom, -0.7)
        axes.set_xlabel(unit)
        axes.grid(axis="x", color=ink("faint"), linewidth=0.4)
        axes.tick_params(axis="y", length=0)
        if zero:
            axes.axvline(0, color=ink("ink"), linewidth=0.8)
        else:
            axes.set_xlim(0, 100)
        _legend(axes, ink, {key: word for key, word in words.items() if len(words) > 1}, runs, shapes)

    rows = tuple(
        (label, *((run,) if runs else ()), words[variant], *_numbers(entry)) for label, run, variant, entry in entries
    )
    heading = ("Questions", *(("Run",) if runs else ()), "What", "%" if not zero else "Points", "95 % interval", "n")
    return ReportFigure(name, title, _alt(title, rows), draw, bottom + 0.7, heading, rows)


def curves(
    name: str, title: str, axes_names: tuple[str, str], lines: Mapping[str, Sequence[tuple[float, Entry]]]
) -> ReportFigure:
    """Return a line a name, through points (x, {value, interval, n, curve}) in order; values and curve in shares."""

    def draw(axes: Axes, ink: Ink) -> None:
        for number, (label, points) in enumerate(lines.items()):
            colour, xs = ink(CURVES[number % len(CURVES)]), [x for x, _ in points]
            axes.plot(xs, [100 * entry["curve"] for _, entry in points], color=colour, linewidth=1.2,
                      linestyle=("-", "--", ":")[number % 3])  # fmt: skip
            for x, entry in points:
                low, high = (100 * end for end in entry["interval"] or (entry["value"], entry["value"]))
                axes.plot([x, x], [low, high], color=colour, linewidth=1.4)
            axes.plot(xs, [100 * entry["value"] for _, entry in points], MARKERS[number % len(MARKERS)], color=colour,
                      markersize=5, label=short(label), clip_on=False)  # fmt: skip
        axes.set_xticks(sorted({x for points in lines.values() for x, _ in points}))
        axes.set_ylim(0, 100)
        axes.set_xlabel(axes_names[0])
        axes.set_ylabel(axes_names[1])
        axes.grid(axis="y", color=ink("faint"), linewidth=0.4)
        if len(lines) > 1:
            axes.figure.legend(loc="outside upper left", ncols=min(3, len(lines)), fontsize=8)

    rows = tuple(
        (label, f"{x:g}", *_numbers(entry), percent(entry["curve"]).replace(" %", ""))
        for label, points in lines.items()
        for x, entry in points
    )
    heading = ("Line", axes_names[0], "%", "95 % interval", "n", "rising curve, %")
    return ReportFigure(name, title, _alt(title, rows), draw, 11, heading, rows)


def bars(
    name: str, title: str, counts: Mapping[tuple[str, str], Mapping[str, int]], used: Sequence[str], many_runs: bool
) -> ReportFigure:
    """Return a bar for each (cue, run), divided into what became of the answers."""
    lines = list(counts)

    def draw(axes: Axes, ink: Ink) -> None:
        left = [0.0] * len(lines)
        for word in used:
            shares = [100 * counts[key][word] / sum(counts[key].values()) for key in lines]
            colour = ink("change-" + word.replace(" ", "-"))
            axes.barh(range(len(lines)), shares, 0.8, left, color=colour, label=word, linewidth=0)
            left = [end + share for end, share in zip(left, shares, strict=True)]
        names = [f"{cue} · {short(run)}" if many_runs else cue for cue, run in lines]
        axes.set_yticks(range(len(lines)), [visible(each) for each in names])
        axes.set_ylim(len(lines) - 0.5, -0.5)
        axes.set_xlim(0, 100)
        axes.set_xlabel("% of questions")
        axes.tick_params(axis="y", length=0)
        axes.figure.legend(loc="outside upper left", ncols=min(5, len(used)), fontsize=8)

    rows = tuple((cue, run, *(str(counts[cue, run][word]) for word in used)) for cue, run in lines)
    alt = f"{title}: of each kind of question, the shares {', '.join(used)}; the table below counts each."
    return ReportFigure(name, title, alt, draw, len(lines) + 2, ("Cue", "Run", *used), rows)


def _numbers(entry: Entry) -> tuple[str, str, str]:
    interval = span(entry["interval"]).removeprefix("95 % interval ")
    return percent(entry["value"]).replace(" %", ""), interval, str(entry["n"])


def _alt(title: str, rows: Sequence[tuple[str, ...]]) -> str:
    return f"{title}. {len(rows)} values with 95 % intervals; the table below holds each."


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


def _legend(axes: Axes, ink: Ink, words: Mapping[str, str], runs: Sequence[str], shapes: Mapping[str, str]) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=ink(key), linewidth=3, label=word) for key, word in words.items()]
    for i, run in enumerate(runs if len(runs) > 1 else ()):
        handles.append(Line2D([], [], color=ink("ink"), marker=shapes[run], linestyle="", label=short(run),
                              markerfacecolor=ink("ink") if i == 0 else "none"))  # fmt: skip
    if handles:
        axes.figure.legend(handles=handles, loc="outside upper left", ncols=min(3, len(handles)), fontsize=8)
