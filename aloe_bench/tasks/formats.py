"""How a question is asked: the one place that builds a prompt, the same for every model."""

from __future__ import annotations

from aloe_bench.core import LETTERS, AnswerForm, Message, Request, Sample, Task
from aloe_bench.errors import UsageError

CHOICE_REQUEST = "Answer with the letter of the correct option only."
CHOICE_TEXT_REQUEST = "Answer with the text of the correct option only."
YES_NO_REQUEST = "Answer with yes or no only."
OPEN_REQUEST = "Answer briefly."


def prompt(sample: Sample) -> str:
    """Return the text of the user turn for `sample`."""
    if sample.kind == "choice":
        options = "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, sample.choices, strict=False))
        return f"{sample.question}\n{options}\n{CHOICE_REQUEST}"
    return f"{sample.question}\n{YES_NO_REQUEST if sample.kind == 'yes_no' else OPEN_REQUEST}"


def asked(task: Task, sample: Sample, answer: AnswerForm = "letter", before: str = "") -> str:
    """Return the task's prompt, which for `answer` "text" asks for the option's words in place of its letter.

    `before` are words that stand before it, a defence. Raises UsageError where the prompt does not end in the usual
    request for a letter.
    """
    own = task.prompt(sample)
    text = f"{before}\n\n{own}" if before else own
    if answer == "letter" or sample.kind != "choice":
        return text
    if not text.endswith(CHOICE_REQUEST):
        raise UsageError(f"{task.name}: its prompt has its own request for an answer; run it with --answer letter.")
    return text_form(text)


def text_form(text: str) -> str:
    """Return the choice prompt `text` with its request for a letter changed to one for the option's words."""
    return text.removesuffix(CHOICE_REQUEST) + CHOICE_TEXT_REQUEST


def request(sample: Sample, text: str, answer: AnswerForm = "letter") -> Request:
    """Return what a model sees of `sample` when asked `text`; its options are what may be scored as an answer."""
    options = ("yes", "no") if sample.kind == "yes_no" else tuple(LETTERS[: len(sample.choices)])
    if sample.kind == "choice" and answer == "text":
        options = sample.choices
    return Request(id=sample.id, messages=(Message("user", text),), images=sample.images, options=options)
