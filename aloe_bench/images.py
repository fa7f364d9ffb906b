"""Pictures from disk or memory: refused in one clear line, or opened as upright 8-bit RGB.

How other pixels become 8-bit RGB (the same on every machine, so that scores are comparable):

* EXIF orientation is applied, and `size` is the size after it.
* What has more than 8 bits a channel goes through a window (low, high): low and below is 0, high and above is
  255, linear between. The default window is the image's own minimum to maximum, over all its colours and
  without what is fully transparent, so that equal greys come out equal whatever mode they are stored in;
  a constant image is black, and so are NaN and infinities.
* 1-bit, palette, CMYK (Adobe's inverted one too) and YCbCr are converted by Pillow.
* Transparency (alpha, a palette's or a key colour) is shown on white, as viewers do; on black where white leaves a
  grey-level standard deviation under 1 and black does not. A reference says so in its `note`.
* Of an animation, a multi-page TIFF or a multi-frame DICOM the first frame is taken, and the reference's `note` says
  so; if that is blank and a later one is not, the file is refused.
* DICOM: modality rescale or LUT, then the file's first window or LUT (VOI) or minimum to maximum if it has none,
  MONOCHROME1 inverted, YBR and palette turned into RGB. Padding (PixelPaddingValue, with its range limit) has no part
  in the window and is black. A `window` given by the caller is in rescaled units (Hounsfield for CT) and replaces
  the file's. 8-bit images have no use for a window.
* A picture whose grey levels spread by more than 5 in the file and by less than 1 as shown has lost its content and is
  refused. Volumes (NIfTI) and whole slides are refused as what they are.
"""

from __future__ import annotations

