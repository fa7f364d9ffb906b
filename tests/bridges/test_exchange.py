"""Runs as other tools read them: Every Eval Ever and back, the hub's YAML; each checked by its owner's own rules."""

import json
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries
from huggingface_hub.repocard_data import model_index_to_eval_results

from aloe_bench import ModelSpec, evaluate
from aloe_bench.boards.build import build, evidence
from aloe_bench.boards.public import without_paths
from aloe_bench.bridges.exchange.eee import export_eee
from aloe_bench.bridges.exchange.hub import export_hub
from aloe_bench.bridges.exchange.imports import import_eee
from aloe_bench.bridges.exchange.inspect_log import export_inspect
from aloe_bench.core import Part, Prediction, Score, Verdict
from aloe_bench.errors import DataError
from aloe_bench.evaluation import runlog
from aloe_bench.evaluation.cells import task_cells
from tests.boards.test_leaderboard import record, run_folder
from tests.support.heart_tables import Source, rows, write_folder

jsonschema = pytest.importorskip("jsonschema", reason="the published schemas need jsonschema: install the extra dev")
SCHEMAS = Path(__file__).parents[1] / "data" / "every_eval_ever"
NAMES = ("attacked", "failing", "judged", "served")


def summary(folder: Path) -> dict:
    """Return the cells as a summary of the run in `folder` has them."""
    header, records = runlog.read_run(folder)
    return {name: asdict(cell) for name, cell in task_cells(header, records).items()}


def judged_record(index: int) -> object:
    """Return an open answer with three verdicts, every fifth waiting for its jury."""
    grades = (1.0, 0.5, float(index % 2))
    verdicts = tuple(Verdict(f"s{index}", name, grade, "{}") for name, grade in zip("abc", grades, strict=True))
    score = Score(sorted(grades)[1], None, "jury: majority", verdicts, "answered")
    reply = Prediction(f"s{index}", f"answer {index}", "stop", None, 10, 3, 0.25, reasoning="because")
    shown = (Part("user", image="a" * 64, size=(4, 4)), Part("user", f"What? {index}"))
    extra = {"kind": "open", "target": "fluid", "question": f"What? {index}", "prompt": shown}
    return record(index, 0.0, prediction=reply, score=score, **extra)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("exchange")
    table = write_folder(folder / "t", rows([Source("brain", 7, 4), Source("skin", 5, 3)], attacks=("caption",)))
    whole = {"accuracy": 0.8, "follow": 0.6, "refusal": 0.1, "cut": 0.1}
    made = {
        name: evaluate(ModelSpec("mock", options=options), f"heart:{table}", output=folder / name).folder
        for name, options in (("attacked", whole), ("failing", whole | {"failure": 0.2}))
    }
    judges = [{"name": name, "backend": "hf", "fingerprint": name} for name in "abc"]
    made["judged"] = run_folder(
        folder / "j", "org/judged-9b", "careqa_vision_open", [judged_record(i) for i in range(9)],
        judges={"identity": "x", "rubric": "r1", "judges": judges},
    )  # fmt: skip
    scores = [record(i, float(i % 3 > 0), "nursing" if i < 4 else "medicine") for i in range(11)]
    source = {"name": "careqa_vision_mcq", "version": 1, "expected_rows": 11, "data_sha256": "0" * 64,
              "source": "HPAI-BSC/CareQA-Vision", "verified": {"by": "fetch", "why": ""}}  # fmt: skip
    made["served"] = run_folder(folder / "20260102T030405.5Z", "org/served", source["name"], scores)
    header = json.loads((made["served"] / "run.json").read_text())
    (made["served"] / "run.json").write_text(json.dumps({**header, "task": source}))
    return made


