"""Figures of what only some runs hold: cues at several strengths, image controls, worded cues, experts' labels."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import nan

from aloe_bench.boards.dose import doses_of, strengths
from aloe_bench.core import Record
from aloe_bench.errors import AloeError
from aloe_bench.evaluation.corrected import Labels
from aloe_bench.evaluation.reliance import SAID
from aloe_bench.reporting.charts import Entry, ReportFigure, curves, dots, short
from aloe_bench.reporting.read import QuestionSet, ReportedRun
from aloe_bench.seeds import rng_for
from aloe_bench.stats.intervals import Share, clustered_share
from aloe_bench.stats.paired import mean_difference, numbers_of

log = logging.getLogger(__name__)

WORST = 8
# Answers that a wording needs in either half: with fewer its share is noise, and the worst of them noise alone.
LEAST = 10
OVER = {
    "baseline": ("none", "its own picture: right"),
    "blank": ("neutral", "a grey picture: right"),
    "swap_follows": ("adversarial", "another item's picture: names what that shows"),
    "swap_stays": ("assistive", "another item's picture: stays with the asked one's truth"),
}


def controls(each: QuestionSet) -> list[ReportFigure]:
    """Return what the answers owe to the picture, of runs with image controls (`run --controls`)."""
    found = [(run, group, entry) for run in each.runs for group, entry in run.reliance.items()]
    shares = [
        (_questions(group), run.name, OVER[name][0], entry[name])
        for run, group, entry in found
        for name in OVER
        if name in entry
    ]
    words = {colour: text for name, (colour, text) in OVER.items() if any(name in entry for _, _, entry in found)}
    contrasts = [
        (f"{_questions(group)}: {SAID[name]}", run.name, "none", entry[name])
        for run, group, entry in found
        for name in ("image_reliance", "shown_over_asked")
        if name in entry
    ]
    if not found:
        return []
    chance = ", ".join(f"{_questions(g)} {100 * e['chance']:.1f} %" for _, g, e in found[:1] if "chance" in e)
    title = "What the picture is for: the same questions over other pictures" + (
        f" (guessing: {chance})" if chance else ""
    )
    said = (
        "Image reliance: accuracy minus that over a grey picture; and whose truth answers name over another's picture"
    )
    return [
        dots("controls", title, "answers in %", shares, words),
        dots("reliance", said, "points", contrasts, {"none": "difference"}, zero=True),
    ]


READ = {
    "cue_read": ("none", "the model names what the cue says"),
    "cue_following_if_read": ("adversarial", "of those: its question is answered with the cue's option"),
}


def read_cues(each: QuestionSet) -> list[ReportFigure]:
    """Return how many drawn false cues each model could read, of runs that were asked (`run --read`)."""
    entries = [
        (f"{task}: {attack}", run.name, variant, measures[name]["macro"])
        for run in each.runs
        for task, part in (run.section["heart"] if each.attacked else {}).items()
        for attack, measures in part["columns"].items()
        for name, (variant, _) in READ.items()
        if name in measures
    ]
    title = "Was the false cue read? A cue that a model cannot read does not mislead it; these wordings alone"
    return [dots("read", title, "of cues in %", entries, dict(READ.values()))] if entries else []


def _questions(group: str) -> str:
    return "all" if group == "overall" else group


@dataclass(frozen=True, slots=True)
class WordedAnswer:
    """An answer right without a cue, and what a false one in some wording did: 1 turned to its option, 0 not."""

    wording: str
    cluster: str
    led: float


def wordings(each: QuestionSet) -> list[ReportFigure]:
    """Return the wordings that misled each run most, on other pictures than they were chosen on."""
    found = {run.name: worst_wordings(_worded(run)) for run in each.runs} if each.attacked else {}
    made = []
    for number, (run, (worst, n_ranked, n_left)) in enumerate(found.items()):
        if n_ranked < 2:
            continue
        entries: list[tuple[str, str, str, Entry]] = [
            (wording, "", "adversarial", {"value": share.value, "interval": share.interval, "n": share.n})
            for wording, share in worst.items()
        ]
        few = f"; {n_left} with a failed call, or fewer than {LEAST} answers in a half, left out" if n_left else ""
        chosen = f"{len(worst)} of {n_ranked}, chosen on half of the pictures, shown on the other half"
        title = f"Worst wordings for {short(run)}: {chosen}{few}"
        unit = "of answers right without the cue, turned to its option, in %"
        made.append(dots(f"wordings{number}", title, unit, entries, {"adversarial": "false cue"}))
    return made


def worst_wordings(answers: Sequence[WordedAnswer]) -> tuple[dict[str, Share], int, int]:
    """Return wording -> the share it turned, the worst first; how many were ranked; how many were not, too rare
    or with a failed call.

    The worst of many looks worse than it is where it was chosen. So half of the clusters, by lot, choose, and the
    shares are those of the other half.
    """
    chosen_on = _shares(answer for answer in answers if _chooses(answer.cluster))
    shown_on = _shares(answer for answer in answers if not _chooses(answer.cluster))
    enough = [w for w, share in chosen_on.items() if share.n >= LEAST and _enough(shown_on.get(w))]
    worst = sorted(enough, key=lambda wording: (-(chosen_on[wording].value or 0.0), wording))[:WORST]
    n_left = len({answer.wording for answer in answers}) - len(enough)
    return {wording: shown_on[wording] for wording in worst}, len(enough), n_left


def _enough(share: Share | None) -> bool:
    return share is not None and share.n >= LEAST


def _chooses(cluster: str) -> bool:
    return rng_for(0, "worst-wordings", cluster).random() < 0.5


def _worded(run: ReportedRun) -> list[WordedAnswer]:
    right = {record.sample_id for record in run.records if record.cue is None and record.score.value == 1}
    return [
        WordedAnswer(f"{record.cue.attack}: {record.tags['wording']}", record.cluster, _led(record))
        for record in run.records
        if record.cue is not None
        and record.cue.variant == "adversarial"
        and record.tags.get("wording")
        and record.cue.base_id in right
    ]


def _led(record: Record) -> float:
    if record.score.value is None or record.cue is None:
        return nan
    return float(record.score.parsed is not None and record.score.parsed == record.cue.suggests)


def _shares(answers: Iterable[WordedAnswer]) -> dict[str, Share]:
    """Return wording -> the share led; without those of which a call failed, as no subset poses as the whole."""
    groups: defaultdict[str, list[WordedAnswer]] = defaultdict(list)
    for answer in answers:
        groups[answer.wording].append(answer)
    return {
        wording: clustered_share([a.led for a in some], [1.0] * len(some), [a.cluster for a in some])
        for wording, some in groups.items()
        if not any(a.led != a.led for a in some)
    }


def jury(each: QuestionSet) -> list[ReportFigure]:
    """Return how the jury's grades differ from the experts', of runs that hold labels (`agreement --correct`)."""
    labelled = [(run, run.labels) for run in each.runs if run.labels is not None]
    entries = [
        (name, run.name, "none", entry)
        for run, labels in labelled
        for name, entry in _graders(run.records, labels).items()
    ]
    cells: list[tuple[str, str, str, Entry]] = []
    for run, _ in labelled:
        for name, entry in run.corrected.items():
            cell = run.cells[name]
            cells.append((name, run.name, "none", {"value": cell.value, "interval": cell.interval, "n": cell.n}))
            cells.append((name, run.name, "assistive", {**entry, "n": entry["n_labels"]}))
    made = []
    if entries:
        title = "Jury against experts: mean grade minus the experts' mean, same answers"
        made.append(dots("jury", title, "points: strict below 0, lenient above", entries, {"none": "grade"}, zero=True))
    if cells:
        words = {"none": "as the jury graded it", "assistive": "corrected by the experts' labels (n: labels)"}
        made.append(dots("corrected", "Judged cells, and the same corrected by experts", "score in %", cells, words))
    return made


def _graders(records: Sequence[Record], labels: Labels) -> dict[str, Entry]:
    """Return the jury and each judge -> the difference of its grades from the experts' on what both graded."""
    pairs: defaultdict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for record in records:
        given = [grades[record.sample_id] for grades in labels.experts.values() if record.sample_id in grades]
        if not given or not record.score.verdicts:
            continue
        graded = [("jury", record.score.value), *((v.judge, v.grade) for v in record.score.verdicts)]
        for name, grade in graded:
            if grade is not None:
                pairs[name].append((grade, sum(given) / len(given), record.cluster))
    return {
        name: numbers_of(mean_difference([([g for g, _, _ in some], [e for _, e, _ in some], [c for *_, c in some])]))
        for name, some in pairs.items()
    }


