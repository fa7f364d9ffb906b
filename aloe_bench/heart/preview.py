"""A contact sheet: items with all their variants side by side, to look at before a table is built."""

from __future__ import annotations

import io
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from aloe_bench.core import LETTERS, Variant
from aloe_bench.errors import DataError, NoRoomError
from aloe_bench.evaluation.controls import GREY, canvases, fitted_on_grey
from aloe_bench.heart import parity
from aloe_bench.heart.attacks.attack import RenderedItem
from aloe_bench.heart.blank import Frames
from aloe_bench.heart.build import HeartJob, HeartRecipe, cluster_of, make_plan, open_job, shown_rows
from aloe_bench.heart.draw import fonts
from aloe_bench.heart.draw.rendering import Rendering
from aloe_bench.heart.draw.text import block, undrawable
from aloe_bench.heart.plan import ItemKey, ItemPlan

if TYPE_CHECKING:
    from PIL import Image

CELL_PX, PICTURE_PX, GAP_PX, TEXT_PX = 380, 660, 12, 15
GROUND, INK, QUIET = (224, 224, 224), (0, 0, 0), (90, 90, 90)


@dataclass(frozen=True, slots=True)
class SheetCell:
    """One variant: a picture, or none where it is the baseline's, and what stands below it."""

    picture: Image.Image | None
    title: str
    text: str


def write_sheet(items: Sequence[tuple[HeartJob, ItemKey]], recipe: HeartRecipe, n: int, path: Path) -> int:
    """Write `n` of `items` to the PNG `path`, tasks and datasets in turn, and return how many there were.

    Items that have to be dropped are passed over. Raises DataError if a picture cannot be read or none is left.
    """
    blocks: list[Image.Image] = []
    reason = ""
    for job, key in _in_turn(items, recipe.seed):
        if len(blocks) == n:
            break
        try:
            blocks.append(_item(job, key, recipe, items))
        except NoRoomError as error:
            reason = str(error)
    if not blocks:
        raise DataError(f"every item has to be dropped, the last one because: {reason}")
    _save(_column(blocks), path)
    return len(blocks)


def _in_turn(items: Iterable[tuple[HeartJob, ItemKey]], seed: int) -> Iterator[tuple[HeartJob, ItemKey]]:
    """Yield `items` by lot, one of each dataset and task in turn."""
    groups: dict[tuple[str, str], list[tuple[HeartJob, ItemKey]]] = defaultdict(list)
    for job, key in sorted(items, key=lambda item: item[1].rng(seed, "limit").random()):
        groups[key.dataset, key.task].append((job, key))
    for some in zip_longest(*(groups[name] for name in sorted(groups))):
        yield from (item for item in some if item is not None)


def _item(job: HeartJob, key: ItemKey, recipe: HeartRecipe, items: Sequence[tuple[HeartJob, ItemKey]]) -> Image.Image:
    """Return one item: a heading, then a row of cells for the baseline, for each attack, and for the image controls."""
    picture, mask = open_job(job)
    plan = make_plan(recipe, job.source, job.image, key, picture, mask, job.elsewhere[job.keys.index(key)])
    rows: dict[str, list[SheetCell]] = defaultdict(list)
    for attack, variant, shown in shown_rows(recipe, plan, picture, job.source.rendering):
        name = attack.name if attack else ""
        rows[name].append(_cell(plan, name, variant, shown))
    rows["controls"] = [_blank(plan, picture, job.source.rendering, recipe), *_swap(plan, job, picture, items)]
    largest = [cell.picture for cells in rows.values() for cell in cells if cell.picture is not None]
    share = min(min(CELL_PX / picture.width, PICTURE_PX / picture.height) for picture in largest)
    first, *others = rows.values()
    # A row of its own for one picture would be mostly empty: the baseline opens the first attack's row.
    lines = [[*first, *others[0]], *([SheetCell(None, "", ""), *cells] for cells in others[1:])] if others else [first]
    return _column([_words(_heading(plan), 4 * CELL_PX, INK), *(_side_by_side(cells, share) for cells in lines)])


def _blank(plan: ItemPlan, picture: Image.Image, rendering: Rendering, recipe: HeartRecipe) -> SheetCell:
    """Return what the image control of an item shows: a grey picture, with its boxes."""
    from PIL import Image

    canvas: Image.Image | None = Image.new("RGB", canvases([picture.size])[picture.size], GREY)
    if plan.boxes and canvas is not None:
        colours = tuple(parity.BOX_COLOUR if recipe.parity else box.colour for box in plan.boxes)
        boxes, labels = tuple(box.slot.box for box in plan.boxes), tuple(box.label for box in plan.boxes)
        canvas = Frames(boxes, labels, colours, rendering).drawn_on(canvas, picture.size)
    return SheetCell(canvas, "image control blank", f"(run --controls blank) {plan.question_text}")


