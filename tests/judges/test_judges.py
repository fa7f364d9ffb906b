"""The vote and the panel, with mock judges that err as they are told."""

from __future__ import annotations

import itertools
import time
from collections import Counter

import pytest

from aloe_bench.core import Decoding, Prediction
from aloe_bench.errors import DataError, UsageError
from aloe_bench.evaluation.cells import vote
from aloe_bench.judges.jury.panel import Judge, Panel
from aloe_bench.judges.jury.rubric import Case, rubric_id
from aloe_bench.judges.jury.seats import read_judges
from aloe_bench.judges.jury.store import case_key, read_replies
from aloe_bench.models.mock_judge import MockJudge, true_grade
from tests.support.jury import GRADES, cases, graded, judges_file, mock, served_table


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


@pytest.mark.alone
def test_judges_work_at_the_same_time(tmp_path):
    started = time.perf_counter()
    graded(tmp_path, [mock(name, latency=0.2) for name in "abc"], cases(10))
    assert time.perf_counter() - started < 3 * 10 * 0.2 * 0.7


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
        ("[[judge]]\nname='a'\nbackend='mock'\nmodel='m'\nconstrained='no'", "constrained 'no'"),
        ("[[judge]]\nname='a'\nbackend='hf'\nmodel='o/m'\nrevision='abc'", "give the folder of that commit"),
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

    here, there, unknown, moved, warm, free = prints(
        served_table("a", url), served_table("a", other), served_table("a", url, revision=""),
        served_table("a", other, revision=""), served_table("a", url, decoding={"temperature": 0.5}),
        served_table("a", url, constrained=False),
    )  # fmt: skip

    assert here == there
    assert len({here, unknown, moved, warm, free}) == 5


def test_no_judge_may_take_the_name_of_the_whole_or_of_another():
    refused = ((("a", "b", "jury"), "whole panel"), (("a", "b", "a"), "same name"), (("a", "b"), "odd number"))
    for names, said in refused:
        with pytest.raises(UsageError, match=said):
            Panel([mock(name) for name in names])


def test_a_local_judge_is_its_weights_and_their_precision_wherever_they_lie(tmp_path):
    def local(folder: str) -> dict[str, object]:
        return {"name": "a", "backend": "hf", "model": folder}

    here, there = read_judges(judges_file(tmp_path / "j.toml", local("/one/place"), local("/another")))

    assert here.fingerprint("weights", "float32") == there.fingerprint("weights", "float32")
    assert here.fingerprint("weights", "float32") != here.fingerprint("weights", "bfloat16")
    assert here.fingerprint("weights") != here.fingerprint("other weights")
