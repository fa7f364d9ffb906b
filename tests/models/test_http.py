"""The HTTP back end against a server that misbehaves, over real sockets."""

from __future__ import annotations

import hashlib
import logging
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))
from aloe_bench.core import Decoding, Message, Model, Prediction, Request
from aloe_bench.errors import ModelError
from aloe_bench.models.http import OpenAIModel
from tests.support.faulty_server import FaultyServer, Plan, answer_to, faulty_server

KEY = "sk-planted-SECRET-123"


@dataclass(frozen=True)
class Picture:
    """An ImageRef over pixels in memory; without any it does not open."""

    image: Image.Image | None

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.image.tobytes() if self.image else b"").hexdigest()

    @property
    def size(self) -> tuple[int, int]:
        return self.image.size if self.image else (1, 1)

    def open(self) -> Image.Image:
        if self.image is None:
            raise OSError("cannot identify image file")
        return self.image.copy()


@pytest.fixture(autouse=True)
def no_thread_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    before = threading.active_count()
    yield
    assert threading.active_count() == before


@pytest.fixture(scope="module")
def sound() -> Iterator[FaultyServer]:
    with faulty_server(Plan()) as server:
        yield server


def ask(*prompts: str) -> list[Request]:
    return [Request(id=f"id-{p}", messages=(Message("user", p),)) for p in prompts]


def answers(model: Model, requests: list[Request]) -> list[Prediction]:
    return list(model.generate(requests, Decoding()))


def test_every_answer_arrives_once_and_correct_through_30_percent_faults() -> None:
    prompts = [f"question {i}" for i in range(120)]
    with faulty_server(Plan(share=0.3, seed=1)) as server:
        # Not tighter: a good answer that a loaded machine gave too late would be counted twice.
        model = OpenAIModel("m", base_url=server.url, timeout=1.0, attempts=10)
        got = answers(model, ask(*prompts))
        stats = server.stats()

    assert sorted(p.id for p in got) == sorted(f"id-{p}" for p in prompts)
    assert {p.id: p.text for p in got} == {f"id-{p}": answer_to(p) for p in prompts}
    assert {p.finish for p in got} == {"stop"}
    assert stats["done"] == dict.fromkeys(prompts, 1)
    assert sum(map(len, stats["calls"].values())) > 140  # faults did happen


@pytest.mark.parametrize("fault", ["500", "stall", "cut", "garbage", "empty"])
def test_a_server_that_always_fails_gives_errors_and_never_text(fault: str) -> None:
    with faulty_server(Plan(share=1.0, faults=(fault,))) as server:
        model = OpenAIModel("m", base_url=server.url, timeout=0.3 if fault == "stall" else 10, attempts=2)
        got = answers(model, ask("a", "b", "c"))
        calls = server.stats()["calls"]

    assert len(got) == 3
    assert all(p.text is None and p.finish == "error" and p.error for p in got)
    assert [len(times) for times in calls.values()] == [2, 2, 2]
    if fault == "500":
        assert all("HTTP 500" in (p.error or "") for p in got)


def test_a_reason_to_stop_that_is_no_text_leaves_the_text_as_it_is() -> None:
    with faulty_server(Plan(always=1, faults=("odd",))) as server:
        got = answers(OpenAIModel("m", base_url=server.url), ask("a", "b"))

    assert [p.finish for p in got] == ["stop", "stop"]
    assert [p.finish_reason for p in got] == [None, None]


@pytest.mark.parametrize("status", ["400", "401", "403", "404", "422"])
def test_a_request_at_fault_is_not_sent_twice(status: str) -> None:
    with faulty_server(Plan(share=1.0, faults=(status,))) as server:
        (got,) = answers(OpenAIModel("m", base_url=server.url), ask("a"))
        calls = server.stats()["calls"]

    assert got.finish == "error"
    assert f"HTTP {status}" in (got.error or "")
    assert len(calls["a"]) == 1


@pytest.mark.parametrize("retry_after", ["1.5", "date"])
def test_retry_after_is_honoured(retry_after: str) -> None:
    with faulty_server(Plan(always=1, faults=("429",), retry_after=retry_after)) as server:
        (got,) = answers(OpenAIModel("m", base_url=server.url), ask("a"))
        first, second = server.stats()["calls"]["a"]

    assert got.text == answer_to("a")
    assert 1.4 <= second - first < 5  # an unforced first wait is at most 0.5 s


