"""How any reply is read: clean it, look behind an echoed prompt, open its containers, then read plain text."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from aloe_bench.answers.compat.strict2.cleaning import cleaned, own_turn, without_reasoning
from aloe_bench.answers.compat.strict2.containers import boxed, contained
from aloe_bench.answers.compat.strict2.patterns import DOUBT
from aloe_bench.tasks.formats import CHOICE_REQUEST, CHOICE_TEXT_REQUEST, YES_NO_REQUEST

_ECHO = re.compile("|".join(map(re.escape, (CHOICE_REQUEST, CHOICE_TEXT_REQUEST, YES_NO_REQUEST))), re.I)


@dataclass(frozen=True)
class Parsed:
    """What was read: a letter (or "yes"/"no"), `None` if unread, and the rule that decided it."""

    letter: str | None
    rule: str


def _prepare(reply: str) -> Parsed | str:
    text = without_reasoning(reply)
    if text is None:
        return Parsed(None, "open-reasoning")
    return own_turn(cleaned(text)).strip() or Parsed(None, "empty")


def _opened(text: str, plain: Callable[[str], Parsed]) -> Parsed:
    """Return what the containers of `text` hold, or what `plain` reads where there is none."""
    found = contained(text)
    if not found:
        return plain(text)
    contents = dict.fromkeys((kind, inner) for kind, _, inner in found)
    if len(contents) > 20:
        return Parsed(None, "containers-differ")
    # One level of nesting, as in <answer>\boxed{B}</answer>.
    inners = [
        (k, deeper[1] if (deeper := boxed(inner)) else re.sub(r"<[^<>]{1,40}>", " ", inner)) for k, inner in contents
    ]
    read = [(kind, plain(own_turn(inner))) for kind, inner in inners]
    if len({p.letter for _, p in read}) > 1:
        return Parsed(None, "containers-differ")
    kind, first = read[0]
    rest = text[max(end for _, end, _ in found) :]
    if DOUBT.search(rest):
        return Parsed(None, "self-correction")
    after = plain(rest) if first.letter and re.search(r"final answer|answer is|answer:", rest, re.I) else first
    if after.letter not in (first.letter, None):
        return Parsed(None, "containers-differ")
    return Parsed(first.letter, f"{kind}:{first.rule}")


def parse(reply: str, plain: Callable[[str], Parsed]) -> Parsed:
    """Return what `plain` reads in the part of `reply` that is its answer.

    Behind an echo of our own request comes the answer; it is unread if the reply had given another one before.
    """
    text = _prepare(reply)
    if isinstance(text, Parsed):
        return text
    ends = [m.end() for m in _ECHO.finditer(text) if m.end() < len(text)]
    if not ends:
        return _opened(text, plain)
    said, before = _opened(text[ends[-1] :].strip(), plain), text[: ends[-1]].strip()
    earlier = {plain(before).letter, plain(before.split("\n", 1)[0]).letter} - {None, said.letter}
    return Parsed(None, "echo-differs") if earlier else said


def answer_text(reply: str) -> str | None:
    """Return the words of an open answer: what its last container holds, else all but reasoning; None if unread."""
    text = _prepare(reply)
    if isinstance(text, Parsed):
        return None
    found = contained(text)
    inner = max(found, key=lambda one: one[1])[2] if found else text
    deeper = boxed(inner)
    return (deeper[1] if deeper else inner).strip() or None
