"""CPU time of option scoring with and without reuse, and of generating, on a random Qwen2-VL of 166.6M weights."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
os.environ["HF_HUB_OFFLINE"] = "1"

import json
import random
import shutil
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image
from transformers import GenerationConfig, Qwen2VLConfig, Qwen2VLForConditionalGeneration

from aloe_bench.core import Decoding, Message, Prediction, Request
from aloe_bench.images import file_image
from aloe_bench.miniature.checkpoint import WORDS, build_tiny_checkpoint
from aloe_bench.models.hf import HFModel
from aloe_bench.models.opening import open_images

GOAL_TIMES = 4.0
NEW_TOKENS = 16
N_PROMPTS = 8
SIDE_PX = 448  # 16 x 16 merged patches of 28 pixels: 256 image tokens
PIXELS = {"shortest_edge": 56 * 56, "longest_edge": SIDE_PX * SIDE_PX}


def build_checkpoint(folder: Path) -> Path:
    """Return `folder`, the miniature checkpoint with its network replaced by a larger random one."""
    build_tiny_checkpoint(folder)
    config = Qwen2VLConfig.from_pretrained(folder)
    text, vision = config.text_config.to_dict(), config.vision_config.to_dict()
    text.update(hidden_size=768, intermediate_size=3072, num_hidden_layers=14, num_attention_heads=12)
    text.update(num_key_value_heads=4, initializer_range=0.02, layer_types=None)
    text["rope_parameters"] = {**text["rope_parameters"], "mrope_section": [8, 12, 12]}
    vision.update(embed_dim=512, depth=12, num_heads=8, mlp_ratio=4, hidden_size=768, initializer_range=0.02)
    keys = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    larger = Qwen2VLConfig(
        text_config=text, vision_config=vision, tie_word_embeddings=False, **{key: getattr(config, key) for key in keys}
    )
    torch.manual_seed(0)
    network = Qwen2VLForConditionalGeneration(larger).float()
    network.generation_config = GenerationConfig.from_pretrained(folder)
    network.save_pretrained(folder)
    for path in folder.glob("*processor*.json"):
        written = json.loads(path.read_text(encoding="utf-8"))
        for part in (written, *(value for value in written.values() if isinstance(value, dict))):
            if "size" in part:
                part["size"] = PIXELS
        path.write_text(json.dumps(written), encoding="utf-8")
    return folder


def ask(path: Path) -> list[Request]:
    """Return prompts of one image that part after it, each with four lettered options."""
    image, rng, requests = file_image(path), random.Random(0), []
    for number in range(N_PROMPTS):
        question = " ".join(rng.choices(WORDS, k=12)).capitalize() + "?"
        options = "\n".join(f"{letter}. {' '.join(rng.choices(WORDS, k=3))}" for letter in "ABCD")
        text = f"{question}\n{options}\nAnswer with the letter of the correct option only."
        requests.append(Request(f"q{number}", (Message("user", text),), (image,), tuple("ABCD")))
    return requests


def main() -> None:
    torch.set_num_threads(1)
    root = Path(tempfile.mkdtemp(prefix="aloe-logprob-"))
    try:
        folder = build_checkpoint(root / "checkpoint")
        picture = root / "image.png"
        noise = random.Random(0).randbytes(SIDE_PX * SIDE_PX * 3)
        Image.frombytes("RGB", (SIDE_PX, SIDE_PX), noise).save(picture)
        requests = ask(picture)
        model = HFModel(str(folder), device="cpu", batch_size=1)
        parameters = sum(weights.numel() for weights in model.network.parameters())
        inputs = model.prepare(requests[:1], [open_images(requests[0])])
        n_image = int((inputs["input_ids"] == model.config.image_token_id).sum())
        print(f"{parameters / 1e6:.1f}M weights, {n_image} image tokens, {N_PROMPTS} prompts, 1 thread", flush=True)
        list(model.generate(requests[:1], Decoding(max_new_tokens=1)))  # warm up

        def cpu_s(label: str, batch_size: int, reuse: bool, generates: bool) -> tuple[float, dict[str, Prediction]]:
            model.batch_size, model.reuse = batch_size, reuse
            started = time.process_time()
            answered = model.generate(requests, Decoding(max_new_tokens=NEW_TOKENS)) if generates else None
            replies = {reply.id: reply for reply in answered or model.option_logprobs(requests)}
            seconds = time.process_time() - started
            failures = [reply.error for reply in replies.values() if reply.finish == "error"]
            if failures or len(replies) != len(requests):
                raise SystemExit(f"{label}: {len(replies)} replies, failures {failures}")
            lengths = sorted(reply.output_tokens or 0 for reply in replies.values())
            groups = len({reply.seconds for reply in replies.values()})  # a batch shares its time equally
            tokens = f"{lengths[0]}-{lengths[-1]} new tokens"
            print(f"{label:30} {seconds:7.2f} s CPU, {tokens}, {groups} batches or groups", flush=True)
            return seconds, replies

        shared_s, shared = cpu_s("option_logprobs, reuse", 1, True, False)
        alone_s, alone = cpu_s("option_logprobs, reuse=False", 1, False, False)
        one_s, _ = cpu_s(f"generate({NEW_TOKENS}), batch_size=1", 1, False, True)
        eight_s, plain = cpu_s(f"generate({NEW_TOKENS}), batch_size=8", 8, False, True)
        reused_s, reused = cpu_s(f"generate({NEW_TOKENS}), batch_size=8, reuse", 8, True, True)
        equal = sum(shared[key].text == alone[key].text for key in alone)
        gap = max(
            abs(a - b)
            for key in alone
            for a, b in zip(shared[key].option_logprobs, alone[key].option_logprobs, strict=True)
        )
        print(f"letters equal to unreused: {equal} of {len(alone)}, largest log-probability gap {gap:.1e}")
        for label, seconds in (("batch_size=1", one_s), ("batch_size=8", eight_s)):
            times = seconds / shared_s
            verdict = "met" if times >= GOAL_TIMES else "NOT met"
            print(f"against generate({NEW_TOKENS}) {label}: {times:.2f}x (goal >= {GOAL_TIMES:g}x: {verdict})")
        print(f"against reuse=False: {alone_s / shared_s:.2f}x; generate: {eight_s / reused_s:.2f}x")
        if any(reused[key].token_ids != plain[key].token_ids for key in plain):
            raise SystemExit("the reused replies differ from the unreused ones")
        if equal != len(alone):
            raise SystemExit("the reused letters differ from the unreused ones")
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
