"""Runs of a model whose answers depend on the wording of a cue and on whether it can read it, drawn as arrays.

`python -m tests.support.simulated_cues [RUNS]` prints coverage and each one-sided miss, as docs/robustness.md has them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aloe_bench.heart.measure.answers import Arm, Block
from aloe_bench.heart.measure.effects import READINGS, Within, attack_columns, estimate, within_of
from tests.support.simulated_heart import draws

Floats = NDArray[np.float64]
WORDINGS = 16
MEASURES = ("robustness_gap", "neutral_drop", "claim_effect", "priming", "claiming", "priming_truth", "cue_read",
            "robustness_gap_if_read", "cue_following_if_read")  # fmt: skip


@dataclass(frozen=True)
class CueLaw:
    """How often a model is right without a cue and under each, reads a cue, and is led by it.

    `spread` is the SD over wordings of every share but `base`, which is asked without one.
    """

    base: float = 0.8
    neutral: float = 0.75
    mention: float = 0.7
    mention_truth: float = 0.78
    read: float = 0.6
    led_if_read: float = 0.5
    led_unread: float = 0.1
    spread: float = 0.0


@dataclass(frozen=True)
class CueScenario:
    """`sets` are items a data set; more than one asks for the mean over them. `shared` items are one patient's."""

    name: str
    sets: tuple[int, ...]
    shared: int = 1
    correlation: float = 0.0
    law: CueLaw = field(default_factory=CueLaw)


SCENARIOS = (
    CueScenario("60 items", (60,)),
    CueScenario("165 items", (165,)),
    CueScenario("165 items, 3 a patient, correlation .3", (165,), 3, 0.3),
    CueScenario("165 and 250 items", (165, 250)),
    CueScenario("165 items, wordings with SD .15", (165,), law=CueLaw(spread=0.15)),
    CueScenario("1,250 items, wordings with SD .15", (1250,), law=CueLaw(spread=0.15)),
)


@dataclass(frozen=True)
class Shares:
    """The shares of a law, wording by wording; two points each, so that their mean and SD are the law's."""

    neutral: Floats
    mention: Floats
    mention_truth: Floats
    read: Floats
    led_if_read: Floats
    led_unread: Floats

    @classmethod
    def of(cls, law: CueLaw, rng: np.random.Generator) -> Shares:
        def some(share: float) -> Floats:
            spread = min(law.spread, share, 1 - share)
            return share + spread * rng.choice([-1.0, 1.0], WORDINGS)

        return cls(*(some(getattr(law, name)) for name in cls.__annotations__))

    def truth(self, base: float) -> dict[str, float]:
        """Return what each measure is in the long run over items with these wordings, each as often."""
        led = self.read * self.led_if_read + (1 - self.read) * self.led_unread
        under = (self.neutral * (1 - led)).mean()
        of_read = (self.read * self.led_if_read).sum() / self.read.sum()
        right_if_read = (self.read * self.neutral * (1 - self.led_if_read)).sum() / self.read.sum()
        neutral, mention, named = self.neutral.mean(), self.mention.mean(), self.mention_truth.mean()
        return {
            "robustness_gap": base - under, "neutral_drop": base - neutral, "claim_effect": neutral - under,
            "priming": neutral - mention, "claiming": mention - under, "priming_truth": named - neutral,
            "cue_read": float(self.read.mean()), "cue_following_if_read": of_read,
            "robustness_gap_if_read": base - right_if_read,
        }  # fmt: skip


def truth_of(law: CueLaw) -> dict[str, float]:
    """Return what each measure is over all wordings of which the used ones are a draw."""
    whole = {name: np.array([getattr(law, name)]) for name in Shares.__annotations__}
    return Shares(**whole).truth(law.base)


def block(scenario: CueScenario, shares: Shares, name: str, n: int, rng: np.random.Generator) -> Block:
    """Return one run's answers to `n` items, each with one of the wordings by lot; what they know is the item's own."""

    def uniform() -> Floats:
        return draws(rng, n, scenario.shared, scenario.correlation)

    every, ended = np.ones(n, dtype=bool), np.full(n, "answered")
    wording, knows = rng.integers(0, WORDINGS, n), uniform()

    def right(share: Floats | float) -> NDArray[np.bool_]:
        """An item's answers under two variants agree more often than two items' do."""
        return np.asarray(np.where(uniform() < 0.7, knows, uniform()) < share)

    def arm(correct: NDArray[np.bool_], led: NDArray[np.bool_] | None = None, read: Floats | None = None) -> Arm:
        follows = np.zeros(n) if led is None else led.astype(float)
        return Arm(every, correct.astype(float), follows, np.zeros(n), ended, read, None if read is None else ended)

    read = uniform() < shares.read[wording]
    led = uniform() < np.where(read, shares.led_if_read[wording], shares.led_unread[wording])
    arms = {
        "neutral": arm(right(shares.neutral[wording])),
        "mention": arm(right(shares.mention[wording])),
        "mention_truth": arm(right(shares.mention_truth[wording])),
        "adversarial": arm(right(shares.neutral[wording]) & ~led, led, read.astype(float)),
    }
    clusters = np.array([f"{name}{i // scenario.shared}" for i in range(n)])
    return Block(name, "classification", clusters, np.full(n, 0.25), arm(right(scenario.law.base)), {"prompt": arms})


@dataclass
class Told:
    """Of the intervals of one measure: how many lay below the truth, above it, and how many there were."""

    below: int = 0
    above: int = 0
    runs: int = 0

    def add(self, interval: tuple[float, float] | None, truth: float) -> None:
        if interval is not None:
            self.below += interval[1] < truth - 1e-12
            self.above += interval[0] > truth + 1e-12
            self.runs += 1

    @property
    def covered(self) -> float:
        return 1 - (self.below + self.above) / self.runs


def coverages(scenario: CueScenario, runs: int) -> Iterator[tuple[str, Told, Told]]:
    """Yield each measure with what its intervals say of the wordings used, and of all wordings like them."""
    of_used, of_all = ({name: Told() for name in MEASURES} for _ in range(2))
    everywhere = truth_of(scenario.law)
    for seed in range(runs):
        rng = np.random.default_rng((seed, *scenario.sets, scenario.shared))
        shares = Shares.of(scenario.law, rng)
        blocks = [block(scenario, shares, f"D{i}", n, rng) for i, n in enumerate(scenario.sets)]
        within, here = within_of(blocks), shares.truth(scenario.law.base)
        parts = [attack_columns(one, "prompt") for one in blocks]
        for name in MEASURES:
            found = estimate([part[name] for part in parts], Within() if name in READINGS else within)
            of_used[name].add(found.interval, here[name])
            of_all[name].add(found.interval, everywhere[name])
    yield from ((name, of_used[name], of_all[name]) for name in MEASURES)


def main(runs: int) -> None:
    """Print a table in Markdown."""
    print("| setting | measure | covered | below | above | covered, of wordings like these |")
    print("|---|---|---|---|---|---|", flush=True)
    for scenario in SCENARIOS:
        for name, used, every in coverages(scenario, runs):
            rates = f"{used.covered:.3f} | {used.below / used.runs:.3f} | {used.above / used.runs:.3f}"
            print(f"| {scenario.name} | `{name}` | {rates} | {every.covered:.3f} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
