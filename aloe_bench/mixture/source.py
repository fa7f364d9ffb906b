"""What a source is made of: one TOML file that says where pictures, turns, boxes, ids and licence stand.

name = "slake"                   files = ["test.json"]        licence = "CC-BY-4.0"
modality = "multimodal"          domain = "medical"           seen_real_files = true
[fields]    id, cluster          fields of a row; a dot goes into an object: "meta.id"
[turns]     layout = "pair" (question, answer) or "list" (turns, role, text)
[pictures]  field, folders       where a row names its pictures, and the folders they lie in
[boxes]     field or pattern, format, unit
[tags]      ours = "theirs"      facts of a row worth keeping; "=X-ray" is the same for all rows
[where]     field = ["value"]    rows with another value are not selected
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from aloe_bench.checked import checked
from aloe_bench.errors import DataError, UsageError, did_you_mean

MAPPINGS = Path(__file__).parent / "mappings"
# What `data sniff` writes where it cannot tell; a mapping with it is refused.
UNDECIDED = "DECIDE"


@dataclass(frozen=True, slots=True)
class FieldRule:
    """Which fields identify a row; without `id` it is known by file and number, without `cluster` by its picture."""

    id: str = ""
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class TurnRule:
    """Where the words of a row are.

    "pair": a field `question`, or the same words `ask` for all rows, and a field `answer`; `answers` gives the words
    for its values. "list": a field `turns` of objects with `role` and `text`, which may be a list of parts.
    """

    layout: Literal["pair", "list"]
    question: str = ""
    ask: str = ""
    answer: str = ""
    answers: Mapping[str, str] = field(default_factory=dict)
    turns: str = ""
    role: str = "role"
    text: str = "content"
    system: tuple[str, ...] = ("system",)
    user: tuple[str, ...] = ("user", "human")
    assistant: tuple[str, ...] = ("assistant", "gpt")


@dataclass(frozen=True, slots=True)
class PictureRule:
    """Where pictures are named, and the folders, relative to the source's, in which they are looked for in order.

    A value is a path, an object with `path` or `bytes`, or a list of these; `suffix` is added to a path. `mark` stands
    in the words where a picture is shown; without any, pictures stand before the first question.
    """

    field: str = ""
    folders: tuple[str, ...] = (".",)
    suffix: str = ""
    mark: str = "<image>"


@dataclass(frozen=True, slots=True)
class BoxRule:
    """Where boxes are: in a `field`, put where `mark` stands in the words, or in the words, found by `pattern`.

    A pattern has four groups, the numbers in the order of `format`. Boxes in pixels need the picture's size: fields
    `width` and `height`, or the picture itself.
    """

    format: Literal["xyxy", "xywh", "cxcywh"]
    unit: Literal["pixels", "unit", "thousandths"]
    field: str = ""
    pattern: str = ""
    mark: str = "<box>"
    width: str = ""
    height: str = ""


@dataclass(frozen=True, slots=True)
class SourceMapping:
    """A source as its TOML file describes it. `rows` is the key of the list in a JSON file that is an object.

    `sample` keeps that many rows, drawn by the hash of their ids. `expected_rows` is what the source states; the card
    says whether it holds. `split_of` names the data set and split that the
    rows come from, as evaluation tasks name theirs.
    """

    name: str
    files: tuple[str, ...]
    modality: Literal["multimodal", "text"]
    domain: Literal["medical", "general"]
    turns: TurnRule
    fields: FieldRule = field(default_factory=FieldRule)
    pictures: PictureRule = field(default_factory=PictureRule)
    boxes: BoxRule | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rows: str = ""
    sample: int | None = None
    expected_rows: int | None = None
    licence: str = "unknown"
    homepage: str = ""
    split_of: str = ""
    root: str = ""
    notes: str = ""
    seen_real_files: bool = False


def shipped_mappings() -> list[str]:
    """Return the names of the mappings that come with the package."""
    return sorted(path.stem for path in MAPPINGS.glob("*.toml"))


def load_source(given: str) -> tuple[SourceMapping, Path]:
    """Return the mapping and the folder of `given`: FILE.toml, FILE.toml:FOLDER, or the name of a shipped one:FOLDER.

    A mapping file without a folder is of its own folder, or of its `root`.
    """
    name, _, folder = given.partition(":")
    file = Path(name)
    if file.suffix != ".toml":
        if not folder:
            raise UsageError(
                f"source {given!r}: expected FILE.toml, or {', '.join(shipped_mappings())} with the folder that the "
                f"files lie in, such as slake:FOLDER.{did_you_mean(name, shipped_mappings())}"
            )
        file = MAPPINGS / f"{name}.toml"
        if not file.is_file():
            raise UsageError(
                f"source {name!r}: no shipped mapping of this name.{did_you_mean(name, shipped_mappings())} "
                f"Known: {', '.join(shipped_mappings())}; `aloe-bench data sniff FILE` proposes one."
            )
    mapping = read_mapping(file)
    root = Path(folder) if folder else file.parent / mapping.root
    if not root.is_dir():
        raise DataError(f"source {mapping.name}: {root} is not a folder. Give the folder that its files lie in.")
    return mapping, root


def read_mapping(path: Path) -> SourceMapping:
    """Return the mapping of a TOML file. Raises DataError naming what is missing, unknown or undecided."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable as TOML ({error}).") from error
    if places := sorted(_undecided(table, "")):
        raise DataError(
            f"{path}: {', '.join(places)} still says {UNDECIDED!r}. Fill it in; the comments say with what."
        )
    mapping = checked(table, SourceMapping, str(path))
    if fault := _fault(mapping):
        raise DataError(f"{path}: {fault}")
    return mapping


def _undecided(value: Any, place: str) -> list[str]:
    if isinstance(value, dict):
        return [p for key, each in value.items() for p in _undecided(each, f"{place}.{key}" if place else key)]
    if isinstance(value, list):
        return [p for each in value for p in _undecided(each, place)]
    return [place] if value == UNDECIDED else []


def _fault(mapping: SourceMapping) -> str | None:
    turns = mapping.turns
    if not re.fullmatch(r"[\w.+-]{1,80}", mapping.name):
        return f"name {mapping.name!r}; expected letters, digits, _, ., + and - alone."
    if not mapping.files:
        return 'files is empty; expected patterns such as ["*.json"].'
    if turns.layout == "pair" and not (turns.answer and (turns.question or turns.ask)):
        return "[turns] of layout pair needs answer, and question or ask."
    if turns.layout == "list" and not turns.turns:
        return "[turns] of layout list needs turns, the field that holds the list."
    if mapping.modality == "text" and mapping.pictures.field:
        return "modality is text, but [pictures] names a field. Say multimodal, or leave it out."
    if mapping.boxes:
        if bool(mapping.boxes.field) == bool(mapping.boxes.pattern):
            return "[boxes] needs a field or a pattern, and not both."
        try:
            groups = re.compile(mapping.boxes.pattern).groups if mapping.boxes.pattern else 4
        except re.error as error:
            return f"[boxes] pattern is not a regular expression ({error})."
        if groups != 4:
            return f"[boxes] pattern has {groups} groups; expected 4, the numbers of a box."
    return None
