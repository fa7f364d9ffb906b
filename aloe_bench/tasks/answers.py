"""What option a reply names, or nothing: the strict parser.

Nothing is guessed. A reply that can be read two ways is unread (`letter=None`), because a wrong letter moves a
score silently and an unread one is counted. Order: cut reasoning, open answer containers, then look for a letter
alone, an announced letter, a marked letter, and last an option's own text. `rule` says which of these fired.
Every pattern is bounded, so time is linear in the reply.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aloe_bench.tasks.answer_containers import boxed, contained
from aloe_bench.tasks.answer_patterns import (
    CONNECTIVE,
    EDGE,
    GAP,
    HEDGE,
    IS_CORRECT,
    LETTER,
    LISTED,
    MARKED,
    MARKER,
    NEGATED_AFTER,
    NEGATION,
    PHRASE,
    REFUSAL,
    RETRACTED,
    REVISION,
    SECOND,
    SHOWS,
    THINK,
)  # fmt: skip  # isort: skip

VERSION = 2


@dataclass(frozen=True)
class Parsed:
    """What was read: a letter (or "yes"/"no"), `None` if unread, and the rule that decided it."""

    letter: str | None
    rule: str


def without_reasoning(reply: str) -> str | None:
    """Return `reply` without its reasoning blocks, `None` if one is left open."""
    kept: list[str] = []
    start, inside = 0, False
    for tag in THINK.finditer(reply):
        if tag.group(1) or tag.group(2):
            kept, inside, start = kept if inside else [], False, tag.end()
        elif not inside:
            kept.append(reply[start : tag.start()])
            inside = True
    return None if inside else " ".join([*kept, reply[start:]])


def _prepare(reply: str) -> Parsed | str:
    text = without_reasoning(reply)
    if text is None:
        return Parsed(None, "open-reasoning")
    text = unicodedata.normalize("NFKC", MARKER.sub(" ", text))
    text = text.replace("’", "'").replace("‘", "'").replace("“", '"').replace("”", '"').strip()
    return text or Parsed(None, "empty")


def _parse(reply: str, plain: Callable[[str], Parsed]) -> Parsed:
    text = _prepare(reply)
    if isinstance(text, Parsed):
        return text
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
    read = [(kind, plain(inner)) for kind, inner in inners]
    if len({p.letter for _, p in read}) > 1:
        return Parsed(None, "containers-differ")
    kind, first = read[0]
    rest = text[max(end for _, end, _ in found) :]
    after = plain(rest) if first.letter and re.search(r"final answer|answer is|answer:", rest, re.I) else first
    if after.letter not in (first.letter, None):
        return Parsed(None, "containers-differ")
    return Parsed(first.letter, f"{kind}:{first.rule}")


def answer_text(reply: str) -> str | None:
    """Return the words of an open answer: what its last container holds, else all but reasoning; None if unread."""
    text = _prepare(reply)
    if isinstance(text, Parsed):
        return None
    found = contained(text)
    inner = max(found, key=lambda one: one[1])[2] if found else text
    deeper = boxed(inner)
    return (deeper[1] if deeper else inner).strip() or None


def _clause_before(text: str, at: int) -> str:
    return re.split(r"[.,;:\n。，]|\b(?:so|therefore|but|thus|hence)\b", text[max(0, at - 90) : at])[-1]


def _plain_text(raw: str) -> str:
    """Return `raw` without markdown and pictographs; a cross counts as "not"."""
    text = re.sub(r"[❌✗✘✖]", " not ", re.sub(r"[*`$#_]", "", raw))
    return re.sub(r"[\u2190-\u2bff\ufe0f\U0001f000-\U0001faff]", " ", text).strip()


def _denied(text: str, start: int, end: int) -> bool:
    return bool(NEGATION.search(_clause_before(text, start)) or NEGATED_AFTER.match(text, end))


class _Item:
    """The letters and option texts of one item; option texts are matched whole-word, any case."""

    def __init__(self, choices: Sequence[str]) -> None:
        self.letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(choices)]
        normal = [
            " ".join(unicodedata.normalize("NFKC", c).replace("’", "'").split()).strip(EDGE).lower() for c in choices
        ]
        self.texts = dict(zip(self.letters, normal, strict=False))

    def stated(self, text: str) -> str | None:
        """Return the letter whose option text opens `text`, longest first; `None` if none does."""
        low = " ".join(text[:600].split()).lower().lstrip(EDGE)
        for skip in (0, m.end() if (m := SHOWS.match(low)) else 0):
            for letter, option in sorted(self.texts.items(), key=lambda kv: -len(kv[1])):
                rest = low[skip:]
                if option and rest.startswith(option) and not rest[len(option) : len(option) + 1].isalnum():
                    return letter
        return None

    def fits(self, letter: str, text: str, end: int) -> bool:
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
        if re.match(r"\s{0,3}(?:$|[,;:!)\]\n。，]|\(|-\s|[–—/&]|or\b|and\b)", tail) or own:
            return letter, end
        if re.match(r"\s?\.(?:\s|$)", tail):
            # "C. difficile", "E. coli": a lower-case word that is not the option's own text.
            return None if re.match(r"\s?\.[ \t]+[a-zà-ÿ]", tail) and not CONNECTIVE.match(tail[1:]) else (letter, end)
        return (letter, end) if match.group(1).isupper() and CONNECTIVE.match(tail) else None


def _hedged(text: str, own: Sequence[tuple[int, int]], *patterns: re.Pattern[str]) -> bool:
    """Return whether `text` hedges or refuses outside `own`, where an option's own words stand beside its letter."""
    found = (match for pattern in patterns for match in pattern.finditer(text))
    return any(not any(start <= m.start() and m.end() <= end for start, end in own) for m in found)


