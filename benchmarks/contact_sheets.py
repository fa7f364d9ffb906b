"""Contact sheets to look at: every attack, variant and image control on nine real pictures, at three sizes.

python benchmarks/contact_sheets.py FOLDER writes FOLDER/160.png, 512.png and 1600.png, after the longest side of the
pictures on it. Two items each, one of every task.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

PICTURES = Path(__file__).parent.parent / "tests" / "data" / "careqa_mini" / "images"
SIDES_PX = (160, 512, 1600)
ATTACKS = "all,caption+sycophancy,caption+legend,report+sycophancy,caption+report"
CLASSES = ("microscopy", "photography", "radiology")
OF = {"ihc": 0, "cell": 0, "retina": 1, "microaneurysms": 1}
# What a box is drawn around, in shares of the picture; these are no findings, and nobody says that they are.
BOX = (0.42, 0.45, 0.18, 0.16)


def write_source(folder: Path, side: int) -> Path:
    """Return `folder`, now a HEART source of the nine pictures with their longest side `side` pixels."""
    for name in ("images", "annotations"):
        (folder / name).mkdir(parents=True)
    lines = ["image_id,class"]
    for path in sorted(PICTURES.iterdir()):
        picture = Image.open(path).convert("RGB")
        share = side / max(picture.size)
        size = round(picture.width * share), round(picture.height * share)
        picture.resize(size, Image.Resampling.LANCZOS).save(folder / "images" / f"{path.stem}.png")
        (folder / "annotations" / f"{path.stem}.txt").write_text("0 " + " ".join(map(str, BOX)) + "\n")
        lines.append(f"{path.stem},{OF.get(path.stem, 2)}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    names = ", ".join(f'"{name}"' for name in CLASSES)
    (folder / "dataset.toml").write_text(
        f'name = "sheet"\n[classification]\nclasses = [{names}]\n[detection]\nclasses = ["marked structure"]\n'
    )
    return folder


def main() -> None:
    output = Path(sys.argv[1])
    output.mkdir(parents=True, exist_ok=True)
    for side in SIDES_PX:
        with tempfile.TemporaryDirectory() as folder:
            source = write_source(Path(folder) / "source", side)
            subprocess.run(
                [sys.executable, "-m", "aloe_bench.cli.main", "attack", "--source", str(source), "--type", ATTACKS,
                 "--preview", "2", "--output", str(output / f"{side}.png")],
                check=True,
            )  # fmt: skip


if __name__ == "__main__":
    main()
