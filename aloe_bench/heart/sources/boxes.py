"""Annotated boxes in the numbers that exports give: what one is, or why it is none, and the boxes of YOLO files."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aloe_bench.heart.problems import Leftovers, Problems, read_text
from aloe_bench.joins import join
from aloe_bench.tables import fold, whole_of

# YOLO files are written with six decimals; half a pixel of a 512 px image is 0.001.
SLACK = 1e-3
MANY = 5  # boxes from which it is no accident that all are alike
CLIP = 0.05  # of `clip = true`: how far a box may stick out, as a share of the picture's side
Numbers = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Annotation:
    """One annotated box: corners as shares of width and height, in [0, 1], x1 < x2 and y1 < y2."""

    class_index: int
    x1: float
    y1: float
    x2: float
    y2: float

    def pixels(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Return the box in whole pixels of a picture of `size`, at least one pixel wide and high.

        Rounded, not cut off: six decimals of a YOLO file then give back the pixels they were made from.
        """
        width, height = size
        x1, y1 = min(round(self.x1 * width), width - 1), min(round(self.y1 * height), height - 1)
        return x1, y1, max(x1 + 1, round(self.x2 * width)), max(y1 + 1, round(self.y2 * height))


@dataclass(frozen=True, slots=True)
class BoxReading:
    """How boxes are taken: `classes` by index, how far one may stick out (`clip`, 0 for not at all), and whether those
    that COCO marks iscrowd are kept as findings."""

    classes: tuple[str, ...]
    clip: float = 0.0
    keep_crowd: bool = False


class BoxDesk:
    """Takes the boxes of one source; what is wrong with one goes to `problems`, what is cut or left out to `left`."""

    def __init__(self, reading: BoxReading, problems: Problems, left: Leftovers) -> None:
        self.reading, self.problems, self.left = reading, problems, left

    def corners(
        self, image_id: str, where: str, said: str, corners: tuple[float, float, float, float]
    ) -> tuple[float, float, float, float] | None:
        """Return the corners, as shares, inside the picture; None if the box cannot be used, which is then told.

        `said` is the box in its file's words.
        """
        x1, y1, x2, y2 = corners
        clip = self.reading.clip
        if not all(math.isfinite(c) for c in corners):
            self.problems.add(where, f"{said} holds a number that is not finite")
            return None
        if x2 <= x1 or y2 <= y1:
            if clip and x2 >= x1 and y2 >= y1:
                self.left.add("box", image_id, "without width or height: left out", task="detection")
            else:
                what = "negative width or height" if x2 < x1 or y2 < y1 else "no width or no height"
                self.problems.add(where, f"{said} is empty: {what}{_clip_hint(clip)}")
            return None
        out = max(0.0, -x1, -y1, x2 - 1, y2 - 1)
        if out > max(clip, SLACK):
            how = f"sticks out by {out:.1%} of the picture's side{f' (clip allows {clip:.1%})' if clip else ''}"
            self.problems.add(where, f"{said} is not inside the image: {how}{_clip_hint(clip)}")
            return None
        x1, y1, x2, y2 = (min(1.0, max(0.0, c)) for c in corners)
        if not (x1 < x2 and y1 < y2):
            self.problems.add(where, f"{said} is not inside the image: nothing of it is left")
            return None
        if out > SLACK:
            self.left.add("box", image_id, "sticking out: cut at the picture's border", task="detection")
        return x1, y1, x2, y2


def _clip_hint(clip: float) -> str:
    return "" if clip else f". `clip = true` in dataset.toml cuts up to {CLIP:.0%} and leaves empty boxes out"


def each_once(boxes: Mapping[str, tuple[Annotation, ...]], left: Leftovers) -> dict[str, tuple[Annotation, ...]]:
    """Return the boxes without those that are there twice, which are one finding; each is told."""
    for image_id, found in boxes.items():
        for _ in range(len(found) - len(set(found))):
            left.add("box", image_id, "the same as another of its picture: counted once", task="detection")
    return {image_id: tuple(dict.fromkeys(found)) for image_id, found in boxes.items()}