import hashlib
import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aloe_bench.dicom import dicom_picture, dicom_size, read_dicom
from aloe_bench.errors import DataError
from aloe_bench.pixels import BROKEN, Window, deep_colours, is_deep, is_flat, may_be_transparent, one_line, to_rgb
from aloe_bench.volumes import what_else

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 100_000_000
PICTURE_ENDINGS = (
    *(".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".ppm", ".pgm"),
    *(".dcm", ".dicom"),
)

# Formats that only hold pixels. Pillow reads many more, some of which run other programs (EPS).
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM")
_EXPECTED = "PNG, JPEG, TIFF, BMP, GIF, WEBP, PPM or DICOM"
_ORIENTATION = 0x0112


def _is_dicom(data: bytes, name: str) -> bool:
    """Return whether `data`, or failing that its `name`, says DICOM."""
    return data[128:132] == b"DICM" or Path(name).suffix.lower() in (".dcm", ".dicom")


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
        dataset = read_dicom(data, name)
        _check_size(dicom_size(dataset, name), name, max_pixels)
        return dicom_picture(dataset, name, window)
    return _opened(data, name, max_pixels, window)[0]


def _opened(data: bytes, name: str, max_pixels: int, window: Window | None) -> tuple[Image.Image, str]:
    """Return the picture, and the ground that it is shown on if it is transparent somewhere ("" if not)."""
    image = _header(data, name, max_pixels)
    _check_size(image.size, name, max_pixels)
    turn, frames = _orientation(image, data), getattr(image, "is_animated", False)
    try:
        with _pillow_limit_unheard(name, max_pixels):
            deep = deep_colours(image, data, lambda: _header(data, name, max_pixels))
            # Pillow annotates `load` in some releases and not in others.
            image.load()  # type: ignore[no-untyped-call, unused-ignore]
            shown, ground = to_rgb(image, deep, name, window)
            if frames and is_flat(shown):
                _refuse_blank_first(_header(data, name, max_pixels), name)
    except BROKEN as error:
        raise DataError(f"{name}: {_undecodable(image, error)}") from error
    return _upright(shown, turn), ground


def _refuse_blank_first(image: Image.Image, name: str) -> None:
    """Raise DataError if a later frame of `image` is not blank, as its first is."""
    for number in range(1, int(getattr(image, "n_frames", 1))):
        image.seek(number)
        if not is_flat(to_rgb(image, None, name, None)[0]):
            raise DataError(
                f"{name}: its first frame is blank and frame {number + 1} is not; expected one picture. "
                "Export the frame you mean."
            )


def decoded(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Return the picture in `data` upright, for what needs no RGB: plain grey and RGB stay as they are in the file.

    Its perceptual hash is that of what `open_image` gives, and cheaper. Raises as `open_image` does.
    """
    if _is_dicom(data, name):
        return open_image(data, name=name, max_pixels=max_pixels)
    image = _header(data, name, max_pixels)
    plain = _is_opaque(image) and (_is_stored_as_shown(image) or not is_deep(image))
    if not plain or _orientation(image, data) != 1:
        return open_image(data, name=name, max_pixels=max_pixels)
    _check_size(image.size, name, max_pixels)
    try:
        with _pillow_limit_unheard(name, max_pixels):
            image.load()  # type: ignore[no-untyped-call, unused-ignore]
    except BROKEN as error:
        raise DataError(f"{name}: {_undecodable(image, error)}") from error
    return image


@dataclass(frozen=True, slots=True)
class FileImage:
    """A picture on disk, known by the hash of its bytes; an ImageRef. `note` tells what of it is not shown."""

    path: Path
    sha256: str
    size: tuple[int, int]
    max_pixels: int = MAX_PIXELS
    note: str = ""

    def read(self) -> bytes:
        """Return the file's bytes. Raises DataError if it is no longer the one hashed."""
        data, name = _read(self.path, None)
        found = hashlib.sha256(data).hexdigest()
        if found != self.sha256:
            raise DataError(
                f"{name}: the file changed since it was listed: sha256 is {found[:12]}, expected "
                f"{self.sha256[:12]}. Restore it, or start a new run."
            )
        return data

    def open(self) -> Image.Image:
        """Return it as upright RGB. Raises DataError if the file is no longer the one hashed."""
        return open_image(self.read(), name=str(self.path), max_pixels=self.max_pixels)


@dataclass(frozen=True, slots=True)
class BytesImage:
    """A picture in memory, as embedded in a parquet row; an ImageRef."""

    name: str
    sha256: str
    size: tuple[int, int]
    data: bytes = field(repr=False)
    max_pixels: int = MAX_PIXELS
    note: str = ""

    def open(self) -> Image.Image:
        """Return it as upright RGB."""
        return open_image(self.data, name=self.name, max_pixels=self.max_pixels)


def file_image(path: Path, max_pixels: int = MAX_PIXELS) -> FileImage:
    """Return a reference to the picture at `path`: bytes hashed, header read; of pixels, transparent ones are decoded.

    Raises DataError as `open_image` does, except for damage past the header.
    """
    data, name = _read(path, None)
    size, note = _facts(data, name, max_pixels)
    return FileImage(path, hashlib.sha256(data).hexdigest(), size, max_pixels, note)


def bytes_image(data: bytes, name: str, max_pixels: int = MAX_PIXELS) -> BytesImage:
    """Return a reference to the picture in `data`, as `file_image` does; `name` is for messages."""
    data, name = _read(data, name)
    size, note = _facts(data, name, max_pixels)
    return BytesImage(name, hashlib.sha256(data).hexdigest(), size, data, max_pixels, note)


# The formats that every server with eyes reads, by their name on the wire.
_SENDABLE = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}


def sendable(image: object) -> tuple[str, bytes] | None:
    """Return media type and bytes of a picture's file if they show what `open` gives; None if they do not.

    They do where a JPEG, PNG or WebP holds one upright, opaque 8-bit picture in grey, palette or RGB; the header
    alone is read. Raises DataError if the file is not the one that was listed.
    """
    if isinstance(image, FileImage):
        data = image.read()
    elif isinstance(image, BytesImage):
        data = image.data
    else:
        return None
    if _is_dicom(data, "") or not data:
        return None
    picture = _header(data, "image", image.max_pixels)
    plain = picture.mode in ("L", "P", "RGB") and "transparency" not in picture.info
    plain = plain and (_is_stored_as_shown(picture) or not is_deep(picture))
    kind = _SENDABLE.get("JPEG" if picture.format == "MPO" else str(picture.format))
    moves = kind != "image/jpeg" and getattr(picture, "n_frames", 1) != 1
    return (kind, data) if kind and plain and not moves and _orientation(picture, data) == 1 else None


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


def _undecodable(image: Image.Image, error: BaseException) -> str:
    size = f"{image.format} of {image.size[0]}x{image.size[1]} pixels"
    return f"{size} cannot be decoded ({one_line(error)}); expected a complete file. Fetch or export it again."


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
                f"{name}: cannot be read ({one_line(error)}); expected an image file. Check its path and permissions."
            ) from error
    if not data:
        raise DataError(f"{name}: the file is empty; expected {_EXPECTED}. Fetch or export it again.")
    if not _is_what_it_says(data, name) and (other := what_else(data, name)) is not None:
        raise DataError(f"{name}: not a supported image but {other}. Expected {_EXPECTED}.")
    return data, name


