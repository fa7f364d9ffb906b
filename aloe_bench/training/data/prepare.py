"""A folder of conversations, checked and measured once, as rows that training reads without loading them all."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from aloe_bench.errors import DataError
from aloe_bench.files import write_atomic, write_json
from aloe_bench.training.data.filters import (
    ConversationEncoder,
    DroppedConversation,
    Kept,
    Limits,
    PictureChecks,
    keep_or_drop,
)
from aloe_bench.training.data.schema import CONVERSATIONS, Conversation, read_folder, to_json

ROWS = "rows.arrow"
PREPARED = "prepared.json"
DROPPED = "dropped.csv"
_BATCH = 256


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the rows of a folder come to.

    `sha256` is over the conversations file and the content of every picture; `dropped` counts by reason.
    `longest` is the largest number of tokens of a kept conversation.
    """

    n: int
    dropped: dict[str, int]
    tokens: int
    loss_tokens: int
    image_tokens: int
    longest: int
    sha256: str
    seen: str


def prepare(
    data: Path, target: Path, encoder: ConversationEncoder, limits: Limits, settings: dict[str, Any]
) -> Prepared:
    """Write the rows of `data` that keep to `limits` into `target`; return what they come to.

    Rows made before are used again if the conversations, the size and time of every picture, the
    limits and `settings` (of the processor) are the same. Raises DataError if nothing is left.
    """
    seen = _glance(data, {"limits": asdict(limits), **settings})
    if (made := _made_before(target)) is not None and made.seen == seen:
        return made
    target.mkdir(parents=True, exist_ok=True)
    (target / PREPARED).unlink(missing_ok=True)
    pictures, tally = PictureChecks(data), _Tally()
    _write_rows(target / ROWS, tally.kept(_judged(data, pictures, encoder, limits)))
    write_atomic(target / DROPPED, tally.dropped_csv())
    if not tally.n:
        reasons = ", ".join(f"{count} {reason}" for reason, count in tally.reasons.items()) or "the file is empty"
        raise DataError(f"{data}: no conversation is left to train on ({reasons}). See {target / DROPPED}.")
    made = Prepared(
        tally.n, dict(tally.reasons), tally.tokens, tally.loss_tokens, tally.image_tokens, tally.longest,
        _content(data, pictures), seen,
    )  # fmt: skip
    write_json(target / PREPARED, asdict(made))
    return made


class _Tally:
    """Sums over kept and dropped conversations as they pass."""

    def __init__(self) -> None:
        self.n = self.tokens = self.loss_tokens = self.image_tokens = self.longest = 0
        self.reasons: Counter[str] = Counter()
        self.drops: list[DroppedConversation] = []

    def kept(self, judged: Iterator[Kept | DroppedConversation]) -> Iterator[Kept]:
        for found in judged:
            if isinstance(found, DroppedConversation):
                self.reasons[found.reason] += 1
                self.drops.append(found)
                continue
            self.n += 1
            self.tokens += found.tokens
            self.loss_tokens += found.loss_tokens
            self.image_tokens += found.image_tokens
            self.longest = max(self.longest, found.tokens)
            yield found

    def dropped_csv(self) -> str:
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([("id", "reason", "detail"), *((d.id, d.reason, d.detail) for d in self.drops)])
        return file.getvalue()


def _judged(
    data: Path, pictures: PictureChecks, encoder: ConversationEncoder, limits: Limits
) -> Iterator[Kept | DroppedConversation]:
    conversations = read_folder(data)
    while batch := list(islice(conversations, _BATCH)):
        yield from keep_or_drop(batch, pictures, encoder, limits)


def _write_rows(path: Path, kept: Iterator[Kept]) -> None:
    import pyarrow as pa

    schema = pa.schema([("id", pa.string()), ("images", pa.list_(pa.string())), ("line", pa.string())])
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with pa.OSFile(str(temporary), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
            while batch := [_row(found.conversation) for found in islice(kept, 4 * _BATCH)]:
                writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=schema))
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(f"{path}: cannot write ({error.strerror or error}). Free space and run it again.") from error
    finally:
        temporary.unlink(missing_ok=True)


def _row(conversation: Conversation) -> dict[str, object]:
    line = json.dumps(to_json(conversation), ensure_ascii=False)
    return {"id": conversation.id, "images": list(conversation.pictures), "line": line}


def _glance(data: Path, settings: dict[str, Any]) -> str:
    """Return a hash that changes with the conversations, the settings, or a picture's size or time."""
    whole = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for conversation in read_folder(data):
        whole.update(json.dumps(to_json(conversation), sort_keys=True).encode())
        for path in conversation.pictures:
            try:
                stat = (data / path).stat()
                whole.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}".encode())
            except OSError:
                whole.update(f"{path}\0missing".encode())
    return whole.hexdigest()


def _made_before(target: Path) -> Prepared | None:
    try:
        return Prepared(**json.loads((target / PREPARED).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _content(data: Path, pictures: PictureChecks) -> str:
    whole = hashlib.sha256((data / CONVERSATIONS).read_bytes())
    for path, digest in sorted(pictures.sha256().items()):
        whole.update(f"{path}\0{digest}\n".encode())
    return whole.hexdigest()
