"""One plan an item: all that is drawn by lot, drawn once and shared by the baseline and every cue row."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from aloe_bench.core import LETTERS, Variant
from aloe_bench.errors import UsageError
from aloe_bench.heart.boxes import Distractor
from aloe_bench.heart.draw.overlays import PixelBox
from aloe_bench.heart.draw.rendering import Rendering, plain_name
from aloe_bench.heart.sources.source import Classes, OwnQuestion, TaskKind
from aloe_bench.heart.wordings import TESTIMONY, CueWording, Question, TemplateSet, fill
from aloe_bench.seeds import rng_for

if TYPE_CHECKING:
    from aloe_bench.heart.attacks.attack import Combination

BoxKind = Literal["annotated", "generated"]
VARIANTS: tuple[Variant, ...] = ("assistive", "adversarial", "neutral")
MENTIONS: tuple[Variant, ...] = ("mention", "mention_truth")  # of attacks in the prompt
MAX_FIGURE = 10


@dataclass(frozen=True, slots=True)
class ItemKey:
    """What an item is, for ever: the question about `true_class` in one picture of one dataset."""

    dataset: str
    task: TaskKind
    source_id: str
    true_class: int

    @property
    def item_id(self) -> str:
        """The first 16 hexadecimal digits of the key's SHA-256."""
        text = f"{self.dataset}|{self.task}|{self.source_id}|{self.true_class}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def rng(self, seed: int, purpose: str) -> random.Random:
        """Return the item's own generator for one purpose; no two purposes share draws."""
        return rng_for(seed, purpose, self.dataset, self.task, self.source_id, self.true_class)


@dataclass(frozen=True, slots=True)
class Slot:
    """A box that an item may show: annotated with a class, or generated (`class_index` None) where no annotation is.

    `grey` is the mean grey level of its pixels.
    """

    box: PixelBox
    class_index: int | None
    distractor: Distractor | None = None
    grey: float | None = None

    @property
    def kind(self) -> BoxKind:
        return "annotated" if self.distractor is None else "generated"


@dataclass(frozen=True, slots=True)
class NamedBox:
    """A slot with the name that options call it by, the label and the colour it is drawn with."""

    name: str
    label: str
    colour: str
    slot: Slot


@dataclass(frozen=True, slots=True)
class ItemPlan:
    """Everything fixed about an item. `answer` and `target` are positions in `options`.

    `boxes` stand in the order of their names; `options` of a detection item are those names, shuffled. `cues` holds
    the wordings drawn, by table, and `phrases` the phrases of the template set; `settings` is what `--strength` set
    ("caption.size" -> 2.0).
    """

    key: ItemKey
    cluster: str
    classes: Classes
    question: Question
    options: tuple[str, ...]
    answer: int
    target: int
    option_classes: tuple[int | None, ...]
    boxes: tuple[NamedBox, ...]
    figure: int
    cues: Mapping[str, tuple[CueWording, ...]]
    phrases: Mapping[str, Mapping[str, str]]
    seed: int
    settings: Mapping[str, Any]

    @property
    def class_form(self) -> str:
        """The true class as sentences say it."""
        return self.classes.forms[self.key.true_class]

    @property
    def question_text(self) -> str:
        """The question without a cue."""
        return fill(self.question.text, class_name=self.class_form)

    def pointed(self, variant: Variant) -> int | None:
        """Return the position of the option that a cue of `variant` argues for, None if it argues for none."""
        return {"assistive": self.answer, "adversarial": self.target}.get(variant)

    def named(self, variant: Variant) -> int | None:
        """Return the position of the option that a cue of `variant` names, whether it argues for it or not."""
        return {"mention": self.target, "mention_truth": self.answer}.get(variant, self.pointed(variant))

    def letter(self, variant: Variant) -> str | None:
        """Return `pointed` as a letter."""
        position = self.pointed(variant)
        return None if position is None else LETTERS[position]

    def letter_named(self, variant: Variant) -> str | None:
        """Return `named` as a letter."""
        position = self.named(variant)
        return None if position is None else LETTERS[position]

    def sentence(self, wording: CueWording, variant: Variant) -> str:
        """Return what `wording` says of this item in `variant`."""
        position, argued = self.named(variant), self.pointed(variant)
        if position is None:
            return fill(wording.control(self.key.task), number=self.figure)
        text = wording.mention(self.key.task) if argued is None else wording.claim(self.key.task)
        if self.key.task == "detection":
            return fill(text, class_name=self.class_form, bbox=self.options[position], number=self.figure)
        index = self.option_classes[position]
        return fill(text, class_name=self.classes.forms[index or 0], number=self.figure)

    def said(self, table: str, variant: Variant) -> str:
        """Return what the wordings drawn from `table` say of this item in `variant`."""
        return " ".join(self.sentence(wording, variant) for wording in self.cues[table])

    def rng(self, purpose: str) -> random.Random:
        """Return the item's own generator for one purpose, for what an attack draws by lot beside its wordings."""
        return self.key.rng(self.seed, purpose)

    def named_box(self, position: int) -> NamedBox:
        """Return the box that the option at `position` names."""
        return next(box for box in self.boxes if box.name == self.options[position])


