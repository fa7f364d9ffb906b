"""A row of a source as a conversation, or the one thing that is wrong with it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from aloe_bench.errors import DataError
from aloe_bench.files import safe_name
from aloe_bench.images import file_image
from aloe_bench.joins import FolderNames
from aloe_bench.mixture.boxes import to_thousandths, written
from aloe_bench.mixture.source import SourceMapping
from aloe_bench.training.data.schema import Conversation, Part, Picture, Text, Turn

IMAGES = "images"
# First bytes of a picture -> the suffix that it is kept under when it was inside a table.
_KINDS = {b"\x89PNG": ".png", b"\xff\xd8": ".jpg", b"GIF8": ".gif", b"RIFF": ".webp", b"BM": ".bmp", b"II*": ".tiff"}


@dataclass(frozen=True, slots=True)
class Converter:
    """Rows of `mapping`, whose files lie in `root`, as conversations; pictures are named below images/<source>/.

    `keep` stores the bytes of a picture that was inside a table under a name; without it such a row is refused.
    `respelled` are the pictures so far whose files are called otherwise, in case or composition: place -> file name.
    """

    mapping: SourceMapping
    root: Path
    keep: Callable[[str, bytes], None] | None = None
    names: FolderNames = field(default_factory=FolderNames, repr=False, compare=False)
    respelled: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    def selected(self, row: Mapping[str, Any]) -> bool:
        """Return whether the row has the values that the mapping asks for."""
        return all(str(value_at(row, name)) in wanted for name, wanted in self.mapping.where.items())

    def row_id(self, row: Mapping[str, Any], file: str, number: int) -> str:
        """Return the row's id: the source and its own, or failing that its file and number."""
        own = value_at(row, self.mapping.fields.id) if self.mapping.fields.id else None
        if own is None or own == "":
            return f"{self.mapping.name}/{file}:{number}"
        return f"{self.mapping.name}/{own}"

    def conversation(self, row: Mapping[str, Any], name: str) -> Conversation:
        """Return the row as a conversation. Raises DataError saying what is wrong with it."""
        mapping = self.mapping
        pictures = self._pictures(row)
        turns = _pair(row, mapping) if mapping.turns.layout == "pair" else _listed(row, mapping)
        if mapping.boxes:
            turns = self._boxed(row, turns, pictures)
        shown = _interleaved(turns, pictures, mapping.pictures.mark)
        cluster = value_at(row, mapping.fields.cluster) if mapping.fields.cluster else None
        kin = str(cluster) if cluster not in (None, "") else (pictures[0] if pictures else name)
        tags = {ours: _tag(row, theirs) for ours, theirs in mapping.tags.items()}
        return Conversation(
            name, shown, mapping.name, f"{mapping.name}/{kin}", {key: text for key, text in tags.items() if text}
        )

    def _pictures(self, row: Mapping[str, Any]) -> list[str]:
        rule = self.mapping.pictures
        if not rule.field:
            return []
        found = value_at(row, rule.field)
        values = found if isinstance(found, list) else [] if found in (None, "") else [found]
        return [self._picture(value) for value in values]

    def _picture(self, value: Any) -> str:
        if isinstance(value, dict) and isinstance(value.get("bytes"), bytes):
            return self._stored(value["bytes"])
        if isinstance(value, dict):
            value = value.get("path", value.get("image", value.get("url")))
        if not isinstance(value, str) or not value:
            raise DataError(f"picture {value!r}; expected a path, or bytes.")
        rule = self.mapping.pictures
        path = PurePosixPath(value + rule.suffix)
        if path.is_absolute() or ".." in path.parts or "\0" in value or "\\" in value or "://" in value:
            raise DataError(f"picture path {value!r}; expected one inside the source's folder, relative to it.")
        places = [PurePosixPath(folder) / path for folder in rule.folders]
        there = [place for place in places if _is_file(self.root / place)]
        there = there or [alike for place in places if (alike := self._alike(place))]
        return (PurePosixPath(IMAGES) / self.mapping.name / (there or places)[0]).as_posix()

    def _alike(self, place: PurePosixPath) -> PurePosixPath | None:
        """Return the place of the file there whose name differs in case or composition alone, and note it."""
        name = self.names.same(self.root / place)
        if name is None:
            return None
        self.respelled[place.as_posix()] = name
        return place.with_name(name)

    def _stored(self, data: bytes) -> str:
        if self.keep is None:
            raise DataError("a picture's bytes inside the row, and nowhere to keep them.")
        kind = next((suffix for begin, suffix in _KINDS.items() if data.startswith(begin)), ".bin")
        name = f"{hashlib.sha256(data).hexdigest()}{kind}"
        self.keep(name, data)
        return f"{IMAGES}/{safe_name(self.mapping.name)}.inside/{name}"

    def _boxed(self, row: Mapping[str, Any], turns: list[Turn], pictures: Sequence[str]) -> list[Turn]:
        """Return the turns with their boxes as Qwen2-VL writes them."""
        rule = self.mapping.boxes
        if rule is None:
            return turns
        size = self._size(row, pictures) if rule.unit == "pixels" else None
        if rule.pattern:
            found = re.compile(rule.pattern)

            def rewritten(match: re.Match[str]) -> str:
                return written(to_thousandths([float(v) for v in match.groups()], rule.format, rule.unit, size))

            return _with_words(turns, lambda text: found.sub(rewritten, text))
        given = value_at(row, rule.field)
        boxes = [given] if isinstance(given, list) and given and not isinstance(given[0], list) else given or []
        marks = sum(part.text.count(rule.mark) for t in turns for part in t.parts if isinstance(part, Text))
        if marks != len(boxes):
            raise DataError(f"{marks} marks {rule.mark!r} for {len(boxes)} boxes.")
        waiting = iter(boxes)

        def filled(text: str) -> str:
            pieces = text.split(rule.mark)
            words = [written(to_thousandths(next(waiting), rule.format, rule.unit, size)) for _ in pieces[1:]]
            return pieces[0] + "".join(w + piece for w, piece in zip(words, pieces[1:], strict=True))

        return _with_words(turns, filled)

    def _size(self, row: Mapping[str, Any], pictures: Sequence[str]) -> tuple[int, int]:
        rule = self.mapping.boxes
        if rule and rule.width and rule.height:
            try:
                return int(value_at(row, rule.width)), int(value_at(row, rule.height))
            except (TypeError, ValueError) as error:
                raise DataError(f"{rule.width} and {rule.height} are not a picture's size ({error}).") from error
        if len(pictures) != 1:
            raise DataError(f"boxes in pixels and {len(pictures)} pictures; expected one, or width and height.")
        return file_image(self.root / PurePosixPath(pictures[0]).relative_to(f"{IMAGES}/{self.mapping.name}")).size


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have
        return False


