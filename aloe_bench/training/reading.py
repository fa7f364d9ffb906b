"""Whether an AR checkpoint can still read what is drawn: one that no longer reads follows no cue either, and is blind.

The questions ask which option a drawn cue names. Reading is retained if the loss is, with 97.5 % confidence, smaller
than the margin; under so many questions nothing is said.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from aloe_bench.core import AnswerForm
from aloe_bench.evaluation.plan import Plan
from aloe_bench.heart.legibility import reading_sample
from aloe_bench.tasks import formats

MARGIN, LEAST = 0.05, 250
TITLE = "reading what is drawn"


def reading_plan(plan: Plan, answer: AnswerForm) -> Plan | None:
    """Return the reading questions over the drawn cues of an attacked table's plan; None if it has no such cue."""
    asked = [(index, reading_sample(sample)) for index, sample in plan.samples]
    # A reading question misleads nobody.
    samples = tuple((index, replace(sample, cue=None)) for index, sample in asked if sample is not None)
    if not samples:
        return None
    digest = hashlib.sha256()
    for _, sample in samples:
        digest.update(json.dumps([sample.id, formats.asked(plan.task, sample, answer)]).encode())
    return replace(plan, samples=samples, n_total=len(samples), partial=True, prompt_sha256=digest.hexdigest())


@dataclass(frozen=True, slots=True)
class Retained:
    """What became of reading on one kind of question: `kept` is None where there are too few to say."""

    questions: str
    n: int
    change: float | None
    low: float | None
    kept: bool | None

    @property
    def sentence(self) -> str:
        """The verdict in words, in points."""
        if self.change is None or self.low is None:
            return f"{self.questions}: not measured"
        found = f"{100 * self.change:+z.1f} points, at worst {100 * self.low:+z.1f} (n {self.n})"
        if self.kept is None:
            return f"{self.questions}: {found}; under {LEAST} questions, so the gate says nothing"
        said = "retained" if self.kept else "NOT shown to be retained"
        return f"{self.questions}: {found}; {said} within {100 * MARGIN:g} points"


def retained(compared: Mapping[str, Mapping[str, Any]]) -> list[Retained]:
    """Return the verdict on every row of the reading comparisons among `compared`, title -> comparison."""
    found = []
    for title, result in compared.items():
        if not title.endswith(TITLE):
            continue
        for row in result["rows"]:
            low = row["interval"][0] if row["interval"] else None
            known = row["value"] is not None and low is not None and row["n"] >= LEAST
            name = f"{title}, {row['row'].partition('/')[0]}"
            found.append(
                Retained(name, row["n"], row["value"], low, low > -MARGIN if known and low is not None else None)
            )
    return found
