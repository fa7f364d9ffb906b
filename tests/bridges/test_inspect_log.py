"""A run as a log of inspect_ai: pictures where their licence allows; read by inspect_ai itself where there is one."""

import base64
import io
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from aloe_bench import ModelSpec, evaluate
from aloe_bench.bridges.exchange.inspect_log import export_inspect
from aloe_bench.evaluation import runlog
from tests.support.heart_tables import Source, rows, write_folder

READ = """
import json, sys
from inspect_ai.log import read_eval_log
log = read_eval_log(sys.argv[1])
pictures = [part.image for s in log.samples for m in s.messages if isinstance(m.content, list)
            for part in m.content if part.type == "image"]
print(json.dumps({"status": log.status, "model": log.eval.model, "n": len(log.samples), "pictures": len(pictures),
                  "metrics": {name: m.value for name, m in log.results.scores[0].metrics.items()},
                  "scores": {f"{s.id}": s.scores["aloe_bench"].value for s in log.samples if s.scores},
                  "errors": sum(s.error is not None for s in log.samples)}))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inspect")
    table = write_folder(folder / "t", rows([Source("brain", 5, 4)], attacks=("caption",)))
    options = {"accuracy": 0.8, "failure": 0.2, "cut": 0.1}
    return evaluate(ModelSpec("mock", options=options), f"heart:{table}", output=folder / "runs").folder


def relicensed(run: Path, folder: Path, licence: str) -> Path:
    shutil.copytree(run, folder)
    header = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**header, "task": {**header["task"], "licence": licence}}))
    return folder


def test_the_log_holds_each_reply_and_its_pictures(run: Path, tmp_path: Path) -> None:
    table = runlog.read_header(run)["asked"]["options"]["tasks"].partition(":")[2]
    made = export_inspect(run, tmp_path, [Path(table)])
    log = json.loads(made.path.read_text())
    records = runlog.read_lines(run)
    assert made.n_samples == len(log["samples"]) == len(records) and not made.remarks
    for sample, record in zip(log["samples"], records, strict=True):
        picture, text = sample["input"][0]["content"]
        assert (
            Image.open(io.BytesIO(base64.b64decode(picture["image"].partition(",")[2]))).size == record.prompt[0].size
        )
        assert text["text"] == record.prompt[1].text and sample["target"] == record.target
        assert ("error" in sample) == (record.prediction.text is None) and bool(sample["scores"]) == (
            record.score.value is not None
        )
    assert table not in made.path.read_text()


def test_pictures_of_a_closed_licence_stay(run: Path, tmp_path: Path) -> None:
    made = export_inspect(relicensed(run, tmp_path / "r", "research only"), tmp_path / "out")
    assert made.n_pictures == 0 and "may be passed on" in made.remarks[0]
    assert "base64" not in made.path.read_text()


@pytest.mark.slow
def test_inspect_ai_reads_it(run: Path, tmp_path: Path) -> None:
    python = os.environ.get("INSPECT_PYTHON")
    if not python:
        pytest.skip("no inspect_ai here: make test-inspect makes an environment of its own for it")
    made = export_inspect(run, tmp_path / "logs")
    # Without this process's own path: that environment has none of our packages.
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run([python, "-c", READ, str(made.path)], capture_output=True, text=True, env=clean, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    viewer = [python, "-m", "inspect_ai", "view", "bundle", "--log-dir", "logs", "--output-dir", "site"]
    bundled = subprocess.run(viewer, capture_output=True, text=True, env=clean, cwd=tmp_path)
    assert bundled.returncode == 0 and (tmp_path / "site/logs" / made.path.name).is_file(), bundled.stderr
    read, records = json.loads(done.stdout), runlog.read_lines(run)
    assert read["status"] == "success" and read["n"] == len(records) and read["pictures"] == len(records)
    assert read["scores"] == {r.sample_id: r.score.value for r in records if r.score.value is not None}
    assert read["errors"] == sum(r.prediction.text is None for r in records) > 0
