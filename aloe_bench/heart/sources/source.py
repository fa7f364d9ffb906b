"""A classification / detection dataset in a folder, as `attack --source` reads it (docs/heart.md)."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from aloe_bench.errors import DataError, did_you_mean
from aloe_bench.heart.draw.overlays import Rendering
from aloe_bench.heart.problems import LeftOver, Leftovers, Problems, read_text, toml_line
from aloe_bench.heart.sources.boxes import CLIP, Annotation, BoxDesk, BoxReading, each_once, yolo_folder
from aloe_bench.heart.sources.coco import CocoFile
from aloe_bench.heart.sources.labels import Label, PictureFiles, labels_file, read_labels
from aloe_bench.images import PICTURE_ENDINGS
from aloe_bench.joins import first_ten

TaskKind = Literal["classification", "detection"]
BoxNames = Literal["numbers", "colours"]
MAX_OPTIONS = 4  # the published table has the columns A to D
MAX_CLASS_LENGTH = 200

_TOP = (
    "name", "modality", "licence", "split", "window", "clip", "crowd",
    "classification", "detection", "prompt_forms", "rendering",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes of one task: `names` as options show them, `forms` as sentences do; at most `options` a question.

    Boxes are called "Box 1" or, with `box_names` "colours", "Orange box" (and carry no label then).
    """

    names: tuple[str, ...]
    forms: tuple[str, ...]
    options: int
    box_names: BoxNames = "numbers"


@dataclass(frozen=True, slots=True)
class OwnQuestion:
    """The picture's own question in place of a template's, and its options; `class_index` is the right one's place."""

    question: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SourceImage:
    """One listed picture. `declared_size` is what a COCO file says, to be held against the pixels.

    `asked` is its own question, where it brings one.
    """

    image_id: str
    path: Path
    class_index: int | None
    patient_id: str
    where: str
    boxes: tuple[Annotation, ...] = ()
    mask: Path | None = None
    declared_size: tuple[int, int] | None = None
    asked: OwnQuestion | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A validated dataset. `sha256` covers dataset.toml, the used labels and boxes, not the pixels.

    `left_over` is all that its files hold and that is not used, or not as it stands; `notes` say what was read in
    another spelling.
    """

    root: Path
    name: str
    modality: str
    licence: str
    split: str
    images: tuple[SourceImage, ...]
    classification: Classes | None
    detection: Classes | None
    window: tuple[float, float] | None
    rendering: Rendering
    sha256: str
    left_over: tuple[LeftOver, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def tasks(self) -> tuple[TaskKind, ...]:
        """Return what can be asked of it."""
        both: tuple[tuple[TaskKind, Classes | None], ...] = (
            ("classification", self.classification),
            ("detection", self.detection),
        )
        return tuple(task for task, classes in both if classes)


def load_source(root: Path) -> Source:
    """Return the dataset in `root`, its tables checked whole; pictures are listed, not yet decoded.

    Raises one DataError that names every broken line of dataset.toml, labels.csv and the annotations.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; `attack --new-source {root}` writes a template of a source.")
    problems = Problems()
    facts = _Facts(root / "dataset.toml", problems)
    name = facts.text("name", required=True)
    split = facts.text("split")
    forms = facts.forms()
    classification = facts.classes("classification", forms, least=2)
    detection = facts.classes("detection", forms, least=1)
    facts.check_forms(forms, classification, detection)
    window, rendering = facts.window(), facts.rendering()
    if classification is None and detection is None and not problems.lines:
        problems.add("dataset.toml:1", "neither [classification] nor [detection]; expected one or both")
    reading = facts.box_reading(detection.names if detection else ())
    problems.stop_if_any(str(root))
    left = Leftovers()
    every = read_labels(labels_file(root), classification.names if classification else (), problems, left)
    labels = _of_split(every, split, problems)
    if len(labels) < len(every):
        left.notes.append(f"{len(every) - len(labels)} images of the labels are of another split than {split!r}")
    images = _images(root, labels, every, reading if detection else None, problems, left)
    problems.stop_if_any(str(root))
    return Source(
        root=root,
        name=name,
        modality=facts.text("modality"),
        licence=facts.text("licence"),
        split=split,
        images=tuple(images),
        classification=classification,
        detection=detection,
        window=window,
        rendering=rendering,
        sha256=_digest(facts.source_text, images),
        left_over=tuple(sorted(left.entries)),
        notes=tuple(left.notes),
    )


