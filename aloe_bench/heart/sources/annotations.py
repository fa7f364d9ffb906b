"""The boxes of a source's images, from YOLO or COCO files, and what of them is left over."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aloe_bench.heart.problems import Problems, read_text
from aloe_bench.heart.sources.boxes import Annotation, BoxDesk, BoxReading
from aloe_bench.heart.sources.coco import CocoFile
from aloe_bench.heart.sources.leftovers import Leftovers
from aloe_bench.joins import join
from aloe_bench.tables import fold, whole_of


@dataclass(frozen=True, slots=True)
class BoxAnnotations:
    """The boxes of every image in file order; `sizes` are the (width, height) that COCO declares."""

    boxes: Mapping[str, tuple[Annotation, ...]] = field(default_factory=dict)
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def read_annotations(
    root: Path, ids: Sequence[str], asked: Sequence[str], reading: BoxReading, problems: Problems, left: Leftovers
) -> BoxAnnotations:
    """Return the boxes of the images `asked` below `root`; `ids` are all that the labels list, of other splits too.

    What is wrong goes to `problems`, what is left over to `left`.
    """
    yolo, coco = root / "annotations", root / "annotations.json"
    desk = BoxDesk(reading, problems, left)
    if yolo.is_dir() and coco.exists():
        problems.add("annotations", "both annotations/ and annotations.json are there; keep one")
        return BoxAnnotations()
    if coco.exists():
        boxes, sizes = CocoFile(coco, ids, asked, desk).read()
        return BoxAnnotations(_once(boxes, left), sizes)
    if not yolo.is_dir():
        problems.add("annotations", "[detection] is set, but neither annotations/ nor annotations.json is there")
        return BoxAnnotations()
    return BoxAnnotations(_once(_yolo_folder(yolo, ids, asked, desk), left))


def _once(boxes: Mapping[str, tuple[Annotation, ...]], left: Leftovers) -> dict[str, tuple[Annotation, ...]]:
    """Return the boxes without those that are there twice, which are one finding; each is told."""
    for image_id, found in boxes.items():
        for _ in range(len(found) - len(set(found))):
            left.add("box", image_id, "the same as another of its picture: counted once", task="detection")
    return {image_id: tuple(dict.fromkeys(found)) for image_id, found in boxes.items()}


def _yolo_folder(
    folder: Path, ids: Sequence[str], asked: Sequence[str], desk: BoxDesk
) -> dict[str, tuple[Annotation, ...]]:
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
    return {
        image_id: tuple(_yolo(files[name], image_id, desk))
        for name, image_id in joined.pairs.items()
        if image_id in wanted
    }


def _yolo(path: Path, image_id: str, desk: BoxDesk) -> Iterable[Annotation]:
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
        if max(cx, cy, w, h) > 2:
            said += ", which looks like pixels,"
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
