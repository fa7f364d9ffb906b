"""Runs of a model whose answers depend on the wording of a cue and on whether it can read it, drawn as arrays.

`python -m tests.support.simulated_cues [RUNS [PART OF A NAME]]` prints coverage and each one-sided miss.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aloe_bench.heart.measure.answers import Arm, Block
from aloe_bench.heart.measure.effects import READINGS, Within, attack_columns, estimate, like_these, within_of
from aloe_bench.stats.wordings import Facet
from tests.support.simulated_heart import draws

Floats = NDArray[np.float64]
MEASURES = ("robustness_gap", "neutral_drop", "claim_effect", "priming", "claiming", "priming_truth", "cue_read",
            "robustness_gap_if_read", "cue_following_if_read", "adversarial", "targeted_attack_success")  # fmt: skip


@dataclass(frozen=True)
class CueLaw:
    """How often a model is right without a cue and under each, reads a cue, and is led by it.

    `spread` is the SD over the wordings of a kind, of every share but `base`, which is asked without one; `apart` how
    far kinds lie from the mean, every other one above it.
    """

    base: float = 0.8
    neutral: float = 0.75
    mention: float = 0.7
    mention_truth: float = 0.78
    read: float = 0.6
    led_if_read: float = 0.5
    led_unread: float = 0.1
    spread: float = 0.0
    apart: float = 0.0


@dataclass(frozen=True)
class CueScenario:
    """`sets` are items a data set; more than one asks for the mean over them. `shared` items are one patient's.

    Items draw one of `wordings` of `kinds`: as often each, or the first one 8 times as often as the last (`uneven`).
    Their shares lie at two points, or as beta has them (`beta`): most near one end, some far.
    """

    name: str
    sets: tuple[int, ...]
    shared: int = 1
    correlation: float = 0.0
    law: CueLaw = field(default_factory=CueLaw)
    wordings: int = 16
    kinds: int = 1
    uneven: bool = False
    beta: bool = False
    least: float = 0.93
    most: float = 0.985

    @property
    def use(self) -> Floats:
        """How often each wording is drawn."""
        weights = np.linspace(8.0, 1.0, self.wordings) if self.uneven else np.ones(self.wordings)
        return weights / weights.sum()

    @property
    def kind(self) -> NDArray[np.intp]:
        """The kind of each wording."""
        return np.arange(self.wordings) % self.kinds


VARIED = CueLaw(spread=0.15)
KINDS = CueLaw(spread=0.15, apart=0.05)
RARE = CueLaw(0.97, 0.95, 0.93, 0.96, 0.95, 0.06, 0.03, spread=0.05)
SCENARIOS = (
    CueScenario("60 items", (60,)),
    CueScenario("165 items", (165,)),
    CueScenario("165 items, 3 a patient, correlation .3", (165,), 3, 0.3),
    CueScenario("165 and 250 items", (165, 250)),
    CueScenario("60 items, wordings with SD .15", (60,), law=VARIED),
    CueScenario("165 items, wordings with SD .15", (165,), law=VARIED),
    CueScenario("165 items, wordings with SD .25", (165,), law=CueLaw(spread=0.25)),
    CueScenario("1,250 items, wordings with SD .15", (1250,), law=VARIED),
    CueScenario("165 items, 4 kinds of 8, SD .15", (165,), law=KINDS, wordings=32, kinds=4),
    CueScenario("1,250 items, 4 kinds of 8, SD .15", (1250,), law=KINDS, wordings=32, kinds=4),
    CueScenario("165 items, 3 a patient, SD .15", (165,), 3, 0.3, law=VARIED),
    CueScenario("165 and 250 items, SD .15", (165, 250), law=VARIED),
    CueScenario("165 items, SD .15, one wording 8 times another", (165,), law=VARIED, uneven=True),
    CueScenario("165 items, SD .15, most near one end", (165,), law=VARIED, beta=True),
    CueScenario("165 items, shares near 0 and 1, SD .05", (165,), law=RARE, beta=True),
    CueScenario("1,250 items, shares near 0 and 1, SD .05", (1250,), law=RARE, beta=True),
    # At two points, four wordings are alike by chance in one draw of eight, and then say nothing of how they differ.
    CueScenario("165 items, 4 wordings with SD .15", (165,), law=VARIED, wordings=4, least=0.89, most=0.99),
)  # fmt: skip


@dataclass(frozen=True)
class Shares:
    """The shares of a law, wording by wording, and how often each wording is used."""

    neutral: Floats
    mention: Floats
    mention_truth: Floats
    read: Floats
    led_if_read: Floats
    led_unread: Floats

    @classmethod
    def of(cls, scenario: CueScenario, rng: np.random.Generator) -> Shares:
        """Return shares drawn for each wording; their mean and SD over all wordings of a kind are the law's."""
        spread = scenario.law.spread

        def some(means: Floats) -> Floats:
            if scenario.beta and spread:
                size = means * (1 - means) / np.minimum(spread, 0.9 * np.sqrt(means * (1 - means))) ** 2 - 1
                return rng.beta(means * size, (1 - means) * size)
            return means + np.minimum(spread, np.minimum(means, 1 - means)) * rng.choice([-1.0, 1.0], len(means))

        return cls(*(some(getattr(cls.means(scenario), name)) for name in cls.__annotations__))

    @classmethod
    def means(cls, scenario: CueScenario) -> Shares:
        """Return the mean over all wordings of its kind in the place of each wording's share."""
        shift = scenario.law.apart * (1 - 2 * (scenario.kind % 2))
        return cls(*(getattr(scenario.law, name) + shift for name in cls.__annotations__))

    def truth(self, scenario: CueScenario, use: Floats) -> dict[str, float]:
        """Return what each measure is in the long run over items that draw their wordings as often as `use` says."""
        base = scenario.law.base

        def mean(shares: Floats) -> float:
            return float((use * shares).sum())

        led = self.read * self.led_if_read + (1 - self.read) * self.led_unread
        under = mean(self.neutral * (1 - led))
        right_if_read = mean(self.read * self.neutral * (1 - self.led_if_read)) / mean(self.read)
        neutral, mention, named = mean(self.neutral), mean(self.mention), mean(self.mention_truth)
        return {
            "robustness_gap": base - under, "neutral_drop": base - neutral, "claim_effect": neutral - under,
            "priming": neutral - mention, "claiming": mention - under, "priming_truth": named - neutral,
            "cue_read": mean(self.read), "cue_following_if_read": mean(self.read * self.led_if_read) / mean(self.read),
            "robustness_gap_if_read": base - right_if_read, "adversarial": under, "targeted_attack_success": mean(led),
        }  # fmt: skip


