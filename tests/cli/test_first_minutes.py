"""What somebody meets in the first ten minutes: a missing extra, a finished run, folders for runs, narrow terminals."""

from __future__ import annotations

import json
import os
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

import pytest

from aloe_bench.cli.compare import show as show_comparison
from aloe_bench.cli.summary import show
from aloe_bench.errors import extras
from aloe_bench.evaluation.runlog import find_run
from tests.boards.test_facts import own_rows
from tests.boards.test_leaderboard import record, run_folder
from tests.conftest import MINI
from tests.support.heart_tables import Source, rows, write_folder

RUN = ("run", "--model", "mock", "--data-root", MINI, "--allow-partial")


def without(folder: Path, package: str) -> str:
    """Return a PYTHONPATH on which `package` is not installed, as far as an import can tell."""
    (folder / "none" / package).mkdir(parents=True)
    (folder / "none" / package / "__init__.py").write_text(
        f"raise ModuleNotFoundError(\"No module named '{package}'\", name={package!r})\n"
    )
    return str(folder / "none")


BACK_END = """
class Ours:
    def __init__(self, model, *, name=""):
        import deepspeed
"""


@pytest.mark.skipif(find_spec("deepspeed") is not None, reason="deepspeed is installed")
def test_a_package_of_an_extra_that_is_not_there_is_one_line_and_exit_3(quick, tmp_path):
    (tmp_path / "ours.py").write_text(BACK_END)

    done = quick("run", "--model", "x", "--backend", "ours.py:Ours", *RUN[3:], "--tasks", "careqa_vision_mcq")

    assert done.returncode == 3
    assert "needs deepspeed, which is not installed. Run: pip install 'aloe-bench[cluster]'" in done.stderr


def test_packages_of_extras_are_looked_for_under_the_names_that_they_are_imported_by(quick):
    installed = {entry.metadata["Name"].lower().replace("_", "-") for entry in distributions()}

    missing = json.loads(quick("doctor", "--json").stdout)["missing"]

    assert [*extras()][-2:] == ["dev", "docs"]  # whoever lacks a package is sent to an extra of users first
    wanted = {extra: {*brought.values()} - installed for extra, brought in extras().items()}
    assert {extra: {*names} for extra, names in missing.items()} == {e: names for e, names in wanted.items() if names}


@pytest.mark.slow
def test_a_jury_that_could_not_be_reached_makes_room_for_one_that_can(quick, tmp_path):
    gone = "".join(
        f'[[judge]]\nname = "{name}"\nbackend = "openai"\nmodel = "{name}"\nbase_url = "http://127.0.0.1:9/v1"\n'
        "[judge.options]\nattempts = 1\n"
        for name in "abc"
    )
    (tmp_path / "gone.toml").write_text(gone)
    assert quick(*RUN, "--name", "m", "--tasks", "careqa_vision_open").returncode == 0
    run = "runs/m/careqa_vision_open"

    nobody = quick("judge", run, "--judges", "gone.toml")
    there = quick("judge", run, "--judges", MINI.parent / "judges_mini.toml")
    another = quick("judge", run, "--judges", "gone.toml")

    assert nobody.returncode == 1 and "0 of 10 graded" in nobody.stdout
    assert there.returncode == 0 and "10 of 10 graded" in there.stdout, there.stderr
    assert another.returncode == 3 and "by another jury" in another.stderr


def test_a_run_folder_that_is_not_there_is_answered_with_one_that_is(quick, tmp_path):
    (tmp_path / "runs/m/careqa_vision_mcq").mkdir(parents=True)

    done = quick("rescore", "runs/m/careqa_vision_mqc")

    assert done.returncode == 3 and "Did you mean careqa_vision_mcq?" in done.stderr


def test_a_task_of_somebody_s_own_is_not_sent_to_the_hub(quick, tmp_path):
    (tmp_path / "vqa.py").write_text((Path(__file__).parents[2] / "examples/extend/vqa.py").read_text())

    own = quick("run", "--model", "mock", "--tasks", "vqa.py:VQA")
    shipped = quick("run", "--model", "mock", "--tasks", "slake")

    assert own.returncode == shipped.returncode == 3
    assert "questions.jsonl" in own.stderr and "data fetch" not in own.stderr
    assert "data fetch slake" in shipped.stderr


