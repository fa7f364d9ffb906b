"""Words as lines of pixels: which text can be drawn right, and where it breaks."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from aloe_bench.errors import DataError, NoRoomError
from aloe_bench.heart.draw import fonts

# Blocks whose characters come out right when drawn one after another, left to right. The font has
# glyphs for more (Arabic, Lao, some emoji): without shaping or colour they would be drawn wrong.
_BLOCKS = (
    (0x0020, 0x007E), (0x00A0, 0x02FF),  # Latin, with IPA and modifier letters
    (0x0370, 0x03FF), (0x1F00, 0x1FFF),  # Greek
    (0x0400, 0x052F),  # Cyrillic
    (0x0531, 0x058A), (0x10A0, 0x10FF),  # Armenian, Georgian
    (0x1D00, 0x1DBF), (0x1E00, 0x1EFF), (0x2C60, 0x2C7F), (0xFB00, 0xFB06),  # more Latin
    (0x2000, 0x2BFF),  # punctuation, arrows, mathematics; emoji are left out below
)  # fmt: skip
# Letters, numbers, punctuation, symbols and the space. Left out: controls, marks that did not compose
# (the font has no anchors for them), surrogates, private and unassigned code points.
_CATEGORIES = frozenset("Lu Ll Lt Lm Lo Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs".split())
# Inside 2000-2BFF, blocks that are (or mix with) emoji, dingbats, and Braille. The two sex signs are plain symbols.
_PICTURE_BLOCKS = ((0x2300, 0x23FF), (0x25A0, 0x27BF), (0x2800, 0x28FF), (0x2B00, 0x2BFF))
_PLAIN_SIGNS = frozenset("♀♂")
_HYPHEN = re.compile(r"(?<=[^\W\d_]-)(?=[^\W\d_])")
_WHITE = frozenset(" \u00a0")


def undrawable(text: str) -> tuple[str, ...]:
    """Return the characters of `text` that cannot be drawn right, named: "'م' (ARABIC LETTER MEEM, U+0645)".

    Each once, in order. Text is composed (NFC) first, as it is when drawn. Refused are characters the font
    lacks, scripts that run right to left or need shaping, emoji, marks that do not compose, and controls.
    """
    wrong = dict.fromkeys(char for char in unicodedata.normalize("NFC", text) if not _drawable(char))
    return tuple(_named(char) for char in wrong)


@functools.lru_cache(maxsize=4096)
def _drawable(char: str) -> bool:
    code = ord(char)
    return (
        any(low <= code <= high for low, high in _BLOCKS)
        and (char in _PLAIN_SIGNS or not any(low <= code <= high for low, high in _PICTURE_BLOCKS))
        and unicodedata.category(char) in _CATEGORIES
        and (unicodedata.category(char) != "Zs" or char in _WHITE)
        and code in fonts.code_points()
    )


def _named(char: str) -> str:
    shown = char if char.isprintable() and not unicodedata.combining(char) else ascii(char).strip("'")
    return f"'{shown}' ({unicodedata.name(char, 'unnamed')}, U+{ord(char):04X})"


@dataclass(frozen=True, slots=True)
class TextBlock:
    """Lines of one text at one size: `width` and `height` of their ink box, `pitch` from line to line, in pixels.

    `ascent` is the distance from the top of the block to the first base line.
    """

    lines: tuple[str, ...]
    px: int
    width: int
    height: int
    pitch: int
    ascent: int


def block(text: str, px: int, width: int, *, repeats: int = 1, stroke: int = 0) -> TextBlock:
    """Return `text` broken to lines of at most `width` pixels of ink, the whole `repeats` times.

    Raises DataError if a character cannot be drawn right, NoRoomError if one is wider than `width`.
    """
    wrong = undrawable(text)
    if wrong:
        raise DataError(f"{text!r}: cannot be drawn right: {', '.join(wrong)}. Write it in other characters.")
    lines = _wrap(unicodedata.normalize("NFC", text), px, width - 2 * stroke) * repeats
    boxes = [ink(line, px) for line in lines]
    ascent, descent = fonts.font(px).getmetrics()
    ascent = max([ascent, *(-box[1] for box in boxes)])
    descent = max([descent, *(box[3] for box in boxes)])
    pitch = ascent + descent
    return TextBlock(
        lines,
        px,
        max([0, *(box[2] - box[0] for box in boxes)]) + 2 * stroke,
        pitch * len(lines) + 2 * stroke,
        pitch,
        ascent + stroke,
    )


@functools.lru_cache(maxsize=4096)
def ink(line: str, px: int) -> tuple[int, int, int, int]:
    """Return (left, top, right, bottom) of `line` in pixels from its origin on the base line; top is negative."""
    left, top, right, bottom = fonts.font(px).getbbox(line, anchor="ls")
    return int(left), int(top), int(right), int(bottom)


def _width(line: str, px: int) -> int:
    left, _, right, _ = ink(line, px)
    return right - left


def _wrap(text: str, px: int, width: int) -> tuple[str, ...]:
    """Return the lines of `text`: as many words each as fit; a word wider than a line is cut where it is full."""
    lines: list[str] = []
    line = ""
    for gap, piece in _pieces(text):
        longer = f"{line}{gap}{piece}" if line else piece
        if _width(longer, px) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        while _width(piece, px) > width:
            n = _fitting(piece, px, width)
            lines.append(piece[:n])
            piece = piece[n:]
        line = piece
    return (*lines, line) if line else tuple(lines)


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """Yield (what parts it from the one before, piece): words, which may also break after a hyphen between letters."""
    for word in filter(None, text.split(" ")):
        for i, piece in enumerate(_HYPHEN.split(word)):
            yield ("" if i else " "), piece


def _fitting(word: str, px: int, width: int) -> int:
    """Return how many characters of `word`, at least one, fit into `width`; the whole word does not."""
    low, high = 0, len(word)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _width(word[:middle], px) <= width else (low, middle)
    if low == 0:
        raise NoRoomError(f"{word[0]!r} at {px} px is wider than the {width} px there are for it")
    return low
