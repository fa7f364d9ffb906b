"""CareQA-Vision: questions with images from the Spanish residency exams of 2020-2024.

Source: Aloe-Vision, section 4 and appendix E. Hub dataset HPAI-BSC/CareQA-Vision, Apache-2.0.
Closed: 42 nursing + 123 medicine; open: 28 + 108.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from aloe_bench.core import LETTERS, Kind, Sample
from aloe_bench.errors import DataError
from aloe_bench.facts import CellSpec, Column, Facts, Paper, Place
from aloe_bench.tasks.benchmark import Benchmark, Layout, Rows, table_3
from aloe_bench.tasks.data.rows import images_of, read_rows, text_of


def _read(file: str, kind: Kind, folder: Path) -> Rows:
    for where, row in read_rows(folder / file):
        yield _sample(row, kind, where, folder)


def _sample(row: dict[str, Any], kind: Kind, where: str, folder: Path) -> Sample:
    images = images_of(row, where, folder)
    choices = tuple(text_of(row, f"op{i}", where) for i in range(1, 5)) if kind == "choice" else ()
    return Sample(
        id=f"careqa_vision/{text_of(row, 'unique_id', where)}",
        kind=kind,
        question=text_of(row, "question", where),
        target=_letter(row, where, len(choices)) if choices else text_of(row, "answer", where),
        cluster=images[0].sha256,
        images=images,
        choices=choices,
        tags={"dataset": "careqa_vision", "category": _category(row, where), "year": str(row.get("year", ""))},
    )


def _letter(row: dict[str, Any], where: str, n: int) -> str:
    cop = row.get("cop")
    number = int(cop) if isinstance(cop, str) and cop.strip().isdecimal() else cop
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= n:
        raise DataError(f"{where}: cop {cop!r} is not one of 1-{n}; it counts the options from 1.")
    return LETTERS[number - 1]


def _category(row: dict[str, Any], where: str) -> str:
    category = text_of(row, "category", where).strip().capitalize()
    if category not in ("Medicine", "Nursing"):
        raise DataError(f"{where}: category {row['category']!r} is neither Medicine nor Nursing.")
    return category


# Aloe-Vision, Table 10: Overall is the micro-average in all 18 rows.
CELLS = CellSpec("overall"), CellSpec("{}", "each", "category", ("nursing", "medicine"))
GROUPS = ("overall", "nursing", "medicine")
EXAMS = "Spanish residency exams with a picture"


def _task(name: str, kind: Kind, file: str, rows: int, part: str, scored: str, about: str) -> Benchmark:
    own = tuple(Column(f"{part} {group.capitalize()}", group, f"{part.lower()}/{group}") for group in GROUPS)
    return Benchmark(
        name=name,
        about=about,
        source="HPAI-BSC/CareQA-Vision",
        revision="main",
        licence="Apache-2.0",
        expected_rows=rows,
        folder="careqa_vision",
        layouts=(Layout(file, partial(_read, file, kind)),),
        files=("*",),
        facts=Facts(
            CELLS,
            places=(
                Place("careqa_vision", own, part),
                table_3(f"CareQA-V {part}", scored, str(rows)),
            ),
            paper=Paper(rows, told=str(rows)),
        ),
    )


MCQ = _task("careqa_vision_mcq", "choice", "CareQA-Vis_close.json", 165, "MCQ", "exact match", EXAMS + ", four options")
OPEN = _task("careqa_vision_open", "open", "CareQA-Vis_open.json", 136, "VQA", "jury", EXAMS + ", answered freely")
