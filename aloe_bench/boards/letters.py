"""What became of every item of a run, one letter each, and back: records enough to compute all that is published.

The format is in docs/outcomes.md. Numbers are computed from these records when a leaderboard is built, too, so that
whoever has items and letters has the same numbers to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import NotRequired, TypedDict, cast

from aloe_bench import registry
from aloe_bench.answers.outcome import outcome_of
from aloe_bench.boards.items import Items, is_item
from aloe_bench.core import Cue, Outcome, Prediction, Record, Score, Variant, Verdict
from aloe_bench.errors import DataError
from aloe_bench.evaluation.cells import Rule, Units, chosen_by
from aloe_bench.evaluation.corrected import Labels
from aloe_bench.facts import Facts
from aloe_bench.judges.jury import panel

BASELINE = "baseline"
ABSENT, WAITING, FAILED = ".", "?", "x"
GRADES = {1.0: "1", 0.5: "h", 0.0: "0"}
LED = "l"
# The image controls: over no picture, and over one that has a truth of its own.
BLANK, SWAP = "blank", "swap"
# Replies in which no answer was read: wrong, each for its own reason.
UNREAD: dict[Outcome, str] = {"refused": "r", "filtered": "f", "cut": "c", "unread": "u"}
ENDED: dict[Outcome, str] = {"answered": "a", **UNREAD, "failed": FAILED}
_OF_LETTER: dict[str, Outcome] = {letter: outcome for outcome, letter in ENDED.items()}
LETTERS = ABSENT + WAITING + FAILED + LED + "".join(GRADES.values()) + "".join(UNREAD.values())
# How many options a question had, one character per item.
COUNTS = "0123456789abcdefghijklmnopqrstuvwxyz"
_OF_GRADE = {letter: grade for grade, letter in GRADES.items()} | {FAILED: None}
# Options have no names here: the right one, the one a cue argues for, and any other.
_TARGET, _CUED, _OTHER, _NEITHER = "right", "cued", "other", "neither"


class Outcomes(TypedDict):
    """What a result holds of its run's answers: the items' hash, and arm -> one letter an item.

    `before`: of a cue's arm, whether the baseline's answer already was the option that the cue argues for. `ended`: how
    replies ended, where their letter does not say it. `grades`: arm -> judge -> grades. `regraded`: rule of a cell ->
    what it makes of the baseline. `labels`: expert -> grades of the answers to baselines. `options`: how many
    each question had, of a run that asked some over a blank picture.
    """

    items: str
    arms: dict[str, str]
    before: NotRequired[dict[str, str]]
    ended: NotRequired[dict[str, str]]
    grades: NotRequired[dict[str, dict[str, str]]]
    regraded: NotRequired[dict[str, str]]
    labels: NotRequired[dict[str, str]]
    options: NotRequired[str]


def arm_of(record: Record) -> str:
    """Return the name of a record's arm: [control:]baseline or [control:]attack/variant, with #1 on for repeats."""
    asked = f"{record.cue.attack}/{record.cue.variant}" if record.cue else BASELINE
    return (f"{record.arm}:" if record.arm else "") + asked + (f"#{record.repeat}" if record.repeat else "")


def outcomes_of(items: Items, records: Sequence[Record], facts: Facts, labels: Labels | None = None) -> Outcomes:
    """Return what became of each item in each arm of a run; `records` hold those of its controls and repeats too.

    Raises DataError for a record of no item, and for a score that has no letter.
    """
    place = {name: i for i, name in enumerate(items.ids)}
    bases = {record.sample_id: record for record in records if is_item(record)}
    arms: dict[str, dict[int, Record]] = {}
    for record in records:
        base = record.cue.base_id if record.cue else _asked(record)
        if base not in place:
            raise DataError(f"{record.sample_id}: its baseline {base} is not in the run.")
        if arms.setdefault(arm_of(record), {}).setdefault(place[base], record) is not record:
            raise DataError(f"{record.sample_id}: {base} was asked twice in arm {arm_of(record)!r}.")
    n = len(items.ids)

    def string(of: Mapping[int, str]) -> str:
        return "".join(of.get(i, ABSENT) for i in range(n))

    made: Outcomes = {
        "items": items.sha256,
        "arms": {arm: string({i: letter(r) for i, r in found.items()}) for arm, found in sorted(arms.items())},
    }
    before, ended, grades = {}, {}, {}
    for arm, found in sorted(arms.items()):
        if any("suggests_in_base" in record.tags and not record.repeat for record in found.values()):
            before[arm] = string({i: _before(record, bases[items.ids[i]]) for i, record in found.items()})
        if any(record.score.outcome not in (None, _implied(record)) for record in found.values()):
            ended[arm] = string({i: ENDED[r.score.outcome or _implied(r)] for i, r in found.items()})
        judges = sorted({verdict.judge for record in found.values() for verdict in record.score.verdicts})
        if judges:
            grades[arm] = {judge: string(_grades(judge, found)) for judge in judges}
    regraded = {
        rule: string({place[r.sample_id]: letter(r) for r in _regraded(rule, facts, [*bases.values()])})
        for rule in {spec.rule: None for spec in facts.cells if not facts.measure}
        if rule in registry.REGRADES
    }
    # Who an expert is stays in the run.
    experts = [of for _, of in sorted(labels.experts.items())] if labels else []
    said = {
        f"expert {i}": string({place[name]: GRADES[grade] for name, grade in of.items() if name in place})
        for i, of in enumerate(experts, 1)
    }
    parts = {"before": before, "ended": ended, "grades": grades, "regraded": regraded, "labels": said}
    if any(record.arm == BLANK for record in records):
        made["options"] = string({place[name]: COUNTS[len(base.options)] for name, base in bases.items()})
    return cast("Outcomes", made | {name: part for name, part in parts.items() if part})


