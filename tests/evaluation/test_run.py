"""The main job by its public door: files, exit codes, messages, numbers."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from aloe_bench.evaluation.runlog import read_run
from tests.conftest import MINI, closed_rows

MOCK = ("run", "--model", "mock", "--tasks", "careqa_vision_mcq", "--allow-partial")


def only_run(root: Path) -> Path:
    (header,) = root.rglob("run.json")
    return header.parent


def untimed(folder: Path) -> list[object]:
    from dataclasses import asdict, replace

    return [asdict(replace(r, prediction=replace(r.prediction, seconds=None))) for r in read_run(folder)[1]]


def test_a_whole_set_runs_unmarked_and_scores_what_the_model_knows(aloe, closed, tmp_path):
    root = closed(closed_rows(165))

    done = aloe("run", "--model", "mock", "--tasks", "careqa_vision_mcq", "--data-root", root, "--json")

    assert done.returncode == 0, done.stderr
    (summary,) = json.loads(done.stdout)
    assert (summary["n"], summary["partial"], summary["failed"]) == (165, False, 0)
    assert summary["cells"]["overall"]["value"] == 1.0
    assert (summary["cells"]["nursing"]["n"], summary["cells"]["medicine"]["n"]) == (42, 123)


def test_another_row_count_is_refused_unless_asked_for_and_then_marked(aloe, closed):
    root = closed(closed_rows(12))

    refused = aloe("run", "--model", "mock", "--tasks", "careqa_vision_mcq", "--data-root", root)
    marked = aloe(*MOCK, "--data-root", root)

    assert refused.returncode == 3
    assert "12 rows" in refused.stderr
    assert "expected 165" in refused.stderr
    assert "--allow-partial" in refused.stderr
    assert marked.returncode == 0
    assert "(partial)" in marked.stdout


def test_failures_have_no_score_end_in_exit_1_and_are_retried(aloe, closed, tmp_path):
    root = closed(closed_rows(40))

    done = aloe(*MOCK, "--data-root", root, "--model-args", "failure=0.5", "--json")

    assert done.returncode == 1
    (summary,) = json.loads(done.stdout)
    assert 5 < summary["failed"] < 35
    assert summary["cells"]["overall"]["value"] is None
    _, records = read_run(only_run(tmp_path / "runs"))
    assert {r.score.value for r in records if r.prediction.finish == "error"} == {None}
    assert not (only_run(tmp_path / "runs") / "summary.json").exists()
    again = aloe(*MOCK, "--data-root", root, "--model-args", "failure=0.5", "--max-failed", "1")
    assert again.returncode == 0
    assert len(list((tmp_path / "runs").rglob("run.json"))) == 1


def test_refusals_are_wrong_and_counted_as_refused(aloe, closed):
    root = closed(closed_rows(40))

    done = aloe(*MOCK, "--data-root", root, "--model-args", "refusal=1", "--json")

    cell = json.loads(done.stdout)[0]["cells"]["overall"]
    assert (cell["value"], cell["refused"], cell["unread"], cell["failed"]) == (0.0, 40, 0, 0)


@pytest.mark.parametrize(
    ("words", "named"), [("follow=often", "follow is 'often'"), ("accuracy=1.5", "accuracy is 1.5")]
)
def test_a_mock_that_cannot_be_is_refused_before_a_run_begins(words, named, aloe, closed, tmp_path):
    done = aloe(*MOCK, "--data-root", closed(closed_rows(8)), "--model-args", words)
    assert done.returncode == 3 and named in done.stderr
    assert not list(tmp_path.rglob("run.json"))


def test_a_number_may_begin_with_its_point(aloe, closed, tmp_path):
    aloe(*MOCK, "--data-root", closed(closed_rows(8)), "--model-args", "accuracy=.5")
    (header,) = tmp_path.rglob("run.json")
    assert json.loads(header.read_text())["model"]["settings"]["accuracy"] == 0.5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--max-new-tokens", "7"), "decoding"),
        (("--seed", "5"), "seed"),
        (("--name", "other-name"), None),
    ],
)
def test_resuming_under_other_conditions_is_refused_by_name(aloe, closed, tmp_path, words, said):
    root = closed(closed_rows(40))
    aloe(*MOCK, "--data-root", root, "--model-args", "failure=0.5", "--name", "m")

    again = aloe(*MOCK, "--data-root", root, "--model-args", "failure=0.5", "--name", "m", *words)

    if said is None:
        assert again.returncode == 1  # another row of the table: a run of its own, with the same planted failures
    else:
        assert again.returncode == 3
        assert said in again.stderr
        assert "--fresh" in again.stderr


def test_resuming_on_changed_data_or_with_another_model_is_refused(aloe, closed):
    rows = closed_rows(40)
    aloe(*MOCK, "--data-root", closed(rows), "--model-args", "failure=0.5", "--name", "m")
    rows[3]["question"] = "Another question?"

    data = aloe(*MOCK, "--data-root", closed(rows), "--model-args", "failure=0.5", "--name", "m")
    model = aloe(*MOCK, "--data-root", closed(closed_rows(40)), "--model-args", "failure=0.4", "--name", "m")

    assert (data.returncode, model.returncode) == (3, 3)
    assert "task.data_sha256" in data.stderr
    assert "prompt_sha256" in data.stderr
    assert "model.fingerprint" in model.stderr


def test_three_shards_merged_in_any_order_equal_the_whole_run(aloe, closed, tmp_path):
    root = closed(closed_rows(60))
    arguments = (*MOCK, "--data-root", root, "--model-args", "accuracy=0.6,verbose=0.3")
    aloe(*arguments, "--output", tmp_path / "whole")
    for i in (1, 2, 3):
        assert aloe(*arguments, "--shard", f"{i}/3", "--output", tmp_path / f"part{i}").returncode == 0
    parts = [only_run(tmp_path / f"part{i}") for i in (3, 1, 2)]

    missing = aloe("merge", *parts[:2], "--output", tmp_path / "short")
    merged = aloe("merge", *parts, "--output", tmp_path / "merged")

    assert missing.returncode == 3
    assert "shard is missing" in missing.stderr
    assert merged.returncode == 0, merged.stderr
    assert untimed(tmp_path / "merged") == untimed(only_run(tmp_path / "whole"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cop": 0}, "cop 0 is not one of 1-4"),
        ({"cop": float("nan")}, "cop nan is not one of 1-4"),
        ({"unique_id": "row-0"}, "occurs twice"),
        ({"image": None}, "no image; looked for image"),
        ({"image": "../../etc/passwd.png"}, "leaves the data folder"),
        ({"image": "gone.png"}, "not found"),
        ({"image": "????"}, "neither a path to an image nor base64"),
        ({"op2": ""}, "field 'op2'"),
        ({"category": "Law"}, "neither Medicine nor Nursing"),
    ],
)
def test_a_broken_row_is_named_and_nothing_is_written(aloe, closed, tmp_path, change, said):
    rows = closed_rows(6)
    rows[4].update(change)

    done = aloe(*MOCK, "--data-root", closed(rows))

    assert done.returncode == 3
    assert said in done.stderr
    assert "row 5" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_options_that_read_none_or_na_survive(aloe, closed):
    rows = closed_rows(1)
    rows[0] |= {"op1": "None", "op2": "NA", "op3": "nan", "op4": "null"}

    shown = aloe(*MOCK, "--data-root", closed(rows), "--dry-run")

    assert "A. None\nB. NA\nC. nan\nD. null\n" in shown.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("run", "--model", "mock", "--tasks", "careqa_vision_mqc"), 2, "Did you mean careqa_vision_mcq?"),
        (("rnu",), 2, "Did you mean run?"),
        (("run", "--model", "mock", "--tasks", "careqa-vision-mcq"), 3, "CareQA-Vis_close.json; looked in"),
        (("run", "--model", "mock"), 2, "--tasks"),
        (("leaderboard", "build", "nowhere"), 3, "no finished run (run.json)"),
        ((*MOCK, "--shard", "4/3"), 2, "expected i/n"),
    ],
)
def test_a_mistake_ends_in_one_message_and_its_exit_code(aloe, words, code, said):
    done = aloe(*words)

    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_is_no_checkpoint_is_refused(aloe, closed, tmp_path):
    (tmp_path / "empty").mkdir()

    for folder in ("empty", "missing"):
        done = aloe(
            "run", "--model", tmp_path / folder, "--backend", "hf", "--tasks", "careqa_vision_mcq",
            "--data-root", closed(closed_rows(3)), "--allow-partial",
        )  # fmt: skip
        assert done.returncode == 3, done.stderr
        assert folder in done.stderr
        assert "Traceback" not in done.stderr


def test_a_planted_key_reaches_no_artefact(aloe, closed, tmp_path):
    key = "sk-planted-0123456789"
    done = aloe(*MOCK, "--data-root", closed(closed_rows(3)), "--api-key", key, OPENAI_API_KEY=key)

    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert done.returncode == 0
    assert files
    assert not [path for path in files if key in path.read_text(errors="replace")]
    assert key not in done.stdout + done.stderr


def test_hostile_names_stay_in_the_output_folder(aloe, closed, tmp_path):
    root = closed(closed_rows(3))
    before = set(tmp_path.iterdir())
    for name in ("../../x", "=cmd|calc", "a|b", "new\nline", "\u202etxt", "n" * 300, "..", "/etc/x"):
        done = aloe(*MOCK, "--data-root", root, "--name", name, "--output", tmp_path / "runs")
        assert done.returncode == 0, (name, done.stderr)

    assert set(tmp_path.iterdir()) == before | {tmp_path / "runs"}
    assert len(list((tmp_path / "runs").rglob("run.json"))) == 8


def test_help_is_light():
    code = (
        "import sys, time\n"
        "import aloe_bench.cli.main\n"
        "heavy = {'torch', 'transformers', 'numpy', 'pandas', 'PIL', 'scipy', 'statsmodels', 'openai', 'jinja2'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_the_real_images_run_to_a_leaderboard_page(aloe, tmp_path):
    for task in ("careqa_vision_mcq", "careqa_vision_open"):
        done = aloe("run", "--model", "mock", "--tasks", task, "--data-root", MINI, "--allow-partial",
                    "--model-args", "decode=true")  # fmt: skip
        assert done.returncode == 0, done.stderr

    built = aloe("leaderboard", "build", "runs", "--output", "boards")

    assert built.returncode == 0, built.stderr
    assert "100.00" in (tmp_path / "boards" / "miniature.md").read_text()
    assert "mock-" not in (tmp_path / "boards" / "careqa_vision.md").read_text()
    assert aloe("leaderboard", "verify", "boards").returncode == 0
    page = tmp_path / "boards" / "miniature.md"
    page.write_text(page.read_text().replace("100.00", "99.00"))
    assert aloe("leaderboard", "verify", "boards").returncode == 4


@pytest.mark.alone
def test_help_answers_within_three_tenths_of_a_second(aloe):
    def seconds() -> float:
        # Of the CPU: a loaded machine is not the command's doing.
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert "Commands" in aloe("--help").stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(5)) < 0.3


def test_flag_beats_environment_beats_config_file_and_the_header_tells(aloe, closed, tmp_path):
    root = closed(closed_rows(3))
    (tmp_path / "c.toml").write_text('[run]\nmax-new-tokens = 11\nseed = 7\nmodel = "mock"\nallow_partial = true\n')
    words = ("--config", "c.toml", "run", "--tasks", "careqa_vision_mcq", "--data_root", root, "--max_failed", "0.5")

    done = aloe(*words, "--name", "flag", ALOE_BENCH_RUN_SEED="8", ALOE_BENCH_RUN_NAME="environment")

    assert done.returncode == 0, done.stderr
    header, _ = read_run(only_run(tmp_path / "runs"))
    assert (header["decoding"]["max_new_tokens"], header["seed"], header["model"]["name"]) == (11, 8, "flag")
    assert header["asked"]["options"]["max_failed"] == 0.5


def test_a_config_file_with_an_unknown_option_is_refused(aloe, tmp_path):
    (tmp_path / "c.toml").write_text("[run]\nmax-new-tokenz = 11\n")

    done = aloe("--config", "c.toml", "run", "--model", "mock")

    assert done.returncode == 2
    assert "max_new_tokenz" in done.stderr
    assert "Did you mean max_new_tokens?" in done.stderr


def test_a_compat_parser_has_a_labelled_row_of_its_own(aloe, closed, tmp_path):
    root = closed(closed_rows(12))
    for parser in ("strict", "strict2", "vlmeval"):
        done = aloe(*MOCK, "--data-root", root, "--name", "m", "--parser", parser)
        assert done.returncode == 0, done.stderr

    assert aloe("leaderboard", "build", "runs", "--output", "boards").returncode == 0

    page = (tmp_path / "boards" / "miniature.md").read_text()
    rows = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| m")]
    assert rows[:3] == ["m †§", "m [strict2 parser] †§", "m [vlmeval parser] †§"] and set(rows) == set(rows[:3])


def test_a_run_begun_with_another_prompt_is_not_finished_with_this_one(aloe, closed, tmp_path):
    root = closed(closed_rows(40))
    aloe(*MOCK, "--data-root", root, "--model-args", "failure=0.5")
    path = only_run(tmp_path / "runs") / "run.json"
    header = json.loads(path.read_text())
    path.write_text(json.dumps(header | {"prompt_sha256": "0" * 64}))  # as an earlier version's wording left it

    again = aloe(*MOCK, "--data-root", root, "--model-args", "failure=0.5")

    assert again.returncode == 3
    assert "prompt_sha256 was '000" in again.stderr


def test_a_key_is_in_no_traceback_of_a_server_that_is_not_there(aloe, closed, tmp_path):
    key = "sk-planted-9876543210"

    done = aloe(
        "--debug", "run", "--model", "m", "--base-url", f"http://user:{key}@127.0.0.1:9/v1", "--data-root",
        closed(closed_rows(3)), "--tasks", "careqa_vision_mcq", "--allow-partial", "--api-key", key,
    )  # fmt: skip

    assert done.returncode != 0
    assert "Traceback" in done.stderr
    assert "cannot be reached" in done.stderr
    assert key not in done.stdout + done.stderr
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and key in p.read_text(errors="replace")]
