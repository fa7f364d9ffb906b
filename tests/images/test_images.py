"""Real bytes in, exact pixels or one clear line out."""

from __future__ import annotations

import hashlib
import io
import struct
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aloe_bench.core import ImageRef
from aloe_bench.errors import DataError, DependencyError
from aloe_bench.images import bytes_image, file_image, open_image, phash


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def half_red(width: int = 64, height: int = 32) -> Image.Image:
    """Left half red, right half blue."""
    image = Image.new("RGB", (width, height), (0, 0, 255))
    image.paste((255, 0, 0), (0, 0, width // 2, height))
    return image


def dicom(name: str) -> Path:
    path = pytest.importorskip("pydicom").data.get_testdata_file(name, download=False)
    assert path, f"{name} is not in the pydicom wheel"
    return Path(path)


def bomb(width: int = 50_000, height: int = 50_000) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_rotated_image_comes_upright(kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to show: the left of the file is the top
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind == "JPEG" else {}
    data = encoded(half_red(), kind, exif=exif, **options)

    image = open_image(data)

    assert image.size == bytes_image(data, "x").size == (32, 64)
    red, _, blue = image.getpixel((16, 8))
    assert red > 240
    assert blue < 15
    red, _, blue = image.getpixel((16, 56))
    assert red < 15
    assert blue > 240


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_gradient_keeps_its_high_byte(kind: str) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(1, 256).repeat(4, axis=0)
    data = encoded(Image.fromarray(ramp), kind)

    grey = np.asarray(open_image(data))[0, :, 0]
    middle = np.asarray(open_image(data, window=(257 * 64, 257 * 128)))[0, :, 0]

    assert grey.tolist() == list(range(256))
    assert middle[:65].max() == 0
    assert middle[128:].min() == 255
    assert middle[96] == 128


def test_float_and_constant_images_go_through_the_window() -> None:
    values = np.array([[np.nan, -1.0, 0.0, 1.0]], np.float32)
    assert np.asarray(open_image(encoded(Image.fromarray(values), "TIFF")))[0, :, 0].tolist() == [0, 0, 128, 255]
    flat = np.full((2, 2), 40_000, np.uint16)
    assert np.asarray(open_image(encoded(Image.fromarray(flat)))).max() == 0
    with pytest.raises(DataError, match="low < high"):
        open_image(encoded(Image.fromarray(flat)), window=(5, 5))


def test_transparency_is_shown_on_white() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, 10, 200, 30])
    palette.putpixel((1, 0), 1)
    clear_first = open_image(encoded(palette, transparency=0))
    assert [clear_first.getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (10, 200, 30)]
    partly = open_image(encoded(palette, transparency=bytes([128, 255])))
    assert partly.getpixel((0, 0)) == (127, 127, 127)
    assert open_image(encoded(Image.new("LA", (3, 3), (200, 128)))).getpixel((1, 1)) == (227, 227, 227)
    rgba = Image.new("RGBA", (3, 3), (255, 255, 253, 0))
    assert open_image(encoded(rgba)).getpixel((1, 1)) == (255, 255, 255)


def test_cmyk_and_one_bit_come_in_their_own_colours() -> None:
    # Pillow writes CMYK JPEG inverted with Adobe's marker, as Photoshop does.
    red = open_image(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95))
    assert red.mode == "RGB"
    assert np.abs(np.asarray(red).astype(int) - (255, 0, 0)).max() <= 3
    bits = Image.new("1", (2, 1))
    bits.putpixel((1, 0), 1)
    assert np.asarray(open_image(encoded(bits)))[0].tolist() == [[0] * 3, [255] * 3]


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (8, 8), c) for c in ((255, 0, 0), (0, 255, 0))]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert open_image(data).getpixel((4, 4)) == (255, 0, 0)


