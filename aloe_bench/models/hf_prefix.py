"""Prompts over the same pictures: these, and the tokens with which the prompts begin alike, are computed once.

What is kept are the keys and values of those tokens. A family that keeps another state (a convolution, linear
attention) or looks across at its pictures, and one that is not tested, takes one full pass a prompt.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aloe_bench.core import Request

if TYPE_CHECKING:
    from aloe_bench.models.hf import HFModel

# As their configurations name them; tests/families holds each to the tokens and scores of full passes.
REUSING_MODEL_TYPES = frozenset(
    """
    aya_vision chameleon deepseek_vl gemma3 gemma4 glm4v glm4v_moe idefics2 idefics3 internvl kimi_k25 llama4 llava
    llava_next llava_onevision minicpmv4_6 mistral3 ovis2 qianfan_ocr qwen2_5_omni_thinker qwen2_5_vl qwen2_vl
    qwen3_omni_moe_thinker qwen3_vl qwen3_vl_moe smolvlm
    """.split()
)
# Inputs of the network with one entry a token of the prompt; all others are the pictures'.
PER_TOKEN = frozenset(
    "input_ids attention_mask token_type_ids mm_token_type_ids moe_mm_token_type_ids cross_attention_mask".split()
)
# Their processor packs the pictures of a call along the last axis, so two prompts' do not stand side by side.
_PACKED = frozenset({"minicpmv4_6"})
# Ways to turn positions that depend on how long the prompt is: its beginning would be computed otherwise alone.
_TURNS_BY_LENGTH = frozenset({"dynamic", "longrope"})


def shareable_tokens(config: Any) -> float:
    """Return how many tokens prompt and reply may have, padding included, to share a beginning; 0 where none may.

    The bound is the narrowest window of the layers: what stands between beginning and rest counts in it.
    """
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    if config.model_type not in REUSING_MODEL_TYPES or _rope_types(config) & _TURNS_BY_LENGTH:
        return 0
    layers = DynamicCache(config=config).layers
    if any(type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers):
        return 0
    return min((layer.get_max_length() for layer in layers if layer.is_sliding), default=math.inf)


def _rope_types(config: Any) -> set[object]:
    rope = getattr(config.get_text_config(decoder=True), "rope_parameters", None) or {}
    return {part.get("rope_type") for part in (rope, *rope.values()) if isinstance(part, dict)}


@dataclass(frozen=True, slots=True)
class ReadPrompt:
    """A prompt as the processor makes it (`made`, on the CPU); the first `end` of its `ids` hold all its pictures."""

    ids: list[int]
    end: int
    made: Any
    pictures: tuple[str, ...]

    @property
    def beginning(self) -> tuple[object, ...]:
        """What two prompts have in common for one computation to serve both."""
        return self.pictures, tuple(self.ids[: self.end])


class _LooksOnce:
    """An image processor that looks once at each set of `pictures`, by their hashes."""

    def __init__(self, own: Any) -> None:
        self._own = own
        self._made: dict[tuple[str, ...], Any] = {}
        self.pictures: tuple[str, ...] = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.pictures not in self._made:
            self._made[self.pictures] = self._own(*args, **kwargs)
        return copy.copy(self._made[self.pictures])  # processors take out what the network does not need

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)


def read_prompts(model: HFModel, opened: Sequence[tuple[Request, list[Any]]]) -> list[ReadPrompt]:
    """Return the prompts of requests with pictures. Raises ValueError where nothing follows a prompt's pictures."""
    processor = copy.copy(model.processor)
    processor.image_processor = looks = _LooksOnce(model.processor.image_processor)
    mark, special = model.config.image_token_id, set(model.tokenizer.added_tokens_decoder)
    prompts = []
    for request, images in opened:
        looks.pictures = picture_hashes(request)
        made = model.read([request], [images], processor)
        ids: list[int] = made["input_ids"][0].tolist()
        end = len(ids) - ids[::-1].index(mark)
        # The marks around a picture are the pictures' own in some families (Ovis2), not words.
        while end < len(ids) and ids[end] in special:
            end += 1
        if end == len(ids):
            raise ValueError("nothing follows the pictures")
        prompts.append(ReadPrompt(ids, end, made, looks.pictures))
    return prompts


def picture_hashes(request: Request) -> tuple[str, ...]:
    """Return the hashes of the request's pictures."""
    return tuple(image.sha256 for image in request.images)


