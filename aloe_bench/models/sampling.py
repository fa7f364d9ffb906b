"""What a sampled reply is drawn from."""

from __future__ import annotations

from aloe_bench.core import Decoding
from aloe_bench.seeds import rng_for


def sampling_seed(decoding: Decoding, request_id: str) -> int | None:
    """Return the seed of one reply, in [0, 2**31), the same in whatever order or batch; None at temperature 0."""
    if decoding.temperature == 0:
        return None
    return rng_for(decoding.seed, "sampling", request_id).getrandbits(31)
