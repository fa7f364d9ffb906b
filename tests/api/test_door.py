"""The package from Python: every public name is there and callable, and `import aloe_bench` costs nothing."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import aloe_bench
from aloe_bench import Cell, ModelSpec, Run, UsageError, compare, evaluate, judge, leaderboard
from aloe_bench.evaluation import runlog
from aloe_bench.models.mock import MockModel
from aloe_bench.registry import task
from tests.conftest import MINI
from tests.support.judge_server import judge_server
from tests.support.jury import judges_file, mock_table, served_table

# Trained, and known for a miniature by its config.json.
TINY = Path(aloe_bench.__file__).parent / "miniature" / "base"
HEAVY = ("torch", "numpy", "PIL", "pandas", "scipy", "click", "pyarrow", "openai", "rich")


def _python(code: str, folder: Path) -> str:
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_loads_nothing_heavy_and_no_room(tmp_path):
    loaded = _python("import sys, aloe_bench; dir(aloe_bench); print(*sys.modules)", tmp_path).split()
    assert not set(HEAVY) & set(loaded)
    assert [name for name in loaded if name.startswith("aloe_bench")] == ["aloe_bench"]


def _all_callable_after_importing(names: list[str], folder: Path) -> bool:
    code = (
        "import importlib, aloe_bench\n"
        f"for name in {names!r}:\n"
        "    try:\n"
        "        importlib.import_module(name)\n"
        "    except ImportError as error:\n"
        "        assert not str(error.name or '').startswith('aloe_bench'), error\n"
        "for name in aloe_bench.__all__:\n"
        "    assert callable(getattr(aloe_bench, name)), name\n"
        "print('all callable')\n"
    )
    return _python(code, folder).strip().endswith("all callable")


def test_no_room_takes_the_place_of_a_public_name(tmp_path):
    """A package aloe_bench.evaluate would replace the function as soon as anything imported it."""
    rooms = [info.name for info in pkgutil.iter_modules(aloe_bench.__path__, "aloe_bench.")]
    assert len(rooms) > 15
    assert _all_callable_after_importing(rooms, tmp_path)


@pytest.mark.slow
def test_every_module_can_be_imported_and_every_public_name_is_still_callable(tmp_path):
    names = [
        info.name
        for info in pkgutil.walk_packages(aloe_bench.__path__, "aloe_bench.")
        if not info.name.endswith((".child", "__main__"))
    ]
    assert len(names) > 150
    assert _all_callable_after_importing(names, tmp_path)


def test_every_public_name_says_what_it_is():
    for name in aloe_bench.__all__:
        assert (getattr(aloe_bench, name).__doc__ or "").strip(), name
    with pytest.raises(AttributeError, match="no attribute 'evaluat'"):
        aloe_bench.evaluat  # noqa: B018


def test_a_wheel_says_that_it_is_typed():
    assert (Path(aloe_bench.__file__).parent / "py.typed").is_file()


def test_evaluate_gives_what_the_command_gives(quick, tmp_path):
    told = json.loads(
        quick("run", "--model", "mock", "--model-args", "accuracy=0.7,verbose=0.5", "--tasks", "careqa_vision_mcq",
              "--data-root", MINI, "--allow-partial", "--json").stdout
    )[0]  # fmt: skip
    spec = ModelSpec("mock", options={"accuracy": 0.7, "verbose": 0.5})

    run = evaluate(spec, "careqa_vision_mcq", data_root=MINI, output=tmp_path / "lib", allow_partial=True)

    assert isinstance(run, Run) and isinstance(run.cells["overall"], Cell)
    assert run.cells["overall"].value == told["cells"]["overall"]["value"]
    assert list(run.cells) == list(told["cells"])
    by_command = runlog.read_records(tmp_path / told["run"])
    assert [(r.sample_id, r.prediction.text, r.score) for r in run.records()] == [
        (r.sample_id, r.prediction.text, r.score) for r in by_command
    ]
    assert (run.folder / "summary.json").is_file() and Run.read(run.folder).cells == run.cells


def test_several_tasks_objects_and_a_model_of_ones_own(tmp_path):
    mcq = task("careqa_vision_mcq")
    runs = evaluate("mock", [mcq, "careqa_vision_open"], data_root=MINI, output=tmp_path, allow_partial=True)
    assert [run.header["task"]["name"] for run in runs] == ["careqa_vision_mcq", "careqa_vision_open"]
    assert runs[0].cells["overall"].value == 1.0 and runs[1].cells["overall"].unjudged == 10


def test_a_mock_or_miniature_given_as_an_object_stands_on_no_page_of_models(tmp_path):
    root, output = MINI, tmp_path / "runs"
    key = {sample.id: (sample.target, None) for sample in task("careqa_vision_mcq").load(root)}
    run = evaluate(MockModel(key), "careqa_vision_mcq", data_root=root, output=output, allow_partial=True)

    class Tiny(MockModel):
        folder = TINY

        def describe(self):
            return {**super().describe(), "backend": "hf"}

    tiny = evaluate(Tiny(key, name="tiny"), "careqa_vision_mcq", data_root=root, output=output, allow_partial=True)
    pages = {
        page.name: page.read_text() for page in leaderboard([run, tiny], tmp_path / "boards") if page.suffix == ".md"
    }

    for called in (run.header["model"]["name"], tiny.header["model"]["name"]):
        assert [name for name, text in pages.items() if f"| {called}" in text] == ["miniature.md"]


def test_judge_compare_and_leaderboard_follow_from_runs(tmp_path):
    good, bad = (
        evaluate(ModelSpec("mock", options={"accuracy": share}), "careqa_vision_open", data_root=MINI,
                 output=tmp_path / "runs", allow_partial=True)
        for share in (1.0, 0.2)
    )  # fmt: skip
    jury = judges_file(tmp_path / "judges.toml", *(mock_table(name) for name in "abc"))
    good, bad = judge(good, jury), judge(bad.folder, jury)

    (row,) = compare(good, bad)["rows"]
    pages = leaderboard([good, bad], tmp_path / "boards")

    assert good.cells["overall"].value == 1.0 and row["value"] == bad.cells["overall"].value - 1.0 < 0
    assert "graded by a, b, c" in next(page for page in pages if page.name == "miniature.md").read_text()


def test_an_open_answer_that_was_cut_is_not_judged_and_bounds_stand_beside_the_grade(tmp_path):
    model = ModelSpec("mock", options={"accuracy": 1.0, "cut": 0.5, "seed": 2})
    run = evaluate(model, "careqa_vision_open", data_root=MINI, output=tmp_path / "runs", allow_partial=True)
    lines = (run.folder / "records.jsonl").read_text()
    # As a log of before says it: whole, and waiting for a jury.
    cut = '"value":0.0,"parsed":null,"rule":"unread: cut","verdicts":[],"outcome":"cut"'
    waiting = '"value":null,"parsed":null,"rule":"unjudged","verdicts":[],"outcome":"answered"'
    assert lines.count(cut) == 4
    (run.folder / "records.jsonl").write_text(lines.replace(cut, waiting))

    judged = judge(run, judges_file(tmp_path / "judges.toml", *(mock_table(name) for name in "abc")))

    cell = judged.cells["overall"]
    assert (cell.cut, cell.answered, cell.n, cell.value) == (4, 6, 10, 0.6) and cell.bounds == (0.6, 1.0)
    assert len((run.folder / "verdicts.jsonl").read_text().splitlines()) == 3 * 6


def test_a_judges_key_is_handed_over_and_never_written(tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    run = evaluate("mock", "careqa_vision_open", data_root=MINI, output=tmp_path / "runs", allow_partial=True)
    with judge_server() as server:
        table = served_table("a", server.url) | {"api_key_env": "THE_KEY"}
        jury = judges_file(tmp_path / "judges.toml", table)
        with pytest.raises(UsageError, match="Judge a: the environment has no THE_KEY"):
            judge(run, jury)
        graded = judge(run, jury, keys={"THE_KEY": "sk-planted"})
        assert "sk-planted" in json.dumps(server.stats()["bodies"])
    assert graded.summary["jury"]["missing"] == 0
    assert all("sk-planted" not in path.read_text() for path in graded.folder.iterdir())


def test_an_option_that_a_back_end_does_not_have_is_named_with_the_nearest(quick, tmp_path):
    run = ("run", "--tasks", "careqa_vision_mcq", "--data-root", MINI, "--allow-partial", "--model")
    (tmp_path / "tiny").mkdir()
    for words, said in (
        (("mock", "--model-args", "acuracy=0.5"), "back end mock has no option 'acuracy'. Did you mean accuracy?"),
        (("tiny", "--model-args", "dtyp=float32"), "back end hf has no option 'dtyp'. Did you mean dtype?"),
        (("m", "--base-url", "http://127.0.0.1:9/v1", "--model-args", "timout=3"), "Did you mean timeout?"),
        (("m", "--backend", "openai"), "needs --base-url"),
    ):
        done = quick(*run, *words)
        assert done.returncode == 2 and said in done.stderr, done.stderr
    jury = judges_file(tmp_path / "judges.toml", mock_table("a", acuracy=0.5))
    done = quick("judge", "--injections", "1", "--judges", jury)
    assert done.returncode == 2 and "Judge a: back end mock has no option 'acuracy'." in done.stderr
    assert not list(tmp_path.rglob("run.json"))


def test_a_closed_run_imports_no_bridge_no_jury_and_nothing_of_heart(tmp_path):
    code = (
        "import sys\n"
        "from aloe_bench.cli.main import main\n"
        "sys.argv = ['aloe-bench', 'run', '--model', 'mock', '--tasks', 'careqa_vision_mcq', '--allow-partial',"
        f" '--json', '--data-root', {str(MINI)!r}]\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    assert not end.code\n"
        "rooms = ('bridges.', 'judges.', 'heart.', 'boards.', 'training.', 'miniature.')\n"
        "print('LOADED', [name for name in sys.modules if name.startswith(tuple('aloe_bench.' + r for r in rooms))])\n"
    )
    assert _python(code, tmp_path).strip().endswith("LOADED []")


class Echo:
    """A back end of a user's own without log-probabilities."""

    name, fingerprint = "echo", "e" * 64

    def describe(self) -> dict[str, object]:
        return {"backend": "own"}

    def generate(self, requests, decoding):
        from aloe_bench.core import Prediction

        return (Prediction(request.id, "B", "stop") for request in requests)


