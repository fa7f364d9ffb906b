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
from aloe_bench.heart.problems import LeftOver
from aloe_bench.heart.sources.source import Classes, OwnQuestion, Source, SourceImage, load_source
from aloe_bench.images import FileImage
from aloe_bench.tasks.own import OwnTask, open_questions

KIND = "mcq"
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
    whys = {row.id: _why_not(row) for row in task.rows}
    images = [_image(row, task, folder) for row in task.rows if isinstance(row, Sample) and not whys[row.id]]
    left_over = [LeftOver("question", _name(row.id, task), why) for row in task.rows if (why := whys[row.id])]
    left_over += [LeftOver(what, name, reason) for what, name, reason in task.left_over]
    if not images:
        raise UsageError(f"{place}: no question to attack; {left_over[0].name}: {left_over[0].reason}.")
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
        left_over=tuple(sorted(left_over)),
    )


def _why_not(row: Sample | Absent) -> str:
    """Return why no cue can be put to a question, "" if one can."""
    if isinstance(row, Absent):
        return "its picture is not there"
    if len(row.images) == 1:
        return ""
    return f"it has {len(row.images)} pictures, and a cue is drawn into one" if row.images else "it has no picture"


def _name(sample_id: str, task: OwnTask) -> str:
    return sample_id.removeprefix(f"{task.name}/")


def _image(row: Sample, task: OwnTask, folder: Path) -> SourceImage:
    name = _name(row.id, task)
    return SourceImage(
        image_id=name,
        path=_on_disk(row.images[0], folder),
        class_index=LETTERS.index(row.target),
        patient_id=row.cluster,
        where=f"{task.source}, question {name}",
        asked=OwnQuestion(row.question, row.choices),
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
