"""`judge` and `run --judges` as a user runs them: grades, files, exit codes, kills."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from aloe_bench.answers.score import grade_open
from aloe_bench.core import Prediction, Score
from aloe_bench.evaluation import runlog
from aloe_bench.judges.jury.rubric import Case, rubric_id
from aloe_bench.judges.jury.store import read_replies
from tests.conftest import MINI
from tests.support.judge_server import judge_server, who
from tests.support.jury import ANSWERS, GRADES, cases, judges_file, mock_table, run_folder, served_table


def test_run_judge_and_leaderboard_give_the_golden_number(aloe, tmp_path):
    # 7 right, 4 partly right, 9 wrong of 20: (7 + 2) / 20 = 45.00 %.
    grades = [1.0] * 7 + [0.5] * 4 + [0.0] * 9
    some = [Case(f"s{i}", f"Q{i}?", "acute alteplase infusion", ANSWERS[g]) for i, g in enumerate(grades)]
    folder = run_folder(tmp_path / "runs" / "r1", some)
    jury = judges_file(
        tmp_path / "judges.toml", mock_table("a"), mock_table("b", seed=1), mock_table("c", accuracy=0.0)
    )

    done = aloe("judge", folder, "--judges", jury)

    assert done.returncode == 0, done.stderr
    assert "20 of 20 graded" in done.stdout
    assert json.loads((folder / "summary.json").read_text())["cells"]["overall"]["value"] == 0.45
    assert {r.score.parsed for r in runlog.read_records(folder)} == {None}
    assert aloe("leaderboard", "build", "runs", "--output", "boards").returncode == 0
    page = (tmp_path / "boards" / "miniature.md").read_text()
    assert "45.00" in page
    assert "graded by a, b, c, split 0.00 %" in page
    assert "45.00" not in (tmp_path / "boards" / "careqa_vision.md").read_text()  # a mock judge proves nothing
    (result,) = (tmp_path / "boards" / "results").glob("*/*.json")
    evidence = json.loads(result.read_text())
    assert evidence["cells"]["overall"]["split"] == 0.0
    assert evidence["judges"]["rubric"] == rubric_id()


def test_run_with_judges_grades_in_the_same_pass(aloe, tmp_path):
    jury = judges_file(tmp_path / "judges.toml", *(mock_table(name) for name in "abc"))
    words = ("run", "--model", "mock", "--tasks", "careqa_vision_mcq,careqa_vision_open", "--data-root", MINI,
             "--allow-partial", "--judges", jury, "--model-args", "accuracy=0.5")  # fmt: skip

    done = aloe(*words, "--json")

    assert done.returncode == 0, done.stderr
    closed, opened = json.loads(done.stdout)
    assert closed["jury"] is None
    assert (opened["jury"]["n"], opened["unjudged"], opened["jury"]["missing"]) == (10, 0, 0)
    records = runlog.read_records(Path(tmp_path / opened["run"]))
    right = sum(record.prediction.text == record.target for record in records)
    assert opened["cells"]["overall"]["value"] == pytest.approx(right / 10)


def test_one_judge_down_gives_the_quorum_rules_grades_and_exit_code_1(aloe, tmp_path):
    folder = run_folder(tmp_path / "r1", cases(30))
    tables = (mock_table("a"), mock_table("b", accuracy=0.7, seed=3))
    jury = judges_file(tmp_path / "judges.toml", *tables, mock_table("c", down=True))

    done = aloe("judge", folder, "--judges", jury, "--json")

    assert done.returncode == 1
    assert "Judge c is down" in done.stderr
    assert "Traceback" not in done.stderr
    for record in runlog.read_records(folder):
        a, b, c = record.score.verdicts
        assert (c.judge, c.grade) == ("c", None)
        assert record.score.value == (a.grade if a.grade == b.grade else None)
    summary = json.loads(done.stdout)
    assert 0 < summary["jury"]["missing"] < 15
    assert summary["cells"]["overall"]["value"] is None
    assert summary["cells"]["overall"]["failed"] == summary["jury"]["missing"]
    low, high = summary["jury"]["bounds"]
    assert low < high


def test_what_was_begun_afresh_goes_on_without_the_option_that_began_it(aloe, tmp_path):
    folder = run_folder(tmp_path / "r1", cases(3))
    jury = judges_file(tmp_path / "j.toml", mock_table("a"), mock_table("b"), mock_table("c", down=True))
    words = ("run", "--model", "mock", "--tasks", "careqa_vision_open", "--data-root", MINI, "--allow-partial")

    judged = aloe("judge", folder, "--judges", jury, "--fresh-verdicts")
    failed = aloe(*words, "--model-args", "failure=0.5", "--fresh")

    assert "left to ask for: run the same command again without --fresh-verdicts." in judged.stderr
    assert "run the same command again without --fresh: only the failed items are asked" in failed.stderr


def test_a_server_that_refuses_schemas_is_asked_without_one(aloe, tmp_path):
    folder = run_folder(tmp_path / "r1", cases(3))
    with judge_server() as server:
        jury = judges_file(tmp_path / "j.toml", *(served_table(n, server.url, constrained=n != "c") for n in "abc"))
        done = aloe("judge", folder, "--judges", jury)
        bodies = server.stats()["bodies"]

    assert done.returncode == 0, done.stderr
    assert ["response_format" in bodies[name] for name in "abc"] == [True, True, False]
    assert [r.score.value for r in runlog.read_records(folder)] == [0.0, 0.5, 1.0]


def test_the_same_run_command_asks_only_the_judge_that_was_down(aloe, tmp_path):
    words = ("run", "--model", "mock", "--tasks", "careqa_vision_open", "--data-root", MINI, "--allow-partial",
             "--limit", "7", "--judges", tmp_path / "j.toml", "--json")  # fmt: skip
    with judge_server() as server:
        judges_file(tmp_path / "j.toml", *(served_table(name, server.url) for name in "ab"),
                    served_table("c", "http://127.0.0.1:9/v1"))  # fmt: skip
        down = aloe(*words)
        judges_file(tmp_path / "j.toml", *(served_table(name, server.url) for name in "abc"))
        up = aloe(*words)
        stats = server.stats()

    assert (down.returncode, up.returncode) == (1, 0), up.stderr
    assert "7 verdicts are left to ask for: run the same command again" in down.stderr
    ((first,), (second,)) = json.loads(down.stdout), json.loads(up.stdout)
    assert first["run"] == second["run"] and first["n"] == 7
    assert (first["jury"]["judges"]["c"]["missing"], second["jury"]["judges"]["c"]["missing"]) == (7, 0)
    assert len(stats["calls"]) == 21 and set(stats["calls"].values()) == {1}
    assert (tmp_path / second["run"] / "summary.json").exists()


def test_a_judge_that_dies_in_the_middle_is_asked_only_the_rest(aloe, tmp_path):
    folder = run_folder(tmp_path / "r1", cases(30))
    with judge_server() as server:
        dead = "http://127.0.0.1:9/v1"
        first = judges_file(tmp_path / "j1.toml", *(served_table(n, server.url) for n in "ab"), served_table("c", dead))
        later = judges_file(tmp_path / "j2.toml", *(served_table(n, server.url) for n in "abc"))

        down = aloe("judge", folder, "--judges", first)
        up = aloe("judge", folder, "--judges", later)
        again = aloe("judge", folder, "--judges", later)
        stats = server.stats()

    assert (down.returncode, up.returncode, again.returncode) == (1, 0, 0), up.stderr
    assert len(stats["calls"]) == 90
    assert set(stats["calls"].values()) == {1}
    assert stats["bodies"]["a"]["response_format"]["json_schema"]["schema"]["properties"]["grade"]["enum"] == [
        0,
        0.5,
        1,
    ]
    assert [r.score.value for r in runlog.read_records(folder)] == [GRADES[i % 3] for i in range(30)]


def test_a_judge_that_can_never_be_read_is_asked_three_times_and_then_never_again(aloe, tmp_path):
    folder = run_folder(tmp_path / "r1", cases(6))
    with judge_server() as server:
        jury = judges_file(tmp_path / "j.toml", *(served_table(name, server.url) for name in ("a", "b", "mute")))

        done = [aloe("judge", folder, "--judges", jury) for _ in range(2)]
        calls = server.stats()["calls"]

    assert [one.returncode for one in done] == [1, 1]
    assert all("Judge mute's first reply that could not be read (" in one.stderr for one in done)
    assert {name.split()[0]: count for name, count in calls.items()} == {"a": 1, "b": 1, "mute": 3}
    assert [r.score.value for r in runlog.read_records(folder)] == [0.0, 0.5, 1.0] * 2


def stored(folder: Path) -> int:
    log = folder / "verdicts.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


def test_killed_and_resumed_no_judge_is_asked_twice_for_a_stored_answer(tmp_path):
    some, rng, kills = cases(60), random.Random(1), 0
    folder = run_folder(tmp_path / "r1", some)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    frozen: dict[str, int] = {}
    with judge_server(delay_s=0.1) as server:
        options = {"options": {"concurrency": 3}}
        jury = judges_file(tmp_path / "j.toml", *(served_table(name, server.url, **options) for name in "abc"))
        command = [sys.executable, "-m", "aloe_bench.cli.main", "judge", str(folder), "--judges", str(jury)]
        while True:
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
            wanted = stored(folder) + rng.randint(1, 40)
            while child.poll() is None and (kills == 6 or stored(folder) < wanted):
                time.sleep(0.005)
            if child.poll() is not None:
                break
            child.send_signal(signal.SIGKILL)
            child.wait()
            kills += 1
            time.sleep(0.3)  # calls in flight reach the server's count
            by_id = {case.sample_id: case for case in some}
            calls = server.stats()["calls"]
            for reply in read_replies(folder / "verdicts.jsonl"):
                case = by_id[reply.sample_id]
                key = who(reply.judge, case.question, case.reference, case.answer)
                frozen.setdefault(key, calls[key])
        calls = server.stats()["calls"]

    assert child.returncode == 0
    assert kills >= 2
    assert len(frozen) > 20
    assert {key: calls[key] for key in frozen} == frozen
    # All that can be asked twice is what was in flight when the process died: 3 judges x 3 calls a kill, and on
    # a slow disk as many replies that had arrived and were not on it yet.
    assert sum(calls.values()) <= 180 + 18 * kills
    assert [r.score.value for r in runlog.read_records(folder)] == [GRADES[i % 3] for i in range(60)]
    print(f"{kills} kills, {len(frozen)} verdicts stored before one, {sum(calls.values())} calls for 180 verdicts")


def test_another_jury_is_refused_unless_asked_for_and_then_keeps_the_old_verdicts(aloe, tmp_path):
    folder = run_folder(tmp_path / "r1", cases(9))
    old = judges_file(tmp_path / "old.toml", *(mock_table(name) for name in "abc"))
    new = judges_file(tmp_path / "new.toml", *(mock_table(name) for name in "abd"))
    shuffled = judges_file(tmp_path / "shuffled.toml", *(mock_table(name) for name in "cab"))
    assert aloe("judge", folder, "--judges", old).returncode == 0

    same, refused = aloe("judge", folder, "--judges", shuffled), aloe("judge", folder, "--judges", new)
    (folder / "verdicts.jsonl").rename(tmp_path / "kept")  # the grades in the records are that jury's all the same
    assert aloe("judge", folder, "--judges", new).returncode == 3
    (tmp_path / "kept").rename(folder / "verdicts.jsonl")
    fresh = aloe("judge", folder, "--judges", new, "--fresh-verdicts")

    assert (same.returncode, refused.returncode, fresh.returncode) == (0, 3, 0)
    assert "another jury: a (" in refused.stderr
    assert "--fresh-verdicts" in refused.stderr
    assert {v.judge for r in runlog.read_records(folder) for v in r.score.verdicts} == set("abd")
    assert [len(list(read_replies(path))) for path in folder.glob("verdicts*.jsonl")] == [27, 27]


def test_a_fresh_sitting_that_is_interrupted_leaves_no_grades_of_the_old_jury(aloe, tmp_path):
    folder = run_folder(tmp_path / "r1", cases(40))
    old = judges_file(tmp_path / "old.toml", *(mock_table(name) for name in "abc"))
    assert aloe("judge", folder, "--judges", old).returncode == 0
    before = json.loads((folder / "summary.json").read_text())
    with judge_server(delay_s=0.3) as server:
        new = judges_file(tmp_path / "new.toml", *(served_table(name, server.url) for name in "abc"))
        command = [sys.executable, "-m", "aloe_bench.cli.main", "judge", str(folder), "--judges", str(new)]
        child = subprocess.Popen(
            [*command, "--fresh-verdicts"],
            stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        deadline = time.monotonic() + 120
        while stored(folder) in (0, 120) and time.monotonic() < deadline:
            time.sleep(0.02)
        child.send_signal(signal.SIGINT)
        said = child.communicate(timeout=120)[1].decode()

    assert child.returncode == 130, said
    after = json.loads((folder / "summary.json").read_text())
    assert before["unjudged"] == 0 and after["unjudged"] == 40 and after["jury"] is None


def test_no_answer_is_wrong_and_a_failed_call_stays_a_failure(aloe, tmp_path):
    folder = run_folder(tmp_path / "r1", cases(4))
    records = runlog.read_records(folder)
    thought = Prediction("s0", "<think>It could be alteplase", "length")
    failed = Prediction("s1", None, "error", error="planted")
    reasoned = Prediction("s2", "<think>not acute alteplase infusion</think>nothing", "stop")
    runlog.append(
        folder,
        [
            replace(records[0], prediction=thought, score=grade_open(thought.text)),
            replace(records[1], prediction=failed, score=Score(None, None, "failed")),
            replace(records[2], prediction=reasoned),
        ],
    )

    aloe("judge", folder, "--judges", judges_file(tmp_path / "j.toml", *(mock_table(name) for name in "abc")))

    scores = [record.score for record in runlog.read_records(folder)]
    assert [score.value for score in scores] == [0.0, None, 0.0, 0.0]
    assert [score.rule for score in scores] == ["unread: no answer", "failed", "jury", "jury"]
    assert len(list(read_replies(folder / "verdicts.jsonl"))) == 6


def test_a_judges_key_is_sent_and_stands_in_no_file(aloe, tmp_path):
    folder, key = run_folder(tmp_path / "r1", cases(3)), "sk-planted-judge-0123456789"
    with judge_server() as server:
        tables = [served_table(name, server.url, api_key_env="JURY_KEY") for name in "abc"]
        jury = judges_file(tmp_path / "j.toml", *tables)

        without = aloe("judge", folder, "--judges", jury)
        done = aloe("judge", folder, "--judges", jury, JURY_KEY=key)
        sent = server.stats()["bodies"]["a"]["authorization"]

    assert without.returncode == 2
    assert "JURY_KEY" in without.stderr
    assert done.returncode == 0, done.stderr
    assert sent == f"Bearer {key}"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if key in path.read_text(errors="replace")]


def test_judged_shards_merge_and_shards_of_two_juries_do_not(aloe, tmp_path):
    words = ("run", "--model", "mock", "--tasks", "careqa_vision_open", "--data-root", MINI, "--allow-partial")
    jury = judges_file(tmp_path / "j.toml", *(mock_table(name) for name in "abc"))
    other = judges_file(tmp_path / "k.toml", *(mock_table(name) for name in "xyz"))
    for i in (1, 2):
        assert aloe(*words, "--shard", f"{i}/2", "--output", f"p{i}", "--judges", jury).returncode == 0
    parts = [next((tmp_path / f"p{i}").rglob("run.json")).parent for i in (1, 2)]

    merged = aloe("merge", *parts, "--output", "merged")
    aloe("judge", parts[0], "--judges", other, "--fresh-verdicts")
    mixed = aloe("merge", *parts, "--output", "mixed")

    assert merged.returncode == 0, merged.stderr
    assert json.loads((tmp_path / "merged" / "summary.json").read_text())["jury"]["n"] == 10
    assert aloe("judge", "merged", "--judges", jury).returncode == 0
    assert len(list(read_replies(tmp_path / "merged" / "verdicts.jsonl"))) == 30
    assert mixed.returncode == 3
    assert "different juries" in mixed.stderr


def test_shards_that_hold_nothing_to_grade_merge_with_judged_ones(aloe, tmp_path):
    # Ten questions about seven images in nine shards: some shards are empty.
    words = ("run", "--model", "mock", "--tasks", "careqa_vision_open", "--data-root", MINI, "--allow-partial")
    jury = judges_file(tmp_path / "j.toml", *(mock_table(name) for name in "abc"))
    counts = []
    for i in range(1, 10):
        done = aloe(*words, "--shard", f"{i}/9", "--output", f"p{i}", "--judges", jury, "--json")
        assert done.returncode == 0, done.stderr
        counts.append(json.loads(done.stdout)[0]["n"])
    parts = [path.parent for path in sorted(tmp_path.rglob("run.json"))]

    merged = aloe("merge", *parts, "--output", "merged")
    shown = aloe(*words, "--shard", f"{counts.index(0) + 1}/9", "--dry-run")

    assert counts[0] == 0 and sum(counts) == 10
    assert merged.returncode == 0, merged.stderr
    assert json.loads((tmp_path / "merged" / "summary.json").read_text())["jury"]["n"] == 10
    assert [judge["name"] for judge in runlog.read_header(tmp_path / "merged")["judges"]["judges"]] == list("abc")
    assert shown.returncode == 0 and "0 samples, nothing to ask" in shown.stdout, shown.stderr


def test_ls_lists_the_papers_three_judges(aloe):
    shown, as_json = aloe("ls", "judges"), aloe("ls", "judges", "--json")
    assert (shown.returncode, as_json.returncode) == (0, 0), shown.stderr + as_json.stderr
    judges = json.loads(as_json.stdout)
    assert [line.split()[0] for line in shown.stdout.splitlines()[2:]] == list(judges)
    assert [judge["model"] for judge in judges.values()] == [
        "Qwen/Qwen2.5-72B-Instruct", "meta-llama/Llama-3.3-70B-Instruct", "allenai/Olmo-3-32B-Think"
    ]  # fmt: skip


def test_an_option_is_called_the_same_in_the_environment_and_in_a_config_file(aloe, tmp_path):
    (tmp_path / "l.csv").write_text("item_id,a,b\nq1,1,1\nq2,0,0\n")
    (tmp_path / "c.toml").write_text('[agreement]\nannotations = "l.csv"\njson = true\n')
    folder = run_folder(tmp_path / "r1", cases(3))
    jury = judges_file(tmp_path / "j.toml", *(mock_table(name) for name in "abc"))

    by_file = aloe("--config", "c.toml", "alpha")
    by_variable = aloe("judge", folder, ALOE_BENCH_JUDGE_JSON="1", ALOE_BENCH_JUDGE_JUDGES=str(jury))
    listed = aloe("ls", "judges", ALOE_BENCH_LS_JSON="1")
    built = aloe("leaderboard", "build", "r1", ALOE_BENCH_LEADERBOARD_BUILD_OUTPUT="boards")

    assert json.loads(by_file.stdout)["humans"]["ordinal"]["value"] == 1.0
    assert json.loads(by_variable.stdout)["jury"]["n"] == 3
    assert len(json.loads(listed.stdout)) == 3
    assert built.returncode == 0 and (tmp_path / "boards" / "miniature.md").exists(), built.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("judge",), 2, "Missing argument RUN"),
        (("judge", "nowhere"), 3, "no run.json"),
        (("judge", "--show-default"), 0, ""),
        (("judge", "r1", "--max-failed", "nan"), 2, "'nan' is not a finite number"),
        (("run", "--model", "mock", "--max-failed", "nan"), 2, "'nan' is not a finite number"),
        (("run", "--model", "mock", "--temperature", "inf"), 2, "'inf' is not a finite number"),
        (("agreement", "--annotations", "l.csv", "--min-alpha", "nan"), 2, "'nan' is not a finite number"),
        (("judge", "r1", "--judges", "gone.toml"), 3, "gone.toml: cannot read"),
    ],
)
def test_a_mistake_ends_in_one_message(aloe, tmp_path, words, code, said):
    run_folder(tmp_path / "r1", cases(3))
    done = aloe(*words)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
