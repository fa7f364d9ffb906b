"""A deterministic judge with programmable faults; it grades by a rule on the words, not by understanding."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from aloe_bench.core import Decoding, Prediction, Request
from aloe_bench.errors import ModelError
from aloe_bench.seeds import rng_for

# Question, reference and answer as a prompt quotes them, None for a text that quotes no case.
ReadCase = Callable[[str], tuple[str, str, str] | None]
LEVELS = (0.0, 0.5, 1.0)
LONG_ANSWER_WORDS = 50
STOP_WORDS = frozenset("a an and at by for in is it of on or the this to with".split())
MALFORMED = (
    "The answer is partially correct.",
    '{"grade": 0.75}',
    '{"grade": "one"}',
    '{"grade": 1',
    'I would say {"grade": 1}.',
    '{"score": 1}',
    '{"grade": 1} {"grade": 0}',
    "",
)


@dataclass(frozen=True, slots=True)
class JudgeBehaviour:
    """Shares in [0, 1], drawn per case from the seed and the judge's name.

    `malformed` is the share of replies that cannot be read, drawn again when asked again; `mute`, of cases to which
    every reply is so; `failure`, of calls that fail. `leniency` is the share of grades moved one level up (down if
    negative), `length_bias` that of long answers moved up. `latency` is in seconds a case. `down` is an endpoint
    that never answers, `down_after` one that dies after so many replies.
    """

    accuracy: float = 1.0
    leniency: float = 0.0
    length_bias: float = 0.0
    malformed: float = 0.0
    mute: float = 0.0
    failure: float = 0.0
    latency: float = 0.0
    down: bool = False
    down_after: int | None = None
    seed: int = 0


def words(text: str) -> set[str]:
    """Return the words of `text` that carry content, in lower case."""
    return set(re.findall(r"\w+", text.lower())) - STOP_WORDS


def true_grade(reference: str, answer: str) -> float:
    """Return 1 if the answer holds every word of the reference, 0.5 if at least a third, else 0."""
    wanted = words(reference)
    share = len(wanted & words(answer)) / len(wanted) if wanted else 0.0
    return 1.0 if share == 1 else 0.5 if share >= 1 / 3 else 0.0


class MockJudge:
    """Reads the case out of the prompt with `read_case`, as it must: a request never holds the truth."""

    def __init__(self, read_case: ReadCase, behaviour: JudgeBehaviour | None = None, name: str = "mock") -> None:
        self._read_case, self._behaviour, self.name = read_case, behaviour or JudgeBehaviour(), name
        self._answered = 0
        self._calls: Counter[str] = Counter()

    @property
    def fingerprint(self) -> str:
        """Return a SHA-256 of the name, which its draws depend on, and of the behaviour."""
        text = json.dumps([self.name, asdict(self._behaviour)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def describe(self) -> Mapping[str, object]:
        """Return the settings for the header."""
        return asdict(self._behaviour)

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Prediction]:
        """Yield one prediction a request, in order; raises ModelError once the endpoint is down."""
        behaviour = self._behaviour
        for request in requests:
            dead = behaviour.down_after is not None and self._answered >= behaviour.down_after
            if behaviour.down or dead:
                raise ModelError(f"{self.name}: planted outage.")
            if behaviour.latency:
                time.sleep(behaviour.latency)
            self._answered += 1
            self._calls[request.id] += 1
            if self._draw("failure", request.id, self._calls[request.id]) < behaviour.failure:
                yield Prediction(request.id, None, "error", error="planted failure")
            else:
                yield Prediction(request.id, self._reply(request), "stop")

    def _draw(self, purpose: str, *parts: object) -> float:
        return rng_for(self._behaviour.seed, "mock judge", self.name, purpose, *parts).random()

    def _reply(self, request: Request) -> str:
        turns = request.messages
        place = max(i for i, turn in enumerate(turns) if turn.role == "user" and self._read_case(turn.text))
        case = self._read_case(turns[place].text)
        asked_before = (len(turns) - 1 - place) // 2
        if case is None or self.is_malformed(request.id, asked_before):
            return rng_for(self._behaviour.seed, self.name, request.id, asked_before).choice(MALFORMED)
        return json.dumps({"grade": self._grade(request.id, case[1], case[2])})

    def is_malformed(self, request_id: str, asked_before: int) -> bool:
        """Return whether the reply after so many unreadable ones is unreadable too."""
        mute = self._draw("mute", request_id) < self._behaviour.mute
        return mute or self._draw("malformed", request_id, asked_before) < self._behaviour.malformed

    def _grade(self, request_id: str, reference: str, answer: str) -> float:
        behaviour, grade = self._behaviour, true_grade(reference, answer)
        if self._draw("accuracy", request_id) >= behaviour.accuracy:
            others = [level for level in LEVELS if level != grade]
            grade = rng_for(behaviour.seed, self.name, "wrong", request_id).choice(others)
        level = LEVELS.index(grade)
        if self._draw("leniency", request_id) < abs(behaviour.leniency):
            level += 1 if behaviour.leniency > 0 else -1
        long = len(answer.split()) >= LONG_ANSWER_WORDS
        if long and self._draw("length", request_id) < behaviour.length_bias:
            level += 1
        return LEVELS[min(2, max(0, level))]
