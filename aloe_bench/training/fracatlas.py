"""FracAtlas as a HEART source: `python -m aloe_bench.training.fracatlas ARCHIVE FOLDER`.

Figshare article 22363012, CC BY 4.0. Layout of the published archive:

    dataset.csv                                  image_id, fractured, fracture_count, ...
    images/Fractured/, images/Non_fractured/     JPEG files
    Annotations/YOLO/<image>.txt                 class 0, centre and size as shares; empty or absent without fracture

Its known defects, and what is done about each: the class is dataset.csv's, never the folder's (two files lie in both);
orientation tags are applied before boxes are used (`images.open_image` does); truncated JPEGs are decoded as far as
they go and written again; of byte- or pixel-equal files the first is kept, and all of them are left out where their
labels differ. There is one detection class and no patient id. Counts are never assumed: the paper's 717 fractured
images are 719 in the archive's seventh version.
"""

from __future__ import annotations

import csv
import hashlib
import io
import shutil
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aloe_bench.errors import AloeError, DataError
from aloe_bench.files import NewFolder, spreadsheet_safe
from aloe_bench.images import MAX_PIXELS, open_image

if TYPE_CHECKING:
    from PIL import Image

_FOLDERS = ("Fractured", "Non_fractured")
_TOML = """\
# FracAtlas (Abedeen et al., Scientific Data 10:521, 2023), figshare 22363012, imported by aloe-bench.
name = "fracatlas"
modality = "xray"
licence = "CC-BY-4.0"

[classification]
classes = ["No fracture", "Fracture"]

[detection]
classes = ["Fracture"]

[prompt_forms]
"No fracture" = "no fracture"
"Fracture" = "fracture"
"""


@dataclass(frozen=True, slots=True)
class Imported:
    """What was taken over: images by class, boxes, and what was left out or repaired, by reason."""

    fractured: int
    intact: int
    boxes: int
    notes: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Picture:
    image_id: str
    path: Path
    fractured: bool
    pixels_sha256: str
    truncated: bool


def import_fracatlas(archive: Path, output: Path) -> Imported:
    """Write the images and boxes of the unpacked `archive` as a HEART source to the new folder `output`.

    import.csv in it lists every file that was left out or repaired. Raises DataError naming what is missing or broken.
    """
    labels = _labels(archive / "dataset.csv")
    notes: list[tuple[str, str]] = []
    pictures = [_picture(archive, name, fractured, notes) for name, fractured in labels.items()]
    kept = _without_duplicates([picture for picture in pictures if picture], notes)
    boxes = 0
    with NewFolder(output, overwrite=False, known_by="dataset.toml") as folder:
        (folder / "images").mkdir()
        (folder / "annotations").mkdir()
        for picture in kept:
            boxes += _write(picture, archive, folder, notes)
        rows = "".join(f"{spreadsheet_safe(p.image_id)},{int(p.fractured)}\n" for p in kept)
        (folder / "labels.csv").write_text(f"image_id,class\n{rows}", encoding="utf-8")
        (folder / "dataset.toml").write_text(_TOML, encoding="utf-8")
        (folder / "import.csv").write_text(_note_lines(notes), encoding="utf-8")
    fractured = sum(picture.fractured for picture in kept)
    return Imported(fractured, len(kept) - fractured, boxes, dict(Counter(reason for _, reason in notes)))


