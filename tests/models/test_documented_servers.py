"""Servers with habits of their own: no run is blocked, every question ends once, every refusal is told once."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from aloe_bench.answers.score import grade
from aloe_bench.core import Decoding, Message, Prediction, Request, Sample
from aloe_bench.errors import ModelError
from aloe_bench.models.http import OpenAIModel
from aloe_bench.models.http_failures import retry_after_s
from tests.support.awkward_server import awkward_server
from tests.support.documented_servers import HABITS, ODD_ONE

QUESTIONS = 10
LIMIT_S = 15.0  # each takes under 3 s on a busy machine; one that waited for its default timeout would take 120


def outcomes(got: list[Prediction]) -> dict[str, str]:
    """Return how each question ended, as a run would grade it."""
    sample = Sample("s", "choice", "?", "B", "s", choices=("one", "two"))
    return {reply.id: grade(sample, reply).outcome for reply in got}


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        ("Rate limit reached for gpt-4o: Limit 30000. Please try again in 1.2s. Visit ...", 1.2),
        ("Rate limit reached for gpt-4o: Please try again in 6m0s.", 60.0),  # as long as is waited
        ("Please try again in 260ms.", 0.0),
        ("Rate limit is exceeded. Try again in 30 seconds.", 30.0),
        ("exceeded call rate limit of your current OpenAI S0 pricing tier. Please retry after 55 seconds.", 55.0),
        ("content management policy. Please modify your prompt and retry. To learn more", 0.0),
        ('"details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "28s"}]', 28.0),
    ],
)
def test_when_to_ask_again_is_read_in_the_words_of_servers_that_send_no_header(words: str, seconds: float) -> None:
    assert retry_after_s({}, words) == seconds


@pytest.mark.parametrize("name", HABITS)
def test_no_run_is_blocked_and_every_question_ends_once(
    name: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    habit = HABITS[name]
    requests = [
        Request(f"question {i}", (Message("user", f"question {i}"),), options=("A", "B")) for i in range(QUESTIONS)
    ]
    sampled = Decoding(0.5 if "seed" in habit.switched else 0.0, 33, seed=3)
    got: list[Prediction] = []
    told = ""
    start = time.monotonic()
    with awkward_server(habit.behave, habit.gate) as server:
        model = OpenAIModel("m", base_url=habit.address(server.url), **{"concurrency": 3, **habit.settings})
        try:
            for reply in model.option_logprobs(requests) if habit.scored else model.generate(requests, sampled):
                got.append(reply)
        except ModelError as stopped:
            told = str(stopped)

    assert time.monotonic() - start < LIMIT_S
    assert len(server.sent) <= 24, "nobody is asked over and over"
    assert max(Counter(reply.id for reply in got).values(), default=1) == 1
    assert set(model.describe()["switched"]) == habit.switched  # type: ignore[call-overload]
    warnings = [record.getMessage() for record in caplog.records if record.name.startswith("aloe_bench")]
    assert len(warnings) == len(set(warnings)) == len(habit.switched) + bool("loading" in habit.said)
    if habit.ending == "stops":
        assert habit.said in told and ("refused the first 8 requests alike" in told or got)
        return
    ended = outcomes(got)
    assert len(ended) == QUESTIONS and not told
    rest = "answered" if habit.alone else habit.ending
    assert ended == {request.id: rest for request in requests} | ({ODD_ONE: habit.ending} if habit.alone else {})
    assert {reply.text[0] for reply in got if reply.text and ended[reply.id] == "answered"} == {"B"}
    assert habit.said in " ".join([*warnings, *(reply.error for reply in got if reply.error)])
    if habit.switched:
        last = server.sent[-1]
        assert not habit.switched & set(last) and 33 in (last.get("max_tokens"), last.get("max_completion_tokens"))
