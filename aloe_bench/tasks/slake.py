"""SLAKE, English test: 645 open and 416 closed questions about 180 radiology images.

Source: Liu et al. 2021, hub BoKelvin/SLAKE, CC BY 4.0. The paper has a jury grade open and closed alike; closed
ones also have an exact match. The files are bilingual: of 2,094 test rows, 1,061 are English.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from aloe_bench.core import Absent, Sample
from aloe_bench.errors import DataError
from aloe_bench.tasks.answers import Parsed, answer_text, parse_yes_no
from aloe_bench.tasks.benchmark import Benchmark, Layout, Rows
from aloe_bench.tasks.pictures import Pictures
from aloe_bench.tasks.rows import read_rows, text_of

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


def exact_match(reply: str, answer: str) -> Parsed:
    """Return what a reply to a closed question says, and by which rule: "yes" or "no", or the words of the answer.

    `letter` equals `answer` in lower case if it is right; it is None if the reply could not be read.
    """
    wanted = answer.strip().lower()
    if wanted in ("yes", "no"):
        return parse_yes_no(reply)
    said = answer_text(reply)
    if said is None:
        return Parsed(None, "empty")
    return Parsed(wanted if _words(said) == _words(answer) else said.lower(), "words")


def _words(text: str) -> list[str]:
    return [word for word in re.findall(r"[^\W_]+", text.casefold()) if word not in ("a", "an", "the")]


SLAKE = Benchmark(
    name="slake",
    source="BoKelvin/SLAKE",
    revision="a9083ce6",
    licence="CC BY 4.0",
    expected_rows=1061,
    paper_scored_rows=1061,
    folder="slake",
    layouts=(Layout("test.json", _read),),
    files=("test.json", "imgs.zip"),
)
