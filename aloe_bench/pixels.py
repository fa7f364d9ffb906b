"""What pictures of all formats share: the size limit, the way of other pixels into 8 bits, what broken bytes raise.

A picture that loses its content on that way is refused, never shown: it had a grey-level spread over 5 and has one
under 1 afterwards (standard deviations; `VARIED`, `FLAT`).
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

from aloe_bench.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

Window = tuple[float, float]
FLAT, VARIED = 1.0, 5.0
SAMPLED = 1_000_000  # pixels whose spread stands for that of a larger picture

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


def is_flat(image: Image.Image) -> bool:
    """Return whether `image` is (nearly) of one grey: a standard deviation of grey levels under 1 of 255."""
    return grey_spread(image) < FLAT


def grey_spread(image: Image.Image) -> float:
    """Return the standard deviation of the grey levels of `image`, 0 to 127.5."""
    from PIL import ImageStat

    return float(ImageStat.Stat(image if image.mode == "L" else image.convert("L")).stddev[0])


def windowed(values: Any, name: str, window: Window | None, *, invert: bool = False, hidden: Any = None) -> Image.Image:
    """Return `values`, shape (height, width) or (height, width, 3), as RGB through `window`.

    Without one the window is the least to the greatest value of all channels together. Pixels where `hidden`, shape
    (height, width), is true have no part in it and come out black. Raises DataError if nothing can be seen through it.
    """
    import numpy as np
    from PIL import Image

    whole_numbers = values.dtype.kind in "iub"
    values = values.astype(np.float64)
    shown = np.isfinite(values)
    if not shown.any():
        raise DataError(f"{name}: no pixel is a finite number; expected an image. Export it again.")
    if hidden is not None:
        shown &= ~(hidden if values.ndim == 2 else hidden[..., None])
        if not shown.any():
            raise DataError(f"{name}: every pixel is padding or transparent; expected an image. Export it again.")
    seen = values[shown]
    low, high = window or (float(seen.min()), float(seen.max()))
    if high > low:
        # Halved so that the full range of float64 does not overflow.
        share = (np.where(shown, values, low) / 2 - low / 2) / (high / 2 - low / 2)
        grey = np.rint(np.clip(share, 0.0, 1.0) * 255).astype(np.uint8)
        if invert:
            grey = 255 - grey
        grey[~shown] = 0
        some = slice(None, None, 1 + len(seen) // SAMPLED)
        with np.errstate(all="ignore"):
            before = _spreads(seen[some] if whole_numbers else _on_255(seen[some]))
        after = _spreads(grey[shown][some].astype(np.float64))
        lost_as = [(b, a) for b, a in zip(before, after, strict=True) if a < FLAT and b > VARIED]
        if lost_as:
            kind = "given window" if window else "window from its least to its greatest value"
            raise lost(name, *lost_as[0], f"the {kind}, {low:g} to {high:g}; give one that holds its content")
    else:
        grey = np.zeros(values.shape, np.uint8)
    return Image.fromarray(grey).convert("RGB")


def _on_255(values: Any) -> Any:
    """Return other than whole numbers on a scale of 255, from their lowest to their highest hundredth."""
    import numpy as np

    low, high = np.percentile(values, (1, 99))
    if not high > low:
        low, high = values.min(), values.max()
    if not high > low:
        return np.zeros(values.shape)
    return np.clip((values / 2 - low / 2) / (high / 2 - low / 2), 0, 1) * 255


def _spreads(values: Any) -> tuple[float, float]:
    """Return the standard deviation of `values`, and the one without their outermost thousandths.

    A single hot pixel gives a small black picture a spread of its own.
    """
    import numpy as np

    return float(values.std()), float(np.clip(values, *np.percentile(values, (0.1, 99.9))).std())


def on_ground(image: Image.Image, name: str) -> tuple[Image.Image, str]:
    """Return RGBA `image` as opaque RGB, and the ground it is shown on: white, or black where white leaves it flat.

    Raises DataError if both leave it flat though its colours are not.
    """
    from PIL import Image

    spreads = {}
    for ground in ("white", "black"):
        shown = Image.alpha_composite(Image.new("RGBA", image.size, ground), image).convert("RGB")
        spreads[ground] = grey_spread(shown)
        if spreads[ground] >= FLAT:
            return shown, ground
    before = grey_spread(image.convert("RGB"))
    if before > VARIED:
        raise lost(name, before, spreads["white"], "its transparency; save it without an alpha channel")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB"), "white"


def lost(name: str, before: float, after: float, why: str) -> DataError:
    """Return the error of a picture whose content does not survive its conversion."""
    return DataError(
        f"{name}: the picture loses its content: its grey levels spread by {before:.3g} in the file and by {after:.2g} "
        f"of 255 as shown (standard deviations), through {why}."
    )


def one_line(error: BaseException) -> str:
    """Return what `error` says in one line of at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__
