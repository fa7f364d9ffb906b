"""Where a reply refers to an option: by its letter, by its own words, or by both.

`marked` writes each reference as one private character, so that whatever reads on sees neither the option's own words
("No, it's normal", "may", "either") nor how it was written, and a pattern is about options, not about letters.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from aloe_bench.answers.strict.cleaning import clean, lone_letter
from aloe_bench.answers.strict.phrases import AND_VERBS, COPULA_CJK, FIGURE, I_SAYS, TERM
from aloe_bench.answers.strict.words import CJK, Words, option_words

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
Form = Literal["letter", "both", "words", "weak", "clash"]
_CODES: dict[Form, int] = {"letter": 0xE000, "both": 0xE000, "words": 0xE040, "weak": 0xE080, "clash": 0xE0C0}
LETTER, WORDS, WEAK, CLASH = "[\ue000-\ue01f]", "[\ue040-\ue05f]", "[\ue080-\ue09f]", "[\ue0c0-\ue0df]"
ANY = "[\ue000-\ue0df]"
STRONG = "[\ue000-\ue05f]"

_LETTER = re.compile(
    r"\b(?P<noun>option|choice|letter|opción|opció|opção|opzione|alternativa|letra|réponse|answer|statement)s?\s{1,3}[\"'(\[]?(?P<named>[A-Za-z])[\"')\]]?(?![\w'-])"
    r"|(?<![^\W" + CJK + r"])[(\[](?P<bracketed>[A-Za-z])[)\]](?!\w(?<![" + CJK + r"]))"
    r"|(?:(?<=answer is )|(?<=answer: )|(?<=option is )|(?<=choice is ))(?P<low>(?-i:[b-z]))(?=\s{0,2}(?:[.!\n]|$))"
    r"|(?:(?<=\bl')|(?<![^\W" + CJK + r"])(?<![-'.+/=&^|\\]))(?P<bare>[A-Z])(?![^\W" + CJK + r"]|['/+=&^]\w|-\w)",
    re.I,
)
_GAP = re.compile(r"[\s.):,\-–—\"'「『(\[=|]{0,8}")
_END = re.compile(
    r"[\"')\]]{0,2}\s{0,3}(?:$|[,;:!?)\]。，、」』\"'/&–—|(]|-\s|\n|\.(?!\w)|[" + CJK + r"])" + "|" + AND_VERBS, re.I
)
_ABBREVIATES = re.compile(r"\.[ \t]{1,3}[a-zà-ÿ]")
_CONNECTIVE = re.compile(r"\.?\s{1,3}(?:because|since|as|given|due|based|which|for the|porque|ya que|parce que|weil)\b")
_ARTICLE_LINE = re.compile(r"\s{0,3}\n\s{0,3}[a-z]")
_SKIPPED = frozenset(("a", "an", "the", "la", "el", "o"))


@dataclass(frozen=True, slots=True)
class Reference:
    """One place that refers to an option; `start` and `end` are of the text before marking."""

    letter: str
    form: Form
    start: int
    end: int
    small: bool = False


class Item:
    """The letters and the words of one item's options."""

    def __init__(self, choices: Sequence[str]) -> None:
        self.letters = LETTERS[: len(choices)]
        texts = [clean(choice) for choice in choices]
        words = [option_words(text) for text in texts]
        often = Counter(one.joined for one in words)
        self.said_twice = {one.joined for one in words if often[one.joined] > 1}
        # Options that are letters themselves: what picture "E" is called may be another option's letter.
        self.named: dict[str, str] = {}
        self.options: dict[str, Words] = {}
        for letter, text, one in zip(self.letters, texts, words, strict=False):
            if called := lone_letter(text):
                self.named[called] = letter
            elif one.joined and often[one.joined] == 1:
                self.options[letter] = one
        self.without_unit = _without_unit(self.options)
        self.asks = {letter for letter, text in zip(self.letters, texts, strict=False) if text.endswith("?")}
        self.all_letters = bool(self.named) and all(k == v for k, v in self.named.items())

    def weak(self, letter: str) -> bool:
        """Return whether the option's words alone say little: a number, two characters, yes or no."""
        forms = self.options[letter].forms
        joined = self.options[letter].joined
        return len(joined) < 3 or joined in ("yes", "no") or not any(f[0].isalpha() and len(f) > 2 for f in forms)

    def whole(self, text: str) -> str | None:
        """Return the letter of the option whose words are all of `text`, but for a unit that all options share."""
        said = option_words(text)
        if not said.joined or said.joined in self.said_twice:
            return None
        own = [letter for letter, one in self.options.items() if one.joined == said.joined]
        if not own and len(said.forms) == 1 and said.forms[0][0].isdigit() and len(self.options) == len(self.letters):
            units = {"".join(one.forms[1:]) for one in self.options.values()}
            if len(units) == 1:
                own = [letter for letter, one in self.options.items() if one.forms[0] == said.forms[0]]
        elif not own and len(self.options) == len(self.letters):
            own = [letter for letter, bare in self.without_unit.items() if bare == said.joined]
        return own[0] if len(own) == 1 else None

    def holds_another(self, letter: str) -> bool:
        """Return whether this option's words hold another option's, or lie in another's."""
        mine = self.options[letter].joined
        return any(k != letter and (one.joined in mine or mine in one.joined) for k, one in self.options.items())