@pytest.mark.parametrize("fault", ["400", "401", "429", "500", "models-401"])
def test_the_key_shows_nowhere(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    seen = ""
    with faulty_server(Plan(share=1.0, faults=(fault,), retry_after="0")) as server:
        url = server.url.replace("//", "//someone:pass-SECRET-9@") + "?sig=query-SECRET-7"
        model = OpenAIModel("m", base_url=url, api_key=KEY, attempts=2)
        seen += f"{model!r} {model.describe()} {vars(model)}"
        try:
            seen += repr(answers(model, ask("a")))
        except ModelError as error:
            assert fault == "models-401"
            seen += repr(error) + "".join(traceback.format_exception(error)) + repr(error.__context__)

    for record in caplog.records:
        seen += f"{record.getMessage()} {record.args} {record.exc_text} {vars(record)}"
    assert "SECRET" not in seen + caplog.text
    assert caplog.records, "the client logs at this level, so there was something to leak"


def test_an_endpoint_that_does_not_answer_is_said_once_and_clearly() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}/v1"
        with pytest.raises(ModelError, match=r"127\.0\.0\.1:\d+/v1 cannot be reached"):
            answers(OpenAIModel("m", base_url=url, api_key=KEY), ask("a", "b"))


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
def test_pixels_arrive_intact_and_before_the_text(sound: FaultyServer, mode: str) -> None:
    images = [Image.effect_noise((37 + i, 23), 90).convert(mode) for i in range(2)]
    turns = (Message("system", "be brief"), Message("user", mode), Message("user", "and?"))
    request = Request("x", turns, images=tuple(Picture(i) for i in images))

    (got,) = answers(OpenAIModel("m", base_url=sound.url), [request])

    sent = [hashlib.sha256(mode.encode() + str(i.size).encode() + i.tobytes()).hexdigest() for i in images]
    assert got.text == "pixels " + " ".join(sent)
    kinds = sound.stats()["seen"][f"be brief\n{mode}\nand?"]["kinds"]
    assert kinds == ["text", "image_url", "image_url", "text", "text"]


def test_what_cannot_be_sent_fails_alone(sound: FaultyServer) -> None:
    broken = Request("broken", (Message("user", "look"),), images=(Picture(None),))
    surrogate = Request("surrogate", (Message("user", "\ud800"),))
    bare = Request("bare", (Message("user", "x"),), chat=False)

    got = {p.id: p for p in answers(OpenAIModel("m", base_url=sound.url), [broken, surrogate, bare, *ask("fine")])}

    assert got["id-fine"].text == answer_to("fine")
    assert "does not open" in (got["broken"].error or "")
    assert {got[i].finish for i in ("broken", "surrogate", "bare")} == {"error"}


def test_decoding_schema_usage_and_finish_travel(sound: FaultyServer) -> None:
    schema = {"type": "object"}
    request = Request("x", (Message("user", "at the limit"),), json_schema=schema)

    (got,) = OpenAIModel("m", base_url=sound.url).generate([request], Decoding(0.7, 33))

    sent = sound.stats()["seen"]["at the limit"]
    assert (sent["model"], sent["temperature"], sent["max_tokens"]) == ("m", 0.7, 33)
    assert sent["response_format"]["json_schema"]["schema"] == schema
    assert (got.finish, got.prompt_tokens, got.output_tokens) == ("length", 12, 7)


@pytest.mark.alone
def test_a_caller_that_stops_early_stops_the_work() -> None:
    with faulty_server(Plan(delay_s=0.2)) as server:
        stream = OpenAIModel("m", base_url=server.url, concurrency=4).generate(
            ask(*(f"q{i}" for i in range(200))), Decoding()
        )
        next(stream)
        start = time.monotonic()
        stream.close()  # type: ignore[attr-defined]
        took = time.monotonic() - start
        time.sleep(0.5)
        stats = server.stats()

    assert took < 2
    assert len(stats["calls"]) < 20
    assert stats["most"] <= 8  # four, and as many that were cut off and sleep on


def test_concurrency_is_the_most_in_flight() -> None:
    with faulty_server(Plan(delay_s=0.05)) as server:
        answers(OpenAIModel("m", base_url=server.url, concurrency=5), ask(*(f"q{i}" for i in range(40))))
        assert 2 <= server.stats()["most"] <= 5


def test_fingerprint_knows_endpoint_and_model_but_no_credentials() -> None:
    plain = OpenAIModel("m", base_url="https://host:8000/v1")
    dressed = OpenAIModel("m", base_url="https://me:pw@host:8000/v1/?key=abc", api_key=KEY)

    assert dressed.fingerprint == plain.fingerprint
    assert dressed.describe() == plain.describe()
    assert len({plain.fingerprint, OpenAIModel("n", base_url="https://host:8000/v1").fingerprint}) == 2


@pytest.mark.parametrize("url", ["host:8000/v1", "ftp://host/v1", "http://host:port/v1", ""])
def test_a_url_that_cannot_work_is_refused(url: str) -> None:
    with pytest.raises(ModelError, match="must look like"):
        OpenAIModel("m", base_url=url)


@pytest.mark.parametrize("key", ["sk-line\nbreak-SECRET", "sk-ключ-SECRET"])
def test_a_key_no_header_can_carry_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ModelError) as refused:
        OpenAIModel("m", base_url="http://host/v1", api_key=key)
    assert "SECRET" not in str(refused.value)


def test_a_password_in_the_url_shows_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with faulty_server(Plan(share=1.0, faults=("400",))) as server:
        model = OpenAIModel("m", base_url=server.url.replace("//", "//someone:pass-SECRET-9@"))
        (got,) = answers(model, ask("a"))

    assert "Basic [secret]" in (got.error or "")  # it was sent, and echoed
    token = "c29tZW9uZTpwYXNzLVNFQ1JFVC05"
    assert not any(word in f"{got} {vars(model)} {caplog.text}" for word in ("SECRET", token))