def common_length(prompts: Sequence[ReadPrompt]) -> int:
    """Return how many first tokens all prompts share, leaving at least one token to each."""
    length = min(len(prompt.ids) for prompt in prompts) - 1
    first = prompts[0].ids
    for prompt in prompts[1:]:
        length = next((i for i in range(length) if prompt.ids[i] != first[i]), length)
    return length


@dataclass(frozen=True, slots=True)
class Beginnings:
    """Computed beginnings, a row each, padded on the left: `cache`, `mask` (rows, L), next positions (..., rows, 1)."""

    cache: Any
    mask: Any
    places: Any

    def followed_by(self, rests: Sequence[list[int]], pad: int) -> dict[str, Any]:
        """Return the network's inputs for the tokens that follow each row, padded on the left with `pad`."""
        import torch

        width, device = max(map(len, rests)), self.mask.device
        ids = torch.tensor([[pad] * (width - len(rest)) + rest for rest in rests], device=device)
        mask = torch.tensor([[0] * (width - len(rest)) + [1] * len(rest) for rest in rests], device=device)
        return {
            "input_ids": ids,
            "position_ids": self.places + (mask.cumsum(dim=1) - 1).clamp(min=0),
            "attention_mask": torch.cat([self.mask, mask], dim=1),
        }


def begin(model: HFModel, firsts: Sequence[tuple[ReadPrompt, int]], rows: Sequence[int]) -> Beginnings:
    """Compute so many first tokens of each of `firsts`; row n of what is returned is that of `firsts[rows[n]]`."""
    import torch
    from transformers import DynamicCache

    alike: dict[object, list[int]] = {}
    for number, (prompt, _) in enumerate(firsts):
        alike.setdefault(number if model.config.model_type in _PACKED else _shapes(prompt), []).append(number)
    parts = [_computed(model, [firsts[number] for number in numbers]) for numbers in alike.values()]
    order = [number for numbers in alike.values() for number in numbers]
    chosen = [order.index(row) for row in rows]
    width = max(part.mask.shape[1] for part in parts)

    def joined(values: Sequence[Any]) -> Any:
        pad = torch.nn.functional.pad
        return torch.cat([pad(value, (0, 0, width - value.shape[-2], 0)) for value in values])[chosen]

    cache = DynamicCache()  # of all tokens also where a layer has a window: the mask keeps it
    for number in range(len(parts[0].cache.layers)):
        layers = [part.cache.layers[number] for part in parts]
        cache.update(joined([layer.keys for layer in layers]), joined([layer.values for layer in layers]), number)
    mask = joined([part.mask[..., None] for part in parts])[..., 0]
    places = torch.cat([part.places for part in parts], dim=-2)[..., chosen, :]
    return Beginnings(cache, mask, places)


def _shapes(prompt: ReadPrompt) -> object:
    """Return what the pictures of two prompts must agree in to be computed side by side."""
    return tuple((name, value.shape[1:]) for name, value in sorted(prompt.made.items()) if name not in PER_TOKEN)


def _computed(model: HFModel, firsts: Sequence[tuple[ReadPrompt, int]]) -> Beginnings:
    from transformers import DynamicCache

    # With one token more each, which has the position that follows.
    inputs = _side_by_side(
        [model.placed(prompt.made) for prompt, _ in firsts], [cut + 1 for _, cut in firsts], model.pad
    )
    model.forget_positions()
    places = model.network._prepare_position_ids_for_generation(inputs["input_ids"], dict(inputs))
    heads = {name: value[:, :-1] if name in PER_TOKEN else value for name, value in inputs.items()}
    cache = DynamicCache()
    model.network(
        **heads, position_ids=places[..., :-1], past_key_values=cache, use_cache=True, **last_logits(model, 1)
    )
    return Beginnings(cache, heads["attention_mask"], places[..., -1:])


def last_logits(model: HFModel, count: int) -> dict[str, int]:
    """Return how the network is told to give the logits of the last `count` tokens alone, if it can be."""
    known = inspect.signature(model.network.forward).parameters
    return {"logits_to_keep": count} if "logits_to_keep" in known else {}


def _side_by_side(rows: Sequence[dict[str, Any]], lengths: Sequence[int], pad: int) -> dict[str, Any]:
    """Return the inputs of one batch: so many first tokens of each row, padded on the left, and all its pictures."""
    import torch

    width = max(lengths)
    batch = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        if name in PER_TOKEN:
            fill = pad if name == "input_ids" else 0
            cut = [value[:, :length] for value, length in zip(values, lengths, strict=True)]
            values = [torch.nn.functional.pad(value, (width - value.shape[1], 0), value=fill) for value in cut]
        batch[name] = torch.cat(values)
    return batch
