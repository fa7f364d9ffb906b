"""The jury by its public doors: the vote, the panel, and `judge` on a run."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from conftest import MINI
from judge_server import judge_server, who

from aloe_bench import runlog
from aloe_bench.core import Decoding, Prediction, Record, Score
from aloe_bench.errors import DataError, UsageError
from aloe_bench.judges.config import read_judges
from aloe_bench.judges.panel import Judge, Panel, vote
from aloe_bench.judges.rubric import Case, read_case, rubric_id
from aloe_bench.judges.store import VerdictStore, case_key, read_replies
from aloe_bench.models.mock_judge import JudgeBehaviour, MockJudge, true_grade

GRADES = (0.0, 0.5, 1.0)
ANSWERS = {1.0: "acute alteplase infusion", 0.5: "alteplase infusion", 0.0: "nothing"}


def cases(n: int) -> list[Case]:
    return [Case(f"s{i}", f"Question {i}?", "acute alteplase infusion", ANSWERS[GRADES[i % 3]]) for i in range(n)]


def mock(name: str, **behaviour: object) -> Judge:
    model = MockJudge(read_case, JudgeBehaviour(**behaviour), name)
    return Judge(name, model, Decoding(), model.fingerprint)


def graded(folder: Path, judges: list[Judge], some: list[Case]):
    folder.mkdir(exist_ok=True)
    with VerdictStore(folder) as store:
        return Panel(judges).grade(some, store)


def run_folder(folder: Path, some: list[Case], **model: object) -> Path:
    """Write a finished run whose answers are those of `some`."""
    facts = {"name": "m", "fingerprint": "f" * 64, "backend": "hf", "miniature": False, "size_group": "small",
             "domain": "general", "settings": {}} | model  # fmt: skip
    task = {"name": "careqa_vision_open", "version": 1, "expected_rows": len(some), "data_sha256": "d"}
    header = {"schema": 1, "run_id": folder.name, "model": facts, "task": task, "protocol": "generate", "limit": None,
              "partial": False, "shard": None, "n": len(some), "n_total": len(some)}  # fmt: skip
    runlog.create_run(folder, header)
    records = [
        Record(i, c.sample_id, "open", c.reference, f"c{i}", {"category": "medicine" if i % 2 else "nursing"}, None,
               Prediction(c.sample_id, c.answer, "stop"), Score(None, None, "unjudged"), c.question)
        for i, c in enumerate(some)
    ]  # fmt: skip
    runlog.append(folder, records)
    return folder


def judges_file(path: Path, *tables: dict[str, object]) -> Path:
    def toml(value: object) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + "}"
        return json.dumps(value)

    path.write_text("\n".join("[[judge]]\n" + "\n".join(f"{k} = {toml(v)}" for k, v in t.items()) for t in tables))
    return path


def mock_table(name: str, **options: object) -> dict[str, object]:
    return {"name": name, "backend": "mock", "model": "mock", "options": options}


def served_table(name: str, url: str, **more: object) -> dict[str, object]:
    return {"name": name, "backend": "openai", "model": name, "revision": "r1", "base_url": url} | more


def test_the_vote_is_the_majority_and_half_where_all_differ():
    for grades in itertools.product(GRADES, repeat=3):
        (top, count), *_ = Counter(grades).most_common()
        expected = top if count >= 2 else 0.5
        assert (vote(grades).value, vote(grades).split) == (expected, count == 1)


@pytest.mark.parametrize(
    ("grades", "value"),
    [
        ((1.0, 1.0, None), 1.0), ((0.5, 0.5, None), 0.5), ((0.0, 1.0, None), None), ((0.5, 1.0, None), None),
        ((1.0, None, None), None), ((None, None, None), None), ((None,), None), ((0.5,), 0.5),
        ((0.0, 0.5, 0.5, 1.0, None), 0.5), ((0.0, 0.0, 1.0, 1.0, None), None), ((1.0, 1.0, 1.0, None, None), 1.0),
    ],
)  # fmt: skip
def test_a_missing_judge_leaves_a_grade_only_where_it_could_not_have_moved_it(grades, value):
    for order in itertools.permutations(grades):
        assert vote(order).value == value
    low, high = vote(grades).bounds
    assert (low == high) == (value is not None)


def test_the_scores_are_the_same_in_all_six_orders(tmp_path):
    behaviours = {"a": {"accuracy": 0.7, "malformed": 0.3}, "b": {"leniency": 0.4, "mute": 0.1}, "c": {"failure": 0.3}}

    results = [
        graded(tmp_path / "".join(order), [mock(name, **behaviours[name]) for name in order], cases(90)).scores
        for order in itertools.permutations(behaviours)
    ]

    assert all(result == results[0] for result in results)
    assert {score.rule for score in results[0].values()} == {"jury", "jury: split", "jury: missing"}


def test_of_30_percent_malformed_replies_every_one_is_asked_again_or_counted(tmp_path):
    judges = [mock(name, malformed=0.3, mute=0.05, seed=7) for name in ("a", "b", "c")]
    some = cases(300)

    ballot = graded(tmp_path, judges, some)

    replies = list(read_replies(tmp_path / "verdicts.jsonl"))
    for judge in judges:
        model = judge.model
        assert isinstance(model, MockJudge)
        keys = [case_key(case, rubric_id()) for case in some]
        planted = [next((n for n in range(3) if not model.is_malformed(key, n)), 3) for key in keys]
        mine = [reply for reply in replies if reply.judge == judge.name]
        assert planted.count(3) > 10
        assert sum(reply.grade is None for reply in mine) == sum(planted)
        assert len(mine) == sum(min(bad + 1, 3) for bad in planted)
        verdicts = [v for s in ballot.scores.values() for v in s.verdicts if v.judge == judge.name]
        assert sum(v.grade is None for v in verdicts) == planted.count(3)
    for case in some:
        given = [v.grade for v in ballot.scores[case.sample_id].verdicts if v.grade is not None]
        truth = true_grade(case.reference, case.answer)
        assert set(given) <= {truth}
        assert ballot.scores[case.sample_id].value == (truth if len(given) >= 2 else None)


def test_a_reply_that_cannot_be_read_is_shown_to_its_judge_with_a_reminder(tmp_path):
    seen = []

    class Stubborn:
        name = fingerprint = "stubborn"

        def describe(self):
            return {}

        def generate(self, requests, decoding):
            for request in requests:
                seen.append(request)
                yield Prediction(request.id, f"prose {len(seen)}", "stop")

    ballot = graded(tmp_path, [Judge("stubborn", Stubborn(), Decoding(), "x")], cases(1))

    first, second, third = ([turn.text for turn in request.messages] for request in seen)
    assert second[: len(first)] == first
    assert second[len(first)] == "prose 1"
    assert '{"grade": 0.5}' in second[-1]
    assert third[-2] == "prose 2"
    assert ballot.scores["s0"].value is None
    assert ballot.scores["s0"].verdicts[0].reply == "prose 3"


def test_leniency_and_length_bias_move_the_mean_as_programmed(tmp_path):
    long = [Case(f"l{i}", f"Q{i}?", "acute alteplase infusion", "nothing " * 60) for i in range(400)]

    lenient = graded(tmp_path / "a", [mock("a", leniency=0.3)], long).scores
    talkative = graded(tmp_path / "b", [mock("b", length_bias=0.6)], long).scores
    strict = graded(tmp_path / "c", [mock("c", leniency=-1.0)], cases(30)).scores

    assert sum(s.value for s in lenient.values()) / 400 == pytest.approx(0.15, abs=0.04)
    assert sum(s.value for s in talkative.values()) / 400 == pytest.approx(0.30, abs=0.04)
    assert sorted({s.value for s in strict.values()}) == [0.0, 0.5]


def test_judges_work_at_the_same_time(tmp_path):
    started = time.perf_counter()
    graded(tmp_path, [mock(name, latency=0.02) for name in "abc"], cases(30))
    assert time.perf_counter() - started < 3 * 30 * 0.02 * 0.7


def test_equal_answers_to_one_question_are_graded_once(tmp_path):
    same = [Case(f"s{i}", "Q?", "alteplase", "alteplase") for i in range(5)]

    ballot = graded(tmp_path, [mock("a")], same)

    assert {s.value for s in ballot.scores.values()} == {1.0}
    assert [s.verdicts[0].sample_id for s in ballot.scores.values()] == [c.sample_id for c in same]
    assert len(list(read_replies(tmp_path / "verdicts.jsonl"))) == 1


def test_a_torn_verdict_costs_one_question(tmp_path):
    first = graded(tmp_path, [mock("a")], cases(9))
    log = tmp_path / "verdicts.jsonl"
    log.write_bytes(log.read_bytes()[:-20])

    again = graded(tmp_path, [mock("a")], cases(9))

    assert again.scores == first.scores
    assert len(list(read_replies(log))) == 9


def test_an_unforeseen_fault_of_one_judge_is_raised_once_the_others_are_done(tmp_path):
    class Broken:
        name = fingerprint = "broken"

        def describe(self):
            return {}

        def generate(self, requests, decoding):
            raise RuntimeError("CUDA error")

    with pytest.raises(RuntimeError, match="CUDA"):
        graded(tmp_path, [mock("a", latency=0.01), mock("b"), Judge("x", Broken(), Decoding(), "x")], cases(9))

    assert len(list(read_replies(tmp_path / "verdicts.jsonl"))) == 18


def test_an_even_jury_and_a_judge_with_two_votes_are_refused():
    with pytest.raises(UsageError, match="odd"):
        Panel([mock("a"), mock("b")])
    with pytest.raises(UsageError, match="same name"):
        Panel([mock("a"), mock("a", seed=1), mock("b")])
    twice = mock("a")
    with pytest.raises(UsageError, match="same fingerprint"):
        Panel([twice, Judge("b", twice.model, Decoding(), twice.fingerprint), mock("c")])


def test_the_shipped_jury_is_the_papers_three():
    judges = read_judges(None)

    assert [judge.model.split("/")[1].split("-Instruct")[0] for judge in judges] == [
        "Qwen2.5-72B", "Llama-3.3-70B", "Olmo-3-32B-Think",
    ]  # fmt: skip
    assert {judge.decoding.temperature for judge in judges} == {0.0}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no [[judge]]"),
        ("[[judge]]\nname='a'", "judge 1: no backend"),
        ("[[judge]]\nname='a'\nbackend='openai'\nmodel='m'\nbase-url='x'", "Did you mean base_url?"),
        ("[[judge]]\nname='a'\nbackend='openai'\nmodel='m'\napi_key='sk'", "unknown key 'api_key'"),
        ("[[judge]]\nname='a'\nbackend='openai'\nmodel='m'\noptions={api_key='sk-1'}", "api_key_env"),
        ("[[judge]]\nname='a'\nbackend='mock'\nmodel='m'\ndecoding={temperature=true}", "temperature True"),
        ("[[judge]]\nname='a'\nbackend='mock'\nmodel='m'\ndecoding={max_new_tokens=0}", "max_new_tokens 0"),
        ("[[judge]]\nname=3\nbackend='mock'\nmodel='m'", "name 3"),
        ("[judge", "not TOML"),
    ],
)
def test_a_mistake_in_judges_toml_is_named(tmp_path, text, said):
    (tmp_path / "judges.toml").write_text(text)
    with pytest.raises(DataError) as error:
        read_judges(tmp_path / "judges.toml")
    assert said in str(error.value)


def test_a_served_judge_with_a_revision_may_move_to_another_address(tmp_path):
    url, other = "http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1"

    def prints(*tables: dict[str, object]) -> list[str]:
        judges = read_judges(judges_file(tmp_path / "j.toml", *tables))
        return [judge.fingerprint(judge.base_url) for judge in judges]

    here, there, unknown, moved, warm = prints(
        served_table("a", url), served_table("a", other), served_table("a", url, revision=""),
        served_table("a", other, revision=""), served_table("a", url, decoding={"temperature": 0.5}),
    )  # fmt: skip

    assert here == there
    assert len({here, unknown, moved, warm}) == 4


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

        codes = [aloe("judge", folder, "--judges", jury).returncode for _ in range(2)]
        calls = server.stats()["calls"]

    assert codes == [1, 1]
    assert {name.split()[0]: count for name, count in calls.items()} == {"a": 1, "b": 1, "mute": 3}
    assert [r.score.value for r in runlog.read_records(folder)] == [0.0, 0.5, 1.0] * 2


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
            try:
                code = child.wait(0.9 + 0.5 * rng.random() if kills < 6 else 60)
                break
            except subprocess.TimeoutExpired:
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

    assert code == 0
    assert kills >= 2
    assert len(frozen) > 20
    assert {key: calls[key] for key in frozen} == frozen
    # All that can be asked twice is what was in flight when the process died: 3 judges x 3 calls a kill.
    assert sum(calls.values()) <= 180 + 9 * kills
    assert [r.score.value for r in runlog.read_records(folder)] == [GRADES[i % 3] for i in range(60)]
    print(f"{kills} kills, {len(frozen)} verdicts stored before one, {sum(calls.values())} calls for 180 verdicts")


def test_another_jury_is_refused_unless_asked_for_and_then_keeps_the_old_verdicts(aloe, tmp_path):
    folder = run_folder(tmp_path / "r1", cases(9))
    old = judges_file(tmp_path / "old.toml", *(mock_table(name) for name in "abc"))
    new = judges_file(tmp_path / "new.toml", *(mock_table(name) for name in "abd"))
    shuffled = judges_file(tmp_path / "shuffled.toml", *(mock_table(name) for name in "cab"))
    assert aloe("judge", folder, "--judges", old).returncode == 0

    same, refused = aloe("judge", folder, "--judges", shuffled), aloe("judge", folder, "--judges", new)
    fresh = aloe("judge", folder, "--judges", new, "--fresh-verdicts")

    assert (same.returncode, refused.returncode, fresh.returncode) == (0, 3, 0)
    assert "another jury: a (" in refused.stderr
    assert "--fresh-verdicts" in refused.stderr
    assert {v.judge for r in runlog.read_records(folder) for v in r.score.verdicts} == set("abd")
    assert [len(list(read_replies(path))) for path in folder.glob("verdicts*.jsonl")] == [27, 27]


def test_no_answer_is_wrong_and_a_failed_call_stays_a_failure(aloe, tmp_path):
    from dataclasses import replace

    from aloe_bench.grading import grade_open

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


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("judge",), 2, "Missing argument RUN"),
        (("judge", "nowhere"), 3, "no run.json"),
        (("judge", "--show-default"), 0, ""),
        (("judge", "r1", "--judges", "gone.toml"), 3, "gone.toml: cannot read"),
    ],
)
def test_a_mistake_ends_in_one_message(aloe, tmp_path, words, code, said):
    run_folder(tmp_path / "r1", cases(3))
    done = aloe(*words)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
