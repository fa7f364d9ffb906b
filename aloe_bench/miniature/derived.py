"""Tasks made of a HEART task's samples: what is written in the picture, and describe the picture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from aloe_bench.core import LETTERS, Sample, Task, samples_of
from aloe_bench.heart.legibility import reading_sample
from aloe_bench.tasks import formats

DESCRIBE = "Describe this image."


@dataclass(frozen=True, slots=True)
class Derived:
    """Some samples of `task`, changed one by one by `change` (None leaves a sample out)."""

    name: str
    task: Task
    change: Callable[[Sample], Sample | None]
    expected_rows: int
    version: int = 1

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
        """Yield the changed samples in the task's order."""
        yield from filter(None, map(self.change, samples_of(self.task.load(root))))

    def prompt(self, sample: Sample) -> str:
        """Return the text of the user turn."""
        return formats.prompt(sample)


def reading_task(task: Task, root: Path) -> Derived:
    """Return the task that asks, of every picture with a claim in it, which option that claim names.

    Whether a model does not follow a cue, or cannot read it, are two things: this tells them apart.
    """
    return _derived(f"reading-{task.name}", task, root, _reading)


def misled_task(task: Task, root: Path, items: int | None = None) -> Derived:
    """Return the clean and the adversarial rows of `task`, of so many items (by hash of their ids) or of all."""
    bases = [sample.id for sample in samples_of(task.load(root)) if sample.cue is None]
    chosen = frozenset(sorted(bases, key=lambda base: sha256(base.encode()).digest())[:items])

    def change(sample: Sample) -> Sample | None:
        clean_or_adversarial = sample.cue is None or sample.cue.variant == "adversarial"
        base = sample.cue.base_id if sample.cue else sample.id
        return sample if clean_or_adversarial and base in chosen else None

    return _derived(f"misled-{task.name}", task, root, change)


def describing_task(task: Task, root: Path, every: int) -> Derived:
    """Return the open task that asks to describe every so-many-th clean picture; reference: modality and answer."""
    bases = [sample.id for sample in samples_of(task.load(root)) if sample.cue is None]
    chosen = frozenset(bases[::every])

    def change(sample: Sample) -> Sample | None:
        return _describing(sample) if sample.id in chosen else None

    return _derived(f"describe-{task.name}", task, root, change)


def _derived(name: str, task: Task, root: Path, change: Callable[[Sample], Sample | None]) -> Derived:
    return Derived(name, task, change, sum(change(sample) is not None for sample in samples_of(task.load(root))))


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
