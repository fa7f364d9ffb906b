"""Rebalancing 4.28 million samples to the loss tokens of the paper's Table 1, with its three over-full text sources.

Beside it pandas: the same prefixes by a sort and a grouped cumulative sum, the plainest way that gives them.
"""

from __future__ import annotations

import time

# Samples and loss tokens of Table 1, and how much more of each source there is before the balance.
SOURCES = {
    "pubmedvision": (1_260_000, 175.3e6, 1.0), "medmax": (409_000, 33.7e6, 1.0), "mecovqa": (27_500, 0.7e6, 1.0),
    "med-grit": (17_700, 2.6e6, 1.0), "medtrinity": (330_000, 55.5e6, 1.0), "cambrian": (668_000, 65.4e6, 1.2),
    "aloe": (756_000, 190.3e6, 1.5), "magpie": (100_000, 116.6e6, 3.0),
}  # fmt: skip
SHARES = {"multimodal/medical": 41.8, "text/medical": 29.7, "text/general": 18.2, "multimodal/general": 10.2}
CATEGORY = {"cambrian": "multimodal/general", "aloe": "text/medical", "magpie": "text/general"}
GOAL_S = 5.0


def main() -> None:
    import numpy as np
    import pandas as pd

    from aloe_bench.mixture.read import ranks
    from aloe_bench.mixture.rebalance import TABLE_1, weights

    rng = np.random.default_rng(0)
    codes, loss = [], []
    for code, (n, tokens, times) in enumerate(SOURCES.values()):
        size = round(n * times)
        drawn = rng.gamma(1.5, 1.0, size)
        loss.append(np.maximum(1, drawn / drawn.sum() * tokens * times).astype(np.int64))
        codes.append(np.full(size, code))
    code, tokens = np.concatenate(codes), np.concatenate(loss)
    order = rng.permutation(len(code))
    code, tokens, draws = code[order], tokens[order], rng.integers(0, 2**64, len(code), np.uint64)
    wanted = [TABLE_1[name] for name in SOURCES]
    started = time.process_time()
    weight = weights(code, tokens, draws, wanted, seed=0)
    seconds = time.process_time() - started

    started = time.process_time()
    table = pd.DataFrame({"code": code, "loss": tokens, "rank": ranks(draws, 0, "rebalance")}).sort_values("rank")
    peer = table.groupby("code")["loss"].cumsum() <= np.array(wanted)[table["code"]]
    peer_seconds = time.process_time() - started
    same = np.array_equal(peer.sort_index().to_numpy(), weight == 1)

    given = np.bincount(code, weight * tokens, len(SOURCES))
    shares: dict[str, float] = dict.fromkeys(SHARES, 0.0)
    for name, part in zip(SOURCES, given, strict=True):
        shares[CATEGORY.get(name, "multimodal/medical")] += 100 * part / given.sum()
    off = max(abs(shares[name] - SHARES[name]) for name in SHARES)
    print(
        f"{len(code):,} samples: {seconds:.2f} CPU s (goal < {GOAL_S:g}: {'met' if seconds < GOAL_S else 'NOT met'}), "
        f"{seconds / peer_seconds:.2f} of pandas ({peer_seconds:.2f}), {'the same' if same else 'OTHER'} samples; "
        f"shares {', '.join(f'{name} {share:.2f}' for name, share in shares.items())}: off Table 1 by at most {off:.2f}"
    )


if __name__ == "__main__":
    main()
