"""Who rates which answer, and in which order."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from aloe_bench.judges.experts.assign import Assignment, PerItem, assign


@pytest.mark.parametrize("n_raters", [2, 3, 4, 7])
@pytest.mark.parametrize("n_items", [1, 9, 105])
def test_every_item_gets_its_raters_and_the_loads_are_even(n_raters: int, n_items: int):
    items, raters = [f"item-{i}" for i in range(n_items)], [f"rater-{i}" for i in range(n_raters)]

    for least, most in ((1, 1), (2, 2), (2, 4), (2, n_raters)):
        given = assign(items, raters, PerItem(least, max(least, most)), seed=5)

        required = Counter(a.item for places in given.values() for a in places if a.required)
        in_all = Counter(a.item for places in given.values() for a in places)
        assert set(required.values()) == {min(least, n_raters)}
        assert set(in_all.values()) == {min(max(least, most), n_raters)}
        loads = [sum(a.required for a in places) for places in given.values()]
        assert max(loads) - min(loads) <= 1
        assert max(map(len, given.values())) - min(map(len, given.values())) <= 2
        for places in given.values():
            assert len({a.item for a in places}) == len(places)
            assert places == sorted(places, key=lambda a: not a.required)


def test_the_lists_do_not_depend_on_the_order_of_the_input_but_on_the_seed():
    items, raters = [f"item-{i}" for i in range(40)], ["a", "b", "c", "d"]
    shuffled = random.Random(1).sample(items, len(items))

    given = assign(items, raters, PerItem(2, 4), seed=1)

    assert assign(shuffled, raters, PerItem(2, 4), seed=1) == given
    assert assign(items, raters, PerItem(2, 4), seed=2) != given


def test_over_an_even_number_of_raters_every_item_stands_in_the_middle_on_average():
    items, raters = [f"item-{i}" for i in range(25)], ["a", "b", "c", "d"]
    given = assign(items, raters, PerItem(4, 4), seed=3)

    for item in items:
        positions = [[a.item for a in places].index(item) + 1 for places in given.values()]
        assert sum(positions) / 4 == 13
    orders = {tuple(a.item for a in places) for places in given.values()}
    assert len(orders) == 4


def test_pairs_of_raters_meet_about_equally_often():
    items, raters = [f"item-{i}" for i in range(120)], ["a", "b", "c", "d"]
    given = assign(items, raters, PerItem(2, 2), seed=0)
    holders: dict[str, list[str]] = {}
    for rater, places in given.items():
        for place in places:
            holders.setdefault(place.item, []).append(rater)

    met = Counter(tuple(sorted(pair)) for pair in holders.values())
    assert len(met) == 6 and max(met.values()) - min(met.values()) <= 4


def test_a_new_rater_is_given_only_what_is_missing():
    existing = {"x": ["a", "b"], "y": ["a"]}
    given = assign(["x", "y"], ["a", "b", "c"], PerItem(2, 2), seed=0, existing=existing)
    assert given["a"] == [] and given["b"] + given["c"] == [Assignment("y", True)]
