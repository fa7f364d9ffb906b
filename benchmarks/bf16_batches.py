"""How many greedy replies change with the batch size: none in float32, a measured share in bfloat16.

python benchmarks/bf16_batches.py
"""

from __future__ import annotations

import io
import tempfile
from dataclasses import replace
from pathlib import Path

from PIL import Image

from aloe_bench.core import Decoding, Message, Request
from aloe_bench.images import bytes_image
from aloe_bench.miniature.checkpoint import build_tiny_checkpoint
from aloe_bench.models.hf import HFModel
from aloe_bench.seeds import rng_for

REQUESTS = 96
BATCHES = (4, 8)


def requests() -> list[Request]:
    made = []
    for i in range(REQUESTS):
        rng = rng_for(0, "bf16", i)
        file = io.BytesIO()
        size = (rng.randrange(56, 200), rng.randrange(56, 200))
        Image.frombytes("RGB", size, rng.randbytes(3 * size[0] * size[1])).save(file, "PNG")
        words = " ".join(rng.choice(("lung", "image", "patient", "shows", "left")) for _ in range(rng.randrange(3, 30)))
        image = bytes_image(file.getvalue(), name=f"noise-{i}")
        made.append(Request(id=str(i), messages=(Message("user", words),), images=(image,)))
    return made


def replies(folder: Path, dtype: str, batch_size: int) -> dict[str, tuple[int, ...]]:
    model = HFModel(str(folder), batch_size=batch_size, dtype=dtype, device="cpu")
    decoding = replace(Decoding(), max_new_tokens=16)
    return {reply.id: reply.token_ids for reply in model.generate(requests(), decoding)}


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = build_tiny_checkpoint(Path(temporary) / "tiny")
        for dtype in ("float32", "bfloat16"):
            alone = replies(folder, dtype, 1)
            for size in BATCHES:
                together = replies(folder, dtype, size)
                changed = sum(alone[key] != together[key] for key in alone)
                share = changed / REQUESTS
                print(f"{dtype}: batch {size} against 1: {changed} of {REQUESTS} replies changed ({share:.1%})")


if __name__ == "__main__":
    main()