def _asked(record: Record) -> str:
    """Return the id of the item that a record without a cue is a reply to; controls and repeats have ids ID#NAME."""
    return record.sample_id.rpartition("#")[0] if record.arm or record.repeat else record.sample_id


def letter(record: Record) -> str:
    """Return the letter of one record; raises DataError for a score that is not a grade."""
    score = record.score
    if score.value is None:
        return FAILED if outcome_of(record) == "failed" else WAITING
    if not score.value and not score.verdicts and (ended := UNREAD.get(outcome_of(record))):
        return ended
    # Over the picture of another item its truth is what an answer can be led to.
    argued = record.cue.suggests if record.cue else record.tags.get("shown")
    led = score.parsed is not None and score.parsed == argued
    if led and not score.value:
        return LED
    if score.value not in GRADES:
        raise DataError(f"{record.sample_id}: scored {score.value}; only 0, 0.5 and 1 can be published item by item.")
    return GRADES[score.value]


def _implied(record: Record) -> Outcome:
    """Return the outcome that a record's letter stands for."""
    return implied(letter(record), bool(record.score.verdicts))


def implied(text: str, is_graded: bool) -> Outcome:
    """Return the outcome that a letter stands for; a failure of a jury is not the reply's."""
    return "answered" if text not in _OF_LETTER or (text == FAILED and is_graded) else _OF_LETTER[text]


def _before(record: Record, base: Record) -> str:
    suggested = record.tags.get("suggests_in_base")
    if not suggested or base.score.value is None:
        return ABSENT
    return str(int(base.score.parsed == suggested))


def _grades(judge: str, found: Mapping[int, Record]) -> dict[int, str]:
    given = {i: {v.judge: v.grade for v in record.score.verdicts} for i, record in found.items()}
    letters: dict[float | None, str] = {grade: text for text, grade in _OF_GRADE.items()}
    return {i: letters[of[judge]] for i, of in given.items() if judge in of}


def _regraded(name: str, facts: Facts, records: Sequence[Record]) -> list[Record]:
    """Return the records that a rule of cells reads again, as it scores them."""
    rule: Rule = registry.shipped("rule of cells", registry.REGRADES, name)
    chosen = {r.sample_id: r for spec in facts.cells if spec.rule == name for r in chosen_by(spec, records)}
    return [unit[0] for unit, _ in rule([*chosen.values()])]


def check_outcomes(outcomes: Outcomes, items: Items, where: str) -> None:
    """Raise DataError, naming the place, unless these are strings of letters, one letter for each of the items."""
    strings = {f"arms.{arm}": (text, LETTERS) for arm, text in outcomes["arms"].items()}
    strings |= {f"before.{arm}": (text, "01" + ABSENT) for arm, text in outcomes.get("before", {}).items()}
    strings |= {f"ended.{arm}": (text, "".join(_OF_LETTER) + ABSENT) for arm, text in outcomes.get("ended", {}).items()}
    strings |= {f"regraded.{rule}": (text, LETTERS) for rule, text in outcomes.get("regraded", {}).items()}
    strings |= {f"labels.{who}": (text, "1h0" + ABSENT) for who, text in outcomes.get("labels", {}).items()}
    if "options" in outcomes:
        strings["options"] = (outcomes["options"], COUNTS)
    for arm, of in outcomes.get("grades", {}).items():
        strings |= {f"grades.{arm}.{judge}": (text, "".join(_OF_GRADE) + ABSENT) for judge, text in of.items()}
    for place, (text, known) in strings.items():
        if len(text) != len(items.ids):
            raise DataError(f"{where}: outcomes.{place} has {len(text)} letters for {len(items.ids)} items.")
        if unknown := sorted(set(text) - set(known)):
            raise DataError(f"{where}: outcomes.{place} has the letter {unknown[0]!r}, none of {known}.")
    if BASELINE not in outcomes["arms"] or ABSENT in outcomes["arms"][BASELINE]:
        raise DataError(f"{where}: outcomes.arms.{BASELINE} does not have every item.")
    for arm in outcomes["arms"]:
        asked = arm.partition(":")[2] or arm
        if asked.partition("#")[0] != BASELINE and asked.partition("#")[0].count("/") != 1:
            raise DataError(f"{where}: outcomes.arms has {arm!r}; expected {BASELINE}, or attack/variant.")


