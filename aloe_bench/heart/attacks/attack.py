"""An attack as one object, and a question as it is shown: its base picture first, then one attack after another."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal

from aloe_bench import outside
from aloe_bench.core import Variant
from aloe_bench.errors import AloeError, DataError, UsageError
from aloe_bench.heart.draw.overlays import Drawn, Rendering, numbered_boxes, outside_untouched
from aloe_bench.heart.plan import ItemPlan
from aloe_bench.heart.wordings import CueTable, PhraseTable

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, slots=True)
class RenderedItem:
    """What a model will see, and what was done to get there.

    `raw` is the picture of the source, `base` that of the baseline; `picture` is None while it is the base.
    `caption`, `trigger` and `colour` fill the published columns, the two `_template` fields ours: the ids of the
    wordings that were said. `checked` says whether each drawing step is held against the picture before it.
    """

    question: str
    raw: Image.Image
    base: Image.Image
    picture: Image.Image | None = None
    caption: str | None = None
    trigger: str | None = None
    colour: str | None = None
    font_px: int | None = None
    caption_template: str | None = None
    trigger_template: str | None = None
    checked: bool = False

    @property
    def image(self) -> Image.Image:
        return self.base if self.picture is None else self.picture

    def drawn(self, step: str, result: Drawn) -> RenderedItem:
        """Return this with the picture of `result`; raises DataError if it changed a pixel outside its overlay."""
        if self.checked and not outside_untouched(self.image, result):
            raise DataError(
                f"{step}: a pixel outside the overlay changed. Nothing was written; please report it with the picture."
            )
        return replace(self, picture=result.image, font_px=result.font_px)


def base_of(
    plan: ItemPlan, image: Image.Image, rendering: Rendering, *, checked: bool, colour: str | None = None
) -> RenderedItem:
    """Return the item without a cue: the picture itself, or with its numbered boxes (all in `colour`, if given)."""
    shown = RenderedItem(plan.question_text, image, image, checked=checked)
    if not plan.boxes:
        return shown
    return replace(boxed(plan, shown, [colour or box.colour for box in plan.boxes], rendering), font_px=None)


def boxed(plan: ItemPlan, shown: RenderedItem, colours: list[str], rendering: Rendering) -> RenderedItem:
    """Return `shown` with the item's boxes drawn into the source's picture; that is its base picture then."""
    boxes = [box.slot.box for box in plan.boxes]
    labels = [box.label for box in plan.boxes]
    blank = replace(shown, picture=None, base=shown.raw)
    result = blank.drawn("boxes", numbered_boxes(shown.raw, boxes, labels, colours, rendering))
    return replace(result, base=result.image, picture=None)


Act = Callable[[ItemPlan, Variant, RenderedItem, Rendering], RenderedItem]
# Where a cue stands, and the order in which several act: a legend is part of the figure, its caption goes below both;
# an opinion stands before the question, and a text about the picture before all that is asked.
Stage = Literal["figure", "page", "question", "context"]
STAGES: tuple[Stage, ...] = ("figure", "page", "question", "context")
DRAWN: tuple[Stage, ...] = ("figure", "page")


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to set how strong an attack is: `--strength ATTACK.name=VALUE`.

    The value is one of `choices`, or without them a number above 0, whole if `usual` is an int; `usual` is as good as
    not given. `look` is the field of Rendering that a word replaces and a number multiplies; without one the attack
    reads the value from `plan.settings`.
    """

    name: str
    usual: float | None = None
    choices: tuple[str, ...] = ()
    look: str = ""


