"""Made-up pictures that look a little like eight kinds of medical image, 112 pixels square.

Half of a source asks "normal or abnormal", half "in which box is the lesion". How well a lesion can be
seen is drawn per picture: with `Difficulty` and the reliability of the cues this sets how far a model
trained here falls for a false cue, so nothing measured on these pictures says anything about real models.
The figures are those of a trial that was tuned until a tiny model learnt them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aloe_bench.seeds import rng_for

if TYPE_CHECKING:
    from PIL import Image

Array = NDArray[np.float32]
Box = tuple[int, int, int, int]
Painter = Callable[[Array, float, float, float, float], Array]

SIDE_PX = 112
BOX_PX = (28, 26)
# The lowest rows, where a caption may lie: neither a lesion nor a box is ever there.
CAPTION_PX = 17
_Y, _X = np.mgrid[0:SIDE_PX, 0:SIDE_PX].astype(np.float32)
# A lesion to be located has to be found among four boxes, one to be noticed anywhere: the latter is drawn
# stronger and larger, so that neither question is trivial or hopeless.
_BOXED_STRONGER = -0.03
_ALONE_STRONGER, _ALONE_LARGER = 0.18, 1.3


@dataclass(frozen=True, slots=True)
class Difficulty:
    """How well lesions show: strength uniform in [`weakest`, `strongest`], noise in grey levels (one sigma)."""

    weakest: float = 0.10
    strongest: float = 0.75
    noise: float = 18.0


@dataclass(frozen=True, slots=True)
class MiniaturePicture:
    """A grey picture, its finding, and the lesion's centre in pixels and box, None where it is normal."""

    pixels: NDArray[np.uint8]
    abnormal: bool
    centre: tuple[float, float] | None
    box: Box | None

    def image(self) -> Image.Image:
        """Return the picture as Pillow has it, in RGB."""
        from PIL import Image

        return Image.fromarray(self.pixels).convert("RGB")


class _Dice:
    """Uniform and other draws of one picture; numpy's, since noise is drawn by the thousand."""

    def __init__(self, *ids: object) -> None:
        self.numpy = np.random.default_rng(rng_for(*ids).getrandbits(128))

    def between(self, low: float, high: float) -> float:
        return float(self.numpy.uniform(low, high))

    def whole(self, low: int, high: int) -> int:
        return int(self.numpy.integers(low, high))


def _rise(values: Array) -> Array:
    """Return the logistic function of `values`, clipped so that it cannot overflow."""
    return np.asarray(1 / (1 + np.exp(np.clip(-values, -30, 30))), np.float32)


def _blob(cx: float, cy: float, rx: float, ry: float, angle: float = 0.0, soft: float = 1.5) -> Array:
    """Return an ellipse of height 1 with an edge `soft` pixels wide."""
    cos, sin = np.cos(angle), np.sin(angle)
    u, v = (_X - cx) * cos + (_Y - cy) * sin, -(_X - cx) * sin + (_Y - cy) * cos
    return _rise((1 - np.sqrt((u / rx) ** 2 + (v / ry) ** 2)) * (min(rx, ry) / soft))


def _xray(dice: _Dice) -> tuple[Array, Painter]:
    """Two bright shafts; the lesion is a dark line across one of them."""
    image = np.full((SIDE_PX, SIDE_PX), 35.0, np.float32)
    shafts = []
    for middle in (37, 75):
        x, lean, width = middle + dice.between(-4, 4), dice.between(-0.05, 0.05), dice.between(8, 11)
        off = np.abs(_X - x - (_Y - 56) * lean)
        image += (120 + 25 * (off / width) ** 2 * (off < width)) * _rise((width - off) / 1.2)
        shafts.append((x, lean, width))

    def line(image: Array, cx: float, cy: float, strength: float, size: float) -> Array:
        x, lean, width = min(shafts, key=lambda shaft: abs(cx - shaft[0]))
        slope, thick = dice.between(-0.5, 0.5), size * dice.between(1.8, 2.8)
        dark = np.exp(-((((_Y - cy) - slope * (_X - x)) / thick) ** 2))
        return np.asarray(image - strength * 105 * dark * (np.abs(_X - x - (_Y - 56) * lean) < width + 1), np.float32)

    return image, line


def _ultrasound(dice: _Dice) -> tuple[Array, Painter]:
    image = 85 + 25 * np.sin(_Y / dice.between(6, 12) + dice.between(0, 6) + 0.2 * np.sin(_X / 15))
    return np.asarray(image, np.float32), _spot(dice, -60, wide=1.25)


def _fundus(dice: _Dice) -> tuple[Array, Painter]:
    disc = _blob(56, 56, 52, 52, soft=2)
    side = (-1, 1)[dice.whole(0, 2)]
    image = 20 + 110 * disc + 60 * _blob(56 + side * 44, 56 + dice.between(-5, 5), 7, 9)
    for _ in range(4):
        slope, start = dice.between(-0.8, 0.8), dice.between(20, 92)
        image -= 25 * np.exp(-(((_Y - start - slope * (_X - 56)) / 1.3) ** 2)) * disc

    def dots(image: Array, cx: float, cy: float, strength: float, size: float) -> Array:
        for _ in range(5):
            x, y = cx + size * dice.between(-7, 7), cy + size * dice.between(-7, 7)
            image = image + strength * 80 * _blob(x, y, 2, 2, soft=0.8)
        return image

    return np.asarray(image, np.float32), dots


