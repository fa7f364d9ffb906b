"""CPU time of native hf against VLMEvalKit's one-at-a-time loop: same checkpoint, same rows, one process.

Run in the environment of `make test-vlmeval`. Two mixes: eight prompts a picture, and the published HEART's
(24,311 rows on 12,395 pictures: five rows on a clean picture, one on each attacked one).
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
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import torch
from logprob_reuse import NEW_TOKENS, SIDE_PX, ask, build_checkpoint
from PIL import Image

from aloe_bench.bridges.vlmeval.kit import model_class, register
from aloe_bench.bridges.vlmeval.table import write_table
from aloe_bench.core import Decoding, Request, Sample
from aloe_bench.models.hf import HFModel
from aloe_bench.tasks import formats

DECODING = Decoding(max_new_tokens=NEW_TOKENS)
# Prompts on each picture: two pictures of eight; and two classification and two detection items of the published mix.
MIXES = {"8 prompts a picture": [8, 8], "published HEART mix": [5, 1, 1, 5, 1, 1, 5, 1, 1, 1, 1, 5, 1, 1, 1, 1]}


def rows(root: Path, prompts: list[int]) -> list[Sample]:
    """Return as many samples on each of the pictures as `prompts` says."""
    made = []
    for number, count in enumerate(prompts):
        picture = root / f"{len(prompts)}-{number}.png"
        noise = random.Random(number).randbytes(SIDE_PX * SIDE_PX * 3)
        Image.frombytes("RGB", (SIDE_PX, SIDE_PX), noise).save(picture)
        for request in ask(picture)[:count]:
            question, *options, _ = request.messages[0].text.split("\n")
            choices = tuple(option[3:] for option in options)
            name = f"{number}/{request.id}"
            made.append(Sample(name, "choice", question, "A", name, request.images, choices))
    return made


def upstream_loop(root: Path, samples: list[Sample], model: HFModel) -> tuple[float, dict[str, str]]:
    """Return CPU seconds and replies of upstream's own inference loop."""
    os.environ["LMUData"] = str(root)  # noqa: SIM112 - upstream's spelling
    os.environ["PRED_FORMAT"] = "tsv"
    table = write_table(root, f"loop_{len(samples)}", list(enumerate(samples)), formats.prompt)
    register(root)
    import vlmeval.dataset
    from vlmeval.inference import infer_data_job

    wrapped: Any = model_class(lambda: model, DECODING, root / "receipts.jsonl")()
    dataset = vlmeval.dataset.build_dataset(table.name)
    started = time.process_time()
    infer_data_job(wrapped, str(root), "aloe", dataset)
    seconds = time.process_time() - started
    from aloe_bench.bridges.vlmeval.table import read_rows

    return seconds, {row["id"]: row["prediction"] for row in read_rows(root / f"aloe_{table.name}.tsv")}


def native(model: HFModel, requests: list[Request], scored: bool) -> tuple[float, dict[str, str | None]]:
    """Return CPU seconds and replies of our own back end, in batches of eight."""
    started = time.process_time()
    replies = model.option_logprobs(requests) if scored else model.generate(requests, DECODING)
    found = {reply.id: reply.text for reply in replies}
    return time.process_time() - started, found


def main() -> None:
    torch.set_num_threads(1)
    root = Path(tempfile.mkdtemp(prefix="aloe-vlmeval-"))
    try:
        folder = build_checkpoint(root / "checkpoint")
        model = HFModel(str(folder), device="cpu", batch_size=8)
        for name, prompts in MIXES.items():
            samples = rows(root, prompts)
            requests = [formats.request(sample, formats.prompt(sample)) for sample in samples]
            list(model.generate([replace(requests[0], id="warm")], DECODING))
            generate_s, ours = native(model, requests, scored=False)
            logprob_s, _ = native(model, requests, scored=True)
            loop_s, theirs = upstream_loop(root / str(len(prompts)), samples, model)
            line = {
                "mix": name,
                "rows": len(samples),
                "pictures": len(prompts),
                "vlmeval_loop_cpu_s": round(loop_s, 1),
                "native_generate_cpu_s": round(generate_s, 1),
                "native_logprob_cpu_s": round(logprob_s, 1),
                "generate_times_faster": round(loop_s / generate_s, 2),
                "logprob_times_faster": round(loop_s / logprob_s, 2),
                "same_replies": sum(ours[key] == text for key, text in theirs.items()),
            }
            print(json.dumps(line), flush=True)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
