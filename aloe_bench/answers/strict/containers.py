"""How any reply is opened: its own turn, what stands behind an echoed prompt, and the places it may put its answer in.

Those places are tags, boxes and JSON fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from aloe_bench.answers.strict.cleaning import own_turn, prepared
from aloe_bench.answers.strict.phrases import DOUBT, JSON
from aloe_bench.answers.strict.reading import Parsed
from aloe_bench.tasks.formats import CHOICE_REQUEST, CHOICE_TEXT_REQUEST, YES_NO_REQUEST

# Reads plain text; the second argument says whether it is the reply's own end.
Plain = Callable[[str, bool], Parsed]
_ECHO = re.compile("|".join(map(re.escape, (CHOICE_REQUEST, CHOICE_TEXT_REQUEST, YES_NO_REQUEST))), re.I)
_BOX = re.compile(r"\\boxed\b")
_STATED = ("announced", "final-answer", "called-best")


def _between(text: str, opening: str, closing: str) -> Iterator[tuple[int, str]]:
    low, at = text.lower(), 0
    if len(low) != len(text):
        low = text
    while (start := low.find(opening, at)) >= 0:
        start += len(opening)
        end = low.find(closing, start)
        end = len(text) if end < 0 else end
        yield end, text[start:end]
        at = end + 1


def boxed(text: str) -> tuple[int, str] | None:
    """Return the end and content of the last `\\boxed{}`, braces and all."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth = 0
    for at in range(start + 6, len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            return at, text[start + 7 : at]
    return len(text), text[start + 7 :]


def contained(text: str) -> list[tuple[str, int, str]]:
    """Return the kind, end and content of every container in `text`; JSON fields only where there is no other."""
    found = [("answer-tag", end, inner) for end, inner in _between(text, "<answer>", "</answer>")]
    found += [("box", end, inner) for end, inner in _between(text, "<|begin_of_box|>", "<|end_of_box|>")]
    if last := boxed(text):
        found.append(("boxed", *last))
    if not found:
        found = [
            ("json", m.end(), next((g.replace("\\n", "\n") for g in m.groups() if g), "")) for m in JSON.finditer(text)
        ]
    return found


def _read(text: str, plain: Plain, cut: bool) -> Parsed:
    """Return what the containers of `text` hold, or what `plain` reads where there is none."""
    found = [one for one in contained(text) if not cut or one[1] < len(text)]
    if not found:
        return plain(text, True)
    contents = dict.fromkeys((kind, inner) for kind, _, inner in found)
    if len(contents) > 20:
        return Parsed(None, "containers-differ")
    # One level of nesting, as in <answer>\\boxed{B}</answer>.
    inners = [
        (k, deeper[1] if (deeper := boxed(inner)) else re.sub(r"<[^<>]{1,40}>", " ", inner)) for k, inner in contents
    ]
    read = [(kind, plain(own_turn(inner), False)) for kind, inner in inners]
    if len({p.letter for _, p in read}) > 1:
        return Parsed(None, "containers-differ")
    kind, first = read[0]
    rest = text[max(end for _, end, _ in found) :]
    if DOUBT.search(rest):
        return Parsed(None, "self-correction")
    if all(kind == "boxed" for kind, _ in read):
        # A box is also where a number of the reasoning stands: what the sentences call the answer must not differ.
        around = plain(_BOX.sub(" ", text), True) if len(text) > 40 else first
        if around.rule in _STATED and around.letter not in (first.letter, None):
            return around if first.letter is None else Parsed(None, "containers-differ")
    after = plain(rest, True) if first.letter and re.search(r"final answer|answer is|answer:", rest, re.I) else first
    if after.letter not in (first.letter, None):
        return Parsed(None, "containers-differ")
    return Parsed(first.letter, f"{kind}:{first.rule}")


def opened(reply: str, plain: Plain, cut: bool = False) -> Parsed:
    """Return what `plain` reads in the part of `reply` that is its answer.

    Behind an echo of our own request comes the answer; it is unread if the reply had given another one before.
    """
    text = prepared(reply)
    if text is None:
        return Parsed(None, "open-reasoning")
    if not text:
        return Parsed(None, "empty")
    ends = [m.end() for m in _ECHO.finditer(text) if m.end() < len(text)]
    if not ends:
        return _read(text, plain, cut)
    said, before = _read(text[ends[-1] :].strip(), plain, cut), text[: ends[-1]].strip()
    earlier = {plain(before, False).letter, plain(before.split("\n", 1)[0], False).letter} - {None, said.letter}
    return Parsed(None, "echo-differs") if earlier else said


def answer_text(reply: str) -> str | None:
    """Return the words of an open answer: what its last container holds, else all but reasoning; None if unread."""
    text = prepared(reply)
    if not text:
        return None
    found = contained(text)
    inner = max(found, key=lambda one: one[1])[2] if found else text
    deeper = boxed(inner)
    return (deeper[1] if deeper else inner).strip() or None
