"""The files of MMLU and MultiMedQA in every layout, and what is refused of them."""

from __future__ import annotations

import json

import pytest

from aloe_bench.core import samples_of
from tests.bridges.test_lmeval_text import MOCK, refused
from tests.support.text_data import lines, medqa_row, mmlu_row, parquet, pubmedqa_rows

pytest.importorskip("lm_eval")

from aloe_bench.bridges.lmeval.text import MMLU, MULTIMEDQA

pytestmark = pytest.mark.bridges


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"answer": 4}, "answer 4 is not one of 0-3"),
        ({"answer": -1}, "answer -1 is not one of 0-3"),
        ({"choices": ["a", "b"]}, "expected a list of four texts"),
        ({"question": ""}, "field 'question' is ''"),
    ],
)
def test_a_broken_row_is_named(tmp_path, change, said):
    good = mmlu_row("Which?", "a", "b", "c", "d", subject="anatomy", answer=0)
    path = parquet(tmp_path / "mmlu" / "anatomy" / "test-00000-of-00001.parquet", [good, good | change])

    error = refused(*MOCK, "--tasks", "mmlu", "--data-root", tmp_path, "--allow-partial")

    assert error.exit_code == 3
    assert str(error).startswith(f"mmlu: {path}: row 2") and said in str(error)


def test_a_context_of_another_shape_and_a_fetched_file_that_changed_name_the_task(tmp_path):
    path = parquet(tmp_path / "pubmedqa/pqa_labeled/train-0.parquet", [pubmedqa_rows(0)[0] | {"context": "We asked."}])
    words = (*MOCK, "--tasks", "multimedqa", "--data-root", tmp_path, "--allow-partial")
    assert str(refused(*words)) == f"multimedqa: {path}: row 1: no list of texts in CONTEXTS or context.contexts."

    file = {"size": path.stat().st_size + 1, "sha256": ""}
    manifest = {"repo": "qiaojin/PubMedQA", "revision": "a" * 40, "files": {"pqa_labeled/train-0.parquet": file}}
    (tmp_path / "pubmedqa/aloe-fetch.json").write_text(json.dumps(manifest))
    assert f"multimedqa: {path}: has {file['size'] - 1} bytes, expected {file['size']}" in str(refused(*words))


def test_line_separators_inside_a_text_do_not_end_its_line(tmp_path):
    rows = [medqa_row(i) | {"sent1": f"Fever\u2028and\u0085rash {i}."} for i in range(2)]
    path = lines(tmp_path / "medqa" / "test.json", rows)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\r\n" for row in rows), newline="")

    assert len(list(samples_of(MULTIMEDQA.load(tmp_path)))) == 2


def test_options_that_read_none_or_nothing_survive(tmp_path):
    rows = [mmlu_row("Which?", "None", "NA", "nan", "", subject="anatomy", answer=0)] * 2
    parquet(tmp_path / "mmlu" / "anatomy" / "test-00000-of-00001.parquet", rows)

    samples = list(samples_of(MMLU.load(tmp_path)))

    assert samples[0].question.endswith("Which?\nA. None\nB. NA\nC. nan\nD. \nAnswer:")
    assert len({sample.id for sample in samples}) == 2  # the data set repeats a few questions; both count


def test_every_layout_gives_the_same_samples(tmp_path):
    rows = [
        mmlu_row(f"Which {i}?", "a", "b", "c", "d", subject=s, answer=1)
        for i in range(3)
        for s in ("anatomy", "virology")
    ]
    parquet(tmp_path / "one" / "mmlu" / "all" / "test-00000-of-00001.parquet", rows)
    for subject in ("anatomy", "virology"):
        own = [row for row in rows if row["subject"] == subject]
        lines(tmp_path / "two" / "mmlu" / subject / "test.jsonl", own)
        parquet(tmp_path / "three" / subject / "test-00000-of-00001.parquet", own)

    one, two, three = (list(samples_of(MMLU.load(tmp_path / name))) for name in ("one", "two", "three"))

    assert one == two == three
    assert len(one) == 6


def test_pubmedqa_is_the_official_test_set_in_either_layout(tmp_path):
    rows = pubmedqa_rows(500)
    parquet(tmp_path / "hub" / "pubmedqa" / "pqa_labeled" / "train-00000-of-00001.parquet", rows)
    original = {
        str(row["pubid"]): {"QUESTION": row["question"], "CONTEXTS": row["context"]["contexts"],
                            "final_decision": row["final_decision"]}
        for row in rows
    }  # fmt: skip
    (tmp_path / "git" / "pubmedqa" / "data").mkdir(parents=True)
    (tmp_path / "git" / "pubmedqa" / "data" / "ori_pqal.json").write_text(json.dumps(original))

    hub, git = (list(samples_of(MULTIMEDQA.load(tmp_path / name))) for name in ("hub", "git"))

    assert hub == git
    assert len(hub) == 500
    assert hub[0].id == "pubmedqa/7482275"
