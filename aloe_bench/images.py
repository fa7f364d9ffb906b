"""Pictures from disk or memory: refused in one clear line, or opened as upright 8-bit RGB.

How other pixels become 8-bit RGB (the same on every machine, so that scores are comparable):

* EXIF orientation is applied, and `size` is the size after it.
* 16-bit, 32-bit and float greyscale go through a window (low, high): low and below is 0, high and
  above is 255, linear between. The default window is the image's own minimum to maximum; a constant
  image is black, and so are NaN and infinities. 16-bit RGB keeps its high byte (Pillow decodes it so).
* 1-bit, palette, CMYK (Adobe's inverted one too) and YCbCr are converted by Pillow.
* Transparency (alpha, a palette's or a key colour) is composited over black.
* Of an animation, a multi-page TIFF or a multi-frame DICOM the first frame is taken.
* DICOM: modality rescale, then the file's first window (VOI) or minimum to maximum if it has none,
  MONOCHROME1 inverted, YBR and palette turned into RGB. A `window` given by the caller is in rescaled
  units (Hounsfield for CT) and replaces the file's. 8-bit images have no use for a window.
"""

from __future__ import annotations

import hashlib
import io
import math
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aloe_bench.errors import DataError, DependencyError

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 100_000_000
Window = tuple[float, float]

# Formats that only hold pixels. Pillow reads many more, some of which run other programs (EPS).
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM")
_EXPECTED = "PNG, JPEG, TIFF, BMP, GIF, WEBP, PPM or DICOM"
# What Pillow's and pydicom's decoders raise on damaged bytes.
_BROKEN = (
    OSError, SyntaxError, ValueError, IndexError, KeyError, TypeError, AttributeError, EOFError,
    OverflowError, MemoryError, RuntimeError, struct.error, zlib.error,
    UserWarning,  # raised instead of shown under -W error
)  # fmt: skip
_ORIENTATION = 0x0112


def open_image(
    source: Path | bytes,
    *,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    window: Window | None = None,
) -> Image.Image:
    """Return the picture in `source` as upright RGB; the module docstring says how it is converted.

    `name` stands for `source` in messages. The size is checked against `max_pixels` before decoding.
    Raises DataError if it cannot be read, DependencyError if it is DICOM and pydicom is missing.
    """
    data, name = _read(source, name)
    _check_window(window, name)
    if _is_dicom(data, name):
        return _open_dicom(data, name, max_pixels, window)
    image = _header(data, name, max_pixels)
    _check_size(image.size, name, max_pixels)
    turn = _orientation(image, data)
    try:
        with _pillow_limit_unheard(name, max_pixels):
            image.load()  # type: ignore[no-untyped-call, unused-ignore]
    except _BROKEN as error:
        raise DataError(
            f"{name}: {image.format} of {image.size[0]}x{image.size[1]} pixels cannot be decoded "
            f"({_line(error)}); expected a complete file. Fetch or export it again."
        ) from error
    return _upright(_to_rgb(image, name, window), turn)


@dataclass(frozen=True, slots=True)
class FileImage:
    """A picture on disk, known by the hash of its bytes; an ImageRef."""

    path: Path
    sha256: str
    size: tuple[int, int]
    max_pixels: int = MAX_PIXELS

    def open(self) -> Image.Image:
        """Return it as upright RGB. Raises DataError if the file is no longer the one hashed."""
        data, name = _read(self.path, None)
        found = hashlib.sha256(data).hexdigest()
        if found != self.sha256:
            raise DataError(
                f"{name}: the file changed since it was listed: sha256 is {found[:12]}, expected "
                f"{self.sha256[:12]}. Restore it, or start a new run."
            )
        return open_image(data, name=name, max_pixels=self.max_pixels)


@dataclass(frozen=True, slots=True)
class BytesImage:
    """A picture in memory, as embedded in a parquet row; an ImageRef."""

    name: str
    sha256: str
    size: tuple[int, int]
    data: bytes = field(repr=False)
    max_pixels: int = MAX_PIXELS

    def open(self) -> Image.Image:
        """Return it as upright RGB."""
        return open_image(self.data, name=self.name, max_pixels=self.max_pixels)


def file_image(path: Path, max_pixels: int = MAX_PIXELS) -> FileImage:
    """Return a reference to the picture at `path`: bytes hashed, header read, pixels not decoded.

    Raises DataError as `open_image` does, except for damage past the header.
    """
    data, name = _read(path, None)
    return FileImage(path, hashlib.sha256(data).hexdigest(), _size(data, name, max_pixels), max_pixels)


