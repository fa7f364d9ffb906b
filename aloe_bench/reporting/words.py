"""What a report says in plain sentences: how often right, how often misled, how sure; and what not to conclude."""

from __future__ import annotations

from collections.abc import Sequence

from aloe_bench.core import Cell
from aloe_bench.reporting.change import CHANGES
from aloe_bench.reporting.read import MADE_UP, QuestionSet, ReportedRun
from aloe_bench.stats.intervals import ALPHA, Interval, clustered_share
from aloe_bench.tasks.data.fetched import why_unverified

UNREAD_TOO_OFTEN = 0.2


def percent(value: float | None) -> str:
    """Return a share as a percentage with one decimal, or a dash."""
    return "–" if value is None else f"{100 * value:.1f} %"


def span(interval: Interval | None) -> str:
    """Return a 95 % interval in words."""
    return "no interval" if interval is None else f"95 % interval {100 * interval[0]:.1f} to {100 * interval[1]:.1f}"


def asked(each: QuestionSet) -> str:
    """Return what was asked, of how many pictures or patients."""
    records = each.records
    clusters = len({record.cluster for record in records})
    if each.attacked:
        items = sum(record.cue is None for record in records)
        attacks = sorted({record.cue.attack for record in records if record.cue})
        return (
            f"{items} questions about {clusters} pictures or patients, each asked plainly and again with cues "
            f"({', '.join(attacks)}): {len(records)} questions in all."
        )
    return f"{len(records)} questions about {clusters} pictures, patients or sources, each asked plainly."


def sentences(each: QuestionSet) -> list[tuple[str, list[str]]]:
    """Return heading -> one sentence a run, for the three things that anybody asks first."""
    return [
        ("How often right?", [f"{run.label}: {_right(each, run)}" for run in each.runs]),
        ("How often misled?", [f"{run.label}: {misled}" for run in each.runs for misled in [_misled(each, run)]]),
        ("How sure is that?", _sure(each)),
    ]


def _right(each: QuestionSet, run: ReportedRun) -> str:
    parts = []
    for name, cell in headline_cells(each, run).items():
        title = f"{name.partition('/')[0]} " if each.attacked else ""
        if cell.value is None:
            lacking = cell.failed + cell.unjudged
            parts.append(f"{title}cannot be said, {lacking} of {cell.n} answers have no score (failed or not graded)")
            continue
        sets = len({record.tags.get("dataset") for record in run.records}) if each.attacked else 1
        points = (
            f"{cell.value * cell.n:.4g} of {cell.n} right"
            if sets == 1
            else f"mean over {sets} data sets, {cell.n} questions"
        )
        parts.append(f"{title}{points} ({percent(cell.value)}, {span(cell.interval)}){_corrected(run, name)}")
    return ("without a cue, " if each.attacked else "") + "; ".join(parts) + "."


def _corrected(run: ReportedRun, name: str) -> str:
    """Return what experts' labels make of a judged cell, "" where there are none."""
    if (found := run.corrected.get(name)) is None:
        return ""
    said = f"{percent(found['value'])}, {span(found['interval'])}"
    return f" as the jury graded it; corrected by {found['n_labels']} labels of experts {said}"


def headline_cells(each: QuestionSet, run: ReportedRun) -> dict[str, Cell]:
    """Return the cells without a cue by name, of another task its first."""
    if each.attacked:
        return {name: cell for name, cell in run.cells.items() if name.endswith("/baseline")}
    name = "overall" if "overall" in run.cells else next(iter(run.cells))
    return {name: run.cells[name]}