class _Facts:
    """dataset.toml, key by key; every fault goes to `problems` with its line."""

    def __init__(self, path: Path, problems: Problems) -> None:
        self._problems = problems
        self.source_text = read_text(path, "the description of the dataset")
        try:
            self._tables = tomllib.loads(self.source_text)
        except tomllib.TOMLDecodeError as error:
            raise DataError(f"{path}: not readable as TOML ({error}).") from error
        for key in self._tables:
            if key not in _TOP:
                self._add("", key, f"unknown key {key!r}.{did_you_mean(key, _TOP)} Known: {', '.join(_TOP)}")

    def _add(self, table: str, key: str | None, message: str) -> None:
        line = toml_line(self.source_text, table, key)
        if not table and key in self._tables and isinstance(self._tables[key], dict):
            line = toml_line(self.source_text, str(key))
        self._problems.add(f"dataset.toml:{line}", message)

    def text(self, key: str, *, required: bool = False) -> str:
        value = self._tables.get(key, "")
        if not isinstance(value, str) or not value.isprintable() or len(value) > 200:
            self._add("", key, f"{key} = {value!r}; expected one line of text")
            return ""
        if required and not value.strip():
            self._add("", key, f"{key} is missing or empty; expected the dataset's short name")
        return value.strip()

    def _table(self, key: str) -> dict[str, Any] | None:
        value = self._tables.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            self._add("", key, f"{key} = {value!r}; expected a table [{key}]")
            return None
        return value

    def classes(self, task: TaskKind, forms: Mapping[str, str], least: int) -> Classes | None:
        table = self._table(task)
        if table is None:
            return None
        known = ("classes", "options") if task == "classification" else ("classes", "options", "box_names")
        for key in table:
            if key not in known:
                self._add(task, key, f"[{task}] has no key {key!r}.{did_you_mean(key, known)}")
        names = table.get("classes")
        if not (isinstance(names, list) and all(isinstance(n, str) for n in names)):
            self._add(task, "classes", f"[{task}] classes = {names!r}; expected a list of names in quotes")
            return None
        for name in names:
            self._check_name(task, name)
        folded = [name.strip().casefold() for name in names]
        for twice in sorted({name for name in folded if folded.count(name) > 1}):
            self._add(task, "classes", f"[{task}] classes holds {twice!r} twice; options must differ")
        if len(names) < least:
            why = "a question needs a wrong option" if task == "classification" else "a box needs a class"
            self._add(task, "classes", f"[{task}] has {len(names)} class; expected at least {least}, as {why}")
        options = table.get("options", MAX_OPTIONS)
        if isinstance(options, bool) or not isinstance(options, int) or not 2 <= options <= MAX_OPTIONS:
            self._add(task, "options", f"[{task}] options = {options!r}; expected 2 to {MAX_OPTIONS}")
            options = MAX_OPTIONS
        box_names = table.get("box_names", "numbers")
        if box_names not in get_args(BoxNames):
            expected = " or ".join(get_args(BoxNames))
            self._add(task, "box_names", f"[{task}] box_names = {box_names!r}; expected {expected}")
        names = tuple(name.strip() for name in names)
        options = min(options, len(names)) if task == "classification" else options
        return Classes(names, tuple(forms.get(name, name) for name in names), options, box_names)

    def _check_name(self, task: str, name: str) -> None:
        if not name.strip() or not name.isprintable() or len(name) > MAX_CLASS_LENGTH:
            expected = f"one line of 1 to {MAX_CLASS_LENGTH} characters"
            self._add(task, "classes", f"[{task}] class {name[:60]!r}: expected {expected}")

    def forms(self) -> dict[str, str]:
        table = self._table("prompt_forms") or {}
        for name, form in table.items():
            good = isinstance(form, str) and form.strip() and form.isprintable() and len(form) <= MAX_CLASS_LENGTH
            if not good:
                expected = f"one line of 1 to {MAX_CLASS_LENGTH} characters"
                self._add("prompt_forms", name, f"[prompt_forms] {name!r} = {form!r}; expected {expected}")
        return {name: form.strip() for name, form in table.items() if isinstance(form, str)}

    def check_forms(self, forms: Mapping[str, str], *tasks: Classes | None) -> None:
        known = [name for classes in tasks if classes for name in classes.names]
        for name in forms:
            if known and name not in known:
                self._add("prompt_forms", name, f"[prompt_forms] {name!r} is not a class.{did_you_mean(name, known)}")
        for classes in filter(None, tasks):
            said: dict[str, str] = {}
            for name, form in zip(classes.names, classes.forms, strict=True):
                other = said.setdefault(form.casefold(), name)
                if other != name:
                    why = f"[prompt_forms] {other!r} and {name!r} are both said as {form!r}; a false cue would be true"
                    self._add("prompt_forms", name if name in forms else other, why)

    def window(self) -> tuple[float, float] | None:
        value = self._tables.get("window")
        if value is None:
            return None
        if not (
            isinstance(value, list)
            and all(type(n) in (int, float) for n in value)
            and len(value) == 2
            and value[0] < value[1]
        ):
            self._add("", "window", f"window = {value!r}; expected [low, high] with low < high")
            return None
        return float(value[0]), float(value[1])

    def box_reading(self, classes: tuple[str, ...]) -> BoxReading:
        clip, crowd = self._tables.get("clip", False), self._tables.get("crowd", "drop")
        share = CLIP if clip is True else clip or 0.0
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share < 1:
            self._add(
                "", "clip", f"clip = {clip!r}; expected true ({CLIP:g}), or a share of the picture's side under 1"
            )
            share = 0.0
        if crowd not in ("keep", "drop"):
            self._add("", "crowd", f'crowd = {crowd!r}; expected "keep" or "drop"')
        return BoxReading(classes, float(share), crowd == "keep")

    def rendering(self) -> Rendering:
        table = self._table("rendering") or {}
        for key, value in table.items():
            try:
                Rendering.from_toml({key: value}, "")
            except DataError as error:
                self._add("rendering", key, str(error).removeprefix(": "))
        if self._problems.lines:
            return Rendering()
        try:
            return Rendering.from_toml(table, "")
        except DataError as error:  # two keys that do not go together
            self._add("rendering", None, str(error).removeprefix(": "))
            return Rendering()