def value_at(row: Mapping[str, Any], name: str) -> Any:
    """Return the field `name` of a row, or of an object in it ("meta.id"); None if there is none."""
    if name in row:
        return row[name]
    value: Any = row
    for key in name.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _pair(row: Mapping[str, Any], mapping: SourceMapping) -> list[Turn]:
    rule = mapping.turns
    question = rule.ask or _words(row, rule.question)
    found = value_at(row, rule.answer)
    key = str(found)
    if rule.answers and key not in rule.answers:
        raise DataError(f"{rule.answer} is {key!r}; the mapping has words for {', '.join(rule.answers)}.")
    answer = rule.answers[key] if rule.answers else _words(row, rule.answer)
    return [Turn("user", (Text(question),)), Turn("assistant", (Text(answer),))]


def _words(row: Mapping[str, Any], name: str) -> str:
    value = value_at(row, name)
    if isinstance(value, list) and value and all(isinstance(v, str) for v in value):
        value = value[0] if len(value) == 1 else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{name} is {value!r}; expected words.")
    return value


def _listed(row: Mapping[str, Any], mapping: SourceMapping) -> list[Turn]:
    rule = mapping.turns
    found = value_at(row, rule.turns)
    if not isinstance(found, list) or not found:
        raise DataError(f"{rule.turns} is {type(found).__name__}; expected a list of turns that is not empty.")
    roles = {**dict.fromkeys(rule.system, "system"), **dict.fromkeys(rule.user, "user")}
    roles |= dict.fromkeys(rule.assistant, "assistant")
    turns = []
    for number, each in enumerate(found, 1):
        role = roles.get(str(each.get(rule.role))) if isinstance(each, dict) else None
        if role is None:
            said = each.get(rule.role) if isinstance(each, dict) else each
            raise DataError(f"turn {number}: {rule.role} {said!r}; the mapping knows {', '.join(roles)}.")
        # `each` has a role, so it is a dict; and `roles` holds the three that a Turn may have.
        turns.append(Turn(role, tuple(_parts(each.get(rule.text), mapping, number))))  # type: ignore[arg-type]
    return turns


def _parts(value: Any, mapping: SourceMapping, number: int) -> list[Text]:
    """Return a turn's words; a part that is a picture becomes the mark of one."""
    if isinstance(value, str):
        return [Text(value)]
    if isinstance(value, list):
        texts = []
        for part in value:
            kind = part.get("type") if isinstance(part, dict) else None
            if kind == "text" and isinstance(part.get("text"), str):
                texts.append(part["text"])
            elif kind in ("image", "image_url"):
                texts.append(mapping.pictures.mark)
            else:
                raise DataError(f"turn {number}: part {str(part)[:80]!r} is neither text nor image.")
        return [Text("".join(texts))]
    raise DataError(f"turn {number}: {mapping.turns.text} is {type(value).__name__}; expected words.")


def _interleaved(turns: list[Turn], pictures: Sequence[str], mark: str) -> tuple[Turn, ...]:
    """Return the turns with each picture where its mark stands; without marks all stand before the first question."""
    marks = sum(part.text.count(mark) for t in turns for part in t.parts if isinstance(part, Text)) if mark else 0
    if marks not in (0, len(pictures)):
        raise DataError(f"{marks} marks {mark!r} for {len(pictures)} pictures.")
    if not marks:
        shown: tuple[Part, ...] = tuple(Picture(path) for path in pictures)
        first = next((i for i, turn in enumerate(turns) if turn.role == "user"), 0)
        return tuple(Turn(t.role, (*shown, *t.parts)) if i == first else t for i, t in enumerate(turns))
    waiting = map(Picture, pictures)
    return tuple(
        Turn(turn.role, tuple(chain.from_iterable(_split(p, mark, waiting) for p in turn.parts))) for turn in turns
    )


def _split(part: Part, mark: str, waiting: Any) -> list[Part]:
    if not isinstance(part, Text):
        return [part]
    first, *rest = part.text.split(mark)
    parts: list[Part] = [Text(first)] if first.strip() else []
    for piece in rest:
        parts.append(next(waiting))
        words = piece.removeprefix("\n")
        parts += [Text(words)] if words.strip() else []
    return parts


def _with_words(turns: list[Turn], change: Callable[[str], str]) -> list[Turn]:
    return [Turn(t.role, tuple(Text(change(p.text)) if isinstance(p, Text) else p for p in t.parts)) for t in turns]


def _tag(row: Mapping[str, Any], theirs: str) -> str:
    value = theirs[1:] if theirs.startswith("=") else value_at(row, theirs)
    return "" if value is None else " ".join(str(value).split())[:200]
