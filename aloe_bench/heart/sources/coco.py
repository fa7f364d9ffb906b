"""Boxes from a COCO file, as exports write it; its places are named by list, position and id: it is often one line."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aloe_bench.errors import did_you_mean
from aloe_bench.heart.problems import Leftovers, Problems, read_text
from aloe_bench.heart.sources.boxes import MANY, Annotation, BoxDesk
from aloe_bench.joins import Joined, first_ten, join
from aloe_bench.tables import fold, whole_of

CROWD = "iscrowd (a group region, not one finding): its picture gives no detection item"
# Also of Open Images and of exports with regions that no detector is scored on.
_GROUP_KEYS = ("iscrowd", "is_crowd", "isgroupof", "is_group_of", "ignore")
Sized = tuple[str, tuple[int, int]]


class CocoFile:
    """Reads one COCO file for the images `ids`, of which those in `asked` are used.

    `file_names` are what it calls their pictures, by id, once it is read.
    """

    def __init__(self, path: Path, ids: Sequence[str], asked: Sequence[str], desk: BoxDesk) -> None:
        self._path, self._desk = path, desk
        self._ids, self._asked = list(ids), frozenset(asked)
        self._folded = {fold(image_id) for image_id in ids}
        self._classes = {name: i for i, name in enumerate(desk.reading.classes)}
        self._unknown: dict[Any, tuple[int, dict[str, Any]]] = {}  # categories of no detection class
        self._used: set[Any] = set()  # those of them that boxes have
        self._called: dict[str, str] = {}  # what an image is called with its ending, by the name it is joined by
        self.file_names: dict[str, str] = {}

    @property
    def _problems(self) -> Problems:
        return self._desk.problems

    @property
    def _left(self) -> Leftovers:
        return self._desk.left

    def read(self) -> tuple[dict[str, tuple[Annotation, ...]], dict[str, tuple[int, int]]]:
        """Return the boxes and the declared (width, height) of every image of the source, by its id."""
        whole = self._load()
        if whole is None:
            return {}, {}
        images = self._images(whole["images"])
        joined = join([name for name, _ in images.values()], self._ids)
        if fault := joined.fault(f"images of {self._path.name}", "image_ids of the labels"):
            self._problems.add(self._path.name, fault)
            return {}, {}
        self._left.respelled(joined, self._path.name, "the labels")
        self.file_names = {image_id: self._called[name] for name, image_id in joined.pairs.items()}
        categories = self._categories(whole["categories"])
        boxes: dict[str, list[Annotation]] = defaultdict(list)
        lost: Counter[str] = Counter()
        crowded: dict[str, int] = {}
        for position, entry in enumerate(whole["annotations"]):
            place = f"annotations[{position}]"
            if not isinstance(entry, dict) or not _is_id(entry.get("image_id")) or entry["image_id"] not in images:
                asked = entry.get("image_id") if isinstance(entry, dict) else None
                near = next((known for known in images if str(known) == str(asked)), None)
                hint = f"; {near!r} is: write number and text alike" if near is not None else ""
                self._add(place, entry, f"image_id is not one of the file's images{hint}")
                continue
            name, size = images[entry["image_id"]]
            image_id = joined.pairs.get(name)
            if image_id is None:
                lost[name] += 1
            elif image_id in self._asked:
                self._annotation(place, entry, categories, image_id, size, boxes, crowded)
        self._tell_categories()
        self._tell(joined, lost, crowded)
        self._tell_percent(boxes, {joined.pairs[n]: size for n, size in images.values() if n in joined.pairs})
        if crowded and not boxes.keys() - crowded.keys():
            self._problems.add(
                self._path.name,
                f"every picture with a box has one marked iscrowd ({sum(crowded.values())}): nothing is left. If your "
                'exporter marks single findings so (some do for masks), set crowd = "keep" in dataset.toml',
            )
        for image_id in crowded:
            for _ in boxes.pop(image_id, ()):
                self._left.add("box", image_id, "beside a group region: left out", task="detection")
        sizes = {joined.pairs[name]: size for name, size in images.values() if joined.pairs.get(name) in self._asked}
        return {image_id: tuple(found) for image_id, found in boxes.items()}, sizes

    def _tell_percent(self, boxes: Mapping[str, Sequence[Annotation]], sizes: Mapping[str, tuple[int, int]]) -> None:
        """Note boxes that would all be inside if they were in percent, of pictures that are larger by far."""
        sized = [(box, sizes[image_id]) for image_id, found in boxes.items() for box in found]
        within = all(box.x2 * size[0] <= 100 and box.y2 * size[1] <= 100 for box, size in sized)
        if len(sized) >= MANY and within and all(min(size) >= 200 for _, size in sized):
            self._left.notes.append(
                f"{self._path.name}: all {len(sized)} boxes lie in the first 100 pixels of larger pictures; "
                "if they are in percent, write pixels"
            )

    def _tell_categories(self) -> None:
        for category, (position, entry) in self._unknown.items():
            if category in self._used:
                near = did_you_mean(entry["name"], self._classes)
                known = "is not one of [detection] classes"
                self._add(f"categories[{position}]", entry, f"name {entry['name']!r} {known}, and boxes have it.{near}")
            else:
                self._left.add("category", entry["name"], f"of {self._path.name}, and no box has it", task="detection")

    def _tell(self, joined: Joined, lost: Mapping[str, int], crowded: Mapping[str, int]) -> None:
        """Note the images of either side that the other has not, and the boxes that went with them."""
        for name in joined.left_only:
            boxes = f" with {lost[name]} box{'es' if lost[name] > 1 else ''}" if lost[name] else ""
            self._left.add("annotated image", name, f"not in the labels{boxes}: left out", task="detection")
        for image_id in joined.right_only:
            if image_id in self._asked:
                self._left.add("image", image_id, f"not in {self._path.name}: taken as without boxes", task="detection")
        for image_id, n in crowded.items():
            for _ in range(n):
                self._left.add("box", image_id, f"marked {CROWD}", task="detection")

    def _add(self, place: str, entry: Any, message: str) -> None:
        known = f" (id {entry['id']!r})" if isinstance(entry, dict) and "id" in entry else ""
        self._problems.add(f"{self._path.name}: {place}{known}", message)

    def _load(self) -> dict[str, list[Any]] | None:
        where = f"{self._path.name}:1"
        try:
            whole = json.loads(read_text(self._path, "a COCO file"))
        except json.JSONDecodeError as error:
            self._problems.add(f"{self._path.name}:{error.lineno}", f"not readable as JSON ({error.msg})")
            return None
        except (RecursionError, ValueError) as error:
            why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            self._problems.add(where, f"not readable as JSON ({why})")
            return None
        if isinstance(whole, list) and whole and isinstance(whole[0], dict) and "score" in whole[0]:
            self._problems.add(where, "a list of predictions with scores (COCO results); expected annotations")
            return None
        for key in ("images", "annotations", "categories"):
            if not isinstance(whole, dict) or not isinstance(whole.get(key), list):
                self._problems.add(where, f"no list {key!r}; expected a COCO file")
                return None
        return {key: whole[key] for key in ("images", "annotations", "categories")}

    def _categories(self, entries: list[Any]) -> dict[Any, int]:
        """Return category id -> index into the detection classes, joined by name; ids may have gaps.

        A category of no such class is refused if boxes have it, and told if none has (a background, a group's name).
        """
        found: dict[Any, int] = {}
        for position, entry in enumerate(entries):
            place = f"categories[{position}]"
            if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not _is_id(entry.get("id")):
                self._add(place, entry, "expected an object with id and name")
            elif entry["id"] in found or entry["id"] in self._unknown:
                self._add(place, entry, "this id is there twice")
            elif entry["name"] in self._classes:
                found[entry["id"]] = self._classes[entry["name"]]
            else:
                self._unknown[entry["id"]] = (position, entry)
        for name, index in self._classes.items():
            if index not in found.values():
                self._left.add("class", name, f"no category of {self._path.name} has this name", task="detection")
        return found

    def _images(self, entries: list[Any]) -> dict[Any, Sized]:
        """Return COCO image id -> the name it goes by in the labels, and declared size."""
        found: dict[Any, Sized] = {}
        taken: set[str] = set()
        addresses: list[str] = []
        for position, entry in enumerate(entries):
            place = f"images[{position}]"
            if not (isinstance(entry, dict) and isinstance(entry.get("file_name"), str) and _is_id(entry.get("id"))):
                self._add(place, entry, "expected an object with id, file_name, width and height")
                continue
            size = tuple(whole_of(entry.get(side)) or 0 for side in ("width", "height"))
            if not all(0 < side < 2**31 for side in size):
                sides = f"{entry.get('width')!r} and {entry.get('height')!r}"
                self._add(place, entry, f"width and height are {sides}; expected pixels")
                continue
            name = entry["file_name"].replace("\\", "/").rpartition("/")[2]
            called, name = name, name if fold(name) in self._folded else name.rpartition(".")[0] or name
            if entry["id"] in found or fold(name) in taken:
                self._add(place, entry, f"image {name!r} or its id is there twice")
                continue
            taken.add(fold(name))
            if "://" in entry["file_name"] or "?" in entry["file_name"]:
                addresses.append(f"{entry['file_name']} = {called}")
            self._called[name] = called
            found[entry["id"]] = (name, (size[0], size[1]))
        if addresses:
            many = "1 file_name is an address" if len(addresses) == 1 else f"{len(addresses)} file_names are addresses"
            self._left.notes.append(
                f"{self._path.name}: {many}, of which the last part is taken as a name: {first_ten(addresses)}"
            )
        return found

    def _annotation(
        self,
        place: str,
        entry: dict[str, Any],
        categories: Mapping[Any, int],
        image_id: str,
        size: tuple[int, int],
        boxes: dict[str, list[Annotation]],
        crowded: dict[str, int],
    ) -> None:
        category = entry.get("category_id")
        if _is_id(category) and category in self._unknown:
            self._used.add(category)
            return
        if not _is_id(category) or category not in categories:
            self._add(place, entry, f"category_id {category!r} is not one of the usable categories")
            return
        if _is_group(entry) and not self._desk.reading.keep_crowd:
            crowded[image_id] = crowded.get(image_id, 0) + 1
            return
        numbers = entry.get("bbox")
        if not (isinstance(numbers, list) and len(numbers) == 4 and all(_is_number(n) for n in numbers)):
            self._add(place, entry, f"bbox {numbers!r}; expected [x, y, width, height] in pixels{_outline(entry)}")
            return
        x, y, w, h = numbers
        width, height = size
        said = f"bbox {numbers} of an image of {width}x{height} pixels"
        if "score" in entry:
            self._left.notes.append(f"{self._path.name}: {place} has a score: a prediction, taken as an annotation")
        if x < w <= width and y < h <= height and (x + w > width * 1.01 or y + h > height * 1.01):
            said += " (corners instead of [x, y, width, height]?)"
        if x + w <= 1 and y + h <= 1 and min(size) > 1:
            self._add(place, entry, f"{said} lies in the first pixel: shares of 0 to 1? Expected pixels")
            return
        other = _outline_says(entry, (x, y, x + w, y + h))
        if other == CORNERS:
            self._add(place, entry, f"{said} {other}")
            return
        if other:
            self._left.add("box", image_id, other, task="detection")
        corners = (x / width, y / height, (x + w) / width, (y + h) / height)
        found = self._desk.corners(image_id, f"{self._path.name}: {place}{_id_of(entry)}", said, corners)
        if found is not None:
            boxes[image_id].append(Annotation(categories[category], *found))


CORNERS = "has corners where [x, y, width, height] is expected, by its polygon or area; write width and height"


def _id_of(entry: dict[str, Any]) -> str:
    return f" (id {entry['id']!r})" if "id" in entry else ""


def _outline(entry: Mapping[str, Any]) -> str:
    """Return in words which other outline an annotation has."""
    outline = entry.get("segmentation")
    if isinstance(outline, dict):
        return ". Its segmentation is RLE, a mask; write its box"
    return ". Its segmentation is a polygon; write its box" if isinstance(outline, list) and outline else ""


def _outline_says(entry: Mapping[str, Any], box: tuple[float, float, float, float]) -> str:
    """Return in words what the polygon of an annotation, or failing that its area, says against `box`; "" if nothing.

    `box` is (left, top, right, bottom) in pixels, of a bbox read as [x, y, width, height].
    """
    x, y, right, bottom = box
    corners = (x, y, right - x, bottom - y)  # what the four numbers are if they are corners
    outline = entry.get("segmentation")
    parts = outline if isinstance(outline, list) else []
    flat = [n for part in parts if isinstance(part, list) for n in part]
    if len(flat) >= 6 and len(flat) % 2 == 0 and all(map(_is_number, flat)):
        bounds = (min(flat[::2]), min(flat[1::2]), max(flat[::2]), max(flat[1::2]))
        if _near(bounds, corners) and not _near(bounds, box):
            return CORNERS
        apart = bounds[0] > right or bounds[2] < x or bounds[1] > bottom or bounds[3] < y
        return "whose polygon lies elsewhere: taken as its bbox says" if apart else ""
    area = entry.get("area")
    inside = (corners[2] - x) * (corners[3] - y)
    told = _is_number(area) and area == inside > 0 and area != (right - x) * (bottom - y)
    return CORNERS if told and corners[2] > x else ""


def _near(one: Sequence[float], other: Sequence[float]) -> bool:
    """Return whether two boxes are the same to two pixels, as rounding and one-based exports leave them."""
    return all(abs(a - b) <= 2 for a, b in zip(one, other, strict=True))


def _is_group(entry: Mapping[str, Any]) -> bool:
    """Return whether an annotation says that it is not a single finding."""
    inside = entry.get("attributes")  # where CVAT and others put what their users mark
    every = [*entry.items(), *(inside.items() if isinstance(inside, dict) else ())]
    marks = [value for key, value in every if str(key).lower() in _GROUP_KEYS]
    return any(str(mark).strip().lower() not in ("", "none", "0", "0.0", "false", "no") for mark in marks)


def _is_id(value: Any) -> bool:
    return isinstance(value, (int, str)) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9