@pytest.mark.parametrize("name", NAMES)
def test_the_two_published_schemas_hold(runs: dict[str, Path], tmp_path: Path, name: str) -> None:
    aggregate, samples, *_ = export_eee(runs[name], tmp_path)
    checks = {
        kind: jsonschema.Draft7Validator(json.loads((SCHEMAS / f"{kind}.schema.json").read_text()))
        for kind in ("eval", "instance_level_eval")
    }
    facts = json.loads(aggregate.read_text())
    assert [error.message for error in checks["eval"].iter_errors(facts)] == []
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    for line in lines:
        assert [error.message for error in checks["instance_level_eval"].iter_errors(line)] == []
    assert tmp_path / facts["detailed_evaluation_results"]["file_path"] == samples
    first = aggregate.read_bytes() + samples.read_bytes()
    assert b"".join(path.read_bytes() for path in export_eee(runs[name], tmp_path)[:2]) == first


def test_scores_of_the_instances_are_what_a_plain_cell_is_the_mean_of(runs: dict[str, Path], tmp_path: Path) -> None:
    aggregate, samples, *_ = export_eee(runs["served"], tmp_path)
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    results = json.loads(aggregate.read_text())["evaluation_results"]
    assert len(results) == 3
    for result in results:
        key = result["evaluation_result_id"]
        scores = [Fraction(line["evaluation"]["score"]) for line in lines if line["evaluation_result_id"] == key]
        assert sum(scores) / len(scores) == Fraction(result["score_details"]["details"]["exact"])


@pytest.mark.parametrize("name", NAMES)
def test_a_run_that_comes_back_has_the_same_records_and_cells(runs: dict[str, Path], tmp_path: Path, name: str) -> None:
    export_eee(runs[name], tmp_path / "out")
    (back,) = import_eee(tmp_path / "out", tmp_path / "runs")
    assert runlog.read_lines(back) == runlog.read_lines(runs[name])
    assert summary(back) == summary(runs[name])
    expected, found = evidence(runs[name]), evidence(back)
    assert found.items == expected.items
    assert {**found.result, "model": 0} == {**expected.result, "model": 0}


def test_failed_replies_have_no_instance_and_their_cells_no_number(runs: dict[str, Path], tmp_path: Path) -> None:
    aggregate, samples, *_ = export_eee(runs["failing"], tmp_path)
    facts = json.loads(aggregate.read_text())
    lost = [r for r in runlog.read_lines(runs["failing"]) if r.score.value is None]
    assert lost and facts["detailed_evaluation_results"]["additional_details"]["not_scored"] == str(len(lost))
    assert not {line["sample_id"] for line in map(json.loads, samples.read_text().splitlines())} & {
        r.sample_id for r in lost
    }
    assert len(facts["evaluation_results"]) < len(evidence(runs["failing"]).result["cells"])


