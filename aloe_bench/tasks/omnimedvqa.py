"""OmniMedVQA, the open-access part: 88,996 multiple-choice questions from 42 data sets.

Source: Hu et al. 2024, hub foreverbeliever/OmniMedVQA. RadImageNet alone is about 55,000 of them, so the average
over sources stands beside the one over questions. Three layouts: the published folder (or its zip), the one-table
copy OpenMM_Medical, and VLMEvalKit's 30 part tables, of which all 30 are read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from aloe_bench.core import LETTERS, Absent, ImageRef, Sample
from aloe_bench.errors import DataError
from aloe_bench.facts import CellSpec, Facts, Paper
from aloe_bench.tasks.benchmark import Benchmark, Layout, Rows, table_3
from aloe_bench.tasks.data.pictures import Member, Pictures, members
from aloe_bench.tasks.data.rows import read_json, text_of
from aloe_bench.tasks.data.tsv import options_of, read_table

OPEN_FILES = 42
PARTS = 30
ZIP = "OmniMedVQA.zip"
_QA = "QA_information/Open-access/"


def _read_published(folder: Path) -> Rows:
    """Yield the rows of QA_information/Open-access/*.json, in the folder, one below it, or inside the zip."""
    files = dict(_qa_files(folder))
    pictures = Pictures(folder, (ZIP,))
    for name, rows in files.items():
        if not isinstance(rows, list):
            raise DataError(f"{name}: expected a list of questions, found {type(rows).__name__}.")
        inside = name.partition(_QA)[0]
        for number, row in enumerate(rows, 1):
            yield _published(row, f"{folder / name}: row {number}", inside, pictures)
    if len(files) < OPEN_FILES:
        yield Absent("omnimedvqa/files", "files", f"{len(files)} of {OPEN_FILES} source files are there")


def _qa_files(folder: Path) -> Iterator[tuple[str, Any]]:
    """Yield the path below `folder` (or in its zip) and the content of each question file."""
    found = sorted(folder.glob(f"{_QA}*.json")) or sorted(folder.glob(f"*/{_QA}*.json"))
    for path in found:
        yield path.relative_to(folder).as_posix(), read_json(path)
    archive = folder / ZIP
    if found or not archive.is_file():
        return
    for name in sorted(members(archive)):
        if f"/{_QA}" in f"/{name}" and name.endswith(".json"):
            try:
                yield name, json.loads(Member(archive, name).read())
            except ValueError as error:
                raise DataError(f"{archive}: {name}: not readable as JSON ({error}). Fetch it again.") from error


def _published(row: Any, where: str, inside: str, pictures: Pictures) -> Sample | Absent:
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected an object, found {type(row).__name__}.")
    keys = sorted(key for key in row if re.fullmatch(r"option_[A-J]", str(key)))
    options = [text_of(row, key, where) for key in keys]
    if [key[-1] for key in keys] != list(LETTERS[: len(keys)]) or len(keys) < 2:
        raise DataError(f"{where}: options {', '.join(keys) or 'none'}; expected option_A, option_B and on.")
    source, file = text_of(row, "dataset", where), text_of(row, "image_path", where)
    # One entry of "Chest CT Scan.json" says "modality".
    modality = row.get("modality_type") or row.get("modality")
    tags = {"source": source, "question_type": text_of(row, "question_type", where), "modality": str(modality or "")}
    image = pictures.find(inside + file, file, f"OmniMedVQA/{file}")
    name = f"omnimedvqa/{source}/{text_of(row, 'question_id', where)}"
    answer = _letter(text_of(row, "gt_answer", where), options, where)
    return _sample(name, text_of(row, "question", where), answer, options, image, file, tags)


def _letter(answer: str, options: list[str], where: str) -> str:
    """Return the letter of the option that equals `answer`, exactly or else but for case and punctuation."""
    for same in (str, _bare):
        fits = [letter for letter, option in zip(LETTERS, options, strict=False) if same(option) == same(answer)]
        if len(fits) == 1:
            return fits[0]
        if fits:
            break
    found = f"options {', '.join(fits)}" if fits else "no option"
    raise DataError(f"{where}: answer {answer!r} equals {found} of {options}; expected exactly one. Correct the row.")


def _bare(text: str) -> str:
    return " ".join(re.sub(r"[\W_]+", " ", text.casefold()).split())


def _sample(
    name: str,
    question: str,
    answer: str,
    options: list[str],
    image: ImageRef | None,
    file: str,
    tags: Mapping[str, str],
) -> Sample | Absent:
    if image is None:
        return Absent(name, tags["source"] or "unknown source", file or "picture")
    return Sample(
        id=name,
        kind="choice",
        question=question,
        target=answer,
        cluster=file,
        images=(image,),
        choices=tuple(options),
        tags={"dataset": "omnimedvqa", **tags},
    )


def _read_table(file: str, folder: Path) -> Rows:
    """Yield the rows of one VLMEvalKit table, whose pictures are cells or files beside it."""
    pictures = Pictures(folder, ("Images.zip", ZIP))
    for row in read_table(folder / file, ("index", "question", "a", "b", "answer")):
        options = list(options_of(row, "abcdefgh").values())
        answer = row.text("answer").strip()
        letter = answer if answer in tuple(LETTERS[: len(options)]) else _letter(answer, options, row.where)
        path = row.cells.get("image_path", "")
        image = row.image or (pictures.find(path, f"Images/{path}") if path else None)
        source = row.cells.get("dataset") or next(iter(PurePosixPath(path.removeprefix("Images/")).parts[:-1]), "")
        tags = {
            "source": source,
            "question_type": row.cells.get("question_type") or row.cells.get("category", ""),
            "modality": row.cells.get("modality_type") or row.cells.get("modality", ""),
        }
        cluster = path or (image.sha256 if image else "")
        name = f"omnimedvqa/{row.text('index')}"
        yield _sample(name, row.text("question"), letter, options, image, cluster, tags)


def _read_parts(folder: Path) -> Rows:
    for number in range(1, PARTS + 1):
        file = f"part_{number}.tsv"
        if (folder / file).is_file():
            yield from _read_table(file, folder)
        else:
            yield Absent(f"omnimedvqa/{file}", "files", file)


OMNIMEDVQA = Benchmark(
    name="omnimedvqa",
    about="pictures of 42 public data sets: what is shown, and how it was made, multiple choice",
    source="foreverbeliever/OmniMedVQA",
    revision="1ba51c28",
    licence="by source; none on its card",
    expected_rows=88_996,
    folder="omnimedvqa",
    layouts=(
        Layout(f"{_QA}*.json", _read_published),
        Layout(f"*/{_QA}*.json", _read_published),
        Layout(ZIP, _read_published),
        Layout("OpenMMMedical.tsv", partial(_read_table, "OpenMMMedical.tsv")),
        Layout("part_*.tsv", _read_parts),
    ),
    files=(ZIP,),
    facts=Facts(
        (
            CellSpec("overall"),
            CellSpec("macro over sources", "macro", "source"),
            CellSpec("question_type: {}", "each", "question_type"),
            CellSpec("modality: {}", "each", "modality"),
        ),
        places=(
            table_3(
                "OmniMedVQA",
                "exact match, micro-average; the macro-average over sources is in the notes",
                "88,996",
                ("macro over sources",),
            ),
        ),
        paper=Paper(told="not told by its digits; VLMEvalKit loads 14 of the set's 30 files"),
    ),
)
