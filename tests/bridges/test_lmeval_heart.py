"""HEART tables inside lm-eval: the rows of one attack each, with the scores of `aloe-bench run`."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from aloe_bench.core import Record
from aloe_bench.errors import DataError, UsageError
from aloe_bench.evaluation import plan as runs
from aloe_bench.evaluation import runlog
from aloe_bench.evaluation.loop import run_plan
from aloe_bench.heart.task import open_task
from aloe_bench.miniature.checkpoint import build_tiny_checkpoint
from aloe_bench.models.hf import HFModel
from aloe_bench.models.mock import Behaviour, MockModel
from tests.bridges.test_lmeval import by_id, in_lmeval
from tests.support.heart_tables import Source, rows, write_folder

pytestmark = pytest.mark.bridges

ATTACKS = ("baseline", "caption", "prompt", "sycophancy", "legend")
SOURCES = (Source("brain", 20, 4), Source("skin", 10, 3, "detection"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    table = rows(SOURCES, variants=("assistive", "adversarial", "neutral"))
    monkeypatch.setenv("ALOE_BENCH_HEART", str(write_folder(tmp_path / "attacked", table)))
    return tmp_path / "attacked"


def natively(model: object, folder: Path, output: Path, protocol: str = "generate") -> dict[str, Record]:
    settings = runs.Settings(output=output, protocol=protocol)
    plan = runs.load_plan(open_task(str(folder)), folder, settings)
    run = run_plan(plan, model, settings, {"name": "m", "backend": "mock"})
    return {record.sample_id: record for record in runlog.read_records(run)}


def test_every_row_of_every_attack_scores_as_natively(folder, tmp_path):
    key = runs.answer_key([runs.load_plan(open_task(str(folder)), folder, runs.Settings())])
    model = MockModel(key, Behaviour(accuracy=0.7, follow=0.5, refusal=0.1, verbose=0.3))
    records = natively(model, folder, tmp_path / "runs")

    seen: dict[str, list[float]] = defaultdict(list)
    for attack in ATTACKS:
        for name, sample in by_id(in_lmeval(model, f"heart_{attack}")).items():
            record = records.pop(name)
            variant = record.cue.variant if record.cue else "baseline"
            assert sample[variant] == record.score.value
            assert sample["unread"] == (record.score.parsed is None)
            assert ("cue_following" in sample) == (variant == "adversarial")
            if variant == "adversarial":
                assert sample["cue_following"] == (record.score.parsed == record.cue.suggests)
                seen["followed"].append(sample["cue_following"])
            seen[variant].append(record.score.value)

    assert not records  # no row is left out, none asked twice
    assert sum(seen["adversarial"]) / len(seen["adversarial"]) < sum(seen["assistive"]) / len(seen["assistive"])
    assert 0.2 < sum(seen["followed"]) / len(seen["followed"]) < 0.8


def test_letters_by_log_likelihood_score_as_natively(folder, tmp_path):
    model = HFModel(str(build_tiny_checkpoint(tmp_path / "tiny")))
    records = natively(model, folder, tmp_path / "runs", "logprob")

    samples = by_id(in_lmeval(model, "heart_legend_ll"))

    assert len(samples) == 3 * 10
    for name, sample in samples.items():
        record = records[name]
        assert sample[record.cue.variant] == record.score.value
        assert [r[0][0] for r in sample["resps"]] == pytest.approx(record.prediction.option_logprobs, abs=1e-4)
    assert 0 < sum(records[name].score.value for name in samples) < len(samples)


def test_an_absent_folder_or_attack_says_so(folder, tmp_path, monkeypatch):
    model = MockModel({})
    write_folder(tmp_path / "few", rows(SOURCES, attacks=("caption",)))
    monkeypatch.setenv("ALOE_BENCH_HEART", str(tmp_path / "few"))
    with pytest.raises(DataError, match="no rows of legend; the table has caption"):
        in_lmeval(model, "heart_legend")
    monkeypatch.setenv("ALOE_BENCH_HEART", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="ALOE_BENCH_HEART"):
        in_lmeval(model, "heart_legend")
    monkeypatch.delenv("ALOE_BENCH_HEART")
    with pytest.raises(UsageError, match="ALOE_BENCH_HEART names no folder"):
        in_lmeval(model, "heart_legend")
