"""A deterministic model with programmable behaviour: it closes the loop in tests and demonstrations."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from aloe_bench.core import LETTERS, Decoding, Finish, Prediction, Request
from aloe_bench.errors import AloeError, ModelError
from aloe_bench.seeds import rng_for

AnswerKey = Mapping[str, tuple[str, str | None]]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Shares in [0, 1], drawn per sample id; `latency` in seconds per request, `decode` opens every image.

    `partial` is the share of open questions that get the first half of the answer's words. `blank` is the accuracy over
    a grey picture, `stay` how often the answer over another picture is that of the asked one, `read` how often it says
    what is drawn into a picture when asked for it. Of what does not fail,
    `filtered`, `cut`, `refusal` and `mumble` (no option at all) take their shares in this order. `by_cue` holds other
    shares for the rows of one attack and variant, as {"caption/adversarial": {"cut": 0.3}}.
    """

    accuracy: float = 1.0
    follow: float = 0.0
    refusal: float = 0.0
    filtered: float = 0.0
    cut: float = 0.0
    mumble: float = 0.0
    verbose: float = 0.0
    partial: float = 0.0
    blank: float = 0.0
    stay: float = 0.0
    read: float = 1.0
    failure: float = 0.0
    latency: float = 0.0
    seed: int = 0
    decode: bool = False
    by_cue: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def of(self, sample_id: str) -> Behaviour:
        """Return the behaviour towards one sample: that of its cue, which its id ends with, or this."""
        found = next((shares for cue, shares in self.by_cue.items() if sample_id.endswith(f"/{cue}")), None)
        return self if found is None else replace(self, by_cue={}, **found)

    def __post_init__(self) -> None:
        if not isinstance(self.by_cue, Mapping) or not all(isinstance(some, Mapping) for some in self.by_cue.values()):
            raise ModelError(f"mock: by_cue is {self.by_cue!r}; expected shares by cue.")
        for cue, shares in self.by_cue.items():
            if unknown := sorted(set(shares) - _SHARES):
                raise ModelError(f"mock: by_cue of {cue!r} has {unknown[0]!r}; expected {', '.join(sorted(_SHARES))}.")
            replace(self, by_cue={}, **shares)
        for name, value in asdict(self).items():
            if name == "by_cue":
                continue
            most = math.inf if name in ("latency", "seed", "decode") else 1.0
            if not isinstance(value, int | float) or not (0 <= value <= most or name == "seed"):
                raise ModelError(f"mock: {name} is {value!r}; expected a number{' from 0 to 1' if most == 1 else ''}.")


_SHARES = frozenset(("accuracy", "follow", "refusal", "filtered", "cut", "mumble", "verbose", "partial", "failure"))
# How a reply ends that does not answer: its text, and its finish reason.
_ENDS = {
    "filtered": ("", "content_filter"),
    "cut": ("Looking at the image, we first have to consider that the", "length"),
    "refusal": ("I'm sorry, I cannot help with medical images.", "stop"),
    "mumble": ("This is a picture of good quality.", "stop"),
}


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
            yield replace(self._reply(request), seconds=time.perf_counter() - started)

    def option_logprobs(self, requests: Sequence[Request]) -> Iterator[Prediction]:
        """Yield one prediction a request: the option it believes in has probability 0.7, the others share the rest.

        `verbose`, and how replies end, are ways of talking and play no part.
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

    def _reply(self, request: Request) -> Prediction:
        behaviour, (answer, ends, talks) = self._behaviour.of(request.id), self._draw(request)
        if answer is None:
            return Prediction(request.id, None, "error", error="planted failure")
        up_to = 0.0
        for name, (text, reason) in _ENDS.items():
            up_to += getattr(behaviour, name)
            if ends < up_to:
                finish: Finish = "length" if reason == "length" else "stop"
                return Prediction(request.id, text, finish, finish_reason=None if reason == "stop" else reason)
        text = f"Looking at the image, the answer is {answer}." if talks < behaviour.verbose else answer
        return Prediction(request.id, text, "stop")

    def _draw(self, request: Request) -> tuple[str | None, float, float]:
        """Return the answer it believes in, None for a failed call, and its draws for ending so and for talking."""
        behaviour, (target, suggests) = self._behaviour.of(request.id), self._key[request.id]
        rng = rng_for(behaviour.seed, "mock", request.id)
        fails, ends, follows, knows, talks, halves = (rng.random() for _ in range(6))
        arm = request.id.rpartition("#")[2]
        accuracy = {"blank": behaviour.blank, "read": behaviour.read}.get(arm, behaviour.accuracy)
        follow = {"swap": behaviour.stay, "read": 0.0}.get(arm, behaviour.follow)
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
        return answer, ends, talks