@pytest.mark.alone
def test_bomb_is_refused_before_decoding(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(bomb())
    limit = Image.MAX_IMAGE_PIXELS
    open_image(encoded(half_red()))  # imports done, so that the measure is of the refusal
    tracemalloc.start()
    started = time.perf_counter()

    for read in (open_image, file_image):
        with pytest.raises(DataError, match=r"bomb\.png.*50000x50000.*100000000"):
            read(path)

    assert time.perf_counter() - started < 1
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    assert limit == Image.MAX_IMAGE_PIXELS


def test_limit_is_the_callers_own() -> None:
    data = encoded(half_red(64, 32))
    assert open_image(data, max_pixels=64 * 32).size == (64, 32)
    with pytest.raises(DataError, match="64x32"):
        open_image(data, max_pixels=64 * 32 - 1)
    # Above Pillow's warning threshold (89 million), below ours: no warning, header only.
    assert bytes_image(bomb(9_900, 9_900), "large.png").size == (9_900, 9_900)


def test_bomb_in_webp_is_refused_too() -> None:
    data = bytearray(encoded(Image.new("RGBA", (64, 32)), "WEBP", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0"))
    assert data[12:16] == b"VP8X"
    data[24:30] = b"\x4f\xc3\x00" * 2  # 50000 - 1, the width and height of the canvas
    with pytest.raises(DataError, match="huge"):
        bytes_image(bytes(data), "huge.webp")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM"])
def test_truncated_file_is_named(tmp_path: Path, kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    path = tmp_path / f"cut.{kind.lower()}"
    for kept in (len(data) // 2, 20):
        path.write_bytes(data[:kept])
        with pytest.raises(DataError, match=r"cut\.") as caught:
            open_image(path)
        assert "\n" not in str(caught.value)


def test_what_is_not_an_image_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "note.png"
    text.write_text("this is not a picture")
    with pytest.raises(DataError, match=r"note\.png: not a supported image"):
        open_image(text)
    with pytest.raises(DataError, match=r"gone\.png: no such file"):
        file_image(tmp_path / "gone.png")
    with pytest.raises(DataError, match="cannot be read"):
        open_image(tmp_path)
    with pytest.raises(DataError, match="row 7: the file is empty"):
        bytes_image(b"", "row 7")
    with pytest.raises(DataError, match="not a supported image"):  # EPS would start Ghostscript
        open_image(encoded(half_red(), "EPS"))
    with pytest.raises(DataError, match="pixel mode 'LAB'"):
        open_image(encoded(Image.new("LAB", (4, 4)), "TIFF"))


def test_file_image_is_known_by_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(half_red()))
    ref = file_image(path)
    assert isinstance(ref, ImageRef)
    assert ref.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert ref.sha256 == bytes_image(path.read_bytes(), "a").sha256
    assert ref.open().tobytes() == half_red().tobytes()
    path.write_bytes(encoded(half_red(32, 64)))
    with pytest.raises(DataError, match="changed since"):
        ref.open()


def test_phash_survives_reencoding_and_tells_pictures_apart() -> None:
    skimage = pytest.importorskip("skimage")
    folder = Path(skimage.__file__).parent / "data"
    ihc, cell = open_image(folder / "ihc.png"), open_image(folder / "cell.png")
    again = open_image(encoded(ihc, "JPEG", quality=70))

    def distance(a: Image.Image, b: Image.Image) -> int:
        return (int(phash(a), 16) ^ int(phash(b), 16)).bit_count()

    assert len(phash(ihc)) == 16
    assert distance(ihc, again) <= 6
    assert distance(ihc, cell) >= 12


def test_ct_is_shown_in_hounsfield_units() -> None:
    path = dicom("CT_small.dcm")
    import pydicom

    dataset = pydicom.dcmread(path)
    units = dataset.pixel_array.astype(float) * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    grey = np.asarray(open_image(path, window=(-160, 240)))[..., 0]

    assert file_image(path).size == (128, 128)
    assert grey[units <= -160].max() == 0
    assert grey[units >= 240].min() == 255
    inside = (units > -160) & (units < 240)
    assert np.abs(grey[inside] - (units[inside] + 160) / 400 * 255).max() <= 0.5 + 1e-9


def test_monochrome1_is_inverted() -> None:
    path = dicom("MR_small.dcm")
    import pydicom

    plain = np.asarray(open_image(path))
    dataset = pydicom.dcmread(path)
    dataset.PhotometricInterpretation = "MONOCHROME1"
    buffer = io.BytesIO()
    dataset.save_as(buffer)

    assert plain.std() > 20
    assert (np.asarray(open_image(buffer.getvalue())) == 255 - plain).all()


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("examples_palette.dcm", (800, 350)),
        ("examples_ybr_color.dcm", (320, 240)),
        ("examples_rgb_color.dcm", (320, 240)),
    ],
)
def test_colour_dicom(name: str, size: tuple[int, int]) -> None:
    image = open_image(dicom(name))
    assert (image.mode, image.size) == ("RGB", size)
    # Most of an ultrasound is black; raw YBR or palette indices would not be.
    assert np.median(np.asarray(image), axis=(0, 1)).max() < 20
    assert np.asarray(image).max() > 200


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("MR_truncated.dcm", "less than expected"),
        ("SC_rgb_jpeg_gdcm.dcm", "JPEG Lossless.*expected a decoder"),
        ("JPGExtended.dcm", "12-bit.*expected a decoder"),
        ("rtplan.dcm", "without Rows and Columns"),
    ],
)
def test_unreadable_dicom_says_why(name: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"{name}.*{message}"):
        open_image(dicom(name))


def test_dicom_bomb_and_text_named_dcm(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="128x128"):
        open_image(dicom("CT_small.dcm"), max_pixels=1000)
    text = tmp_path / "note.dcm"
    text.write_text("hello, this is not a DICOM at all")
    with pytest.raises(DataError, match=r"note\.dcm"):
        open_image(text)


def test_missing_pydicom_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    path = dicom("CT_small.dcm")
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)  # what import sees if not installed
    with pytest.raises(DependencyError, match=r"pip install 'aloe-bench\[dicom\]'"):
        open_image(path)
