"""Bounds of shares among some items, against every way in which the lost replies could have ended."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from aloe_bench.heart.measure.answers import Arm, Block, bounds_of
from aloe_bench.heart.measure.effects import READINGS, attack_columns, base_columns, estimate, levels_of

N = 5
# What a reply under a cue may be: right, led to the cue's option, or another.
WAYS = ((1.0, 0.0), (0.0, 1.0), (0.0, 0.0))
SHARES = ("cue_following", "attack_success", "targeted_attack_success", "rescue", "excess_cue_following")


def arm(ways: list[tuple[float, float]], ends: list[str]) -> Arm:
    right, led = (np.array(part) for part in zip(*ways, strict=True))
    return Arm(np.ones(N, dtype=bool), right, led, np.zeros(N), np.array(ends))


def block(seed: int) -> Block:
    """Return a block in which some replies of the baseline and of two attacks were cut or filtered, so scored 0."""
    rng = random.Random(seed)
    arms = []
    for _ in range(3):
        ends = [rng.choice(("answered", "answered", "answered", "cut", "filtered")) for _ in range(N)]
        arms.append(arm([rng.choice(WAYS) if end == "answered" else WAYS[2] for end in ends], ends))
    base = replace(arms[0], led=np.zeros(N))
    attacks = {"caption": {"adversarial": arms[1]}, "legend": {"adversarial": arms[2]}}
    return Block("D", "classification", np.arange(N).astype(str), np.full(N, 0.25), base, attacks)


def told(one: Block, name: str) -> float | None:
    columns = base_columns(one) if name == "worst_of_k" else attack_columns(one, "caption")
    column = columns[name]
    if name == "excess_cue_following":
        return float((column.first - column.second).mean())
    return float(column.first.sum() / len(column.first)) if len(column.first) else None


def every_end(one: Block, name: str) -> list[float]:
    """Return the measure for each way in which the replies that were lost could have ended."""
    sides = [one.base, one.arms["caption"]["adversarial"], one.arms["legend"]["adversarial"]]
    lost = [
        (side, at)
        for side in range(3 if name == "worst_of_k" else 2)
        for at in range(N)
        if sides[side].ends[at] != "answered"
    ]
    lost = [(side, at) for side, at in lost if name != "worst_of_k" or side]
    found = []
    for ways in product(*([WAYS[::2] if side == 0 else WAYS for side, _ in lost])):
        rights, leds = ([side.right.copy() for side in sides], [side.led.copy() for side in sides])
        for (side, at), (right, led) in zip(lost, ways, strict=True):
            rights[side][at], leds[side][at] = right, led
        whole = [
            replace(s, right=r, led=d, ends=np.full(N, "answered")) for s, r, d in zip(sides, rights, leds, strict=True)
        ]
        arms = {"caption": {"adversarial": whole[1]}, "legend": {"adversarial": whole[2]}}
        value = told(replace(one, base=whole[0], arms=arms), name)
        found += [] if value is None else [value]
    return found


def asked(seed: int) -> Block:
    """Return a block whose model was asked what the captions say; some of these replies were lost too."""
    one, rng = block(seed), random.Random(f"read {seed}")
    ends = [rng.choice(("answered", "answered", "answered", "cut")) for _ in range(N)]
    read = [float(end == "answered" and rng.random() < 0.6) for end in ends]
    misled = replace(one.arms["caption"]["adversarial"], read=np.array(read), read_ends=np.array(ends))
    return replace(one, arms={"caption": {"adversarial": misled}})


def counted(name: str, base: list[float], misled: list[tuple[float, float]], read: list[float]) -> float | None:
    """Return a measure of what was read by counting items."""
    if name == "cue_read":
        return sum(read) / N
    of_read = [at for at in range(N) if read[at]]
    changes = [misled[at][1] if name == "cue_following_if_read" else base[at] - misled[at][0] for at in of_read]
    return sum(changes) / len(changes) if changes else None


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", sorted(READINGS))
def test_bounds_of_what_was_read_are_the_least_and_the_greatest_of_every_way(name, seed):
    one = asked(seed)
    misled = one.arms["caption"]["adversarial"]

    def ways(ends, known, lost):
        return product(*([value] if end == "answered" else lost for end, value in zip(ends, known, strict=True)))

    bases = [*ways(one.base.ends, one.base.right, (1.0, 0.0))] if name == "robustness_gap_if_read" else [()]
    replies = [*ways(misled.ends, zip(misled.right, misled.led, strict=True), WAYS)] if name != "cue_read" else [()]
    values = [
        value
        for read in ways(misled.read_ends, misled.read, (1.0, 0.0))
        for base, reply in product(bases, replies)
        if (value := counted(name, base, reply, read)) is not None
    ]
    found = bounds_of(attack_columns(one, "caption")[name])
    assert found == (pytest.approx((min(values), max(values))) if values else None)


def test_a_data_set_in_which_no_cue_was_read_leaves_the_drop_of_cues_read_without_a_value():
    one, other = asked(0), asked(1)
    misled = replace(other.arms["caption"]["adversarial"], read=np.zeros(N), read_ends=np.full(N, "answered"))
    columns = [attack_columns(each, "caption")["robustness_gap_if_read"]
               for each in (one, replace(other, arms={"caption": {"adversarial": misled}}))]  # fmt: skip
    assert len(columns[0].first) and not len(columns[1].first)
    assert [estimate(some).value is None for some in (columns[:1], columns[1:], columns)] == [False, True, True]
    levels = levels_of(dict(zip("AB", columns, strict=True)))
    assert levels["macro"]["value"] is None and levels["datasets"]["A"]["value"] == levels["micro"]["value"]


@pytest.mark.parametrize("name", [*(name for name in SHARES if name != "excess_cue_following"), "worst_of_k"])
@pytest.mark.parametrize("seed", range(3))
def test_bounds_are_the_least_and_the_greatest_of_every_way(seed, name):
    one = block(seed)
    columns = base_columns(one) if name == "worst_of_k" else attack_columns(one, "caption")
    values = every_end(one, name)
    expected = (min(values), max(values)) if values else None
    assert bounds_of(columns[name]) == (pytest.approx(expected) if expected else None)


def test_without_a_lost_reply_the_bounds_are_the_value():
    one = block(1)
    arms = {
        name: {"adversarial": replace(a["adversarial"], ends=np.full(N, "answered"))} for name, a in one.arms.items()
    }
    whole = replace(one, base=replace(one.base, ends=np.full(N, "answered")), arms=arms)
    for name in SHARES:
        value = told(whole, name)
        expected = None if value is None else pytest.approx((value, value))
        assert bounds_of(attack_columns(whole, "caption")[name]) == expected
