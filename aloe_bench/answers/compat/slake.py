"""The exact match that SLAKE reports of its closed questions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from aloe_bench.answers.strict.choice import Parsed, answer_text, parse_yes_no
from aloe_bench.core import Record, Score


def closed_by_exact_match(records: Sequence[Record]) -> list[tuple[list[Record], Fraction]]:
    """Return closed questions as the exact match scores them, whatever a jury said; each counts the same."""
    return [([replace(record, score=_score(record))], Fraction(1)) for record in records]


def _score(record: Record) -> Score:
    if record.prediction.text is None:
        return Score(None, None, "failed")
    read = exact_match(record.prediction.text, record.target)
    if read.letter is None:
        return Score(0.0, None, f"unread: {read.rule}")
    return Score(float(read.letter == record.target.strip().lower()), read.letter, read.rule)


def exact_match(reply: str, answer: str) -> Parsed:
    """Return what a reply to a closed question says, and by which rule: "yes" or "no", or the words of the answer.

    `letter` equals `answer` in lower case if it is right; it is None if the reply could not be read.
    """
    wanted = answer.strip().lower()
    if wanted in ("yes", "no"):
        return parse_yes_no(reply)
    said = answer_text(reply)
    if said is None:
        return Parsed(None, "empty")
    return Parsed(wanted if _words(said) == _words(answer) else said.lower(), "words")


def _words(text: str) -> list[str]:
    return [word for word in re.findall(r"[^\W_]+", text.casefold()) if word not in ("a", "an", "the")]
