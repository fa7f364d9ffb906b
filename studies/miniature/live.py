"""What the base learns from: HEART items planned and drawn by `heart`, straight into memory.

A folder made by `attack` from the same source would hold the same pictures and questions; with files it takes longer.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from aloe_bench.errors import NoRoomError
from aloe_bench.miniature.images import MODALITIES, SIDE_PX, Difficulty, picture
from aloe_bench.miniature.source import KINDS, TEMPLATES, mask_image, write_source
from studies.miniature.scenes import Scene, View, as_seen

if TYPE_CHECKING:
    from PIL import Image

    from aloe_bench.heart.build import HeartRecipe
    from aloe_bench.heart.places import Elsewhere
    from aloe_bench.heart.sources.source import Source, SourceImage


def training_scenes(count: int, difficulty: Difficulty, seed: int, stage: int, own_words: bool = False) -> list[Scene]:
    """Return about `count` items of all modalities, half under each of the miniature's template sets.

    Items for which no wrong boxes are found are left out, as `attack` drops them.
    """
    each = -(-count // (len(MODALITIES) * len(TEMPLATES)))
    scenes: list[Scene] = []
    for modality in MODALITIES:
        with tempfile.TemporaryDirectory() as folder:
            root = write_source(Path(folder) / "source", modality, 4, own_words=own_words)
            for templates in TEMPLATES:
                scenes += _items(root, templates, each, difficulty, (seed, stage, templates.stem))
    return scenes


def _items(root: Path, templates: Path, count: int, difficulty: Difficulty, ids: tuple[object, ...]) -> Iterator[Scene]:
    from aloe_bench.heart.build import HeartRecipe
    from aloe_bench.heart.sources.source import load_source
    from aloe_bench.heart.wordings import load_templates

    source = load_source(root)
    recipe = HeartRecipe((), load_templates(templates))
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        scene = _scene(source, recipe, kind, difficulty, (*ids, number))
        if scene is not None:
            yield scene


def _scene(
    source: Source, recipe: HeartRecipe, kind: str, difficulty: Difficulty, ids: tuple[object, ...]
) -> Scene | None:
    from aloe_bench.heart.sources.boxes import Annotation
    from aloe_bench.heart.sources.source import SourceImage

    drawn = picture(source.modality, kind, ids, difficulty)
    boxes = () if drawn.box is None else (Annotation(0, *(side / SIDE_PX for side in drawn.box)),)
    name = "-".join(map(str, ids))
    image = SourceImage(name, Path(name), None if boxes else int(drawn.abnormal), "", name, boxes)
    try:
        return scene_of(source, recipe, image, drawn.image(), drawn.centre)
    except NoRoomError:
        return None


def scene_of(
    source: Source,
    recipe: HeartRecipe,
    image: SourceImage,
    pixels: Image.Image,
    centre: tuple[float, float] | None,
    elsewhere: Elsewhere | None = None,
) -> Scene:
    """Return the one item of `image`, whose picture is `pixels`, as `attack` would make it.

    `elsewhere` is what `attack` knows of true boxes in other pictures; the endless stream of training has none.

    Raises NoRoomError where `attack` would drop it.
    """
    from aloe_bench.heart.attacks import parse_attacks
    from aloe_bench.heart.attacks.attack import base_of
    from aloe_bench.heart.build import item_keys, make_plan

    (key,) = item_keys(source, image)
    plan = make_plan(recipe, source, image, key, pixels, mask_image() if image.boxes else None, elsewhere)
    base = base_of(plan, pixels, source.rendering, checked=False)
    clean = View(as_seen(base.image), base.question, None)
    found = {attack.name: attack for attack in parse_attacks("all")}

    def view(attack: str, variant: str) -> View:
        if not attack:
            return clean
        shown = found[attack].apply(plan, variant, base, source.rendering)  # type: ignore[arg-type]
        position = plan.pointed(variant)  # type: ignore[arg-type]
        seen = clean.pixels if shown.picture is None else as_seen(shown.image)
        return View(seen, shown.question, None if position is None else plan.options[position])

    return Scene(
        modality=source.modality,
        task=plan.key.task,
        answer=plan.options[plan.answer],
        options=plan.options,
        centre=centre,
        boxes={box.name: box.slot.box for box in plan.boxes},
        view=view,
    )
