"""A deterministic model with programmable behaviour: it closes the loop in tests and demonstrations."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from aloe_bench.core import LETTERS, Decoding, Prediction, Request
from aloe_bench.errors import AloeError, ModelError
from aloe_bench.seeds import rng_for

AnswerKey = Mapping[str, tuple[str, str | None]]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Shares in [0, 1], drawn per sample id; `latency` in seconds a request, `decode` opens every image.

    `partial` is the share of open questions that get the first half of the answer's words. `blank` is the accuracy over
    a grey picture, `stay` how often the answer over another picture is that of the asked one.
    """

    accuracy: float = 1.0
    follow: float = 0.0
    refusal: float = 0.0
    verbose: float = 0.0
    partial: float = 0.0
    blank: float = 0.0
    stay: float = 0.0
    failure: float = 0.0
    latency: float = 0.0
    seed: int = 0
    decode: bool = False

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            most = math.inf if name in ("latency", "seed", "decode") else 1.0
            if not isinstance(value, int | float) or not (0 <= value <= most or name == "seed"):
                raise ModelError(f"mock: {name} is {value!r}; expected a number{' from 0 to 1' if most == 1 else ''}.")


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
        return {"backend": "mock", **asdict(self._behaviour)}

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

    def option_logprobs(self, requests: Sequence[Request]) -> Iterator[Prediction]:
        """Yield one prediction a request: the option it believes in has probability 0.7, the others share the rest.

        `refusal` and `verbose` are ways of talking and play no part.
        """
        for request in requests:
            names = tuple(option.strip() for option in request.options)
            if self._key[request.id][0] not in names:  # a text task's options in words, its target a letter
                names = tuple(LETTERS[: len(names)])
            answer = self._draw(replace(request, options=names))[0]
            if answer is None:
                yield Prediction(request.id, None, "error", error="planted failure")
                continue
            rest = math.log(0.3 / max(1, len(names) - 1))
            scores = tuple(math.log(0.7) if name == answer else rest for name in names)
            yield Prediction(request.id, request.options[names.index(answer)].strip(), "stop", option_logprobs=scores)

    def _reply(self, request: Request) -> str | None:
        answer, refuses, talks = self._draw(request)
        if answer is None:
            return None
        if refuses < self._behaviour.refusal:
            return "I'm sorry, I cannot help with medical images."
        return f"Looking at the image, the answer is {answer}." if talks < self._behaviour.verbose else answer

    def _draw(self, request: Request) -> tuple[str | None, float, float]:
        """Return the answer it believes in, None for a failed call, and its draws for refusing and for talking."""
        behaviour, (target, suggests) = self._behaviour, self._key[request.id]
        rng = rng_for(behaviour.seed, "mock", request.id)
        fails, refuses, follows, knows, talks, halves = (rng.random() for _ in range(6))
        arm = request.id.rpartition("#")[2]
        accuracy = behaviour.blank if arm == "blank" else behaviour.accuracy
        follow = behaviour.stay if arm == "swap" else behaviour.follow
        answer: str | None = target
        if fails < behaviour.failure:
            answer = None
        elif suggests is not None and follows < follow:
            answer = suggests
        elif not request.options and halves < behaviour.partial:
            words = target.split()
            answer = " ".join(words[: (len(words) + 1) // 2])
        elif knows >= accuracy:
            wrong = [option for option in request.options if option != target]
            answer = rng.choice(wrong) if wrong else "unknown"
        return answer, refuses, talks
