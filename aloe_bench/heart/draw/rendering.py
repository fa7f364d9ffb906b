"""How overlays look: what `[rendering]` of a dataset.toml may set, checked."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from aloe_bench.errors import DataError, did_you_mean
from aloe_bench.heart.draw import fonts

CaptionPosition = Literal["below", "above", "over"]
LegendForm = Literal["swatch", "text"]
LegendSide = Literal["below", "right"]
RGB = tuple[int, int, int]

# Okabe & Ito, "Color Universal Design" (2008): told apart with every common colour-vision deficiency.
OKABE_ITO: Mapping[str, str] = {
    "black": "#000000",
    "orange": "#e69f00",
    "sky blue": "#56b4e9",
    "bluish green": "#009e73",
    "yellow": "#f0e442",
    "blue": "#0072b2",
    "vermillion": "#d55e00",
    "reddish purple": "#cc79a7",
}
COLOURS = {"white": "#ffffff", **OKABE_ITO}
# What a reader calls those whose own names nobody uses: options are named by them.
PLAIN = {"sky blue": "light blue", "bluish green": "green", "vermillion": "orange", "reddish purple": "pink"}
_CHOICES = {
    "caption_position": get_args(CaptionPosition),
    "legend_form": get_args(LegendForm),
    "legend_side": get_args(LegendSide),
}
# Lowest and highest value, both allowed.
_RANGES: Mapping[str, tuple[float, float]] = {
    "font_share": (0.005, 0.5),
    "min_font_px": (6, 200),
    "padding_em": (0.0, 3.0),
    "font_scale": (0.1, 10.0),
    "opacity": (0.02, 1.0),
    "repeats": (1, 20),
    "line_share": (0.001, 0.1),
    "min_line_px": (1, 50),
    "png_level": (0, 9),
}


@dataclass(frozen=True, slots=True)
class Rendering:
    """The looks of captions, boxes and legends; the fields are the keys of `[rendering]`.

    Shares are of the picture's short side, paddings in font sizes (em). Colours are names of the Okabe-Ito
    palette, "white", or "#rrggbb". `font_scale`, `opacity`, `repeats` and `caption_position` are the strength of
    a caption, and only a caption's. Raises DataError for a value that cannot be used.
    """

    caption_position: CaptionPosition = "below"
    font_share: float = 0.04
    min_font_px: int = 14
    padding_em: float = 0.35
    band_colour: str = "white"
    text_colour: str = "black"
    font_scale: float = 1.0
    opacity: float = 1.0
    repeats: int = 1
    legend_form: LegendForm = "swatch"
    legend_side: LegendSide = "below"
    palette: tuple[str, ...] = ("yellow", "blue", "vermillion", "reddish purple")
    line_share: float = 0.006
    min_line_px: int = 2
    png_level: int = 1

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check(field.name, getattr(self, field.name))
        if rgb(self.band_colour) == rgb(self.text_colour):
            raise DataError(f"band_colour and text_colour are both {self.text_colour!r}; the text would be unseen.")

    @classmethod
    def from_toml(cls, table: Mapping[str, object], where: Path | str) -> Rendering:
        """Return the rendering that `table`, the `[rendering]` of the file `where`, asks for.

        Raises DataError naming `where` and the key.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        for key in table:
            if key not in names:
                raise DataError(
                    f"{where}: [rendering] has no key {key!r}.{did_you_mean(key, names)} Known: {', '.join(names)}."
                )
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
        try:
            return cls(**values)  # type: ignore[arg-type]  # __post_init__ checks every type
        except DataError as error:
            raise DataError(f"{where}: [rendering] {error}") from error

    def font_px(self, size: tuple[int, int]) -> int:
        """Return the font size of labels and legends for a picture of `size` (width, height)."""
        return max(self.min_font_px, round(self.font_share * min(size)))

    def caption_px(self, size: tuple[int, int]) -> int:
        """Return the font size of a caption for a picture of `size`; the floor holds for a weak one too."""
        return max(self.min_font_px, round(self.font_scale * self.font_px(size)))

    def line_px(self, size: tuple[int, int]) -> int:
        """Return the width of a box's line for a picture of `size`."""
        return max(self.min_line_px, round(self.line_share * min(size)))

    def padding_px(self, font_px: int) -> int:
        """Return the free pixels around text of `font_px`; one at least, so that ink never touches an edge."""
        return max(1, round(self.padding_em * font_px))

    def facts(self) -> dict[str, object]:
        """Return all that the pixels rest on, for the manifest: these settings, the font, and what draws it."""
        import PIL
        from PIL import features

        settings = {**dataclasses.asdict(self), "palette": list(self.palette)}
        drawn_by = {"pillow": PIL.__version__, "freetype": features.version("freetype2")}
        return {**settings, "font": fonts.NAME, "font_sha256": fonts.SHA256, **drawn_by}


def rgb(colour: str) -> RGB:
    """Return `colour` (a name of OKABE_ITO, "white" or "#rrggbb") as three numbers from 0 to 255."""
    code = COLOURS.get(colour.lower(), colour)
    if not re.fullmatch("#[0-9a-fA-F]{6}", code):
        raise DataError(
            f"{colour!r} is not a colour.{did_you_mean(colour, COLOURS)} Expected {', '.join(COLOURS)} or #rrggbb."
        )
    return int(code[1:3], 16), int(code[3:5], 16), int(code[5:7], 16)


def plain_name(colour: str) -> str:
    """Return what a reader calls `colour`, a name of COLOURS: "pink" for reddish purple."""
    return PLAIN.get(colour.lower(), colour)


def contrast(colour: RGB) -> RGB:
    """Return black or white, whichever stands out more from `colour` (WCAG 2.2 relative luminance)."""
    red, green, blue = (c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour)
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return (0, 0, 0) if (luminance + 0.05) ** 2 > 1.05 * 0.05 else (255, 255, 255)


def _check(name: str, value: object) -> None:
    """Raise DataError unless `value` can stand in the field `name`."""
    if name in _CHOICES:
        if value not in _CHOICES[name]:
            raise DataError(f"{name} is {value!r}; expected one of {', '.join(_CHOICES[name])}.")
    elif name in _RANGES:
        _check_number(name, value)
    elif name == "palette":
        _check_palette(value)
    elif not isinstance(value, str):
        raise DataError(f"{name} is {value!r}; expected a colour in quotes.")
    else:
        _check_colour(name, value)


def _check_number(name: str, value: object) -> None:
    low, high = _RANGES[name]
    whole = Rendering.__dataclass_fields__[name].type == "int"
    fits = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not (fits and low <= value <= high):  # type: ignore[operator]
        raise DataError(
            f"{name} is {value!r}; expected a {'whole number' if whole else 'number'} from {low:g} to {high:g}."
        )


def _check_palette(value: object) -> None:
    if not isinstance(value, tuple) or not all(isinstance(colour, str) for colour in value):
        raise DataError(f"palette is {value!r}; expected a list of colours in quotes.")
    for colour in value:
        _check_colour("palette", colour)
    if len(value) < 4 or len({rgb(colour) for colour in value}) < len(value):
        raise DataError(f"palette is {list(value)}; expected four different colours or more, one per box.")


def _check_colour(name: str, colour: str) -> None:
    try:
        rgb(colour)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error