def yolo_folder(
    folder: Path, ids: Sequence[str], asked: Sequence[str], desk: BoxDesk
) -> dict[str, tuple[Annotation, ...]]:
    """Return the boxes of the images `asked` from the files in `folder`; `ids` are all that the labels list."""
    files = {path.name[:-4]: path for path in sorted(folder.iterdir()) if path.suffix.lower() == ".txt"}
    others = [path.name for path in sorted(folder.iterdir()) if path.suffix.lower() != ".txt"]
    for name in others:
        if not name.startswith("."):
            desk.left.add("file", f"annotations/{name}", "not a .txt file: left out", task="detection")
    joined = join(files, ids)
    fault = joined.fault("files in annotations/", "image_ids of the labels")
    if not joined.pairs and not fault:
        fault = "no image of labels.csv has a file there"
    if fault:
        desk.problems.add("annotations", f"{fault}; expected annotations/<image_id>.txt")
        return {}
    desk.left.respelled(joined, "annotations/", "the labels")
    for name in joined.left_only:
        desk.left.add("annotation file", f"{name}.txt", "not in the labels: left out", task="detection")
    for image_id in joined.right_only:
        if image_id in asked:
            desk.left.add("image", image_id, "no file in annotations/: taken as without boxes", task="detection")
    wanted = frozenset(asked)
    numbers: list[Numbers] = []
    boxes = {
        image_id: tuple(_yolo(files[name], image_id, desk, numbers))
        for name, image_id in joined.pairs.items()
        if image_id in wanted
    }
    if len(numbers) >= MANY and all(map(_are_corners, numbers)):
        desk.left.notes.append(
            f"annotations/: in all {len(numbers)} boxes the third number is over the first and the fourth over the "
            "second, as in corners x1 y1 x2 y2; they are read as cx cy w h. Look at --preview"
        )
    return boxes


def _are_corners(numbers: Numbers) -> bool:
    """Return whether four shares may be x1 y1 x2 y2. Of boxes in cx cy w h those of more than half a picture may."""
    x1, y1, x2, y2 = numbers
    return 0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1


def _yolo(path: Path, image_id: str, desk: BoxDesk, seen: list[Numbers]) -> Iterable[Annotation]:
    """Yield the boxes of a file; the four numbers of every line go to `seen`."""
    n_classes = len(desk.reading.classes)
    for number, line in enumerate(read_text(path, "a YOLO file").splitlines(), start=1):
        if not line.strip():
            continue
        where = f"annotations/{path.name}:{number}"
        fields = line.split()
        if len(fields) != 5:
            desk.problems.add(where, f"{len(fields)} fields{_kind_of(fields)}; expected class cx cy w h")
            continue
        index = whole_of(fields[0])
        if index is None or not 0 <= index < n_classes:
            named = [n for n, name in enumerate(desk.reading.classes) if fold(name) == fold(fields[0])]
            write = f"; write {named[0]}" if named else ""
            expected = f"0 to {n_classes - 1}" if n_classes > 1 else "0 alone (numbers begin at 0)"
            desk.problems.add(where, f"class {fields[0]!r} is not one of [detection] classes, {expected}{write}")
        try:
            cx, cy, w, h = map(float, fields[1:])
        except ValueError:
            said = " ".join(fields[1:])
            comma = ". Write decimal points, not commas" if re.fullmatch(r"[\d,. ]+", said) else ""
            desk.problems.add(where, f"{said!r} are not four numbers; expected cx cy w h in 0 to 1{comma}")
            continue
        said = f"the box {' '.join(fields[1:])} (shares of 0 to 1)"
        seen.append((cx, cy, w, h))
        if max(cx, cy, w, h) > 2:
            said += ", which looks like pixels,"
        elif _are_corners((cx, cy, w, h)):
            said += ", corners x1 y1 x2 y2 perhaps,"
        box = desk.corners(image_id, where, said, (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2))
        if box is not None and index is not None and 0 <= index < n_classes:
            yield Annotation(index, *box)


def _kind_of(fields: Sequence[str]) -> str:
    """Return in words what a YOLO line of another length is."""
    if fields[0].startswith("#"):
        return ", a comment, which these files cannot have"
    if len(fields) == 1 and "," in fields[0]:
        return ", separated by commas and not by spaces"
    if len(fields) == 6:
        return ", the sixth perhaps a confidence: a prediction, not an annotation"
    if len(fields) == 9:
        return ": four corners, of an oriented box or a polygon"
    if len(fields) > 6 and len(fields) % 2:
        return f": a polygon of {len(fields) // 2} points (segmentation)"
    return ""