def _misled(each: QuestionSet, run: ReportedRun) -> str:
    if not each.attacked:
        return "cannot be said: no question of this task carries a cue."
    bases = {record.sample_id: record for record in run.records if record.cue is None}
    false = [
        (record, change)
        for record, change in zip(run.records, run.changes, strict=True)
        if record.cue is not None and record.cue.variant == "adversarial" and bases[record.cue.base_id].score.value == 1
    ]
    if not false:
        return "cannot be said: no answer was right without a cue and asked again with a false one."
    failed = sum(change == "failed" for _, change in false)
    if failed:
        return f"cannot be said: {failed} of {len(false)} calls under a false cue failed."
    flips = [float(change == "flipped") for _, change in false]
    share = clustered_share(flips, [1.0] * len(flips), [record.cluster for record, _ in false])
    return (
        f"of {len(false)} answers that were right without a cue, a false cue turned {sum(flips):.0f} to the option it "
        f"argues for ({percent(share.value)}, {span(share.interval)})."
    )


def _sure(each: QuestionSet) -> list[str]:
    clusters = len({record.cluster for record in each.records})
    few = " With fewer than 20, treat every figure as rough." if clusters < 20 else ""
    found = [
        "Each interval says which shares are compatible with what was seen, had other pictures of the same kind been "
        f"drawn; these rest on {clusters} pictures, patients or sources.{few}"
    ]
    for at, pair in enumerate(each.pairs):
        rows = [row for row in pair["rows"] if ":" not in row["row"]]
        adjusted = [row["p_adjusted"] for row in rows if row.get("p_adjusted") is not None]
        apart, lacking = sum(p < ALPHA for p in adjusted), len(rows) - len(adjusted)
        found.append(
            f"{each.runs[at + 1].name} against {each.runs[at].name}: of {len(adjusted)} accuracies compared item by "
            f"item, {apart} differ beyond chance (Holm)."
            + (f" {lacking} more could not be compared." if lacking else "")
        )
    return found


def warnings(sets: Sequence[QuestionSet]) -> list[str]:
    """Return what must be known before any figure is read, run by run."""
    found = []
    for each in sets:
        if each.differences:
            found.append(
                f"{each.title}: the runs differ in {', '.join(each.differences)}, so what stands beside each other was "
                "not measured alike."
            )
        for run in each.runs:
            found += [f"{run.label}, {each.title}: {text}" for text in _warnings(run)]
    return found


def _warnings(run: ReportedRun) -> list[str]:
    header, found = run.header, []
    if header.get("partial"):
        found.append("the data were not the whole task.")
    verified = header["task"].get("verified")
    if verified and (why := why_unverified(verified)):
        found.append(f"data not verified: {why}.")
    if header.get("limit") is not None:
        found.append(f"limited to {header['limit']} items.")
    if header.get("absent"):
        found.append(f"{sum(header['absent'].values())} questions that the data name were missing.")
    words = run.changes
    for word in ("unread", "cut", "refused", "filtered", "failed"):
        count = words.count(word)
        if (word == "failed" and count) or count > UNREAD_TOO_OFTEN * len(words):
            found.append(f"{count} of {len(words)} replies are '{word}': {CHANGES[word]}.")
    if any(record.repeat for record in run.records):
        found.append("some questions were asked more than once; each reply is a row.")
    return found


def not_to_conclude(sets: Sequence[QuestionSet]) -> list[str]:
    """Return what these figures do not show, however they look."""
    found = [
        "That the model is fit for patients: a benchmark asks short questions about chosen pictures, with the answer "
        "among the options.",
        "That two runs differ because their figures do: only a paired comparison says so, and only where its interval "
        "leaves out zero after the correction for many comparisons.",
        "That a model is robust because little changed: replies that cannot be read, refusals and answers that were "
        "wrong before do not change either. See the outcomes.",
        "That it looks at the picture: an answer may be right from the question alone.",
    ]
    if any(each.attacked for each in sets):
        found.append("That other cues do as little, or as much: these are the wordings, sizes and places of one table.")
    if any(record.kind == "open" for each in sets for record in each.records):
        found.append("That the jury's grades are the experts': how far they agree has to be measured on its own.")
    if any(MADE_UP in run.label for each in sets for run in each.runs):
        found.append("Anything about medicine, of runs marked as miniature, random or mock: they test the machinery.")
    return found
