"""ProbMed: 57,132 yes/no questions about 6,303 images, most of them in pairs of a true and an adversarial one.

Source: Yan et al. 2025, hub rippleripple/ProbMed. The paper's figure is plain accuracy; the benchmark's own asks
that both questions of a pair be right. Pairs are told by image, question type and number, never by the order of
the rows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from aloe_bench.core import Absent, Record, Sample
from aloe_bench.errors import DataError
from aloe_bench.facts import CellSpec, Facts, Paper
from aloe_bench.tasks.benchmark import Benchmark, Layout, Rows, table_3
from aloe_bench.tasks.data.pictures import Pictures
from aloe_bench.tasks.data.rows import read_rows, text_of

# "entity_gt_1", "entity_hallu_1"; older files say "entity_1" for the adversarial one, and "modality" for both.
_QA_TYPE = re.compile(r"(modality|body_part|abnormality|entity|grounding)(?:_(gt|hallu))?(?:_(\d+))?")


def _read(file: str, folder: Path) -> Rows:
    pictures = Pictures(folder, ("*.zip",))
    for where, row in read_rows(folder / file):
        yield _sample(row, where, pictures)


def _sample(row: dict[str, Any], where: str, pictures: Pictures) -> Sample | Absent:
    image_id, file, answer = (text_of(row, key, where) for key in ("id", "image", "answer"))
    target = answer.strip().lower()
    if target not in ("yes", "no"):
        raise DataError(f"{where}: answer {answer!r} is neither yes nor no. Pin the earlier revision.")
    kind, half, pair = _place(text_of(row, "qa_type", where), target, where)
    organ = text_of(row, "image_type", where)
    name = f"probmed/{text_of(row, 'i' if 'i' in row else 'gpt_idx', where)}"
    image = pictures.find(file, file.removeprefix("probmed/"), f"probmed/{file}")
    if image is None:
        return Absent(name, organ, file)
    return Sample(
        id=name,
        kind="yes_no",
        question=text_of(row, "question", where),
        target=target,
        cluster=image_id,
        images=(image,),
        tags={"dataset": "probmed", "qa_type": kind, "half": half, "pair": f"{kind}/{pair}", "image_type": organ},
    )


def _place(qa_type: str, target: str, where: str) -> tuple[str, str, str]:
    """Return the kind of question, its half of the pair ("true", "adversarial", "" for none) and the pair's number."""
    match = _QA_TYPE.fullmatch(qa_type.strip())
    if match is None:
        raise DataError(f"{where}: qa_type {qa_type!r} is none that ProbMed has. Pin the earlier revision.")
    kind, half, number = match.group(1), match.group(2), match.group(3) or ""
    if kind == "abnormality":
        return kind, "", ""
    # True questions are answered yes and adversarial ones no throughout, which tells the halves that have no name.
    is_true = half == "gt" if half else target == "yes"
    return kind, "true" if is_true else "adversarial", number


def pairs(records: Sequence[Record]) -> list[tuple[list[Record], Fraction]]:
    """Return the pairs of a true and an adversarial question that are whole, each right only if both are."""
    found = _grouped([r for r in records if r.tags.get("half")], lambda r: f"{r.cluster}\0{r.tags['pair']}")
    return [(pair, Fraction(1)) for pair in found if {r.tags["half"] for r in pair} == {"true", "adversarial"}]


def official_units(records: Sequence[Record]) -> list[tuple[list[Record], Fraction]]:
    """Return what the benchmark's own figure counts, and by which weight.

    An image's modality, body part, entities and grounding are right each if all their questions are; every abnormality
    question stands by itself. Entities and grounding of an image type weigh as much as all images of that type, also
    those that have none. Source: ProbMed's eval/calculate_score.py.
    """
    units = _grouped(records, _unit)
    of_type = Counter(organ for organ, _ in {(r.tags.get("image_type", ""), r.cluster) for r in records})
    asked = Counter(_kind(unit[0]) for unit in units)

    def weight(unit: list[Record]) -> Fraction:
        organ, question = kind = _kind(unit[0])
        return Fraction(of_type[organ], asked[kind]) if question in ("entity", "grounding") else Fraction(1)

    return [(unit, weight(unit)) for unit in units]


def _unit(record: Record) -> str:
    kind = record.tags.get("qa_type", "")
    return f"{record.cluster}\0{kind}" + (f"\0{record.sample_id}" if kind == "abnormality" else "")


def _kind(record: Record) -> tuple[str, str]:
    return record.tags.get("image_type", ""), record.tags.get("qa_type", "")


def _grouped(records: Sequence[Record], key: Callable[[Record], str]) -> list[list[Record]]:
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return list(groups.values())


PROBMED = Benchmark(
    name="probmed",
    about="findings that are there and others that are not, yes or no",
    source="rippleripple/ProbMed",
    revision="main",
    licence="MIT on its card; images of MedICaT and ChestX-ray14",
    expected_rows=57_132,
    folder="probmed",
    layouts=(Layout("test.json", partial(_read, "test.json")), Layout("probmed.json", partial(_read, "probmed.json"))),
    files=("*.json", "*.zip", "probmed/*"),
    facts=Facts(
        (
            CellSpec("overall"),
            CellSpec("pairs", rule="probmed pairs"),
            CellSpec("official", rule="probmed official"),
            CellSpec("qa_type: {}", "each", "qa_type"),
        ),
        places=(
            table_3(
                "ProbMed",
                "exact match by question; by pair, and the benchmark's own figure, in the notes",
                "57,132",
                ("pairs", "official"),
            ),
        ),
        paper=Paper(told="not told by its digits"),
    ),
)
