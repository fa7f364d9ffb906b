"""Which conversations can be trained on: one reason a drop, asked in one order, so that counts add up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

from aloe_bench.errors import DataError
from aloe_bench.images import FileImage, file_image
from aloe_bench.training.data.schema import Conversation

# Every reason for which a sample is left out of training or of a mixture, in the order in which they are asked.
Reason = Literal[
    "malformed row", "repeated id", "not selected", "not sampled",
    "too many pictures", "unreadable picture", "small picture", "control token", "too long", "no loss",
    "leaked picture", "leaked text",
    "low score", "perplexity", "answer in picture",
    "over budget",
]  # fmt: skip
REASONS: tuple[Reason, ...] = get_args(Reason)


class ConversationEncoder(Protocol):
    """What measures a conversation as training will see it."""

    def encode(self, conversations: Sequence[Conversation]) -> Sequence[EncodedConversation]: ...
    def image_tokens(self, size: tuple[int, int]) -> int: ...
    def fault(self, conversation: Conversation) -> str | None: ...


class EncodedConversation(Protocol):
    """A conversation's tokens with one placeholder a picture, and which of them are learnt."""

    @property
    def ids(self) -> tuple[int, ...]: ...
    @property
    def learnt(self) -> tuple[bool, ...]: ...


class PicturesByPath(Protocol):
    """Pictures by path: each one's hash and size, or the complaint about it."""

    def __getitem__(self, path: str) -> FileImage | str: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What a conversation must keep to. Source: Aloe-Vision, section 3: 50 x 50 pixels, 5 pictures, 4096 tokens.

    `spare` tokens are kept free for the dummy picture of a micro-batch without pictures.
    """

    max_length: int = 4096
    max_pictures: int = 5
    min_side_px: int = 50
    spare: int = 6


@dataclass(frozen=True, slots=True)
class Kept:
    """A conversation that fits, with its exact counts of tokens."""

    conversation: Conversation
    tokens: int
    loss_tokens: int
    image_tokens: int


@dataclass(frozen=True, slots=True)
class DroppedConversation:
    """A conversation that does not fit, and the first reason found."""

    id: str
    reason: Reason
    detail: str


class PictureChecks:
    """The pictures of a folder, each read once: hash, size, or what is wrong with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: dict[str, FileImage | str] = {}

    def __getitem__(self, path: str) -> FileImage | str:
        """Return the picture, or the complaint about it."""
        if path not in self._seen:
            try:
                self._seen[path] = file_image(self.folder / path)
            except DataError as error:
                self._seen[path] = str(error)
        return self._seen[path]

    def sha256(self) -> Mapping[str, str]:
        """Return the content hash of every picture asked for; an unreadable one has none."""
        return {path: found.sha256 for path, found in self._seen.items() if isinstance(found, FileImage)}


def keep_or_drop(
    conversations: Sequence[Conversation], pictures: PicturesByPath, encoder: ConversationEncoder, limits: Limits
) -> list[Kept | DroppedConversation]:
    """Return, for each conversation, what it measures or why it is left out. Pixels are not decoded."""
    first = [first_fault(conversation, pictures, encoder, limits) for conversation in conversations]
    fitting = [conversation for conversation, drop in zip(conversations, first, strict=True) if drop is None]
    encoded = iter(encoder.encode(fitting) if fitting else ())
    return [
        drop or _after_encoding(conversation, next(encoded), pictures, encoder, limits)
        for conversation, drop in zip(conversations, first, strict=True)
    ]


def first_fault(
    conversation: Conversation, pictures: PicturesByPath | None, encoder: ConversationEncoder | None, limits: Limits
) -> DroppedConversation | None:
    """Return the first reason to leave `conversation` out that is seen before its tokens are counted.

    What is None is not at hand, and not asked.
    """
    n = len(conversation.pictures)
    if n > limits.max_pictures:
        return DroppedConversation(conversation.id, "too many pictures", f"{n} pictures, at most {limits.max_pictures}")
    for path in conversation.pictures:
        if pictures is None:
            break
        found = pictures[path]
        if isinstance(found, str):
            return DroppedConversation(conversation.id, "unreadable picture", found)
        if min(found.size) < limits.min_side_px:
            size = f"{path} is {found.size[0]}x{found.size[1]}, at least {limits.min_side_px}x{limits.min_side_px}"
            return DroppedConversation(conversation.id, "small picture", size)
    if encoder is not None and (fault := encoder.fault(conversation)):
        return DroppedConversation(conversation.id, "control token", fault)
    return None


def _after_encoding(
    conversation: Conversation,
    encoded: EncodedConversation,
    pictures: PicturesByPath,
    encoder: ConversationEncoder,
    limits: Limits,
) -> Kept | DroppedConversation:
    sizes = [found.size for found in map(pictures.__getitem__, conversation.pictures) if isinstance(found, FileImage)]
    image_tokens = sum(map(encoder.image_tokens, sizes))
    # Each placeholder is replaced by its image tokens.
    tokens = len(encoded.ids) - len(sizes) + image_tokens
    loss_tokens = sum(encoded.learnt)
    room = limits.max_length - (0 if sizes else limits.spare)
    if tokens > room:
        return DroppedConversation(
            conversation.id, "too long", f"{tokens} tokens, {image_tokens} of pictures; at most {room}"
        )
    if not loss_tokens:
        return DroppedConversation(conversation.id, "no loss", "no token of an assistant turn")
    return Kept(conversation, tokens, loss_tokens, image_tokens)
