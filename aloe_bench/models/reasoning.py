"""Reasoning that a prompt's own tail opens: how it is told, kept in the reply, and closed."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aloe_bench.core import Decoding, Prediction, ReplyExtender, Request


@dataclass(frozen=True, slots=True)
class ReasoningTags:
    """What a family puts around its reasoning."""

    opening: str
    closing: str

    @property
    def end(self) -> str:
        """What closes reasoning that is open, as Qwen3's own template does where thinking is off."""
        return f"\n{self.closing}\n\n"


TAGS = (
    ReasoningTags("<think>", "</think>"),
    ReasoningTags("[THINK]", "[/THINK]"),
    ReasoningTags("◁think▷", "◁/think▷"),
)


def opened_by(prompt: str) -> ReasoningTags | None:
    """Return the tags of the reasoning that the end of `prompt` leaves open; None if it opens none."""
    return next((tags for tags in TAGS if prompt.rstrip().endswith(tags.opening)), None)


def tags_of(vocabulary: Container[str]) -> ReasoningTags | None:
    """Return the tags that a vocabulary has as tokens; None if it has none."""
    return next((tags for tags in TAGS if tags.opening in vocabulary), None)


def said(tokenizer: Any, ids: Sequence[int], opened: ReasoningTags | None) -> str:
    """Return the text of a reply; where its prompt opened reasoning, with that tag, so that no thought is an answer.

    The closing tag stays where it is a special token, which decoding leaves out.
    """
    if opened is None:
        return str(tokenizer.decode(ids, skip_special_tokens=True))
    closing = tokenizer.convert_tokens_to_ids(opened.closing)
    whole = tokenizer.convert_ids_to_tokens(closing) == opened.closing if closing is not None else False
    at = list(ids).index(closing) if whole and closing in ids else len(ids)
    thought = tokenizer.decode(ids[:at], skip_special_tokens=True)
    if at == len(ids):
        return f"{opened.opening}\n{thought}"
    return f"{opened.opening}\n{thought}{opened.closing}{tokenizer.decode(ids[at + 1 :], skip_special_tokens=True)}"


def bounded(
    model: ReplyExtender,
    first: Sequence[Prediction],
    requests: Sequence[Request],
    decoding: Decoding,
    close: tuple[ReasoningTags, Sequence[int]],
) -> Iterator[Prediction]:
    """Yield one reply a request from its `first` tokens; reasoning that is still open there is closed, then it answers.

    `close` holds the tags and the tokens that close. What had ended by itself stays as it is.
    """
    tags, end = close
    ended = [reply for reply in first if reply.finish != "length"]
    yield from ended
    done = {reply.id for reply in ended}
    begun = [
        replace(reply, token_ids=(*reply.token_ids, *end)) if _is_open(reply.text or "", tags) else reply
        for reply in first
        if reply.id not in done
    ]
    yield from model.extend([r for r in requests if r.id not in done], begun, decoding)


def _is_open(text: str, tags: ReasoningTags) -> bool:
    return text.rfind(tags.opening) > text.rfind(tags.closing)
