"""What a run is told of its server, and what the server is sent: switches, pictures, addresses, revisions."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from aloe_bench import ModelSpec, evaluate, leaderboard
from aloe_bench.answers.score import grade
from aloe_bench.core import Decoding, Message, Prediction, Request, Sample
from aloe_bench.images import bytes_image, file_image
from aloe_bench.models.http import OpenAIModel
from tests.conftest import MINI, Run, closed_rows
from tests.support.awkward_server import Reply, awkward_server, chat
from tests.support.documented_servers import NO_TEMPERATURE, ONLY_DEFAULT, TOKENS, refusing

pytestmark = pytest.mark.usefixtures("no_proxy")


GREEDY = Decoding()


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def questions(n: int) -> list[Request]:
    return [Request(f"q{i}", (Message("user", f"question {i}"),)) for i in range(n)]


def answers(model: OpenAIModel, requests: list[Request], decoding: Decoding = GREEDY) -> dict[str, Prediction]:
    got = list(model.generate(requests, decoding))
    assert sorted(reply.id for reply in got) == sorted(request.id for request in requests)
    return {reply.id: reply for reply in got}


def test_a_row_is_marked_where_the_server_took_no_temperature(tmp_path: Path) -> None:
    with awkward_server(refusing({"temperature": NO_TEMPERATURE})) as server:
        spec = ModelSpec("m", base_url=server.url)
        run = evaluate(spec, "careqa_vision_mcq", data_root=MINI, output=tmp_path / "runs", allow_partial=True)
    (page,) = (page for page in leaderboard([run], tmp_path / "boards") if page.name == "careqa_vision.md")

    rows = [line for line in page.read_text().splitlines() if line.startswith(f"| {run.header['model']['name']}")]
    assert len(rows) == 1 and "[temperature refused]" in rows[0]


@pytest.mark.parametrize("reason", ["content_filter", "SAFETY", "image_safety", "guardrail"])
def test_a_reply_that_a_filter_took_away_is_filtered_whatever_the_filter_is_called(reason: str) -> None:
    body = {"choices": [{"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": None}}]}
    with awkward_server(lambda *_: (200, body)) as server:
        (got,) = answers(OpenAIModel("m", base_url=server.url), questions(1)).values()

    question = Sample("q0", "choice", "?", "A", "q0", choices=("one", "two"))
    assert got.finish != "error" and len(server.sent) == 1
    assert (grade(question, got).value, grade(question, got).outcome) == (0.0, "filtered")


def noise(size: tuple[int, int], kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.merge("RGB", [Image.effect_noise(size, 40 + 9 * band) for band in range(3)]).save(file, kind, **options)
    return file.getvalue()


def seen_by(server_url: str, sent: list[dict[str, Any]], image: Any, **settings: Any) -> tuple[str, bytes]:
    """Return media type and bytes of a picture as the server got it."""
    request = Request("x", (Message("user", "look"),), (image,))
    assert answers(OpenAIModel("m", base_url=server_url, **settings), [request])["x"].text == "B"
    head, data = sent[-1]["messages"][0]["content"][0]["image_url"]["url"].split(",", 1)
    return head, base64.b64decode(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_an_upright_file_is_sent_as_it_lies_there(kind: str, tmp_path: Path) -> None:
    data = noise((90, 70), kind)
    (tmp_path / "picture").write_bytes(data)
    with awkward_server(lambda *_: chat("B")) as server:
        for image in (bytes_image(data, "x"), file_image(tmp_path / "picture")):
            head, sent = seen_by(server.url, server.sent, image)
            assert (head, sent) == (f"data:image/{kind.lower()};base64", data)


def turned(degrees: int = 6) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = degrees
    return noise((90, 70), "JPEG", exif=exif)


def clear() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((40, 30), 60).convert("RGBA").save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("data", [turned(), turned(3), clear(), noise((40, 30), "TIFF"), noise((40, 30), "BMP")])
def test_what_a_server_would_see_otherwise_is_sent_as_we_open_it(data: bytes) -> None:
    image = bytes_image(data, "x")
    with awkward_server(lambda *_: chat("B")) as server:
        head, sent = seen_by(server.url, server.sent, image)
    assert head == "data:image/png;base64"
    assert Image.open(io.BytesIO(sent)).tobytes() == image.open().tobytes()


def test_a_file_cut_short_is_not_sent() -> None:
    image = bytes_image(noise((90, 70), "PNG")[:-900], "x")
    with awkward_server(lambda *_: chat("B")) as server:
        model = OpenAIModel("m", base_url=server.url)
        (got,) = model.generate([Request("x", (Message("user", "look"),), (image,))], Decoding())
    assert "does not open" in str(got.error) and not server.sent


def test_pixel_limits_resize_before_sending_and_keep_the_shape() -> None:
    image = bytes_image(noise((400, 100), "JPEG"), "x")
    with awkward_server(lambda *_: chat("B")) as server:
        _, small = seen_by(server.url, server.sent, image, max_pixels=10_000)
        _, large = seen_by(server.url, server.sent, image, min_pixels=160_000)
        _, same = seen_by(server.url, server.sent, image, min_pixels=10_000, max_pixels=40_000)
    assert Image.open(io.BytesIO(small)).size == (200, 50)
    assert Image.open(io.BytesIO(large)).size == (800, 200)
    assert same == image.data


def test_413_names_the_size_and_what_to_do() -> None:
    image = bytes_image(noise((400, 300), "PNG"), "x")
    with awkward_server(lambda *_: (413, "<html><h1>413 Request Entity Too Large</h1></html>")) as server:
        model = OpenAIModel("m", base_url=server.url)
        (got,) = model.generate([Request("x", (Message("user", "look"),), (image,))], Decoding())
    assert re.search(r"0\.\d\d MB.*--max-pixels", str(got.error))


def test_effort_and_template_keywords_are_sent_and_stand_in_the_profile() -> None:
    with awkward_server(lambda *_: chat("B")) as server:
        settings: dict[str, Any] = {"reasoning_effort": "low", "chat_template_kwargs": {"enable_thinking": False}}
        model = OpenAIModel("m", base_url=server.url, **settings)
        answers(model, questions(1))
    assert server.sent[0]["reasoning_effort"] == "low"
    assert server.sent[0]["chat_template_kwargs"] == {"enable_thinking": False}
    assert "low" in str(model.describe()["profile"]) and "enable_thinking" in str(model.describe()["profile"])


def test_several_addresses_share_the_questions_and_one_that_dies_is_stood_in_for() -> None:
    def dying(_: Mapping[str, Any], count: int) -> Reply:
        return chat("A") if count < 5 else (503, {"error": "shutting down"})

    with awkward_server(lambda *_: chat("B")) as sound, awkward_server(dying) as dies:
        model = OpenAIModel("m", base_url=[sound.url, dies.url], concurrency=2)
        got = answers(model, questions(24))
    texts = [reply.text for reply in got.values()]
    assert texts.count("A") == 5 and texts.count("B") == 19


def test_a_revision_makes_the_model_known_wherever_it_stands() -> None:
    here, there = "http://a:1/v1", "http://b:2/v1"

    def known(url: Any, **more: Any) -> str:
        return OpenAIModel("m", base_url=url, **more).fingerprint

    assert known(here, revision="c0ffee") == known(there, revision="c0ffee") == known([here, there], revision="c0ffee")
    assert len({known(here), known(there), known(here, revision="c0ffee"), known(here, revision="beef")}) == 4
    assert known(here, name="fixed") == known(here)
    assert known([here, there]) == known([there, here])


def test_a_server_that_moved_finishes_its_run_and_its_shards_merge(quick: Run, tmp_path: Path) -> None:
    def run(behave: Callable[..., Reply], *more: str) -> Any:
        with awkward_server(behave) as server:
            return quick(
                *("run", "--model", "m", "--name", "fixed", "--base-url", server.url, "--tasks", "careqa_vision_mcq"),
                *("--data-root", MINI, "--allow-partial", "--limit", "6", *more),
            )

    def busy(_: Mapping[str, Any], count: int) -> Reply:
        return chat("B") if count < 2 else (413, "<html>no</html>")

    assert run(busy, "--output", "r", "--revision", "c0ffee").returncode == 1
    assert run(lambda *_: chat("B"), "--output", "r", "--revision", "c0ffee").returncode == 0
    for shard in ("1/2", "2/2"):
        assert run(lambda *_: chat("A"), "--output", "s", "--shard", shard, "--revision", "c0ffee").returncode == 0
    shards = sorted((tmp_path / "s").glob("*/*/*/run.json"))
    merged = quick("merge", *[path.parent for path in shards], "--output", "whole")
    assert merged.returncode == 0, merged.stderr

    assert run(busy, "--output", "n").returncode == 1
    moved = run(lambda *_: chat("B"), "--output", "n")
    assert moved.returncode == 3
    assert "127.0.0.1" in moved.stderr and "--revision" in moved.stderr


def test_what_was_switched_stands_in_the_header(quick: Run, tmp_path: Path, closed: Callable[..., Path]) -> None:
    with awkward_server(refusing({"max_tokens": TOKENS, "temperature": ONLY_DEFAULT})) as server:
        done = quick(
            *("run", "--model", "m", "--base-url", server.url, "--tasks", "careqa_vision_mcq", "--output", "r"),
            *("--data-root", closed(closed_rows(3)), "--allow-partial"),
        )
    assert done.returncode == 0
    (header,) = (tmp_path / "r").glob("*/*/*/run.json")
    switched = json.loads(header.read_text())["model"]["settings"]["switched"]
    assert set(switched) == {"max_tokens", "temperature"}


def test_model_args_take_json_with_commas_of_its_own(quick: Run, tmp_path: Path, closed: Callable[..., Path]) -> None:
    keywords = {"enable_thinking": False, "levels": [1, 2]}
    with awkward_server(lambda *_: chat("B")) as server:
        done = quick(
            *("run", "--model", "m", "--base-url", server.url, "--tasks", "careqa_vision_mcq", "--output", "r"),
            *("--model-args", f"reasoning_effort=low,chat_template_kwargs={json.dumps(keywords)},attempts=2"),
            *("--data-root", closed(closed_rows(2)), "--allow-partial"),
        )
    assert done.returncode == 0, done.stderr
    assert server.sent[0]["chat_template_kwargs"] == keywords
