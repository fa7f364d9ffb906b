"""DICOM files as upright 8-bit RGB; `images.py` says how their pixels are converted."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from aloe_bench.errors import DataError, DependencyError
from aloe_bench.pixels import BROKEN, Window, one_line, windowed

if TYPE_CHECKING:
    from PIL import Image


def read_dicom(data: bytes, name: str, *, header_only: bool = False) -> Any:
    """Return the data set in `data`, its pixels not decoded, or not read at all. Raises DataError, DependencyError."""
    try:
        import pydicom
    except ImportError as error:
        raise DependencyError(
            f"{name}: reading DICOM needs pydicom, which is not installed. Run: pip install 'aloe-bench[dicom]'"
        ) from error
    try:
        # force: files of before 1993 and some exports lack the preamble; they end in .dcm.
        return pydicom.dcmread(io.BytesIO(data), force=True, stop_before_pixels=header_only)
    except _broken() as error:
        raise DataError(
            f"{name}: cannot be read as DICOM ({one_line(error)}); expected a DICOM image. Export it again."
        ) from error


def _broken() -> tuple[type[BaseException], ...]:
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return (*BROKEN, BytesLengthException, InvalidDicomError)


def dicom_size(dataset: Any, name: str) -> tuple[int, int]:
    """Return (width, height) as the header declares it. Raises DataError if it declares none."""
    try:
        return int(dataset.Columns), int(dataset.Rows)
    except _broken() as error:
        raise DataError(
            f"{name}: DICOM without Rows and Columns; expected one that holds an image "
            "(not a report, plan or structure set). Choose another file."
        ) from error


def dicom_picture(dataset: Any, name: str, window: Window | None) -> Image.Image:
    """Return the first frame of a DICOM data set, decoded. Raises DataError."""
    import numpy as np
    from PIL import Image
    from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array

    _refuse_slide(dataset, name)
    try:
        values = pixel_array(dataset, index=0)  # YBR becomes RGB here
        if np.ptp(values) == 0:
            _refuse_blank_first(dataset, name)
        colours = str(dataset.PhotometricInterpretation)
        if colours == "PALETTE COLOR":
            values = apply_color_lut(values, dataset)
            # Entries of 16 bits, unless a writer put 8 into them.
            values = values >> 8 if values.dtype.itemsize == 2 and values.max() > 255 else values
        elif values.ndim == 3:
            bits = int(dataset.BitsStored)
            values = values >> (bits - 8) if bits > 8 else values
        else:
            padding = _padding(values, dataset)
            values = apply_modality_lut(values, dataset)
            if window is None:
                values, window = _voi(values, dataset)
            return windowed(values, name, window, invert=colours == "MONOCHROME1", hidden=padding)
        return Image.fromarray(values[..., :3].astype(np.uint8))
    except _broken() as error:
        syntax: Any = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
        found = getattr(syntax, "name", "unknown transfer syntax")
        advice = "expected complete image data. Export it again."
        if getattr(syntax, "is_transfer_syntax", False) and syntax.is_compressed:
            advice = (
                "expected a decoder for it and complete data. "
                "Run: pip install 'aloe-bench[dicom]', or save the file uncompressed."
            )
        raise DataError(f"{name}: DICOM pixels ({found}) cannot be decoded ({one_line(error)}); {advice}") from error


def _refuse_slide(dataset: Any, name: str) -> None:
    """Raise DataError for a whole slide, whose frames are its tiles. Source: DICOM PS3.6, table A-1."""
    if str(dataset.get("SOPClassUID", "")) == "1.2.840.10008.5.1.4.1.1.77.1.6":
        raise DataError(
            f"{name}: a whole slide in DICOM, not one picture; expected an image of one frame. "
            "Export the region you want as PNG or JPEG."
        )


def _refuse_blank_first(dataset: Any, name: str) -> None:
    """Raise DataError if a later frame is not blank, as the first is."""
    import numpy as np
    from pydicom.pixels import iter_pixels

    if int(dataset.get("NumberOfFrames") or 1) < 2:
        return
    for number, frame in enumerate(iter_pixels(dataset), start=1):
        if np.ptp(frame) > 0:
            raise DataError(
                f"{name}: its first frame is blank and frame {number} is not; expected one picture. "
                "Export the frame you mean."
            )


def _padding(values: Any, dataset: Any) -> Any:
    """Return which stored `values` are padding, shape (height, width); None if the file names none or none is there.

    Source: DICOM PS3.3, C.7.5.1.1.2: PixelPaddingValue, to PixelPaddingRangeLimit where there is one, in stored values.
    """
    bounds = [dataset.get(key) for key in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    if not isinstance(bounds[0], int):
        return None
    stored = [_signed_as_stored(bound, dataset) for bound in bounds if isinstance(bound, int)]
    found = (values >= min(stored)) & (values <= max(stored))
    return found if found.any() else None


def _signed_as_stored(value: int, dataset: Any) -> int:
    """Return `value` with the sign of the pixels: writers mark it US where pixels are signed, and the other way."""
    span = 1 << int(dataset.BitsAllocated)
    if int(dataset.PixelRepresentation) == 1:
        return value - span if value >= span // 2 else value
    return value + span if value < 0 else value


def _voi(values: Any, dataset: Any) -> tuple[Any, Window | None]:
    """Return the values and the window to show them through, from the dataset's first VOI view.

    Source: DICOM PS3.3, C.11.2.1.2 (linear, linear exact and sigmoid functions).
    """
    import numpy as np
    from pydicom.pixels import apply_voi

    if dataset.get("VOILUTSequence"):
        # As many bits as its highest entry needs: the descriptor's own number is often 16 for entries of 12 or 8.
        shown = apply_voi(values, dataset, index=0)
        raw = dataset.VOILUTSequence[0].LUTData
        entries = np.frombuffer(raw, "<u2") if isinstance(raw, bytes) else np.asarray(raw, np.int64) & 0xFFFF
        return shown, (0.0, float(2 ** max(1, int(entries.max()).bit_length()) - 1))
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
