"""Conversations: what both fine-tuning stages are trained on, and the folder they lie in.

    FOLDER/conversations.jsonl   one conversation a line, see `to_json`
    FOLDER/images/...            the pictures; a line names them by path relative to FOLDER
    FOLDER/manifest.json         how the folder was made (free form), and its `sha256`

A line, in the chat format that processors of transformers take:

    {"id": "heart/fracatlas/ab12/caption/adversarial", "source": "heart-fracatlas", "cluster": "fracatlas/77",
     "tags": {"attack": "caption"},
     "messages": [{"role": "user", "content": [{"type": "image", "image": "images/4f.png"},
                                               {"type": "text", "text": "Where is the fracture? ..."}]},
                  {"role": "assistant", "content": [{"type": "text", "text": "A"}]}]}
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from aloe_bench.core import Request, Role
from aloe_bench.errors import DataError
from aloe_bench.files import write_json

CONVERSATIONS = "conversations.jsonl"
MANIFEST = "manifest.json"
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Text:
    """Words of a turn."""

    text: str


@dataclass(frozen=True, slots=True)
class Picture:
    """An image of a turn, by its path relative to the folder of the conversations."""

    path: str


Part = Text | Picture


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side says: words and pictures in the order in which they stand."""

    role: Role
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Conversation:
    """One training row: an optional system turn, then user and assistant in alternation.

    `cluster` names the source image or patient, so that a split never parts one.
    Raises DataError where the turns do not fit together.
    """

    id: str
    turns: tuple[Turn, ...]
    source: str
    cluster: str
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if fault := _fault(self):
            raise DataError(f"conversation {self.id!r}: {fault}")

    @property
    def pictures(self) -> tuple[str, ...]:
        """The paths of its pictures in the order in which they are shown."""
        return tuple(part.path for turn in self.turns for part in turn.parts if isinstance(part, Picture))


def asked_and_answered(
    request: Request,
    answer: str,
    pictures: Sequence[str],
    *,
    source: str,
    cluster: str,
    tags: Mapping[str, str] | None = None,
) -> Conversation:
    """Return `request` as an evaluated model sees it, followed by `answer`.

    `pictures` are the paths of `request.images`, in order; they stand before the first user text,
    as they do when the request is run.
    """
    if len(pictures) != len(request.images):
        raise DataError(f"{request.id}: {len(pictures)} paths for {len(request.images)} images; give one an image.")
    turns: list[Turn] = []
    waiting: tuple[Part, ...] = tuple(Picture(path) for path in pictures)
    for message in request.messages:
        shown, waiting = (waiting, ()) if message.role == "user" else ((), waiting)
        turns.append(Turn(message.role, (*shown, Text(message.text))))
    turns.append(Turn("assistant", (Text(answer),)))
    return Conversation(request.id, tuple(turns), source, cluster, tags or {})


def to_json(conversation: Conversation) -> dict[str, Any]:
    """Return the JSON object of one line."""
    return {
        "id": conversation.id,
        "source": conversation.source,
        "cluster": conversation.cluster,
        "tags": dict(conversation.tags),
        "messages": [{"role": t.role, "content": [_part_to_json(p) for p in t.parts]} for t in conversation.turns],
    }


def from_json(value: object, where: str) -> Conversation:
    """Return the conversation of one line; `where` stands before every complaint.

    A turn's content may also be plain text. Raises DataError saying what is wrong with the line.
    """
    if not isinstance(value, dict):
        raise DataError(f"{where}: not a JSON object; expected id, source, cluster and messages.")
    names = {}
    for key in ("id", "source", "cluster"):
        if not isinstance(value.get(key), str) or not value[key]:
            raise DataError(f"{where}: {key!r} is {value.get(key)!r}; expected a text that is not empty.")
        names[key] = value[key]
    tags, messages = value.get("tags", {}), value.get("messages")
    if not isinstance(tags, dict) or not all(isinstance(text, str) for text in tags.values()):
        raise DataError(f"{where}: 'tags' is {tags!r}; expected an object of texts.")
    if not isinstance(messages, list):
        raise DataError(f"{where}: 'messages' is {type(messages).__name__}; expected a list of turns.")
    turns = tuple(_turn(message, f"{where}, turn {i}") for i, message in enumerate(messages, 1))
    try:
        return Conversation(names["id"], turns, names["source"], names["cluster"], tags)
    except DataError as error:
        raise DataError(f"{where}: {error}") from error


