"""The contract of a back end (docs/extend.md), which every shipped one passes, and one from outside."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from aloe_bench import ModelSpec, UsageError
from aloe_bench.core import Decoding, Message, Model, OptionScorer, Request, capabilities
from aloe_bench.models.make import checked_options, make_model
from aloe_bench.models.mock import Behaviour, MockModel
from aloe_bench.registry import BACKENDS
from tests.support.faulty_server import Plan, faulty_server

LONGEST = f"{Path(__file__).parents[2] / 'examples' / 'extend' / 'longest.py'}:Longest"
KEY = "sk-planted-SECRET-9"
REQUESTS = [
    Request(
        id=f"r{i}",
        messages=(Message("user", f"Which organ is it?\nA. lung\nB. liver\nC. eye {i}\nAnswer with a letter."),),
        options=("lung", "liver", f"eye {i}"),
    )
    for i in range(5)
]
DECODING = Decoding(max_new_tokens=4)
Make = Callable[..., Model]


def mock(name: str, options: Mapping[str, Any]) -> Model:
    key = {request.id: ("ABC"[i % 3], None) for i, request in enumerate(REQUESTS)}
    return MockModel(key, Behaviour(**checked_options(Behaviour, options, "back end mock")), name=name)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    from aloe_bench.miniature.checkpoint import build_tiny_checkpoint

    return build_tiny_checkpoint(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(params=[*BACKENDS, "outside"])
def make(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Return what makes a model of a back end as `run` does, with options."""
    backend, spec = request.param, ModelSpec("rule", LONGEST)
    if backend == "vllm":
        pytest.importorskip("vllm")
    if backend in ("hf", "vllm"):
        spec = ModelSpec(str(request.getfixturevalue("tiny")), backend, batch_size=2)
    elif backend == "mock":
        spec = ModelSpec("mock")
    if backend == "openai":
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        with faulty_server(Plan()) as server:
            spec = ModelSpec("m", "openai", server.url, KEY)
            yield lambda **options: make_model(_with(spec, options), mock)
        return
    yield lambda **options: make_model(_with(spec, options), mock)


def _with(spec: ModelSpec, options: Mapping[str, Any]) -> ModelSpec:
    return ModelSpec(spec.model, spec.backend, spec.base_url, spec.api_key, spec.batch_size, options)


def test_it_says_what_it_is_in_json_and_without_the_key(make: Make) -> None:
    one, again = make(), make()

    assert one.name and isinstance(one.name, str)
    assert one.fingerprint == again.fingerprint and isinstance(one.fingerprint, str) and len(one.fingerprint) >= 8
    told = json.dumps(dict(one.describe()))
    assert KEY not in told and told == json.dumps(dict(again.describe()))


def test_it_answers_each_request_once_and_the_same_again(make: Make) -> None:
    model = make()

    replies = {reply.id: reply for reply in model.generate(REQUESTS, DECODING)}
    again = {reply.id: reply.text for reply in model.generate(REQUESTS[::-1], DECODING)}

    assert len(list(model.generate(REQUESTS, DECODING))) == len(replies) == len(REQUESTS)
    assert replies.keys() == {request.id for request in REQUESTS}
    assert again == {name: reply.text for name, reply in replies.items()}
    for reply in replies.values():
        assert reply.finish in ("stop", "length", "error")
        assert (reply.text is None) == (reply.finish == "error") == (reply.error is not None)
    assert list(model.generate([], DECODING)) == []


def test_it_can_what_it_says(make: Make) -> None:
    model = make()

    can = capabilities(model)

    assert "generate" in can and can <= {"generate", "logprob"}
    if "logprob" not in can:
        return
    assert isinstance(model, OptionScorer)
    scored = {reply.id: reply for reply in model.option_logprobs(REQUESTS)}
    assert scored.keys() == {request.id for request in REQUESTS}
    for request in REQUESTS:
        values = scored[request.id].option_logprobs
        if scored[request.id].finish == "error":
            assert scored[request.id].error and not values
        else:
            assert len(values) == len(request.options) and all(map(math.isfinite, values))


def test_an_option_that_it_does_not_have_is_refused(make: Make) -> None:
    with pytest.raises(UsageError, match="no option 'no_such_option'"):
        make(no_such_option=1)
