"""A sample and a model's reply become a score. A failed call is not a score; an unreadable reply is wrong."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from aloe_bench import registry
from aloe_bench.answers.compat.probmed import BOTH
from aloe_bench.answers.outcome import UNREAD, is_filtered, outcome_of_open, outcome_of_unread, refusal
from aloe_bench.answers.parsers import Asked, Parser
from aloe_bench.answers.strict.choice import without_reasoning
from aloe_bench.core import LETTERS, Finish, Kind, Prediction, Sample, Score
from aloe_bench.errors import UsageError


def shipped_parser(name: str) -> Parser:
    """Return the parser of this name; raises UsageError with the closest match."""
    found: Parser = registry.shipped("parser", registry.PARSERS, name)
    return found


def parser_id(name: str) -> str:
    """Return the name and version written into the header; "strict2" is version 2, whatever comes after."""
    return shipped_parser(name).id


def refuse_unreadable(parser: str, kinds: Iterable[Kind], task: str) -> None:
    """Raise UsageError if `parser` cannot read questions of one of `kinds`; a jury reads the open ones."""
    reads = shipped_parser(parser).reads
    lacking = sorted(set(kinds) - set(reads) - {"open"})
    if lacking:
        raise UsageError(
            f"{task}: --parser {parser} reads {', '.join(reads)} questions, and the task has "
            f"{', '.join(lacking)} ones. Run it with --parser strict."
        )


def open_answer(reply: str) -> str | None:
    """Return what of a reply a jury is shown: all but its reasoning; None if that leaves no answer."""
    text = without_reasoning(reply)
    return (text.strip() or None) if text is not None else None


def gradable_answer(prediction: Prediction) -> str | None:
    """Return what of a reply a jury or an expert grades; None if the call failed, or it was filtered, cut or empty."""
    if prediction.finish == "error" or prediction.text is None or is_filtered(prediction):
        return None
    whole = outcome_of_open(prediction.text, prediction.finish) == "answered"
    return open_answer(prediction.text) if whole else None


def grade_open(reply: str, finish: Finish = "stop") -> Score:
    """Return the score of a reply to an open question before a jury has seen it; no answer is a wrong one.

    A reply that was cut, mid-text or in its reasoning, scores 0 and no judge is asked.
    """
    outcome = outcome_of_open(reply, finish)
    if outcome == "answered":
        return Score(value=None, parsed=None, rule="unjudged", outcome=outcome)
    return Score(0.0, None, f"{UNREAD}{'no answer' if open_answer(reply) is None else outcome}", outcome=outcome)


def graded_open(prediction: Prediction, jury: Score) -> Score:
    """Return the jury's score with its outcome: refused if it is 0 and the answer begins with a refusal."""
    first = re.split(r"[.!?。！？\n]", (open_answer(prediction.text or "") or "").strip(), maxsplit=1)[0]
    why = refusal(first) if jury.value == 0 else None
    return replace(jury, outcome="refused" if why else "answered", refusal=why)


def grade(sample: Sample, prediction: Prediction, parser: str = "strict") -> Score:
    """Return the score of one reply; value None if the call failed or a jury has yet to grade it."""
    if prediction.finish == "error" or prediction.text is None:
        return Score(value=None, parsed=None, rule="failed", outcome="failed")
    if is_filtered(prediction):
        return Score(0.0, None, f"{UNREAD}filtered", outcome="filtered")
    if sample.kind == "open":
        return grade_open(prediction.text, prediction.finish)
    if prediction.option_logprobs:
        likeliest = _likeliest(sample, prediction)
        return Score(float(likeliest == sample.target), likeliest, "logprob", outcome="answered")
    asked = Asked(sample.question, sample.choices, prediction.finish)
    parsed = shipped_parser(parser).reads[sample.kind](prediction.text, asked)
    if parsed.letter is None:
        outcome = outcome_of_unread(prediction, parsed.rule)
        why = refusal(prediction.text) if outcome == "refused" else None
        return Score(0.0, None, f"{UNREAD}{parsed.rule}", outcome=outcome, refusal=why)
    right = parsed.letter in (sample.target, BOTH)
    return Score(float(right), parsed.letter, parsed.rule, outcome="answered")


def _likeliest(sample: Sample, prediction: Prediction) -> str | None:
    """Return the letter (or word) of the likeliest option, ties going to the first; options may be scored as text."""
    if sample.kind != "choice":
        return prediction.text
    scores = prediction.option_logprobs
    return LETTERS[max(range(len(scores)), key=scores.__getitem__)]
