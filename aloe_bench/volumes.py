"""Files that hold no single picture though they are shown as one elsewhere: volumes, slides, documents."""

from __future__ import annotations

from pathlib import Path

_SLIDES = (".svs", ".ndpi", ".ndpis", ".scn", ".mrxs", ".vms", ".vmu", ".bif", ".svslide", ".czi", ".vsi", ".isyntax")
_VOLUMES = (".nii", ".nii.gz", ".mgz", ".mgh", ".nrrd", ".nhdr", ".mha", ".mhd", ".mnc")
_VOLUME = "a volume, not one picture; export the slices you want as PNG or DICOM"
_SLIDE = "a whole slide, not one picture; export the region you want as PNG or JPEG"
_OTHER = {
    b"\x00\x00\x00\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"8BPS": "a Photoshop file",
    b"%PDF": "a PDF",
    b"\x89HDF": "HDF5",
    b"\x93NUMPY": "a NumPy array",
    b"PK\x03\x04": "a zip file",
}


def what_else(data: bytes, name: str) -> str | None:
    """Return in words what `data` is and what to do, if it is a known kind of file that is not a picture; else None.

    Told by its first bytes, and for volumes and slides by the ending of `name` too.
    """
    ending = ending_of(name, (*_VOLUMES, *_SLIDES))
    if data[344:348] in (b"n+1\0", b"ni1\0") or data[4:8] in (b"n+2\0", b"ni2\0"):
        return f"NIfTI, {_VOLUME}"
    if data[:4] == b"NRRD":
        return f"NRRD, {_VOLUME}"
    if data.startswith((b"ObjectType", b"NDims")):
        return f"MetaImage, {_VOLUME}"
    if ending in _VOLUMES:
        return f"{'NIfTI' if ending.startswith('.nii') else ending}, {_VOLUME}"
    if data[:2] == b"\x1f\x8b":
        return "a gzip file; unpack it"
    if ending in _SLIDES or (data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") and _is_slide(data)):
        return f"{ending or 'TIFF'} of a slide scanner: {_SLIDE}"
    kind = next((kind for magic, kind in _OTHER.items() if data.startswith(magic)), None)
    if kind is None and data[4:12] in (b"ftypavif", b"ftypheic", b"ftypheix", b"ftypmif1"):
        kind = "HEIF or AVIF"
    return f"{kind}; save it as PNG" if kind else None


def ending_of(name: str, known: tuple[str, ...]) -> str:
    """Return the ending of a file's `name` that is among `known` in any case, the longest one; "" if none is."""
    lower = Path(name).name.lower()
    return max((ending for ending in known if lower.endswith(ending) and lower != ending), key=len, default="")


def volume_or_slide(name: str) -> bool:
    """Return whether a file's `name` ends as volumes and slides do."""
    return bool(ending_of(name, (*_VOLUMES, *_SLIDES)))


def _is_slide(data: bytes) -> bool:
    # What Aperio, Hamamatsu, Leica, Ventana, Philips and Trestle scanners write into the first pages' descriptions.
    marks = (b"Aperio Image Library", b"Hamamatsu", b"leica-microsystems.com/scn", b"<iScan", b"PIM_DP_", b"trestle")
    return any(mark in data[: 1 << 20] or mark in data[-(1 << 20) :] for mark in marks)
