"""Reading the tags that a model gave: replies a second, beside `json.loads` of the same content as the peer."""

from __future__ import annotations

import json
import random
import time

N, GOAL = 200_000, 100_000


def main() -> None:
    from aloe_bench.mixture.coverage import taxonomy
    from aloe_bench.mixture.tags import BRACKETS, read_tags

    rng, tags = random.Random(0), {name: taxonomy()[name]["tags"] for name in BRACKETS}
    rows = [
        {**{b: ", ".join(rng.sample(tags[b], rng.choice((1, 1, 2)))) for b in BRACKETS}, "SQ": str(rng.randint(1, 5))}
        for _ in range(N)
    ]
    replies = [" ".join(f"{name}[{words}]" for name, words in row.items()) for row in rows]
    texts = [json.dumps(row) for row in rows]
    started = time.process_time()
    read = sum(read_tags(reply) is not None for reply in replies)
    seconds = time.process_time() - started
    started = time.process_time()
    for text in texts:
        json.loads(text)
    peer = time.process_time() - started
    rate = N / seconds
    met = "met" if rate > GOAL else "NOT met"
    print(
        f"{read:,} of {N:,} replies read, {rate:,.0f} a CPU second (goal > {GOAL:,}: {met}), "
        f"{seconds / peer:.1f} times json.loads of the same content"
    )


if __name__ == "__main__":
    main()
