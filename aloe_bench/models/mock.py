"""A deterministic model with programmable behaviour: it closes the loop in tests and demonstrations."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from aloe_bench.core import Decoding, Prediction, Request
from aloe_bench.errors import AloeError
from aloe_bench.seeds import rng_for

AnswerKey = Mapping[str, tuple[str, str | None]]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Shares in [0, 1], drawn per sample id; `latency` in seconds a request, `decode` opens every image.

    `partial` is the share of open questions that get the first half of the answer's words.
    """

    accuracy: float = 1.0
    follow: float = 0.0
    refusal: float = 0.0
    verbose: float = 0.0
    partial: float = 0.0
    failure: float = 0.0
    latency: float = 0.0
    seed: int = 0
    decode: bool = False


class MockModel:
    """Answers from `key` (id -> (target, suggested option)), so that no request carries the truth."""

    def __init__(self, key: AnswerKey, behaviour: Behaviour | None = None, name: str = "mock") -> None:
        self._key, self._behaviour, self.name = key, behaviour or Behaviour(), name

    @property
    def fingerprint(self) -> str:
        """Return a SHA-256 of the behaviour."""
        return hashlib.sha256(json.dumps(asdict(self._behaviour), sort_keys=True).encode()).hexdigest()

    def describe(self) -> Mapping[str, object]:
        """Return the settings for the run header."""
        return asdict(self._behaviour)

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Prediction]:
        """Yield one prediction a request, in order."""
        for request in requests:
            started = time.perf_counter()
            try:
                if self._behaviour.decode:
                    for image in request.images:
                        image.open().close()
            except (AloeError, OSError) as error:
                yield Prediction(request.id, None, "error", error=str(error))
                continue
            if self._behaviour.latency:
                time.sleep(self._behaviour.latency)
            text = self._reply(request)
            seconds = time.perf_counter() - started
            if text is None:
                yield Prediction(request.id, None, "error", error="planted failure", seconds=seconds)
            else:
                yield Prediction(request.id, text, "stop", seconds=seconds)

    def _reply(self, request: Request) -> str | None:
        behaviour, (target, suggests) = self._behaviour, self._key[request.id]
        rng = rng_for(behaviour.seed, "mock", request.id)
        fails, refuses, follows, knows, talks, halves = (rng.random() for _ in range(6))
        if fails < behaviour.failure:
            return None
        if refuses < behaviour.refusal:
            return "I'm sorry, I cannot help with medical images."
        if suggests is not None and follows < behaviour.follow:
            answer = suggests
        elif not request.options and halves < behaviour.partial:
            words = target.split()
            answer = " ".join(words[: (len(words) + 1) // 2])
        elif knows < behaviour.accuracy:
            answer = target
        else:
            wrong = [option for option in request.options if option != target]
            answer = rng.choice(wrong) if wrong else "unknown"
        return f"Looking at the image, the answer is {answer}." if talks < behaviour.verbose else answer
