"""GMAI-MMBench, VAL: multiple choice over 38 modalities, 18 clinical tasks and 18 departments.

Source: Ye et al. 2024, hub OpenGVLab/GMAI-MMBench (click-through). One table with pictures in base64; 2 to 5
options. The test split has no public answers.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from aloe_bench.core import Absent, Sample
from aloe_bench.errors import DataError
from aloe_bench.facts import Facts, Paper, by_tag
from aloe_bench.tasks.benchmark import Benchmark, Layout, Rows, table_3
from aloe_bench.tasks.data.tsv import TableRow, options_of, read_table

GROUPS = {
    "task": "clinical vqa task",
    "department": "department",
    "granularity": "perceptual granularity",
    "modality": "modality",
}
NEEDED = ("index", "image", "question", "a", "b", "answer", *GROUPS.values())


def _read(file: str, folder: Path) -> Rows:
    for row in read_table(folder / file, NEEDED):
        yield _sample(row)


def _sample(row: TableRow) -> Sample | Absent:
    name = f"gmai_mmbench/{row.text('index')}"
    answer = row.text("answer").strip().upper()
    choices = options_of(row, "abcde", absent=("", "None"), answer=answer)
    if answer not in choices:
        raise DataError(f"{row.where}: answer {answer!r} is not one of {', '.join(choices)}. Fetch the file again.")
    if row.image is None:
        return Absent(name, row.cells["modality"], "picture")
    return Sample(
        id=name,
        kind="choice",
        question=row.text("question"),
        target=answer,
        cluster=row.image.sha256,
        images=(row.image,),
        choices=tuple(choices.values()),
        tags={"dataset": "gmai_mmbench"} | {tag: row.cells[column] for tag, column in GROUPS.items()},
    )


GMAI_MMBENCH = Benchmark(
    name="gmai_mmbench",
    about="pictures of 38 modalities in 18 clinical tasks, multiple choice",
    source="OpenGVLab/GMAI-MMBench",
    revision="main",
    licence="Apache-2.0 on its card, CC BY-NC-SA in its paper's terms: non-commercial",
    expected_rows=4550,
    folder="gmai_mmbench",
    layouts=tuple(Layout(file, partial(_read, file)) for file in ("GMAI_mm_bench_VAL.tsv", "GMAI-MMBench_VAL.tsv")),
    files=("GMAI_mm_bench_VAL.tsv",),
    facts=Facts(
        by_tag("task", "department", "granularity"),
        places=(table_3("GMAI-MMBench", "exact match", "4,550 (VAL)"),),
        paper=Paper(4550, told="4,550"),
    ),
)
