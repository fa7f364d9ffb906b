"""The miniature's pictures as a HEART source folder, which `attack` treats like any dataset.

`python -m aloe_bench.miniature.source FOLDER --modality xray --pictures 400` writes one.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aloe_bench.errors import AloeError, UsageError
from aloe_bench.files import NewFolder
from aloe_bench.miniature.images import CAPTION_PX, MODALITIES, SIDE_PX, Difficulty, picture

if TYPE_CHECKING:
    from PIL import Image

# What the miniature is evaluated with, and what its AR stage learns from; no cue sentence is in both.
TEMPLATES = tuple(Path(__file__).parent / "templates" / f"{name}.toml" for name in ("evaluation", "training"))
SHARED_WORDS = ("normal", "abnormal")
# For the control that asks whether words of one modality alone can carry over to the others.
OWN_WORDS = {
    "xray": ("intact", "fracture"),
    "ultrasound": ("even", "nodule"),
    "fundus": ("healthy", "retinopathy"),
    "mri": ("clear", "glioma"),
    "ct": ("plain", "abscess"),
    "skin": ("benign", "melanoma"),
    "histology": ("regular", "carcinoma"),
    "endoscopy": ("smooth", "polyp"),
}
# Two pictures of four are to be located, one is normal, one is not.
KINDS = ("normal", "boxed", "lesion", "boxed")
_TOML = """\
# Made by aloe_bench.miniature: not medical images.
name = "{name}"
modality = "{modality}"
licence = "CC0-1.0"
split = "{split}"

[classification]
classes = {words}

[detection]
classes = ["lesion"]
box_names = "colours"

# A picture of 112 pixels has room for ten-pixel letters and a caption on its lowest rows; a legend adds 56 rows.
# All sides are then multiples of 28, and Qwen2-VL sees each pixel as it was drawn.
[rendering]
caption_position = "over"
font_share = 0.01
min_font_px = 10
padding_em = 0.2
min_line_px = 2
palette = ["orange", "yellow", "blue", "white"]
"""


def write_source(
    folder: Path,
    modality: str,
    pictures: int,
    seed: int = 0,
    *,
    split: str = "test",
    difficulty: Difficulty | None = None,
    own_words: bool = False,
) -> Path:
    """Return `folder`, now a HEART source of `pictures` pictures of one modality.

    In turn: a normal picture, one to be located (with its box, without a class), an abnormal one, another to be
    located. A picture depends on `seed`, `split`, the modality and its own number alone.
    Raises UsageError for an unknown modality, DataError for a folder that holds something.
    """
    if modality not in MODALITIES:
        raise UsageError(f"modality {modality!r} is not one of {', '.join(MODALITIES)}.")
    if pictures < 1:
        raise UsageError(f"{pictures} pictures: give at least 1.")
    words = OWN_WORDS[modality] if own_words else SHARED_WORDS
    name = f"miniature-{modality}" + ("-own" if own_words else "")
    settings = _TOML.format(name=name, modality=modality, split=split, words=json.dumps(list(words)))
    labels = io.StringIO()
    rows = csv.writer(labels, lineterminator="\n")
    rows.writerow(("image_id", "class", "split"))
    with NewFolder(folder, overwrite=False, known_by="dataset.toml") as new:
        for part in ("images", "annotations", "masks"):
            (new / part).mkdir()
        mask = mask_image()
        for number in range(pictures):
            kind = KINDS[number % len(KINDS)]
            drawn = picture(modality, kind, (seed, split, number), difficulty)
            image_id = f"{modality}-{split}-{seed}-{number:05d}"
            drawn.image().save(new / "images" / f"{image_id}.png", compress_level=1)
            noted = "" if drawn.box is None else _yolo(drawn.box)
            (new / "annotations" / f"{image_id}.txt").write_text(noted, encoding="utf-8")
            if drawn.box is not None:
                mask.save(new / "masks" / f"{image_id}.png")
            rows.writerow((image_id, "" if kind == "boxed" else int(drawn.abnormal), split))
        (new / "labels.csv").write_text(labels.getvalue(), encoding="utf-8")
        (new / "dataset.toml").write_text(settings, encoding="utf-8")
    return folder


def mask_image() -> Image.Image:
    """Return the mask that keeps boxes off the rows where a caption may lie: black there, white elsewhere."""
    from PIL import Image

    mask = Image.new("L", (SIDE_PX, SIDE_PX), 255)
    mask.paste(0, (0, SIDE_PX - CAPTION_PX, SIDE_PX, SIDE_PX))
    return mask


def _yolo(box: tuple[int, int, int, int]) -> str:
    left, top, right, bottom = (side / SIDE_PX for side in box)
    return f"0 {(left + right) / 2:.6f} {(top + bottom) / 2:.6f} {right - left:.6f} {bottom - top:.6f}\n"


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--modality", type=click.Choice(MODALITIES), default="xray", show_default=True)
@click.option("--pictures", type=click.IntRange(min=1), default=400, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--split", default="test", show_default=True)
@click.option("--own-words", is_flag=True, help="Name the classes by words of this modality alone.")
def main(folder: Path, modality: str, pictures: int, seed: int, split: str, own_words: bool) -> None:
    """Write a HEART source of made-up pictures of one modality to FOLDER."""
    try:
        click.echo(write_source(folder, modality, pictures, seed, split=split, own_words=own_words))
    except AloeError as error:
        click.echo(f"Error: {error}", err=True)
        raise SystemExit(error.exit_code) from error


if __name__ == "__main__":
    main()
