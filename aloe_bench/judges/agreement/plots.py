"""The three plots of the trust report, as SVG text."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aloe_bench.errors import DependencyError
from aloe_bench.judges.agreement.measure import Agreement
from aloe_bench.judges.agreement.reading import RELIABLE, TENTATIVE
from aloe_bench.judges.agreement.tables import WITH_PANEL, visible
from aloe_bench.judges.jury.panel import JURY
from aloe_bench.stats.intervals import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, BLUE, GREY, RED = "#1f2933", "#1d5f99", "#8a94a0", "#b3361e"
MAX_LABEL_CHARS = 32
STYLE: dict[str, Any] = {
    "font.size": 10,
    "font.family": "sans-serif",
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    # A rater named "$x" is not a formula.
    "text.parse_math": False,
    # The same study gives the same bytes.
    "svg.hashsalt": "aloe-bench",
}


def check_matplotlib() -> None:
    """Raise DependencyError, naming the extra, if the plots cannot be drawn."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise DependencyError(
            "--report draws with matplotlib, which is not installed; run: pip install 'aloe-bench[report]'"
        ) from error


def plots(result: Agreement) -> dict[str, tuple[str, str]]:
    """Return file stem -> (what it shows, SVG text); those of the jury only with a run."""
    found = {"alpha": ("Krippendorff's alpha with bootstrap intervals", _drawn(_alpha, result))}
    if result.panel is not None:
        title = "Expert ratings (rows) by the jury's grade (columns)"
        found["confusion"] = (title, _drawn(_confusion, result))
        found["bias"] = ("Mean of each judge's grade minus the experts', with intervals", _drawn(_bias, result))
    return found


def _drawn(draw: Callable[[Figure, Agreement], None], result: Agreement) -> str:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        # A name in a script that the font lacks shows as boxes; the tables have it in full.
        warnings.filterwarnings("ignore", message="Glyph")
        figure = Figure(layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure, result)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg") :]


def _short(name: str) -> str:
    name = visible(name)
    return name if len(name) <= MAX_LABEL_CHARS else name[: MAX_LABEL_CHARS - 1] + "…"


def _points(axes: Axes, rows: list[tuple[str, float | None, Interval | None, str]]) -> None:
    for at, (_, value, interval, colour) in enumerate(rows):
        if interval is not None:
            axes.plot(interval, (at, at), color=colour, linewidth=2, solid_capstyle="butt")
        if value is not None:
            axes.plot(value, at, "o", color=colour, markersize=6)
    axes.set_yticks(range(len(rows)), [row[0] for row in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#e3e7eb", linewidth=0.8)
    axes.set_axisbelow(True)


def _alpha(figure: Figure, result: Agreement) -> None:
    level = result.level
    rows = [("experts alone", result.humans[level].value, result.humans[level].bootstrap, INK)]
    if result.panel is not None:
        with_panel = result.panel.alpha[level]
        rows.append((WITH_PANEL[result.mode], with_panel.value, with_panel.bootstrap, BLUE))
        for judge in result.panel.judges:
            found = judge.extra_rater
            if judge.name != JURY or result.mode != "extra-rater":
                rows.append((f"experts and {_short(judge.name)}", found.value, found.bootstrap, GREY))
        for swap in result.panel.swaps:
            name = f"jury instead of {_short(swap.human)}"
            rows.append((name, swap.swapped.value, swap.swapped.bootstrap, RED))
    figure.set_size_inches(7.5, 0.9 + 0.32 * len(rows))
    axes = figure.subplots()
    _points(axes, rows)
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, TENTATIVE - 0.05), max(high, 1.0))
    for bound, name in ((TENTATIVE, "tentative"), (RELIABLE, "reliable")):
        axes.axvline(bound, color=GREY, linestyle="--", linewidth=1)
        axes.annotate(name, (bound, 1), (3, 2), xycoords=("data", "axes fraction"), textcoords="offset points",
                      color=GREY, fontsize=8.5)  # fmt: skip
    axes.set_xlabel(f"alpha ({level}), 95 % bootstrap interval")


def _bias(figure: Figure, result: Agreement) -> None:
    judges = result.panel.judges if result.panel is not None else []
    rows = [
        (_short(judge.name), judge.bias.value, judge.bias.interval, INK if judge.name == "jury" else BLUE)
        for judge in judges
    ]
    figure.set_size_inches(7.5, 1.0 + 0.34 * len(rows))
    axes = figure.subplots()
    _points(axes, rows)
    reach = max([0.05, *(abs(x) for _, value, interval, _ in rows for x in (value or 0.0, *(interval or ())))])
    axes.set_xlim(-1.15 * reach, 1.15 * reach)
    axes.axvline(0, color=GREY, linewidth=1)
    axes.set_xlabel("strict  ←  mean grade minus the experts'  →  lenient")


def _confusion(figure: Figure, result: Agreement) -> None:
    counts = result.panel.confusion.ratings if result.panel is not None else []
    names = [f"{value:g}" for value in result.values]
    side = 1.6 + 0.75 * len(names)
    figure.set_size_inches(side + 0.6, side)
    axes = figure.subplots()
    # Shaded by the share of the row, so that a rare grade is seen as well as a common one.
    shares = [[count / max(1, sum(row)) for count in row] for row in counts]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for y, row in enumerate(counts):
        for x, count in enumerate(row):
            colour = "white" if shares[y][x] > 0.55 else INK
            axes.text(x, y, f"{count}\n{100 * shares[y][x]:.0f} %", ha="center", va="center", color=colour)
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel("the jury's grade")
    axes.set_ylabel("an expert's grade")
