"""SLAKE, English test: 645 open and 416 closed questions about 180 radiology images.

Source: Liu et al. 2021, hub BoKelvin/SLAKE, CC BY 4.0. The paper has a jury grade open and closed alike; closed
ones also have an exact match. The files are bilingual: of 2,094 test rows, 1,061 are English.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from aloe_bench.core import Absent, Sample
from aloe_bench.errors import DataError
from aloe_bench.facts import CellSpec, Facts, Paper
from aloe_bench.tasks.benchmark import Benchmark, Layout, Rows, table_3
from aloe_bench.tasks.data.pictures import Pictures
from aloe_bench.tasks.data.rows import read_rows, text_of

LANGUAGE = "en"
LANGUAGES = ("en", "zh")


def _read(folder: Path) -> Rows:
    pictures = Pictures(folder, ("imgs.zip",))
    for where, row in read_rows(folder / "test.json"):
        language = text_of(row, "q_lang", where)
        if language not in LANGUAGES:
            raise DataError(f"{where}: q_lang {language!r} is not one of {', '.join(LANGUAGES)}.")
        if language == LANGUAGE:
            yield _sample(row, where, pictures)


def _sample(row: dict[str, Any], where: str, pictures: Pictures) -> Sample | Absent:
    name, file = f"slake/{text_of(row, 'qid', where)}", text_of(row, "img_name", where)
    answer_type = text_of(row, "answer_type", where).strip().upper()
    if answer_type not in ("OPEN", "CLOSED"):
        raise DataError(f"{where}: answer_type {row['answer_type']!r} is neither OPEN nor CLOSED.")
    answer, question = text_of(row, "answer", where), text_of(row, "question", where)
    image = pictures.find(f"imgs/{file}", file)
    if image is None:
        return Absent(name, answer_type.lower(), f"imgs/{file}")
    tags = {key: str(row.get(key, "")) for key in ("content_type", "modality", "location", "base_type")}
    return Sample(
        id=name,
        kind="open",
        question=question,
        target=answer,
        cluster=file,
        images=(image,),
        tags={"dataset": "slake", "answer_type": answer_type.lower(), **tags},
    )


SLAKE = Benchmark(
    name="slake",
    about="radiology pictures, open and closed questions in English",
    source="BoKelvin/SLAKE",
    revision="a9083ce6",
    licence="CC BY 4.0",
    expected_rows=1061,
    folder="slake",
    layouts=(Layout("test.json", _read),),
    files=("test.json", "imgs.zip"),
    facts=Facts(
        (
            CellSpec("overall"),
            CellSpec("{}", "each", "answer_type", ("open", "closed")),
            CellSpec("closed, exact match", only={"answer_type": "closed"}, rule="slake exact match"),
        ),
        places=(
            table_3(
                "SLAKE",
                "jury, open and closed alike; the exact match of closed ones is in the notes",
                "1,061 (English test)",
                ("open", "closed", "closed, exact match"),
            ),
        ),
        paper=Paper(1061, told="1,061"),
    ),
)
