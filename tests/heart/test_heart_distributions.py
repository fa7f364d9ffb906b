"""What HEART draws by lot is drawn fairly: properties of 2,000 planned items, which no single item can show.

Chi-square tests on fixed seeds, so they give the same verdict every time. Each asks for p > 1e-4: about 60 tests
stand here, and a table that always puts the truth first, or always aims at the first wrong option, has p < 1e-300.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from functools import cache
from pathlib import Path

import pytest

from aloe_bench import registry
from aloe_bench.evaluation.plan import Settings, load_plan
from aloe_bench.heart.attacks import parse_attacks
from aloe_bench.heart.attacks.sycophancy import BIASES
from aloe_bench.heart.boxes import Distractor
from aloe_bench.heart.build import HeartRecipe
from aloe_bench.heart.draw.rendering import plain_name
from aloe_bench.heart.make import plan_work
from aloe_bench.heart.plan import Dose, ItemKey, ItemPlan, Slot, plan_classification, plan_detection
from aloe_bench.heart.sources.source import Classes, load_source
from aloe_bench.heart.wordings import TESTIMONY, load_templates
from aloe_bench.training.adversarial import held_out
from tests.conftest import closed_rows

N = 2000
LEAST_P = 1e-4
TEMPLATES = load_templates()
PALETTE = ("orange", "sky blue", "bluish green", "yellow", "blue", "white", "reddish purple", "black")
NAMES = ("normal", "pneumonia", "effusion", "nodule", "mass", "fibrosis")
Value = Callable[[ItemPlan], Hashable]


def fair(values: Iterable[Hashable], expected: Iterable[Hashable]) -> None:
    """Assert that `values` take each of `expected`, and nothing else, about equally often."""
    from scipy import stats

    counts, expected = Counter(values), list(expected)
    assert set(counts) <= set(expected), f"drawn, but not expected: {set(counts) - set(expected)}"
    assert counts.total() >= 5 * len(expected), "too few values for the test"
    found = [counts[value] for value in expected]
    assert len(found) == 1 or stats.chisquare(found).pvalue > LEAST_P, dict(zip(expected, found, strict=True))


def independent(pairs: Iterable[tuple[Hashable, Hashable]]) -> None:
    """Assert that the first value of a pair tells nothing of the second."""
    from scipy import stats

    counts = Counter(pairs)
    rows, columns = (sorted({pair[i] for pair in counts}, key=str) for i in (0, 1))
    assert len(rows) > 1 and len(columns) > 1
    table = [[counts[row, column] for column in columns] for row in rows]
    assert stats.chi2_contingency(table).pvalue > LEAST_P, table


def classification(seed: int = 0, n_options: int = 4, n: int = N) -> list[ItemPlan]:
    classes = Classes(NAMES, NAMES, n_options)
    keys = (ItemKey("set", "classification", f"im{i:05d}", i % len(NAMES)) for i in range(n))
    return [plan_classification(key, key.source_id, classes, TEMPLATES, seed, Dose()) for key in keys]


def detection(seed: int = 0, n_options: int = 4, names: str = "numbers", n: int = N) -> list[ItemPlan]:
    """Plans whose second box is annotated with another class, and whose further ones were generated."""
    classes = Classes(NAMES, NAMES, n_options, "colours" if names == "colours" else "numbers")
    boxes = [(40 * i, 10, 40 * i + 30, 50) for i in range(n_options)]
    plans = []
    for i in range(n):
        key = ItemKey("set", "detection", f"im{i:05d}", i % len(NAMES))
        slots = [Slot(boxes[0], key.true_class), Slot(boxes[1], (key.true_class + 1) % len(NAMES))]
        slots += [Slot(box, None, Distractor(box)) for box in boxes[2:]]
        plans.append(plan_detection(key, key.source_id, classes, slots, PALETTE, TEMPLATES, seed, Dose()))
    return plans


MAKE = {"classification": classification, "detection": detection}
TASKS = tuple(MAKE)


@cache
def usual(task: str) -> list[ItemPlan]:
    """Return the plans of `task` with four options and seed 0, made once."""
    return MAKE[task]()


def rank(plan: ItemPlan) -> int:
    """Return which of the wrong options the adversarial cue argues for, counted from 0."""
    return [i for i in range(len(plan.options)) if i != plan.answer].index(plan.target)


def number(plan: ItemPlan) -> int:
    """Return the place of the true box among the names "Box 1", "Box 2" ..."""
    return plan.boxes.index(plan.named_box(plan.answer)) + 1


def colour(plan: ItemPlan) -> str:
    return plan.named_box(plan.answer).colour


@pytest.mark.parametrize("task", TASKS)
def test_the_truth_stands_at_each_letter_equally_often_whatever_the_class(task: str) -> None:
    plans = usual(task)

    fair((plan.answer for plan in plans), range(4))
    independent((plan.key.true_class, plan.answer) for plan in plans)


@pytest.mark.parametrize("n_options", [2, 3])
@pytest.mark.parametrize("make", MAKE.values(), ids=TASKS)
def test_fewer_options_are_as_fair(make: Callable[..., list[ItemPlan]], n_options: int) -> None:
    plans = make(n_options=n_options, n=800)

    fair((plan.answer for plan in plans), range(n_options))
    fair((rank(plan) for plan in plans), range(n_options - 1))


@pytest.mark.parametrize("task", TASKS)
def test_an_adversarial_cue_argues_for_each_wrong_option_equally_often(task: str) -> None:
    plans = usual(task)

    fair((rank(plan) for plan in plans), range(3))
    fair(((plan.answer, plan.target) for plan in plans), [(a, t) for a in range(4) for t in range(4) if a != t])
    fair((plan.letter("adversarial") for plan in plans), "ABCD")
    assert all(plan.letter("assistive") == "ABCD"[plan.answer] and plan.letter("neutral") is None for plan in plans)


def test_every_other_class_is_a_wrong_option_and_a_target_equally_often() -> None:
    plans = usual("classification")
    others = range(1, len(NAMES))

    shown = [
        (index - plan.key.true_class) % len(NAMES)
        for plan in plans
        for index in plan.option_classes
        if index is not None and index != plan.key.true_class
    ]
    fair(shown, others)
    aimed = [(NAMES.index(plan.options[plan.target]) - plan.key.true_class) % len(NAMES) for plan in plans]
    fair(aimed, others)


def test_the_true_box_has_each_number_and_each_colour_equally_often_and_none_tells_another() -> None:
    plans = usual("detection")

    fair((number(plan) for plan in plans), range(1, 5))
    fair((colour(plan) for plan in plans), PALETTE)
    fair((box.colour for plan in plans for box in plan.boxes), PALETTE)
    independent((number(plan), plan.answer) for plan in plans)
    independent((colour(plan), plan.answer) for plan in plans)
    independent((colour(plan), number(plan)) for plan in plans)
    independent((colour(plan), rank(plan)) for plan in plans)


def test_boxes_named_by_colour_are_as_fair() -> None:
    plans = detection(names="colours")

    fair((plan.answer for plan in plans), range(4))
    fair((plan.options[plan.answer] for plan in plans), [f"{plain_name(name).capitalize()} box" for name in PALETTE])
    fair((plan.options[plan.target] for plan in plans), [f"{plain_name(name).capitalize()} box" for name in PALETTE])


def test_an_annotated_wrong_box_is_the_target_as_often_as_a_generated_one() -> None:
    plans = usual("detection")

    fair((plan.named_box(plan.target).slot.box for plan in plans), [(40 * i, 10, 40 * i + 30, 50) for i in (1, 2, 3)])


@pytest.mark.parametrize("task", TASKS)
def test_questions_wordings_kinds_and_figures_are_drawn_evenly(task: str) -> None:
    plans = usual(task)
    drawn: dict[str, tuple[Value, Iterable[Hashable]]] = {
        "question": (lambda plan: plan.question.id, [q.id for q in TEMPLATES.questions_of(task)]),
        "bias": (lambda plan: plan.cues["sycophancy"][0].bias, [one for one in BIASES if one != TESTIMONY]),
        "legend": (lambda plan: plan.phrases["legend"]["id"], [one["id"] for one in TEMPLATES.phrases["legend"]]),
        "trigger": (
            lambda plan: plan.cues["sycophancy"][0].id,
            [wording.id for wording in TEMPLATES.cues["sycophancy"] if wording.bias != TESTIMONY],
        ),
        "caption": (lambda plan: plan.cues["caption"][0].id, [w.id for w in TEMPLATES.cues["caption"]]),
        "figure": (lambda plan: plan.figure, range(1, 11)),
    }

    for value, expected in drawn.values():
        fair(map(value, plans), expected)
        independent((value(plan), plan.answer) for plan in plans)
        independent((value(plan), rank(plan)) for plan in plans)
    values = [value for value, _ in drawn.values()]
    for i, one in enumerate(values):
        for other in values[i + 1 :]:
            if (one, other) != (drawn["bias"][0], drawn["trigger"][0]):  # a trigger is of one kind
                independent((one(plan), other(plan)) for plan in plans)


@pytest.mark.parametrize("task", TASKS)
def test_another_seed_draws_again(task: str) -> None:
    pairs = list(zip(usual(task), MAKE[task](seed=1), strict=True))

    independent((one.answer, other.answer) for one, other in pairs)
    independent((rank(one), rank(other)) for one, other in pairs)
    independent((one.cues["sycophancy"][0].id, other.cues["sycophancy"][0].id) for one, other in pairs)


def test_the_two_questions_of_one_picture_are_drawn_apart() -> None:
    pairs = list(zip(usual("classification"), usual("detection"), strict=True))

    independent((one.answer, other.answer) for one, other in pairs)
    independent((rank(one), rank(other)) for one, other in pairs)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_the_held_out_share_is_what_was_asked_for_and_spread_over_the_source(share: float) -> None:
    from scipy import stats

    clusters = {f"set/im{i:05d}": f"set/im{i:05d}" for i in range(N)}

    held = held_out(clusters, share, seed=0)

    assert stats.binomtest(len(held), N, share).pvalue > LEAST_P
    fair((int(cluster[-5:]) * 10 // N for cluster in held), range(10))
    independent((cluster in held, int(cluster[-5:]) % len(NAMES)) for cluster in clusters)
    again = held_out(clusters, share, seed=1)
    independent((cluster in held, cluster in again) for cluster in clusters)
    assert held < held_out(clusters, share + 0.2, seed=0)


def test_pictures_that_belong_together_are_held_out_together() -> None:
    kin = {f"set/im{i:05d}": f"set/im{i - i % 4:05d}" for i in range(N)}

    held = held_out(kin, 0.3, seed=0)

    groups = Counter(kin[cluster] for cluster in held)
    assert set(groups.values()) == {4}
    assert 0.2 * N / 4 < len(groups) < 0.4 * N / 4
    assert held_out({}, 0.3, seed=0) == set() == held_out(kin, 0.0, seed=0)


def test_attack_limit_takes_the_classes_in_turn_and_pictures_from_everywhere(tmp_path: Path) -> None:
    ids = [f"im{i:05d}" for i in range(N)]
    (tmp_path / "images").mkdir()
    for image_id in ids:
        (tmp_path / "images" / f"{image_id}.png").touch()
    classes = [0 if i % 10 else 1 + i // 10 % 2 for i in range(N)]  # 1,800 of the first, 100 of each other
    (tmp_path / "dataset.toml").write_text('name = "set"\n[classification]\nclasses = ["normal", "mass", "nodule"]\n')
    lines = [f"{image_id},{index}\n" for image_id, index in zip(ids, classes, strict=True)]
    (tmp_path / "labels.csv").write_text("image_id,class\n" + "".join(lines))
    source, recipe = load_source(tmp_path), HeartRecipe(parse_attacks("prompt"), TEMPLATES)

    def taken(limit: int) -> dict[str, int]:
        work = plan_work([source], recipe, limit=limit)
        return {key.source_id: key.true_class for job in work.jobs for key in job.keys}

    assert Counter(taken(240).values()) == {0: 80, 1: 80, 2: 80}
    assert Counter(taken(1000).values()) == {0: 800, 1: 100, 2: 100}
    fair((int(name[2:]) * 10 // N for name, index in taken(1000).items() if index == 0), range(10))
    assert taken(240).items() < taken(1000).items()


def test_run_limit_takes_items_from_everywhere_and_any_letter(closed: Callable[..., Path]) -> None:
    task = registry.resolve("task", registry.TASKS, "careqa_vision_mcq")
    root = closed(closed_rows(N))

    plan = load_plan(task, root, Settings(limit=600, allow_partial=True))
    fewer = load_plan(task, root, Settings(limit=200, allow_partial=True))

    assert (len(plan.samples), len(fewer.samples)) == (600, 200)
    fair((position * 10 // N for position, _ in plan.samples), range(10))
    fair((sample.target for _, sample in plan.samples), "ABCD")
    assert {sample.id for _, sample in fewer.samples} < {sample.id for _, sample in plan.samples}
    assert [position for position, _ in plan.samples] == sorted(position for position, _ in plan.samples)
