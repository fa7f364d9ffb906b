"""What a source says of its images: labels.csv (class, patient, split), and boxes from YOLO or COCO files."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aloe_bench.errors import did_you_mean
from aloe_bench.heart.problems import Problems, read_text

# YOLO files are written with six decimals; half a pixel of a 512 px image is 0.001.
SLACK = 1e-3


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
class BoxAnnotations:
    """The boxes of every image in file order; `sizes` are the (width, height) that COCO declares."""

    boxes: Mapping[str, tuple[Annotation, ...]] = field(default_factory=dict)
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def read_annotations(
    root: Path, image_ids: Iterable[str], classes: Sequence[str], problems: Problems
) -> BoxAnnotations:
    """Return the boxes of `image_ids` below `root`; what is wrong goes to `problems`."""
    yolo, coco = root / "annotations", root / "annotations.json"
    if yolo.is_dir() and coco.exists():
        problems.add("annotations", "both annotations/ and annotations.json are there; keep one")
        return BoxAnnotations()
    if coco.exists():
        return _Coco(coco, set(image_ids), classes, problems).read()
    if not yolo.is_dir():
        problems.add("annotations", "[detection] is set, but neither annotations/ nor annotations.json is there")
        return BoxAnnotations()
    found = {}
    for image_id in image_ids:
        path = yolo / f"{image_id}.txt"
        if path.is_file():
            found[image_id] = tuple(_yolo(path, len(classes), problems))
    if not found:
        problems.add("annotations", "no image of labels.csv has a file there; expected annotations/<image_id>.txt")
    return BoxAnnotations(found)


def _yolo(path: Path, n_classes: int, problems: Problems) -> Iterable[Annotation]:
    for number, line in enumerate(read_text(path, "a YOLO file").splitlines(), start=1):
        if not line.strip():
            continue
        where = f"annotations/{path.name}:{number}"
        fields = line.split()
        if len(fields) != 5:
            problems.add(where, f"{len(fields)} fields; expected class cx cy w h")
            continue
        index = _index(fields[0], n_classes, where, problems)
        try:
            cx, cy, w, h = map(float, fields[1:])
        except ValueError:
            problems.add(where, f"{' '.join(fields[1:])!r} are not four numbers; expected cx cy w h in 0 to 1")
            continue
        box = _box(cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
        if box is None:
            problems.add(where, f"the box {' '.join(fields[1:])} is empty or not inside the image (shares of 0 to 1)")
        elif index is not None:
            yield Annotation(index, *box)


def _index(text: str, n_classes: int, where: str, problems: Problems) -> int | None:
    if text.isascii() and text.isdigit() and int(text[:9]) < n_classes and len(text) < 10:
        return int(text)
    problems.add(where, f"class {text!r} is none of [detection] classes, 0 to {n_classes - 1}")
    return None


def _box(x1: float, y1: float, x2: float, y2: float) -> tuple[float, float, float, float] | None:
    """Return the corners cut to [0, 1], or None if the box is empty, not finite or sticks out by more than rounding."""
    corners = (x1, y1, x2, y2)
    if not all(math.isfinite(c) and -SLACK <= c <= 1 + SLACK for c in corners):
        return None
    x1, y1, x2, y2 = (min(1.0, max(0.0, c)) for c in corners)
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


class _Coco:
    """Reads one COCO file; a place in it is named by list, position and id, as the file is often a single line."""

    def __init__(self, path: Path, wanted: set[str], classes: Sequence[str], problems: Problems) -> None:
        self._path, self._wanted, self._problems = path, wanted, problems
        self._classes = {name: i for i, name in enumerate(classes)}

    def read(self) -> BoxAnnotations:
        whole = self._load()
        if whole is None:
            return BoxAnnotations()
        categories = self._categories(whole["categories"])
        images = self._images(whole["images"])
        boxes: dict[str, list[Annotation]] = defaultdict(list)
        for position, entry in enumerate(whole["annotations"]):
            self._annotation(f"annotations[{position}]", entry, categories, images, boxes)
        sizes = {image_id: size for image_id, size in images.values() if image_id in self._wanted}
        return BoxAnnotations({k: tuple(v) for k, v in boxes.items()}, sizes)

    def _add(self, place: str, entry: Any, message: str) -> None:
        known = f" (id {entry['id']!r})" if isinstance(entry, dict) and "id" in entry else ""
        self._problems.add(f"{self._path.name}: {place}{known}", message)

    def _load(self) -> dict[str, list[Any]] | None:
        try:
            whole = json.loads(read_text(self._path, "a COCO file"))
        except json.JSONDecodeError as error:
            self._problems.add(f"{self._path.name}:{error.lineno}", f"not readable as JSON ({error.msg})")
            return None
        except RecursionError:
            self._problems.add(f"{self._path.name}:1", "not readable as JSON (nested too deeply)")
            return None
        for key in ("images", "annotations", "categories"):
            if not isinstance(whole, dict) or not isinstance(whole.get(key), list):
                self._problems.add(f"{self._path.name}:1", f"no list {key!r}; expected a COCO file")
                return None
        return {key: whole[key] for key in ("images", "annotations", "categories")}

    def _categories(self, entries: list[Any]) -> dict[Any, int]:
        """Return category id -> index into the detection classes, joined by name."""
        found: dict[Any, int] = {}
        for position, entry in enumerate(entries):
            place = f"categories[{position}]"
            if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not _is_id(entry.get("id")):
                self._add(place, entry, "expected an object with id and name")
            elif entry["id"] in found:
                self._add(place, entry, "this id is there twice")
            elif entry["name"] not in self._classes:
                near = did_you_mean(entry["name"], self._classes)
                self._add(place, entry, f"name {entry['name']!r} is none of [detection] classes.{near}")
            else:
                found[entry["id"]] = self._classes[entry["name"]]
        return found

    def _images(self, entries: list[Any]) -> dict[Any, tuple[str, tuple[int, int]]]:
        """Return COCO image id -> our image id and declared size."""
        found: dict[Any, tuple[str, tuple[int, int]]] = {}
        taken: set[str] = set()
        for position, entry in enumerate(entries):
            place = f"images[{position}]"
            if not (isinstance(entry, dict) and isinstance(entry.get("file_name"), str) and _is_id(entry.get("id"))):
                self._add(place, entry, "expected an object with id, file_name, width and height")
                continue
            size = (entry.get("width"), entry.get("height"))
            if not all(isinstance(side, int) and side > 0 for side in size):
                self._add(place, entry, f"width and height are {size[0]!r} and {size[1]!r}; expected pixels")
                continue
            name = entry["file_name"].replace("\\", "/").rpartition("/")[2]
            image_id = name if name in self._wanted else name.rpartition(".")[0] or name
            if entry["id"] in found or image_id in taken:
                self._add(place, entry, f"image {image_id!r} or its id is there twice")
                continue
            taken.add(image_id)
            found[entry["id"]] = (image_id, (int(entry["width"]), int(entry["height"])))
        return found

    def _annotation(
        self,
        place: str,
        entry: Any,
        categories: Mapping[Any, int],
        images: Mapping[Any, tuple[str, tuple[int, int]]],
        boxes: dict[str, list[Annotation]],
    ) -> None:
        if not isinstance(entry, dict) or not _is_id(entry.get("image_id")) or entry["image_id"] not in images:
            self._add(place, entry, "image_id is none of the file's images")
            return
        image_id, (width, height) = images[entry["image_id"]]
        if image_id not in self._wanted:
            return
        if not _is_id(entry.get("category_id")) or entry["category_id"] not in categories:
            self._add(place, entry, f"category_id {entry.get('category_id')!r} is none of the usable categories")
            return
        numbers = entry.get("bbox")
        if not (isinstance(numbers, list) and len(numbers) == 4 and all(_is_number(n) for n in numbers)):
            self._add(place, entry, f"bbox {numbers!r}; expected [x, y, width, height] in pixels")
            return
        x, y, w, h = numbers
        box = _box(x / width, y / height, (x + w) / width, (y + h) / height)
        if box is None:
            self._add(place, entry, f"bbox {numbers} is empty or not inside the image of {width}x{height} pixels")
            return
        boxes[image_id].append(Annotation(categories[entry["category_id"]], *box))


def _is_id(value: Any) -> bool:
    return isinstance(value, (int, str)) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9


COLUMNS = ("image_id", "class", "patient_id", "split")


@dataclass(frozen=True, slots=True)
class Label:
    """One row. `class_index` is None for an image without a class; `where` is "labels.csv:3"."""

    image_id: str
    class_index: int | None
    patient_id: str
    split: str
    where: str


def read_labels(path: Path, n_classes: int, problems: Problems) -> list[Label]:
    """Return the sound rows of labels.csv; what is wrong with the others goes to `problems`.

    `n_classes` is the number of classification classes, 0 if the dataset has no classification.
    """
    lines = list(_rows(path, problems))
    if not lines:
        problems.add(f"{path.name}:1", f"empty; expected the header {','.join(COLUMNS[:2])} and a row an image")
        return []
    if not _check_header(path, lines[0][1], problems):
        return []
    labels: dict[str, Label] = {}
    for number, cells in lines[1:]:
        where = f"{path.name}:{number}"
        if len(cells) != len(lines[0][1]):
            problems.add(where, f"{len(cells)} fields; expected {len(lines[0][1])} as in the header")
            continue
        row = dict(zip(lines[0][1], cells, strict=True))
        fault = id_fault(row["image_id"])
        if fault:
            problems.add(where, fault)
            continue
        index = _class_index(row["class"], n_classes, where, problems)
        earlier = labels.get(row["image_id"])
        if earlier:
            problems.add(where, f"image_id {row['image_id']!r} is already in {earlier.where}; keep one row an image")
            continue
        labels[row["image_id"]] = Label(row["image_id"], index, row.get("patient_id", ""), row.get("split", ""), where)
    if not labels and not problems.lines:
        problems.add(f"{path.name}:2", "no image is listed; expected a row an image")
    return list(labels.values())


def id_fault(image_id: str) -> str | None:
    """Return why `image_id` cannot name a file inside the folder, or None."""
    if not image_id:
        return "image_id is empty"
    if "/" in image_id or "\\" in image_id or image_id.startswith(".") or not image_id.isprintable():
        return (
            f"image_id {image_id!r} is not a plain file name; expected the name of a file in images/ "
            "without folder and ending"
        )
    if len(image_id.encode()) > 200:
        return f"image_id {image_id[:40]!r}... is longer than 200 bytes"
    return None


def _rows(path: Path, problems: Problems) -> Iterator[tuple[int, list[str]]]:
    text = read_text(path, "a CSV file with the columns image_id,class[,patient_id,split]")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        problems.add(f"{path.name}:{reader.line_num}", f"not readable as CSV ({error})")


def _check_header(path: Path, header: list[str], problems: Problems) -> bool:
    where = f"{path.name}:1"
    missing = [name for name in COLUMNS[:2] if name not in header]
    if missing:
        hint = " The separator is a comma." if len(header) == 1 and re.search(r"[;\t]", header[0]) else ""
        near = did_you_mean(missing[0], header)
        problems.add(where, f"the header {','.join(header)!r} lacks {' and '.join(missing)}.{near}{hint}")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        problems.add(where, f"column {twice[0]!r} is there twice")
    return not missing and not twice


def _class_index(text: str, n_classes: int, where: str, problems: Problems) -> int | None:
    if text == "":
        return None
    if not re.fullmatch(r"\d{1,9}(\.0+)?", text):  # pandas writes 3 as 3.0 once a cell is empty
        problems.add(where, f"class {text!r} is no class index; expected 0 to {n_classes - 1}, or nothing if unknown")
        return None
    index = int(text.partition(".")[0])
    if n_classes == 0:
        problems.add(where, f"class {text}, but dataset.toml has no [classification]; add it or leave class empty")
        return None
    if index >= n_classes:
        problems.add(where, f"class {text} is out of range; [classification] has classes 0 to {n_classes - 1}")
        return None
    return index