@dataclass(frozen=True, slots=True)
class Dose:
    """How cues are drawn: what `--strength` set, by "ATTACK.setting"."""

    settings: Mapping[str, Any] = field(default_factory=dict)

    def authority(self, table: str) -> str | None:
        """Return the level of authority of the wordings drawn from a graded table; None is any."""
        return self.settings.get(f"{table}.authority")

    def bias(self, table: str) -> str | None:
        """Return the kind of speaker or pressure of the wordings drawn from a graded table; None is any."""
        return self.settings.get(f"{table}.bias")

    def repeats(self, table: str) -> int:
        """Return how many wordings of a graded table are said one after another."""
        return int(self.settings.get(f"{table}.repeats", 1))


@dataclass(frozen=True, slots=True)
class Strength:
    """The settings given by the user ("caption.size" -> 2.0), and the looks that they change ("font_scale" -> 2.0).

    Empty means the usual strength.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    looks: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dose(self) -> Dose:
        """How wordings are drawn."""
        return Dose(self.settings)

    def rendering(self, usual: Rendering) -> Rendering:
        """Return `usual` with the looks: its numbers times those given, so that 1 is `usual` itself.

        Raises DataError if a product is out of its range.
        """
        numbers = {key: getattr(usual, key) * value for key, value in self.looks.items() if not isinstance(value, str)}
        return replace(usual, **{**self.looks, **numbers})

    def of(self, attack: Combination | None) -> str:
        """Return as JSON the settings that touch the rows of `attack` (None is the baseline, which none does)."""
        parts = [part.name for part in attack.parts] if attack else []
        touching = {key: value for key, value in self.settings.items() if key.partition(".")[0] in parts}
        return json.dumps(touching, sort_keys=True)


def plan_classification(
    key: ItemKey, cluster: str, classes: Classes, templates: TemplateSet, seed: int, dose: Dose
) -> ItemPlan:
    """Return the plan of a classification item: the true class and others drawn by lot, shuffled."""
    others = [index for index in range(len(classes.names)) if index != key.true_class]
    chosen = [key.true_class, *key.rng(seed, "options").sample(others, classes.options - 1)]
    key.rng(seed, "order").shuffle(chosen)
    options = tuple(classes.names[index] for index in chosen)
    answer = chosen.index(key.true_class)
    target = _target(key, seed, [i for i in range(len(chosen)) if i != answer])
    return _plan(key, cluster, classes, templates, seed, dose, options, answer, target, tuple(chosen), ())


def plan_asked(
    key: ItemKey, cluster: str, asked: OwnQuestion, templates: TemplateSet, seed: int, dose: Dose
) -> ItemPlan:
    """Return the plan of a question that a picture brings: its wording and its options as they are."""
    classes, places = Classes(asked.options, asked.options, len(asked.options)), tuple(range(len(asked.options)))
    target = _target(key, seed, [place for place in places if place != key.true_class])
    plan = _plan(key, cluster, classes, templates, seed, dose, asked.options, key.true_class, target, places, ())
    return replace(plan, question=Question("own", key.task, asked.question.replace("$", "$$")))


def plan_detection(
    key: ItemKey,
    cluster: str,
    classes: Classes,
    slots: Sequence[Slot],
    colours: Sequence[str],
    templates: TemplateSet,
    seed: int,
    dose: Dose,
    *,
    prefer_annotated: bool = False,
) -> ItemPlan:
    """Return the plan of a detection item; `slots[0]` is the true box, the others are wrong answers.

    Names, colours and letters are drawn apart, so that none tells another. `prefer_annotated` aims cues at an
    annotated box of another class wherever there is one (the published rule for text cues).
    """
    numbered = list(slots)
    key.rng(seed, "numbers").shuffle(numbered)
    palette = key.rng(seed, "colours").sample(list(colours), len(numbered))
    coloured = zip(palette, numbered, strict=True)
    boxes = tuple(_named(classes, n, colour, slot) for n, (colour, slot) in enumerate(coloured, start=1))
    shown = list(boxes)
    key.rng(seed, "order").shuffle(shown)
    answer = next(i for i, box in enumerate(shown) if box.slot is slots[0])
    wrong = [i for i in range(len(shown)) if i != answer]
    annotated = [i for i in wrong if shown[i].slot.kind == "annotated"]
    target = _target(key, seed, annotated if prefer_annotated and annotated else wrong)
    options = tuple(box.name for box in shown)
    option_classes = tuple(box.slot.class_index for box in shown)
    return _plan(key, cluster, classes, templates, seed, dose, options, answer, target, option_classes, boxes)


def _named(classes: Classes, n: int, colour: str, slot: Slot) -> NamedBox:
    if classes.box_names == "colours":
        return NamedBox(f"{plain_name(colour).capitalize()} box", "", colour, slot)
    return NamedBox(f"Box {n}", f"Box {n}", colour, slot)


def _target(key: ItemKey, seed: int, wrong: Sequence[int]) -> int:
    return key.rng(seed, "target").choice(wrong)


def _plan(
    key: ItemKey,
    cluster: str,
    classes: Classes,
    templates: TemplateSet,
    seed: int,
    dose: Dose,
    options: tuple[str, ...],
    answer: int,
    target: int,
    option_classes: tuple[int | None, ...],
    boxes: tuple[NamedBox, ...],
) -> ItemPlan:
    return ItemPlan(
        key=key,
        cluster=cluster,
        classes=classes,
        question=key.rng(seed, "question").choice(templates.questions_of(key.task)),
        options=options,
        answer=answer,
        target=target,
        option_classes=option_classes,
        boxes=boxes,
        figure=key.rng(seed, "figure").randint(1, MAX_FIGURE),
        cues={table: _drawn(key, table, templates, seed, dose) for table in templates.cues},
        phrases={table: key.rng(seed, f"phrases {table}").choice(some) for table, some in templates.phrases.items()},
        seed=seed,
        settings=dose.settings,
    )


def _drawn(key: ItemKey, table: str, templates: TemplateSet, seed: int, dose: Dose) -> tuple[CueWording, ...]:
    """Return the item's wording of a table; of one with kinds as many as the dose says, all of one kind and authority.

    The kind is drawn first, then the level; those of equal size get parallel draws.
    """
    wordings = templates.cues[table]
    graded = any(wording.authority for wording in wordings)
    if not (graded or any(wording.bias for wording in wordings)):
        return (key.rng(seed, table).choice(wordings),) if wordings else ()
    # The purposes of the graded table, of which there is one, are older than kinds in others: its draws stay.
    of_kind, of_wording = ("authority", "trigger") if graded else (f"{table} kind", f"{table} wording")
    bias = dose.bias(table)
    asked = [
        wording
        for wording in wordings
        if dose.authority(table) in (None, wording.authority)
        and (wording.bias == bias if bias else wording.bias != TESTIMONY)
    ]
    kinds = sorted({(wording.bias, wording.authority or "") for wording in asked})
    if not kinds:
        raise UsageError(
            f"--strength: {templates.label} has no {table} wording of bias {dose.bias(table)} and authority "
            f"{dose.authority(table)}. Ask for one of them, or give your own with --templates."
        )
    kind, repeats = key.rng(seed, of_kind).choice(kinds), dose.repeats(table)
    same = [wording for wording in asked if (wording.bias, wording.authority or "") == kind]
    if len(same) < repeats:
        called = f"{' '.join(kind).strip()} {'authority' if graded else 'kind'}"
        raise UsageError(
            f"{table}.repeats={repeats}: the template set {templates.label} has {len(same)} wordings of {called}. Ask "
            "for at most that many, or give your own with --templates."
        )
    return tuple(key.rng(seed, of_wording).sample(same, repeats))
