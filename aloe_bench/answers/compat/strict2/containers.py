"""The places in which a reply may put its answer: tags, boxes, JSON fields."""

from __future__ import annotations

import re
from collections.abc import Iterator

from aloe_bench.answers.compat.strict2.patterns import JSON


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
    """Return the end and content of the last `\\boxed{}`, without its inner `\\text{}` and braces."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth = 0
    for at in range(start + 6, len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            inner = re.sub(r"\\(?:text|mathrm|mathbf|textbf)\b", "", text[start + 7 : at])
            return at, inner.replace("{", "").replace("}", "")
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
