"""An option named by its own words, in place of its letter."""

from __future__ import annotations

import re

from aloe_bench.answers.compat.strict2.options import Item, flat
from aloe_bench.answers.compat.strict2.patterns import (
    ADVERB,
    ADVERB_AFTER,
    CONTRAST,
    DOUBT,
    HEDGE,
    LETTERED,
    NEGATED_AFTER,
    NEGATION,
    OR_AFTER,
    OR_BEFORE,
    OTHER_DIAGNOSIS,
    REFUSAL,
    RETRACTED,
    TEXT_END,
    TEXT_PHRASE,
    UNCOMMITTED,
    WEAK_TEXT_END,
    clause_before,
    denied,
    hedged,
)
from aloe_bench.answers.compat.strict2.reading import Parsed
from aloe_bench.answers.compat.strict2.yes_no import read_yes_no

_ROMAN = {"i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x"}


def announced_text(text: str, item: Item) -> Parsed | None:
    """Return the option whose words `text` announces as the answer, if it announces one and takes none up after it."""
    low = flat(text).lower()
    found: dict[str, tuple[int, int]] = {}
    for phrase in TEXT_PHRASE.finditer(low):
        clause = clause_before(low, phrase.start())
        if (
            NEGATION.search(clause)
            or HEDGE.search(clause)
            or OTHER_DIAGNOSIS.search(low, max(0, phrase.start() - 20), phrase.start())
        ):
            continue
        read = item.text_at(low, phrase.end())
        ending = WEAK_TEXT_END if phrase.group("weak") else TEXT_END
        if read and ending.match(low, read[1]) and not NEGATED_AFTER.match(low, read[1]):
            found[read[0]] = (phrase.end(), read[1])
    if len(found) != 1:
        return None
    (letter, span), *_ = found.items()
    others = [m for m in item.mentions(low[span[1] :]) if m[0] != item.texts[letter]]
    if any(not denied(low, span[1] + start, span[1] + end) for _, start, end in others):
        return None
    sentence = re.split(r"[.;]\s", low[span[1] :])[0]
    if (
        DOUBT.search(low, span[1])
        or RETRACTED.search(low, span[1])
        or hedged(low, [span], REFUSAL)
        or HEDGE.search(sentence)
    ):
        return None
    return Parsed(letter, "announced-text")


def _says_no_side(low: str, option: str, start: int, end: int) -> bool:
    """Return whether "right" is another word than a side, as in "You're right to ask"."""
    return option == "right" and bool(ADVERB.search(low, max(0, start - 12), start) or ADVERB_AFTER.match(low, end))


def _short_name(shown: str, start: int, end: int) -> bool:
    """Return whether two letters name an option: capitals such as CT that open the text or follow "is a"."""
    name = shown[start:end]
    placed = start == 0 or re.search(r"\b(?:is|was) (?:an? |the )?\Z", shown[max(0, start - 9) : start], re.I)
    return name.isalpha() and name.isupper() and name.lower() not in _ROMAN and bool(placed)


def _has_other_letter(shown: str, option: str, start: int, item: Item) -> bool:
    """Return whether another option's letter stands before `option`, as in "Here we see B. Glioma"."""
    letter = LETTERED.search(shown, max(0, start - 6), start)
    return letter is not None and item.texts.get(letter.group(1).upper(), option) != option


def option_text(text: str, item: Item) -> Parsed:
    """Return the option that `text` is, word for word, or the only one that it mentions."""
    shown = flat(text)
    low = shown.lower()
    if whole := item.equal(low):
        return Parsed(whole, "option-text")
    if {"yes", "no"} <= set(item.texts.values()):
        said = read_yes_no(text)
        told = (
            item.of_text(said.letter)
            if said.letter and said.rule in ("leading-word", "announced", "word-alone")
            else None
        )
        return Parsed(told, "option-text-in-sentence") if told else Parsed(None, said.rule)
    if (
        REFUSAL.search(low)
        or HEDGE.search(low)
        or UNCOMMITTED.search(low)
        or DOUBT.search(low)
        or RETRACTED.search(low)
    ):
        return Parsed(None, "hedge")
    spots = [m for m in item.mentions(low) if not _says_no_side(low, *m)]
    if any(denied(low, start, end) for _, start, end in spots):
        return Parsed(None, "negated-text")
    if any(OR_AFTER.match(low, end) or OR_BEFORE.search(low, max(0, start - 20), start) for _, start, end in spots):
        return Parsed(None, "two-option-texts")
    if any(_has_other_letter(shown, option, start, item) for option, start, _ in spots):
        return Parsed(None, "letter-and-text-differ")
    present = {option for option, _, _ in spots}
    if len(present) != 1:
        return Parsed(None, "two-option-texts" if present else "nothing-found")
    option, start, end = spots[0]
    letter = item.of_text(option)
    short = len(option) < 3 and not (len(option) == 2 and len(shown) == len(low) and _short_name(shown, start, end))
    if letter is None or short or item.holds_another(letter):
        return Parsed(None, "overlapping-options")
    if (item.resembles_another(letter) or option == "normal") and CONTRAST.search(low):
        return Parsed(None, "overlapping-options")
    return Parsed(letter, "option-text-in-sentence")
