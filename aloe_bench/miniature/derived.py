"""Tasks made of a HEART task's samples: what is written in the picture, and describe the picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from aloe_bench.core import LETTERS, Sample, Task, samples_of
from aloe_bench.heart.legibility import reading_sample
from aloe_bench.tasks import formats

DESCRIBE = "Describe this image."


@dataclass(frozen=True, slots=True)
class Derived:
    """Some samples of `task`, or made of them."""

    name: str
    task: Task
    samples: tuple[Sample, ...]
    version: int = 1

    @property
    def expected_rows(self) -> int:
        """How many samples there are."""
        return len(self.samples)

    @property
    def source(self) -> str:
        """The source of the task it is made of."""
        return self.task.source

    @property
    def revision(self) -> str:
        """The revision of the task it is made of."""
        return self.task.revision

    @property
    def licence(self) -> str:
        """The licence of the task it is made of."""
        return self.task.licence

    def load(self, root: Path) -> Iterator[Sample]:
        """Yield the samples in the task's order; they were read when this was made."""
        yield from self.samples

    def prompt(self, sample: Sample) -> str:
        """Return the text of the user turn."""
        return formats.prompt(sample)


def read_once(task: Task, root: Path) -> Derived:
    """Return `task` with its samples in memory, for tasks to be made of it."""
    return Derived(task.name, task, tuple(samples_of(task.load(root))), task.version)


def reading_task(task: Task, root: Path) -> Derived:
    """Return the task that asks, of every picture with a claim in it, which option that claim names.

    Whether a model does not follow a cue, or cannot read it, are two things: this tells them apart.
    """
    return _derived("reading", task, filter(None, map(_reading, samples_of(task.load(root)))))


def misled_task(task: Task, root: Path, items: int | None = None) -> Derived:
    """Return the clean and the adversarial rows of `task`, of so many items (by hash of their ids) or of all."""
    samples = list(samples_of(task.load(root)))
    bases = [sample.id for sample in samples if sample.cue is None]
    chosen = frozenset(sorted(bases, key=lambda base: sha256(base.encode()).digest())[:items])

    def is_wanted(sample: Sample) -> bool:
        clean_or_adversarial = sample.cue is None or sample.cue.variant == "adversarial"
        return clean_or_adversarial and (sample.cue.base_id if sample.cue else sample.id) in chosen

    return _derived("misled", task, filter(is_wanted, samples))


def describing_task(task: Task, root: Path, every: int) -> Derived:
    """Return the open task that asks to describe every so-many-th clean picture; reference: modality and answer."""
    clean = [sample for sample in samples_of(task.load(root)) if sample.cue is None]
    return _derived("describe", task, map(_describing, clean[::every]))


def _derived(what: str, task: Task, samples: Iterable[Sample]) -> Derived:
    return Derived(f"{what}-{task.name}", task, tuple(samples))


def _reading(sample: Sample) -> Sample | None:
    asked = reading_sample(sample)
    # A reading question misleads nobody.
    return asked and replace(asked, cue=None)


def _describing(sample: Sample) -> Sample:
    # The dataset is "miniature-mri"; the tag "modality" names all that the table holds.
    modality = sample.tags["dataset"].removeprefix("miniature-").removesuffix("-own")
    answer = f"{modality}, {sample.choices[LETTERS.index(sample.target)]}"
    return replace(
        sample, id=f"{sample.id}/describe", kind="open", question=DESCRIBE, target=answer, choices=(), cue=None
    )
