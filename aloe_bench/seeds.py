"""Random generators whose draws depend on what an item is, never on when it is visited."""

from __future__ import annotations

import hashlib
import random


def rng_for(*parts: object) -> random.Random:
    """Return a generator seeded from the SHA-256 of `parts` (a seed, a purpose, stable ids)."""
    text = "\x1f".join(str(part) for part in parts)
    return random.Random(int.from_bytes(hashlib.sha256(text.encode()).digest(), "big"))