# How files begin that are always one picture, by their endings. A TIFF may be a slide.
_BEGINS = {".png": b"\x89PNG", ".jpg": b"\xff\xd8\xff", ".jpeg": b"\xff\xd8\xff", ".gif": b"GIF8", ".bmp": b"BM"}


def _is_what_it_says(data: bytes, name: str) -> bool:
    """Return whether a file's ending and its first bytes agree on an ordinary kind of picture."""
    begins = _BEGINS.get(Path(name).suffix.lower())
    return begins is not None and data.startswith(begins)


def _is_opaque(image: Image.Image) -> bool:
    """Return whether the header of `image` says plain grey or RGB."""
    return image.mode in ("L", "RGB") and "transparency" not in image.info


def _is_stored_as_shown(image: Image.Image) -> bool:
    """Return whether the header of `image` says that its bytes are those of its mode, as they mostly are."""
    tiles = getattr(image, "tile", ())
    return all(tile[0] != "ppm" and tile[3] in (image.mode, (image.mode,), (image.mode, "")) for tile in tiles)


def _check_size(size: tuple[int, int], name: str, max_pixels: int) -> None:
    """Raise DataError if a picture of `size`, (width, height), is empty or larger than allowed."""
    width, height = size
    if width < 1 or height < 1 or width * height > max_pixels:
        raise DataError(
            f"{name}: the header declares {width}x{height} pixels; expected between 1 and {max_pixels}. "
            "Scale the image down, or raise max_pixels if you trust its source."
        )


def _facts(data: bytes, name: str, max_pixels: int) -> tuple[tuple[int, int], str]:
    """Return (width, height) as shown, and the note on a ground or on frames ("" for others)."""
    if _is_dicom(data, name):
        dataset = read_dicom(data, name, header_only=True)
        shown = dicom_size(dataset, name)
        _check_size(shown, name, max_pixels)
        return shown, _of_frames(int(dataset.get("NumberOfFrames") or 1))
    image = _header(data, name, max_pixels)
    width, height = image.size
    _check_size(image.size, name, max_pixels)
    ground = ""
    if not _is_opaque(image) and may_be_transparent(image):
        # What cannot be decoded, or loses its content, is told where it is opened.
        with suppress(DataError):
            ground = _opened(data, name, max_pixels, None)[1]
    size = (height, width) if _orientation(image, data) >= 5 else (width, height)
    frames = "" if image.format == "JPEG" else _of_frames(_frames(image))
    return size, "; ".join(note for note in (f"transparent, shown on {ground}" if ground else "", frames) if note)


def _frames(image: Image.Image) -> int:
    """Return how many frames or pages `image` has, 1 if that cannot be told."""
    try:
        return int(getattr(image, "n_frames", 1))
    except BROKEN:
        return 1


def _of_frames(n: int) -> str:
    return f"shown by the first of {n} frames" if n > 1 else ""


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
        except BROKEN as error:
            raise DataError(
                f"{name}: begins like {kind}, but its header cannot be read ({one_line(error)}); "
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
            f"{name}: declares more pixels than can be decoded safely ({one_line(error)}); expected at most "
            f"{max_pixels}. Scale the image down."
        ) from error


def _check_window(window: Window | None, name: str) -> None:
    if window and not (all(map(math.isfinite, window)) and window[0] < window[1]):
        raise DataError(f"{name}: window {window} has no width; expected (low, high) with low < high.")


def _orientation(image: Image.Image, data: bytes) -> int:
    """Return the EXIF orientation, 1 to 8, still to be applied; 1 if there is none or it is damaged."""
    if image.format == "TIFF":  # Pillow turns TIFF by itself, in `size` and when decoding
        return 1
    if image.format == "PNG" and not _has_chunk(data, b"eXIf"):  # or else getexif decodes, in search of it
        return 1
    try:
        turn = image.getexif().get(_ORIENTATION, 1)
    except BROKEN:
        return 1
    return turn if isinstance(turn, int) and 1 <= turn <= 8 else 1


def _has_chunk(data: bytes, name: bytes) -> bool:
    """Return whether a PNG has a chunk of this name, from the chunks' headers alone."""
    at = 8
    while at + 8 <= len(data):
        if data[at + 4 : at + 8] == name:
            return True
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return False


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
