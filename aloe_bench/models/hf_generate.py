"""The `generate` protocol in transformers: one batch of opened requests becomes replies.

Where prompts of a batch share their images (a clean question and its misled variants), the vision
tower and the prompt up to the end of the images are computed once for all of them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aloe_bench.core import Decoding, Prediction, Request
from aloe_bench.models.hf_options import extended
from aloe_bench.models.hf_prefix import ReadPrompt, begin, common_length, last_logits, picture_hashes, read_prompts
from aloe_bench.models.opening import NOTHING, Begun
from aloe_bench.models.reasoning import said
from aloe_bench.models.sampling import sampling_seed

if TYPE_CHECKING:
    from aloe_bench.models.hf import HFModel

Opened = Sequence[tuple[Request, list[Any]]]
# A prompt's length, how many of its tokens are pictures, and the new tokens.
Reply = tuple[int, int | None, list[int]]


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
        shared = None
        if decoding.likeliest and not begun and _shares_images(model, opened):
            shared = _shared(model, opened, decoding.max_new_tokens)
        return _stock(model, opened, decoding, begun) if shared is None else shared


def _shares_images(model: HFModel, opened: Opened) -> bool:
    seen = [picture_hashes(request) for request, _ in opened if request.images]
    return model.shares and len(set(seen)) < len(seen)


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


def _shared(model: HFModel, opened: Opened, max_new_tokens: int) -> list[Reply] | None:
    """Answer greedily, each distinct beginning computed once; None if the model cannot look back over such rows."""
    prompts = read_prompts(model, opened)
    groups: dict[object, list[int]] = {}
    for number, prompt in enumerate(prompts):
        groups.setdefault(prompt.beginning, []).append(number)
    firsts: list[tuple[ReadPrompt, int]] = []
    owners, cuts = [0] * len(prompts), [0] * len(prompts)
    for numbers in groups.values():
        group = [prompts[number] for number in numbers]
        cut = common_length(group) if len(group) > 1 else group[0].end
        for number in numbers:
            owners[number], cuts[number] = len(firsts), cut
        firsts.append((group[0], cut))
    rests = [prompt.ids[cut:] for prompt, cut in zip(prompts, cuts, strict=True)]
    if max(cuts) + max(map(len, rests)) + max_new_tokens > model.shareable:
        return None
    begun = begin(model, firsts, owners)
    new = _greedy(model, begun.cache, begun.followed_by(rests, model.pad), max_new_tokens)
    return [(len(prompt.ids), model.image_tokens(prompt.ids), row) for prompt, row in zip(prompts, new, strict=True)]


def _greedy(model: HFModel, cache: Any, inputs: dict[str, Any], max_new_tokens: int) -> list[list[int]]:
    """Return up to `max_new_tokens` likeliest tokens per row, continuing from `cache`."""
    import torch

    places, mask = inputs["position_ids"], inputs["attention_mask"]
    ends = torch.tensor(model.eos, device=model.device)
    running = torch.ones(len(mask), dtype=torch.bool, device=model.device)
    new = []
    for _ in range(max_new_tokens):
        logits = model.network(**inputs, past_key_values=cache, use_cache=True, **last_logits(model, 1)).logits
        ids = logits[:, -1].float().argmax(dim=-1, keepdim=True)
        new.append(ids)
        running &= ~torch.isin(ids[:, 0], ends)
        if not running.any():
            break
        places = places[..., -1:] + 1
        mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
        inputs = {"input_ids": ids, "position_ids": places, "attention_mask": mask}
    rows: list[list[int]] = torch.cat(new, dim=1).tolist()
    return rows
