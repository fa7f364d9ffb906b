"""Whether a reply says yes or no, or neither: the strict parser for questions with those two answers."""

from __future__ import annotations

import re

from aloe_bench.answers.strict.cleaning import opened, plain_text
from aloe_bench.answers.strict.phrases import DOUBT, EDGE, NEGATION, RETRACTED, clause_before, denied
from aloe_bench.answers.strict.reading import Parsed
from aloe_bench.answers.strict.statement import stated

# ruff: noqa: E501  (a word list broken over more lines is harder to check)

HEDGE = re.compile(
    r"\b(?:if|whether|might|could|may|maybe|perhaps|possibly|either|unsure|uncertain|guess|unclear|podría|quizás?)\b|如果|可能(?!的|性)|或许|也许",
    re.I,
)
REFUSAL = re.compile(
    r"\b(?:sorry|cannot (?:determine|provide|answer|assist|help|be determined)|unable to|not able to|can't (?:determine|provide|answer|assist|help|tell|say)|don't know|do not know|not sure|as an ai|i'm unsure|either|no puedo|lo siento|no sé|difficult to (?:say|tell|determine)|hard to (?:say|tell)|no (?:idea|comment|doubt|opinion|clear|answer|way)|uncertain|unclear|none of the (?:above|options|given)|impossible to)\b|无法(?:确定|判断|诊断|回答|做出)|不确定|难以(?:确定|判断)|抱歉",
    re.I,
)
_WORDS = {
    **dict.fromkeys("yes y yep yeah yup true sí si oui ja sim sì да 是 是的 有 存在 はい 네 예".split(), "yes"),
    **dict.fromkeys(
        "no n nope nah false non nein não нет 否 不 不是 没有 无 不存在 いいえ 아니요 아니오".split(), "no"
    ),
}
# Alone these mean it; before more words "y" is Spanish, "si" may be "if", and the rest has not been seen there.
_OPENING = "yes no sí nope yep yeah yup oui ja sim non nein não да нет 是 是的 有 存在 否 不是 没有 无 不存在 はい いいえ".split()
_WORD = "(?:" + "|".join(sorted(_OPENING, key=len, reverse=True)) + ")"
_END = r"(?=\s{0,3}(?:[!;)\"'\n,，。:]|\.(?!\s{0,3}\d)|$|because|since))"
_YES = re.compile(r"(?<![\w-])(?:yes|sí)(?![\w?-])", re.I)
_NO = re.compile(r"(?<![\w-])no(?![\w-])", re.I)
_LEAD = re.compile(rf"({_WORD})(?:\s{{0,3}}(?:[,;:!\n)，。、]|\.(?!\s{{0,3}}\d)|[–—-]\s)|\s{{0,3}}$)", re.I)
_PHRASE = re.compile(
    r"(?:(?:answer|respuesta|resposta|réponse|risposta|antwort)(?:\s{1,3}(?:correcta|correcte|correta|here))?\s{0,3}(?:is|es|és|é|est|è|ist|lautet|:|(?=\n))"
    r"|\bi(?:'d| would) say)\s{0,3}:?\s{0,3}[\"'(]?(" + _WORD + ")" + _END,
    re.I,
)
_LIKELY = re.compile(
    rf"\W{{0,3}}(?:most likely|very likely|most probably|likely|probably|almost certainly|definitely)[:,]?\s{{1,3}}({_WORD}){_END}",
    re.I,
)
# A sentence of that one word: "Is there a nodule? No", "A: no.". Elsewhere "no" is mostly a quantity.
_SENTENCE = re.compile(
    r"(?:^|[.?!:;\n]|,\s{1,3}(?:so|therefore|thus|hence))[\s\"'(*]{0,3}(yes|no|sí)[\"')*]{0,3}\s{0,3}(?:[!\n]|\.(?!\s*\d)|$)",
    re.I,
)
# The other word in a clause of its own: "No, wait, yes."
_CLAUSE = re.compile(
    rf"(?:^|[.?!:;,\n—–，。])[\s\"'(*]{{0,3}}({_WORD})(?=\s{{0,3}}(?:[,;!\n，。]|\.(?!\s*\d)|$))", re.I
)
_BOTH = re.compile(r"\byes\W{1,5}(?:or\W{1,3}|and\W{1,3})?no\b", re.I)
_CERTAIN = re.compile(r"\b(?:there(?: is|'s) )?no doubt(?: about (?:it|that))?\b", re.I)
# A reply that begins with "No" and says that it cannot be told, or counts: "No. 3".
_NO_ANSWER = re.compile(
    r"no\s{1,3}(?:(?:se|ho|es|lo|hi|li|m'es)\s{1,3})?(?:puede\w{0,3}|puedo|podemos|podría|puc|pot|podem|poden|sabe\w{0,3}|dispongo|tengo|tinc|consta)\b"
    r"|no\s{1,3}(?:es|és|resulta)\s{1,3}(?:posible|possible)\b"
    r"|no\s{1,3}(?:(?!(?:on|in|at|from|of|by|this|the)\s)\w{1,20}\s{1,3}){0,2}?"
    r"(?:conclusions?|determination|assessment|diagnosis|judge?ment|statement|information|data|image|images|picture|scan|file|attachment|question)\b"
    r"|no\s{1,3}(?:[\w-]{1,20}\s{1,3}){1,4}?(?:(?:can|could) be (?:drawn|made|determined|assessed|given|reached|evaluated|confirmed|excluded|ruled out)"
    r"|(?:was|were|is|are|has been|have been) (?:given|provided|attached|supplied|shown|uploaded|available)\b)"
    r"|no\s{0,3}\.?\s{0,3}\d",
    re.I,
)
# A leading word that answers a request and not the question: "No, I can't tell.", "Yes, I can help."
_TALK = re.compile(
    r"\bi (?:cannot|can't|can not|am unable|am not able|do not know|don't know|can (?:help|assist|analy[sz]e|describe|interpret|provide))\b(?! (?:see|find|identify|detect)\b)"
    r"|\bi'(?:m unable|m not able|d be happy)\b",
    re.I,
)


