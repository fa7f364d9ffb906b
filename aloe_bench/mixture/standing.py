"""Where an answer stands in the words that were read from a picture: letter by letter, as OCR errs by letters.

The answer's letters and digits, without case, accents, spaces and marks, are aligned with those of all lines in reading
order (edit distance to the best part of them, Sellers 1980). A short answer has to begin and end where words do, so
that "rib" is not found in "fibrous". What has fewer than three letters says nothing: a letter stands in every picture.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aloe_bench.core import Box

LEAST = 3
# From so many letters on an answer may stand inside a longer run: OCR loses spaces, and chance no longer spells it.
ANYWHERE = 8
LONGEST = 400
_WORD = re.compile(r"[^\W_]+")
_FAR = 1 << 20


@dataclass(frozen=True, slots=True)
class ReadLine:
    """A line of a picture: its words, and its place as left, top, right, bottom in thousandths of the picture."""

    text: str
    box: Box


@dataclass(frozen=True, slots=True)
class Standing:
    """The share of an answer's letters that stand in the picture in its order, and the lines that they stand in."""

    share: float
    lines: tuple[int, ...] = ()


def letters(text: str) -> tuple[str, list[bool]]:
    """Return the letters and digits of `text` in one run, and of each whether a word begins with it."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    words = _WORD.findall(plain)
    return "".join(words), [i == 0 for word in words for i in range(len(word))]


def standing(answer: str, lines: Sequence[ReadLine]) -> Standing | None:
    """Return how much of `answer` stands in `lines`; None if the answer is too short to tell.

    Of a longer answer the first `LONGEST` letters are looked for.
    """
    wanted = letters(answer)[0][:LONGEST]
    if len(wanted) < LEAST:
        return None
    text, begins, of = "", list[bool](), list[int]()
    for number, line in enumerate(lines):
        run, starts = letters(line.text)
        text, begins, of = text + run, begins + starts, of + [number] * len(run)
    if not text:
        return Standing(0.0)
    distance, start, end = _nearest(wanted, text, begins)
    share = max(0.0, 1.0 - distance / len(wanted))
    return Standing(share, tuple(dict.fromkeys(of[start:end])) if share else ())


def _nearest(wanted: str, text: str, begins: Sequence[bool]) -> tuple[int, int, int]:
    """Return the least edit distance of `wanted` to a part of `text`, and where that part begins and ends."""
    import numpy as np

    codes = np.array([ord(c) for c in text], np.int64)
    places = np.arange(len(text) + 1)
    edges = np.array([*begins, True])
    cost = np.where(edges, 0, _FAR) if len(wanted) < ANYWHERE else np.zeros(len(text) + 1, np.int64)
    start: Any = places.copy()
    for letter in wanted:
        step = np.concatenate([[_FAR], cost[:-1] + (codes != ord(letter))])
        from_step = step <= cost + 1
        row = np.where(from_step, step, cost + 1)
        begun = np.where(from_step, np.concatenate([[0], start[:-1]]), start)
        # Letters of the picture that the answer lacks cost one each: the best end to the left and the way from it.
        reach = row - places
        least = np.minimum.accumulate(reach)
        best = np.maximum.accumulate(np.where(reach == least, places, 0))
        cost, start = least + places, begun[best]
    ends = np.where(edges, cost, _FAR) if len(wanted) < ANYWHERE else cost
    end = int(ends.argmin())
    return int(min(ends[end], len(wanted))), int(start[end]), end
