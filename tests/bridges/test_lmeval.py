"""Our questions inside lm-eval: the same prompts, token ids and scores, row by row, as in `aloe-bench run`."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from aloe_bench.cli.main import cli
from aloe_bench.core import Decoding, Prediction, Record, Request
from aloe_bench.errors import AloeError, ModelError, UsageError
from aloe_bench.evaluation import plan as runs
from aloe_bench.evaluation import runlog
from aloe_bench.evaluation.loop import run_plan
from aloe_bench.miniature.checkpoint import build_tiny_checkpoint
from aloe_bench.models.hf import HFModel
from aloe_bench.models.mock import Behaviour, MockModel
from aloe_bench.tasks.careqa_vision import MCQ, OPEN
from tests.conftest import MINI, closed_rows
from tests.support.jury import judges_file, mock_table

pytest.importorskip("lm_eval")

pytestmark = pytest.mark.bridges
ROWS = 200
CLOSED = "CareQA-Vis_close.json"
NEW_TOKENS = 6


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 closed questions: the 16 real ones of careqa_mini, the others made up."""
    folder = tmp_path_factory.mktemp("data")
    shutil.copytree(MINI / "images", folder / "images")
    real = json.loads((MINI / CLOSED).read_text())
    rows = [*real, *closed_rows(ROWS - len(real))]
    (folder / CLOSED).write_text(json.dumps(rows))
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def tiny(checkpoint: Path) -> HFModel:
    return HFModel(str(checkpoint), batch_size=8)


@pytest.fixture
def here(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALOE_BENCH_DATA_ROOT", str(root))
    monkeypatch.setenv("ALOE_BENCH_ALLOW_PARTIAL", "1")


class Listening:
    """A model that is another model, and keeps what it was asked and what it said."""

    def __init__(self, model: Any) -> None:
        self.model, self.asked, self.said = model, {}, {}
        self.name, self.fingerprint, self.describe = model.name, model.fingerprint, model.describe

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Prediction]:
        yield from self._kept(requests, self.model.generate(requests, decoding))

    def option_logprobs(self, requests: Sequence[Request]) -> Iterator[Prediction]:
        yield from self._kept(requests, self.model.option_logprobs(requests))

    def _kept(self, requests: Sequence[Request], predictions: Iterator[Prediction]) -> Iterator[Prediction]:
        self.asked.update({request.id: request for request in requests})
        for prediction in predictions:
            self.said[prediction.id] = prediction
            yield prediction


def in_lmeval(model: Any, task: str, chat: bool = True, **options: Any) -> list[dict[str, Any]]:
    """Return lm-eval's own samples of `task`, asked with the chat template, as `aloe-bench run` asks."""
    from lm_eval import simple_evaluate
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager

    from aloe_bench.bridges.lmeval.docs import TASKS_FOLDER
    from aloe_bench.bridges.lmeval.model import AloeLM

    manager = TaskManager(include_path=str(TASKS_FOLDER), include_defaults=False)
    lm = model if isinstance(model, LM) else AloeLM(model=model)
    results = simple_evaluate(
        lm, tasks=[task], task_manager=manager, apply_chat_template=chat, bootstrap_iters=0, **options
    )
    samples: list[dict[str, Any]] = results["samples"][task]
    return samples


def natively(model: Any, root: Path, output: Path, task: Any = MCQ, **settings: Any) -> dict[str, Record]:
    chosen = runs.Settings(output=output, allow_partial=True, decoding=Decoding(0.0, NEW_TOKENS), **settings)
    facts = {"name": "m", "backend": "hf"}
    folder = run_plan(runs.load_plan(task, root, chosen), model, chosen, facts)
    return {record.sample_id: record for record in runlog.read_records(folder)}