def _named(word: str) -> str:
    return _WORDS[word.lower()]


def _announced(text: str, lead: str | None) -> Parsed | None:
    """Return what the answer is said to be, or probably to be; unread if the first or a later clause differs."""
    phrases = [m for m in _PHRASE.finditer(text) if not NEGATION.search(clause_before(text, m.start()))]
    likely = _LIKELY.match(text)
    if likely and not HEDGE.search(text):
        phrases.append(likely)
    if not phrases:
        return None
    end = phrases[-1].end()
    said = {_named(m.group(1)) for m in (*phrases, *_CLAUSE.finditer(text, end))} | ({lead} if lead else set())
    if len(said) > 1:
        return Parsed(None, "yes-and-no")
    corrected = DOUBT.search(text, end) or RETRACTED.search(text, end)
    return Parsed(None, "self-correction") if corrected else Parsed(said.pop(), "announced")


def _leading(core: str) -> Parsed | None:
    """Return the word that `core` begins with, unread if the other one or a correction follows."""
    if not (lead := _LEAD.match(core)):
        return None
    word, rest = _named(lead.group(1)), core[lead.end(1) :]
    if re.match(r"\s*[,/.]?\s*(?:or\s+|and\s+)?(?:yes|no)\s*\W*$", rest[:40], re.I):
        return Parsed(None, "yes-and-no")
    if _TALK.search(rest) or re.search(r"无法|不确定", rest):
        return Parsed(None, "hedge")
    if DOUBT.search(rest) or any(_named(m.group(1)) != word for m in _CLAUSE.finditer(rest)):
        return Parsed(None, "self-correction")
    return Parsed(word, "leading-word")


def _only_word(text: str, core: str) -> Parsed:
    """Return the one of the two words that `text` holds, or that its last sentence is."""
    if any(p.search(text) for p in (REFUSAL, HEDGE, DOUBT, RETRACTED)) or _NO_ANSWER.match(core):
        return Parsed(None, "hedge")
    yes, no = _YES.search(text), _NO.search(text)
    sentences = [m.group(1) for m in _SENTENCE.finditer(text)]
    if yes and no:
        last = re.search(r"(?:[.?!:;\n])\s{0,3}(?:yes|sí)\W{0,3}\Z", text, re.I)
        alone = last and not _BOTH.search(text) and {_named(word) for word in sentences} == {"yes"}
        return Parsed("yes", "last-word") if alone else Parsed(None, "yes-and-no")
    if yes:
        return Parsed(None, "negated") if denied(text, yes.start(), yes.end()) else Parsed("yes", "only-word")
    if no and (core[:3].lower().strip() == "no" or sentences):
        return Parsed("no", "only-word")
    return Parsed(None, "nothing-found")


def read_yes_no(raw: str) -> Parsed:
    """Return "yes" or "no" as `letter`, of text that is already cleaned."""
    text = _CERTAIN.sub(" ", plain_text(raw)).strip()
    core = text.lstrip(EDGE)
    if (word := core.strip(EDGE).lower()) in _WORDS:
        return Parsed(_WORDS[word], "word-alone")
    lead = _leading(core)
    return _announced(text, lead.letter if lead else None) or lead or _only_word(text, core)


def parse_yes_no(reply: str, question: str = "", *, finish: str = "stop") -> Parsed:
    """Return "yes" or "no" as `letter`; `None` if the reply says neither, or both without a clear first word.

    With its question, a sentence without either word is read too: "There is no evidence of an effusion". `finish` is
    "length" where the reply ended at the token limit: only how it begins, or what it announced, is then read.
    """

    def read(raw: str, whole: bool) -> Parsed:
        said = read_yes_no(raw)
        if whole and finish == "length":
            return said if said.rule in ("leading-word", "announced", "word-alone") else Parsed(None, "cut")
        if said.letter is None and said.rule in ("nothing-found", "negated") and question:
            told = stated(plain_text(raw), question)
            return Parsed(told, "statement") if told else said
        return said

    return opened(reply, read, finish == "length")
