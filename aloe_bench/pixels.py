"""The pixels of a decoded picture as 8-bit RGB, of every mode and depth, by the rules in `images.py`; what breaks it.

A picture that loses its content on that way is refused, never shown: it had a grey-level spread over 5 and has one
under 1 afterwards (standard deviations; `VARIED`, `FLAT`).
"""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aloe_bench.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

Window = tuple[float, float]
FLAT, VARIED = 1.0, 5.0
SAMPLED = 1_000_000  # pixels whose spread stands for that of a larger picture

_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
# Pillow's names of 16-bit samples: big-endian, little-endian, as this machine has them.
_LOW_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}

# What Pillow's and pydicom's decoders raise on damaged bytes.
BROKEN = (
    OSError, SyntaxError, ValueError, IndexError, KeyError, TypeError, AttributeError, EOFError,
    OverflowError, MemoryError, RuntimeError, struct.error, zlib.error,
    UserWarning,  # raised instead of shown under -W error
)  # fmt: skip


def may_be_transparent(image: Image.Image) -> bool:
    """Return whether the header of `image` allows for pixels that are not opaque."""
    return image.mode in _ALPHA or "transparency" in image.info


def is_deep(image: Image.Image) -> bool:
    """Return whether an undecoded `image` keeps more than the 8 bits a channel that its mode can hold."""
    return _deep_mode(image) is not None


def _deep_mode(image: Image.Image) -> str | None:
    """Return the raw mode of undecoded 16-bit colours ("RGB;16B"), "PPM" for those of a PPM file, None for others."""
    modes = set()
    for tile in getattr(image, "tile", ()):
        args = tile[3]
        if tile[0] == "ppm" and image.mode == "RGB":
            maximum = args if isinstance(args, int) else args[-1]
            modes.add("PPM" if maximum > 255 else "")
        else:
            modes.add(str(args[0] if isinstance(args, tuple) and args else args))
    mode = modes.pop() if len(modes) == 1 else ""
    return mode if mode == "PPM" or mode.partition(";")[::2] in _DEEP else None


_DEEP = {(mode, f"16{order}") for mode in ("RGB", "RGBA", "RGBX", "LA") for order in _LOW_BYTE}


def deep_colours(image: Any, data: bytes, again: Callable[[], Any]) -> Any:
    """Return the 16-bit samples of undecoded `image`, shape (height, width, channels); None if it has 8 bits.

    Pillow keeps the high byte of each. `again` opens the same file once more, for the low ones.
    """
    mode = _deep_mode(image)
    if mode is None:
        return None
    import numpy as np

    width, height = image.size
    if mode == "PPM":
        values = np.frombuffer(data, ">u2", width * height * 3, image.tile[0][2])
        return values.reshape(height, width, 3).astype(np.uint16)
    if mode.startswith("LA"):  # four bytes per pixel: high and low of grey, high and low of alpha
        found = _bytes_as(again(), "RGBA").astype(np.uint16)
        return found[..., ::2] * 256 + found[..., 1::2]
    low = _bytes_as(again(), mode[:-1] + _LOW_BYTE[mode[-1]])
    high = _bytes_as(again(), mode)
    return high.astype(np.uint16) * 256 + low


def _bytes_as(image: Any, mode: str) -> Any:
    import numpy as np

    image.tile = [
        tile._replace(args=(mode, *tile[3][1:]) if isinstance(tile[3], tuple) else mode) for tile in image.tile
    ]
    return np.asarray(image)


def to_rgb(image: Image.Image, deep: Any, name: str, window: Window | None) -> tuple[Image.Image, str]:
    """Return decoded `image` as RGB, and the ground it is shown on ("" if it is opaque everywhere).

    `deep` are its 16-bit samples, or None. Raises DataError for a mode that pictures do not have.
    """

    mode = image.mode
    if deep is not None or mode in ("I", "F") or mode.startswith("I;16"):
        return _deep_to_rgb(image, deep, name, window)
    if may_be_transparent(image) and mode in (*_ALPHA, "1", "L", "P", "RGB"):
        clear = (image.convert("LA") if mode == "La" else image).convert("RGBA")
        if clear.getchannel("A").getextrema()[0] == 255:
            return _plain(clear), ""
        return on_ground(clear, name)
    if mode in ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr"):
        return _plain(image), ""
    raise DataError(
        f"{name}: pixel mode {mode!r} is not supported; expected greyscale, palette, RGB or CMYK. "
        "Save it as RGB or greyscale PNG."
    )


def _deep_to_rgb(image: Image.Image, deep: Any, name: str, window: Window | None) -> tuple[Image.Image, str]:
    import numpy as np
    from PIL import Image

    values = np.asarray(image) if deep is None else deep
    alpha = None
    if values.ndim == 3 and values.shape[2] in (2, 4) and image.mode != "RGBX":
        values, alpha = values[..., :-1], (values[..., -1] >> 8).astype(np.uint8)
    elif values.ndim == 3:
        values = values[..., :3]
    key = image.info.get("transparency")
    if alpha is None and isinstance(key, int | tuple):
        same = values == np.asarray(key)
        alpha = np.where(same if values.ndim == 2 else same.all(axis=2), 0, 255).astype(np.uint8)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if alpha is None or alpha.min() == 255:
        return windowed(values, name, window), ""
    shown = windowed(values, name, window, hidden=alpha == 0)
    shown.putalpha(Image.fromarray(alpha))
    return on_ground(shown, name)


def _plain(image: Image.Image) -> Image.Image:
    """Return `image` as RGB and nothing else: no file, no metadata."""
    from PIL import Image

    rgb = image.convert("RGB")
    return Image.frombytes("RGB", rgb.size, rgb.tobytes())


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
        stored, greys = seen[some], grey[shown][some].astype(np.float64)
        with np.errstate(all="ignore"):
            before = _spreads(stored if whole_numbers else _on_255(stored))
        after = _spreads(greys)
        inner = (stored > low) & (stored < high)
        if whole_numbers and inner.mean() > 0.1:  # padding that the file does not declare is at one of the ends
            before, after = (*before, float(stored[inner].std())), (*after, float(greys[inner].std()))
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


def _spreads(values: Any) -> tuple[float, ...]:
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
