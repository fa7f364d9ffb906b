"""The exact match that SLAKE reports of its closed questions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from aloe_bench.answers.outcome import UNREAD, is_filtered, outcome_of_open, outcome_of_unread
from aloe_bench.answers.strict.choice import Parsed, answer_text, parse_yes_no
from aloe_bench.core import Finish, Record, Score


def closed_by_exact_match(records: Sequence[Record]) -> list[tuple[list[Record], Fraction]]:
    """Return closed questions as the exact match scores them, whatever a jury said; each counts the same."""
    return [([replace(record, score=_score(record))], Fraction(1)) for record in records]


def _score(record: Record) -> Score:
    prediction = record.prediction
    if prediction.finish == "error" or prediction.text is None:
        return Score(None, None, "failed", outcome="failed")
    if is_filtered(prediction):
        return Score(0.0, None, f"{UNREAD}filtered", outcome="filtered")
    read = exact_match(prediction.text, record.target, prediction.finish)
    if read.letter is None:
        return Score(0.0, None, f"{UNREAD}{read.rule}", outcome=outcome_of_unread(prediction, read.rule))
    return Score(float(read.letter == record.target.strip().lower()), read.letter, read.rule, outcome="answered")


def exact_match(reply: str, answer: str, finish: Finish = "stop") -> Parsed:
    """Return what a reply to a closed question says, and by which rule: "yes" or "no", or the words of the answer.

    `letter` equals `answer` in lower case if it is right; it is None if the reply could not be read, or was cut.
    """
    wanted = answer.strip().lower()
    if wanted in ("yes", "no"):
        return parse_yes_no(reply, finish=finish)
    said = answer_text(reply)
    if said is None:
        return Parsed(None, "empty")
    if outcome_of_open(reply, finish) == "cut":
        return Parsed(None, "cut")
    return Parsed(wanted if _words(said) == _words(answer) else said.lower(), "words")


def _words(text: str) -> list[str]:
    return [word for word in re.findall(r"[^\W_]+", text.casefold()) if word not in ("a", "an", "the")]
