"""An option that a reply names by its own words alone, in passing."""

from __future__ import annotations

import re
from collections.abc import Sequence

from aloe_bench.answers.strict.claims import NOT_THE_OTHER, Claim
from aloe_bench.answers.strict.phrases import (
    ADVERB,
    ADVERB_AFTER,
    CONDITION,
    CONTRAST,
    DOUBT,
    HEDGE,
    OR_AFTER,
    OR_BEFORE,
    REFUSES,
    RETRACTED,
    UNCOMMITTED,
    denied,
)
from aloe_bench.answers.strict.reading import Parsed
from aloe_bench.answers.strict.references import Item, Marked
from aloe_bench.answers.strict.yes_no import read_yes_no

_SAID_WORDS = ("leading-word", "announced", "word-alone")
# "Edema, not effusion", "with no free air": a remark on another option.
_NOT_BUT = re.compile(
    r"(?:,\s|\bis |\bwith |\.\s)?\b(?:not|rather than|instead of|no|without)\s{1,3}(?:an?\s|the\s)?\Z", re.I
)
# A number in which a reply ends: "The perimeter is 22 meters."
_SO_MUCH = re.compile(
    r"(?:\b(?:is|are|was|be|equals?(?: to)?)|[=≈])\s{0,2}(?:(?:approximately|about|roughly|equal to)\s)?\Z", re.I
)
_UNIT_ENDS = re.compile(r"\s?(?:[°%]|[^\W\d_]{1,12}(?:[²³]|\s(?:squared|cubed))?)?\s?[.!。]?\s{0,3}\Z")
_ROMAN = frozenset(("I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X"))


def only_option_said(marked: Marked, claims: Sequence[Claim], item: Item, talk: str) -> Parsed:
    """Return the only option whose words the reply holds; `talk` is the reply without its disclaimers."""
    texts = {one.joined: letter for letter, one in item.options.items()}
    if {"yes", "no"} <= texts.keys():
        said = read_yes_no(marked.words.text)
        told = said.letter if said.rule in _SAID_WORDS else None
        return Parsed(texts[told], "option-text-in-sentence") if told else Parsed(None, said.rule)
    if any(pattern.search(talk) for pattern in (REFUSES, HEDGE, CONDITION, UNCOMMITTED, DOUBT, RETRACTED)):
        return Parsed(None, "hedge")
    spots = [one for one in claims if one.form == "clash" or _counts(marked, one, item)]
    text = marked.text
    if any(one.form == "clash" for one in spots):
        return Parsed(None, "letter-and-text-differ")
    spots = [one for one in spots if not _NOT_BUT.search(text, max(0, one.at - 20), one.at)] or spots
    if any(denied(text, one.at, one.at + 1) and not NOT_THE_OTHER.match(text, one.at + 1) for one in spots):
        return Parsed(None, "negated-text")
    if any(OR_AFTER.match(text, one.at + 1) or OR_BEFORE.search(text, max(0, one.at - 20), one.at) for one in spots):
        return Parsed(None, "two-option-texts")
    letters = {one.letter for one in spots}
    if spots:
        letters |= {one.letter for one in claims if one.form == "weak" and _named(marked, one)}
    if len(letters) != 1:
        return Parsed(None, "two-option-texts" if letters else "nothing-found")
    (letter,) = letters
    normal = item.options[letter].joined == "normal"
    if _wider_or_narrower(item, letter) or ((item.holds_another(letter) or normal) and CONTRAST.search(text)):
        return Parsed(None, "overlapping-options")
    return Parsed(letter, "option-text-in-sentence")


def _wider_or_narrower(item: Item, letter: str) -> bool:
    """Return whether a longer option holds this one's words, or this one is a kind of a shorter one.

    Where "pneumonia" and "viral pneumonia" are options, a sentence with either fits both.
    """
    mine = item.options[letter]
    return any(
        k != letter and (one.places(mine) or (len(mine.forms) > len(one.forms) and mine.joined.endswith(one.joined)))
        for k, one in item.options.items()
    )


def _counts(marked: Marked, one: Claim, item: Item) -> bool:
    """Return whether a claim in words can be the answer: no number, no short term unless said of something."""
    if one.form == "words":
        before, after = marked.text[: one.at], marked.text[one.at + 1 :]
        side = item.options[one.letter].joined == "right"
        return not (side and (ADVERB.search(before[-12:]) or ADVERB_AFTER.match(after)))
    if one.form != "weak":
        return False
    if _ends_in_it(marked, one):
        return True
    if len(item.options[one.letter].forms) > 1 and len(marked.text) < 200:
        return len({c.letter for c in marked.at.values()}) == 1
    before = marked.text[max(0, one.at - 9) : one.at]
    return _named(marked, one) and (
        one.at == 0 or re.search(r"\b(?:is|was) (?:an? |the )?\Z", before, re.I) is not None
    )


def _ends_in_it(marked: Marked, one: Claim) -> bool:
    """Return whether the reply ends in this number, and names no other option."""
    return (
        any(form[:1].isdigit() for form in marked.item.options[one.letter].forms)
        and len({c.letter for c in marked.at.values()}) == 1
        and _SO_MUCH.search(marked.text, max(0, one.at - 30), one.at) is not None
        and _UNIT_ENDS.match(marked.text, one.at + 1) is not None
    )


def _named(marked: Marked, one: Claim) -> bool:
    """Return whether a claim is a name in two capitals, such as CT."""
    said = marked.words.text[marked.at[one.at].start : marked.at[one.at].end]
    return len(said) == 2 and said.isalpha() and said.isupper() and said not in _ROMAN
