"""A picture keeps its content: whatever mode, ground, window or padding it is stored with, or it is refused by name."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from aloe_bench.core import Message, Request, parts_of
from aloe_bench.errors import DataError
from aloe_bench.images import bytes_image, file_image, open_image, sendable


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png16(values: np.ndarray, extra: bytes = b"") -> bytes:
    """Return 16-bit `values`, shape (height, width, 1 to 4), as PNG; `extra` is the body of a tRNS chunk."""
    height, width, channels = values.shape

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    body = (chunk(b"tRNS", extra) if extra else b"") + chunk(b"IDAT", zlib.compress(lines))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def drawing(ink: int, kind: str) -> bytes:
    """Return a drawing in `ink` on a transparent ground."""
    image = Image.new("RGBA", (60, 40), (ink, ink, ink, 0))
    ImageDraw.Draw(image).ellipse((10, 5, 40, 35), outline=(ink, ink, ink, 255), width=3)
    if kind == "LA":
        return saved(image.convert("LA"))
    if kind == "P":
        grey = Image.new("P", image.size, 0)
        grey.putpalette([ink, ink, ink, ink, ink, ink])
        grey.paste(1, mask=image.getchannel("A"))
        return saved(grey, transparency=0)
    return saved(image, kind, **({"lossless": True} if kind == "WEBP" else {}))


@pytest.mark.parametrize("kind", ["PNG", "LA", "P", "WEBP", "TIFF", "GIF"])
@pytest.mark.parametrize(("ink", "ground"), [(0, "white"), (90, "white"), (255, "black")])
def test_a_drawing_on_a_transparent_ground_stays_one(kind: str, ink: int, ground: str) -> None:
    found = bytes_image(drawing(ink, kind), "drawing")
    pixels = np.asarray(found.open())
    assert {0, 255} >= set(np.unique(pixels)) - {ink} and pixels.std() > 20
    assert found.note == f"transparent, shown on {ground}"
    assert sendable(found) is None
    request = Request("r", (Message("user", "What is it?"),), (found,))
    assert parts_of(request)[0].note == found.note


def test_an_opaque_alpha_channel_changes_nothing_and_is_not_told() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    opaque = np.dstack([noise, np.full((20, 30), 255, np.uint8)])
    found = bytes_image(saved(Image.fromarray(opaque)), "opaque")
    assert (np.asarray(found.open()) == noise).all() and found.note == ""


def test_a_picture_that_its_alpha_channel_hides_is_refused_by_name() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (20, 30, 4), dtype=np.uint8)
    noise[..., 3] = 0
    with pytest.raises(DataError, match=r"hidden\.png: the picture loses its content.*alpha channel"):
        open_image(saved(Image.fromarray(noise)), name="hidden.png")


def stored(grey: np.ndarray, mode: str) -> bytes:
    """Return 12-bit greys in one of the modes that hold more than 8 bits."""
    if mode == "I;16":
        return saved(Image.fromarray(grey))
    if mode in ("I", "F"):
        return saved(Image.fromarray(grey.astype(np.int32 if mode == "I" else np.float32)), "TIFF")
    if mode == "PPM":
        head = f"P6 {grey.shape[1]} {grey.shape[0]} 65535\n".encode()
        return head + np.dstack([grey] * 3).astype(">u2").tobytes()
    full = np.full_like(grey, 65535)
    return png16(np.dstack({"L": [grey], "LA": [grey, full], "RGB": [grey] * 3, "RGBA": [*[grey] * 3, full]}[mode]))


def test_equal_greys_come_out_equal_in_every_mode() -> None:
    grey = np.random.default_rng(1).integers(100, 4000, (24, 32)).astype(np.uint16)
    grey[0, :2] = 100, 3999
    expected = np.rint((grey - 100.0) / 3899 * 255)
    for mode in ("I;16", "I", "F", "PPM", "L", "LA", "RGB", "RGBA"):
        shown = np.asarray(open_image(stored(grey, mode), name=mode))
        assert np.abs(shown - expected[..., None]).max() <= 1, mode
        assert sendable(bytes_image(stored(grey, mode), mode)) is None, mode
        narrow = np.asarray(open_image(stored(grey, mode), name=mode, window=(1000, 2000)))
        assert (narrow[grey <= 1000] == 0).all() and (narrow[grey >= 2000] == 255).all(), mode


def test_sixteen_bit_transparency_is_no_part_of_the_window() -> None:
    grey = np.random.default_rng(1).integers(1000, 2000, (24, 32)).astype(np.uint16)
    alpha = np.full_like(grey, 65535)
    alpha[:8] = 0
    hidden = grey.copy()
    hidden[:8] = 65535
    seen = np.asarray(open_image(png16(np.dstack([hidden, alpha]))))[..., 0]
    assert (seen[:8] == 255).all() and seen[8:].min() == 0 and seen[8:].std() > 60
    key = np.asarray(open_image(png16(hidden[..., None], struct.pack(">H", 65535))))[..., 0]
    assert (key == seen).all()


def test_one_hot_pixel_does_not_make_a_picture_black_unnoticed() -> None:
    grey = np.random.default_rng(1).integers(0, 250, (60, 80)).astype(np.uint16)
    grey[0, 0] = 65535
    for data in (stored(grey, "I;16"), stored(grey, "RGB"), stored(grey, "F")):
        with pytest.raises(DataError, match=r"hot: the picture loses its content.*0 to 65535"):
            open_image(data, name="hot")
        assert np.asarray(open_image(data, name="hot", window=(0, 250))).std() > 60


def test_padding_that_a_file_does_not_declare_does_not_make_a_picture_black_unnoticed() -> None:
    grey = np.random.default_rng(1).integers(100, 250, (60, 80)).astype(np.uint16)
    for padding in (65535, 60000):
        grey[:20] = padding
        with pytest.raises(DataError, match=rf"pad: the picture loses its content.*100 to {padding}"):
            open_image(stored(grey, "I;16"), name="pad")
        with pytest.raises(DataError, match="loses its content"):
            open_image(slice_of(grey))
        assert np.asarray(open_image(slice_of(grey, PixelPaddingValue=("US", padding))))[20:].std() > 60
    grey[:20] = 900  # an overlay, beside which the content can be seen
    assert np.asarray(open_image(stored(grey, "I;16")))[20:].std() > 10


def test_a_blank_first_frame_before_ink_on_a_transparent_ground_is_refused() -> None:
    clear, ink = (Image.new("RGBA", (30, 20), (0, 0, 0, 0)) for _ in range(2))
    ImageDraw.Draw(ink).line((2, 2, 27, 17), fill=(0, 0, 0, 255), width=3)
    for kind in ("PNG", "WEBP"):
        data = saved(clear, kind, save_all=True, append_images=[ink], **({"lossless": True} if kind == "WEBP" else {}))
        with pytest.raises(DataError, match="first frame is blank and frame 2"):
            open_image(data)


def test_a_blank_first_frame_before_others_is_refused() -> None:
    ramp = Image.fromarray(np.arange(600, dtype=np.uint16).astype(np.uint8).reshape(20, 30))
    frames = [Image.new("L", (30, 20), 0), Image.new("L", (30, 20), 0), ramp]
    for kind in ("GIF", "TIFF", "PNG"):
        data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
        with pytest.raises(DataError, match="first frame is blank and frame"):
            open_image(data)
    assert open_image(saved(frames[0], "TIFF")).getextrema() == ((0, 0),) * 3


def slice_of(values: np.ndarray, **fields: Any) -> bytes:
    """Return `values` as a DICOM file, changed from one that pydicom brings."""
    pydicom = pytest.importorskip("pydicom", reason="the extra dicom brings it")
    dataset = pydicom.dcmread(pydicom.data.get_testdata_file("MR_small.dcm"))
    for name in ("WindowCenter", "WindowWidth", "SmallestImagePixelValue", "LargestImagePixelValue"):
        if name in dataset:
            del dataset[name]
    signed = values.dtype.kind == "i"
    dataset.Rows, dataset.Columns = values.shape[-2:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, int(signed)
    dataset.PixelData = values.tobytes()
    if values.ndim == 3:
        dataset.NumberOfFrames = len(values)
    for name, value in fields.items():
        if isinstance(value, tuple):
            dataset.add_new(pydicom.datadict.tag_for_keyword(name), *value)
        else:
            setattr(dataset, name, value)
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def tissue(dtype: Any, pad: int) -> np.ndarray:
    values = np.random.default_rng(2).integers(0, 2000, (40, 50)).astype(dtype)
    values[:10] = pad
    return values


@pytest.mark.parametrize(
    ("values", "fields"),
    [
        (tissue(np.uint16, 65535), {"PixelPaddingValue": ("US", 65535)}),
        (tissue(np.int16, -32768), {"PixelPaddingValue": ("SS", -32768)}),
        (tissue(np.int16, -32768), {"PixelPaddingValue": ("US", 32768)}),
        (tissue(np.uint16, 60000), {"PixelPaddingValue": ("US", 65535), "PixelPaddingRangeLimit": ("US", 50000)}),
        (tissue(np.uint16, 65535), {"PixelPaddingValue": ("US", 65535), "PhotometricInterpretation": "MONOCHROME1"}),
        (tissue(np.uint16, 65535), {"PixelPaddingValue": ("US", 65535), "RescaleSlope": 2, "RescaleIntercept": -1024}),
    ],
)
def test_padding_has_no_part_in_the_window_and_is_black(values: np.ndarray, fields: dict[str, Any]) -> None:
    grey = np.asarray(open_image(slice_of(values, **fields)))[..., 0]
    assert (grey[:10] == 0).all()
    assert grey[10:].min() == 0 and grey[10:].max() == 255 and grey[10:].std() > 60


def test_a_lut_of_twelve_bits_that_claims_sixteen_is_shown_at_full_range() -> None:
    pytest.importorskip("pydicom", reason="the extra dicom brings it")
    from pydicom.dataset import Dataset
    from pydicom.sequence import Sequence

    lut = Dataset()
    lut.LUTDescriptor = [2000, 0, 16]
    lut.LUTData = np.linspace(0, 4095, 2000).astype("<u2").tobytes()
    values = tissue(np.uint16, 0)
    grey = np.asarray(open_image(slice_of(values, VOILUTSequence=Sequence([lut]))))[..., 0]
    assert grey.max() >= 254 and grey[10:].std() > 60


def test_a_dicom_volume_or_slide_is_no_picture() -> None:
    values = np.stack([np.zeros((40, 50), np.uint16), tissue(np.uint16, 0)])
    with pytest.raises(DataError, match="first frame is blank and frame 2"):
        open_image(slice_of(values), name="volume.dcm")
    with pytest.raises(DataError, match=r"slide\.dcm: a whole slide"):
        open_image(slice_of(tissue(np.uint16, 0), SOPClassUID="1.2.840.10008.5.1.4.1.1.77.1.6"), name="slide.dcm")


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.nii", struct.pack("<i", 348) + bytes(340) + b"n+1\0", "NIfTI, a volume"),
        ("a.img", struct.pack("<i", 348) + bytes(340) + b"ni1\0", "NIfTI, a volume"),
        ("brain.NII.GZ", b"\x1f\x8b\x08", "NIfTI, a volume"),
        ("a.nrrd", b"NRRD0004\n", "NRRD, a volume"),
        ("a.mha", b"ObjectType = Image\n", "MetaImage, a volume"),
        ("a.svs", saved(Image.new("L", (9, 9)), "TIFF"), "whole slide"),
        ("a.tif", saved(Image.new("L", (9, 9)), "TIFF", description="Aperio Image Library v11"), "whole slide"),
        ("a.mrxs", saved(Image.new("L", (9, 9)), "JPEG"), "whole slide"),
        ("a.jp2", b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"),
    ],
)
def test_volumes_and_slides_are_named_in_one_line(name: str, data: bytes, expected: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    for read in (open_image, file_image):
        with pytest.raises(DataError, match="not a supported image but") as caught:
            read(tmp_path / name)
        assert name in str(caught.value) and expected in str(caught.value) and "\n" not in str(caught.value)


def test_the_two_cases_of_the_folder_beside_us() -> None:
    cases = Path(__file__).parents[3] / "shared" / "cases"
    if not cases.is_dir():
        pytest.skip("../shared is not here")
    for path in [*(cases / "01-transparent-ink").glob("ink.*"), cases / "24-dicom-padding" / "padded.dcm"]:
        if path.suffix == ".dcm":
            pytest.importorskip("pydicom", reason="the extra dicom brings it")
        assert np.asarray(open_image(path)).std() > 5, path
