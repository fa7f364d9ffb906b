"""`make test-gpu`: families, batch invariance, bfloat16 shares, reuse and throughput on this machine's device.

Needs torch and transformers alone; nothing is fetched. Prints one table and ends with 1 if a promise is broken.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from PIL import Image

from aloe_bench.core import Decoding, Message, Request
from aloe_bench.models.hf import HFModel
from tests.families.table import FAMILIES, builder

EIGHT = Decoding(max_new_tokens=8)
# Dimensions of Qwen2-VL-2B-Instruct; the vocabulary is the tiny tokenizer's.
TWO_BILLION = {
    "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12,
    "num_key_value_heads": 2,
}  # fmt: skip
SIGHT = {"depth": 32, "embed_dim": 1280, "num_heads": 16, "mlp_ratio": 4, "hidden_size": 1536}
CLOSE = 2e-3  # between log-probabilities in float32: kernels add up in another order


@dataclass(frozen=True)
class Shaded:
    """A picture of slanted shades that depend on `number`."""

    number: int
    size: tuple[int, int]

    @property
    def sha256(self) -> str:
        return f"{self.number:032x}{self.size[0]:016x}{self.size[1]:016x}"

    def open(self) -> Image.Image:
        ramp = Image.linear_gradient("L").rotate(90 * (self.number % 4)).resize(self.size)
        return Image.merge("RGB", [ramp.point(lambda v, k=k: (v * (self.number + k)) % 256) for k in (1, 3, 7)])


@dataclass(frozen=True)
class Row:
    """A line of the table; `held` is None where nothing was promised."""

    what: str
    found: str
    held: bool | None = None


def asked(pictures: int, a_picture: int, size: tuple[int, int]) -> list[Request]:
    """Return questions about `pictures`, so many to each, that part after the picture."""
    return [
        Request(f"{i}-{j}", (Message("user", f"Question {j}: which finding? {'Fever. ' * (j % 3)}"),),
                (Shaded(i + 1, size),), tuple("ABCD"))
        for i in range(pictures) for j in range(a_picture)
    ]  # fmt: skip


def said(model: HFModel, requests: Sequence[Request], batch: int) -> dict[str, Any]:
    model.batch_size = batch
    return {reply.id: reply.token_ids for reply in model.generate(requests, EIGHT)}


def scores(model: HFModel, requests: Sequence[Request]) -> dict[str, Any]:
    return {reply.id: reply.option_logprobs for reply in model.option_logprobs(requests)}


def families(device: str, names: Iterable[str], folder: Path) -> Iterator[Row]:
    """Yield for each family whether, in float32, batches, reuse and pictures do what they should."""
    requests = asked(3, 3, (120, 90))
    for name in names:
        model = HFModel(str(builder(name)(folder / name.replace(", ", "-"))), device=device, dtype="float32")
        same = said(model, requests, 1) == said(model, requests, 4)
        shared = scores(model, requests)
        model.reuse = False
        alone = scores(model, requests)
        gap = max(abs(a - b) for key in shared for a, b in zip(shared[key], alone[key], strict=True))
        seen = max(abs(a - b) for a, b in zip(shared["0-0"], shared["1-0"], strict=True))
        agree = "agree" if same else "DIFFER"
        found = f"batches {agree}; reuse off by {gap:.1e}; another picture moves scores by {seen:.2f}"
        yield Row(f"family {name}", found, same and gap < CLOSE and seen > 0.01)


def bfloat16(device: str, folder: Path) -> Iterator[Row]:
    """Yield the share of replies that batches change in bfloat16: nothing is promised, the figure is to be known."""
    model = HFModel(str(builder("qwen2_vl")(folder / "bf16")), device=device, dtype="bfloat16")
    requests = asked(8, 6, (120, 90))
    one, many = said(model, requests, 1), said(model, requests, 16)
    other = sum(one[key] != many[key] for key in one)
    yield Row("bfloat16, batch 1 against 16", f"{other} of {len(one)} replies differ")


def large(folder: Path, small: bool) -> Path:
    """Return the folder of a random Qwen2-VL: 2B's dimensions, or tiny ones."""
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    builder("qwen2_vl")(folder)
    if small:
        return folder
    config = Qwen2VLConfig.from_pretrained(folder).to_dict()
    text = {key: value for key, value in config["text_config"].items() if key not in ("layer_types", "head_dim")}
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}
    marks = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    shape = Qwen2VLConfig(
        text_config={**text, **TWO_BILLION, "rope_parameters": rope},
        vision_config={**config["vision_config"], **SIGHT},
        tie_word_embeddings=False,
        **{mark: config[mark] for mark in marks},
    )
    network = Qwen2VLForConditionalGeneration(shape).to(torch.bfloat16)
    network.save_pretrained(folder)
    return folder


