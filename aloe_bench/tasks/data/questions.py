"""Questions of a user's own file: every row a sample or a fault, and all faults of the file at once."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aloe_bench.core import LETTERS, Absent, ImageRef, Kind, Sample
from aloe_bench.errors import DataError
from aloe_bench.images import PICTURE_ENDINGS, FileImage
from aloe_bench.joins import FolderNames, first_ten
from aloe_bench.tables import UserRow, UserTable, as_text, fold, is_absent, read_table
from aloe_bench.tasks.data.rows import NoImageError, image_of

LEAST_OPTIONS, MOST_OPTIONS, MOST_IMAGES = 2, len(LETTERS), 9
IMAGE_COLUMNS = ("image", "images", *(f"image_{n}" for n in range(2, MOST_IMAGES + 1)))
KNOWN = ("id", "question", "answer", "options", "cluster", "tags", *IMAGE_COLUMNS)
# What others call our columns; as a tag, such a column would be lost without a word.
OTHER_NAMES = {
    **dict.fromkeys(
        ("img", "image_path", "image_file", "picture", "pictures", "file", "filename", "file_name"), "image"
    ),
    **dict.fromkeys(("choices", "option", "op1", "opa", "option_a", "choice_a"), "options"),
    **dict.fromkeys(("label", "target", "gold", "correct", "correct_answer"), "answer"),
}
PATIENTS = ("patient", "patient_id", "patientid", "study", "study_id", "case", "case_id", "subject_id")
YES_NO = {"yes": "yes", "no": "no", "true": "yes", "false": "no"}
ABSENT_GROUP = "pictures"


@dataclass(slots=True)
class Questions:
    """What a file holds, row by row in its order; `tags` are its columns of tags, `notes` what was read in another way.

    `left_over` are the pictures beside those of the rows that no row names. A row whose picture is not there is Absent.
    Nothing may be asked of a file with `faults`.
    """

    path: Path
    rows: list[Sample | Absent] = field(default_factory=list)
    tags: tuple[str, ...] = ()
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_over: list[str] = field(default_factory=list)

    def stop_if_faulty(self) -> None:
        """Raise one DataError with every fault, a line each."""
        if self.faults:
            many = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
            lines = "\n".join(f"  {fault}" for fault in self.faults)
            raise DataError(f"{self.path}: {many}; nothing was asked. Correct the file and run again.\n{lines}")


def read_questions(path: Path, kind: Kind, prefix: str) -> Questions:
    """Return the questions of `path`, ids of samples beginning with `prefix`; raises DataError if it is not a table."""
    table = read_table(path, needed=("question", "answer"), ids=("id",))
    found = Questions(path, faults=list(table.faults), notes=list(table.notes))
    reader = _QuestionReader(table, kind, prefix, found)
    found.tags = reader.tags
    if not table.rows and not found.faults:
        raise DataError(f"{path}: no rows; expected a question a row. `aloe-bench data template` writes an example.")
    for row in table.rows:
        reader.take(row)
    reader.tell_left_over()
    return found


def guessed_kind(path: Path) -> Kind:
    """Return the kind of question that the columns and answers of a file say."""
    table = read_table(path, needed=("question", "answer"))
    if table.has("options") or _option_columns(table.columns):
        return "choice"
    return "yes_no" if all(_yes_no(row) for row in table.rows) else "open"


def _yes_no(row: UserRow) -> str:
    return YES_NO.get(row.text("answer").casefold(), "")


def _option_columns(columns: Sequence[str]) -> list[str]:
    """Return the columns A, B, C ... of options, without gaps from A on."""
    folded = set(map(fold, columns))
    letters = [letter.lower() for letter in LETTERS]
    return [letter for n, letter in enumerate(letters) if all(each in folded for each in letters[: n + 1])]


class _QuestionReader:
    """Turns the rows of one table into samples; every fault goes to `found` with its place."""

    def __init__(self, table: UserTable, kind: Kind, prefix: str, found: Questions) -> None:
        self._table, self._kind, self._prefix, self._found = table, kind, prefix, found
        self._seen: dict[str, tuple[str, str]] = {}
        self._contents: dict[str, str] = {}
        self._pictures: dict[str, ImageRef] = {}
        self._lacking: dict[str, Path] = {}
        self._beside = FolderNames()
        self._letters = _option_columns(table.columns) if kind == "choice" else []
        self._check_columns()
        used = {*KNOWN, *self._letters}
        self.tags = tuple(name for name in table.columns if fold(name) not in used)

    def _check_columns(self) -> None:
        """Note what is wrong with the columns as a whole."""
        where, folded = f"{self._table.path}:1", [fold(name) for name in self._table.columns]
        by_list = "options" in folded
        if self._kind == "choice" and by_list == bool(self._letters):
            both = "both a column options and columns A, B" if by_list else "neither a column options nor columns A, B"
            self._fault(where, f"{both} ...; expected one of them")
        if self._kind != "choice" and by_list:
            self._fault(where, f"a column options, and {_name(self._kind)} questions have none; run it as mcq:FILE")
        if len(self._letters) == MOST_OPTIONS and {"aa", "option 27", "27"} & set(folded):
            self._fault(where, f"more than {MOST_OPTIONS} columns of options; expected A to Z at most")
        for name in self._table.columns:
            if fold(name) not in (*KNOWN, *self._letters):
                self._check_tag(where, name, folded)

    def _check_tag(self, where: str, name: str, folded: Sequence[str]) -> None:
        """Note a column that would be a tag, and is hardly meant as one."""
        near = difflib.get_close_matches(fold(name), KNOWN, n=1, cutoff=0.8)
        meant = OTHER_NAMES.get(fold(name), near[0] if near else "")
        there = {*folded, *(["options"] if self._letters else []), *(["image"] if "images" in folded else [])}
        if self._kind == "choice" and self._letters and len(name) == 1 and fold(name).upper() in LETTERS:
            self._fault(where, f"a column {name}, and none {LETTERS[len(self._letters)]} before it")
        elif meant and meant not in there and not (meant == "options" and self._kind != "choice"):
            self._fault(where, f"column {name!r} is not known; is it {meant}? Call it so, or give the tag another name")
        elif fold(name) in PATIENTS and "cluster" not in folded:
            self._found.notes.append(f"column {name!r} is a tag; call it cluster if its rows are to count as one")

    def _fault(self, where: str, message: str) -> None:
        self._found.faults.append(f"{where}: {message}")

    def take(self, row: UserRow) -> None:
        """Add the sample of one row, or its faults."""
        before = len(self._found.faults)
        question, answer = row.text("question"), row.text("answer")
        if not question:
            self._fault(row.where, "question is empty")
        if not answer:
            self._fault(row.where, "answer is empty")
        choices = self._choices(row)
        target = self._target(row, answer, choices) if answer else ""
        images, lacking = self._images(row)
        tags = self._tags(row)
        name = self._id(row, [question, target, *choices, *(image.sha256 for image in images)])
        if len(self._found.faults) > before:
            return
        if lacking:
            self._found.rows.append(Absent(name, ABSENT_GROUP, lacking))
            return
        given = "" if is_absent(row.cells.get("cluster")) else row.text("cluster")
        cluster = given or (images[0].sha256 if images else name)
        if choices and all(text.startswith((f"{at}. ", f"{at}) ")) for at, text in zip(LETTERS, choices, strict=False)):
            self._found.notes.append(f"{row.where}: the options begin with their letters, which stand there twice then")
        self._found.rows.append(Sample(name, self._kind, question, target, cluster, images, choices, tags=tags))

    def _id(self, row: UserRow, content: Sequence[str]) -> str:
        """Return the row's id, or without a column of ids the hash of what it holds; each only once."""
        given = row.text("id")
        if self._table.has("id") and not given:
            self._fault(row.where, "id is empty; give every row one, or leave the column out")
        digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
        name = given or digest
        if given and digest in self._contents:
            self._found.notes.append(f"{row.where}: the same question, answer and pictures as {self._contents[digest]}")
        self._contents.setdefault(digest, row.where)
        if fold(name) in self._seen:
            other, where = self._seen[fold(name)]
            what = f"id {name!r} is" if given else "the same question, answer and pictures are"
            alike = "" if other == name else f", as {other!r}: they differ in case or accents' form alone"
            self._fault(row.where, f"{what} also in {where}{alike}; every row needs its own id")
        self._seen[fold(name)] = (name, row.where)
        return f"{self._prefix}/{name}"

    def _choices(self, row: UserRow) -> tuple[str, ...]:
        if self._kind != "choice":
            return ()
        if self._letters:
            texts = [row.text(letter) for letter in self._letters]
            while texts and not texts[-1]:
                texts.pop()
        else:
            listed = _listed(row.cells.get("options"))
            if listed is None:
                self._fault(row.where, f"options {_short(row.cells.get('options'))}; expected a list of texts")
                return ()
            texts = [as_text(each) for each in listed]
        if not LEAST_OPTIONS <= len(texts) <= MOST_OPTIONS:
            self._fault(row.where, f"{len(texts)} options; expected {LEAST_OPTIONS} to {MOST_OPTIONS}")
        for letter, text in zip(LETTERS, texts, strict=False):
            if not text:
                self._fault(row.where, f"option {letter} is empty, and a later one is not")
        folded = [fold(" ".join(text.split())) for text in texts]
        for n, text in enumerate(folded):
            if text and folded.index(text) < n:
                first, second = texts[folded.index(text)], texts[n]
                alike = f"are both {first!r}" if first == second else f"({first!r}, {second!r}) differ in case alone"
                self._fault(row.where, f"options {LETTERS[folded.index(text)]} and {_letter(n)} {alike}")
        return tuple(texts)

    def _target(self, row: UserRow, answer: str, choices: Sequence[str]) -> str:
        """Return the letter, the yes or no, or the reference; an option is named by its letter or its text."""
        if self._kind == "open":
            return answer
        if self._kind == "yes_no":
            if not _yes_no(row):
                self._fault(row.where, f"answer {_short(answer)} is neither yes nor no")
            return _yes_no(row)
        letters = LETTERS[: len(choices)]
        named = [letter for letter, text in zip(letters, choices, strict=False) if text == answer]
        by_letter = [answer.upper()] if len(answer) == 1 and answer.upper() in letters else []
        either = sorted({*named, *by_letter})
        if len(either) == 1:
            return either[0]
        if len(choices) and either:
            self._fault(
                row.where, f"answer {answer!r} is a letter, and the text of option {named[0]}; change that text"
            )
        elif len(choices):
            last = _letter(len(choices) - 1)
            self._fault(row.where, f"answer {_short(answer)} is not one of A to {last}, nor the text of an option")
        return ""

    def _images(self, row: UserRow) -> tuple[tuple[ImageRef, ...], str]:
        """Return the row's pictures, and what of them is not there."""
        images, lacking = list[ImageRef](), ""
        for column in IMAGE_COLUMNS:
            for value in _pictures(row.cells.get(column)):
                if isinstance(value, str) and value.startswith(("http://", "https://")):
                    self._fault(row.where, f"{column} is a web address, and nothing is fetched; save the picture here")
                    continue
                try:
                    images.append(self._image(value, f"{row.where}: {column}"))
                except NoImageError as error:
                    lacking = lacking or f"{row.where}: {error.path}"
                except DataError as error:
                    self._found.faults.append(str(error))
        return tuple(images), lacking

    def _image(self, value: Any, where: str) -> ImageRef:
        """Return one picture; one that many rows name is read once."""
        if not isinstance(value, str):
            return image_of(value, where, self._table.path.parent)
        if re.fullmatch(r"[^/]{1,1000}\.\w{2,5}", value):
            value = value.replace("\\", "/")  # as Windows writes paths
        if value not in self._pictures:
            self._pictures[value] = self._found_image(value, where)
        return self._pictures[value]

    def _found_image(self, value: str, where: str) -> ImageRef:
        """Return the picture at `value`, or the one beside that place whose name differs in case or composition."""
        folder = self._table.path.parent
        try:
            return image_of(value, where, folder)
        except NoImageError as error:
            try:
                name = self._beside.same(error.path)
            except DataError as unclear:
                raise DataError(f"{where}: {unclear}") from None
            if name is None:
                self._lacking.setdefault(where, error.path)
                raise
            self._found.notes.append(f"{where}: {value!r} is {name!r}: the names differ in case or composition")
            return image_of(str((error.path.parent / name).relative_to(folder)), where, folder)

    def tell_left_over(self) -> None:
        """Note the pictures that lie in the folders of those that rows name, and that no row names."""
        used = {_plain(image.path) for image in self._pictures.values() if isinstance(image, FileImage)}
        named = {*used, *map(_plain, self._lacking.values())}
        for folder in sorted({path.parent for path in named if path.parent.is_dir()}):
            there = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in PICTURE_ENDINGS]
            if left := [path.name for path in there if path not in used]:
                many = "1 picture" if len(left) == 1 else f"{len(left)} pictures"
                self._found.notes.append(f"{folder}: {many} that no row names: {first_ten(left)}")
                root = _plain(self._table.path.parent)
                self._found.left_over += [Path(os.path.relpath(folder / name, root)).as_posix() for name in left]
        shown = self._pictures or any(isinstance(row, Sample) and row.images for row in self._found.rows)
        if self._lacking and not shown:
            where, path = next(iter(self._lacking.items()))
            many = "the picture" if len(self._lacking) == 1 else f"all {len(self._lacking)} pictures"
            self._fault(where, f"{path} is not there, and neither is any other that a row names: {many} lacking")

    def _tags(self, row: UserRow) -> dict[str, str]:
        inside = row.cells.get("tags")
        if isinstance(inside, str) and inside:
            inside = _json(inside)
        if inside not in (None, "") and not isinstance(inside, Mapping):
            self._fault(
                row.where, f"tags {_short(row.cells.get('tags'))}; expected an object, such as {{'organ': 'lung'}}"
            )
            inside = None
        more = {str(name): as_text(value) for name, value in (inside or {}).items()}
        return {name: row.text(name) for name in self.tags} | more


def _plain(path: Path) -> Path:
    return Path(os.path.normpath(path))  # a linked picture stays where it is


def _letter(n: int) -> str:
    return LETTERS[n] if n < len(LETTERS) else f"number {n + 1}"


def _name(kind: Kind) -> str:
    return {"choice": "multiple-choice", "yes_no": "yes/no", "open": "open"}[kind]


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _listed(value: Any) -> list[Any] | None:
    """Return a cell that holds a list, as such or as JSON; None if it is none."""
    value = _json(value) if isinstance(value, str) else value
    plain = isinstance(value, list) and not any(isinstance(each, list | dict) for each in value)
    return value if plain else None


def _pictures(value: Any) -> list[Any]:
    """Return the pictures that a cell names: one, a list of them, or that list written as JSON."""
    if value is None or value == "":
        return []
    if isinstance(value, str) and re.match(r"\s*\[", value):
        value = _json(value)
    return value if isinstance(value, list) else [value]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
