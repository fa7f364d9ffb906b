"""The words of a text as one string without gaps, in which an option's words are found by where words begin and end.

So "X-ray", "x ray" and "Xray" are one, "50 mg" is "50mg", accents and British ae and oe do not matter; the sign of a
number, and what parts two numbers ("4-6", "46"), do.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

CJK = "\u3005\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_TOKEN = re.compile(
    rf"(?P<number>(?:[-+<>≤≥~]\s?)?\d{{1,40}}(?:[.,]\d{{1,40}}){{0,5}})|(?P<word>[^\W\d_{CJK}]+)|(?P<cjk>[{CJK}])|(?P<mark>[%°√^=/×+]|-(?=\s?[√(])|(?<=\d)\s?[-](?=\s[√\d]))"
)
_SIGNED = re.compile(r"[-+<>≤≥~]\s?")
_BEFORE_CJK = frozenset("是为為乃はがの即のを「『、選肢项选案断")
_TERM_AFTER = re.compile(r"-(?!sided)\w")
_TERM_BEFORE = re.compile(r"(?:\bnon[- ]|\w-)\Z", re.I)
_AFTER_CJK = re.compile(r"(?:です|である|だ|と考え|が|は|を|と(?:診断|思)|の可能|の疑|项|的可能|。)")


@lru_cache(maxsize=8192)
def _one_form(word: str) -> str:
    if not word.isascii():
        word = "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))
    low = word.lower()
    if len(low) > 3:
        low = low.replace("ae", "e").replace("oe", "e")
    plural = len(low) > 4 and low[-1] == "s" and low[-2] not in "su" and low[-2:] != "is"
    return low[:-1] if plural else low


class Words:
    """The words of `text`: their spans, and `joined`, which holds them without gaps."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.spans: list[tuple[int, int]] = []
        self.forms: list[str] = []
        parts: list[str] = []
        self.begins: dict[int, int] = {}
        self.ends: dict[int, int] = {}
        at, before_number = 0, False
        for match in _TOKEN.finditer(text):
            start, end = match.span()
            number = match.lastgroup == "number"
            form = _number(text, match) if number else match.group(0)
            if match.lastgroup == "word":
                form = _one_form(form)
            if number and before_number and self.spans:
                gap = text[self.spans[-1][1] : start].strip()
                form_gap = "|-" if gap[:1] in ("-", "–", "‐") or form.startswith("-") else "| "
                parts.append(form_gap)
                at += len(form_gap)
                form = form.lstrip("-–")
            self.begins[at] = len(self.spans)
            at += len(form)
            self.ends[at] = len(self.spans)
            self.spans.append((start, end))
            self.forms.append(form)
            parts.append(form)
            before_number = number
        self.joined = "".join(parts)

    def first_at(self, start: int) -> int | None:
        """Return the index of the first word that begins at `start` or later."""
        low, high = 0, len(self.spans)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self.spans[middle][0] < start else (low, middle)
        return low if low < len(self.spans) else None

    def places(self, option: Words) -> list[tuple[int, int]]:
        """Return start and end in the text of each place where the words of `option` stand whole."""
        found: list[tuple[int, int]] = []
        needle = option.joined
        at = self.joined.find(needle) if needle else -1
        while at >= 0:
            first, last = self.begins.get(at), self.ends.get(at + len(needle))
            if first is not None and last is not None and self._whole(first, last, option.forms[0]):
                found.append((self.spans[first][0], self.spans[last][1]))
            at = self.joined.find(needle, at + 1)
        return found

    def shared(self, first: int, option: Words) -> int:
        """Return how many words from the `first` on are the option's own first ones, in order."""
        count = 0
        while (
            count < len(option.forms)
            and first + count < len(self.forms)
            and self.forms[first + count] == option.forms[count]
        ):
            count += 1
        return count

    def _whole(self, first: int, last: int, opening: str) -> bool:
        """Return whether the words from `first` to `last` are not part of a longer term or number."""
        if self.forms[first] in ("a", "an") and first != last and opening != self.forms[first]:
            return False
        (start, _), (_, end) = self.spans[first], self.spans[last]
        before, after = self.text[max(0, start - 1) : start], self.text[end : end + 1]
        if (self.forms[first][0].isdigit() or self.forms[first] == "√") and before and before in "<>≤≥-+.,/√^×":
            return False
        if self.forms[last][-1].isdigit() and re.match(r"\s?%|[.,/]\d", self.text[end : end + 3]):
            return False
        if _TERM_AFTER.match(self.text, end) or _TERM_BEFORE.search(self.text, max(0, start - 5), start):
            return False
        if _cjk(self.forms[first][0]) and before and _cjk(before) and before not in _BEFORE_CJK:
            return False
        return not (_cjk(self.forms[last][-1]) and after and _cjk(after) and not _AFTER_CJK.match(self.text, end))


def _cjk(char: str) -> bool:
    return "\u3040" <= char <= "\u9fff" or "\uac00" <= char <= "\ud7af"


def _number(text: str, match: re.Match[str]) -> str:
    raw = match.group(0)
    sign = _SIGNED.match(raw)
    if not sign:
        return raw.strip()
    before = text[max(0, match.start() - 1) : match.start()]
    digits = raw[sign.end() :].strip()
    mark = sign.group(0).strip()
    if before.isdigit() and mark == "-":
        return "-" + digits
    return ("–" if before.isalpha() and mark == "-" else mark) + digits


def option_words(text: str) -> Words:
    """Return the words of an option's text, without an article in front of others."""
    bare = re.sub(
        r"^\W{0,9}(?:a|an|the|la|el|le|los|las|les|o|os|as|un|una|der|die|das)\s{1,3}(?=\w{2})", "", text, flags=re.I
    )
    return Words(bare)
