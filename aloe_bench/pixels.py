"""What pictures of all formats share: the size limit, the way of other pixels into 8 bits, what broken bytes raise."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

from aloe_bench.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

Window = tuple[float, float]

# What Pillow's and pydicom's decoders raise on damaged bytes.
BROKEN = (
    OSError, SyntaxError, ValueError, IndexError, KeyError, TypeError, AttributeError, EOFError,
    OverflowError, MemoryError, RuntimeError, struct.error, zlib.error,
    UserWarning,  # raised instead of shown under -W error
)  # fmt: skip


def check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    """Raise DataError if an image of `size`, (width, height), is empty or larger than allowed."""
    width, height = size
    if width < 1 or height < 1 or width * height > max_pixels:
        raise DataError(
            f"{name}: the header declares {width}x{height} pixels; expected between 1 and {max_pixels}. "
            "Scale the image down, or raise max_pixels if you trust its source."
        )


def windowed(values: Any, name: str, window: Window | None, *, invert: bool = False) -> Image.Image:
    """Return `values`, shape (height, width), as RGB grey through `window`."""
    import numpy as np
    from PIL import Image

    values = values.astype(np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        raise DataError(f"{name}: no pixel is a finite number; expected an image. Export it again.")
    low, high = window or (float(values[finite].min()), float(values[finite].max()))
    if high > low:
        # Halved so that the full range of float64 does not overflow.
        share = (np.where(finite, values, low) / 2 - low / 2) / (high / 2 - low / 2)
        grey = np.rint(np.clip(share, 0.0, 1.0) * 255).astype(np.uint8)
        if invert:
            grey = 255 - grey
    else:
        grey = np.zeros(values.shape, np.uint8)
    return Image.fromarray(grey).convert("RGB")


def one_line(error: BaseException) -> str:
    """Return what `error` says in one line of at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__
