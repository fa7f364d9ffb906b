"""Every pixel mode of a decoded picture as RGB; `images.py` says by which rules."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aloe_bench.errors import DataError
from aloe_bench.pixels import Window, on_ground, windowed

if TYPE_CHECKING:
    from PIL import Image

_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
# Pillow's names of 16-bit samples: big-endian, little-endian, as this machine has them.
_LOW_BYTE = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


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
    if mode.startswith("LA"):  # four bytes a pixel: high and low of grey, high and low of alpha
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

    `deep` are its 16-bit samples, or None. Raises DataError for a mode that is none of a picture.
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