def _without_unit(options: dict[str, Words]) -> dict[str, str]:
    """Return the options' words but for the unit in which all of them end; nothing if they do not."""
    units = {one.forms[-1] for one in options.values()}
    numbers = all(one.joined[:1] in "0123456789√" for one in options.values())
    if not numbers or len(units) != 1 or not units.pop().isalpha():
        return {}
    return {letter: Words(one.text[: one.spans[-1][0]]).joined for letter, one in options.items()}


class Marked:
    """A text with each reference to an option written as one character."""

    def __init__(self, text: str, item: Item) -> None:
        self.item = item
        self.words = Words(text)
        references = _references(text, self.words, item)
        parts: list[str] = []
        self.at: dict[int, Reference] = {}
        at = length = 0
        for one in references:
            parts.append(text[at : one.start])
            length += one.start - at
            self.at[length] = one
            parts.append(chr(_CODES[one.form] + LETTERS.index(one.letter)))
            length += 1
            at = one.end
        parts.append(text[at:])
        self.text = "".join(parts)

    def __iter__(self) -> Iterator[tuple[int, Reference]]:
        return iter(self.at.items())


def letter_of(char: str) -> str:
    """Return the option that a private character stands for."""
    return LETTERS[(ord(char) - 0xE000) & 0x1F]


def _mentions(words: Words, item: Item) -> list[tuple[int, int, str]]:
    found = [(s, e, letter) for letter, one in item.options.items() for s, e in words.places(one)]
    found.sort(key=lambda one: (one[0], -one[1]))
    kept: list[tuple[int, int, str]] = []
    for one in found:
        if not kept or one[0] >= kept[-1][1]:
            kept.append(one)
    return kept


def _references(text: str, words: Words, item: Item) -> list[Reference]:
    """Return the references in `text` in order, none inside another."""
    mentions = _mentions(words, item)
    by_start = {start: (end, letter) for start, end, letter in mentions}
    found: list[Reference] = []
    taken = 0
    spans = iter([*mentions, (len(text) + 1, len(text) + 1, "")])
    mention = next(spans)
    for match in _LETTER.finditer(text):
        while mention[0] < match.start():
            if mention[0] >= taken and mention[2]:
                found.append(_by_words(text, mention, item))
                taken = mention[1]
            mention = next(spans)
        if match.start() < taken or not (one := _by_letter(text, match, words, item, by_start)):
            continue
        last = found[-1] if found else None
        if (
            last
            and last.form in ("words", "weak")
            and match.group("bracketed")
            and one.form == "letter"
            and not (text[last.end : one.start].strip())
        ):
            # "Edema (B)": the words and the letter behind them.
            form: Form = "both" if last.letter == one.letter else "clash"
            found[-1] = Reference(one.letter, form, last.start, one.end)
            taken = one.end
            continue
        found.append(one)
        taken = one.end
    while mention[2]:
        if mention[0] >= taken:
            found.append(_by_words(text, mention, item))
            taken = mention[1]
        mention = next(spans)
    return found


def _by_words(text: str, mention: tuple[int, int, str], item: Item) -> Reference:
    start, end, letter = mention
    return Reference(letter, "weak" if item.weak(letter) else "words", start, end)


