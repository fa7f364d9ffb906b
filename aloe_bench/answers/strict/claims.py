"""What a reply claims of its options: which, how firmly, and where.

Each reference to an option becomes a claim. Its `strength` is 3 where the option is called the answer, 2 where it is
called the likeliest, best or right one of something, 1 where it is said what something is, 0 in passing. Its stance
is asserted, negated, hedged (in its own sentence) or shared (beside another: "B or C").
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace
from typing import Literal

from aloe_bench.answers.strict.phrases import (
    ANSWER,
    APPOSED,
    APPOSED_AFTER,
    CHOOSES,
    CONCLUDES,
    CONDITION,
    COPULA,
    FILLERS,
    FINAL,
    HEADING,
    HEDGE,
    MADE_RIGHT,
    MAKES,
    MAY_BE,
    MUST_CHOOSE,
    NEGATED_AFTER,
    NEGATION,
    NOT_THAT,
    OPTIONS_BELOW,
    OR_TRAILS,
    OTHERS_RIGHT,
    POINTS_TO,
    REFUSES,
    REVISION,
    RIGHT,
    SECOND_ONE,
    SO,
    SUPERLATIVE,
    TEXT_END,
    clause_before,
    says_answer,
)
from aloe_bench.answers.strict.references import ANY, LETTER, Form, Marked, letter_of

Stance = Literal["asserted", "negated", "hedged", "shared"]

_BREAK = re.compile(r"[.!?。！？;；](?=[\s\"')\]」』]|$)|[。！？]|\n")
_INDENT = re.compile(r"[ \t]{0,8}(?:[-•·>▪◦]|\d{1,2}[.)])?[ \t]{0,8}[\"'(\[]?")
_SECOND = re.compile(SECOND_ONE + f"(?P<other>{ANY}|\\(?(?-i:[B-HJ-Z])\\)?(?![\\w'-]))", re.I)
_BESIDE = re.compile(rf"[\s.|]{{0,3}}(?P<other>{ANY})(?=[\"')\]]?\s{{0,3}}(?:$|[.;|)\n]|{ANY}))")
# A line of its own; `before` then ends in the line that announces it.
_SET_APART = re.compile(rf"{LETTER}[\"')\]]?[.。]?[ \t]{{0,8}}(?:\n|$)")
_REMARK = re.compile(r"[\"')]?\s{0,2}(?:[:=(–—]|-\s)")
_COLON = re.compile(r"\s{0,3}[:：]\s{0,3}\Z")
_NO_BEFORE = re.compile(r"(?:\b(?:no|non|não|ne|not|n)['\s]{0,3}|不|并非|n')\Z", re.I)
_WRONG_ANSWER = re.compile(r"\b(?:incorrect|wrong)\s{1,3}(?:answer|option|choice)\W{0,3}\Z", re.I)
_FIRMLY = re.compile(r"\b(?:most likely\W{1,4}(?:incorrect|wrong)|therefore|thus|hence|in conclusion)\b", re.I)
_ASKS_WHICH = re.compile(
    r"\b(?:which(?! (?:means|implies|indicates|suggests|shows|confirms|makes|leaves)\b)|whether)\b"
)
_IF_THEN = re.compile(r"\bif\b[^,;]{1,200}, then\b(?!.{0,120}\b(?:would|could|might|may)\b)", re.I | re.S)
_TAKEN_BACK = re.compile(r"[\s.:)\"'–—-]{0,6}(?:incorrect|wrong|false)\b(?! (?:positive|negative))", re.I)
# The question said again: "the organism that would decline if the ants declined is".
_RELATIVE_IF = re.compile(r"\b(?:that|which|who|what)\b[^,.;:\n]{1,120}\bif\b", re.I)
NOT_THE_OTHER = re.compile(
    rf"[\s\"')\],;–—-]{{0,6}}(?:not|rather than|instead of)\s{{1,3}}(?:an?\s|the\s|option\s)?{ANY}", re.I
)


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim; `at` is its place in the marked text."""

    letter: str
    form: Form
    at: int
    strength: int
    stance: Stance
    final: bool = False
    concludes: bool = False
    opens: bool = False
    remark: bool = False
    apart: bool = False


