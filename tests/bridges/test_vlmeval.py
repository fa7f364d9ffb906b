"""The VLMEvalKit bridge against a stand-in with its extension points and faults; the real one: `make test-vlmeval`."""

from __future__ import annotations

import csv
import json
import os
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from aloe_bench.evaluation.runlog import read_run
from aloe_bench.miniature.checkpoint import build_tiny_checkpoint
from aloe_bench.miniature.loop import EVALUATION
from aloe_bench.miniature.source import write_source
from tests.support import suite_data as made
from tests.support.many_rows import write_many_rows
from tests.support.standin_vlmeval import write_standin

pytestmark = pytest.mark.bridges

MINI = Path(__file__).parents[1] / "data" / "careqa_mini"
REPOSITORY = Path(__file__).parents[2]
MCQ = ["--data", "CareQA_Vision_MCQ", "--data-root", MINI, "--allow-partial"]


@pytest.fixture
def vlmeval(aloe, tmp_path):
    """Return a function that runs the command with a stand-in of the given fault."""

    def command(*words: object, fault: str = "", **environment: str):
        place = write_standin(tmp_path / f"standin{fault}", fault)
        path = os.pathsep.join([str(place), str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
        return aloe(*words, PYTHONPATH=path, OPENAI_API_KEY="sk-planted", VERBOSE="1", **environment)

    return command


def records(root: Path):
    (run,) = root.rglob("run.json")
    return read_run(run.parent)


def test_upstreams_own_model_is_asked_our_prompt_and_graded_by_us(vlmeval, tmp_path):
    done = vlmeval("vlmeval", *MCQ, "--model", "AlwaysB", "--output", "runs", "--name", "b")

    assert done.returncode == 0, done.stderr
    header, found = records(tmp_path / "runs" / "b")
    assert header["engine"]["name"] == "vlmeval"
    assert len(found) == 16
    assert {record.score.parsed for record in found} == {"B"}
    assert all(record.score.value == float(record.target == "B") for record in found)
    overall = sum(record.target == "B" for record in found) / 16
    (scores,) = tmp_path.rglob("*_aloe_scores.csv")
    with scores.open(newline="") as file:
        theirs = {row["id"]: float(row["score"]) for row in csv.DictReader(file)}
    assert theirs == {record.sample_id: record.score.value for record in found}
    assert f"{100 * overall:.2f}" in done.stdout
    assert "sk-planted" not in "".join(p.read_text(errors="replace") for p in tmp_path.rglob("*.json"))


def test_our_checkpoint_gives_the_records_of_a_native_run(vlmeval, aloe, tmp_path):
    folder = build_tiny_checkpoint(tmp_path / "tiny")
    common = ["--model", folder, "--max-new-tokens", "8", "--output", "runs"]
    native = aloe("run", "--tasks", "careqa_vision_mcq", "--data-root", MINI, "--allow-partial", *common, "--name", "n")
    theirs = vlmeval("vlmeval", *MCQ, *common, "--name", "v")

    assert (native.returncode, theirs.returncode) == (0, 0), native.stderr + theirs.stderr
    rows = {
        name: [
            (r.sample_id, r.prediction.text, r.score.value, r.score.parsed)
            for r in records(tmp_path / "runs" / name)[1]
        ]
        for name in "nv"
    }
    assert rows["n"] == rows["v"]
    # Upstream does not say how a reply ended, so that a cut one is unread there.
    ends = {name: {r.score.outcome for r in records(tmp_path / "runs" / name)[1]} for name in "nv"}
    assert "cut" not in ends["v"] and ends["n"] - {"cut"} <= ends["v"]


def test_a_compat_parser_is_labelled_whoever_asked(vlmeval, tmp_path):
    model = ("--engine", "vlmeval", "--backend", "hf", "--model", "AlwaysB", "--name", "b", "--parser", "vlmeval")

    done = vlmeval("run", *model, "--tasks", "careqa_vision_mcq", "--data-root", MINI, "--allow-partial")
    assert done.returncode == 0, done.stderr
    assert vlmeval("leaderboard", "build", "runs", "--output", "boards").returncode == 0

    assert "| b [vlmeval parser] †" in (tmp_path / "boards/careqa_vision.md").read_text()


@pytest.mark.parametrize(
    ("fault", "model", "said"),
    [
        ("", "Fails", "left no predictions"),
        ("", "NoSuchModel", "neither a folder here nor a model"),
        ("idle", "AlwaysB", "left no predictions"),
        ("dies", "AlwaysB", "exit code 1"),
        ("short", "AlwaysB", "15 of 16"),
    ],
)
def test_what_goes_wrong_upstream_is_no_score(vlmeval, tmp_path, fault, model, said):
    done = vlmeval("vlmeval", *MCQ, "--model", model, "--output", "runs", fault=fault)

    assert done.returncode == 3
    assert said in done.stderr
    assert not list((tmp_path / "runs").rglob("summary.json"))
    assert all(not path.read_text() for path in (tmp_path / "runs").rglob("records.jsonl"))


def test_replies_that_our_model_never_gave_are_refused(vlmeval, tmp_path):
    folder = build_tiny_checkpoint(tmp_path / "tiny")
    done = vlmeval("vlmeval", *MCQ, "--model", folder, "--max-new-tokens", "4", "--output", "runs", fault="stale")

    assert done.returncode == 3
    assert "16 of 16 replies were not given by the model in this run" in done.stderr
    assert not list((tmp_path / "runs").rglob("summary.json"))


def test_this_process_still_checks_tls_and_image_sizes(tmp_path):
    import subprocess

    write_standin(tmp_path)
    code = (
        "import os, ssl\n"
        "from pathlib import Path\n"
        "from PIL import Image\n"
        "from aloe_bench.bridges.vlmeval.kit import register\n"
        "from aloe_bench.bridges.vlmeval.table import write_table\n"
        "from aloe_bench.tasks.careqa_vision import MCQ\n"
        f"samples = list(enumerate(MCQ.load(Path({str(MINI)!r}))))\n"
        "write_table(Path('out'), MCQ.name, samples, MCQ.prompt)\n"
        "limit = Image.MAX_IMAGE_PIXELS\n"
        "register(Path('out'))\n"
        "import vlmeval.dataset\n"
        "from aloe_bench.images import open_image\n"
        "dataset = vlmeval.dataset.build_dataset('CareQA_Vision_MCQ')\n"
        "assert dataset.build_prompt(dict(dataset.data.iloc[3]))[-1]['value'] == MCQ.prompt(samples[3][1])\n"
        "assert ssl._create_default_https_context().verify_mode == ssl.CERT_REQUIRED\n"
        "assert Image.MAX_IMAGE_PIXELS == limit and 'LEFT_BY_DOTENV' not in os.environ\n"
        "print('kept')\n"
    )
    path = os.pathsep.join([str(tmp_path), str(REPOSITORY)])
    environment = {**os.environ, "PYTHONPATH": path, "LMUData": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "kept", done.stderr


def test_aloe_bench_does_not_import_vlmeval(tmp_path):
    import subprocess

    write_standin(tmp_path)
    code = (
        "import sys, importlib.util\n"
        "assert importlib.util.find_spec('vlmeval')\n"
        "import aloe_bench.cli.run, aloe_bench.cli.vlmeval, aloe_bench.cli.export, aloe_bench.api.engines\n"
        "import aloe_bench.bridges.vlmeval.engine, aloe_bench.bridges.vlmeval.kit, aloe_bench.bridges.vlmeval.parity\n"
        "print('vlmeval' in sys.modules)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(REPOSITORY)])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_the_export_holds_each_picture_once_and_every_option(aloe, tmp_path):
    root = write_many_rows(tmp_path / "data", 40)
    done = aloe("export", "--tasks", "careqa_vision_mcq", "--data-root", root, "--allow-partial", "--output", "out")

    assert done.returncode == 0, done.stderr
    with (tmp_path / "out" / "CareQA_Vision_MCQ.tsv").open(newline="") as file:
        csv.field_size_limit(sys.maxsize)
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) == 40 and rows[0]["answer"] in "ABCD"
    pictures = {row["index"] for row in rows if len(row["image"]) > 64}
    assert len(pictures) == 9
    assert {row["image"] for row in rows if len(row["image"]) <= 64} <= pictures
    named = [row for row in rows if "None" in (row["A"], row["B"], row["C"], row["D"])]
    assert named and "missing cells to upstream's own reader" in done.stderr
    listed = json.loads((tmp_path / "out" / "aloe_tables.json").read_text())
    assert listed["CareQA_Vision_MCQ"]["rows"] == 40


def test_pictures_decoded_from_an_earlier_table_are_not_shown_with_a_new_one(aloe, tmp_path):
    import shutil
    import subprocess

    write_standin(tmp_path)
    code = (
        "from pathlib import Path\n"
        "from aloe_bench.bridges.vlmeval.kit import register\n"
        "from aloe_bench.images import file_image\n"
        "from aloe_bench.tasks.careqa_vision import MCQ\n"
        "register(Path('lmu'))\n"
        "import vlmeval.dataset\n"
        "data = vlmeval.dataset.build_dataset('CareQA_Vision_MCQ')\n"
        "for row, sample in enumerate(MCQ.load(Path('data'))):\n"
        "    shown = file_image(Path(data.build_prompt(row)[0]['value']))\n"
        "    assert shown.open().tobytes() == sample.images[0].open().tobytes(), row\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(REPOSITORY)]), "LMUData": "lmu"}
    export = ["export", "--tasks", "careqa_vision_mcq", "--data-root", "data", "--allow-partial", "--output", "lmu"]
    root = write_many_rows(tmp_path / "data", 12)
    file = root / "CareQA-Vis_close.json"
    rows = json.loads(file.read_text())
    assert rows[0]["image"] != rows[-1]["image"]
    for pictures in ([row["image"] for row in rows], [row["image"] for row in rows[::-1]]):
        file.write_text(json.dumps([{**row, "image": image} for row, image in zip(rows, pictures, strict=True)]))
        assert aloe(*export).returncode == 0
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    (decoded := tmp_path / "lmu" / "images" / "CareQA_Vision_MCQ").mkdir()  # as plain upstream calls it
    assert aloe(*export).returncode == 0  # the same table
    file.write_text(json.dumps(rows))
    refused = aloe(*export)
    assert refused.returncode == 3 and "Delete that folder" in refused.stderr
    shutil.rmtree(decoded)
    assert aloe(*export).returncode == 0


def test_two_tables_of_one_name_are_not_written_over_each_other(aloe, tmp_path):
    for name, place in (("x-ray", "a"), ("x_ray", "b"), ("x-ray", "c")):
        write_source(tmp_path / name / place, "mri", pictures=4, seed=0)
        toml = tmp_path / name / place / "dataset.toml"
        toml.write_text(re.sub(r"^name = .*$", f'name = "{name}"', toml.read_text(), flags=re.MULTILINE))
        assert aloe("attack", "--source", toml.parent, "--output", place, "--workers", "1").returncode == 0

    both = aloe("export", "--tasks", "heart:a,heart:c", "--output", "lmu")
    assert both.returncode == 2 and "HEART_x_ray" in both.stderr
    assert aloe("export", "--tasks", "heart:a", "--output", "lmu").returncode == 0
    other = aloe("export", "--tasks", "heart:b", "--output", "lmu")
    assert other.returncode == 3 and "already stands for heart-x-ray" in other.stderr


def test_upstreams_own_models_find_the_weights_that_are_here_already(vlmeval, tmp_path):
    words = [*MCQ, "--model", "NamesTheCache", "--output", "runs", "--limit", "1"]
    assert vlmeval("vlmeval", *words, "--name", "home", HOME=str(tmp_path), HF_HOME="").returncode == 0
    assert vlmeval("vlmeval", *words, "--name", "set", HF_HUB_CACHE="weights").returncode == 0

    said = {name: records(tmp_path / "runs" / name)[1][0].prediction.text for name in ("home", "set")}
    assert said["set"] == str(tmp_path / "weights")
    assert said["home"] and "vlmeval-work" not in said["home"]


def test_each_question_is_sampled_with_a_seed_of_its_own(tmp_path):
    import subprocess

    write_standin(tmp_path)
    code = (
        "from pathlib import Path\n"
        "from aloe_bench.bridges.vlmeval.kit import model_class\n"
        "from aloe_bench.core import Decoding, Prediction\n"
        "class SaysWhatSeedsIt:\n"
        "    def generate(self, requests, decoding):\n"
        "        return (Prediction(request.id, request.id, 'stop') for request in requests)\n"
        "model = model_class(SaysWhatSeedsIt, Decoding(temperature=1.0), Path('receipts'))()\n"
        f"pictures = sorted(map(str, Path({str(MINI)!r}, 'images').iterdir()))[:3]\n"
        "image, text = ({'type': kind} for kind in ('image', 'text'))\n"
        "asked = [[image | {'value': p}, text | {'value': t}] for p in pictures for t in ('a', 'b')]\n"
        "said = [model.generate_inner(message) for message in asked * 2]\n"
        "print(len(set(said)), said[:6] == said[6:])\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(REPOSITORY)])}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["6", "True"], done.stderr


def test_a_folder_that_is_no_checkpoint_ends_before_upstream_is_started(vlmeval, tmp_path):
    folder = build_tiny_checkpoint(tmp_path / "tiny")
    (folder / "config.json").write_text("{")
    done = vlmeval("vlmeval", *MCQ, "--model", folder, "--output", "runs")

    assert done.returncode == 3
    assert "config.json: not JSON" in done.stderr and "Traceback" not in done.stderr


def test_a_heart_folder_goes_through_upstream(vlmeval, tmp_path):
    write_source(tmp_path / "source", "mri", pictures=6, seed=0)
    words = ("--templates", EVALUATION, "--output", "heart", "--workers", "1")
    assert vlmeval("attack", "--source", "source", *words).returncode == 0
    done = vlmeval("vlmeval", "--data", "HEART", "--heart", "heart", "--model", "AlwaysB", "--output", "runs")

    assert done.returncode == 0, done.stderr
    header, found = records(tmp_path / "runs")
    assert header["task"]["name"] == "heart-miniature-mri"
    assert {record.cue.attack for record in found if record.cue} == {"caption", "prompt", "sycophancy", "legend"}
    assert all(record.score.value == float(record.target == "B") for record in found)
    table = next((tmp_path / "runs").rglob("HEART_miniature_mri.tsv"))
    with table.open(newline="") as file:
        csv.field_size_limit(sys.maxsize)
        rows = list(csv.DictReader(file, delimiter="\t"))
    pictures = {row["image"] for row in rows if len(row["image"]) > 64}
    assert len(rows) == len(found) > len(pictures)


def test_both_readings_of_the_same_replies(vlmeval, tmp_path):
    mock = ["--model", "mock", "--model-args", "accuracy=0.6,verbose=0.5", "--output", "runs"]
    ran = vlmeval("run", "--tasks", "careqa_vision_mcq", "--data-root", MINI, "--allow-partial", *mock)
    assert ran.returncode == 0, ran.stderr
    (run,) = (tmp_path / "runs").rglob("run.json")
    done = vlmeval("vlmeval", "--parity", run.parent, "--data-root", MINI, "--json")

    parity = json.loads(done.stdout)
    found = read_run(run.parent)[1]
    plain = sum(len(r.prediction.text or "") == 1 for r in found)
    assert parity["n"] == 16
    assert parity["strict"] == pytest.approx(sum(r.score.value or 0 for r in found) / 16)
    # The stand-in's matcher reads a reply by its first character alone.
    assert len(parity["disagreements"]) == 16 - plain
    assert all(row["upstream"] is None and row["strict"] for row in parity["disagreements"])
    assert "replies are read differently" in vlmeval("vlmeval", "--parity", run.parent, "--data-root", MINI).stdout

    root = write_many_rows(tmp_path / "other", 16)  # its options in another order would read other letters
    other = vlmeval("vlmeval", "--parity", run.parent, "--data-root", root)
    assert other.returncode == 3 and "Pass the data that the run was made on" in other.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--data", "CareQA_Vision_MQC", "--model", "m"], "Did you mean CareQA_Vision_MCQ?"),
        (["--data", "HEART", "--model", "m"], "--heart FOLDER"),
        (["--model", "m"], "No data set given"),
        ([*MCQ, "--model", "AlwaysB", "--protocol", "logprob"], "no logprob protocol"),
        ([*MCQ, "--model", "AlwaysB", "--base-url", "http://127.0.0.1:9/v1"], "a model of upstream's own"),
        ([*MCQ, "--model", "AlwaysB", "--model-args", "dtype=bfloat16"], "needs a local checkpoint folder"),
        ([*MCQ, "--model", "AlwaysB", "--ray"], "leave --ray out"),
    ],
)
def test_mistakes_are_one_line(vlmeval, words, said):
    done = vlmeval("vlmeval", *words)
    assert done.returncode == 2
    assert said in done.stderr and "Traceback" not in done.stderr


def test_parity_of_a_set_with_absent_pictures(vlmeval, tmp_path):
    data = made.pathmmu_data({"PubMed": 3})
    made.pathmmu(tmp_path / "data", data, without=[data["PubMed"]["test_tiny"][0]["img"]])
    done = vlmeval("run", "--model", "mock", "--tasks", "pathmmu", "--data-root", "data", "--allow-partial")
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "runs").rglob("run.json")

    done = vlmeval("vlmeval", "--parity", run.parent, "--data-root", "data", "--json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n"] == 2
