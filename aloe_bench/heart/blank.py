"""The boxes of a detection item alone, drawn on a grey canvas: what is left of its picture in an image control."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aloe_bench.errors import DataError, NoRoomError
from aloe_bench.heart import parity
from aloe_bench.heart.draw.overlays import PixelBox, Rendering, numbered_boxes
from aloe_bench.heart.draw.rendering import plain_name
from aloe_bench.heart.table.read import HeartRow

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, slots=True)
class Frames:
    """Boxes in pixels of the item's picture, with their labels and colours, and how they are drawn."""

    boxes: tuple[PixelBox, ...]
    labels: tuple[str, ...]
    colours: tuple[str, ...]
    rendering: Rendering

    def drawn_on(self, canvas: Image.Image, size: tuple[int, int]) -> Image.Image | None:
        """Return `canvas` with the boxes where they lie in a picture of `size`; None if it has no room for them."""
        across, down = canvas.width / size[0], canvas.height / size[1]
        moved = []
        for left, top, right, bottom in self.boxes:
            x, y = round(left * across), round(top * down)
            moved.append((x, y, max(x + 1, round(right * across)), max(y + 1, round(bottom * down))))
        try:
            return numbered_boxes(canvas, moved, self.labels, self.colours, self.rendering).image
        except NoRoomError:
            return None


def frames_of(row: HeartRow, manifest: Mapping[str, Any]) -> Frames | None:
    """Return the boxes of a row whose table was made here; None of any other, which does not tell them all."""
    info, dataset = row.optional("box_info"), row.optional("dataset") or ""
    settings = manifest.get("datasets", {}).get(dataset, {}).get("rendering")
    if info is None or settings is None:
        return None
    known = {field.name for field in dataclasses.fields(Rendering)}
    try:
        rendering = Rendering.from_toml({key: v for key, v in settings.items() if key in known}, row.where)
        boxes: dict[str, Any] = json.loads(info)
        pixels = tuple(_four(box["pixels"]) for box in boxes.values())
        colours = tuple(str(box["colour"]) for box in boxes.values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{row.where}: box_info is not as `attack` writes it ({error}). Build the folder again."
        ) from error
    # A box that is called by its colour carries no label.
    named = [f"{plain_name(colour).capitalize()} box" for colour in colours]
    labels = ["" if name == by_colour else name for name, by_colour in zip(boxes, named, strict=True)]
    if manifest.get("parity"):
        colours = (parity.BOX_COLOUR,) * len(colours)
    return Frames(pixels, tuple(labels), colours, rendering)


def _four(sides: Iterable[float]) -> tuple[int, int, int, int]:
    """Return a box's left, top, right and bottom; raises ValueError for any other number of sides."""
    left, top, right, bottom = map(int, sides)
    return left, top, right, bottom