def _swap(
    plan: ItemPlan, job: HeartJob, picture: Image.Image, items: Sequence[tuple[HeartJob, ItemKey]]
) -> Iterator[SheetCell]:
    """Yield what the image control swap shows of a classification item: another cluster's picture, of another truth.

    Which one a run takes is drawn from the whole table; this is one that it could be. None of an item that brings its
    own question, and none where no picture fits.
    """
    if plan.key.task != "classification" or job.image.asked:
        return
    for other, key in sorted(items, key=lambda item: item[1].rng(0, "preview swap").random()):
        if (key.dataset, key.task) != (plan.key.dataset, plan.key.task) or key.true_class == plan.key.true_class:
            continue
        if (said := plan.classes.names[key.true_class]) not in plan.options:
            continue
        if cluster_of(other.source, other.image) != cluster_of(job.source, job.image):
            shown, _ = open_job(other)
            canvas = shown if shown.size == picture.size else fitted_on_grey(shown, picture.size)
            shows = f"(run --controls swap) the picture of {key.source_id}, which shows {said}: {plan.question_text}"
            yield SheetCell(canvas, "image control swap", shows)
            return


def _heading(plan: ItemPlan) -> str:
    key = plan.key
    marks = {plan.answer: " (true)", plan.target: " (cue)"}
    options = "   ".join(f"{LETTERS[i]}. {text}{marks.get(i, '')}" for i, text in enumerate(plan.options))
    return f"{key.dataset} / {key.task} / {key.source_id} / {plan.classes.names[key.true_class]}:   {options}"


def _cell(plan: ItemPlan, attack: str, variant: Variant | None, shown: RenderedItem) -> SheetCell:
    letter = plan.letter(variant) if variant else None
    title = f"{attack or 'baseline'} {variant or ''}".strip() + (f" (argues for {letter})" if letter else "")
    size = f"{shown.image.width}x{shown.image.height} px. "
    unchanged = attack != "" and shown.picture is None
    return SheetCell(None if unchanged else shown.image, title, ("" if unchanged else size) + shown.question)


def _side_by_side(cells: Sequence[SheetCell], share: float) -> Image.Image:
    columns = [_column(list(_parts(cell, share)), GAP_PX // 2) for cell in cells]
    return _pasted(columns, [(i * (CELL_PX + GAP_PX), 0) for i in range(len(columns))])


def _parts(cell: SheetCell, share: float) -> Iterator[Image.Image]:
    if cell.picture is not None:
        yield _fitted(cell.picture, share)
    yield _words(cell.title, CELL_PX, INK)
    yield from (_words(line, CELL_PX, QUIET) for line in cell.text.split("\n"))


def _fitted(picture: Image.Image, share: float) -> Image.Image:
    """Return `picture` scaled by `share`; a small one is enlarged by whole pixels only, to be judged as it is."""
    from PIL import Image

    whole = max(1, int(share))
    if share >= 1:
        return picture.resize((picture.width * whole, picture.height * whole), Image.Resampling.NEAREST)
    size = max(1, round(picture.width * share)), max(1, round(picture.height * share))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _words(text: str, width: int, colour: tuple[int, int, int]) -> Image.Image:
    """Return `text`, broken to `width`; what the font lacks (a prompt may hold anything) shows as "?"."""
    from PIL import Image, ImageDraw

    shown = "".join("?" if undrawable(char) else char for char in text)
    words = block(shown, TEXT_PX, width)
    image = Image.new("RGB", (width, max(1, words.height)), GROUND)
    draw = ImageDraw.Draw(image)
    for i, line in enumerate(words.lines):
        draw.text((0, words.ascent + i * words.pitch), line, colour, fonts.font(TEXT_PX), "ls")
    return image


def _column(parts: Sequence[Image.Image], gap: int = 2 * GAP_PX) -> Image.Image:
    corners, y = [], 0
    for part in parts:
        corners.append((0, y))
        y += part.height + gap
    return _pasted(parts, corners)


def _pasted(parts: Sequence[Image.Image], corners: Sequence[tuple[int, int]]) -> Image.Image:
    from PIL import Image

    width = max((x + part.width for part, (x, _) in zip(parts, corners, strict=True)), default=1)
    height = max((y + part.height for part, (_, y) in zip(parts, corners, strict=True)), default=1)
    canvas = Image.new("RGB", (width, height), GROUND)
    for part, corner in zip(parts, corners, strict=True):
        canvas.paste(part, corner)
    return canvas


def _save(sheet: Image.Image, path: Path) -> None:
    from PIL import ImageOps

    file = io.BytesIO()
    ImageOps.expand(sheet, GAP_PX, GROUND).save(file, "PNG")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(file.getvalue())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DataError(f"{path}: cannot be written ({error.strerror}). Choose another --output.") from error