def _labels(path: Path) -> dict[str, bool]:
    """Return file name -> fractured; the file may begin with a byte order mark."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not readable ({error}); expected the unpacked FracAtlas archive.") from error
    found: dict[str, bool] = {}
    reader = csv.DictReader(lines)
    if not {"image_id", "fractured"} <= set(reader.fieldnames or ()):
        raise DataError(f"{path}: columns {reader.fieldnames}; expected image_id and fractured among them.")
    for number, row in enumerate(reader, start=2):
        name, value = (row["image_id"] or "").strip(), (row["fractured"] or "").strip()
        if value not in ("0", "1") or not name or Path(name).name != name:
            raise DataError(
                f"{path}:{number}: image_id {name!r}, fractured {value!r}; expected a file name and 0 or 1."
            )
        if name in found:
            raise DataError(f"{path}:{number}: {name} is listed twice.")
        found[name] = value == "1"
    return found


def _picture(archive: Path, name: str, fractured: bool, notes: list[tuple[str, str]]) -> _Picture | None:
    places = [archive / "images" / folder / name for folder in _FOLDERS]
    there = [place for place in places if place.is_file()]
    if not there:
        notes.append((name, "no such file"))
        return None
    if len(there) == 2:
        notes.append((name, "in both class folders; dataset.csv decides"))
    path = places[0] if fractured and places[0] in there else there[-1]
    image, truncated = _decoded(path)
    if truncated:
        notes.append((name, "truncated JPEG, decoded as far as it goes"))
    digest = hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()
    return _Picture(Path(name).stem, path, fractured, digest, truncated)


def _decoded(path: Path) -> tuple[Image.Image, bool]:
    """Return the upright picture and whether its file ends early."""
    try:
        return open_image(path), False
    except AloeError as whole:
        from PIL import Image, ImageFile, ImageOps

        kept, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, True
        try:
            with Image.open(path) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise whole
                return ImageOps.exif_transpose(image).convert("RGB"), True
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(
                f"{path}: no picture, not even a truncated one ({error}). Unpack the archive again."
            ) from error
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = kept


def _without_duplicates(pictures: list[_Picture], notes: list[tuple[str, str]]) -> list[_Picture]:
    """Return the first picture of each group of pixel-equal ones, and none of a group with both labels."""
    groups: dict[str, list[_Picture]] = defaultdict(list)
    for picture in sorted(pictures, key=lambda picture: picture.image_id):
        groups[picture.pixels_sha256].append(picture)
    kept = []
    for same in groups.values():
        if len({picture.fractured for picture in same}) > 1:
            notes += [(picture.path.name, "equal pictures with opposite labels") for picture in same]
            continue
        kept.append(same[0])
        notes += [(picture.path.name, f"the same picture as {same[0].path.name}") for picture in same[1:]]
    return kept


def _write(picture: _Picture, archive: Path, folder: Path, notes: list[tuple[str, str]]) -> int:
    """Write the picture and its boxes into `folder` and return the number of boxes."""
    if picture.truncated:
        image, _ = _decoded(picture.path)
        image.save(folder / "images" / f"{picture.image_id}.png", compress_level=1)
    else:
        shutil.copyfile(picture.path, folder / "images" / f"{picture.image_id}{picture.path.suffix}")
    source = archive / "Annotations" / "YOLO" / f"{picture.image_id}.txt"
    lines = (
        [line for line in source.read_text(encoding="utf-8").splitlines() if line.strip()] if source.is_file() else []
    )
    if bool(lines) != picture.fractured:
        notes.append(
            (picture.path.name, "fractured without a box" if picture.fractured else "boxes, but not fractured")
        )
    if not (lines and picture.fractured):
        return 0
    (folder / "annotations" / f"{picture.image_id}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(lines)


def _note_lines(notes: list[tuple[str, str]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(("file", "note"))
    writer.writerows((spreadsheet_safe(name), note) for name, note in sorted(notes))
    return file.getvalue()


@click.command()
@click.argument("archive", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
def main(archive: Path, folder: Path) -> None:
    """Write the unpacked FracAtlas ARCHIVE as a HEART source to FOLDER, for `train-ar --source`."""
    try:
        found = import_fracatlas(archive, folder)
    except AloeError as error:
        click.echo(f"Error: {error}", err=True)
        raise SystemExit(error.exit_code) from error
    click.echo(f"{folder}: {found.fractured} fractured, {found.intact} not, {found.boxes} boxes")
    for reason, count in sorted(found.notes.items()):
        click.echo(f"  {count} x {reason}")


if __name__ == "__main__":
    main()
