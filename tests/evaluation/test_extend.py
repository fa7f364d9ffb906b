"""`run --extend-cut`: cut replies go on from where they were cut, and the run says so everywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from aloe_bench import evaluate
from aloe_bench.core import Decoding, Prediction, Request
from aloe_bench.errors import RunMismatchError, UsageError
from aloe_bench.evaluation.runlog import read_run
from tests.conftest import closed_rows

TASK = "careqa_vision_mcq"
TALE = "Let us look at it closely. There is a lot to see here, and so I think that the answer is"


class WordyModel:
    """Says a tale and then its letter, a word a token, as far as it may; "B" for every second question at once."""

    name, fingerprint = "wordy", "0" * 64

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def describe(self) -> dict[str, object]:
        return {"backend": "wordy"}

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Prediction]:
        self.asked.append((len(requests), decoding.max_new_tokens))
        for request in requests:
            short = int(request.id.rpartition("-")[2]) % 2
            words = ["B"] if short else [*TALE.split(), "C."]
            said = words[: decoding.max_new_tokens]
            yield Prediction(request.id, " ".join(said), "stop" if said == words else "length", output_tokens=len(said))


@pytest.fixture
def asked(closed, tmp_path):
    root = closed(closed_rows(12))

    def ask(model: Any, **options: Any) -> Any:
        options = {"max_new_tokens": 8, "data_root": root, "output": tmp_path / "runs", **options}
        return evaluate(model, TASK, allow_partial=True, **options)

    return ask


def test_only_cut_replies_are_asked_again_and_header_records_and_summary_say_so(asked):
    model = WordyModel()
    first = asked(model)
    assert first.summary["cells"]["overall"]["cut"] == 6
    longer = asked(model, extend_cut=20)

    assert longer.folder == first.folder and model.asked == [(12, 8), (6, 28)]
    header, records = read_run(longer.folder)
    assert header["extended"] == 20 and header["decoding"]["max_new_tokens"] == 8
    assert [r.prediction.extended for r in records] == [20, 0] * 6
    assert [r.score.parsed for r in records] == ["C", "B"] * 6
    summary = json.loads((longer.folder / "summary.json").read_text())
    assert header["extended_from"] == "prompt" and len(records[0].prediction.token_ids) == 0
    assert (
        summary["extended"] == {"tokens": 20, "replies": 6, "from": "prompt"}
        and summary["cells"]["overall"]["cut"] == 0
    )
    # Nothing is left to ask; fewer tokens than were granted cannot be had again.
    asked(model, extend_cut=20)
    assert len(model.asked) == 2
    with pytest.raises(RunMismatchError, match="give --extend-cut 20"):
        asked(model, extend_cut=5)


def test_what_was_half_extended_is_finished_by_the_same_command_alone(asked):
    model = WordyModel()
    run = asked(model, extend_cut=20)
    lines = (run.folder / "records.jsonl").read_text().splitlines(keepends=True)
    (run.folder / "records.jsonl").write_text("".join(lines[:-3]))
    (run.folder / "summary.json").unlink()
    with pytest.raises(RunMismatchError, match="were being extended by 20"):
        asked(model)
    again = asked(model, extend_cut=20)
    assert again.folder == run.folder and model.asked[-1] == (3, 28)
    assert [r.prediction.extended for r in read_run(again.folder)[1]] == [20, 0] * 6


def test_a_sampled_reply_cannot_be_extended(asked, tmp_path):
    with pytest.raises(UsageError, match="--temperature 0"):
        asked(WordyModel(), extend_cut=20, temperature=0.7)
    assert not (tmp_path / "runs").exists()


def test_reasoning_is_bounded_only_where_the_back_end_can(asked, tmp_path, quick):
    with pytest.raises(UsageError, match="cannot bound its reasoning"):
        asked(WordyModel(), reasoning_tokens=20)
    done = quick("run", "--model", "mock", "--tasks", TASK, "--data-root", "data", "--allow-partial",
                 "--reasoning-tokens", "5", "--output", "runs")  # fmt: skip
    assert done.returncode == 2 and "--backend hf" in done.stderr
    assert not (tmp_path / "runs").exists()