def doses(sets: Sequence[QuestionSet]) -> tuple[list[ReportFigure], list[str]]:
    """Return the dose curves over runs of one model on tables of several strengths, and of which there are none."""
    remarks: list[str] = []
    same: defaultdict[tuple[str, str], list[ReportedRun]] = defaultdict(list)
    for run in (run for each in sets if each.attacked for run in each.runs):
        same[str(run.header["task"]["name"]), str(run.header["model"]["fingerprint"])].append(run)
    lines: defaultdict[tuple[str, str, str], dict[str, list[tuple[float, Entry]]]] = defaultdict(dict)
    for (task, _), runs in same.items():
        for setting in sorted({name for run in runs for name in strengths(run.records)}) if len(runs) > 1 else ():
            try:
                rows = doses_of([run.side for run in runs], setting)["rows"]
            except AloeError as error:
                # Not why: a page that travels holds no path of this machine. The log has it.
                log.warning("no dose curve over %s: %s", setting, error)
                remarks.append(
                    f"{runs[0].label}, {task}: these runs make no dose curve over {setting}; `aloe-bench compare "
                    f"RUNS --dose {setting}` says why."
                )
                continue
            for row in rows:
                if row["failed"]:
                    remarks.append(f"{runs[0].label}, {row['row']}: no dose curve, as {row['failed']} calls failed.")
                else:
                    there, label = lines[task, row["axis"], row["row"]], runs[0].label
                    there[label if label not in there else f"{label} {runs[0].header['run_id']}"] = _points(row)
    return [_dose(number, *key, models) for number, (key, models) in enumerate(sorted(lines.items()))], remarks


def _dose(
    number: int, task: str, setting: str, row: str, models: Mapping[str, Sequence[tuple[float, Entry]]]
) -> ReportFigure:
    title = f"{task}, {row.replace('/', ': ')}: answers that a false cue turned to its option, by its {setting}"
    return curves(f"dose{number}", title, (setting, "led, in %"), models)


def _points(row: Entry) -> list[tuple[float, Entry]]:
    columns = (row[key] for key in ("doses", "shares", "intervals", "curve"))
    return [
        (dose, {"value": share, "interval": interval, "curve": curve, "n": row["n"]})
        for dose, share, interval, curve in zip(*columns, strict=True)
    ]
