"""`--decoding provider`: replies sampled as the model's provider says, labelled as that."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aloe_bench import ModelSpec, evaluate, leaderboard
from aloe_bench.core import Decoding, Message, Request
from aloe_bench.errors import ModelError, UsageError
from aloe_bench.models.decoding import provider_decoding
from tests.conftest import MINI, Run, closed_rows
from tests.support.awkward_server import awkward_server, chat

GREEDY = Decoding(max_new_tokens=12)
# As Qwen2.5-VL's folders have it: sampling that is nearly greedy, and a penalty that greedy decoding would keep.
QWEN = {"do_sample": True, "temperature": 0.000001, "top_p": 1.0, "repetition_penalty": 1.05, "eos_token_id": [7]}


def folder_with(place: Path, settings: object) -> ModelSpec:
    place.mkdir(exist_ok=True)
    (place / "config.json").write_text('{"model_type": "llama"}')
    (place / "generation_config.json").write_text(json.dumps(settings))
    return ModelSpec(str(place))


@pytest.mark.parametrize(
    ("settings", "taken"),
    [
        (QWEN, {"temperature": 0.000001, "repetition_penalty": 1.05}),
        ({"do_sample": True}, {"temperature": 1.0}),
        ({"do_sample": True, "top_k": 20, "min_p": None}, {"temperature": 1.0, "top_k": 20}),
        ({"temperature": 0.6, "top_p": 0.9, "repetition_penalty": 1.1}, {"repetition_penalty": 1.1}),
        ({"do_sample": True, "temperature": 0.6, "max_new_tokens": 9, "num_beams": 1}, {"temperature": 0.6}),
    ],
)
def test_a_folder_says_it_and_what_it_leaves_open_changes_nothing(
    settings: object, taken: dict[str, Any], tmp_path: Path
) -> None:
    found = provider_decoding(folder_with(tmp_path / "m", settings), GREEDY)

    assert found.to_json() == GREEDY.to_json() | taken | {"source": "generation_config.json"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"eos_token_id": 3}, "names no sampling"),
        ({"temperature": 0.6, "do_sample": False}, "names no sampling"),
        ({"do_sample": True, "num_beams": 4}, "num_beams 4 cannot be carried out"),
        ({"do_sample": True, "stop_strings": ["\n"]}, "stop_strings .* cannot be carried out"),
        ({"do_sample": True, "top_p": 0}, "top_p 0 cannot be carried out"),
        ({"do_sample": True, "top_k": 20.5}, "top_k 20.5 cannot be carried out"),
        ({"repetition_penalty": 0}, "repetition_penalty 0 cannot be carried out"),
        ({"do_sample": True, "temperature": "hot"}, "temperature 'hot' is not a number"),
        ([1], "no table of settings"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_by_name(settings: object, words: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=words):
        provider_decoding(folder_with(tmp_path / "m", settings), GREEDY)


def test_a_served_model_is_sampled_as_known_with_its_source(tmp_path: Path, closed: Callable[..., Path]) -> None:
    options: dict[str, Any] = {"data_root": closed(closed_rows(4)), "allow_partial": True}
    with awkward_server(lambda *_: chat("B")) as server:
        spec = ModelSpec("Qwen/Qwen3-VL-8B-Instruct", base_url=server.url)
        greedy = evaluate(spec, "careqa_vision_mcq", output=tmp_path / "g", **options)
        run = evaluate(spec, "careqa_vision_mcq", output=tmp_path / "p", decoding="provider", **options)
    sent = server.sent[-1]
    (page,) = (each for each in leaderboard([greedy, run], tmp_path / "b") if each.name == "careqa_vision.md")

    assert [sent[key] for key in ("temperature", "top_p", "top_k", "presence_penalty")] == [0.7, 0.8, 20, 1.5]
    assert "seed" in sent and "top_p" not in server.sent[0]
    assert "github.com/QwenLM/Qwen3-VL" in run.header["decoding"]["source"]
    assert set(greedy.header["decoding"]) == {"temperature", "max_new_tokens"}
    rows = [line for line in page.read_text().splitlines() if line.startswith(f"| {run.header['model']['name']}")]
    assert sorted("[provider's decoding]" in row for row in rows) == [False, True]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--model", "MODEL", "--temperature", "0.5"], 2, "leave --temperature out"),
        (["--model", "MODEL", "--protocol", "logprob"], 2, "decodes nothing"),
        (["--model", "mock"], 2, "checkpoint folder"),
        (["--model", "m", "--base-url", "http://127.0.0.1:9/v1"], 3, "is not known here"),
    ],
)
def test_it_is_refused_where_it_means_nothing(
    words: list[str], code: int, told: str, quick: Run, tmp_path: Path
) -> None:
    folder_with(tmp_path / "m", QWEN)
    words = [str(tmp_path / "m") if word == "MODEL" else word for word in words]
    done = quick("run", "--tasks", "careqa_vision_mcq", "--data-root", MINI, "--decoding", "provider", *words)
    assert done.returncode == code and told in " ".join(done.stderr.split())


def test_an_object_has_no_provider(tmp_path: Path) -> None:
    class Own:
        name, fingerprint = "own", "0" * 64

        def describe(self) -> dict[str, object]:
            return {}

        def generate(self, requests: Any, decoding: Decoding) -> Any:
            yield from ()

    with pytest.raises(UsageError, match="checkpoint folder"):
        evaluate(Own(), "careqa_vision_mcq", data_root=MINI, output=tmp_path, allow_partial=True, decoding="provider")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from aloe_bench.miniature.checkpoint import build_tiny_checkpoint

    torch.set_num_threads(1)
    folder = build_tiny_checkpoint(tmp_path_factory.mktemp("decoding") / "tiny")
    written = json.loads((folder / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(json.dumps(written | {"repetition_penalty": 1.4}))
    return folder


def ask(n: int) -> list[Request]:
    return [Request(f"q{i}", (Message("user", "What is seen here? " * (i + 1)),)) for i in range(n)]


def test_hf_applies_the_penalty_alone_and_in_batches_as_transformers_does(tiny: Path) -> None:
    import torch
    from transformers import GenerationConfig

    from aloe_bench.models.hf import HFModel

    said = provider_decoding(ModelSpec(str(tiny)), GREEDY)
    model = HFModel(str(tiny), device="cpu")
    requests = ask(4)
    got = {reply.id: list(reply.token_ids) for reply in model.generate(requests, said)}
    settings = GenerationConfig(
        max_new_tokens=12, repetition_penalty=1.4, pad_token_id=model.pad, eos_token_id=list(model.eos)
    )
    plain = {reply.id: list(reply.token_ids) for reply in model.generate(requests, GREEDY)}
    with torch.inference_mode():
        for request in requests:
            inputs = model.prepare([request], [[]])
            row = model.network.generate(**inputs, generation_config=settings)[
                0, inputs["input_ids"].shape[1] :
            ].tolist()
            end = next((i for i, token in enumerate(row) if token in model.eos), None)
            assert got[request.id] == row[:end]
    assert got != plain, "the penalty changes something"


def test_the_summary_says_how_many_tokens_a_picture_was(
    tiny: Path, tmp_path: Path, closed: Callable[..., Path]
) -> None:
    options: dict[str, Any] = {"data_root": closed(closed_rows(4)), "allow_partial": True, "max_new_tokens": 2}
    ways: list[dict[str, Any]] = [{}, {"protocol": "logprob"}, {"decoding": "provider"}]
    runs = [
        evaluate(str(tiny), "careqa_vision_mcq", output=tmp_path / str(i), **(options | way))
        for i, way in enumerate(ways)
    ]
    means = [run.summary["image_tokens"] for run in runs]
    assert means[0] == means[1] == means[2] and means[0]["pictures"] == 4 and means[0]["mean"] > 0
    assert runs[2].header["model"]["settings"]["generation"]["repetition_penalty"] == 1.4


def test_a_server_that_counts_image_tokens_is_believed(tmp_path: Path, closed: Callable[..., Path]) -> None:
    usage = {"prompt_tokens": 90, "completion_tokens": 1, "prompt_tokens_details": {"image_tokens": 66}}
    options: dict[str, Any] = {"data_root": closed(closed_rows(4)), "allow_partial": True}
    for counts, told in ((usage, {"mean": 66.0, "pictures": 4}), (None, None)):
        with awkward_server(lambda *_, counts=counts: (200, chat("B")[1] | {"usage": counts})) as server:
            spec = ModelSpec("m", base_url=server.url)
            run = evaluate(spec, "careqa_vision_mcq", output=tmp_path / str(bool(counts)), **options)
        assert run.summary.get("image_tokens") == told
