"""A commented template of a source folder, for `attack --new-source`."""

from __future__ import annotations

from pathlib import Path

from aloe_bench.errors import UsageError
from aloe_bench.files import write_atomic

_DATASET = """\
# A HEART source: what `aloe-bench attack --source THIS_FOLDER` reads. Fill in, then try --dry-run.

name = "my-dataset"          # short; becomes part of every id
modality = "x-ray"           # what the pictures are, for tables
licence = ""                 # of the pictures
# split = "test"             # use only rows of labels.csv with this split
# window = [-160, 240]       # grey levels shown of 16-bit and DICOM pictures (default: the file's own window)

# Which class is the whole picture? Delete the table if no picture has one.
[classification]
classes = ["normal", "pneumonia", "effusion"]   # class 0, 1, 2 of labels.csv
options = 4                                     # at most so many a question, 2 to 4

# In which box is the finding? Delete the table if there are no boxes; one class is enough.
[detection]
classes = ["nodule"]                            # class 0, ... of the boxes (COCO: joined by name)
options = 4                                     # boxes a question, 2 to 4
# box_names = "colours"                         # "Orange box" instead of "Box 1"

# How a sentence says a class, where that is not its name: "shows no finding" instead of "shows normal".
[prompt_forms]
# "normal" = "no finding"

# How overlays look; every key may be left out. docs/heart.md explains them.
[rendering]
# caption_position = "below"  # below, above, over
# font_share = 0.04           # of the picture's short side
# min_font_px = 14            # never smaller
# legend_form = "swatch"      # swatch, text
# legend_side = "below"       # below, right
# palette = ["sky blue", "vermillion", "yellow", "bluish green"]
"""
_README = """\
labels.csv          one row a picture: image_id,class[,patient_id,split]
                    image_id = name of the file in images/ without its ending; class = its number in [classification]
                    classes, empty if unknown; patient_id: pictures of one patient are counted as one cluster
images/             <image_id>.png, .jpg, .tif, .dcm, ...
annotations/        <image_id>.txt (YOLO: one box a line, `class cx cy w h`, all but the class as shares of 0 to 1)
                    or, instead of the folder, annotations.json (COCO; file_name = name of the picture)
masks/              optional, <image_id>.png: generated boxes lie where the mask is not black
"""


def write_new_source(folder: Path) -> None:
    """Write the template to `folder`, which must be new or empty; raises UsageError if it is not."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is there already and not empty; give a new folder.")
    for name in ("images", "annotations"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "dataset.toml", _DATASET)
    write_atomic(folder / "labels.csv", "image_id,class,patient_id,split\n")
    write_atomic(folder / "README.txt", _README)
