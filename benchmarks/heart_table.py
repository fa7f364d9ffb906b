"""A table of HEART's size in one command: 2,979 items of 256x256 pictures with all variants, deleted afterwards.

python benchmarks/heart_table.py [SHARE]: SHARE (default 1.0) makes that part of it.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

SIDE_PX = 256
# (classes of the classification task, pictures): 1,250 classification and 1,729 detection items.
DATASETS = ((2, 250), (2, 250), (2, 250), (3, 250), (4, 250), (0, 250), (0, 229))


def main() -> None:
    share = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        sources = [write(root / f"d{n}", n, ways, round(share * size)) for n, (ways, size) in enumerate(DATASETS)]
        words = [word for source in sources for word in ("--source", str(source))]
        begun = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "aloe_bench.cli.main", "attack", *words, "--output", str(root / "out"),
             "--workers", "2", "--json"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        wall = time.perf_counter() - begun
        report(json.loads(done.stdout), wall)


def report(manifest: dict[str, int], wall: float) -> None:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime
    print(f"{manifest['rows']} rows of {manifest['items']} items, {manifest['pictures']} pictures")
    print(f"{cpu:.0f} CPU seconds, {wall:.0f} s by the clock; largest process {used.ru_maxrss / 1024:.0f} MB")


def write(root: Path, number: int, ways: int, n: int) -> Path:
    """Write a source of `n` pictures of soft blobs and grain, every other dataset in colour, a box each."""
    for name in ("images", "annotations"):
        (root / name).mkdir(parents=True)
    lines = ["image_id,class"]
    for i in range(n):
        rng = np.random.default_rng([number, i])
        blobs = rng.normal(110, 60, (32, 32, 3 if number % 2 else 1)).clip(0, 255).astype(np.uint8)
        soft = Image.fromarray(blobs if number % 2 else blobs[..., 0]).resize((SIDE_PX, SIDE_PX)).convert("RGB")
        grain = np.asarray(soft) + rng.normal(0, 12, (SIDE_PX, SIDE_PX, 1))
        Image.fromarray(grain.clip(0, 255).astype(np.uint8)).save(root / "images" / f"i{i:04d}.png", compress_level=1)
        (cx, cy), (w, h) = rng.uniform(0.2, 0.8, 2), rng.uniform(0.1, 0.25, 2)
        (root / "annotations" / f"i{i:04d}.txt").write_text(f"{i % 2} {cx:.6f} {cy:.6f} {w:.6f} {h:.6f}\n")
        lines.append(f"i{i:04d},{i % ways if ways else ''}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    classes = ", ".join(f'"finding {k}"' for k in range(ways))
    whole = f"[classification]\nclasses = [{classes}]\n" if ways else ""
    (root / "dataset.toml").write_text(f'name = "d{number}"\n{whole}[detection]\nclasses = ["nodule", "mass"]\n')
    return root


if __name__ == "__main__":
    main()