def test_what_a_model_cannot_do_is_refused_before_a_run_has_a_folder(quick, tmp_path):
    common = {"data_root": MINI, "output": tmp_path / "runs", "allow_partial": True}
    with pytest.raises(UsageError, match="echo: this back end has no log-probabilities; use --protocol generate"):
        evaluate(Echo(), "careqa_vision_mcq", protocol="logprob", **common)
    assert not (tmp_path / "runs").exists()
    assert evaluate(Echo(), "careqa_vision_mcq", **common).summary["n"] == 16  # nothing stands in its way
    # What asks elsewhere builds the model there; an object cannot go along.
    with pytest.raises(UsageError, match="give its folder or a ModelSpec"):
        evaluate(Echo(), "careqa_vision_mcq", ray="local", **common)
    with pytest.raises(UsageError, match="expected native or vlmeval"):
        evaluate("mock", "careqa_vision_mcq", engine="vlm", **common)  # type: ignore[call-overload]

    # Of several tasks, the first would have run before the second was refused.
    done = quick("run", "--model", "mock", "--suite", "careqa_vision", "--protocol", "logprob", "--data-root", MINI,
                 "--allow-partial", "--output", "both")  # fmt: skip
    assert done.returncode == 2 and "careqa_vision_open: an open question has no options" in done.stderr
    assert not (tmp_path / "both").exists()


@pytest.mark.parametrize("name", ["evaluate_checkpoint"])
def test_a_checkpoint_is_evaluated_in_fewer_than_fifteen_lines(name):
    text = (Path(__file__).parents[2] / "examples" / f"{name}.py").read_text()
    assert len(text.splitlines()) < 15


def test_the_modules_behind_the_public_names_are_those_that_the_type_checker_is_told():
    for name in aloe_bench.__all__:
        found = getattr(aloe_bench, name)
        assert getattr(importlib.import_module(found.__module__), name) is found
