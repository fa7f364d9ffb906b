"""The exact match that SLAKE reports of its closed questions."""

from __future__ import annotations

import re

from aloe_bench.answers.strict.choice import Parsed, answer_text, parse_yes_no


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
