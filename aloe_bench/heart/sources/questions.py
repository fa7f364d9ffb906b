"""Multiple-choice questions of one's own as a source: each keeps its wording and the order of its options."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from aloe_bench.core import LETTERS, Absent, ImageRef, Sample
from aloe_bench.errors import UsageError
from aloe_bench.heart.draw.overlays import Rendering
from aloe_bench.heart.sources.source import Asked, Classes, Source, SourceImage, load_source
from aloe_bench.images import FileImage
from aloe_bench.tasks.own import OwnTask, open_questions

KIND = "mcq"
# Cues that any question can have; a legend explains boxes.
ATTACKS = "caption,prompt,sycophancy"
TEMPLATES = "answers"


def is_questions(source: Path | str) -> bool:
    """Return whether a source is named as a file of questions, "mcq:FILE"."""
    return str(source).startswith(f"{KIND}:")


@contextmanager
def opened(sources: Sequence[Path | str]) -> Iterator[list[Source]]:
    """Give the sources that are named, folders or "mcq:FILE"; pictures inside a file lie on disk for as long."""
    with TemporaryDirectory(prefix="aloe-questions-") as folder:
        yield [_opened(source, Path(folder)) for source in sources]


def _opened(source: Path | str, folder: Path) -> Source:
    if is_questions(source):
        return question_source(str(source).partition(":")[2], folder)
    return load_source(Path(source))


def question_source(place: str, folder: Path) -> Source:
    """Return the multiple-choice questions of the file at `place` as a source; `folder` takes pictures that it holds.

    A question without a picture, with several, or whose picture is not there is listed with the reason why it is left
    out. Raises DataError with all faults of the file, UsageError if no question is left.
    """
    task = open_questions(KIND, place)
    images = [_image(row, task, folder) for row in task.rows]
    if all(image.left_out for image in images):
        raise UsageError(f"{place}: no question with one picture; the first: {images[0].left_out}.")
    letters = tuple(LETTERS)
    return Source(
        root=Path(place).parent,
        name=task.name,
        modality="",
        licence="",
        split="",
        images=tuple(images),
        classification=Classes(letters, letters, len(letters)),
        detection=None,
        window=None,
        rendering=Rendering(),
        sha256=_digest(task),
    )


def _image(row: Sample | Absent, task: OwnTask, folder: Path) -> SourceImage:
    name = row.id.removeprefix(f"{task.name}/")
    if isinstance(row, Absent):
        return SourceImage(name, Path(), None, "", task.source, left_out="its picture is not there")
    if len(row.images) != 1:
        why = (
            "it has no picture" if not row.images else f"it has {len(row.images)} pictures, and a cue is drawn into one"
        )
        return SourceImage(name, Path(), None, "", task.source, left_out=why)
    return SourceImage(
        image_id=name,
        path=_on_disk(row.images[0], folder),
        class_index=LETTERS.index(row.target),
        patient_id=row.cluster,
        where=f"{task.source}, question {name}",
        asked=Asked(row.question, row.choices),
    )


def _on_disk(image: ImageRef, folder: Path) -> Path:
    if isinstance(image, FileImage):
        return image.path
    path = folder / f"{image.sha256}.png"
    if not path.exists():
        image.open().save(path)
    return path


def _digest(task: OwnTask) -> str:
    """Return a hash of what is asked, whatever order the rows stand in."""
    rows = sorted(
        json.dumps([r.id, r.question, r.target, list(r.choices), [i.sha256 for i in r.images]])
        for r in task.rows
        if isinstance(r, Sample)
    )
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()