@pytest.mark.slow
def test_without_torch_a_checkpoint_is_one_line_and_exit_3(aloe, tmp_path):

    path = f"{without(tmp_path, 'torch')}:{os.environ.get('PYTHONPATH', '')}"

    done = aloe("run", "--model", Path(__file__).parents[2] / "aloe_bench/miniature/base", *RUN[3:],
                "--tasks", "careqa_vision_mcq", PYTHONPATH=path)  # fmt: skip

    assert done.returncode == 3, done.stderr
    assert done.stderr.strip().splitlines()[-1] == (
        "Error: this needs torch, which is not installed. Run: pip install 'aloe-bench[hf]'"
    )
    assert not (tmp_path / "runs").exists()


def test_a_finished_run_is_not_asked_again_and_fresh_asks_it(quick, tmp_path):
    words = (*RUN, "--tasks", "careqa_vision_mcq", "--json")
    first, second = quick(*words), quick(*words)
    fresh, other = quick(*words, "--fresh"), quick(*words, "--seed", "1")

    runs = [json.loads(done.stdout)[0]["run"] for done in (first, second, fresh, other)]
    assert runs[0] == runs[1] and len(set(runs)) == 3
    assert f"Already finished, and not asked again: {runs[0]}. --fresh starts another run." in second.stderr
    assert json.loads(second.stdout)[0]["already_finished"] and "lready finished" not in first.stderr + fresh.stderr
    # An interrupted run of other settings is not a hindrance.
    (tmp_path / runs[3] / "summary.json").unlink()
    assert json.loads(quick(*words).stdout)[0]["run"] in (runs[0], runs[2])


def test_every_line_of_the_loop_twice_gives_the_same_pages(quick, tmp_path):
    judges = Path(__file__).parents[1] / "data" / "judges_mini.toml"
    loop = (
        (*RUN, "--model-args", "accuracy=0.6,partial=0.4,seed=2", "--name", "demo", "--tasks", "careqa_vision_open"),
        ("judge", "runs/demo/careqa_vision_open", "--judges", judges),
        ("leaderboard", "build", "runs", "--output", "out"),
    )
    pages = []
    for lines in (loop, [line for line in loop for _ in range(2)], loop[:1], loop[2:]):
        for line in lines:
            assert quick(*line).returncode == 0, line
        there = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
        pages.append({str(path.relative_to(tmp_path / "out")): path.read_bytes() for path in there})

    assert b"graded by ada, bea, cleo" in pages[0]["miniature.md"] and "leaderboard.csv" in pages[0]
    assert pages[0] == pages[1] == pages[2] == pages[3]


def test_a_folder_of_runs_stands_for_the_newest_finished_one(quick, tmp_path):
    for name in ("b", "a", "c"):
        run_folder(tmp_path / "runs/m/task" / name, "m", "task", [record(0, 1.0)])
    assert find_run(tmp_path / "runs/m/task/a") == tmp_path / "runs/m/task/a"
    refused = quick("judge", "runs/m/task")
    assert refused.returncode == 3 and "none of its 3 runs is finished" in refused.stderr
    for name in ("b", "a"):
        (tmp_path / "runs/m/task" / name / "summary.json").write_text("{}")
    assert find_run(tmp_path / "runs/m/task").name == find_run(tmp_path / "runs/m").name == "b"
    run_folder(tmp_path / "runs/m/other/a", "m", "other", [record(0, 1.0)])
    refused = quick("compare", "runs/m", "runs/m/task/a")
    assert refused.returncode == 3 and "holds runs of 2 tasks" in refused.stderr


def test_annotate_remembers_where_the_data_are(quick, tmp_path, monkeypatch):
    pytest.importorskip("starlette")
    assert quick(*RUN, "--tasks", "careqa_vision_open", "--name", "m").returncode == 0
    monkeypatch.setattr("aloe_bench.cli.annotate.serve_page", lambda store, items, *rest: print(len(items), "items"))

    assert "10 items" in quick("annotate", "runs/m/careqa_vision_open", "--raters", "a,b").stdout
    assert quick("data", "template", "open", "own").returncode == 0
    assert quick("run", "--model", "mock", "--tasks", "open:own/questions.csv", "--name", "m").returncode == 0
    assert "2 items" in quick("annotate", "runs/m/open-questions", "--raters", "a,b").stdout


