"""What became of a reply: failed, filtered, cut, answered, refused or unread.

A reply that answered first and was cut then is answered. A refusal says that it will not
answer (policy) or that it cannot tell, as is right where the picture was taken away.
"""

from __future__ import annotations

import re

from aloe_bench.answers.strict.cleaning import WRAPPED, contained, without_reasoning
from aloe_bench.core import FILTERS, Finish, Outcome, Prediction, Record, Refusal

# ruff: noqa: E501  (a word list broken over more lines is harder to check)

# How the rule of a score begins in which nothing was read.
UNREAD = "unread: "

# English, Spanish, Portuguese, French, German, Chinese; and the two languages more of WorldMedQA-V.
_POLICY = re.compile(
    r"\bi(?:'m| am) (?:sorry|afraid|not (?:able|qualified|allowed|permitted)|unable|an ai)\b"
    r"|\bi (?:cannot|can't|can not|won't|will not) (?:provide|give|offer|assist|help|answer|make|diagnose|interpret)\b"
    r"|\b(?:no puedo|no me es posible) (?:proporcionar|dar|ofrecer|ayudar|responder|diagnosticar)\b|\blo siento\b"
    r"|\bnão posso (?:fornecer|dar|oferecer|ajudar|responder)\b|\bdesculpe\b|\bje ne (?:peux|suis) pas\b|\bdésolée?\b"
    r"|\bich kann (?:keine|ihnen nicht|nicht)\b|\bes tut mir leid\b|抱歉|对不起|无法提供|申し訳|お答えできません|לא יכול",
    re.I,
)
_CANNOT_TELL = re.compile(
    r"\b(?:i|we) (?:cannot|can't|can not|am unable to|am not able to|do not|don't) (?:see|view|access|have access|determine|tell|identify|have enough)"
    r"|\bi(?:'m| am) (?:unable|not able) to (?:see|view|access|determine|tell|identify|answer)\b|\b(?:cannot|can't) be (?:determined|answered|identified)\b"
    r"|\bi (?:would )?need (?:to see|more|the (?:image|picture|table|graph|figure|chart))|\bplease (?:provide|share|upload|attach)\b|\bno image\b"
    r"|\bimpossible to (?:determine|tell|say)\b|\bunable to (?:determine|answer)\b|\bwithout (?:seeing|the (?:image|picture)|access)\b"
    r"|\bno (?:puedo|es posible) (?:ver|determinar)|\bnão (?:posso|é possível) (?:ver|determinar)|\bimpossible de déterminer\b"
    r"|\bich kann .{0,30}(?:bild|nicht sehen)|\bnicht (?:möglich|bestimmbar)\b|无法(?:确定|判断|看到)|没有(?:图|提供)|画像が|確認できません|לא ניתן לקבוע|יש צורך ב",
    re.I,
)  # fmt: skip


def refusal(text: str) -> Refusal | None:
    """Return why a reply that names no option refuses; None if it does not."""
    if _CANNOT_TELL.search(text):
        return "cannot-tell"
    return "policy" if _POLICY.search(text) else None


def is_filtered(prediction: Prediction) -> bool:
    """Return whether the provider's own filter stopped the prompt or the reply, with or without text."""
    return (prediction.finish_reason or "").lower() in FILTERS


def outcome_of_unread(prediction: Prediction, rule: str) -> Outcome:
    """Return what became of a reply in which nothing was read, `rule` saying why: cut, refused or unread."""
    if prediction.finish == "length" or rule == "open-reasoning":
        return "cut"
    return "refused" if refusal(prediction.text or "") else "unread"


def outcome_of_open(reply: str, finish: Finish) -> Outcome:
    """Return what became of an open reply before a jury has seen it: answered, cut or unread.

    Its answer is all of it, so that one which ended at the token limit was cut, however much of it there is; but for
    one that had closed a container around its answer, or that never left its reasoning.
    """
    text = without_reasoning(reply)
    if text is None:
        return "cut"
    whole = any(kind in WRAPPED and end < len(text.rstrip()) for kind, end, _ in contained(text))
    if finish == "length" and not whole:
        return "cut"
    return "answered" if text.strip() else "unread"


def outcome_of(record: Record) -> Outcome:
    """Return what became of a record's reply, worked out from the reply in logs of before it was kept.

    Failed are the model's call, and an answer that a judge was asked about and left without a grade.
    """
    score, prediction = record.score, record.prediction
    if prediction.finish == "error" or (score.value is None and score.verdicts):
        return "failed"
    if score.outcome is not None:
        return score.outcome
    if is_filtered(prediction):
        return "filtered"
    if score.parsed is None and score.rule.startswith(UNREAD):
        return outcome_of_unread(prediction, score.rule.removeprefix(UNREAD))
    return "answered"
