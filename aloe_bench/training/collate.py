"""Conversations to tensors: loss on assistant turns only, every picture seen whole, the vision tower always run.

For the Qwen2-VL family: processors that write one placeholder a picture and expand it to
grid / merge_size^2 image tokens.
"""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aloe_bench.errors import DataError, ModelError, UsageError
from aloe_bench.images import open_image
from aloe_bench.training.data.schema import Conversation, Picture, Text, from_json

IGNORED = -100
# In Qwen2-VL 4 image tokens between two marks, the smallest picture of more than one; more at a higher pixel limit.
DUMMY_SIDE_PX = 56
# Marks of the Qwen2-VL family that stand inside ordinary text: a grounded answer may hold them.
_GROUNDING = ("object_ref", "box", "quad")


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids with one placeholder a picture, and which of them the loss is taken on."""

    ids: tuple[int, ...]
    learnt: tuple[bool, ...]


class Encoder:
    """How a processor writes a conversation.

    The loss is taken on what stands after the template's own generation prompt, up to and with the
    end of that turn: what a model has to say by itself when it is asked the conversation so far.
    Raises ModelError for a processor without chat template, or of another family.
    """

    def __init__(self, processor: Any) -> None:
        self.processor = processor
        self.tokenizer: Any = getattr(processor, "tokenizer", None)
        image_processor: Any = getattr(processor, "image_processor", None)
        if self.tokenizer is None or not hasattr(image_processor, "merge_size"):
            raise ModelError(
                f"{type(processor).__name__}: no processor of the Qwen2-VL family (Qwen2-VL, Qwen2.5-VL, Qwen3-VL); "
                "training knows no other. Give such a checkpoint."
            )
        if not getattr(processor, "chat_template", None):
            raise ModelError(
                "the base model has no chat template, so nothing says where an assistant's turn begins. "
                "Give an instruct checkpoint, or copy its chat_template.jinja into the folder."
            )
        self.merge = int(image_processor.merge_size)
        self.image_id = int(self.tokenizer.convert_tokens_to_ids(processor.image_token))
        self.pad_id = int(self.tokenizer.pad_token_id)
        self._control = tuple(
            str(token)
            for token in self.tokenizer.added_tokens_decoder.values()
            if token.special and not any(name in str(token) for name in _GROUNDING)
        )

    def encode(self, conversations: Sequence[Conversation]) -> list[Encoded]:
        """Return the tokens of each conversation. Raises DataError for text that holds control tokens."""
        pieces = [self.pieces(conversation) for conversation in conversations]
        flat = [text for row in pieces for text, _ in row]
        tokens = iter(self.tokenizer(flat, add_special_tokens=False)["input_ids"])
        rows = []
        for row in pieces:
            parts = [(next(tokens), learnt) for _, learnt in row]
            ids = tuple(i for part, _ in parts for i in part)
            rows.append(Encoded(ids, tuple(learnt for part, learnt in parts for _ in part)))
        return rows

    def pieces(self, conversation: Conversation) -> list[tuple[str, bool]]:
        """Return the rendered text, cut where the loss starts and ends; True where it is taken."""
        if fault := self.fault(conversation):
            raise DataError(f"conversation {conversation.id!r}: {fault}. Remove it, or leave the conversation out.")
        messages = [_message(turn.role, turn.parts) for turn in conversation.turns]
        whole, cut, at = self._render(messages), [], 0
        for i, turn in enumerate(conversation.turns):
            if turn.role != "assistant":
                continue
            start, end = self._render(messages[:i], ask=True), self._render(messages[: i + 1])
            if not (whole.startswith(end) and end.startswith(start)):
                raise ModelError(
                    f"conversation {conversation.id!r}: the chat template writes a turn differently once another "
                    "follows, so no one text holds all assistant turns as they were said. Split it into single turns."
                )
            cut += [(whole[at : len(start)], False), (whole[len(start) : len(end)], True)]
            at = len(end)
        return [piece for piece in [*cut, (whole[at:], False)] if piece[0]]

    def image_tokens(self, size: tuple[int, int]) -> int:
        """Return the tokens of a picture of `size` (width, height) in pixels."""
        patches = self.processor.image_processor.get_number_of_image_patches(size[1], size[0], {})
        return int(patches) // self.merge**2

    @property
    def dummy_tokens(self) -> int:
        """How many tokens the dummy picture of a micro-batch without pictures takes, with its two marks."""
        return self.image_tokens((DUMMY_SIDE_PX, DUMMY_SIDE_PX)) + 2

    def settings(self) -> dict[str, Any]:
        """Return what besides the base's own files decides how a conversation becomes tensors."""
        template = hashlib.sha256(str(self.processor.chat_template).encode()).hexdigest()
        size = {key: int(value) for key, value in dict(self.processor.image_processor.size).items() if value}
        return {"class": type(self.processor).__name__, "size": size, "chat_template_sha256": template}

    def fault(self, conversation: Conversation) -> str | None:
        """Return what makes `conversation` unfit to be rendered, or None.

        A control token in its text would start or end a turn, or stand for a picture.
        """
        texts = (part.text for turn in conversation.turns for part in turn.parts if isinstance(part, Text))
        found = next((token for text in texts for token in self._control if token in text), None)
        return f"the text holds the control token {found}" if found else None

    def _render(self, messages: list[dict[str, Any]], ask: bool = False) -> str:
        return str(self.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=ask))