def test_a_narrow_terminal_keeps_the_names_of_rows(quick, tmp_path, monkeypatch, capsys):
    folder = write_folder(tmp_path / "a", rows([Source("brain", 6, 2)], attacks=("caption", "prompt")))
    done = quick("run", "--model", "mock", "--model-args", "accuracy=0.9", "--tasks", f"heart:{folder}", "--json")
    summaries = json.loads(done.stdout)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    show(summaries)

    shown = capsys.readouterr().out
    assert all(f"classification/{attack}" in shown for attack in ("caption", "prompt"))


def test_a_comparison_in_a_narrow_terminal_cuts_neither_names_nor_numbers(quick, tmp_path, monkeypatch, capsys):
    folder = write_folder(tmp_path / "a", rows([Source("brain", 6, 2)], attacks=("sycophancy",)))
    for name in ("one", "two"):
        quick("run", "--model", "mock", "--model-args", "follow=0.5", "--name", name, "--tasks", f"heart:{folder}")
    (task,) = (path.name for path in (tmp_path / "runs/one").iterdir())
    compared = json.loads(quick("compare", f"runs/one/{task}", f"runs/two/{task}", "--json").stdout)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    show_comparison(compared)

    shown = capsys.readouterr().out
    assert "classification/sycophancy" in shown and "…" not in shown
    assert "A terminal of 120 columns also shows p, interval (family), MDE" in shown


def test_many_unread_replies_are_told_and_not_ranked(quick, tmp_path):
    from aloe_bench.boards.build import build
    from aloe_bench.core import Prediction, Score

    unread = [
        record(i, 0.0, prediction=Prediction("", "I see a lung", "stop"), score=Score(0.0, None, "unread: no option"))
        for i in range(3)
    ]
    read = [record(i, 1.0) for i in range(3, 10)]
    for name, records in (("many", [*unread, *read]), ("few", [*unread[:1], *read])):
        build([run_folder(tmp_path / name, name, "careqa_vision_mcq", records)], tmp_path / "out")

    page = own_rows(tmp_path / "out/careqa_vision.md")
    assert "70.00◊" in page["many"][2] and "many unread◊" in page["many"][-1]
    assert page["few"][2].startswith("**87.50**")
    assert "◊ More than 20% of the replies name no option" in (tmp_path / "out/careqa_vision.md").read_text()
    told = quick(*RUN, "--model-args", "mumble=1", "--tasks", "careqa_vision_mcq").stdout
    assert "Caution: careqa_vision_mcq: Unread: overall 16 of 16 (100.0 %)" in told and "The first, " in told


@pytest.mark.parametrize("before", [True, False])
def test_a_config_file_stands_before_or_behind_the_verb(quick, tmp_path, before):
    (tmp_path / "c.toml").write_text('[run]\nmodel = "mock"\nlimit = 3\nallow-partial = true\n')
    words = ("run", "--data-root", MINI, "--tasks", "careqa_vision_mcq", "--json")
    config = ("--config", "c.toml")

    done = quick(*config, *words) if before else quick(*words, *config)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["n"] == 3
    (tmp_path / "g.toml").write_text("[data.check]\njson = true\n")
    (tmp_path / "q.csv").write_text("question,A,B,answer\nWhich?,a,b,A\n")
    given = ("--config", "g.toml")
    words = ("data", "check", "mcq:q.csv")
    done = quick(*given, *words) if before else quick(*words, *given)
    assert done.returncode == 0 and json.loads(done.stdout)["questions"] == 1, done.stderr
    (tmp_path / "g.toml").write_text("[data.chek]\njson = true\n")
    wrong = quick(*given, *words)
    assert wrong.returncode == 2 and "[data.chek] is not a command of data" in wrong.stderr
    wrong = quick("run", "--config", "c.toml", "--tasks", "medical")
    assert wrong.returncode == 2 and "use --suite medical" in wrong.stderr
