"""The stock Qwen2-VL's arithmetic, faster: prompts share their picture, pictures of one size go in one batch.

transformers runs the vision tower's attention picture by picture. For training on a CPU that costs more than all
the rest; the results differ from the stock forward pass by rounding alone (tests/test_miniature_base.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from studies.miniature.network import CELL_PX, MERGE, PATCH_PX

Pixels = NDArray[np.uint8]
IGNORED = -100
# The stock image processor's OpenAI CLIP statistics.
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_SPREAD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt about picture number `picture` of its batch, and the answer to be learnt."""

    picture: int
    prompt: str
    answer: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Tensors of some questions: ids and labels (n, length), positions (3, n, length), and their pictures."""

    ids: Any
    labels: Any
    positions: Any
    pictures: Sequence[Pixels]
    picture_of: Sequence[int]


class Writer:
    """Turns questions into tokens exactly as the chat template does, each distinct text once."""

    def __init__(self, processor: Any) -> None:
        self._tokenizer = processor.tokenizer
        self.image_id = int(self._tokenizer.convert_tokens_to_ids(processor.image_token))
        asked = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "\0"}]}]
        rendered = processor.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        before, after = rendered.split("\0")
        start, self._between = before.split(processor.image_token)
        self._before, self._after = self._encode(start), after
        self._end = self._encode("<|im_end|>")
        self._known: dict[str, list[int]] = {}

    def batch(self, questions: Sequence[Question], pictures: Sequence[Pixels]) -> Batch:
        """Return `questions` padded on the right; the loss is taken on the answer and the token that ends it."""
        import torch

        shapes = [_cells(pictures[question.picture]) for question in questions]
        rows = [self._row(question, shape) for question, shape in zip(questions, shapes, strict=True)]
        length = max(len(prompt) + len(answer) for prompt, answer in rows)
        ids = torch.full((len(rows), length), int(self._tokenizer.pad_token_id))
        labels = torch.full((len(rows), length), IGNORED)
        positions = torch.zeros((3, len(rows), length), dtype=torch.long)
        for i, (prompt, answer) in enumerate(rows):
            ids[i, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
            labels[i, len(prompt) : len(prompt) + len(answer)] = torch.tensor(answer)
            positions[:, i] = _positions(length, len(self._before), shapes[i])
        return Batch(ids, labels, positions, pictures, [question.picture for question in questions])

    def _row(self, question: Question, shape: tuple[int, int]) -> tuple[list[int], list[int]]:
        image = [self.image_id] * (shape[0] * shape[1])
        prompt = self._cached(self._between + question.prompt + self._after)
        return self._before + image + prompt, self._cached(question.answer) + self._end

    def _cached(self, text: str) -> list[int]:
        if text not in self._known:
            self._known[text] = self._encode(text)
        return self._known[text]

    def _encode(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])


def _cells(pixels: Pixels) -> tuple[int, int]:
    return pixels.shape[0] // CELL_PX, pixels.shape[1] // CELL_PX


def _positions(length: int, start: int, shape: tuple[int, int]) -> Any:
    """Return the three position ids of Qwen2-VL (time, row, column) for one picture after `start` tokens."""
    import torch

    count = shape[0] * shape[1]
    places = torch.arange(length)[None].repeat(3, 1)
    cell = torch.arange(count)
    places[0, start : start + count] = start
    places[1, start : start + count] = start + cell // shape[1]
    places[2, start : start + count] = start + cell % shape[1]
    places[:, start + count :] -= count - max(shape)
    return places


def answer_logits(network: Any, batch: Batch, image_id: int) -> tuple[Any, Any, Any]:
    """Return the logits where an answer token is due (m, vocabulary), these tokens (m), and where (n, length - 1)."""
    import torch

    text = network.model.language_model
    hidden = text.embed_tokens(batch.ids)
    seen = see(network.model.visual, batch.pictures)
    hidden = hidden.masked_scatter(
        (batch.ids == image_id)[..., None], torch.cat([seen[i] for i in batch.picture_of]).to(hidden)
    )
    hidden = text(inputs_embeds=hidden, position_ids=batch.positions, use_cache=False).last_hidden_state
    due = batch.labels[:, 1:] != IGNORED
    return network.lm_head(hidden[:, :-1][due]), batch.labels[:, 1:][due], due


def see(tower: Any, pictures: Sequence[Pixels]) -> list[Any]:
    """Return the image tokens (cells, hidden) of each picture."""
    import torch

    sizes: dict[tuple[int, ...], list[int]] = {}
    for i, pixels in enumerate(pictures):
        sizes.setdefault(pixels.shape, []).append(i)
    seen: list[Any] = [None] * len(pictures)
    with _one_size_at_a_time():
        for shape, members in sizes.items():
            high, wide = shape[0] // PATCH_PX, shape[1] // PATCH_PX
            patches = _patches(np.stack([pictures[i] for i in members]))
            grid = torch.tensor([[1, high, wide]] * len(members))
            tokens = tower(patches, grid_thw=grid).pooler_output
            parts = tokens.view(len(members), high * wide // MERGE**2, -1)
            for i, part in zip(members, parts, strict=True):
                seen[i] = part
    return seen


def _patches(pixels: Pixels) -> Any:
    """Return the normalised patches of `pixels` (n, height, width, 3) in the order of the stock image processor."""
    import torch

    n, height, width = pixels.shape[:3]
    rows, columns = height // CELL_PX, width // CELL_PX
    values = (torch.from_numpy(pixels).float() / 255 - torch.tensor(_MEAN)) / torch.tensor(_SPREAD)
    values = values.view(n, rows, MERGE, PATCH_PX, columns, MERGE, PATCH_PX, 3).permute(0, 1, 4, 2, 5, 7, 3, 6)
    return values.reshape(n * rows * columns * MERGE**2, -1)


@contextmanager
def _one_size_at_a_time() -> Iterator[None]:
    """Let the vision tower treat its pictures, all of one size, as one batch."""
    from transformers.models.qwen2_vl import modeling_qwen2_vl as stock

    def attend(self: Any, hidden_states: Any, cu_seqlens: Any, position_embeddings: Any = None, **_: Any) -> Any:
        from torch.nn.functional import scaled_dot_product_attention

        total, each = hidden_states.shape[0], int(cu_seqlens[1])
        query, key, value = self.qkv(hidden_states).reshape(total, 3, self.num_heads, -1).permute(1, 0, 2, 3).unbind(0)
        query, key = stock.apply_rotary_pos_emb_vision(query, key, *position_embeddings)
        query, key, value = (
            x.view(total // each, each, self.num_heads, -1).transpose(1, 2) for x in (query, key, value)
        )
        mixed = scaled_dot_product_attention(query, key, value, scale=self.scaling)
        return self.proj(mixed.transpose(1, 2).reshape(total, -1))

    def embed(self: Any, hidden_states: Any) -> Any:
        from torch.nn.functional import linear

        return linear(hidden_states.view(hidden_states.shape[0], -1), self.proj.weight.view(self.embed_dim, -1))

    kept = stock.VisionAttention.forward, stock.PatchEmbed.forward
    stock.VisionAttention.forward, stock.PatchEmbed.forward = attend, embed
    try:
        yield
    finally:
        stock.VisionAttention.forward, stock.PatchEmbed.forward = kept
