"""The letters and option texts of one item, and where a reply names them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cached_property

from aloe_bench.answers.compat.strict2.patterns import (
    ARTICLE_LINE,
    CONNECTIVE,
    COPULA,
    EDGE,
    GAP,
    LETTER,
    LISTED,
    SECOND,
    SHOWS,
)

_DASHES = str.maketrans(dict.fromkeys("‐‑‒–−", "-"))
_SIGN = re.compile(r"(?:[<>≤≥~]\s?|[-+])\Z")


def flat(text: str) -> str:
    """Return `text` on one line, with one kind of dash."""
    return " ".join(text.translate(_DASHES).split())


def bare(text: str, right: bool = True) -> str:
    """Return flat `text` without the punctuation around it (`right`: after it too); the sign of a number stays."""
    inner = text.lstrip(EDGE)
    sign = _SIGN.search(text[: len(text) - len(inner)]) if inner[:1].isdigit() else None
    return (sign.group(0).strip() if sign else "") + (inner.rstrip(EDGE) if right else inner)


def folded(text: str) -> str:
    """Return flat, lower-case `text` without accents, British ae and oe, or gaps and hyphens inside words.

    A hyphen before a digit may be a minus and stays, and so do gaps between digits ("4-6") and after an article.
    """
    letters = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    letters = re.sub(
        r"(?<=[^\W_])-(?=[^\W\d_])|(?<=[^\W\d_])(?<!\ba)(?<!\ban) (?=[^\W_])|(?<=\d) (?=[^\W\d_])", "", letters
    )
    return letters.replace("ae", "e").replace("oe", "e")


class Item:
    """The letters and option texts of one item; option texts are matched whole-word, any case."""

    def __init__(self, choices: Sequence[str]) -> None:
        self.letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(choices)]
        normal = [bare(flat(unicodedata.normalize("NFKC", c).replace("’", "'"))).lower() for c in choices]
        self.texts = dict(zip(self.letters, normal, strict=False))
        # The longest text and the words before it that `stated` skips, however they are spaced.
        self._window = min(600, 2 * max(map(len, normal), default=0) + 160)
        self.longest_first = sorted(self.texts.items(), key=lambda kv: -len(kv[1]))

    def equal(self, text: str) -> str | None:
        """Return the letter whose option text is the whole of flat, lower-case `text`, if it is one."""
        for form in (lambda t: t, folded):
            if (said := form(bare(text))) and (own := [k for k, v in self.texts.items() if form(v) == said]):
                return own[0] if len(own) == 1 else None
        return None

    @cached_property
    def _mention(self) -> re.Pattern[str]:
        words = "|".join(re.escape(v) for _, v in self.longest_first if v)
        before = r"(?<!\w)(?<!\w-)(?<!\d[.,/])(?<![<>≤≥])(?<!non )"
        return re.compile(before + r"(?=(" + (words or r"(?!)") + r")(?!\w)(?!-(?!sided)\w)(?!\s?%)(?![.,/]\d))")

    def mentions(self, low: str) -> list[tuple[str, int, int]]:
        """Return option texts in flat, lower-case `low` with start and end, the longest where one holds another."""
        found: list[tuple[str, int, int]] = []
        for match in self._mention.finditer(low):
            start, end = match.span(1)
            if not found or end > found[-1][2]:
                found.append((match.group(1), start, end))
        return found

    def of_text(self, option: str) -> str | None:
        """Return the letter of an option's text, `None` if two have it."""
        own = [k for k, v in self.texts.items() if v == option]
        return own[0] if len(own) == 1 else None

    def text_at(self, low: str, at: int) -> tuple[str, int] | None:
        """Return the letter of the longest option text at `at` of `low`, and its end."""
        for letter, option in self.longest_first:
            end = at + len(option)
            if (
                (len(option) > 1 or option.isdigit())
                and low.startswith(option, at)
                and not low[end : end + 1].isalnum()
            ):
                return (letter, end) if self.of_text(option) else None
        return None

    def holds_another(self, letter: str) -> bool:
        """Return whether a longer option holds this one as words, or this one is a kind of a shorter one.

        Where "pneumonia" and "viral pneumonia" are options, a sentence with either fits both.
        """
        mine = self.texts[letter]
        others = [v for k, v in self.texts.items() if k != letter and v and v != mine]
        inside = re.compile(r"(?<!\w)" + re.escape(mine) + r"(?!\w)")
        return any(mine.endswith(" " + other) or inside.search(other) for other in others)

    def resembles_another(self, letter: str) -> bool:
        """Return whether one option's letters lie inside another's, as normal in abnormal."""
        mine = self.texts[letter]
        return any(k != letter and v and (v in mine or mine in v) for k, v in self.texts.items())

    def stated(self, text: str) -> str | None:
        """Return the letter whose option text opens `text`, longest first; `None` if none does."""
        low = bare(flat(text[: self._window]).lower(), right=False)
        for skip in (0, m.end() if (m := SHOWS.match(low)) else 0):
            for letter, option in self.longest_first:
                rest = low[skip:]
                if option and rest.startswith(option) and not rest[len(option) : len(option) + 1].isalnum():
                    return letter
        return None

    def fits(self, letter: str, text: str, end: int) -> bool:
        """Return whether no other option's text follows the letter at `end`."""
        stated = self.stated(text[end : end + 600])
        return stated is None or self.texts[stated] == self.texts[letter]

    def past(self, letter: str, text: str, end: int) -> int:
        """Return where the letter's own text ends, if it follows the letter at `end`; else `end`."""
        own = self.texts[letter]
        at = text[end : end + len(own) + 12].lower().find(own) if own else -1
        return end if at < 0 else end + at + len(own)

    def offers_another(self, letter: str, text: str, end: int) -> bool:
        """Return whether a second option follows the letter at `end` and its own text.

        As in "B. Edema or C", or in the options said one after the other: "A. Glioma B. Edema".
        """
        past = self.past(letter, text, end)
        if second := SECOND.match(text, past):
            at = max(i for i in range(second.start(), second.end()) if text[i].isalpha())
            return text[at] != letter and text[at] in self.letters and self.letter_at(text, at) is not None
        gap = GAP.match(text, past)
        read = self.letter_at(text, gap.end()) if gap else None
        if read is None or read[0] == letter or self.stated(text[read[1] : read[1] + 600]) != read[0]:
            return False
        return LISTED.match(text, self.past(read[0], text, read[1])) is not None

    def letter_at(self, text: str, at: int) -> tuple[str, int] | None:
        """Return the letter at `at` and where it ends, unless it is an article or part of a term."""
        match = LETTER.match(text, at)
        if not match or (letter := match.group(1).upper()) not in self.letters:
            return None
        raw, end = match.group(0), match.end()
        if raw[0] in "([{" and raw[-1] in ")]}":
            return letter, end
        tail = text[end : end + 60]
        own = self.stated(text[end : end + 600]) == letter
        if raw in "Aa" and (re.match(r"\s{1,3}\w", tail) if own else ARTICLE_LINE.match(tail)):
            return None  # An article: "a glioma" is read by its words.
        if re.match(r"\s{0,3}(?:$|[,;:!)\]\n。，]|\(|-\s|[–—/&]|or\b|and\b)|" + COPULA, tail) or own:
            return letter, end
        if re.match(r"\s?\.(?:\s|$)", tail):
            # "C. difficile", "E. coli": a lower-case word that is not the option's own text.
            return None if re.match(r"\s?\.[ \t]+[a-zà-ÿ]", tail) and not CONNECTIVE.match(tail[1:]) else (letter, end)
        return (letter, end) if match.group(1).isupper() and CONNECTIVE.match(tail) else None
