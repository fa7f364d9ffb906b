"""vLLM on the CPU against transformers, on a tiny Qwen2-VL with random weights: `make test-vllm`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("vllm", reason="vLLM needs an environment of its own; `make test-vllm` makes it")
os.environ |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_LOGGING_LEVEL": "WARNING"}

sys.path.insert(0, str(Path(__file__).parents[2]))
from aloe_bench.core import Decoding, Message, Prediction, Request
from aloe_bench.evaluation.runlog import read_run
from aloe_bench.images import file_image
from aloe_bench.miniature.checkpoint import build_tiny_checkpoint
from aloe_bench.models.hf import HFModel
from aloe_bench.models.http import OpenAIModel
from aloe_bench.models.vllm_engine import VLLMModel
from tests.support.many_rows import write_many_rows

# What vLLM, its compiled modules and torch deprecate of each other while they are imported.
pytestmark = pytest.mark.filterwarnings("ignore")

DECODING = Decoding(max_new_tokens=12)
MINI = Path(__file__).parents[1] / "data" / "careqa_mini"
ENGINE = {"enforce_eager": True, "max_model_len": 2048, "max_num_seqs": 32}
ENGINE_ARGS = ",".join(f"{key}={str(value).lower()}" for key, value in ENGINE.items())


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_checkpoint(tmp_path_factory.mktemp("vllm") / "tiny")


@pytest.fixture(scope="session")
def hf(folder: Path) -> HFModel:
    return HFModel(str(folder), device="cpu")


@pytest.fixture(scope="session")
def engine(folder: Path) -> VLLMModel:
    return VLLMModel(str(folder), **ENGINE)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def server(folder: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), "--port", str(port)]
    command += ["--served-model-name", "tiny", "--generation-config", "vllm", "--enforce-eager", "--dtype", "float32"]
    command += ["--max-model-len", "2048", "--max-num-seqs", "32", "--limit-mm-per-prompt", '{"image": 2, "video": 0}']
    process = subprocess.Popen([*command, "--host", "127.0.0.1"])
    base = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            assert process.poll() is None, "the server ended by itself"
            try:
                urllib.request.urlopen(f"{base}/health", timeout=2).close()
                break
            except OSError:
                time.sleep(1)
        yield f"{base}/v1"
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="session")
def requests(tmp_path_factory: pytest.TempPathFactory) -> list[Request]:
    """Eight pictures of as many sizes, nine questions each."""
    root = tmp_path_factory.mktemp("pictures")
    made = []
    for number in range(8):
        size = (60 + 33 * number, 210 - 17 * number)
        grey = Image.linear_gradient("L").rotate(45 * number).resize(size).convert("RGB")
        grey.save(root / f"{number}.png")
        for cue in range(9):
            text = f"Which finding is shown? {'A nurse says B. ' * cue}Answer:"
            image = file_image(root / f"{number}.png")
            made.append(Request(f"{number}/{cue}", (Message("user", text),), (image,), tuple("ABCD")))
    return made


def by_id(replies: Iterator[Prediction]) -> dict[str, Prediction]:
    return {reply.id: reply for reply in replies}


def cut(ids: tuple[int, ...], ends: tuple[int, ...]) -> tuple[int, ...]:
    return ids[: next((i for i, token in enumerate(ids) if token in ends), None)]


def test_vllm_and_transformers_give_the_same_tokens(hf, engine, requests):
    ours, theirs = by_id(hf.generate(requests, DECODING)), by_id(engine.generate(requests, DECODING))
    again = by_id(engine.generate(requests[::-1], DECODING))

    assert len(requests) >= 64
    assert all(reply.error is None for reply in theirs.values())
    assert len({reply.token_ids for reply in ours.values()}) > 60
    for request in requests:
        mine, other = ours[request.id], theirs[request.id]
        assert mine.token_ids == other.token_ids == again[request.id].token_ids
        assert (mine.text, mine.finish, mine.prompt_tokens) == (other.text, other.finish, other.prompt_tokens)


def test_a_cut_reply_goes_on_from_its_own_tokens_to_what_one_long_run_says(engine, requests):
    asked = requests[::3]
    long = by_id(engine.generate(asked, DECODING))
    short = by_id(engine.generate(asked, replace(DECODING, max_new_tokens=5)))
    begun = [reply for reply in short.values() if reply.finish == "length"]
    cut_short = [request for request in asked if short[request.id].finish == "length"]

    whole = by_id(engine.extend(cut_short, begun, replace(DECODING, max_new_tokens=7)))

    assert len(whole) == len(cut_short) > 15
    for request in cut_short:
        mine, other = whole[request.id], long[request.id]
        assert (mine.token_ids, mine.text, mine.finish) == (other.token_ids, other.text, other.finish)
        assert (mine.prompt_tokens, mine.output_tokens) == (other.prompt_tokens, other.output_tokens)


def test_option_scores_agree(hf, engine, requests):
    asked = [replace(request, options=("A", "pneumonia", "Zyx qq", "D")) for request in requests[::5]]

    ours, theirs = by_id(hf.option_logprobs(asked)), by_id(engine.option_logprobs(asked))

    for request in asked:
        mine, other = ours[request.id], theirs[request.id]
        assert other.option_logprobs == pytest.approx(mine.option_logprobs, abs=1e-3)
        assert (mine.text, mine.prompt_tokens) == (other.text, other.prompt_tokens)


def test_options_after_a_raw_prompt_are_tokenized_together_with_it(hf, engine):
    raw = [
        Request(str(n), (Message("user", text),), (), ("cough never", "fever and pain", " A"), chat=False)
        for n, text in enumerate(("Answer: ", "The finding is", "The patient has fever. Answer: "))
    ]
    ids = hf.tokenizer
    alone, after = (len(ids(text)["input_ids"]) for text in ("cough never", "Answer: cough never"))
    assert after - len(ids("Answer: ")["input_ids"]) != alone

    ours, theirs = by_id(hf.option_logprobs(raw)), by_id(engine.option_logprobs(raw))

    for request in raw:
        mine, other = ours[request.id], theirs[request.id]
        assert other.option_logprobs == pytest.approx(mine.option_logprobs, abs=1e-3)


def test_one_refused_request_does_not_take_the_others_along(engine, requests):
    long = replace(requests[0], id="long", messages=(Message("user", "word " * 4000),))
    gone = replace(requests[0], id="gone", images=(file_image(MINI / "images" / "cell.png"),))
    replies = by_id(engine.generate([*requests[:6], long, gone], DECODING))

    assert replies["long"].text is None and "2048" in str(replies["long"].error)
    assert sum(reply.error is None for reply in replies.values()) == 7
    assert engine.describe()["dtype"] == "float32"


def test_a_guided_reply_is_one_of_the_options_and_json_is_json(engine, requests):
    import json

    schema = {"type": "object", "properties": {"grade": {"enum": [0, 0.5, 1]}}, "required": ["grade"]}
    shaped = [replace(request, id=f"j{request.id}", json_schema=schema) for request in requests[:4]]
    engine.guided = True
    replies = by_id(engine.generate([*requests[:16], *shaped], replace(DECODING, max_new_tokens=40)))
    engine.guided = False

    assert {replies[request.id].text for request in requests[:16]} <= set("ABCD")
    finished = [replies[r.id].text for r in shaped if replies[r.id].finish == "stop"]
    assert all(json.loads(str(text))["grade"] in (0, 0.5, 1) for text in finished)


def test_a_server_gives_the_same_tokens_and_scores(hf, server, requests):
    model = OpenAIModel("tiny", base_url=server, token_ids=True)
    ours, theirs = by_id(hf.generate(requests, DECODING)), by_id(model.generate(requests, DECODING))

    assert all(reply.error is None for reply in theirs.values())
    for request in requests:
        assert cut(theirs[request.id].token_ids, hf.eos) == ours[request.id].token_ids

    likeliest = {}
    for request in requests[:12]:
        first = ours[request.id].token_ids[0]
        likeliest[request.id] = replace(request, options=(hf.tokenizer.decode([first]),))
    plain = [r for r in likeliest.values() if "�" not in r.options[0]]
    ours, theirs = by_id(hf.option_logprobs(plain)), by_id(model.option_logprobs(plain))
    assert plain
    for request in plain:
        if theirs[request.id].error is None:
            assert theirs[request.id].option_logprobs == pytest.approx(ours[request.id].option_logprobs, abs=1e-3)
    assert any(reply.error is None for reply in theirs.values())
    refused = next(model.option_logprobs([replace(requests[0], options=("no such token",))]))
    assert refused.text is None and "likeliest" in str(refused.error)


def scored(run: Path, ends: tuple[int, ...]) -> list[tuple[object, ...]]:
    return [
        (r.sample_id, cut(r.prediction.token_ids, ends), r.score.value, r.score.parsed, r.score.rule)
        for r in read_run(run)[1]
    ]


def test_a_sampled_reply_depends_on_its_request_alone_and_comes_from_the_providers_distribution(hf, engine, requests):
    asked = requests[::2]
    provider = Decoding(max_new_tokens=6, temperature=0.7, top_p=0.8, top_k=20, repetition_penalty=1.05, seed=3)
    one = by_id(engine.generate(asked, provider))
    other = by_id(engine.generate(asked[::-1], provider))
    again = by_id(engine.generate(asked[:5], provider))
    greedy = by_id(engine.generate(asked, replace(provider, temperature=0.0, top_p=None, top_k=None)))

    assert {name: reply.token_ids for name, reply in one.items()} == {n: reply.token_ids for n, reply in other.items()}
    assert all(again[request.id].token_ids == one[request.id].token_ids for request in asked[:5])
    assert sum(one[request.id].token_ids != greedy[request.id].token_ids for request in asked) > len(asked) / 2
    assert len({reply.seed for reply in one.values()}) == len(asked)
    for request in asked:
        inputs = hf.prepare([request], [[picture.open() for picture in request.images]])
        nucleus = hf.network.generate(
            **inputs,
            generation_config=hf.generation_config(replace(provider, max_new_tokens=1)),
            output_scores=True,
            return_dict_in_generate=True,
        ).scores[0][0]
        first = next(iter(one[request.id].token_ids), hf.eos[0])
        assert nucleus[first] > float("-inf"), "transformers would never say that word"


def test_decoding_and_picture_tokens_of_a_run_are_those_of_transformers(folder, aloe, tmp_path):
    import json

    settings = json.loads((folder / "generation_config.json").read_text())
    sampled = settings | {"do_sample": True, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.05}
    common = ["run", "--tasks", "careqa_vision_mcq", "--data-root", MINI, "--limit", "8", "--allow-partial"]
    common += ["--model", folder, "--max-new-tokens", "6", "--decoding", "provider", "--output", tmp_path]
    (folder / "generation_config.json").write_text(json.dumps(sampled))
    try:
        found = {}
        for way, options in {"hf": [], "vllm": ["--backend", "vllm", "--model-args", ENGINE_ARGS]}.items():
            done = aloe(*common, *options, "--name", way)
            assert done.returncode == 0, done.stderr
            (run,) = (tmp_path / way).rglob("run.json")
            found[way] = (json.loads(run.read_text()), json.loads((run.parent / "summary.json").read_text()))
    finally:
        (folder / "generation_config.json").write_text(json.dumps(settings))

    decoding = found["vllm"][0]["decoding"]
    assert decoding == found["hf"][0]["decoding"]
    assert (decoding["temperature"], decoding["top_k"], decoding["source"]) == (0.7, 20, "generation_config.json")
    mean = found["vllm"][1]["image_tokens"]
    assert mean == found["hf"][1]["image_tokens"]
    assert mean["pictures"] >= 8 and mean["mean"] > 1


def test_200_rows_score_alike(folder, server, hf, aloe, tmp_path):
    root = write_many_rows(tmp_path / "data")
    common = ["run", "--tasks", "careqa_vision_mcq", "--data-root", root, "--allow-partial"]
    common += ["--max-new-tokens", "12", "--output", tmp_path / "runs"]
    local = ["--model", folder]
    engine = [*local, "--backend", "vllm", "--model-args", ENGINE_ARGS]
    ways = {
        "hf": local,
        "vllm": engine,
        "server": ["--model", "tiny", "--base-url", server, "--model-args", "token_ids=true"],
        "hf-logprob": [*local, "--protocol", "logprob"],
        "vllm-logprob": [*engine, "--protocol", "logprob"],
    }
    rows = {}
    for way, options in ways.items():
        done = aloe(*common, *options, "--name", way)
        assert done.returncode == 0, done.stderr
        (run,) = (tmp_path / "runs" / way).rglob("run.json")
        rows[way] = scored(run.parent, hf.eos)
    assert {len(found) for found in rows.values()} == {200}
    assert rows["hf"] == rows["vllm"] == rows["server"]
    assert rows["hf-logprob"] == rows["vllm-logprob"]
    assert {value for _, _, value, *_ in rows["hf-logprob"]} == {0.0, 1.0}
