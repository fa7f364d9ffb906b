"""A task in one file: aloe-bench run --model MODEL --tasks vqa.py:VQA --data-root DATA

DATA/vqa/questions.jsonl holds a JSON object per line: id, image, question, options, answer (a letter), organ.
"""

from pathlib import Path

from aloe_bench import Sample
from aloe_bench.facts import Facts, by_tag
from aloe_bench.tasks.benchmark import Benchmark, Layout, Rows
from aloe_bench.tasks.data.rows import images_of, read_rows, text_of


def read(folder: Path) -> Rows:
    """Yield the questions in `folder`."""
    for where, row in read_rows(folder / "questions.jsonl"):
        images = images_of(row, where, folder)
        yield Sample(
            id=f"vqa/{text_of(row, 'id', where)}",
            kind="choice",
            question=text_of(row, "question", where),
            target=text_of(row, "answer", where),
            choices=tuple(row["options"]),
            cluster=images[0].sha256,
            images=images,
            tags={"organ": text_of(row, "organ", where)},
        )


VQA = Benchmark(
    name="vqa",
    source="our hospital",
    revision="2026-11",
    licence="CC0-1.0",
    expected_rows=12,
    folder="vqa",
    layouts=(Layout("questions.jsonl", read),),
    files=("questions.jsonl",),
    facts=Facts(cells=by_tag("organ")),
)
