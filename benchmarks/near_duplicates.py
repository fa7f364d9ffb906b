"""The search for near-duplicate hashes: 24 million against 200,000 within 4 bits, uniform and clustered.

Beside it brute force on a sample, which has to find the same pairs, and whose time for the whole is extrapolated.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from typing import Any

MANY, FEW, RADIUS, PLANTED = 24_000_000, 200_000, 4, 10_000
CENTRES, WITHIN, SHARE = 500, 6, 0.1
SAMPLE = 40
GOAL_S, GOAL_MB = 45.0, 2_000.0


def balanced(rng: Any, n: int) -> Any:
    """Return `n` hashes with 32 bits set, as those of ordinary pictures have."""
    import numpy as np

    found = np.empty(n, np.uint64)
    for start in range(0, n, 100_000):
        size = min(100_000, n - start)
        order = np.argsort(rng.random((size, 64), np.float32), axis=1)[:, :32].astype(np.uint64)
        found[start : start + size] = np.bitwise_or.reduce(np.uint64(1) << order, axis=1)
    return found


def flipped(rng: Any, hashes: Any, n_bits: Any) -> Any:
    """Return the hashes with up to `n_bits` bits of each turned over."""
    import numpy as np

    bits = np.uint64(1) << rng.integers(0, 64, (len(hashes), 8)).astype(np.uint64)
    bits[np.arange(8)[None, :] >= np.broadcast_to(n_bits, len(hashes))[:, None]] = 0
    return hashes ^ np.bitwise_xor.reduce(bits, axis=1)


def material(clustered: bool) -> tuple[Any, Any]:
    """Return both sides; a million balanced hashes, each used 24 times with its bits moved, stand for the large one."""
    import numpy as np

    rng = np.random.default_rng(0)
    base = balanced(rng, 1_000_000)
    turns = np.uint64(1) + np.arange(MANY // len(base), dtype=np.uint64)
    many = np.concatenate([(base << t) | (base >> (np.uint64(64) - t)) for t in turns])
    few = balanced(rng, FEW)
    if clustered:
        centres = balanced(rng, CENTRES)
        for side in (many, few):
            n = int(SHARE * len(side))
            near = rng.integers(0, CENTRES, n)
            side[rng.choice(len(side), n, replace=False)] = flipped(rng, centres[near], rng.integers(0, WITHIN + 1, n))
    places = rng.choice(MANY, PLANTED, replace=False)
    many[places] = flipped(rng, few[:PLANTED], np.arange(PLANTED) % 9)
    return many, np.unique(few)


def measure(clustered: bool) -> None:
    """Print what one search took, and whether brute force agrees on a sample."""
    import numpy as np

    from aloe_bench.prints import near

    many, few = material(clustered)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = time.process_time()
    hits, pairs = np.zeros((len(few), RADIUS + 1), np.int64), 0
    for _, columns, distances in near(many, few, RADIUS):
        np.add.at(hits, (columns, distances), 1)
        pairs += len(columns)
    seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = time.process_time()
    same = True
    for column in np.random.default_rng(1).choice(len(few), SAMPLE, replace=False):
        distances = np.bitwise_count(many ^ few[column])
        same &= np.array_equal(np.bincount(distances[distances <= RADIUS], minlength=RADIUS + 1), hits[column])
    brute = (time.process_time() - started) * len(few) / SAMPLE
    name = "a tenth clustered" if clustered else "uniform"
    print(
        f"{name}: {seconds:.1f} CPU s (goal < {GOAL_S:g}: {'met' if seconds < GOAL_S else 'NOT met'}), "
        f"1/{brute / seconds:.0f} of brute force; peak {peak:.0f} MB, {before:.0f} before (goal < {GOAL_MB:g}: "
        f"{'met' if peak < GOAL_MB else 'NOT met'}); {pairs:,} pairs; brute force on {SAMPLE}: "
        f"{'the same' if same else 'DIFFERENT'}",
        flush=True,
    )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        measure(sys.argv[1] == "clustered")
    else:
        for kind in ("uniform", "clustered"):
            subprocess.run([sys.executable, __file__, kind], check=True)