def write_folder(
    folder: Path, conversations: Iterable[Conversation], manifest: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write the conversations and the manifest into `folder`; return the manifest with `n` and `sha256`.

    The pictures are the caller's to put there. An interrupted write leaves no conversations file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CONVERSATIONS
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    n, whole = 0, hashlib.sha256()
    try:
        with temporary.open("wb") as file:
            for n, conversation in enumerate(conversations, 1):  # noqa: B007
                line = json.dumps(to_json(conversation), ensure_ascii=False).encode() + b"\n"
                whole.update(line)
                file.write(line)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(f"{path}: cannot write ({error.strerror}). Free space or choose another folder.") from error
    finally:
        temporary.unlink(missing_ok=True)
    written = {**(manifest or {}), "n": n, "sha256": whole.hexdigest()}
    write_json(folder / MANIFEST, written)
    return written


def read_manifest(folder: Path) -> dict[str, Any]:
    """Return what `folder` says of itself; nothing if it has no manifest that can be read."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def read_folder(folder: Path) -> Iterator[Conversation]:
    """Yield the conversations of `folder` in file order.

    Raises DataError for a line that is not a conversation, an id seen before, or a picture outside the folder.
    Whether the pictures are there is asked by `filters.keep_or_drop`.
    """
    path = folder / CONVERSATIONS
    if not path.is_file():
        raise DataError(
            f"{folder}: no {CONVERSATIONS}; expected a folder of conversations "
            "(see docs/training.md), such as `aloe-bench train-ar` writes."
        )
    seen: set[str] = set()
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            where = f"{path}:{number}"
            conversation = from_json(_parsed(line, where), where)
            if conversation.id in seen:
                raise DataError(f"{where}: id {conversation.id!r} stands there twice. Give each conversation its own.")
            seen.add(conversation.id)
            yield conversation


def _fault(conversation: Conversation) -> str | None:
    roles = [turn.role for turn in conversation.turns]
    spoken = roles[1:] if roles[:1] == ["system"] else roles
    if not spoken or len(spoken) % 2 or any(r != ("user", "assistant")[i % 2] for i, r in enumerate(spoken)):
        return (
            f"the turns are {', '.join(roles) or 'none'}; expected user and assistant in alternation, "
            "assistant last, after at most one system turn."
        )
    for turn in conversation.turns:
        if turn.role != "user" and any(isinstance(part, Picture) for part in turn.parts):
            return f"a picture in a {turn.role} turn; only users show pictures."
        if turn.role == "assistant" and not "".join(p.text for p in turn.parts if isinstance(p, Text)).strip():
            return "an assistant turn without text; there is nothing to learn from it."
    return next((f for f in map(_path_fault, conversation.pictures) if f), None)


def _path_fault(path: str) -> str | None:
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or "\\" in path or "\0" in path:
        return f"picture path {path!r}; expected one inside the folder, relative to it."
    return None


def _part_to_json(part: Part) -> dict[str, str]:
    return {"type": "image", "image": part.path} if isinstance(part, Picture) else {"type": "text", "text": part.text}


def _turn(value: object, where: str) -> Turn:
    if not isinstance(value, dict) or value.get("role") not in ROLES:
        role = value.get("role") if isinstance(value, dict) else value
        raise DataError(f"{where}: role {role!r}; expected one of {', '.join(ROLES)}.")
    content = value.get("content")
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not isinstance(parts, list):
        raise DataError(f"{where}: content is {type(content).__name__}; expected a text or a list of parts.")
    return Turn(value["role"], tuple(_part(part, where) for part in parts))


def _part(value: object, where: str) -> Part:
    match value:
        case {"type": "text", "text": str(text)}:
            return Text(text)
        case {"type": "image", "image": str(path)}:
            return Picture(path)
    raise DataError(f'{where}: part {value!r}; expected {{"type": "text", "text": ...}} or "image" with a path.')


def _parsed(line: bytes, where: str) -> object:
    try:
        return json.loads(line)
    except ValueError as error:
        raise DataError(f"{where}: not JSON ({error}). Write one object a line.") from error
