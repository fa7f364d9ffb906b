"""Pictures as a chat request carries them: the file's own bytes where a server would see the same pixels in them."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aloe_bench.core import ImageRef
from aloe_bench.errors import AloeError, ModelError
from aloe_bench.images import sendable

if TYPE_CHECKING:
    from PIL import Image

PNG_MODES = frozenset({"1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA"})


@dataclass(frozen=True, slots=True)
class PixelLimits:
    """The least and the most pixels (width times height) that a picture is shown at; None for no limit."""

    least: int | None = None
    most: int | None = None

    def __post_init__(self) -> None:
        least, most = self.least or 1, self.most or math.inf
        if not 1 <= least <= most:
            raise ModelError(f"min_pixels {self.least} and max_pixels {self.most}: expected 1 <= min <= max.")

    def fitted(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return (width, height) within the limits, the shape kept; `size` itself where it is within them."""
        width, height = size
        pixels = width * height
        if self.most is not None and pixels > self.most:
            scale = math.sqrt(self.most / pixels)
            return max(1, math.floor(width * scale)), max(1, math.floor(height * scale))
        if self.least is not None and pixels < self.least:
            scale = math.sqrt(self.least / pixels)
            return math.ceil(width * scale), math.ceil(height * scale)
        return size


def data_uri(image: ImageRef, limits: PixelLimits = PixelLimits()) -> str:
    """Return the picture as a data URI: the file's bytes if upright, opaque and within `limits`, else a lossless PNG.

    Raises ValueError naming the picture if it does not open.
    """
    from PIL import Image

    try:
        size = limits.fitted(image.size)
        picture = image.open()  # whatever is sent: a picture that does not open here is not a picture for the server
        own = sendable(image) if size == image.size else None
        if own is not None:
            return _uri(*own)
        if picture.mode not in PNG_MODES:
            picture = picture.convert("RGB")
        if picture.size != size:
            picture = picture.convert("RGB").resize(size, Image.Resampling.BICUBIC)
        return _uri("image/png", _png(picture))
    except (OSError, ValueError, LookupError, SyntaxError, Image.DecompressionBombError, AloeError) as error:
        raise ValueError(f"image {image.sha256[:12]} does not open: {type(error).__name__}: {error}") from None


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, format="PNG")
    return file.getvalue()


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
