"""The table of a source's images: their class, patient and split, and the picture files of its rows (docs/heart.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aloe_bench.errors import DataError, did_you_mean
from aloe_bench.heart.problems import Leftovers, Problems
from aloe_bench.images import PICTURE_ENDINGS
from aloe_bench.joins import alike, join
from aloe_bench.tables import UserTable, as_text, fold, is_absent, read_table, whole_of
from aloe_bench.volumes import what_else

COLUMNS = ("image_id", "class", "patient_id", "split")
NAMES = ("labels.csv", "labels.tsv", "labels.jsonl", "labels.parquet")


@dataclass(frozen=True, slots=True)
class Label:
    """One row. `class_index` is None for an image without a class; `where` is "labels.csv:3"."""

    image_id: str
    class_index: int | None
    patient_id: str
    split: str
    where: str


def labels_file(root: Path) -> Path:
    """Return the one table of labels below `root`; raises DataError if there are several."""
    there = [root / name for name in NAMES if (root / name).exists()]
    if len(there) > 1:
        raise DataError(f"{root}: {' and '.join(path.name for path in there)} are both there; keep one.")
    return there[0] if there else root / NAMES[0]


def read_labels(path: Path, classes: Sequence[str], problems: Problems, left: Leftovers) -> list[Label]:
    """Return the sound rows of `path`; what is wrong with the others goes to `problems`.

    `classes` are those of the classification, empty if the dataset has none; a row gives one by index or by name.
    """
    if path.is_file() and path.stat().st_size == 0:
        problems.add(f"{path.name}:1", f"empty; expected the header {','.join(COLUMNS[:2])} and a row an image")
        return []
    table = read_table(path, ids=("image_id", "patient_id"))
    if not _check_header(table, problems):
        return []
    for fault in table.faults:
        problems.lines.append(fault.removeprefix(f"{path.parent}/"))
    left.notes += [note.removeprefix(f"{path.parent}/") for note in table.notes]
    labels: dict[str, Label] = {}
    names = _ClassNames(classes, problems)
    for row in table.rows:
        where = row.where.removeprefix(f"{path.parent}/")
        image_id = row.text("image_id")
        if wrong := id_fault(image_id):
            problems.add(where, wrong)
            continue
        index = names.index_of(row.cells["class"], where)
        if image_id in labels:
            there = labels[image_id].where
            problems.add(where, f"image_id {image_id!r} is already in {there}; keep one row an image")
            continue
        patient, split = ("" if is_absent(row.cells.get(name)) else row.text(name) for name in COLUMNS[2:])
        labels[image_id] = Label(image_id, index, patient, split, where)
    if names.by_name:
        meant = ", ".join(f"{name} = {classes[index]!r} ({index})" for name, index in sorted(names.by_name.items()))
        left.notes.append(f"{path.name}: classes by name: {meant}")
    for group in alike(labels):
        places = " and ".join(f"{name!r} ({labels[name].where})" for name in group)
        problems.add(path.name, f"image_ids {places} differ in case alone; names are compared whatever their case")
    for group in alike(label.patient_id for label in labels.values() if label.patient_id):
        problems.add(
            path.name, f"patient_ids {' and '.join(map(repr, group))} differ in case alone; one patient or two?"
        )
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
    if len(image_id.encode(errors="replace")) > 200:
        return f"image_id {image_id[:40]!r}... is longer than 200 bytes"
    return None


def _check_header(table: UserTable, problems: Problems) -> bool:
    missing = [name for name in COLUMNS[:2] if not table.has(name)]
    if missing:
        near = did_you_mean(missing[0], table.columns)
        found = ",".join(table.columns)
        problems.add(f"{table.path.name}:1", f"the header {found!r} lacks {' and '.join(missing)}.{near}")
    return not missing


class _ClassNames:
    """Says which class a cell means; `by_name` are the names met, as written, with the index of each."""

    def __init__(self, classes: Sequence[str], problems: Problems) -> None:
        self._classes, self._problems = classes, problems
        self._named = {fold(name): [n for n, other in enumerate(classes) if fold(other) == fold(name)]
                       for name in classes}  # fmt: skip
        self.by_name: dict[str, int] = {}

    def index_of(self, cell: object, where: str) -> int | None:
        """Return the index of the class that `cell` gives, None if it gives none or, which is told, not just one."""
        text, n_classes = as_text(cell), len(self._classes)
        named = self._named.get(fold(text), []) if text else []
        index = whole_of(cell)
        if is_absent(cell):
            if named:
                self._problems.add(
                    where,
                    f"class {text!r} may be the class of that name or no class; write {named[0]} or leave it empty",
                )
            return None
        if len(named) == 1 and index in (None, named[0]):
            if index is None:
                self.by_name[text] = named[0]
            return named[0]
        if named:
            may_be = " or ".join(str(n) for n in dict.fromkeys((*named, *([index] if index is not None else []))))
            self._problems.add(where, f"class {text!r} may be {may_be}; write the index of the class that is meant")
        elif n_classes == 0:
            self._problems.add(
                where, f"class {text}, but dataset.toml has no [classification]; add it or leave class empty"
            )
        elif index is None or index < 0:
            near = did_you_mean(text, self._classes)
            self._problems.add(
                where,
                f"class {text!r} is not a class index and no class's name; expected 0 to {n_classes - 1}, a name "
                f"of [classification] classes, or nothing if unknown.{near}",
            )
        elif index >= n_classes:
            self._problems.add(
                where, f"class {text} is out of range; [classification] has classes 0 to {n_classes - 1}"
            )
        else:
            return index
        return None


# What operating systems leave in folders.
_LITTER = ("thumbs.db", "desktop.ini", "icon\r", "__macosx")


class PictureFiles:
    """The files of `folder` by the id of the label they belong to.

    Those that belong to none go to `left`, as `what`; so does, with `asked`, each of these ids that has no file where
    others have one. `fault` says why the two cannot be joined, "" if they can.
    """

    def __init__(
        self, folder: Path, known: Sequence[str], what: str, left: Leftovers, asked: Sequence[str] = ()
    ) -> None:
        self._folder = folder
        self._paths, self._others = _by_stem(folder)
        joined = join(self._paths, known)
        self._of_id = {image_id: self._paths[stem] for stem, image_id in joined.pairs.items()}
        self.fault = joined.fault(f"files in {folder.name}/", "image_ids of the labels") if joined.unclear else ""
        if asked and self._paths and not joined.pairs:
            self.fault = joined.fault(f"files in {folder.name}/", "image_ids of the labels")
        left.respelled(joined, f"{folder.name}/", "the labels")
        for stem in joined.left_only:
            for path in self._paths[stem]:
                left.add(what, f"{folder.name}/{path.name}", "not in the labels: left out")
        for image_id in joined.right_only if self._paths else ():
            if image_id in asked:
                left.add("image", image_id, f"no {what} in {folder.name}/", task="detection")
        ids = {fold(image_id) for image_id in known}
        for path in self._others:
            if fold(_first_part(path.name)) not in ids:
                left.add("file", f"{folder.name}/{path.name}", "no picture: left out")

    def first(self, image_id: str) -> Path | None:
        """Return the first file of an image, None if it has none."""
        return next(iter(self._of_id.get(image_id, ())), None)

    def only(self, image_id: str, where: str, problems: Problems) -> Path | None:
        """Return the one file of an image; if there is none, or several, that goes to `problems`."""
        paths = self._of_id.get(image_id, [])
        if len(paths) == 1:
            return paths[0]
        if paths:
            problems.add(where, f"{' and '.join(p.name for p in paths)} are both in {self._folder.name}/; keep one")
            return None
        other = next((p for p in self._others if fold(_first_part(p.name)) == fold(image_id)), None)
        if other is not None:
            problems.add(where, f"{self._folder.name}/{other.name} is {_kind_of(other)}")
            return None
        stem = image_id.rpartition(".")[0]
        hint = f" images/{image_id} is there: write the id as {stem!r}." if stem in self._paths else ""
        near = "" if hint else did_you_mean(image_id, self._paths)
        expected = f"images/{image_id}.png, .jpg, .dcm or another known ending"
        problems.add(where, f"no picture of {image_id!r}; expected {expected}.{hint or near}")
        return None


def _kind_of(path: Path) -> str:
    """Return in words what a file is that has none of the endings of pictures."""
    if path.is_dir():
        return "a folder; expected one picture file"
    with path.open("rb") as file:
        head = file.read(4096)
    if head[128:132] == b"DICM":
        return f"DICOM without its ending; call it {path.name}.dcm"
    other = what_else(head, path.name)
    return other or f"no picture by its ending; expected {', '.join(PICTURE_ENDINGS)}"


def _by_stem(folder: Path) -> tuple[dict[str, list[Path]], list[Path]]:
    """Return the picture files of `folder` by their name without ending, and what else lies there."""
    found: dict[str, list[Path]] = {}
    others: list[Path] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith(".") or path.name.lower() in _LITTER:
            continue
        if path.suffix.lower() in PICTURE_ENDINGS and not path.is_dir():
            found.setdefault(path.name[: -len(path.suffix)], []).append(path)
        else:
            others.append(path)
    return found, others


def _first_part(name: str) -> str:
    """Return a file name without its ending, of two such as .nii.gz too."""
    stem = name.removesuffix(".gz")
    return stem.rpartition(".")[0] or stem
