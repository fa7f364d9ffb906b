"""The boxes, rows and pictures of one source image: what a worker does, from its arguments alone."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aloe_bench.core import Variant
from aloe_bench.errors import DataError, NoRoomError
from aloe_bench.heart import parity
from aloe_bench.heart.attacks.attack import Combination, RenderedItem, base_of
from aloe_bench.heart.boxes import BoxRules, distractors
from aloe_bench.heart.draw.overlays import PixelBox, Rendering, clamp, frame_px, labels_fit, overlap, png_bytes
from aloe_bench.heart.places import Elsewhere
from aloe_bench.heart.plan import (
    MENTIONS,
    VARIANTS,
    ItemKey,
    ItemPlan,
    Slot,
    Strength,
    plan_asked,
    plan_classification,
    plan_detection,
)
from aloe_bench.heart.public_boxes import public_distractors
from aloe_bench.heart.sources.source import Source, SourceImage
from aloe_bench.heart.table.write import box_cells, row
from aloe_bench.heart.wordings import CueTable, TemplateSet
from aloe_bench.images import file_image, open_image, picture_print
from aloe_bench.pixels import is_flat

if TYPE_CHECKING:
    from PIL import Image

# Of the published generator: a picture that is mostly boxes leaves no place for wrong ones.
MAX_UNION_SHARE = 0.75
MAX_BOX_SHARE = 0.30

Annotated = tuple[int, PixelBox]  # (class, box), in file order


def refusal(annotated: Sequence[Annotated], size: tuple[int, int]) -> str | None:
    """Return why a picture of `size` with these boxes is not a detection item, or None."""
    whole = size[0] * size[1]
    boxes = [box for _, box in annotated]
    largest = max((box[2] - box[0]) * (box[3] - box[1]) for box in boxes) / whole
    if largest > MAX_BOX_SHARE:
        return f"a box covers {largest:.0%} of the image (limit {MAX_BOX_SHARE:.0%})"
    union = union_area(boxes) / whole
    if union > MAX_UNION_SHARE:
        return f"the boxes together cover {union:.0%} of the image (limit {MAX_UNION_SHARE:.0%})"
    return None


def union_area(boxes: Sequence[PixelBox]) -> int:
    """Return how many pixels lie in at least one of `boxes`."""
    columns = sorted({x for box in boxes for x in (box[0], box[2])})
    area = 0
    for left, right in pairwise(columns):
        reached = 0
        for top, bottom in sorted((b[1], b[3]) for b in boxes if b[0] <= left and b[2] >= right):
            area += max(0, bottom - max(top, reached)) * (right - left)
            reached = max(reached, bottom)
    return area


def choose(
    image: Image.Image,
    key: ItemKey,
    annotated: Sequence[Annotated],
    n: int,
    seed: int,
    mask: Image.Image | None,
    elsewhere: Elsewhere | None,
    rendering: Rendering,
    labels: Sequence[str],
    *,
    public: bool = False,
) -> list[Slot]:
    """Return `n` boxes that do not overlap, the true one (the first of its class in the file) first.

    Wrong ones are annotated boxes of other classes that touch no box of the asked class, as far as there are any,
    then generated ones that touch no annotated box; `public` draws those by the published rules. Otherwise the frames
    of all boxes keep clear of each other, and there is room for `labels`. Raises NoRoomError if there are not `n`.
    """
    gap = 0 if public else 2 * frame_px(image.size, rendering)
    asked = [box for index, box in annotated if index == key.true_class]
    chosen = [(key.true_class, asked[0])]
    others = [(index, box) for index, box in annotated if index != key.true_class]
    key.rng(seed, "candidates").shuffle(others)
    for index, box in others:
        room = clamp(box, gap, image.size)
        if len(chosen) < n and not any(overlap(room, other) for other in (*asked, *(box for _, box in chosen))):
            chosen.append((index, box))
    slots = [Slot(box, index, grey=_grey(image, box)) for index, box in chosen]
    missing = n - len(slots)
    if not missing:
        return slots
    avoid = [box for _, box in annotated if box != asked[0]]
    rng = key.rng(seed, "boxes")
    if public:
        found = public_distractors(image, asked[0], missing, rng, annotated=avoid, mask=mask)
    else:
        rules = BoxRules(margin_px=gap)

        def fits(boxes: Sequence[PixelBox]) -> bool:
            return labels_fit(image.size, [*(box for _, box in chosen), *boxes], labels, rendering)

        found = distractors(
            image, asked[0], missing, rng, annotated=avoid, mask=mask, elsewhere=elsewhere, rules=rules, fits=fits
        )
    if len(found) != missing:
        raise NoRoomError(f"{len(found)} of {missing} boxes could be placed")
    return [*slots, *(Slot(one.box, None, one, _grey(image, one.box)) for one in found)]


def _grey(image: Image.Image, box: PixelBox) -> float:
    """Return the mean grey level of `box`, 0 to 255."""
    from PIL import ImageStat

    return round(ImageStat.Stat(image.crop(box).convert("L")).mean[0], 1)


GENERATOR = "heart-3"  # raise with every change that moves a row or a pixel


@dataclass(frozen=True, slots=True)
class HeartRecipe:
    """What is made of every item, the same for all of them."""

    attacks: tuple[Combination, ...]
    templates: TemplateSet
    seed: int = 0
    strength: Strength = field(default_factory=Strength)
    parity: bool = False

    @property
    def variants(self) -> tuple[Variant, ...]:
        return parity.VARIANTS if self.parity else VARIANTS

    def variants_of(self, attack: Combination) -> tuple[Variant, ...]:
        """Return the variants of `attack`: of one in the prompt also those that name an option and claim nothing."""
        tables = [part.wordings for part in attack.parts]
        if self.parity or attack.draws or not all(isinstance(table, CueTable) for table in tables):
            return self.variants
        mentions = all(self.templates.mentions(table.name) for table in tables if table)
        return (*self.variants, *MENTIONS) if mentions else self.variants


@dataclass(frozen=True, slots=True)
class HeartJob:
    """One picture and the items to be made of it. `source` comes without its list of pictures.

    `elsewhere` tells, for each of `keys`, what true boxes in other pictures of the source are like.
    """

    source: Source
    image: SourceImage
    keys: tuple[ItemKey, ...]
    checked: bool
    elsewhere: tuple[Elsewhere | None, ...] = ()


@dataclass(frozen=True, slots=True)
class DroppedItem:
    """An item that cannot be made, and why."""

    key: ItemKey
    class_name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job: rows, dropped items, the names of its pictures; or `fault`, what is wrong with its file.

    `pixels` is the SHA-256 of the source picture's pixels, to find pictures that are listed twice; `notes` say what is
    remarkable about it: "of one grey", or the ground it is shown on where it is transparent.
    """

    rows: tuple[dict[str, Any], ...] = ()
    dropped: tuple[DroppedItem, ...] = ()
    pictures: frozenset[str] = frozenset()
    fault: str | None = None
    pixels: str = ""
    notes: tuple[str, ...] = ()


