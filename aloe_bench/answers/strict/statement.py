"""A yes/no question answered in a sentence without either word: "There is no evidence of pneumothorax."

The question says what the sentence is about: the words it asks for, whether it asks for the normal or for a finding.
A sentence that hedges, contrasts or is about something else says nothing.
"""

from __future__ import annotations

import re
from typing import Literal

from aloe_bench.answers.strict.phrases import CONDITION, HEDGE, REFUSES
from aloe_bench.answers.strict.words import Words

# ruff: noqa: E501  (a word list broken over more lines is harder to check)

Said = Literal["yes", "no"]

_ASKS = re.compile(r"(?:^|[.:\n]\s{0,3})(?:is|are|was|were|does|do|did|has|have|had|can|could)\b[^?\n]{2,300}\??", re.I)
_ALTERNATIVES = re.compile(r"\bor\b", re.I)
_COMMON = frozenset(
    "is are was were be been being doe do did has have had can could will would there here the a an any some this that these those of in on "
    "at to for with by from and it its image picture scan xray x ray radiograph photo film slide study mri ct ultrasound chest head brain "
    "patient subject person see seen visible visualized show shown showing display displayed demonstrate demonstrated appear appearing evidence sign "
    "indicate indicated suggest present presence exist existence found noted identify identified detected evident observed depict depicted contain "
    "look like also both side all consistent finding abnormal abnormality normal healthy clear intact unremarkable".split()
)
_WHICH = frozenset(
    "left right upper lower anterior posterior medial lateral axial coronal sagittal pa ap bilateral enlarged small larger smaller increased "
    "decreased acute chronic benign malignant single multiple more less".split()
)
_NORMAL = re.compile(r"\b(?:normal|healthy|unremarkable|intact|within normal limits|clear)\b(?!ly)", re.I)
_ABNORMAL = re.compile(r"\babnormal\w{0,7}|\bpatholog\w{0,6}", re.I)
_NEGATES = re.compile(
    r"\b(?:no|not|without|absence|absent|none|neither|nor|negative for|free of|lacks?|lacking|rules? out|ruled out|excludes?|never|fails? to)\b|n't\b",
    re.I,
)
_UNSURE = re.compile(
    r"\b(?:but|however|although|though|except|possible|possibly|likely|probable|suspicious|cannot|can't|unable|recommend\w{0,5}|should|consider|necessary|depends|difficult|not (?:mentioned|provided|specified|clear|possible|certain|necessarily))\b",
    re.I,
)
_SENTENCE = re.compile(r"[^.!?\n]{3,400}")


def stated(text: str, question: str) -> Said | None:
    """Return what the sentences of `text` answer to a question that asks whether something is so."""
    asked = _ASKS.search(question)
    if asked is None or _ALTERNATIVES.search(asked.group(0)) or REFUSES.search(text):
        return None
    said = {one for sentence in _SENTENCE.findall(text) if (one := _of_sentence(sentence, asked.group(0)))}
    return said.pop() if len(said) == 1 else None


def _of_sentence(sentence: str, asked: str) -> Said | None:
    if HEDGE.search(sentence) or CONDITION.search(sentence) or _UNSURE.search(sentence):
        return None
    wanted = {form for form in Words(asked).forms if form not in _COMMON and len(form) > 2}
    forms = set(Words(sentence).forms)
    negated = _NEGATES.search(sentence) is not None
    asks_normal, asks_abnormal = _NORMAL.search(asked) is not None, _ABNORMAL.search(asked) is not None
    if asks_normal or asks_abnormal:
        normal = _says_normal(sentence)
        about = not wanted or bool(wanted & forms) or not (forms - _COMMON)
        if normal is None or not about or _NEGATES.search(asked):
            return None
        return "yes" if normal == asks_normal else "no"
    if not wanted or _NEGATES.search(asked):
        return None
    if (wanted & _WHICH) - forms:
        return None  # The other side, plane or degree: another question.
    if len(wanted & forms) * 2 > len(wanted) or (len(wanted) == 2 and _last_word(asked) in forms):
        return "no" if negated else "yes"
    return "no" if _says_normal(sentence) and _WHOLE.search(sentence) else None


# "The chest X-ray appears to be normal": of the whole picture, so no finding is there.
_WHOLE = re.compile(
    r"\b(?:image|scan|x-?ray|radiograph|mri|ct|study|ultrasound|picture|examination)\b.{0,40}\b(?:normal|unremarkable)\b"
    r"|\bno (?:\w{1,16} ){0,2}abnormalit",
    re.I,
)


def _says_normal(sentence: str) -> bool | None:
    """Return whether a sentence calls what it is about normal; None if it does not say."""
    if abnormal := _ABNORMAL.search(sentence):
        return _NEGATES.search(sentence[: abnormal.start()]) is not None
    if normal := _NORMAL.search(sentence):
        return _NEGATES.search(sentence[: normal.start()]) is None
    return None


def _last_word(asked: str) -> str:
    forms = [form for form in Words(asked).forms if form not in _COMMON]
    return forms[-1] if forms else ""
