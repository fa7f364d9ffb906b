"""What an expert is shown, the words of the page, and the labels an expert can give."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from aloe_bench.core import ImageRef


@dataclass(frozen=True, slots=True)
class RatingSheet:
    """The words of a page: `title`, what one item is (`noun`), headings of both texts beside the question, and labels.

    `labels` has what each one means, the four keys 1, 2, 3 and 0 in their order; `rule` is what follows from them.
    """

    title: str
    noun: str
    reference: str
    answer: str
    asked: str
    labels: Mapping[str, str]
    rule: str


# Source: Aloe-Vision, appendix E.2. `ambiguous` is about the question, and only cleans the data.
ANSWERS = RatingSheet(
    title="Rate answers",
    noun="answer",
    reference="The exam’s answer",
    answer="The answer to rate",
    asked="Compared with the exam’s answer, this answer is",
    labels={
        "correct": "It says what the exam’s answer says; it may be more or less detailed.",
        "partially correct": "It gives only a part of what was asked for.",
        "incorrect": "It does not agree with the exam’s answer.",
        "ambiguous": "The question itself is unclear: several answers could be held right.",
    },
    rule="A question that two raters call ambiguous is taken out of the data.",
)
LABELS = tuple(ANSWERS.labels)


@dataclass(frozen=True, slots=True)
class RatedItem:
    """One answer to be rated, or draft to be reviewed. It holds neither the model's name nor what the judges said."""

    id: str
    question: str
    images: tuple[ImageRef, ...]
    reference: str
    answer: str

    def digest(self) -> str:
        """Return the SHA-256 of all that is shown, so that a label never moves to another answer."""
        shown = [self.question, [image.sha256 for image in self.images], self.reference, self.answer]
        return hashlib.sha256(json.dumps(shown).encode()).hexdigest()