def _announced(text: str, item: _Item) -> Parsed | None:
    found: list[tuple[bool, str]] = []
    for phrase in PHRASE.finditer(text):
        if NEGATION.search(_clause_before(text, phrase.start())) or HEDGE.search(_clause_before(text, phrase.start())):
            continue
        read = item.letter_at(text, phrase.end())
        if read is None:
            continue
        letter, end = read
        if NEGATED_AFTER.match(text, item.past(letter, text, end)) or RETRACTED.search(text, end, end + 90):
            continue
        if (
            (m := SECOND.match(text, end))
            and item.stated(text[end : end + 600]) != letter
            and m.group(0).strip(" ,)").lower() != ", a"
        ):
            return Parsed(None, "two-letters")
        if item.offers_another(letter, text, end):
            return Parsed(None, "two-letters")
        if not item.fits(letter, text, end):
            return Parsed(None, "letter-and-text-differ")
        revised = bool(found) and REVISION.search(text, max(0, phrase.start() - 90), phrase.start())
        found.append((phrase.group("final") is not None or bool(revised), letter))
    finals = [letter for final, letter in found if final]
    if finals:
        return Parsed(finals[-1], "final-answer")
    if len({letter for _, letter in found}) > 1:
        return Parsed(None, "two-letters")
    return Parsed(found[0][1], "announced") if found else None


def _stands_out(match: re.Match[str], text: str, item: _Item) -> bool:
    """Whether a letter in brackets names an option, and not "figure (B)" or "grade (B)"."""
    if match.re is not MARKED or not match.group(2):
        return True
    before = text[max(0, match.start() - 600) : match.start()].lower().rstrip(" \t*\"'")
    own = item.texts.get(match.group(2).upper())
    return (
        before[-1:] in ("", "\n") or bool(own and before.endswith(own)) or bool(IS_CORRECT.match(text, match.start()))
    )


def _marked(text: str, item: _Item) -> Parsed | None:
    found: set[str] = set()
    passing: set[str] = set()
    stated: list[tuple[int, int]] = []
    for match in [*MARKED.finditer(text), *IS_CORRECT.finditer(text)]:
        raw = next(g for g in match.groups() if g)
        letter = raw.upper()
        own = item.stated(text[match.end() : match.end() + 600]) == letter
        before = NEGATION.search(_clause_before(text, match.start()))
        if letter not in item.letters or before or NEGATED_AFTER.match(text, item.past(letter, text, match.end())):
            continue
        if text[match.end() : match.end() + 1] == "?" or not _stands_out(match, text, item):
            passing.add(letter)
            continue
        if raw.islower() and re.match(r"\s{1,3}\w", text[match.end() : match.end() + 6]) and not own:
            continue
        lead, mine = text[max(0, match.start() - 300) : match.start()].lower().rstrip(" \t,:(-"), item.texts[letter]
        other_before = any(v and lead.endswith(v) for v in item.texts.values()) and not (mine and lead.endswith(mine))
        if other_before or not item.fits(letter, text, match.end()):
            return Parsed(None, "letter-and-text-differ")
        if match.group(0).endswith(".") and not own and re.match(r"\s[a-zà-ÿ]", text[match.end() : match.end() + 2]):
            continue
        found.add(letter)
        if own and item.offers_another(letter, text, match.end()):
            return Parsed(None, "two-letters")
        if own:
            stated.append((match.end(), item.past(letter, text, match.end())))
    if len(found | passing) > 1:
        return Parsed(None, "two-letters")
    if not found:
        return Parsed(None, "letter-in-passing") if passing else None
    return Parsed(None, "hedge") if _hedged(text, stated, REFUSAL, HEDGE) else Parsed(found.pop(), "marked")


def _option_text(text: str, item: _Item) -> Parsed:
    low = " ".join(text.split()).lower()
    whole = [k for k, v in item.texts.items() if v and low.strip(EDGE) == v]
    if len(whole) == 1:
        return Parsed(whole[0], "option-text")
    if REFUSAL.search(low) or HEDGE.search(low):
        return Parsed(None, "hedge")
    present: list[str] = []
    for letter, option in item.texts.items():
        if spots := list(re.finditer(r"(?<!\w)" + re.escape(option) + r"(?!\w)", low)):
            present += [letter] if option else []
            if option and any(_denied(low, m.start(), m.end()) for m in spots):
                return Parsed(None, "negated-text")
    if len(present) != 1:
        return Parsed(None, "two-option-texts" if present else "nothing-found")
    mine = item.texts[present[0]]
    if len(mine) < 3 or any(k != present[0] and v and (v in mine or mine in v) for k, v in item.texts.items()):
        return Parsed(None, "overlapping-options")
    return Parsed(present[0], "option-text-in-sentence")


