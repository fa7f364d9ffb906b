"""One file outside the package adds a task, an attack, a back end or a judge, on the command line and from Python."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from aloe_bench import ModelSpec, UsageError, evaluate, judge, jury
from aloe_bench import attack as attack_source
from tests.conftest import MINI, Run, png
from tests.support.heart_source import write_source

FILES = Path(__file__).parents[2] / "examples" / "extend"
ORGANS = ("lung", "liver", "brain")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that holds nothing of the package but these files, and is the current one."""
    for path in FILES.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def questions(folder: Path, n: int = 12) -> None:
    (folder / "data" / "vqa").mkdir(parents=True)
    rows = [
        {"id": f"q{i}", "question": "What is shown?", "options": ["a long name", "b", "cc"], "answer": "ABC"[i % 3],
         "organ": ORGANS[i // 4], "image": png(i)}
        for i in range(n)
    ]  # fmt: skip
    (folder / "data" / "vqa" / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def header(run: str | Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(run) / "run.json").read_text())
    return found


def asked(done: Any) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    (summary,) = json.loads(done.stdout)
    found: dict[str, Any] = summary
    return found


def test_a_task(folder: Path, aloe: Run) -> None:
    questions(folder)
    words = ("run", "--model", "rule", "--backend", "longest.py:Longest", "--tasks", "vqa.py:VQA", "--output", "runs")

    summary = asked(aloe(*words, "--json"))
    built = aloe("leaderboard", "build", "runs", "--output", "boards")
    run = evaluate(ModelSpec("rule", "longest.py:Longest"), "vqa.py:VQA", output="again")

    assert {name: cell["value"] for name, cell in summary["cells"].items()} == {
        "overall": 4 / 12, "organ: lung": 2 / 4, "organ: liver": 1 / 4, "organ: brain": 1 / 4,
    }  # fmt: skip
    task = header(summary["run"])["task"]
    assert (task["file"], task["file_sha256"]) == ("vqa.py:VQA", sha256(folder / "vqa.py"))
    assert built.returncode == 0, built.stderr
    assert "| vqa" in (folder / "boards" / "other.md").read_text()
    assert {name: cell.value for name, cell in run.cells.items()} == {
        name: cell["value"] for name, cell in summary["cells"].items()
    }
    (folder / "vqa.py").write_text((folder / "vqa.py").read_text().replace('name="vqa"', 'name="mmmu"'))
    assert "a task called 'mmmu' ships with aloe-bench" in aloe(*words).stderr
    assert "vqa.py has no 'VQ'. Did you mean VQA?" in aloe("run", "--model", "mock", "--tasks", "vqa.py:VQ").stderr


def test_a_changed_file_is_another_run(folder: Path, quick: Run) -> None:
    questions(folder)
    words = ("run", "--model", "rule", "--backend", "longest.py:Longest", "--tasks", "vqa.py:VQA", "--output", "runs")
    for name, field in (("vqa.py", "task"), ("longest.py", "model")):
        run = Path(asked(quick(*words, "--json", "--fresh"))["run"])
        (run / "summary.json").unlink()

        (folder / name).write_text((folder / name).read_text() + "# another file\n")
        done = quick(*words)

        assert done.returncode == 3 and f"{field}.file_sha256 was" in done.stderr


def test_an_attack(folder: Path, aloe: Run) -> None:
    source = write_source(folder / "source", 8)
    words = ("attack", "--source", source, "--type", "history.py:HISTORY,caption+history.py:HISTORY")

    done = [aloe(*words, "--output", f"w{n}", "--workers", n, "--strength", "history.times=2") for n in (1, 2)]
    manifest = attack_source(source, "python", attacks="history.py:HISTORY,caption+history.py:HISTORY",
                             strength=["history.times=2"])  # fmt: skip
    summary = asked(aloe("run", "--model", "mock", "--tasks", "heart:w1", "--output", "runs", "--json"))
    built = aloe("leaderboard", "build", "runs", "--output", "boards")

    assert [each.returncode for each in done] == [0, 0], done[1].stderr
    tables = [sha256(folder / name / "heart.parquet") for name in ("w1", "w2", "python")]
    assert tables == tables[:1] * 3
    assert manifest["attacks_from_outside"] == {"history": sha256(folder / "history.py")}
    assert manifest == json.loads((folder / "w1" / "manifest.json").read_text())
    assert Counter(entry["attack"] for entry in manifest["counts"])["caption+history"] >= 3
    assert {"classification/history", "detection/caption+history"} <= summary["cells"].keys()
    assert built.returncode == 0
    assert "Classification history" in (folder / "boards" / "miniature.md").read_text()


@pytest.mark.parametrize(
    ("change", "code", "told"),
    [
        (('stage="context"', 'stage="figure"'), 0, ""),
        (('"History: {line}', '"History: {lime}'), 3, "NameError"),
        (("$class_name.", "$clas_name."), 2, "lacks its placeholder $class_name"),
        (('"history",\n    history', '"caption",\n    history'), 2, "there is an attack 'caption' already"),
        (("from dataclasses", "from dataklasses"), 3, "history.py:3: cannot be loaded (ModuleNotFoundError"),
        (("replace(shown, ", "replace(shown, picture=shown.image.copy(), "), 3, "it changed the picture"),
    ],
)
def test_a_faulty_attack_is_one_message(
    folder: Path, quick: Run, change: tuple[str, str], code: int, told: str
) -> None:
    source, file = write_source(folder / "source", 4), folder / "history.py"
    assert change[0] in file.read_text()
    file.write_text(file.read_text().replace(*change))

    done = quick("attack", "--source", source, "--type", "history.py:HISTORY", "--output", "out", "--workers", 1)

    assert (done.returncode, told in done.stderr, "Traceback" in done.stderr) == (code, True, False), done.stderr
    assert (folder / "out").exists() == (code == 0)


def test_a_back_end(folder: Path, aloe: Run) -> None:
    words = ("run", "--model", "rule", "--backend", "longest.py:Longest", "--tasks", "careqa_vision_mcq",
             "--data-root", MINI, "--allow-partial", "--output", "runs")  # fmt: skip
    scored = aloe(*words, "--protocol", "logprob")
    assert scored.returncode == 2 and "no log-probabilities" in scored.stderr and not (folder / "runs").exists()

    summary = asked(aloe(*words, "--json", "--model-args", "shortest=true", "--name", "short"))
    spec = ModelSpec("rule", "longest.py:Longest", options={"shortest": True})
    run = evaluate(spec, "careqa_vision_mcq", data_root=MINI, allow_partial=True, output="again", name="short")

    for model in (header(summary["run"])["model"], run.header["model"]):
        assert model["backend"] == "longest.py:Longest" and model["file_sha256"] == sha256(folder / "longest.py")
        assert model["settings"] == {"rule": "shortest"}
    assert summary["model"] == run.summary["model"]
    assert run.cells["overall"].value == summary["cells"]["overall"]["value"]
    with pytest.raises(UsageError, match="no option 'shortes'"):
        evaluate(ModelSpec("rule", "longest.py:Longest", options={"shortes": True}), "careqa_vision_mcq",
                 data_root=MINI, allow_partial=True)  # fmt: skip


def test_a_judge(folder: Path, aloe: Run) -> None:
    words = ("run", "--model", "mock", "--tasks", "careqa_vision_open", "--data-root", MINI, "--allow-partial")

    summary = asked(aloe(*words, "--json", "--judges", "judges.toml", "--output", "runs"))
    run = evaluate("mock", "careqa_vision_open", data_root=MINI, allow_partial=True, output="again")
    judge(run, jury("judges.toml"))

    assert summary["cells"]["overall"]["value"] == 0.5
    for place in (Path(summary["run"]), run.folder):
        facts = json.loads((place / "judges.json").read_text())
        assert sha256(folder / "lenient.py") in json.dumps(facts)
        graded = json.loads((place / "summary.json").read_text())["jury"]
        assert graded["judges"]["lenient"]["missing"] == 0


def test_installed_packages_offer_theirs_by_name(folder: Path, quick: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    site = folder / "site"
    (site / "ours-1.0.dist-info").mkdir(parents=True)
    (site / "ours-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: ours\nVersion: 1.0\n")
    (site / "ours-1.0.dist-info" / "entry_points.txt").write_text(
        "[aloe_bench.tasks]\nvqa = ours_vqa:VQA\n[aloe_bench.attacks]\nhistory = ours_history:HISTORY\n"
        "[aloe_bench.backends]\nlongest = ours_longest:Longest\n"
    )
    for name in ("vqa", "history", "longest"):
        shutil.copy(folder / f"{name}.py", site / f"ours_{name}.py")
    monkeypatch.syspath_prepend(site)
    questions(folder)

    summary = asked(quick("run", "--model", "r", "--backend", "longest", "--tasks", "vqa", "--json"))
    made = quick("attack", "--source", write_source(folder / "source", 4), "--type", "history", "--output", "out")

    assert summary["cells"]["overall"]["n"] == 12 and made.returncode == 0
    assert header(summary["run"])["task"]["file"] == "ours_vqa:VQA"
    assert "ours_longest:Longest" in json.dumps(header(summary["run"])["model"])
    assert "Known:" in quick("run", "--model", "r", "--backend", "longst", "--tasks", "vqa").stderr


def test_a_known_kind_wins_over_a_module_of_its_name(folder: Path, quick: Run) -> None:
    (folder / "heart.py").write_text("raise SystemExit('loaded')")

    done = quick("run", "--model", "mock", "--tasks", "heart:nowhere")

    assert done.returncode == 3 and "nowhere" in done.stderr and "loaded" not in done.stderr


@pytest.mark.slow
def test_a_back_end_on_a_ray_cluster(folder: Path, aloe: Run) -> None:
    pytest.importorskip("ray")
    questions(folder)
    words = ("run", "--model", "rule", "--backend", "longest.py:Longest", "--tasks", "vqa.py:VQA", "--json")

    here = asked(aloe(*words, "--output", "here"))
    there = asked(aloe(*words, "--output", "there", "--ray", "--replicas", "2"))

    assert here["cells"].keys() == there["cells"].keys()
    assert header(there["run"])["model"]["file_sha256"] == sha256(folder / "longest.py")
    assert [cell["value"] for cell in here["cells"].values()] == [cell["value"] for cell in there["cells"].values()]
