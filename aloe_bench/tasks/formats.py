"""How a question is asked: the one place that builds a prompt, the same for every model."""

from __future__ import annotations

from aloe_bench.core import LETTERS, Message, Request, Sample

CHOICE_REQUEST = "Answer with the letter of the correct option only."
YES_NO_REQUEST = "Answer with yes or no only."
OPEN_REQUEST = "Answer briefly."


def prompt(sample: Sample) -> str:
    """Return the text of the user turn for `sample`."""
    if sample.kind == "choice":
        options = "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, sample.choices, strict=False))
        return f"{sample.question}\n{options}\n{CHOICE_REQUEST}"
    return f"{sample.question}\n{YES_NO_REQUEST if sample.kind == 'yes_no' else OPEN_REQUEST}"


def request(sample: Sample, text: str) -> Request:
    """Return what a model sees of `sample` when asked `text`."""
    options = ("yes", "no") if sample.kind == "yes_no" else tuple(LETTERS[: len(sample.choices)])
    return Request(id=sample.id, messages=(Message("user", text),), images=sample.images, options=options)