def records_of(items: Items, outcomes: Outcomes) -> list[Record]:
    """Return records with the scores, clusters, tags and cues of the run that these outcomes are of; no texts.

    Those of controls and repeats are among them.
    """
    options = [("",) * COUNTS.index(count) for count in outcomes.get("options", "0" * len(items.ids))]
    records: list[Record] = []
    for arm, text in outcomes["arms"].items():
        control, _, asked = arm.rpartition(":")
        asked, _, repeat = asked.partition("#")
        attack, _, variant = asked.partition("/") if asked != BASELINE else ("", "", "")
        before = outcomes.get("before", {}).get(arm)
        ended = outcomes.get("ended", {}).get(arm)
        grades = outcomes.get("grades", {}).get(arm, {})
        for i, one in enumerate(text):
            if one == ABSENT:
                continue
            base = items.ids[i]
            name = f"{base}/{asked}" if attack else base
            name += f"#{control or repeat}" if control or repeat else ""
            tags = {tag: values[i] for tag, values in items.tags.items()}
            if attack:
                tags |= {"attack": attack, "variant": variant}
                tags |= {tag: values[i] for tag, values in items.spoken.get(attack, {}).items() if values[i]}
            if before is not None:
                tags["suggests_in_base"] = _suggested(before[i], outcomes["arms"][BASELINE][i])
            if control == SWAP:
                tags["shown"] = _CUED
            given = [(judge, _OF_GRADE[of[i]]) for judge, of in grades.items() if of[i] != ABSENT]
            score = _score(one, [Verdict(name, judge, grade, "") for judge, grade in given])
            if ended is not None:
                score = _ended(score, ended[i])
            records.append(
                Record(
                    index=len(records),
                    sample_id=name,
                    kind="open" if grades else "choice",
                    target=_TARGET,
                    cluster=f"{items.clusters[i]:08d}",
                    tags=tags,
                    cue=Cue(attack, cast("Variant", variant), base, _argued(variant)) if attack else None,
                    prediction=_prediction(name, score),
                    score=score,
                    options=options[i],
                    repeat=int(repeat or 0),
                    arm=control,
                )
            )
    return records


def _argued(variant: str) -> str | None:
    return {"adversarial": _CUED, "assistive": _TARGET}.get(variant)


def _suggested(before: str, base: str) -> str:
    """Return the option of the baseline that a cue argues for: the one answered there, another, or none."""
    return {"1": _read(base) or _NEITHER, "0": _NEITHER}.get(before, "")


def _read(text: str) -> str | None:
    return {GRADES[1.0]: _TARGET, GRADES[0.0]: _OTHER, GRADES[0.5]: _OTHER, LED: _CUED}.get(text)


def _score(text: str, verdicts: Sequence[Verdict]) -> Score:
    outcome = implied(text, bool(verdicts))
    if verdicts:
        made = panel.score(verdicts)
        return Score(made.value, made.parsed, made.rule, made.verdicts, outcome)
    if text == WAITING:
        return Score(None, None, "unjudged", outcome=outcome)
    if text == FAILED:
        return Score(None, None, "failed", outcome=outcome)
    if outcome != "answered":
        return Score(0.0, None, f"unread: {outcome}", outcome=outcome)
    return Score(_OF_GRADE.get(text, 0.0), _read(text), "published", outcome=outcome)


def _ended(score: Score, text: str) -> Score:
    return Score(score.value, score.parsed, score.rule, score.verdicts, _OF_LETTER[text])


def _prediction(name: str, score: Score) -> Prediction:
    if score.outcome == "failed":
        return Prediction(name, None, "error", "failed")
    return Prediction(name, "", "length" if score.outcome == "cut" else "stop")


def labels_of(items: Items, outcomes: Outcomes) -> Labels | None:
    """Return the experts' labels of a run, None if none are published."""
    if "labels" not in outcomes:
        return None
    return Labels({
        who: {name: _OF_GRADE[one] or 0.0 for name, one in zip(items.ids, text, strict=True) if one != ABSENT}
        for who, text in outcomes["labels"].items()
    })  # fmt: skip


def rules_of(items: Items, outcomes: Outcomes) -> dict[str, Rule]:
    """Return the rules of cells that need more than scores, as they are applied where only their letters are known."""
    found = {}
    for name, text in outcomes.get("regraded", {}).items():
        regraded = {item: _score(one, ()) for item, one in zip(items.ids, text, strict=True) if one != ABSENT}
        found[name] = _lookup(regraded)
    return found


def _lookup(regraded: Mapping[str, Score]) -> Rule:
    def rule(records: Sequence[Record]) -> Units:
        return [([replace(record, score=regraded[record.sample_id])], Fraction(1)) for record in records]

    return rule