def bytes_image(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> BytesImage:
    """Return a reference to the picture in `data`, as `file_image` does; `name` is for messages."""
    data, name = _read(data, name)
    size = _size(data, name, max_pixels)
    return BytesImage(name, hashlib.sha256(data).hexdigest(), size, data, max_pixels)


def phash(image: Image.Image) -> str:
    """Return the 64-bit perceptual hash of `image` as 16 hexadecimal digits."""
    import imagehash

    return str(imagehash.phash(image, hash_size=8))


# A hash thresholds 64 coefficients at their median. Flat or made-up pictures have another count, and collide.
_ORDINARY_BITS = 32


def picture_print(image: Image.Image) -> str:
    """Return what tells the RGB `image` from others, even resized or recompressed: its 64-bit perceptual hash.

    Where the hash has not the 32 bits set that ordinary pictures have, the hash of the pixels stands beside it: such
    hashes collide, and then only equal pixels make two prints equal.
    """
    value = phash(image)
    if int(value, 16).bit_count() == _ORDINARY_BITS:
        return value
    return f"{value}/{hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()}"


def _read(source: Path | bytes, name: str | None) -> tuple[bytes, str]:
    if isinstance(source, bytes):
        data, name = source, name or "image in memory"
    else:
        name = name or str(source)
        try:
            data = source.read_bytes()
        except FileNotFoundError as error:
            raise DataError(
                f"{name}: no such file; expected an image. Check the path, or fetch the images again."
            ) from error
        except OSError as error:
            raise DataError(
                f"{name}: cannot be read ({_line(error)}); expected an image file. Check the path and its permissions."
            ) from error
    if not data:
        raise DataError(f"{name}: the file is empty; expected {_EXPECTED}. Fetch or export it again.")
    return data, name


def _size(data: bytes, name: str, max_pixels: int) -> tuple[int, int]:
    if _is_dicom(data, name):
        width, height = _dicom_size(_dicom_dataset(data, name, header_only=True), name)
        _check_size((width, height), name, max_pixels)
        return width, height
    image = _header(data, name, max_pixels)
    width, height = image.size
    _check_size(image.size, name, max_pixels)
    return (height, width) if _orientation(image, data) >= 5 else (width, height)


def _header(data: bytes, name: str, max_pixels: int) -> Image.Image:
    """Return the undecoded image, from the plug-in itself.

    `Image.open` would check the size against a process-wide limit and warn; ours is per call.
    """
    from PIL import Image, TiffImagePlugin, WebPImagePlugin  # noqa: F401

    Image.preinit()  # the other five
    plugins: dict[str, tuple[Any, Any]] = Image.OPEN  # type: ignore[assignment, unused-ignore]
    for kind in _FORMATS:
        factory, accepts = plugins[kind]
        if accepts(data[:16]) is not True:  # WebP answers with a message when it is not built in
            continue
        try:
            with _pillow_limit_unheard(name, max_pixels):
                image: Image.Image = factory(io.BytesIO(data), name)
        except _BROKEN as error:
            raise DataError(
                f"{name}: begins like {kind}, but its header cannot be read ({_line(error)}); "
                "expected a complete file. Fetch or export it again."
            ) from error
        return image
    raise DataError(
        f"{name}: not a supported image (begins with {data[:8]!r}); expected {_EXPECTED}. "
        "Convert the file, or correct the path."
    )


@contextmanager
def _pillow_limit_unheard(name: str, max_pixels: int) -> Iterator[None]:
    """Silence Pillow's own size warning; the GIF and WebP plug-ins check even when used directly."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
    except Image.DecompressionBombError as error:
        raise DataError(
            f"{name}: declares more pixels than can be decoded safely ({_line(error)}); expected at most "
            f"{max_pixels}. Scale the image down."
        ) from error


def _check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    width, height = size
    if width < 1 or height < 1 or width * height > max_pixels:
        raise DataError(
            f"{name}: the header declares {width}x{height} pixels; expected between 1 and {max_pixels}. "
            "Scale the image down, or raise max_pixels if you trust its source."
        )


def _check_window(window: Window | None, name: str) -> None:
    if window and not (all(map(math.isfinite, window)) and window[0] < window[1]):
        raise DataError(f"{name}: window {window} has no width; expected (low, high) with low < high.")


def _orientation(image: Image.Image, data: bytes) -> int:
    """Return the EXIF orientation, 1 to 8, still to be applied; 1 if there is none or it is damaged."""
    if image.format == "TIFF":  # Pillow turns TIFF by itself, in `size` and when decoding
        return 1
    if image.format == "PNG" and b"eXIf" not in data:  # or else getexif decodes, in search of it
        return 1
    try:
        turn = image.getexif().get(_ORIENTATION, 1)
    except _BROKEN:
        return 1
    return turn if isinstance(turn, int) and 1 <= turn <= 8 else 1


def _upright(image: Image.Image, turn: int) -> Image.Image:
    from PIL.Image import Transpose

    methods = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(methods[turn]) if turn in methods else image


def _to_rgb(image: Image.Image, name: str, window: Window | None) -> Image.Image:
    from PIL import Image

    mode = image.mode
    if mode in ("I", "F") or mode.startswith("I;16"):
        import numpy as np

        return _windowed(np.asarray(image), name, window)
    if mode in ("LA", "La", "PA", "RGBA", "RGBa") or ("transparency" in image.info and mode in ("1", "L", "P", "RGB")):
        image = (image.convert("LA") if mode == "La" else image).convert("RGBA")
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(black, image).convert("RGB")
    if mode in ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr"):
        rgb = image.convert("RGB")
        return Image.frombytes("RGB", rgb.size, rgb.tobytes())  # a plain image: no file, no metadata
    raise DataError(
        f"{name}: pixel mode {mode!r} is not supported; expected greyscale, palette, RGB or CMYK. "
        "Save it as RGB or greyscale PNG."
    )


def _windowed(values: Any, name: str, window: Window | None, *, invert: bool = False) -> Image.Image:
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


def _is_dicom(data: bytes, name: str) -> bool:
    return data[128:132] == b"DICM" or Path(name).suffix.lower() in (".dcm", ".dicom")


def _dicom_dataset(data: bytes, name: str, *, header_only: bool = False) -> Any:
    try:
        import pydicom
    except ImportError as error:
        raise DependencyError(
            f"{name}: reading DICOM needs pydicom, which is not installed. Run: pip install 'aloe-bench[dicom]'"
        ) from error
    try:
        # force: files of before 1993 and some exports lack the preamble; they end in .dcm.
        return pydicom.dcmread(io.BytesIO(data), force=True, stop_before_pixels=header_only)
    except _dicom_broken() as error:
        raise DataError(
            f"{name}: cannot be read as DICOM ({_line(error)}); expected a DICOM image. Export it again."
        ) from error


def _dicom_broken() -> tuple[type[BaseException], ...]:
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return (*_BROKEN, BytesLengthException, InvalidDicomError)


def _dicom_size(dataset: Any, name: str) -> tuple[int, int]:
    try:
        return int(dataset.Columns), int(dataset.Rows)
    except _dicom_broken() as error:
        raise DataError(
            f"{name}: DICOM without Rows and Columns; expected one that holds an image "
            "(not a report, plan or structure set). Choose another file."
        ) from error


def _open_dicom(data: bytes, name: str, max_pixels: int, window: Window | None) -> Image.Image:
    dataset = _dicom_dataset(data, name)
    _check_size(_dicom_size(dataset, name), name, max_pixels)
    import numpy as np
    from PIL import Image
    from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array

    try:
        values = pixel_array(dataset, index=0)  # YBR becomes RGB here
        colours = str(dataset.PhotometricInterpretation)
        if colours == "PALETTE COLOR":
            values = apply_color_lut(values, dataset)
            values = values >> 8 if values.dtype.itemsize == 2 else values
        elif values.ndim == 3:
            bits = int(dataset.BitsStored)
            values = values >> (bits - 8) if bits > 8 else values
        else:
            values = apply_modality_lut(values, dataset)
            if window is None:
                values, window = _dicom_voi(values, dataset)
            return _windowed(values, name, window, invert=colours == "MONOCHROME1")
        return Image.fromarray(values[..., :3].astype(np.uint8))
    except _dicom_broken() as error:
        syntax: Any = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
        found = getattr(syntax, "name", "unknown transfer syntax")
        advice = "expected complete image data. Export it again."
        if getattr(syntax, "is_transfer_syntax", False) and syntax.is_compressed:
            advice = (
                "expected a decoder for it and complete data. "
                "Run: pip install 'aloe-bench[dicom]', or save the file uncompressed."
            )
        raise DataError(f"{name}: DICOM pixels ({found}) cannot be decoded ({_line(error)}); {advice}") from error


def _dicom_voi(values: Any, dataset: Any) -> tuple[Any, Window | None]:
    """Return the values and the window to show them through, from the dataset's first VOI view.

    Source: DICOM PS3.3, C.11.2.1.2 (linear, linear exact and sigmoid functions).
    """
    import numpy as np
    from pydicom.pixels import apply_voi

    if dataset.get("VOILUTSequence"):
        top = 2 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1
        return apply_voi(values, dataset, index=0), (0.0, float(top))
    if dataset.get("WindowCenter") is None or dataset.get("WindowWidth") is None:
        return values, None
    center, width = (
        float(np.atleast_1d(np.asarray(dataset[key].value, dtype=float))[0]) for key in ("WindowCenter", "WindowWidth")
    )
    function = str(dataset.get("VOILUTFunction", "LINEAR") or "LINEAR")
    if function == "SIGMOID" and width > 0:
        return 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700))), (0.0, 1.0)
    if function == "LINEAR":
        center, width = center - 0.5, width - 1
    if width <= 0:  # a step: what lies above the centre is white
        return (values > center).astype(float), (0.0, 1.0)
    return values, (center - width / 2, center + width / 2)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