def parse_choice(reply: str, choices: Sequence[str]) -> Parsed:
    """Return the letter `reply` names among `choices` ("A" is the first), or `None` with the reason in `rule`."""
    item = _Item(choices)

    def plain(raw: str) -> Parsed:
        text = _plain_text(raw)
        core = text.strip(EDGE)
        core = re.sub(r"^(?:option|choice|letter|opción|answer)\s{1,3}\(?", "", core, flags=re.I)
        if len(core) == 1 and core.upper() in item.letters and core.isascii():
            return Parsed(core.upper(), "letter-alone")
        if not core:
            return Parsed(None, "empty")
        if (announced := _announced(text, item)) is not None:
            return announced
        read = item.letter_at(text, 0)
        own = read is not None and item.stated(text[read[1] : read[1] + 600]) == read[0]
        past = item.past(read[0], text, read[1]) if read else 0
        if read and (own or not SECOND.match(text, read[1])) and not NEGATED_AFTER.match(text, past):
            if not item.fits(read[0], text, read[1]):
                return Parsed(None, "letter-and-text-differ")
            if own and item.offers_another(read[0], text, read[1]):
                return Parsed(None, "two-letters")
            others = _marked(text, item)
            stated = [(read[1], past)] if own else []
            if (others is None or others.letter == read[0]) and not _hedged(text, stated, REFUSAL):
                return Parsed(read[0], "leading-letter")
        if (marked := _marked(text, item)) is not None:
            return marked
        if re.match(r"\(?[A-Za-z]\)?[.):]\s", text):
            return Parsed(None, "nothing-found")
        return _option_text(text, item)

    return _parse(reply, plain)


_YES = re.compile(r"(?<![\w-])(?:yes|sí)(?![\w?-])", re.I)
_NO = re.compile(r"(?<![\w-])no(?![\w-])", re.I)
_ELSEWHERE = {
    "oui": "yes",
    "ja": "yes",
    "sim": "yes",
    "si": "yes",
    "是": "yes",
    "non": "no",
    "nein": "no",
    "não": "no",
    "否": "no",
}
_LEAD = re.compile(r"(yes|no|sí)(?:\s{0,3}(?:[.,;:!\n)]|[–—-]\s)|\s{0,3}$)", re.I)
_YN_PHRASE = re.compile(
    r"(?:answer|respuesta)\s{0,3}(?:is|es|:)\s{0,3}:?\s{0,3}[\"'(]?(yes|no|sí)(?=\s{0,3}(?:[.,;:!)\"'\n]|$|because|since))",
    re.I,
)
# A sentence of that one word: "Is there a nodule? No", "A: no.". Elsewhere "no" is mostly a quantity.
_NO_SENTENCE = re.compile(r"(?:^|[.?!:;\n])[\s\"'(*]{0,3}no[\"')*]{0,3}\s{0,3}(?:[!\n]|\.(?!\s*\d)|$)", re.I)


def parse_yes_no(reply: str) -> Parsed:
    """Return "yes" or "no" as `letter`; `None` if the reply says neither, or both without a clear first word."""

    def plain(raw: str) -> Parsed:
        text = _plain_text(raw)
        core = text.lstrip(EDGE)

        if (word := core.strip(EDGE).lower()) in _ELSEWHERE:
            return Parsed(_ELSEWHERE[word], "word-alone")

        def named(word: str) -> str:
            return "no" if word.lower() == "no" else "yes"

        said = {
            named(m.group(1)) for m in _YN_PHRASE.finditer(text) if not NEGATION.search(_clause_before(text, m.start()))
        }
        if len(said) == 1:
            return Parsed(said.pop(), "announced")
        if said:
            return Parsed(None, "yes-and-no")
        if lead := _LEAD.match(core):
            if re.match(r"\s*[,/.]?\s*(?:or\s+|and\s+)?(?:yes|no)\s*\W*$", core[lead.end() : lead.end() + 40], re.I):
                return Parsed(None, "yes-and-no")
            return Parsed(named(lead.group(1)), "leading-word")
        if REFUSAL.search(text) or HEDGE.search(text):
            return Parsed(None, "hedge")
        yes, no = _YES.search(text), _NO.search(text)
        if yes and no:
            return Parsed(None, "yes-and-no")
        if yes:
            return Parsed(None, "negated") if _denied(text, yes.start(), yes.end()) else Parsed("yes", "only-word")
        if no and (core[:3].lower().strip() == "no" or _NO_SENTENCE.search(text)):
            return Parsed("no", "only-word")
        return Parsed(None, "nothing-found")

    return _parse(reply, plain)