def by_id(samples: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {sample["doc"]["sample_id"]: sample for sample in samples}


@pytest.mark.usefixtures("here")
def test_200_rows_get_the_same_prompt_reply_and_token_ids_in_lmeval_and_natively(tiny, root, tmp_path):
    native, bridged = Listening(tiny), Listening(tiny)
    records = natively(native, root, tmp_path)

    samples = by_id(in_lmeval(bridged, "careqa_vision_mcq", gen_kwargs={"max_gen_toks": NEW_TOKENS}))

    assert set(samples) == set(records) and len(records) == ROWS
    assert len({record.prediction.text for record in records.values()}) > ROWS / 4  # the model is not a constant
    for key, record in records.items():
        ours, theirs = native.asked[key], bridged.asked[key]
        assert replace(ours, images=()) == replace(theirs, images=())
        assert [i.open().tobytes() for i in ours.images] == [i.open().tobytes() for i in theirs.images]
        assert record.prediction.token_ids == bridged.said[key].token_ids
        assert record.prediction.text == samples[key]["resps"][0][0]
        assert record.score.value == samples[key]["acc"]


@pytest.mark.usefixtures("here")
def test_200_readable_replies_get_the_same_score_row_by_row(root, tmp_path):
    behaviour = Behaviour(accuracy=0.6, verbose=0.4, refusal=0.1)
    key = runs.answer_key([runs.load_plan(MCQ, root, runs.Settings(allow_partial=True))])
    records = natively(MockModel(key, behaviour), root, tmp_path)

    samples = by_id(in_lmeval(MockModel(key, behaviour), "careqa_vision_mcq"))

    assert {k: r.score.value for k, r in records.items()} == {k: s["acc"] for k, s in samples.items()}
    assert {k: r.score.parsed is None for k, r in records.items()} == {k: s["unread"] for k, s in samples.items()}
    assert 0.4 < sum(s["acc"] for s in samples.values()) / ROWS < 0.7
    assert 0 < sum(s["unread"] for s in samples.values()) < ROWS / 4


@pytest.mark.usefixtures("here")
def test_200_rows_get_the_same_log_likelihoods_with_images(tiny, root, tmp_path):
    records = natively(tiny, root, tmp_path, protocol="logprob")

    samples = by_id(in_lmeval(tiny, "careqa_vision_mcq_ll"))

    assert set(samples) == set(records)
    for key, record in records.items():
        theirs = [resps[0][0] for resps in samples[key]["resps"]]
        assert theirs == pytest.approx(record.prediction.option_logprobs, abs=1e-5)
        assert samples[key]["acc"] == record.score.value
    assert 0 < sum(s["acc"] for s in samples.values()) < ROWS


@pytest.mark.usefixtures("here")
def test_lmevals_own_model_sees_the_same_prompt_and_says_the_same(tiny, checkpoint, root, tmp_path):
    from lm_eval.models.hf_vlms import HFMultimodalLM

    native = Listening(tiny)
    records = natively(native, root, tmp_path)
    theirs = HFMultimodalLM(str(checkpoint), device="cpu", dtype="float32", batch_size=8)

    samples = by_id(in_lmeval(theirs, "careqa_vision_mcq", limit=24, gen_kwargs={"max_gen_toks": NEW_TOKENS}))

    assert len(samples) == 24
    for key, sample in samples.items():
        assert sample["arguments"][0][0] == tiny.render(native.asked[key])
        assert sample["resps"][0][0] == records[key].prediction.text
        assert sample["acc"] == records[key].score.value


@pytest.mark.usefixtures("here")
def test_a_failed_call_is_no_answer_in_lmeval_either(root):
    key = runs.answer_key([runs.load_plan(MCQ, root, runs.Settings(allow_partial=True))])
    with pytest.raises(ModelError, match=r"of 200 requests failed, .*the first: careqa_vision/"):
        in_lmeval(MockModel(key, Behaviour(failure=0.1)), "careqa_vision_mcq")


class Forgetful(Listening):
    """A model that leaves out every seventh request."""

    def _kept(self, requests: Sequence[Request], predictions: Iterator[Prediction]) -> Iterator[Prediction]:
        return (prediction for i, prediction in enumerate(predictions) if i % 7)


@pytest.mark.usefixtures("here")
def test_a_request_left_unanswered_is_no_wrong_answer(root):
    key = runs.answer_key([runs.load_plan(MCQ, root, runs.Settings(allow_partial=True))])

    with pytest.raises(ModelError, match="did not answer each request once"):
        in_lmeval(Forgetful(MockModel(key)), "careqa_vision_mcq")


@pytest.mark.usefixtures("here")
def test_with_a_cache_only_the_failed_items_are_asked_again(root, tmp_path):
    key = runs.answer_key([runs.load_plan(MCQ, root, runs.Settings(allow_partial=True))])
    failing, mended = (Listening(MockModel(key, Behaviour(failure=share))) for share in (0.1, 0.0))
    with pytest.raises(ModelError):
        in_lmeval(failing, "careqa_vision_mcq", use_cache=str(tmp_path / "cache"))

    samples = in_lmeval(mended, "careqa_vision_mcq", use_cache=str(tmp_path / "cache"))

    failed = {name for name, said in failing.said.items() if said.finish == "error"}
    assert set(mended.asked) == failed and 0 < len(failed) < ROWS / 4
    assert len(samples) == ROWS and all(sample["acc"] for sample in samples)


@pytest.mark.usefixtures("here")
def test_a_setting_that_a_model_cannot_be_told_is_refused(tiny):
    with pytest.raises(UsageError, match=r"it knows no num_beams"):
        in_lmeval(tiny, "careqa_vision_mcq", limit=1, gen_kwargs={"num_beams": 4})


@pytest.mark.usefixtures("here")
def test_a_forgotten_chat_template_is_pointed_out(tiny, caplog):
    in_lmeval(tiny, "careqa_vision_mcq_ll", limit=2, chat=False)

    assert "careqa_vision_mcq_ll: asked without the model's chat template" in caplog.text


def test_the_command_knows_our_tasks_and_our_model(aloe, checkpoint, root, tmp_path):
    done = aloe(
        "lm-eval", "run", "--model", "aloe-bench", "--model_args", f"pretrained={checkpoint}", "--tasks",
        "careqa_vision_mcq_ll", "--apply_chat_template", "--limit", "8", "--output_path", tmp_path / "out",
        "--log_samples", ALOE_BENCH_DATA_ROOT=str(root), ALOE_BENCH_ALLOW_PARTIAL="1",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "|careqa_vision_mcq_ll|      1|none  |     0|acc" in done.stdout
    assert "without the model's chat template" not in done.stderr
    (log,) = (tmp_path / "out").rglob("samples_*.jsonl")
    first = json.loads(log.read_text().splitlines()[0])
    assert first["doc"]["images"] == ["sha256:" + first["doc"]["cluster"]]


@pytest.mark.parametrize(
    ("words", "environment", "code", "said"),
    [
        (("--tasks", "careqa_vision_mcq"), {}, 3, "CareQA-Vis_close.json; looked in data/careqa_vision"),
        (("--tasks", "careqa_vision_mcq"), {"ALOE_BENCH_DATA_ROOT": str(MINI)}, 3, "16 rows"),
        (
            ("--tasks", "careqa_vision_open"),
            {"ALOE_BENCH_DATA_ROOT": str(MINI), "ALOE_BENCH_JUDGES": "no.toml"},
            3,
            "no.toml: cannot read",
        ),
        (("--tasks", "careqa_vision_mqc"), {}, 2, "Tasks not found: careqa_vision_mqc"),
    ],
)
def test_a_mistake_is_one_message_with_its_exit_code(words, environment, code, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["lm-eval", "run", "--model", "dummy", *words], env=environment)

    assert isinstance(done.exception, AloeError)
    assert done.exception.exit_code == code
    assert said in str(done.exception)


@pytest.mark.slow
def test_lmevals_own_command_runs_our_task_by_its_path(aloe, checkpoint, root, tmp_path):
    path = aloe("ls", "--tasks-path").stdout.strip()
    done = subprocess.run(
        [sys.executable, "-m", "lm_eval", "run", "--model", "hf-multimodal", "--model_args",
         f"pretrained={checkpoint},dtype=float32", "--device", "cpu", "--include_path", path, "--tasks",
         "careqa_vision_mcq", "--apply_chat_template", "--limit", "4", "--gen_kwargs", "max_gen_toks=4"],
        env={**os.environ, "ALOE_BENCH_DATA_ROOT": str(root), "ALOE_BENCH_ALLOW_PARTIAL": "1"},
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "|careqa_vision_mcq|      1|none  |     0|acc" in done.stdout


@pytest.mark.alone
def test_aloe_bench_does_without_lmeval_and_lists_tasks_in_a_second(tmp_path):
    code = (
        "import sys, time\n"
        "sys.modules['lm_eval'] = None\n"
        "started = time.process_time()\n"
        "from click.testing import CliRunner\n"
        "from aloe_bench.cli.main import cli\n"
        "import aloe_bench.bridges.lmeval.docs\n"
        "listed = CliRunner().invoke(cli, ['ls', 'tasks'], catch_exceptions=False)\n"
        "print(listed.output)\n"
        "print('seconds', time.process_time() - started)\n"
        "refused = CliRunner().invoke(cli, ['lm-eval', 'ls'])\n"
        "print(type(refused.exception).__name__, refused.exception)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "careqa_vision_mcq" in done.stdout
    assert float(done.stdout.split("seconds ")[1].split()[0]) < 1.0
    assert "DependencyError" in done.stdout
    assert "pip install 'aloe-bench[lm-eval]'" in done.stdout


@pytest.mark.usefixtures("here")
def test_open_answers_get_the_grades_of_aloe_bench_judge(tmp_path, monkeypatch):
    monkeypatch.setenv("ALOE_BENCH_DATA_ROOT", str(MINI))
    tables = mock_table("a"), mock_table("b", accuracy=0.6, seed=2), mock_table("c", leniency=-0.5, malformed=0.3)
    jury = judges_file(tmp_path / "judges.toml", *tables)
    key = runs.answer_key([runs.load_plan(OPEN, MINI, runs.Settings(allow_partial=True))])
    model = MockModel(key, Behaviour(accuracy=0.5, partial=0.5, verbose=0.3, refusal=0.1))
    records = natively(model, MINI, tmp_path / "runs", task=OPEN)
    (folder,) = (tmp_path / "runs").glob("*/*/*")
    assert CliRunner().invoke(cli, ["judge", str(folder), "--judges", str(jury)]).exit_code == 0
    records = {record.sample_id: record for record in runlog.read_records(folder)}

    unjudged = in_lmeval(model, "careqa_vision_open")
    monkeypatch.setenv("ALOE_BENCH_JUDGES", str(jury))
    monkeypatch.setenv("ALOE_BENCH_VERDICTS", str(tmp_path / "verdicts"))
    samples = by_id(in_lmeval(model, "careqa_vision_open"))

    assert {sample["jury"] for sample in unjudged} == {None}
    assert set(samples) == set(records) and len(records) == 10
    for name, record in records.items():
        assert samples[name]["jury"] == record.score.value
        assert list(samples[name]["filtered_resps"][0]["verdicts"]) == [asdict(v) for v in record.score.verdicts]
    assert len({record.score.value for record in records.values()}) == 3
    stored = (tmp_path / "verdicts" / "verdicts.jsonl").read_text()
    in_lmeval(model, "careqa_vision_open")
    assert (tmp_path / "verdicts" / "verdicts.jsonl").read_text() == stored  # no judge is asked twice


@pytest.mark.usefixtures("here")
def test_a_missing_judge_leaves_no_mean(tmp_path, monkeypatch):
    from aloe_bench.bridges.lmeval.docs import mean_of_all

    monkeypatch.setenv("ALOE_BENCH_DATA_ROOT", str(MINI))
    tables = mock_table("a"), mock_table("b", accuracy=0.0), mock_table("c", down=True)
    monkeypatch.setenv("ALOE_BENCH_JUDGES", str(judges_file(tmp_path / "judges.toml", *tables)))
    key = runs.answer_key([runs.load_plan(OPEN, MINI, runs.Settings(allow_partial=True))])

    samples = in_lmeval(MockModel(key), "careqa_vision_open")

    assert sum(sample["missing"] for sample in samples) == 10
    assert math.isnan(mean_of_all([sample["jury"] for sample in samples]))
    assert math.isnan(mean_of_all([1.0, None]))
    assert mean_of_all([1.0, 0.5]) == 0.75