class Sentences:
    """Where each sentence of a marked text begins and ends; a line that announces an option continues to it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.stops = [m.start() for m in _BREAK.finditer(text) if not self._goes_on(m.start())]

    def _goes_on(self, at: int) -> bool:
        if self.text[at] != "\n" and not self.text.startswith(("。\n", "。 \n"), at):
            return False
        line_end = self.text[max(0, at - 160) : at].rstrip().rstrip("。")
        rest = re.compile(rf"\s{{0,6}}(?:[-•·]\s{{0,3}})?[\"'(「]?{ANY}").match(self.text, at + (self.text[at] != "\n"))
        if not rest or not line_end:
            return False
        line = line_end.rsplit("\n", 1)[-1]
        return (
            line.endswith((":", "：")) or COPULA.search(line[-16:]) is not None or HEADING.match(line[-60:]) is not None
        )

    def around(self, at: int) -> tuple[int, int]:
        """Return start and end of the sentence that holds `at`."""
        before = bisect_left(self.stops, at)
        start = self.stops[before - 1] + 1 if before else 0
        after = bisect_right(self.stops, at)
        return start, self.stops[after] if after < len(self.stops) else len(self.text)


def claims(marked: Marked) -> list[Claim]:
    """Return one claim for each reference in the text, in order."""
    sentences = Sentences(marked.text)
    wrong_asked = OTHERS_RIGHT.search(marked.text) is not None
    found = [_claim(marked, sentences, at, wrong_asked) for at, _ in marked]
    partners = {
        at: one for one in found if one.stance == "shared" and (at := _partner(marked.text, one.at)) is not None
    }
    # The second of two is shared as the first is: "B and C".
    return [
        replace(one, stance="shared", strength=max(one.strength, partners[one.at].strength))
        if one.at in partners and one.stance == "asserted"
        else one
        for one in found
    ]


def _claim(marked: Marked, sentences: Sentences, at: int, wrong_asked: bool) -> Claim:
    text, one = marked.text, marked.at[at]
    start, end = sentences.around(at)
    before, after = text[max(start, at - 300) : at], text[at + 1 : min(end + 1, at + 300)]
    strength = _strength(before, after, one.form, one.small, wrong_asked)
    if strength and "\n" in before and _heads_list(text, at):
        strength = 0
    stance = _stance(text, at, before, after, strength)
    line = text[max(0, at - 24) : at].rsplit("\n", 1)
    opens = bool(_INDENT.fullmatch(line[-1])) and (len(line) > 1 or at <= 24)
    revised = strength > 1 and REVISION.search(text, max(0, at - 90), at) is not None
    final = strength == 3 and FINAL.search(before[-60:]) is not None
    return Claim(
        one.letter,
        one.form,
        at,
        strength,
        stance,
        final or revised,
        CONCLUDES.search(before[:60]) is not None,
        opens,
        _REMARK.match(text, at + 1) is not None,
        strength > 0 and before.endswith("\n") and _SET_APART.match(text, at) is not None,
    )


def _heads_list(text: str, at: int) -> bool:
    """Return whether the option at `at` is but the first of a list, one per line."""
    line_end = text.find("\n", at, at + 700)
    if line_end < 0:
        return False
    following = re.compile(rf"\s{{0,6}}(?:[-•·]\s{{0,3}})?[\"'(]?({ANY})").match(text, line_end)
    return following is not None and letter_of(following.group(1)) != letter_of(text[at])


def _strength(before: str, after: str, form: Form, small: bool, wrong_asked: bool) -> int:
    if form in ("words", "weak") and not (TEXT_END.match(after) or RIGHT.match(after) or MADE_RIGHT.match(after)):
        return 0
    filler = FILLERS.search(before[-90:])
    stem = (before[: len(before) - len(filler.group(0))] if filler else before).rstrip("。")
    said = max(_introduced(stem, before, after, wrong_asked), _called(stem, before, after))
    if form == "weak" and said == 1:
        return 0
    return 0 if small and said < 2 else said


def _introduced(stem: str, before: str, after: str, wrong_asked: bool) -> int:
    """Return how firmly the words before an option announce it; the incorrect answer may be what is asked for."""
    if NOT_THAT.search(before):
        return 0
    tail = stem[-60:]
    if OPTIONS_BELOW.search(before[-60:]):
        return 0
    if CHOOSES.search(_COLON.sub("", tail)) or (APPOSED.search(before[-60:]) and APPOSED_AFTER.match(after)):
        return 3
    if SO.search(tail):
        return 2 if re.match(r"[\"')\]]?\s{0,3}(?:[.!\n]|$)", after) else 1
    if HEADING.match(stem.strip()[-60:]) and stem.strip() and "\n" in before:
        return 3
    colon = _COLON.search(stem)
    subject = stem[: colon.start()] if colon else stem
    copula = COPULA.search(subject[-24:])
    if not colon and not copula:
        points = POINTS_TO.search(tail)
        return (2 if re.search(r"\b(?:best|most)(?: \w{1,14}){1,2}\Z", tail[-40:], re.I) else 1) if points else 0
    if copula:
        subject = subject[: len(subject) - len(copula.group(0))]
        if _NO_BEFORE.search(subject[-8:]):
            return 0
    if re.search(ANY, subject[-120:]) and not ANSWER.search(re.split(ANY, subject)[-1]):
        return 1 if copula and SUPERLATIVE.search(re.split(ANY, subject)[-1]) else 0
    if (not copula and NEGATION.search(subject)) or (
        _WRONG_ANSWER.search(subject) and not wrong_asked and not _FIRMLY.search(before)
    ):
        return 0
    if ANSWER.search(subject):
        return 3
    if SUPERLATIVE.search(subject):
        return 2
    return 1 if copula else 0


def _called(stem: str, before: str, after: str) -> int:
    """Return how firmly the words after an option call it right."""
    if MAKES.search(stem[-40:]) and MADE_RIGHT.match(after):
        return 3
    if not (right := RIGHT.match(after)) or REFUSES.search(before) or _ASKS_WHICH.search(before[-60:]):
        return 0
    if re.search(r"\b(?:also|equally)\b", right.group(0), re.I):
        return 0
    what = after[: right.end() + 16]
    return (
        3
        if re.search(r"answer|option|choice|respuesta|resposta|réponse|antwort|答案|正解|תשוב|정답", what)
        and says_answer(what)
        else 2
    )


def _stance(text: str, at: int, before: str, after: str, strength: int) -> Stance:
    if (
        _TAKEN_BACK.match(text, at + 1)
        or (NEGATED_AFTER.match(after) and not NOT_THE_OTHER.match(after))
        or (not strength and NEGATION.search(clause_before(text, at)))
    ):
        return "negated"
    if strength and re.search(r"\b(?:not|nor|neither|no longer|never)\s{0,3}\Z", before[-12:], re.I):
        return "negated"
    if _shared(text, at):
        return "shared"
    if re.match(
        r"\W{0,6}(?:while|although|though|even (?:if|though)|mientras|aunque|embora|bien que|obwohl)\b",
        re.split(r"[,;]", before)[-1],
        re.I,
    ):
        return "hedged"
    if strength and _SET_APART.match(text, at) and before.endswith("\n") and not MAY_BE.search(before):
        return "asserted"
    restated = _RELATIVE_IF.sub(" ", before) if strength else before
    conditioned = CONDITION.search(MUST_CHOOSE.sub(" ", restated)) and not (
        strength and _IF_THEN.search(before + after)
    )
    clause = re.split(r"[,;，；]", before)[-1] if strength else before + after
    if conditioned or HEDGE.search(clause) or re.match(r"[\"')\]]?\s{0,3}\?", text[at + 1 : at + 6]):
        return "hedged"
    if REFUSES.search(after) or re.match(
        r"[\"')\]]?,?\s{0,3}(?:if|unless|si|wenn|maybe|perhaps|possibly)\b", after, re.I
    ):
        return "hedged"
    return "asserted"


def _shared(text: str, at: int) -> bool:
    """Return whether the option at `at` is named together with another: "B or C", "A and B", "(A) (B)"."""
    if OR_TRAILS.match(text, at + 1):
        return True
    other = _SECOND.match(text, at + 1) or _BESIDE.match(text, at + 1)
    if not other:
        return False
    char = other.group("other")
    return not (len(char) == 1 and ord(char) >= 0xE000) or _partner(text, at) is not None


def _partner(text: str, at: int) -> int | None:
    """Return the place of the other option that is named together with the one at `at`."""
    other = _SECOND.match(text, at + 1) or _BESIDE.match(text, at + 1)
    if not other or ord(other.group("other")[-1]) < 0xE000:
        return None
    place = other.end() - 1
    if letter_of(text[place]) == letter_of(text[at]) or NEGATED_AFTER.match(text, other.end()):
        return None
    verb = re.match(r"\s{0,3}(?:is|are|was|were|would|does|has|could|can)\b", text[other.end() : other.end() + 12])
    return None if verb and "," in other.group(0) else place