def block(scenario: CueScenario, shares: Shares, name: str, n: int, rng: np.random.Generator) -> Block:
    """Return one run's answers to `n` items, each with one of the wordings by lot; what they know is the item's own."""

    def uniform() -> Floats:
        return draws(rng, n, scenario.shared, scenario.correlation)

    every, ended = np.ones(n, dtype=bool), np.full(n, "answered")
    wording, knows = rng.choice(scenario.wordings, n, p=scenario.use), uniform()

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
    facet = Facet(np.char.mod("w%02d", wording), np.char.mod("k%d", scenario.kind[wording]))
    base = arm(right(scenario.law.base))
    return Block(name, "classification", clusters, np.full(n, 0.25), base, {"prompt": arms}, {"prompt": (facet,)})


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


class Covered(NamedTuple):
    """What intervals of one measure say: those for the wordings used of these, and of all, and those for all."""

    used: Told
    used_of_all: Told
    like_these: Told


def coverages(scenario: CueScenario, runs: int) -> dict[str, Covered]:
    """Return what the intervals of each measure say."""
    found = {name: Covered(Told(), Told(), Told()) for name in MEASURES}
    everywhere = Shares.means(scenario).truth(scenario, scenario.use)
    for seed in range(runs):
        rng = np.random.default_rng((seed, *scenario.sets, scenario.shared))
        shares = Shares.of(scenario, rng)
        blocks = [block(scenario, shares, f"D{i}", n, rng) for i, n in enumerate(scenario.sets)]
        # Without a repeated patient there is no correlation to reckon with.
        within = within_of(blocks) if scenario.shared > 1 else Within()
        here = shares.truth(scenario, scenario.use)
        parts = [attack_columns(one, "prompt") for one in blocks]
        for name in MEASURES:
            columns = [part[name] for part in parts]
            one = estimate(columns, Within() if name in READINGS else within)
            found[name].used.add(one.interval, here[name])
            found[name].used_of_all.add(one.interval, everywhere[name])
            found[name].like_these.add(like_these(columns, one)["interval_wordings"], everywhere[name])
    return found


def main(runs: int, part: str) -> None:
    """Print a table in Markdown of the settings whose name holds `part`."""
    print("| setting | measure | used | below | above | used, of all | like these, of all | below | above |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for scenario in SCENARIOS:
        for name, (used, of_all, every) in coverages(scenario, runs).items() if part in scenario.name else ():
            rates = [used.covered, used.below / used.runs, used.above / used.runs, of_all.covered, every.covered,
                     every.below / every.runs, every.above / every.runs]  # fmt: skip
            print(f"| {scenario.name} | `{name}` | {' | '.join(f'{rate:.3f}' for rate in rates)} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000, sys.argv[2] if len(sys.argv) > 2 else "")