def item_keys(source: Source, image: SourceImage) -> list[ItemKey]:
    """Return the items of `image`: one if it has a class, and one for each class that has a box in it."""
    keys = []
    if source.classification and image.class_index is not None:
        keys.append(ItemKey(source.name, "classification", image.image_id, image.class_index))
    if source.detection:
        found = sorted({box.class_index for box in image.boxes})
        keys += [ItemKey(source.name, "detection", image.image_id, index) for index in found]
    return keys


def unfit(image: SourceImage) -> str | None:
    """Return why `image`, which has boxes, is not a detection item, or None, without its pixels."""
    size = (10_000, 10_000)
    return refusal([(box.class_index, box.pixels(size)) for box in image.boxes], size)


def cluster_of(source: Source, image: SourceImage) -> str:
    """Return what all statistics count `image` by: its patient, or itself."""
    return f"{source.name}/{image.patient_id or image.image_id}"


def check_job(job: HeartJob) -> Outcome:
    """Return the fault of the job's picture or mask, if it has one: both are decoded whole."""
    try:
        image, _ = open_job(job)
    except DataError as error:
        return Outcome(fault=f"{job.image.where}: {error}")
    return Outcome(pixels=_digest(image), notes=_notes(job, image))


def run_job(recipe: HeartRecipe, folder: Path, job: HeartJob) -> Outcome:
    """Return the rows of every item of `job`; their pictures are in `folder` afterwards, named by content."""
    try:
        image, mask = open_job(job)
    except DataError as error:
        return Outcome(fault=f"{job.image.where}: {error}")
    rows: list[dict[str, Any]] = []
    dropped: list[DroppedItem] = []
    store = _Store(folder)
    for key, elsewhere in zip(job.keys, job.elsewhere or (None,) * len(job.keys), strict=True):
        try:
            plan = make_plan(recipe, job.source, job.image, key, image, mask, elsewhere)
            rows += _rows(recipe, job, plan, image, store)
        except NoRoomError as error:
            dropped.append(DroppedItem(key, _class_name(job, key), str(error)))
    pictures = frozenset(cells["image_sha256"] for cells in rows)
    return Outcome(tuple(rows), tuple(dropped), pictures, pixels=_digest(image), notes=_notes(job, image))


def _notes(job: HeartJob, image: Image.Image) -> tuple[str, ...]:
    ground = file_image(job.image.path).note
    return tuple(note for note in (ground, "of one grey" if is_flat(image) else "") if note)


