"""The font every overlay is drawn with: DejaVu Sans 2.35, shipped beside this file with its licence."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from aloe_bench.errors import DependencyError

if TYPE_CHECKING:
    from PIL import ImageFont

NAME = "DejaVu Sans 2.35"
SHA256 = "3fdf69cabf06049ea70a00b5919340e2ce1e6d02b0cc3c4b44fb6801bd1e0d22"
PATH = Path(__file__).parent / "DejaVuSans.ttf"


@functools.cache
def font(px: int) -> ImageFont.FreeTypeFont:
    """Return the font at `px` pixels an em. Raises DependencyError if the shipped file is not the one recorded.

    Laid out by Pillow's basic engine: Raqm is absent from some builds, and pixels must not depend on the machine.
    """
    from PIL import ImageFont

    _check_file()
    return ImageFont.truetype(str(PATH), px, layout_engine=ImageFont.Layout.BASIC)


@functools.cache
def code_points() -> frozenset[int]:
    """Return the code points the font has a glyph for."""
    from fontTools.ttLib import TTFont

    _check_file()
    with TTFont(PATH, lazy=True) as file:
        return frozenset(file.getBestCmap())


@functools.cache
def _check_file() -> None:
    found = hashlib.sha256(PATH.read_bytes()).hexdigest() if PATH.is_file() else "no file"
    if found != SHA256:
        raise DependencyError(
            f"{PATH}: {found[:12]}, expected {NAME} with sha256 {SHA256[:12]}. Install aloe-bench again."
        )