def test_a_changed_score_or_another_harness_is_refused(runs: dict[str, Path], tmp_path: Path) -> None:
    aggregate, samples, *_ = export_eee(runs["served"], tmp_path / "out")
    facts, text = json.loads(aggregate.read_text()), samples.read_text()
    samples.write_text(text.replace('"score": 0.0', '"score": 1.0'))
    with pytest.raises(DataError, match="SHA-256"):
        import_eee(aggregate, tmp_path / "runs")
    samples.write_text(text)
    facts["evaluation_results"][0]["score_details"]["details"]["exact"] = "11/11"
    aggregate.write_text(json.dumps(facts))
    with pytest.raises(DataError, match="not what the replies give"):
        import_eee(aggregate, tmp_path / "runs")
    del facts["eval_library"]["additional_details"]
    aggregate.write_text(json.dumps(facts))
    with pytest.raises(DataError, match="lacks what aloe-bench adds"):
        import_eee(aggregate, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_an_imported_run_stands_on_a_leaderboard_as_the_first_does(runs: dict[str, Path], tmp_path: Path) -> None:
    export_eee(runs["served"], tmp_path / "out")
    back = import_eee(tmp_path / "out", tmp_path / "runs")
    build([runs["served"]], tmp_path / "a")
    build(back, tmp_path / "b")
    for path in (tmp_path / "a").rglob("*.md"):
        assert (tmp_path / "b" / path.name).read_bytes() == path.read_bytes()


def test_the_hub_reads_its_two_forms(runs: dict[str, Path], tmp_path: Path) -> None:
    readme, entries = export_hub(runs["served"], tmp_path / "hub")
    card = ModelCard.load(readme)
    name, results = model_index_to_eval_results(card.data.to_dict()["model-index"])
    assert name == "org/served" and [result.metric_name for result in results] == ["overall", "nursing", "medicine"]
    assert results[0].metric_value == 63.64 and results[0].dataset_type == "HPAI-BSC/CareQA-Vision"
    read = parse_eval_result_entries(yaml.safe_load(entries.read_text()))
    assert entries.parent.name == ".eval_results" and read[0].task_id == "careqa_vision_mcq/overall"
    assert read[0].date == "2026-01-02" and read[0].notes.startswith("n 11, 95 % [")
    assert [path.name for path in export_hub(runs["attacked"], tmp_path / "own")] == ["README.md"]  # of no benchmark
    with pytest.raises(DataError, match="no cell has a value"):
        export_hub(run_folder(tmp_path / "none", "m", "careqa_vision_mcq", [record(0, None)]), tmp_path / "x")


def test_nothing_of_the_machine_travels(runs: dict[str, Path], tmp_path: Path) -> None:
    export_eee(runs["attacked"], tmp_path / "out")
    export_hub(runs["attacked"], tmp_path / "out")
    texts = "".join(path.read_text() for path in (tmp_path / "out").rglob("*") if path.is_file())
    header = runlog.read_header(runs["attacked"])
    assert str(runs["attacked"].parents[3]) not in texts and "data_root" not in texts
    assert header["asked"]["options"]["tasks"].startswith("heart:/") and "settings" in header["model"]


def test_a_path_in_a_tag_stays_here_and_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tags = [{"category": "/data/nursing", "file": f"/home/ann/secret/{i}.png", "note": "5 mg/kg"} for i in range(4)]
    run = run_folder(tmp_path / "r", "m", "careqa_vision_mcq", [record(i, 1.0, tags=of) for i, of in enumerate(tags)])
    written = [*export_eee(run, tmp_path / "eee")[:2], export_inspect(run, tmp_path / "log").path]
    for path in written[1:]:
        text = path.read_text(encoding="utf-8")
        assert "/home/ann" not in text and "/3.png" in text and "5 mg/kg" in text
        assert "/data/nursing" in text, "cells are made over it"
    assert "tags held paths of this machine, which are cut to their last part: file" in caplog.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cannot open /home/ann/x.png.", "cannot open …/x.png."),
        (r"C:\Users\ann\x.png", "…/x.png"),
        ("~/data/a b", "…/a b"),
        ("https://host/a/b and org/model, 5 mg/kg/day", "https://host/a/b and org/model, 5 mg/kg/day"),
    ],
)
def test_paths_are_cut_to_their_last_part(text: str, expected: str) -> None:
    assert without_paths({"a": [text]}) == {"a": [expected]}


def test_the_commands_say_what_goes_together(runs: dict[str, Path], quick, tmp_path: Path) -> None:
    done = quick("export", runs["served"], "--format", "eee", "--output", "eee")
    assert done.returncode == 0 and "3 numbers, 22 lines, 0 replies without a score" in done.stdout
    assert quick("import", "eee", "--output", "back").stdout.startswith("run: back/org_served-")
    wrong = quick("export", "--format", "hf", "--output", "x")
    assert wrong.returncode == 2 and "aloe-bench export RUN --format hf" in wrong.stderr
    wrong = quick("export", runs["served"], "--output", "x")
    assert wrong.returncode == 2 and "--format eee, --format hf" in wrong.stderr
