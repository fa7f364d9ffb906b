"""What the harness costs a row beside decoding and the model, and how its peak memory grows with the rows.

The model is the mock one, which opens every image; its own drawing of a reply counts as harness.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aloe_bench.core import Sample

ROWS = (2_431, 24_311)
N_IMAGES = 200
GOAL_MS, GOAL_MB = 2.0, 400.0


@dataclass(frozen=True, slots=True)
class SyntheticTask:
    """A Task of `expected_rows` four-option questions over the PNGs of a folder."""

    expected_rows: int
    name: str = "synthetic"
    version: int = 1
    source: str = "benchmarks/harness.py"
    revision: str = "1"
    licence: str = "CC0-1.0"

    def load(self, root: Path) -> Iterator[Sample]:
        from aloe_bench.core import Sample
        from aloe_bench.images import file_image

        paths = sorted(root.glob("*.png"))
        for i in range(self.expected_rows):
            yield Sample(
                id=f"row-{i:05}",
                kind="choice",
                question=f"Which finding does image {i} show most clearly in the lower left lobe?",
                target="ABCD"[i % 4],
                cluster=f"patient-{i % N_IMAGES}",
                images=(file_image(paths[i % N_IMAGES]),),  # hashed a row, as real tasks do
                choices=(f"effusion {i}", f"nodule {i}", f"fracture {i}", f"no finding {i}"),
            )

    def prompt(self, sample: Sample) -> str:
        from aloe_bench.tasks import formats

        return formats.prompt(sample)


def measure(n_rows: int) -> dict[str, float]:
    """Return milliseconds a row, wall and CPU, and the peak RSS in MB of one run in this process."""
    from PIL import Image

    from aloe_bench.evaluation.loop import run_plan
    from aloe_bench.evaluation.plan import Settings, answer_key, load_plan
    from aloe_bench.images import open_image
    from aloe_bench.models.mock import Behaviour, MockModel

    with tempfile.TemporaryDirectory(prefix="aloe-harness-") as folder:
        root = Path(folder)
        rng = random.Random(0)
        for i in range(N_IMAGES):
            Image.frombytes("RGB", (64, 64), rng.randbytes(64 * 64 * 3)).save(root / f"{i:03}.png")
        wall, cpu = time.perf_counter(), time.process_time()
        settings = Settings(output=root / "runs")
        plan = load_plan(SyntheticTask(n_rows), root, settings)
        model = MockModel(answer_key([plan]), Behaviour(decode=True))
        run_plan(plan, model, settings, {"name": "mock"})
        total_wall, total_cpu = time.perf_counter() - wall, time.process_time() - cpu
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux gives KiB
        paths = sorted(root.glob("*.png"))
        wall, cpu = time.perf_counter(), time.process_time()
        for i in range(n_rows):
            open_image(paths[i % N_IMAGES]).close()
        decode_wall, decode_cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "total_ms": total_wall / n_rows * 1e3,
        "decode_ms": decode_wall / n_rows * 1e3,
        "wall_ms": (total_wall - decode_wall) / n_rows * 1e3,
        "cpu_ms": (total_cpu - decode_cpu) / n_rows * 1e3,
        "peak_mb": peak_mb,
    }


def main() -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    peaks = []
    for n_rows in ROWS:
        command = [sys.executable, __file__, str(n_rows)]
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
        found = json.loads(done.stdout)
        peaks.append(found["peak_mb"])
        print(
            f"{n_rows} rows: {found['wall_ms']:.3f} ms a row wall, {found['cpu_ms']:.3f} ms CPU, beside decoding "
            f"({found['total_ms']:.3f} total - {found['decode_ms']:.3f} decode; goal < {GOAL_MS:g}: "
            f"{'met' if found['wall_ms'] < GOAL_MS else 'NOT met'}); peak {found['peak_mb']:.1f} MB "
            f"(goal < {GOAL_MB:g}: {'met' if found['peak_mb'] < GOAL_MB else 'NOT met'})",
            flush=True,
        )
    print(f"growth: {(peaks[1] - peaks[0]) / (ROWS[1] - ROWS[0]) * 1024:.2f} KB a row")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(int(sys.argv[1]))))
    else:
        main()