def _of_split(labels: list[Label], split: str, problems: Problems) -> list[Label]:
    chosen = [label for label in labels if not split or label.split == split]
    if labels and not chosen:
        known = ", ".join(sorted({label.split or "(empty)" for label in labels}))
        problems.add("labels.csv:1", f"no image is of split {split!r}, which dataset.toml asks for; found: {known}")
    return chosen


def _images(
    root: Path,
    labels: Sequence[Label],
    every: Sequence[Label],
    reading: BoxReading | None,
    problems: Problems,
    left: Leftovers,
) -> list[SourceImage]:
    """Return the images of `labels`; `every` are those of other splits too, whose files are nobody's leftovers."""
    known, asked = [label.image_id for label in every], [label.image_id for label in labels]
    pictures = PictureFiles(root / "images", known, "picture", left)
    notes = _annotations(root, known, asked, reading, problems, left) if reading else None
    boxed = [image_id for image_id in asked if notes and notes.boxes.get(image_id)]
    masks = PictureFiles(root / "masks", known, "mask", left, boxed)
    for fault in (pictures.fault, masks.fault):
        if fault:
            problems.add("labels.csv", fault)
    images = []
    for label in labels:
        path = pictures.only(label.image_id, label.where, problems)
        if path is None:
            continue
        images.append(
            SourceImage(
                image_id=label.image_id,
                path=path,
                class_index=label.class_index,
                patient_id=label.patient_id,
                where=label.where,
                boxes=notes.boxes.get(label.image_id, ()) if notes else (),
                mask=masks.first(label.image_id),
                declared_size=notes.sizes.get(label.image_id) if notes else None,
            )
        )
    _tell_endings(images, notes.file_names if notes else {}, left)
    return images


def _tell_endings(images: Sequence[SourceImage], file_names: Mapping[str, str], left: Leftovers) -> None:
    """Note pictures that the boxes were drawn on under another ending: a copy in another format, or another picture."""
    there = {image.image_id: image.path.name for image in images if image.image_id in file_names}
    other = [
        f"{file_names[name]} = {file}"
        for name, file in there.items()
        if Path(file_names[name]).suffix.lower() in PICTURE_ENDINGS
        and Path(file_names[name]).suffix.lower() != Path(file).suffix.lower()
    ]
    if other:
        many = "1 picture is" if len(other) == 1 else f"{len(other)} pictures are"
        left.notes.append(f"annotations.json: {many} there under another ending than its file_name: {first_ten(other)}")


@dataclass(frozen=True, slots=True)
class _Annotations:
    """The boxes of every image in file order; of COCO its declared (width, height), and what its picture is called."""

    boxes: Mapping[str, tuple[Annotation, ...]] = field(default_factory=dict)
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    file_names: Mapping[str, str] = field(default_factory=dict)


def _annotations(
    root: Path, ids: Sequence[str], asked: Sequence[str], reading: BoxReading, problems: Problems, left: Leftovers
) -> _Annotations:
    """Return the boxes of the images `asked` below `root`; `ids` are all that the labels list, of other splits too.

    What is wrong goes to `problems`, what is left over to `left`.
    """
    yolo, coco = root / "annotations", root / "annotations.json"
    desk = BoxDesk(reading, problems, left)
    if yolo.is_dir() and coco.exists():
        problems.add("annotations", "both annotations/ and annotations.json are there; keep one")
        return _Annotations()
    if coco.exists():
        file = CocoFile(coco, ids, asked, desk)
        boxes, sizes = file.read()
        return _Annotations(each_once(boxes, left), sizes, file.file_names)
    if not yolo.is_dir():
        problems.add("annotations", "[detection] is set, but neither annotations/ nor annotations.json is there")
        return _Annotations()
    return _Annotations(each_once(yolo_folder(yolo, ids, asked, desk), left))


def _digest(toml: str, images: Iterable[SourceImage]) -> str:
    """Return a hash of what the tables say about the used images, whatever order they stand in."""
    lines = sorted(
        repr((i.image_id, i.class_index, i.patient_id, [(b.class_index, b.x1, b.y1, b.x2, b.y2) for b in i.boxes]))
        for i in images
    )
    return hashlib.sha256("\n".join([toml, *lines]).encode()).hexdigest()
