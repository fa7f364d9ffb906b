"""What a model is asked of an exam question, and how strictly its replies are read: JSON in the asked form, or unread.

Source: Aloe-Vision, section 4: questions are translated to English and made open-ended by a language model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aloe_bench.core import LETTERS, Message, Request
from aloe_bench.tables import fold

REMINDER = "That was not in the format. Answer with the JSON object that was asked for and with nothing else."
_TEXT = {"type": "string"}
_FENCE = re.compile(r"^```(?:json)?\s*\n(.*)\n```$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ExamWording:
    """A multiple-choice question in one language."""

    question: str
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OpenWording:
    """A question that is answered in free words, and its answer; both empty where it needs its options."""

    question: str
    answer: str

    @property
    def needs_options(self) -> bool:
        """Whether the model said that it cannot be answered without them."""
        return not self.question


def translation_request(name: str, exam: ExamWording, language: str) -> Request:
    """Return the request for an English wording of a question; no picture is shown."""
    told = (
        f"You translate questions of a medical residency exam from {language} to English, as a physician would write "
        "them: every fact, number, unit and name of a drug stays, nothing is added, explained or answered. The picture "
        'that the question speaks of is not shown. Answer with a JSON object: {"question": "...", "options": ["...", '
        f"...]}}, with the {len(exam.choices)} options in their order, without their letters."
    )
    options = {"type": "array", "items": _TEXT, "minItems": len(exam.choices), "maxItems": len(exam.choices)}
    return _request(name, told, _listed(exam), {"question": _TEXT, "options": options})


def read_translation(reply: str, n: int) -> ExamWording | None:
    """Return the English wording in a reply; None unless it has a question and `n` different options."""
    found = _object(reply, ("question", "options"))
    if found is None or not isinstance(found["options"], list):
        return None
    question, options = _words(found["question"]), [_words(each) for each in found["options"]]
    whole = question and all(options) and len(options) == n and len({fold(each) for each in options}) == n
    return ExamWording(question, tuple(options)) if whole else None


def blind_request(name: str, exam: ExamWording) -> Request:
    """Return the request for an option without the picture."""
    told = (
        "Answer a multiple-choice question of a medical exam. Its picture is not shown: choose the option that you "
        'hold most likely. Answer with a JSON object: {"option": "A"}.'
    )
    letters = list(LETTERS[: len(exam.choices)])
    return _request(name, told, _listed(exam), {"option": {"type": "string", "enum": letters}})


def read_option(reply: str, n: int) -> str | None:
    """Return the letter in a reply; None if it is not one of the first `n`."""
    found = _object(reply, ("option",))
    letter = _words(found["option"]) if found else ""
    return letter if letter in list(LETTERS[:n]) else None


def open_request(name: str, exam: ExamWording, target: str) -> Request:
    """Return the request for a wording that needs no options, with the right one as what its answer has to say."""
    told = (
        "You rewrite multiple-choice questions of a medical exam so that they are answered in free words. First judge "
        "whether somebody who sees the question and its picture, but no options, could be expected to arrive at the "
        "right option and at nothing else that would be right as well. A question such as 'Which of these is false?' "
        'cannot be rewritten. If it can, answer with a JSON object: {"answerable": true, "question": "...", "answer": '
        '"..."}, the question without any word about options, the answer saying what the right option says. If not: '
        '{"answerable": false, "question": "", "answer": ""}.'
    )
    asked = f"{_listed(exam)}\n\nRight option: {target}. {exam.choices[LETTERS.index(target)]}"
    fields = {"answerable": {"type": "boolean"}, "question": _TEXT, "answer": _TEXT}
    return _request(name, told, asked, fields)


def read_open(reply: str) -> OpenWording | None:
    """Return the open wording in a reply, or that there is none; None if the reply says neither."""
    found = _object(reply, ("answerable", "question", "answer"))
    if found is None or not isinstance(found["answerable"], bool):
        return None
    made = OpenWording(_words(found["question"]), _words(found["answer"]))
    if not found["answerable"]:
        return OpenWording("", "")
    return made if made.question and made.answer else None


def reminded(request: Request, reply: str) -> Request:
    """Return the same question after a reply that could not be read."""
    more = (Message("assistant", reply), Message("user", REMINDER))
    return Request(request.id, (*request.messages, *more), json_schema=request.json_schema)


def _request(name: str, told: str, asked: str, fields: Mapping[str, Any]) -> Request:
    schema = {"type": "object", "properties": dict(fields), "required": list(fields), "additionalProperties": False}
    return Request(name, (Message("system", told), Message("user", asked)), json_schema=schema)


def _listed(exam: ExamWording) -> str:
    lines = [f"{letter}. {text}" for letter, text in zip(LETTERS, exam.choices, strict=False)]
    return "\n".join([exam.question, *lines])


def _object(reply: str, fields: Sequence[str]) -> dict[str, Any] | None:
    """Return the JSON object that a reply is, behind its reasoning and inside a code block; None for anything else."""
    text = (reply.rpartition("</think>")[2] if "</think>" in reply else reply).strip()
    if fenced := _FENCE.match(text):
        text = fenced[1]
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and set(found) == set(fields) else None


def _words(value: object) -> str:
    return " ".join(value.split()) if isinstance(value, str) else ""
