"""PathMMU, split test_tiny: multiple choice about pathology images from five sources.

Source: Sun et al. 2024, hub jamessyx/PathMMU (gated). 1,156 questions; the images of SocialPath, Atlas and most of
PathCLS are not in it and have to be gathered, so absent images are normal and counted. The paper scored 1,142:
all but 14 SocialPath questions, whose posts are gone.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from aloe_bench.core import LETTERS, Absent, Sample
from aloe_bench.errors import DataError
from aloe_bench.facts import Facts, Paper, by_tag
from aloe_bench.tasks.benchmark import Benchmark, Layout, Rows, table_3
from aloe_bench.tasks.data.pictures import Pictures
from aloe_bench.tasks.data.rows import field_of, read_json, text_of

CATEGORIES = ("PubMed", "SocialPath", "EduContent", "Atlas", "PathCLS")
SPLIT = "test_tiny"
# "A) text": only the leading mark is cut, since a text may hold a bracket of its own, "SMA (Smooth Muscle Actin)".
_MARK = re.compile(r"\s*([A-Z])\)\s*")


def _read(folder: Path) -> Rows:
    path = folder / "data.json"
    data, pictures = read_json(path), Pictures(folder, ("images.zip",))
    for category in CATEGORIES:
        rows = field_of(field_of(data, category, str(path), dict), SPLIT, f"{path}: {category}", list)
        for number, row in enumerate(rows, 1):
            yield _row(row, category, f"{path}: {category} {SPLIT} row {number}", pictures)


def _row(row: Any, category: str, where: str, pictures: Pictures) -> Sample | Absent:
    options = [str(option) for option in field_of(row, "options", where, list)]
    if len(options) < 2:
        raise DataError(f"{where}: options {options}; expected at least two. Correct the row.")
    name = f"pathmmu/{category}/{SPLIT}/{text_of(row, 'No', where)}"
    answer, file = text_of(row, "answer", where), text_of(row, "img", where)
    target = _target(answer, options, where)
    image = pictures.find(f"images/{file}", file)
    if image is None:
        return Absent(name, category, f"images/{file}")
    return Sample(
        id=name,
        kind="choice",
        question=text_of(row, "question", where),
        target=target,
        cluster=file,
        images=(image,),
        choices=tuple(_MARK.sub("", option, count=1) if _MARK.match(option) else option for option in options),
        tags={"dataset": "pathmmu", "category": category},
    )


def _target(answer: str, options: list[str], where: str) -> str:
    """Return the letter of the answer, which is a whole option or, in a few rows, the bare letter of its mark."""
    if answer in options:
        return LETTERS[options.index(answer)]
    bare = re.fullmatch(r"\s*([A-Z])\s*[).]?\s*", answer)
    marks = [mark.group(1) if (mark := _MARK.match(option)) else LETTERS[i] for i, option in enumerate(options)]
    if bare and marks.count(bare.group(1)) == 1:
        return LETTERS[marks.index(bare.group(1))]
    raise DataError(f"{where}: answer {answer!r} is not one of the options {options}. Correct the row.")


def _refuse(folder: Path) -> Rows:
    raise DataError(
        f"{folder}: VLMEvalKit's PathMMU tables hold PubMed and EduContent of other splits, not {SPLIT}; expected "
        "data.json and images of jamessyx/PathMMU."
    )
    yield


PATHMMU = Benchmark(
    name="pathmmu",
    about="pathology pictures from five sources, multiple choice",
    source="jamessyx/PathMMU",
    revision="054e64e56e599e9636024f1471d49ecae4a2784f",
    licence="gated, by source; no redistribution",
    expected_rows=1156,
    folder="pathmmu",
    layouts=(Layout("data.json", _read), Layout("PathMMU_*.tsv", _refuse)),
    files=("data.json", "images.zip"),
    facts=Facts(
        by_tag("category"),
        places=(table_3("PathMMU", "exact match", "1,156 (test_tiny)"),),
        paper=Paper(1142, lacks="SocialPath", told="1,142: without 14 of SocialPath"),
    ),
)