def _class_name(job: HeartJob, key: ItemKey) -> str:
    if job.image.asked:
        return job.image.asked.options[key.true_class]
    classes = job.source.classification if key.task == "classification" else job.source.detection
    return classes.names[key.true_class] if classes else ""


def _digest(image: Image.Image) -> str:
    return hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()


def shown_rows(
    recipe: HeartRecipe, plan: ItemPlan, picture: Image.Image, usual: Rendering, *, checked: bool = False
) -> Iterator[tuple[Combination | None, Variant | None, RenderedItem]]:
    """Yield (attack, variant, what is shown) of the baseline, which has neither, and of every cue row.

    Raises NoRoomError if one of them cannot be drawn.
    """
    rendering = recipe.strength.rendering(usual)
    colour = parity.BOX_COLOUR if recipe.parity else None
    base = base_of(plan, picture, usual, checked=checked, colour=colour)
    yield None, None, base
    for attack in recipe.attacks:
        if attack.fits(plan.key.task):
            for variant in recipe.variants_of(attack):
                yield attack, variant, attack.apply(plan, variant, base, rendering, parity=recipe.parity)


def open_job(job: HeartJob) -> tuple[Image.Image, Image.Image | None]:
    """Return the picture of `job` and its mask; raises DataError if they cannot be read or do not fit each other."""
    image = open_image(job.image.path, window=job.source.window)
    declared = job.image.declared_size
    if declared and declared != image.size:
        raise DataError(
            f"{job.image.path.name} has {image.width}x{image.height} pixels, annotations.json says "
            f"{declared[0]}x{declared[1]}; its boxes may be wrong."
        )
    if job.image.mask is None:
        return image, None
    mask = open_image(job.image.mask)
    if mask.size != image.size:
        raise DataError(
            f"masks/{job.image.mask.name} has {mask.width}x{mask.height} pixels, "
            f"the picture {image.width}x{image.height}; expected the same."
        )
    return image, mask


def make_plan(
    recipe: HeartRecipe,
    source: Source,
    image: SourceImage,
    key: ItemKey,
    picture: Image.Image,
    mask: Image.Image | None = None,
    elsewhere: Elsewhere | None = None,
) -> ItemPlan:
    """Return the plan of the item `key` of `image`, whose pixels are `picture`; raises NoRoomError if it is dropped."""
    dose = recipe.strength.dose
    cluster = cluster_of(source, image)
    if key.task == "classification":
        if image.asked:
            return plan_asked(key, cluster, image.asked, recipe.templates, recipe.seed, dose)
        assert source.classification is not None
        return plan_classification(key, cluster, source.classification, recipe.templates, recipe.seed, dose)
    assert source.detection is not None
    annotated = [(box.class_index, box.pixels(picture.size)) for box in image.boxes]
    reason = refusal(annotated, picture.size)
    if reason:
        raise NoRoomError(reason)
    n, public = source.detection.options, recipe.parity
    labels = [] if source.detection.box_names == "colours" else [f"Box {i}" for i in range(1, n + 1)]
    slots = choose(picture, key, annotated, n, recipe.seed, mask, elsewhere, source.rendering, labels, public=public)
    return plan_detection(
        key,
        cluster,
        source.detection,
        slots,
        source.rendering.palette,
        recipe.templates,
        recipe.seed,
        dose,
        prefer_annotated=recipe.parity,
    )


def _rows(
    recipe: HeartRecipe, job: HeartJob, plan: ItemPlan, image: Image.Image, store: _Store
) -> list[dict[str, Any]]:
    """Return the rows of one item: all, or by NoRoomError none, and then none of its pictures is written."""
    rendering, strength = job.source.rendering, recipe.strength
    shared = {
        "template_set": recipe.templates.label,
        "seed": recipe.seed,
        "generator_version": GENERATOR,
        # A frame or a caption changes a picture's hash: only the source's own finds it again in a training set.
        "source_print": picture_print(image),
    }
    shared |= box_cells(plan, image.size)
    made = []
    base: bytes | None = None
    for attack, variant, shown in shown_rows(recipe, plan, image, rendering, checked=job.checked):
        # Rows that change the prompt alone show the baseline's picture.
        png = base if base is not None and shown.picture is None else png_bytes(shown.image, rendering)
        base = base or png
        made.append((attack, variant, replace(shown, picture=None, base=image), png))
    return [
        row(plan, attack, variant, shown, store.put(png), {**shared, "strength": strength.of(attack)})
        for attack, variant, shown, png in made
    ]


class _Store:
    """Pictures on disk by content: the same picture is written once, whoever writes it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, png: bytes) -> str:
        """Return the SHA-256 of `png`, which is on disk now."""
        digest = hashlib.sha256(png).hexdigest()
        path = self._folder / f"{digest}.png"
        if not path.exists():
            temporary = path.with_name(f".{digest}.{os.getpid()}")
            temporary.write_bytes(png)
            os.replace(temporary, path)
        return digest