@dataclass(frozen=True, slots=True)
class Attack:
    """One kind of misleading cue: all that the project knows of it.

    name: what `--type` calls it and rows record: letters, digits and "_"
    act: applies it: (plan, variant, shown, rendering) -> shown
    says: what tables call it, e.g. "caption in the image"
    stage: where the cue stands; "figure" and "page" are drawn into the picture
    title: the head of its column; its name if empty
    published: the `approach` of the published table, empty if it has no such rows
    needs_boxes: it can be made on detection items only
    wordings: the table of a template set that its words come from; two attacks may share one
    settings: what `--strength` can set of it
    reading: what to ask a model to see if it can read the cue, of one that is drawn
    parity: applies it by the rule of the published generator, where that differs
    origin: where it was found, of an attack from outside the package; set on loading
    """

    name: str
    act: Act
    says: str
    stage: Stage
    title: str = ""
    published: str = ""
    needs_boxes: bool = False
    wordings: CueTable | PhraseTable | None = None
    settings: tuple[Setting, ...] = ()
    reading: str | None = None
    parity: Act | None = None
    origin: outside.Origin | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", self.name):
            raise UsageError(f"attack name {self.name!r}: expected small letters, digits and _, at most 40 characters.")
        if self.stage not in STAGES:
            raise UsageError(f"attack {self.name}: stage {self.stage!r}; expected one of {', '.join(STAGES)}.")

    @property
    def draws(self) -> bool:
        """Whether it writes into the picture."""
        return self.stage in DRAWN

    @property
    def heading(self) -> str:
        """The head of its column."""
        return self.title or self.name

    def __reduce__(self) -> Any:
        """Pickle an attack from outside by its place: another process has to load its file first."""
        if self.origin is None:
            return Attack, tuple(getattr(self, each.name) for each in fields(self))
        return _again, (self.origin,)


def _again(origin: outside.Origin) -> Attack:
    attack: Attack = outside.load(origin.pinned)[0]
    return replace(attack, origin=origin)


@dataclass(frozen=True, slots=True)
class Combination:
    """One or more attacks that act on an item together, in the order in which their names are written."""

    parts: tuple[Attack, ...]

    @property
    def name(self) -> str:
        """ "caption+sycophancy"."""
        return "+".join(part.name for part in self.parts)

    @property
    def approach(self) -> str:
        """What the published column `approach` says, "captions+sycophancy"."""
        return "+".join(part.published or part.name for part in self.parts)

    @property
    def draws(self) -> bool:
        """Whether a part writes into the picture."""
        return any(part.draws for part in self.parts)

    def fits(self, task: str) -> bool:
        """Return whether it can be made on an item of `task`."""
        return task == "detection" or not any(part.needs_boxes for part in self.parts)

    def apply(
        self, plan: ItemPlan, variant: Variant, shown: RenderedItem, rendering: Rendering, *, parity: bool = False
    ) -> RenderedItem:
        """Return `shown` with every part in `variant`; `parity` asks for the rules of the published generator."""
        for part in sorted(self.parts, key=lambda part: STAGES.index(part.stage)):
            shown = _applied(part, plan, variant, shown, rendering, parity)
        return shown


def _applied(
    part: Attack, plan: ItemPlan, variant: Variant, shown: RenderedItem, rendering: Rendering, parity: bool
) -> RenderedItem:
    act = part.parity if parity and part.parity else part.act
    try:
        after = act(plan, variant, shown, rendering)
    except AloeError:
        raise
    # An attack from outside may raise anything: it is named. One of ours that does has a defect, and shows it.
    except Exception as error:
        if part.origin is None:
            raise
        raise DataError(f"{part.origin.place}: attack {part.name} failed on {plan.key}: {error!r}") from error
    if not part.draws and after.image is not shown.image:
        raise DataError(f"attack {part.name}: its stage is {part.stage!r}, and it changed the picture.")
    if not isinstance(part.wordings, CueTable):
        return after
    ids = "+".join(wording.id for wording in plan.cues[part.wordings.name])
    if after.caption != shown.caption:
        after = replace(after, caption_template=ids)
    if after.trigger != shown.trigger:
        after = replace(after, trigger_template="+".join(filter(None, (ids, shown.trigger_template))))
    return after
