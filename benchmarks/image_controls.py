"""CPU time of both image controls against the run alone, by a random Qwen2-VL of 166.6M weights that reuses prefixes.

python benchmarks/image_controls.py [PICTURES]: eight questions about each of so many pictures (8) of two sizes, asked
with and without `--controls blank,swap`, in batches of 32.
"""

from __future__ import annotations

import csv
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

import torch
from logprob_reuse import build_checkpoint
from PIL import Image

from aloe_bench.core import Decoding
from aloe_bench.evaluation.controls import ARMS, Arm
from aloe_bench.evaluation.finish import finish
from aloe_bench.evaluation.loop import run_plan
from aloe_bench.evaluation.plan import Settings, load_plan
from aloe_bench.miniature.checkpoint import WORDS
from aloe_bench.models.hf import HFModel
from aloe_bench.tasks.own import open_mcq

GOAL_TIMES = 1.8
N_PROMPTS, NEW_TOKENS, BATCH = 8, 4, 32
SIZES = ((448, 448), (448, 392))


def write_questions(folder: Path, pictures: int) -> Path:
    """Return a file of eight questions about each of `pictures` pictures; two pictures seldom have the same answers."""
    rng, rows = random.Random(0), []
    asked = [(" ".join(rng.choices(WORDS, k=12)) + "?", rng.sample(WORDS, 4)) for _ in range(N_PROMPTS)]
    for number in range(pictures):
        size = SIZES[number % len(SIZES)]
        Image.frombytes("RGB", size, rng.randbytes(3 * size[0] * size[1])).save(folder / f"{number}.png")
        for at, (question, options) in enumerate(asked):
            letter = "ABCD"[(number + at) % 4]
            rows.append([f"{number}-{at}", f"{number}.png", question.capitalize(), *options, letter])
    path = folder / "questions.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["id", "image", "question", "A", "B", "C", "D", "answer"], *rows])
    return path


def main() -> None:
    torch.set_num_threads(1)
    pictures = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    root = Path(tempfile.mkdtemp(prefix="aloe-controls-"))
    try:
        model = HFModel(str(build_checkpoint(root / "checkpoint")), device="cpu", batch_size=BATCH)
        task = open_mcq(str(write_questions(root, pictures)))

        def cpu_s(arms: tuple[Arm, ...], limit: int | None = None) -> float:
            decoding = Decoding(max_new_tokens=NEW_TOKENS)
            settings = Settings(root / "runs", decoding, chunk=4 * BATCH, controls=arms, fresh=True, limit=limit)
            started = time.process_time()
            plan = load_plan(task, root, settings)
            finish(run_plan(plan, model, settings, {"name": "random", "backend": "hf", "miniature": True}))
            return time.process_time() - started

        cpu_s((), limit=2)  # warm up
        alone, both, blank = cpu_s(()), cpu_s(ARMS), cpu_s(("blank",))
        print(f"{pictures} pictures, {N_PROMPTS} questions each: alone {alone:.1f} s CPU")
        for name, seconds, more in (("blank", blank, 1), ("blank and swap", both, 2)):
            times = (seconds - alone) / alone
            print(f"{name}: {seconds - alone:.1f} s more, {times:.2f} times the run, for {more} times its prompts")
        verdict = "met" if both - alone <= GOAL_TIMES * alone else "NOT met"
        print(f"goal: at most {GOAL_TIMES:g} times the run for both: {verdict}; all of it {both / alone:.2f} times")
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
