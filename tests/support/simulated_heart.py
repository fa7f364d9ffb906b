"""HEART runs of the mock model drawn as arrays, thousands at a time, with the truth each estimator should cover.

`python -m tests.support.simulated_heart` prints the tables of docs/robustness.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from aloe_bench.heart.measure.answers import Arm, Block, MeasureColumn
from aloe_bench.heart.measure.effects import attack_columns, base_columns, levels_of

RUNS = 400
ATTACKS = ("caption", "sycophancy")
VARIANTS = ("assistive", "adversarial", "neutral")
Z = 1.959964


@dataclass(frozen=True)
class Law:
    """What the mock is set to: models/mock.py draws refusal, following and knowing in this order, per row."""

    accuracy: float = 0.7
    follow: float = 0.4
    refusal: float = 0.05

    def truth(self, n_options: int) -> dict[str, float]:
        """Return what every measure is in the long run."""
        answers, guess = 1 - self.refusal, (1 - self.accuracy) / (n_options - 1)
        right = answers * self.accuracy
        under = right * (1 - self.follow)
        helped = answers * (self.follow + (1 - self.follow) * self.accuracy)
        led = answers * (self.follow + (1 - self.follow) * guess)
        return {
            "accuracy": right, "refused": self.refusal, "worst_of_k": under ** len(ATTACKS), "baseline_of_these": right,
            "adversarial": under, "assistive": helped, "neutral": right,
            **{f"refused_{variant}": self.refusal for variant in VARIANTS},
            "assistance_gain": helped - right, "neutral_drop": 0.0, "robustness_gap": right - under,
            "cue_following": led, "attack_success": 1 - under, "targeted_attack_success": led, "rescue": under,
            "refusal_rise": 0.0, "excess_cue_following": led - answers * guess, "cue_reliance": helped - under,
            "claim_effect": right - under,
        }  # fmt: skip


def draws(rng: np.random.Generator, n: int, shared: int, correlation: float) -> NDArray[np.float64]:
    """Return `n` uniform draws; any two items of a cluster of `shared` agree in a share `correlation` of the time.

    Each item takes its cluster's draw with probability sqrt(correlation), so events have that correlation and the
    same probability as before.
    """
    own, common = rng.random(n), np.repeat(rng.random(-(-n // shared)), shared)[:n]
    return np.where(rng.random(n) < correlation**0.5, common, own)


def block(law: Law, dataset: str, n_options: int, n: int, shared: int, correlation: float, seed: int) -> Block:
    """Return one run's answers to `n` items with the right option 0 and the cue's option 1."""
    rng = np.random.default_rng((seed, n, shared, n_options))
    clusters = np.arange(n) // shared

    def answers(suggests: int | None) -> NDArray[np.int_]:
        refuses, follows, knows, wrong = (draws(rng, n, shared, correlation) for _ in range(4))
        answer = np.where(knows < law.accuracy, 0, 1 + (wrong * (n_options - 1)).astype(int))
        if suggests is not None:
            answer = np.where(follows < law.follow, suggests, answer)
        return np.where(refuses < law.refusal, -1, answer)

    base = answers(None)
    every = np.ones(n, dtype=bool)

    def arm(found: NDArray[np.int_], suggests: int | None) -> Arm:
        before = np.full(n, np.nan) if suggests is None else (base == suggests).astype(float)
        led = np.zeros(n) if suggests is None else (found == suggests).astype(float)
        return Arm(every, (found == 0).astype(float), led, before, np.where(found == -1, "refused", "answered"))

    targets = {"assistive": 0, "adversarial": 1, "neutral": None}
    arms = {a: {v: arm(answers(targets[v]), targets[v]) for v in VARIANTS} for a in ATTACKS}
    chance = np.full(n, 1 / n_options)
    return Block(dataset, "classification", clusters, chance, arm(base, None), arms)  # type: ignore[arg-type]


def columns(found: Block) -> Mapping[str, MeasureColumn]:
    """Return the measures of a block; of how replies ended, those that the law draws: answered and refused."""
    every = {**base_columns(found), **attack_columns(found, ATTACKS[0])}
    return {name: column for name, column in every.items() if not name.startswith(("unread", "filtered", "cut_"))
            and name != "cut"}  # fmt: skip


@dataclass(frozen=True)
class Scenario:
    """`sets` is (options, items) a data set; more than one asks for the macro mean."""

    name: str
    sets: tuple[tuple[int, int], ...]
    shared: int
    correlation: float


SCENARIOS = (
    Scenario("165 items, one an image", ((4, 165),), 1, 0.0),
    Scenario("165 items, 2 an image, correlation .3", ((4, 165),), 2, 0.3),
    Scenario("1,250 items, 5 an image, correlation .3", ((4, 1250),), 5, 0.3),
    Scenario("macro of 165 (4 options) and 250 (2)", ((4, 165), (2, 250)), 1, 0.0),
)
# Here rare events leave the standard error too little to go by; the documentation says so.
HARD = (
    Scenario("30 items, one an image", ((4, 30),), 1, 0.0),
    Scenario("165 items, 5 an image, correlation .3", ((4, 165),), 5, 0.3),
)


@dataclass(frozen=True)
class Coverage:
    """One estimator in one scenario: share of intervals with the truth in them, mean width, and 2 * 1.96 * SD."""

    measure: str
    truth: float
    coverage: float
    width: float
    theory: float
    defined: int


@cache
def coverages(scenario: Scenario, law: Law = Law(), runs: int = RUNS) -> list[Coverage]:
    """Return the coverage of every estimator over `runs` simulated runs."""
    truths = [law.truth(options) for options, _ in scenario.sets]
    found: dict[str, list[tuple[float, float, float]]] = {}
    for seed in range(runs):
        blocks = [block(law, f"set{i}", options, n, scenario.shared, scenario.correlation, seed)
                  for i, (options, n) in enumerate(scenario.sets)]  # fmt: skip
        parts = [columns(b) for b in blocks]
        for measure in parts[0]:
            entry = levels_of({b.dataset: part[measure] for b, part in zip(blocks, parts, strict=True)})["macro"]
            if entry["interval"] is not None:
                found.setdefault(measure, []).append((entry["value"], *entry["interval"]))
    return [
        _coverage(measure, sum(truth[measure] for truth in truths) / len(truths), np.array(values))
        for measure, values in found.items()
    ]


def _coverage(measure: str, truth: float, values: NDArray[np.float64]) -> Coverage:
    inside = (values[:, 1] <= truth + 1e-12) & (truth - 1e-12 <= values[:, 2])
    width = float((values[:, 2] - values[:, 1]).mean())
    return Coverage(measure, truth, float(inside.mean()), width, float(2 * Z * values[:, 0].std()), len(values))


def nulls(n: int, correlation: float, seed: int, levels: int = 1) -> Iterator[NDArray[np.float64]]:
    """Yield first scores, second scores and clusters where nothing differs; `levels` 2 gives half credit."""
    rng, shared = np.random.default_rng((seed, n)), 2 if correlation else 1
    for _ in range(2):
        scores = [draws(rng, n, shared, correlation) < 0.7 for _ in range(levels)]
        yield np.mean(scores, axis=0)
    yield np.arange(n) // shared


def main() -> None:
    """Print the two tables in Markdown."""
    by_measure: dict[str, list[str]] = {}
    for scenario in (*SCENARIOS, *HARD):
        for row in coverages(scenario):
            cell = f"{row.coverage:.3f}, {100 * row.width:.1f} / {100 * row.theory:.1f}"
            by_measure.setdefault(row.measure, []).append(cell)
    print("| measure | " + " | ".join(scenario.name for scenario in (*SCENARIOS, *HARD)) + " |")
    print("|---|" + "---|" * len((*SCENARIOS, *HARD)))
    for measure, cells in by_measure.items():
        print(f"| `{measure}` | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