class Collator:
    """Rows of a data set to one micro-batch, padded on the right.

    A row holds `line`, a conversation as `to_json` gives it. Nothing is ever cut: a conversation of
    more than `max_length` tokens raises DataError, as does a picture that cannot be read.
    A micro-batch without pictures carries a masked dummy picture, so that every rank of a sharded
    run enters the vision tower; it changes no loss and no gradient.
    """

    def __init__(self, encoder: Encoder, folder: Path, max_length: int) -> None:
        self.encoder = encoder
        self.folder = folder
        self.max_length = max_length

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return input_ids, attention_mask, mm_token_type_ids, labels, pixel_values, image_grid_thw."""
        _leave_ctrl_c_to_the_trainer()
        conversations = [from_json(json.loads(row["line"]), str(self.folder)) for row in rows]
        encoded = self.encoder.encode(conversations)
        pictures = [open_image(self.folder / path) for c in conversations for path in c.pictures]
        seen = self._see(pictures) if pictures else None
        counts = [int(grid.prod()) // self.encoder.merge**2 for grid in seen["image_grid_thw"]] if seen else []
        lines, taken = [], 0
        for conversation, row in zip(conversations, encoded, strict=True):
            n = len(conversation.pictures)
            lines.append(self._expand(conversation, row, counts[taken : taken + n]))
            taken += n
        batch = self._pad(lines)
        return {**batch, **seen} if seen else self._with_dummy(batch)

    def _see(self, pictures: list[Any]) -> dict[str, Any]:
        made = self.encoder.processor.image_processor(images=pictures, return_tensors="pt")
        return {name: made[name] for name in ("pixel_values", "image_grid_thw")}

    def _expand(self, conversation: Conversation, row: Encoded, counts: list[int]) -> Encoded:
        """Return `row` with each placeholder repeated once an image token."""
        found = row.ids.count(self.encoder.image_id)
        if found != len(counts):
            raise ModelError(
                f"conversation {conversation.id!r}: the chat template wrote {found} placeholders for "
                f"{len(counts)} pictures; expected one each. Use the template the model was trained with."
            )
        ids: list[int] = []
        learnt: list[bool] = []
        waiting = iter(counts)
        for token, used in zip(row.ids, row.learnt, strict=True):
            times = next(waiting) if token == self.encoder.image_id else 1
            ids += [token] * times
            learnt += [used] * times
        if len(ids) > self.max_length:
            raise DataError(
                f"conversation {conversation.id!r}: {len(ids)} tokens, {sum(counts)} of them of pictures, where "
                f"{self.max_length} fit. Nothing is cut in training: leave it out, or lower the pixel limit."
            )
        return Encoded(tuple(ids), tuple(learnt))

    def _pad(self, lines: list[Encoded]) -> dict[str, Any]:
        import torch

        shape = (len(lines), max(len(line.ids) for line in lines))
        ids, labels = torch.full(shape, self.encoder.pad_id), torch.full(shape, IGNORED)
        mask = torch.zeros(shape, dtype=torch.long)
        for i, line in enumerate(lines):
            row = torch.tensor(line.ids)
            ids[i, : len(row)], mask[i, : len(row)] = row, 1
            labels[i, : len(row)] = row.where(torch.tensor(line.learnt), torch.tensor(IGNORED))
        kinds = (ids == self.encoder.image_id).to(torch.int32)
        return {"input_ids": ids, "attention_mask": mask, "mm_token_type_ids": kinds, "labels": labels}

    def _with_dummy(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Return `batch` with a picture that nothing attends to behind the padding of its first row."""
        import torch
        from PIL import Image

        seen = self._see([Image.new("RGB", (DUMMY_SIDE_PX, DUMMY_SIDE_PX))])
        convert = self.encoder.tokenizer.convert_tokens_to_ids
        n = self.encoder.dummy_tokens
        shown = [convert("<|vision_start|>"), *[self.encoder.image_id] * (n - 2), convert("<|vision_end|>")]
        rows = len(batch["input_ids"])
        more = {
            "input_ids": torch.full((rows, n), self.encoder.pad_id),
            "attention_mask": torch.zeros((rows, n), dtype=torch.long),
            "mm_token_type_ids": torch.zeros((rows, n), dtype=torch.int32),
            "labels": torch.full((rows, n), IGNORED),
        }
        more["input_ids"][0] = torch.tensor(shown)
        more["mm_token_type_ids"][0, 1:-1] = 1
        return {**{name: torch.cat((batch[name], more[name]), dim=1) for name in more}, **seen}


def _leave_ctrl_c_to_the_trainer() -> None:
    """In a process that reads rows: a terminal sends Ctrl-C to it too, and without it no step can be finished."""
    from torch.utils.data import get_worker_info

    if get_worker_info() is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def load_processor(model: Path, min_pixels: int | None, max_pixels: int | None) -> Any:
    """Return the processor of the checkpoint folder `model`, its pixel limits pinned.

    None keeps the checkpoint's own limit. Raises ModelError if there is no processor, UsageError for limits that cross.
    """
    from transformers import AutoProcessor

    try:
        processor = AutoProcessor.from_pretrained(model)
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(
            f"{model}: no processor to be loaded ({str(error).splitlines()[0]}). Give a complete checkpoint folder."
        ) from error
    if (image_processor := getattr(processor, "image_processor", None)) is not None:
        size = dict(image_processor.size)
        low, high = min_pixels or size["shortest_edge"], max_pixels or size["longest_edge"]
        if low > high:
            raise UsageError(
                f"{model}: at least {low} and at most {high} pixels a picture, where the recipe's limits and the "
                "checkpoint's own meet. Set both: --set min_pixels=... --set max_pixels=..."
            )
        image_processor.size = {"shortest_edge": low, "longest_edge": high}
    return processor


def _message(role: str, parts: Sequence[Text | Picture]) -> dict[str, Any]:
    content = [{"type": "image"} if isinstance(p, Picture) else {"type": "text", "text": p.text} for p in parts]
    return {"role": role, "content": content}
