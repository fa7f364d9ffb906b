"""Measured CPU time over that of the matrix products that cannot be avoided, on a random Qwen2-VL (166.6M).

Unavoidable are one vision pass per distinct picture, one text pass per distinct token (of the prompts over one
picture, as a tree), one decoding step per new token, and an output layer per token that is said. Each product is timed
here, in its own shape, at the sizes that batches of 8 give it. Nothing else is counted: no mask, softmax or norm, no
reading of pictures, no Python. `roofline.py 4` takes four times as many rows.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
os.environ["HF_HUB_OFFLINE"] = "1"

import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import torch
from logprob_reuse import NEW_TOKENS, SIDE_PX, ask, build_checkpoint
from PIL import Image

from aloe_bench.core import Decoding, Request
from aloe_bench.models.hf import HFModel
from aloe_bench.models.opening import open_images

BATCH = 8
GOAL = 1.5
# Prompts on each picture: the clean suite has one; HEART's 24,311 rows on 12,395 pictures are five on a clean picture
# and one on each attacked one.
MIXES = {"clean suite": [1, 1, 1, 1], "HEART's own mix": [5, 1, 1, 1]}
# Rows, inner dimension, columns of a product, and how often it is made.
Products = Counter[tuple[int, int, int]]


@cache
def product_s(rows: int, inner: int, columns: int) -> float:
    """Return the CPU seconds of one product (rows, inner) x (inner, columns), the fastest of several."""
    a, b = torch.randn(rows, inner), torch.randn(columns, inner)
    best = float("inf")
    for _ in range(5):
        started = time.process_time()
        turns = max(1, int(2e8 / (2 * rows * inner * columns)))
        for _ in range(turns):
            torch.nn.functional.linear(a, b)
        best = min(best, (time.process_time() - started) / turns)
    return best


def text_pass(config: object, tokens: int, seen: float) -> Products:
    """Return the products of `tokens` tokens that each look back at `seen` tokens on average, in all layers."""
    text = config.text_config  # type: ignore[attr-defined]
    width, heads = text.hidden_size, text.num_attention_heads
    head = width // heads
    keys = text.num_key_value_heads * head
    made: Products = Counter()
    made[tokens, width, width] += 2 * text.num_hidden_layers
    made[tokens, width, keys] += 2 * text.num_hidden_layers
    made[tokens, width, text.intermediate_size] += 2 * text.num_hidden_layers
    made[tokens, text.intermediate_size, width] += text.num_hidden_layers
    made[tokens, head, max(1, round(seen))] += heads * text.num_hidden_layers
    made[tokens, max(1, round(seen)), head] += heads * text.num_hidden_layers
    return made


def vision_pass(config: object, patches: int) -> Products:
    """Return the products of one picture's vision tower and merger."""
    sight = config.vision_config  # type: ignore[attr-defined]
    width, merged = sight.embed_dim, sight.spatial_merge_size**2
    inner = round(width * sight.mlp_ratio)
    head = width // sight.num_heads
    made: Products = Counter()
    made[patches, 3 * sight.temporal_patch_size * sight.patch_size**2, width] += 1
    for rows, k, columns, times in (
        (patches, width, 3 * width, 1),
        (patches, width, width, 1),
        (patches, width, inner, 1),
        (patches, inner, width, 1),
        (patches, head, patches, sight.num_heads),
        (patches, patches, head, sight.num_heads),
    ):
        made[rows, k, columns] += times * sight.depth
    made[patches // merged, width * merged, width * merged] += 1
    made[patches // merged, width * merged, sight.hidden_size] += 1
    return made


def unavoidable_s(model: HFModel, requests: list[Request], generates: bool) -> float:
    """Return the seconds of the products that no way of answering these requests can leave out."""
    by_picture: dict[str, list[list[int]]] = {}
    patches: dict[str, int] = {}
    for request in requests:
        inputs = model.prepare([request], [open_images(request)])
        key = request.images[0].sha256
        by_picture.setdefault(key, []).append(inputs["input_ids"][0].tolist())
        patches[key] = int(inputs["image_grid_thw"].prod())
    made: Products = Counter()
    for key, prompts in by_picture.items():
        made.update(vision_pass(model.config, patches[key]))
        places = [len(prefix) for prefix in distinct_prefixes(prompts)]
        made.update(text_pass(model.config, len(places), sum(places) / len(places)))
    vocabulary = model.config.text_config.vocab_size
    width = model.config.text_config.hidden_size
    said = NEW_TOKENS if generates else 1
    seconds = sum(times * product_s(*shape) for shape, times in made.items())
    long = sum(len(ids) for prompts in by_picture.values() for ids in prompts) / len(requests)
    # A token looks back for itself, so its attention is no product of as many rows as a batch has.
    alone = {shape: times for shape, times in text_pass(model.config, 1, long).items() if round(long) in shape}
    for size in (min(BATCH, len(requests) - start) for start in range(0, len(requests), BATCH)):
        seconds += said * product_s(size, width, vocabulary)
        steps = {shape: times for shape, times in text_pass(model.config, size, 1).items() if 1 not in shape[1:]}
        seconds += (said - 1) * sum(times * product_s(*shape) for shape, times in steps.items())
    for shape, times in alone.items():
        seconds += len(requests) * (said - 1) * times * product_s(*shape)
    return seconds


def distinct_prefixes(prompts: Iterable[list[int]]) -> set[tuple[int, ...]]:
    """Return the nodes of the tree of prompts: each has to be computed once."""
    return {tuple(ids[: n + 1]) for ids in prompts for n in range(len(ids))}


def requests_of(root: Path, prompts: list[int]) -> list[Request]:
    """Return as many requests on each of the pictures as `prompts` says."""
    made = []
    for number, count in enumerate(prompts):
        picture = root / f"{number}.png"
        noise = random.Random(number).randbytes(SIDE_PX * SIDE_PX * 3)
        Image.frombytes("RGB", (SIDE_PX, SIDE_PX), noise).save(picture)
        made += [replace(request, id=f"{number}/{request.id}") for request in ask(picture)[:count]]
    return made


def cpu_s(model: HFModel, requests: list[Request], generates: bool) -> tuple[float, dict[str, object]]:
    """Return CPU seconds and the replies."""
    started = time.process_time()
    asked = model.generate(requests, Decoding(max_new_tokens=NEW_TOKENS)) if generates else None
    replies = {reply.id: reply for reply in asked or model.option_logprobs(requests)}
    seconds = time.process_time() - started
    if faults := [reply.error for reply in replies.values() if reply.error]:
        raise SystemExit(f"failed: {faults[0]}")
    return seconds, {name: reply.token_ids for name, reply in replies.items()}


def main() -> None:
    torch.set_num_threads(1)
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    root = Path(tempfile.mkdtemp(prefix="aloe-roofline-"))
    try:
        model = HFModel(str(build_checkpoint(root / "checkpoint")), device="cpu", batch_size=BATCH)
        for name, prompts in MIXES.items():
            requests = requests_of(root, prompts * times)
            list(model.generate([replace(requests[0], id="warm")], Decoding(max_new_tokens=1)))
            ours, said = cpu_s(model, requests, True)
            scored, _ = cpu_s(model, requests, False)
            model.batch_size, model.reuse = 1, False
            one_by_one, alone = cpu_s(model, requests, True)
            model.batch_size, model.reuse = BATCH, True
            least, least_scored = (unavoidable_s(model, requests, generates) for generates in (True, False))
            line = {
                "mix": name,
                "rows": len(requests),
                "pictures": len(prompts) * times,
                "unavoidable_s": round(least, 2),
                "generate_s": round(ours, 2),
                "generate_over": round(ours / least, 2),
                "logprob_unavoidable_s": round(least_scored, 2),
                "logprob_s": round(scored, 2),
                "logprob_over": round(scored / least_scored, 2),
                "one_by_one_s": round(one_by_one, 2),
                "one_by_one_over_generate": round(one_by_one / ours, 2),
                "one_by_one_over_logprob": round(one_by_one / scored, 2),
                "goal": f"{GOAL:g}: {'met' if ours / least <= GOAL else 'NOT met'}",
                "same_replies": sum(said[key] == ids for key, ids in alone.items()),
            }
            print(json.dumps(line), flush=True)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