def _mri(dice: _Dice) -> tuple[Array, Painter]:
    skull, brain = _blob(56, 56, 44, 50, soft=1.2), _blob(56, 56, 38, 44, soft=1.2)
    image = 15 + 150 * (skull - brain) + 75 * brain
    image -= 35 * _blob(48, 54, 4, 11, 0.15) + 35 * _blob(64, 54, 4, 11, -0.15)
    return np.asarray(image, np.float32), _spot(dice, 85)


def _ct(dice: _Dice) -> tuple[Array, Painter]:
    body, spine = _blob(56, 56, 50, 44), _blob(56 + dice.between(-3, 3), 92, 7, 6)
    organ = _blob(dice.between(36, 44), dice.between(48, 60), 20, 22, soft=4)
    return np.asarray(15 + 95 * body + 110 * spine + 30 * organ, np.float32), _spot(dice, -65)


def _skin(dice: _Dice) -> tuple[Array, Painter]:
    image = 175 + 12 * np.sin(_X / dice.between(9, 14) + dice.between(0, 6))
    for _ in range(3):
        slope, start = dice.between(-1, 1), dice.between(10, 100)
        image = image - 60 * np.exp(-((_Y - start - slope * (_X - 56)) ** 2))
    return np.asarray(image, np.float32), _spot(dice, -80, turned=3.0)


def _histology(dice: _Dice) -> tuple[Array, Painter]:
    nuclei = np.zeros((SIDE_PX, SIDE_PX), np.float32)
    for _ in range(dice.whole(50, 80)):
        x, y = dice.whole(1, SIDE_PX - 2), dice.whole(1, SIDE_PX - 2)
        nuclei[y : y + 3, x : x + 3] = 1
    return np.asarray(190 - 70 * nuclei, np.float32), _spot(dice, -75, soft=3)


def _endoscopy(dice: _Dice) -> tuple[Array, Painter]:
    away = np.sqrt((_X - 56 - dice.between(-6, 6)) ** 2 + (_Y - 56 - dice.between(-6, 6)) ** 2)
    image = 60 + 1.4 * away + 14 * np.sin(away / dice.between(4, 6) + dice.between(0, 6))
    polyp = _spot(dice, 75)

    def shiny(image: Array, cx: float, cy: float, strength: float, size: float) -> Array:
        return polyp(image, cx, cy, strength, size) + np.float32(strength * 60) * _blob(cx - 2, cy - 2, 2, 2)

    return np.asarray(image, np.float32), shiny


def _spot(dice: _Dice, grey_levels: float, wide: float = 1.0, turned: float = 0.0, soft: float = 1.5) -> Painter:
    def paint(image: Array, cx: float, cy: float, strength: float, size: float) -> Array:
        rx, ry = size * dice.between(5, 8) * wide, size * dice.between(5, 8)
        angle = dice.between(0, turned)
        return np.asarray(image + strength * grey_levels * _blob(cx, cy, rx, ry, angle, soft), np.float32)

    return paint


_SCENES: Mapping[str, Callable[[_Dice], tuple[Array, Painter]]] = {
    "xray": _xray,
    "ultrasound": _ultrasound,
    "fundus": _fundus,
    "mri": _mri,
    "ct": _ct,
    "skin": _skin,
    "histology": _histology,
    "endoscopy": _endoscopy,
}
MODALITIES = tuple(_SCENES)
_ALONE_AT = ((28, 50), (84, 50), (56, 26), (56, 74))
_BOXED_AT = ((36, 32), (76, 32), (36, 68), (76, 68))


def picture(modality: str, kind: str, ids: tuple[Any, ...], difficulty: Difficulty | None = None) -> MiniaturePicture:
    """Return the picture of `kind` "normal", "lesion" or "boxed", the same for the same `ids`.

    A "boxed" lesion is weaker and comes with its box; a "lesion" is larger and comes without.
    """
    difficulty = difficulty or Difficulty()
    dice = _Dice("miniature picture", modality, kind, *ids)
    image, paint = _SCENES[modality](dice)
    strength = dice.between(difficulty.weakest, difficulty.strongest)
    centre, box = None, None
    if kind == "lesion":
        x, y = _ALONE_AT[dice.whole(0, 4)]
        centre = (x + dice.between(-6, 6), y + dice.between(-6, 6))
        image = paint(image, *centre, strength + _ALONE_STRONGER, _ALONE_LARGER)
    elif kind == "boxed":
        x, y = _BOXED_AT[dice.whole(0, 4)]
        centre = (x + dice.between(-3, 3), y + dice.between(-3, 3))
        image = paint(image, *centre, max(0.0, strength + _BOXED_STRONGER), 1.0)
        left, top = round(centre[0] - BOX_PX[0] / 2), round(centre[1] - BOX_PX[1] / 2)
        box = (left, top, left + BOX_PX[0], top + BOX_PX[1])
    if modality == "ultrasound":
        image = image * (0.55 + 0.45 * dice.numpy.rayleigh(1.0, image.shape).astype(np.float32) / 1.25)
    image = image * dice.between(0.9, 1.1) + difficulty.noise * dice.numpy.standard_normal(image.shape, np.float32)
    return MiniaturePicture(np.clip(image, 0, 255).astype(np.uint8), kind != "normal", centre, box)