def speed(device: str, folder: Path, small: bool) -> Iterator[Row]:
    """Yield questions per second of hf, and of vLLM where it can be imported; 8 questions per picture."""
    path = large(folder / "large", small)
    dtype = "float32" if small else "bfloat16"
    requests = many(small)
    model = HFModel(str(path), device=device, dtype=dtype, batch_size=8 if small else 32)
    count = sum(parameter.numel() for parameter in model.network.parameters())
    for what, reuse in (("with reuse", True), ("from scratch", False)):
        model.reuse = reuse
        yield Row(
            f"hf, option scores, {what}", _rate(lambda: list(model.option_logprobs(requests)), len(requests), device)
        )
        yield Row(
            f"hf, 8 new tokens, {what}", _rate(lambda: list(model.generate(requests, EIGHT)), len(requests), device)
        )
    yield Row("network of these", f"{count / 1e9:.2f} billion weights, {len(requests)} questions")


def vllm_speed(device: str, folder: Path, small: bool) -> Iterator[Row]:
    """Yield questions per second of vLLM on the network of `speed`, where vLLM can be imported."""
    if importlib.util.find_spec("vllm") is None:
        yield Row("vllm", "not installed")
        return
    from aloe_bench.models.vllm_engine import VLLMModel

    if device == "cuda":
        torch.cuda.empty_cache()
    requests = many(small)
    engine = VLLMModel(str(folder / "large"))
    yield Row("vllm, 8 new tokens", _rate(lambda: list(engine.generate(requests, EIGHT)), len(requests), device))


def many(small: bool) -> list[Request]:
    """Return the questions whose speed is measured: 8 per picture."""
    return asked(2, 8, (224, 224)) if small else asked(16, 8, (672, 672))


def _rate(work: Any, items: int, device: str) -> str:
    work()  # kernels are chosen and caches filled
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return f"{items / (time.perf_counter() - start):.1f} per second"


def main(words: Sequence[str] | None = None) -> int:
    """Print the table; return 1 if a promise was broken, else 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.run", description=__doc__)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--small", action="store_true", help="one family and tiny dimensions, as CI runs it on a CPU")
    given = parser.parse_args(words)
    if given.device == "cuda" and not torch.cuda.is_available():
        print("torch sees no GPU here; --device cpu --small runs the same in miniature.", file=sys.stderr)
        return 3
    card = torch.cuda.get_device_name() if given.device == "cuda" else "CPU"
    print(f"{card}, torch {torch.__version__}\n\n| what | found | held |\n|---|---|---|")
    broken = False
    with tempfile.TemporaryDirectory() as root:
        names = list(FAMILIES)[:1] if given.small else list(FAMILIES)
        parts = (
            families(given.device, names, Path(root)),
            bfloat16(given.device, Path(root)),
            speed(given.device, Path(root), given.small),
            vllm_speed(given.device, Path(root), given.small),
        )
        for row in (row for part in parts for row in _caught(part)):
            broken |= row.held is False
            print(
                f"| {row.what} | {row.found} | {'-' if row.held is None else 'yes' if row.held else 'NO'} |", flush=True
            )
    return int(broken)


def _caught(rows: Iterator[Row]) -> Iterator[Row]:
    """Yield the rows; one fault ends its part, is a row, and lets the next part run."""
    try:
        yield from rows
    # On a machine never seen before anything may go wrong, and the rest is still worth knowing.
    except Exception as error:  # noqa: BLE001
        yield Row(type(error).__name__, " ".join(str(error).split())[:200], False)


if __name__ == "__main__":
    raise SystemExit(main())
