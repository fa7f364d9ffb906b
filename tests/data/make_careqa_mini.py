"""Make tests/data/careqa_mini/images from what the scikit-image and pydicom wheels hold.

Run: python tests/data/make_careqa_mini.py. The questions are written by hand; README.md is the data card.
"""

from __future__ import annotations

from pathlib import Path

import pydicom.data
import skimage
from PIL import Image

from aloe_bench.images import open_image

LONGEST_PX = 384
SOURCES = {
    "retina.jpg": "retina.jpg",
    "ihc.jpg": "ihc.png",
    "cell.png": "cell.png",
    "microaneurysms.png": "microaneurysms.png",
    "ct_chest.png": "CT_small.dcm",
    "mr_abdomen.png": "examples_overlay.dcm",
    "bone_scan.png": "JPEG2000.dcm",
    "us_doppler.png": "examples_rgb_color.dcm",
    "us_heart.png": "examples_ybr_color.dcm",
}


def main() -> None:
    """Write every image at most LONGEST_PX long; small ones are doubled so that details can be seen."""
    target = Path(__file__).parent / "careqa_mini" / "images"
    target.mkdir(parents=True, exist_ok=True)
    skimage_data = Path(skimage.__file__).parent / "data"
    for name, source in SOURCES.items():
        is_dicom = source.endswith(".dcm")
        path = pydicom.data.get_testdata_file(source, download=False) if is_dicom else skimage_data / source
        image = open_image(Path(str(path)))
        longest = max(image.size)
        scale = 2.0 if longest <= LONGEST_PX // 2 else min(1.0, LONGEST_PX / longest)
        size = (round(image.width * scale), round(image.height * scale))
        image = image.resize(size, Image.Resampling.LANCZOS)
        if name.endswith(".jpg"):
            image.save(target / name, quality=88)
        else:
            # Grey pictures are stored as grey, a third of the size.
            grey = image.convert("L")
            plain = grey if grey.convert("RGB").tobytes() == image.tobytes() else image
            plain.save(target / name, optimize=True)


if __name__ == "__main__":
    main()
