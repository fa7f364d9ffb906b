"""What an expert is shown, and the labels an expert can give."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from aloe_bench.core import ImageRef

# Source: Aloe-Vision, appendix E.2. `ambiguous` is about the question, and only cleans the data.
LABELS = ("correct", "partially correct", "incorrect", "ambiguous")


@dataclass(frozen=True, slots=True)
class RatedItem:
    """One answer to be rated. It holds neither the model's name nor what the judges said."""

    id: str
    question: str
    images: tuple[ImageRef, ...]
    reference: str
    answer: str

    def digest(self) -> str:
        """Return the SHA-256 of all that is shown, so that a label never moves to another answer."""
        shown = [self.question, [image.sha256 for image in self.images], self.reference, self.answer]
        return hashlib.sha256(json.dumps(shown).encode()).hexdigest()
