"""`attack --from mcq:FILE`: one's own questions, each as it stands, with and without a cue; no source folder."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pyarrow.parquet
import pytest

from aloe_bench import attack
from aloe_bench.core import Sample
from aloe_bench.heart.task import open_task
from aloe_bench.tasks.own import open_questions
from tests.support.suite_data import png

OPTIONS = ["Liver", "$5 worth", "Lung & <b>", "None of the above", "All of the above"]


def questions(folder: Path, backwards: bool = False) -> str:
    """Write five questions, of which three have one picture: by path, in base64, and with five options."""
    (folder / "1.png").write_bytes(png(1, 200))
    packed = base64.b64encode(png(2, 240)).decode()
    rows = [
        {"id": "path", "question": "What costs $5?", "options": OPTIONS[:2], "answer": "B", "image": "1.png",
         "cluster": "p"},
        {"id": "base64", "question": "And here?", "options": OPTIONS, "answer": "E", "image": packed},
        {"id": "two", "question": "Which?", "options": ["a", "b"], "answer": "A", "images": ["1.png", packed]},
        {"id": "none", "question": "Which?", "options": ["a", "b"], "answer": "A"},
        {"id": "gone", "question": "Which?", "options": ["a", "b"], "answer": "A", "image": "gone.png"},
    ]  # fmt: skip
    text = "".join(json.dumps(row) + "\n" for row in (rows[::-1] if backwards else rows))
    (folder / "q.jsonl").write_text(text)
    return f"mcq:{folder / 'q.jsonl'}"


def test_each_question_keeps_its_words_and_options_and_every_cue_names_an_option(quick, tmp_path):
    place = questions(tmp_path)
    done = quick("attack", "--from", place, "--output", "att", "--workers", "1")

    assert done.returncode == 0, done.stderr
    assert "20 rows of 2 items" in done.stdout and "3 entries left out or changed" in done.stdout
    reasons = {"two": "it has 2 pictures", "none": "it has no picture", "gone": "its picture is not there"}
    for name, why in reasons.items():
        assert f"1 question, {why}" in done.stderr and f": {name}." in done.stderr
        assert f"question: {why}" in (tmp_path / "att/dropped.csv").read_text()
    assert len(json.loads((tmp_path / "att/manifest.json").read_text())["left_over"]["mcq-q"]) == 3

    asked = {row.id.partition("/")[2]: row for row in open_questions("mcq", place[4:]).rows if isinstance(row, Sample)}
    samples = list(open_task(str(tmp_path / "att")).load(tmp_path))
    rows = pyarrow.parquet.read_table(tmp_path / "att/heart.parquet").to_pylist()
    assert {sample.tags["attack"] for sample in samples} == {"", "caption", "prompt", "sycophancy"}
    for sample, row in zip(samples, rows, strict=True):
        own = asked[row["source_id"]]
        assert sample.choices == own.choices and sample.target == own.target
        assert sample.question.endswith(own.question) and sample.cluster.endswith(own.cluster)
        said = f"{row['caption'] or ''}{row['syco_trigger'] or ''}"
        if sample.cue and sample.cue.suggests:
            named = own.choices["ABCDE".index(sample.cue.suggests)]
            assert named in said and (sample.cue.suggests == own.target) == (sample.cue.variant == "assistive")
        else:
            assert not any(choice in said for choice in own.choices)
    assert quick("run", "--model", "mock", "--tasks", "heart:att").returncode == 0


def test_order_workers_and_the_door_change_nothing(quick, tmp_path):
    for name, backwards in (("a", False), ("b", True)):
        (tmp_path / name).mkdir()
        place = questions(tmp_path / name, backwards)
        if backwards:
            attack(place, tmp_path / "out-b", attacks="prompt,sycophancy")
        else:
            words = ("--type", "prompt,sycophancy", "--workers", "2", "--output", "out-a")
            assert quick("attack", "--from", place, *words).returncode == 0

    tables = [pyarrow.parquet.read_table(tmp_path / name / "heart.parquet") for name in ("out-a", "out-b")]
    assert tables[0].equals(tables[1]) and tables[0].num_rows == 14
    # A part of the file has the same rows: no draw depends on the other questions.
    (tmp_path / "b/part.jsonl").write_text((tmp_path / "b/q.jsonl").read_text().splitlines()[-1] + "\n")
    (tmp_path / "b/part.jsonl").rename(tmp_path / "b/q.jsonl")
    attack(f"mcq:{tmp_path / 'b/q.jsonl'}", tmp_path / "part", attacks="prompt,sycophancy")
    part = pyarrow.parquet.read_table(tmp_path / "part/heart.parquet").to_pylist()
    whole = [row for row in tables[0].to_pylist() if row["source_id"] == "path"]
    assert [_without_index(row) for row in part] == [_without_index(row) for row in whole] and len(part) == 7


def _without_index(row: dict) -> dict:
    return {name: cell for name, cell in row.items() if name not in ("index", "more_options")}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--from", "open:q.csv"), "expected mcq:FILE"),
        (("--from", "mcq:q.csv", "--source", "s"), "either --source or --from, not both"),
        (("--from", "mcq:gone.csv"), "no such file"),
        (("--from", "mcq:t.csv"), "it has no picture"),
        (("--from", "mcq:q.csv", "--type", "legend"), "needs boxes"),
    ],
)
def test_what_cannot_be_attacked_is_one_message(quick, tmp_path, words, said):
    (tmp_path / "1.png").write_bytes(png(1, 100))
    (tmp_path / "q.csv").write_text("question,A,B,answer,image\nWhich?,a,b,A,1.png\n")
    (tmp_path / "t.csv").write_text("question,A,B,answer\nWhich?,a,b,A\n")

    refused = quick("attack", *words, "--output", "att")

    assert refused.returncode in (2, 3) and said in " ".join(refused.stderr.split())
    assert not (tmp_path / "att").exists()
