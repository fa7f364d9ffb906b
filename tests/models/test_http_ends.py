"""How a served reply ended, in the many words of servers: what is kept, what is filtered, what is cut."""

from __future__ import annotations

import pytest

from aloe_bench.answers.score import grade
from aloe_bench.core import Prediction, Sample
from aloe_bench.models.http_replies import filtered_by_policy, read_message

SAMPLE = Sample("s", "choice", "What is it?", "B", "c", choices=("Glioma", "Meningioma"))


@pytest.mark.parametrize("reason", ["eos_token", "end_turn", "STOP", "", "eos", None, "something_new"])
def test_a_whole_reply_with_an_unknown_end_is_kept(reason):
    said = read_message({"content": "B"}, reason)
    assert said is not None and (said.text, said.finish, said.finish_reason) == ("B", "stop", reason)


@pytest.mark.parametrize("reason", ["length", "max_tokens", "MAX_TOKENS", "repetition"])
def test_every_word_for_the_token_limit_is_one(reason):
    said = read_message({"content": "The lesion"}, reason)
    assert said is not None and said.finish == "length"


def test_content_in_parts_is_joined_and_its_reasoning_kept_apart():
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "A?"}]},
        {"type": "text", "text": "The answer "},
        {"type": "text", "text": "is B"},
    ]
    said = read_message({"content": parts}, "stop")
    assert said is not None and (said.text, said.reasoning) == ("The answer is B", "A?")


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize("content", [None, "", []])
@pytest.mark.parametrize("reason", ["stop", "length"])
def test_a_reply_that_never_left_its_reasoning_is_a_reply_without_text(content, key, reason):
    said = read_message({"content": content, key: "so B"}, reason)
    assert said is not None and (said.text, said.reasoning, said.finish) == ("", "so B", reason)


def test_nothing_at_all_is_no_reply():
    assert read_message({"content": None}, "stop") is None


def test_azures_filter_is_known_by_its_code():
    assert filtered_by_policy(400, '{"error": {"code": "content_filter"}}')
    assert not filtered_by_policy(400, "max_tokens is not supported") and not filtered_by_policy(500, "content_filter")


@pytest.mark.parametrize(
    ("text", "finish", "reason", "outcome", "value"),
    [
        ("B", "stop", "stop", "answered", 1.0),
        ("B, because", "length", "length", "answered", 1.0),
        ("The lesion lies outside the", "length", "length", "cut", 0.0),
        ("<think>It is B", "stop", "stop", "cut", 0.0),
        ("B", "stop", "content_filter", "filtered", 0.0),
        ("", "stop", "SAFETY", "filtered", 0.0),
        ("I cannot provide medical advice.", "stop", "stop", "refused", 0.0),
        ("Please provide the image.", "stop", "stop", "refused", 0.0),
        ("The brain is grey.", "stop", "stop", "unread", 0.0),
        (None, "error", None, "failed", None),
    ],
)
def test_every_reply_ends_as_what_it_is(text, finish, reason, outcome, value):
    score = grade(SAMPLE, Prediction("s", text, finish, finish_reason=reason))
    assert (score.outcome, score.value) == (outcome, value)
