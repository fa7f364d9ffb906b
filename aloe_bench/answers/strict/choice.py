"""What option a reply names, or nothing: the strict parser, version 3.

Nothing is guessed. A reply that can be read two ways is unread (`letter=None`), because a wrong letter moves a score
silently and an unread one is counted. A reply becomes a list of claims (`claims`), and one decision reads them:
containers, then what is called the answer, then what the reply opens with, then the one option that it names at all.
`rule` says which. Every pattern is bounded, so time is linear in the reply.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache

from aloe_bench.answers.strict.claims import Claim, claims
from aloe_bench.answers.strict.cleaning import (
    answer_text,
    clean,
    lone_letter,
    opened,
    own_turn,
    plain_text,
    without_reasoning,
)
from aloe_bench.answers.strict.phrases import (
    DISCLAIMER,
    DOUBT,
    EDGE,
    HOWEVER,
    LIKELY,
    NEGATED_AFTER,
    PLEASANTRY,
    REFUSES,
    RETRACTED,
    WRONG_ANSWER_IS,
)
from aloe_bench.answers.strict.reading import Parsed
from aloe_bench.answers.strict.references import ANY, LETTERS, STRONG, Item, Marked, letter_of
from aloe_bench.answers.strict.wording import only_option_said
from aloe_bench.answers.strict.yes_no import parse_yes_no

__all__ = ["VERSION", "Parsed", "answer_text", "parse_choice", "parse_yes_no", "without_reasoning"]

VERSION = 3
# A reply that is longer is read at its beginning and its end; one that names options more often only loops.
LONGEST, MOST_CLAIMS = 20_000, 400

_LONE = re.compile(r"(?:option|choice|letter|opción|answer|选项)\s{0,3}[(\[]?([A-Za-z])[)\]]?", re.I)
# "A. Biotic" is no "Abiotic".
_LABELLED = re.compile(r"([A-Z])[).:]{1,2}\s{1,4}(\S.{0,2000})", re.S)
_SENTENCE = re.compile(r"[^.!?。！？\n]{1,600}[.!?。！？]?")
_HELD_OUT = r"possibly|perhaps|maybe|alternatively,?|(?:could|might|may) (?:also |well )?be|instead|rather"
_SEEMS = r"is|are|would be|seems|appears|looks|fits|suits|matches|explains|may be|could be|might be|remains"
_AS_GOOD = (
    r"better|more (?:likely|appropriate|plausible|suitable)|possible\b"
    r"|(?<=also )(?:possible|plausible|reasonable|valid|acceptable|correct|right|likely)"
    r"|(?<=equally )(?:possible|plausible|reasonable|valid|correct|likely)"
)
# Another option that is held out further on: "It could also be C", "C is better".
_CHANGES = re.compile(
    rf"(?:\b(?:{_HELD_OUT})|[.\n]\s{{0,3}}or)[,:]?\s{{1,3}}(?:an?\s|the\s)?({STRONG})"
    rf"|({STRONG}),?\s{{1,3}}(?:{_SEEMS})\s{{1,3}}"
    rf"(?:(?:the|a|to be|indeed|actually|also(?= )|equally(?= )|very)\s{{1,3}}){{0,3}}(?:{_AS_GOOD})",
    re.I,
)
_CONCLUDED = re.compile(
    rf"\b(?:is|hand|rather|instead|but|so|then),?\s{{1,3}}({STRONG})(?=\s{{0,2}}(?:[.!\n]|$))", re.I
)


class _Reply:
    """One plain text: its references marked, its claims, and how it ended."""

    def __init__(self, text: str, item: Item, cut: bool) -> None:
        self.text, self.item, self.cut = text, item, cut
        self.marked = Marked(text, item)
        self.claims = claims(self.marked) if len(self.marked.at) <= MOST_CLAIMS else []
        self.loops = len(self.marked.at) > MOST_CLAIMS
        if cut:
            self.claims = [one for one in self.claims if self._outlasts_cut(one)]

    def _outlasts_cut(self, one: Claim) -> bool:
        """Return whether a claim of a reply that was cut would stand whatever had followed."""
        said = self.marked.text.rstrip()
        if one.at >= len(said) - 1:
            return False
        # The line that was cut may be the first of a list of all options.
        if one.letter == "A" and one.opens and said[: one.at].strip() and "\n" not in said[one.at :]:
            return False
        return one.form in ("letter", "both", "clash") or (one.strength == 3 and said[one.at + 1] in ".!\n。")

    def after(self, at: int) -> str:
        return self.marked.text[at + 1 :]


def _talk(text: str) -> str:
    """Return `text` without the sentences that only disclaim: about no option, and about doctors or advice."""
    return " ".join(s for s in _SENTENCE.findall(text) if re.search(ANY, s) or not DISCLAIMER.search(s))


def _without_disclaimer(text: str) -> str:
    """Return `text` without last lines that only disclaim, if there is more."""
    lines = text.rstrip().split("\n")
    while len(lines) > 1 and (not lines[-1].strip() or _only_disclaims(lines[-1])):
        lines.pop()
    return "\n".join(lines)


def _only_disclaims(line: str) -> bool:
    sentences = [s for s in _SENTENCE.findall(line) if s.strip(EDGE)]
    if sentences and all(PLEASANTRY.search(s) for s in sentences):
        return True
    return (
        len(line) > 20 and all(DISCLAIMER.search(s) for s in sentences) and not re.match(r"\W{0,6}\(?[A-Z][).:]", line)
    )


def _wavers(reply: _Reply, letter: str, at: int) -> bool:
    """Return whether the reply takes `letter` back after `at`, or holds out another option."""
    rest = reply.after(at)
    if (HOWEVER.match(rest) and re.search(ANY, rest[:300])) or DOUBT.search(rest) or RETRACTED.search(rest[:90]):
        return True
    found = [g for m in _CHANGES.finditer(rest[:400]) for g in m.groups() if g]
    found += [m.group(1) for m in _CONCLUDED.finditer(rest[:400])]
    return any(letter_of(g) != letter for g in found)


def _verdict(reply: _Reply) -> Parsed | None:
    """Return the option that the reply calls the answer, or the best or likeliest one; `None` if it calls none so."""
    for level, rule in ((3, "announced"), (2, "called-best")):
        said = [one for one in reply.claims if one.strength == level and one.stance in ("asserted", "shared")]
        if any(one.form in ("letter", "both") for one in said):
            said = [one for one in said if one.form != "weak"]
        if not said:
            continue
        if any(one.form == "clash" for one in said):
            return Parsed(None, "letter-and-text-differ")
        last = said[-1]
        if last.stance == "shared":
            return Parsed(None, "two-letters")
        said = [one for one in said if one.stance == "asserted"]
        letters = {one.letter for one in said}
        chosen = last
        if len(letters) > 1:
            finals = [one for one in said if one.final]
            settled = finals or ([one for one in said if one.concludes] if level == 2 else [])
            if not settled or (len({one.letter for one in settled}) > 1 and not finals):
                return Parsed(None, "two-letters")
            chosen = settled[-1]
        elif any(one.final for one in said):
            rule = "final-answer"
        if level == 3 and _differs_later(reply, chosen):
            return Parsed(None, "two-letters")
        if _wavers(reply, chosen.letter, chosen.at):
            return Parsed(None, "self-correction")
        if chosen.form in ("words", "weak") and not _stands_alone(reply, chosen):
            return Parsed(None, "two-option-texts")
        return Parsed(chosen.letter, "final-answer" if chosen.final else rule)
    return _concluded(reply)


def _concluded(reply: _Reply) -> Parsed | None:
    """Return the option in which the reply ends, said by letter and words, after a "therefore" or on its own line."""
    said = [c for c in reply.claims if (c.concludes or c.apart) and c.strength and c.stance == "asserted"]
    if reply.cut or not said or said[-1] is not reply.claims[-1] or len({one.letter for one in said}) > 1:
        return None
    last = said[-1]
    if last.form != "both" or REFUSES.search(reply.after(last.at)) or _wavers(reply, last.letter, last.at):
        return None
    return Parsed(last.letter, "concluded")


def _differs_later(reply: _Reply, chosen: Claim) -> bool:
    return any(
        one.strength == 2 and one.stance == "asserted" and one.letter != chosen.letter and one.at > chosen.at
        and not one.opens and not chosen.final and one.form != "weak"
        for one in reply.claims
    )  # fmt: skip


def _stands_alone(reply: _Reply, chosen: Claim) -> bool:
    """Return whether no option but remarks on others follows one that is said in words."""
    return not any(
        one.at > chosen.at
        and one.letter != chosen.letter
        and one.strength
        and one.stance == "asserted"
        and not one.opens
        for one in reply.claims
    )


def _opening(reply: _Reply) -> Parsed | None:
    """Return the letter that the reply begins with, if it is an answer and not the first of a list."""
    text = reply.marked.text
    lead = re.match(r"[\s.,;:!\"'\[({<>~–—-]{0,9}", text)
    at = lead.end() if lead else 0
    if likely := LIKELY.match(text, at):
        at = likely.end()
    one = next((c for c in reply.claims if c.at == at), None)
    if one is None or one.form in ("words", "weak"):
        return None
    if one.form == "clash":
        return Parsed(None, "letter-and-text-differ")
    rest = text[at + 1 :]
    if one.stance == "shared":
        return Parsed(None, "two-letters")
    if one.stance == "negated" and not (
        one.form == "both" and re.match(r"\.?[ \t]{0,3}\n\s{0,3}\n\s{0,3}(?:not?|never)\s\w", rest, re.I)
    ):
        return None
    if re.match(r"\W{0,6}(?:incorrect|wrong|false)\b", rest, re.I):
        return None
    if re.match(r"[\"')\]]?\s{0,2}\?", rest) or (
        reply.marked.at[at].small and not re.match(r"\s{0,2}(?:[.:]?\s*(?:\n|$))", rest) and one.form != "both"
    ):
        return None
    if likely and re.search(r"\b(?:might|could|may|if|or)\b", rest[:60], re.I):
        return None
    if _lists(reply, one):
        return Parsed(None, "list-of-options")
    if any(c.strength > 1 and c.stance in ("asserted", "shared") and c.letter != one.letter for c in reply.claims):
        return Parsed(None, "opening-differs")
    if one.stance == "hedged" and re.match(r"[\"')\]]?,?\s{0,3}(?:maybe|perhaps|possibly|if|unless)\b", rest, re.I):
        return Parsed(None, "hedge")
    if HOWEVER.match(rest) or _wavers(reply, one.letter, at):
        return Parsed(None, "self-correction")
    talk = _talk(rest)
    if REFUSES.search(talk):
        return Parsed(None, "hedge")
    alone = re.match(r"[\"')\]]?[.:]?\s{0,3}(?:\n|$)", rest) and one.form == "letter"
    if alone and _explains_another(reply, one, rest):
        return Parsed(None, "letter-and-text-differ")
    return Parsed(one.letter, "letter-explained" if alone and rest.strip(EDGE) else "leading-letter")


def _lists(reply: _Reply, first: Claim) -> bool:
    """Return whether the option that opens the reply is but one of its list."""
    later = [c for c in reply.claims if c.at > first.at and c.letter != first.letter]
    if first.remark and any(c.remark and c.form != "words" for c in later):
        return True
    heads = [c for c in later if c.opens and c.form in ("letter", "both", "clash")]
    if not heads:
        return False
    return ord(heads[0].letter) == ord(first.letter) + 1 or any(c.stance != "negated" for c in heads)


def _explains_another(reply: _Reply, one: Claim, rest: str) -> bool:
    """Return whether the lines below a lone letter are about another option, or begin with one."""
    if (
        re.match(r"\s{0,6}\.?\s{0,6}(?:incorrect|wrong|not|no)\b", rest, re.I)
        and NEGATED_AFTER.match(rest)
        and one.letter != "D"
    ):
        return True
    later = [c for c in reply.claims if c.at > one.at]
    if any(c.opens and c.form != "words" and c.letter != one.letter and c.stance == "asserted" for c in later):
        return True
    said = {c.letter for c in later if c.form == "words"}
    return len(said) == 1 and said != {one.letter}


def _last(reply: _Reply) -> Parsed | None:
    """Return the letter that is the last line or sentence, where no sentence begins with another."""
    if reply.cut:
        return None
    text = reply.marked.text.rstrip()
    tail = re.search(
        rf"(?:(?:[^\W\d_]{{1,40}}|{ANY})[\"')]?[.!?]\s{{1,3}}|\n\s{{0,3}})({STRONG})[\"')\]]?[.!]?\Z", text[-60:]
    )
    if not tail:
        return None
    at = len(text) - len(text[-60:]) + tail.start(1)
    one = next((c for c in reply.claims if c.at == at), None)
    if one is None or one.form not in ("letter", "both"):
        return None
    inline = one.form == "letter" and "\n" not in tail.group(0) and text[-1] not in ".!)"
    if inline and (one.letter in "AI" or len(text) > 200):
        return None  # An article, or a sentence that was cut.
    before = text[:at].rstrip("( \n")
    if before.endswith((":", "?")) or re.search(
        r"\b(?:e\.g|i\.e|vs|cf|figs?|dr|no|nr|st|ca|approx|grade|type|stage|panel|image|ref|etc)[.:]\Z", before, re.I
    ):
        return None
    others = [c for c in reply.claims if c.at < at and c.letter != one.letter]
    if any(c.opens and c.form != "words" for c in others) or REFUSES.search(_talk(before)) or DOUBT.search(before):
        return None
    if any(c.form in ("letter", "both") and re.search(r"(?:^|[.!?;\n]\s{0,3})\Z", text[: c.at]) for c in others):
        return None
    if others and others[-1].form == "both" and others[-1].stance != "negated" and at - others[-1].at < 80:
        return None
    worded = {c.letter for c in others if c.form == "words" and c.stance != "negated"}
    if len(worded) == 1 and not any(c.letter == one.letter for c in reply.claims if c.at < at):
        return Parsed(None, "letter-and-text-differ")
    return Parsed(one.letter, "last-letter")


def _says_wrong_answer(reply: _Reply, one: Claim) -> bool:
    return (
        one.stance == "negated" and WRONG_ANSWER_IS.search(reply.marked.text, max(0, one.at - 60), one.at) is not None
    )


def _only(reply: _Reply, listed: bool) -> Parsed | None:
    """Return the one option that the reply names by its letter and does not deny."""
    if reply.cut:
        return None
    named = [c for c in reply.claims if c.form in ("letter", "both", "clash")]
    kept = [c for c in named if c.stance != "negated"]
    if not kept:
        return None
    if any(c.form == "clash" for c in kept):
        return Parsed(None, "letter-and-text-differ")
    worded = {c.letter for c in reply.claims if c.form == "words" and c.stance != "negated" and not c.opens}
    letters = {c.letter for c in kept} | worded
    if len(letters) > 1:
        return Parsed(None, "two-letters")
    if any(c.stance == "shared" for c in kept):
        return Parsed(None, "two-letters")
    best = max(kept, key=lambda c: (c.strength, c.form == "both", c.at))
    if listed and not best.strength:
        return Parsed(None, "list-of-options")
    # "The incorrect answer is C. * A: fine": a remark, below what may have been asked for.
    if best.remark and best.opens and not best.strength and any(_says_wrong_answer(reply, c) for c in named):
        return Parsed(None, "two-letters")
    if REFUSES.search(_talk(reply.marked.text)) or any(c.stance == "hedged" for c in kept):
        return Parsed(None, "hedge")
    if _wavers(reply, best.letter, best.at):
        return Parsed(None, "self-correction")
    reference = reply.marked.at[best.at]
    stands = reply.text[reference.start : reference.end]
    if (
        best.strength
        or best.form == "both"
        or best.opens
        or re.match(r"option|choice|opci|opç|alternativa|letra", stands, re.I)
    ):
        return Parsed(best.letter, "only-letter")
    noted = stands[:1] in "([" or re.search(r"(?:选项|選択肢)\s?\Z", reply.text[: reference.start][-6:])
    if noted and re.match(r"\s{0,2}(?:[.!。\n]|$)", reply.after(best.at)) and not reference.small:
        return Parsed(best.letter, "only-letter")
    return Parsed(None, "letter-in-passing")


def _lone(core: str, choices: Sequence[str], cut: bool) -> Parsed | None:
    """Return the letter that is all of `core`; None if it is other text, or what an option elsewhere is called."""
    lone = _LONE.fullmatch(core)
    letter = (lone.group(1) if lone else core).upper()
    if len(letter) != 1 or not letter.isascii() or letter not in LETTERS[: len(choices)]:
        return None
    if cut and core.islower():  # It may be the first of a word.
        return None
    named = {called: own for own, text in zip(LETTERS, choices, strict=False) if (called := lone_letter(clean(text)))}
    return Parsed(letter, "letter-alone") if named.get(core if len(core) == 1 else letter, letter) == letter else None


def _read(text: str, choices: Sequence[str], words_of: Callable[[], Item], cut: bool) -> Parsed:
    """Return what plain `text` says; the options' words are looked into where it is more than a letter."""
    text = _without_disclaimer(text)
    core = text.strip(EDGE)
    if not core:
        return Parsed(None, "empty")
    if lone := _lone(core, choices, cut):
        return lone
    item = words_of()
    labelled = _LABELLED.fullmatch(core)
    if labelled and not cut:
        own = item.whole(labelled.group(2)) or item.named.get(labelled.group(2).strip(EDGE))
        if own == labelled.group(1):
            return Parsed(own, "letter-and-text")
    if not cut and (whole := item.whole(text)):
        return Parsed(whole, "option-text")
    reply = _Reply(text if len(text) <= LONGEST else f"{text[:2000]}\n\n{text[2000 - LONGEST :]}", item, cut)
    if reply.loops:
        return Parsed(None, "loops")
    opening = _opening(reply)
    verdict = _verdict(reply)
    if verdict is not None:
        other = opening.letter if opening else None
        last = _last(reply)
        differs = opening is not None and opening.rule == "opening-differs" and verdict.letter is not None
        if verdict.rule != "final-answer" and (
            differs or (verdict.letter and {other, last.letter if last else None} - {None, verdict.letter})
        ):
            return Parsed(None, "two-letters")
        return verdict
    listed = opening is not None and opening.rule == "list-of-options"
    if opening is not None and not listed:
        return opening
    last, only = _last(reply), _only(reply, listed)
    if last is not None:
        return last
    if only is not None and (only.letter or only.rule != "letter-in-passing"):
        return only
    if cut:
        return Parsed(None, "cut")
    worded = only_option_said(reply.marked, reply.claims, item, _talk(reply.marked.text))
    return worded if worded.letter or only is None else only


def parse_choice(reply: str, choices: Sequence[str], *, finish: str = "stop") -> Parsed:
    """Return the letter `reply` names among `choices` ("A" is the first), or `None` with the reason in `rule`.

    `finish` is "length" where the reply ended at the token limit: its last words are then not read.
    """
    words_of = cache(lambda: Item(choices))
    cut = finish == "length"
    return opened(reply, lambda raw, whole: _read(plain_text(own_turn(raw)), choices, words_of, cut and whole), cut)