def _by_letter(
    text: str, match: re.Match[str], words: Words, item: Item, mentions: dict[int, tuple[int, str]]
) -> Reference | None:
    """Return the reference that a letter in `text` is, with the option's own words if they follow it."""
    raw = match.group(match.lastgroup or 0)
    if match.lastgroup == "named":
        raw = match.group("named")
        if raw.islower() and (
            match.group("noun").lower() in ("answer", "statement") or (raw == "a" and not _ends(text, match.end()))
        ):
            return None
    if match.group("low"):
        return Reference(raw.upper(), "letter", match.start(), match.end()) if raw.upper() in item.letters else None
    kind = "bare" if match.group("bare") else "bracketed" if match.group("bracketed") else "named"
    if kind == "bare" and raw.islower():
        return None
    letter, end = raw.upper(), match.end()
    gap = _GAP.match(text, end)
    after = gap.end() if gap else end
    first = words.first_at(after)
    own = item.options.get(letter)
    shared = 0
    if first is not None and own is not None and words.spans[first][0] == after:
        shared = words.shared(first, own)
        if not shared and words.forms[first] in _SKIPPED and first + 1 < len(words.forms):
            shared = words.shared(first + 1, own)
            first += 1 if shared else 0
    if not _reads(text, match, kind, raw, end, shared):
        return None
    if item.named and (raw in item.named or letter not in item.letters or own is None):
        return _named_letter(raw, text, match.start(), end, item)
    if letter not in item.letters:
        other = mentions.get(after)
        return Reference(other[1], "clash", match.start(), other[0]) if other else None
    small = raw.islower()
    if own is not None and shared == len(own.forms):
        ends = words.spans[(first or 0) + shared - 1][1]
        ends += letter in item.asks and text[ends : ends + 1] == "?"
        return Reference(letter, "both", match.start(), ends, small)
    other = mentions.get(after) or (mentions.get(words.spans[first][0]) if first is not None and shared else None)
    if other and other[1] != letter and not _sets_apart(text, end, other[0], after):
        return Reference(letter, "clash", match.start(), other[0])
    if other and other[1] != letter:
        shared = 0
    # A part of its own words still belongs to it: "A. No, the image is normal" for "No, it's normal".
    ends = words.spans[(first or 0) + shared - 1][1] if shared else end
    return Reference(letter, "letter", match.start(), ends, small)


def _ends(text: str, end: int) -> bool:
    return re.match(r"\s{0,3}(?:$|[.,;:!?)\n])", text[end : end + 5]) is not None


def _sets_apart(text: str, end: int, said: int, after: int) -> bool:
    """Return whether the words of another option below a letter begin a sentence of their own."""
    return "\n" in text[end:after] and not _ends(text, said)


def _named_letter(raw: str, text: str, start: int, end: int, item: Item) -> Reference | None:
    """Return the option that a letter means where options are letters; a clash if it could be two."""
    second = re.match(r"[.):\s]{1,4}\(?([A-Za-z])(?![\w'-])", text[end : end + 8])
    letter = raw.upper()
    if letter in item.letters and second and item.named.get(second.group(1)) == letter:
        return Reference(letter, "both", start, end + second.end())
    by_name = item.named.get(raw)
    if by_name is None:
        return Reference(letter, "letter", start, end) if letter in item.letters else None
    if letter in item.letters and by_name != letter:
        return Reference(letter, "clash", start, end)
    return Reference(by_name, "letter", start, end)


def _reads(text: str, match: re.Match[str], kind: str, raw: str, end: int, own: int) -> bool:
    """Return whether a letter can be an option's, and no article, pronoun, part of a term, figure or formula."""
    start = match.start()
    before = text[max(0, start - 24) : start]
    if kind == "bracketed":
        return own > 0 or FIGURE.search(before) is None
    if kind == "named":
        return True
    if COPULA_CJK.match(text, end):
        return True
    if text[end : end + 1] and re.match(rf"[{CJK}]", text[end]):
        return False
    if own:
        return (
            raw not in "AI"
            or not re.match(r"\s{1,3}\w", text[end : end + 4])
            or (start == 0 and own > 1 and text[end:].lstrip()[:1].isupper())
        )
    if TERM.search(before) or before.rstrip(" ").endswith(("=", "+", "<", ">", "^", "\\")):
        return False
    if _ABBREVIATES.match(text, end) and not _CONNECTIVE.match(text, end):
        return False
    if raw == "I" and I_SAYS.match(text, end):
        return False
    if raw in "AI" and _ARTICLE_LINE.match(text, end):
        return False
    return _END.match(text, end) is not None
