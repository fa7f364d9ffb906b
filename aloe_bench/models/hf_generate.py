"""The `generate` protocol in transformers: one batch of opened requests becomes replies.

Where prompts of a batch share their images (a clean question and its misled variants), the vision
tower and the prompt up to the end of the images are computed once for all of them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aloe_bench.core import Decoding, Prediction, Request
from aloe_bench.models.hf_options import REUSING_MODEL_TYPES, extended, token_ids
from aloe_bench.models.opening import NOTHING, Begun
from aloe_bench.models.reasoning import said
from aloe_bench.models.sampling import sampling_seed

if TYPE_CHECKING:
    from aloe_bench.models.hf import HFModel

Opened = Sequence[tuple[Request, list[Any]]]
# A prompt's length, how many of its tokens are pictures, and the new tokens.
Reply = tuple[int, int | None, list[int]]


@dataclass(frozen=True, slots=True)
class _Prompt:
    """A tokenized prompt: `ids` of length L, `places` of shape (3, 1, L), `beginning` its first tokens and images."""

    ids: list[int]
    places: Any
    beginning: tuple[tuple[str, ...], tuple[int, ...]]


def answer_batch(model: HFModel, opened: Opened, decoding: Decoding, begun: Begun = NOTHING) -> list[Prediction]:
    """Return one Prediction a request, in order; requests agree in `chat` and in having images.

    Replies that have `begun` hold as many tokens each, and continue.
    """
    started = time.perf_counter()
    replies = _replies(model, opened, decoding, begun)
    share = (time.perf_counter() - started) / len(opened)
    answered = []
    for (request, _), (prompt_tokens, image_tokens, row) in zip(opened, replies, strict=True):
        end = next((i for i, token in enumerate(row) if token in model.eos), None)
        before = begun.get(request.id)
        ids = [*(before.token_ids if before else ()), *row[:end]]
        answered.append(
            Prediction(
                request.id,
                said(model.tokenizer, ids, model.opened(request)),
                "length" if end is None else "stop",
                prompt_tokens=prompt_tokens,
                output_tokens=len(ids),
                seconds=share + ((before.seconds or 0.0) if before else 0.0),
                token_ids=tuple(ids),
                seed=sampling_seed(decoding, request.id),
                image_tokens=image_tokens,
            )
        )
    return answered


def _replies(model: HFModel, opened: Opened, decoding: Decoding, begun: Begun) -> list[Reply]:
    """Return the reply of each request; tokens after an end token mean nothing."""
    import torch

    with torch.inference_mode():
        if decoding.likeliest and not begun and _shares_images(model, opened):
            return _shared(model, opened, decoding.max_new_tokens)
        return _stock(model, opened, decoding, begun)


def _shares_images(model: HFModel, opened: Opened) -> bool:
    if not (model.reuse and model.config.model_type in REUSING_MODEL_TYPES):
        return False
    seen = [_hashes(request) for request, _ in opened if request.images]
    return len(set(seen)) < len(seen)


def _hashes(request: Request) -> tuple[str, ...]:
    return tuple(image.sha256 for image in request.images)


def _stock(model: HFModel, opened: Opened, decoding: Decoding, begun: Begun) -> list[Reply]:
    import torch

    batch = [request for request, _ in opened]
    inputs = model.prepare(batch, [images for _, images in opened])
    lengths = inputs["attention_mask"].sum(dim=1).tolist()
    pictures = [
        model.image_tokens(ids) if request.images else None
        for request, ids in zip(batch, inputs["input_ids"].tolist(), strict=True)
    ]
    if begun:
        inputs = extended(model, inputs, [begun[request.id].token_ids for request in batch])
    model.forget_positions()
    seed = sampling_seed(decoding, batch[0].id)
    with torch.random.fork_rng(enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        rows = model.network.generate(**inputs, generation_config=model.generation_config(decoding))
    width = int(inputs["input_ids"].shape[1])
    found = zip(lengths, pictures, rows[:, width:].tolist(), strict=True)
    return [(int(length), tokens, row) for length, tokens, row in found]


def _shared(model: HFModel, opened: Opened, max_new_tokens: int) -> list[Reply]:
    """Answer greedily, each distinct beginning computed once."""
    import torch

    prompts, pixels = _tokenized(model, opened)
    beginnings = list(dict.fromkeys(prompt.beginning for prompt in prompts))
    first = [next(p for p in prompts if p.beginning == beginning) for beginning in beginnings]
    cuts = [len(prompt.beginning[1]) for prompt in prompts]
    model.forget_positions()
    ids, places, mask = _padded(model, [(p.ids[: (n := len(p.beginning[1]))], p.places[..., :n]) for p in first])
    cache = model.network(
        input_ids=ids,
        position_ids=places,
        attention_mask=mask,
        use_cache=True,
        logits_to_keep=1,
        pixel_values=torch.cat([pixels[hashes][0] for hashes, _ in beginnings]).to(model.network.dtype),
        image_grid_thw=torch.cat([pixels[hashes][1] for hashes, _ in beginnings]),
    ).past_key_values
    owners = torch.tensor([beginnings.index(prompt.beginning) for prompt in prompts], device=model.device)
    cache.batch_select_indices(owners)
    rests = [(p.ids[n:], p.places[..., n:]) for p, n in zip(prompts, cuts, strict=True)]
    ids, places, rest_mask = _padded(model, rests)
    mask = torch.cat([mask[owners], rest_mask], dim=1)
    new = _greedy(model, cache, (ids, places, mask), max_new_tokens)
    return [(len(prompt.ids), model.image_tokens(prompt.ids), row) for prompt, row in zip(prompts, new, strict=True)]


def _greedy(model: HFModel, cache: Any, inputs: tuple[Any, Any, Any], max_new_tokens: int) -> list[list[int]]:
    """Return up to `max_new_tokens` likeliest tokens per row, continuing from `cache`."""
    import torch

    ids, places, mask = inputs
    ends = torch.tensor(model.eos, device=model.device)
    running = torch.ones(len(ids), dtype=torch.bool, device=model.device)
    new = []
    for _ in range(max_new_tokens):
        logits = model.network(
            input_ids=ids, position_ids=places, attention_mask=mask, past_key_values=cache, logits_to_keep=1
        ).logits
        ids = logits[:, -1].float().argmax(dim=-1, keepdim=True)
        new.append(ids)
        running &= ~torch.isin(ids[:, 0], ends)
        if not running.any():
            break
        places = places[..., -1:] + 1
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
    rows: list[list[int]] = torch.cat(new, dim=1).tolist()
    return rows


def _tokenized(model: HFModel, opened: Opened) -> tuple[list[_Prompt], dict[tuple[str, ...], tuple[Any, Any]]]:
    """Return the prompts, and pixel values and grid of each distinct set of images."""
    import torch

    merge = model.config.vision_config.spatial_merge_size**2
    pixels: dict[tuple[str, ...], tuple[Any, Any]] = {}
    prompts = []
    for request, images in opened:
        hashes = _hashes(request)
        if hashes not in pixels:
            seen = model.processor.image_processor(images=images, return_tensors="pt").to(model.device)
            pixels[hashes] = (seen["pixel_values"], seen["image_grid_thw"])
        grid = pixels[hashes][1]
        ids = token_ids(model, request, (grid.prod(-1) // merge).tolist())
        row = torch.tensor([ids], device=model.device)
        is_image = row == model.config.image_token_id
        places, _ = model.network.model.get_rope_index(row, mm_token_type_ids=is_image.int(), image_grid_thw=grid)
        cut = int(is_image[0].nonzero()[-1]) + 1
        prompts.append(_Prompt(ids, places, (hashes, tuple(ids[:cut]))))
    return prompts, pixels


def _padded(model: HFModel, parts: Sequence[tuple[list[int], Any]]) -> tuple[Any, Any, Any]:
    """Return tokens (n, L), places (3, n, L) and mask (n, L) of sequences and their places, padded on the left."""
    import torch

    width = max(len(ids) for ids, _ in parts)
    tokens = torch.full((len(parts), width), model.pad, device=model.device)
    places = torch.ones((3, len(parts), width), dtype=torch.long, device=model.device)
    mask = torch.zeros((len(parts), width), dtype=torch.long, device=model.device)
    for row, (ids, where) in enumerate(parts):
        start = width - len(ids)
        tokens[row, start:] = torch.tensor(ids, device=model.device)
        places[:, row, start:] = where[:, 0]
        mask[row, start:] = 1
    return tokens, places, mask
