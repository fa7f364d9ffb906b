"""The `logprob` protocol: the log-probability of each option as the next words of the reply.

One forward pass a prompt. Where prompts share their images (a clean question and its misled
variants), the images and the text up to where the prompts part are computed once.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aloe_bench.core import Prediction, Request
from aloe_bench.errors import AloeError
from aloe_bench.models.opening import IMAGE_ERRORS, failed, open_images
from aloe_bench.models.options import adds_special_tokens, option_ids, scored

if TYPE_CHECKING:
    from aloe_bench.models.hf import HFModel

# The log-probability of an option, and whether greedy decoding would say it.
Scored = tuple[float, bool]
# A prompt's tokens, and its options.
Found = tuple[list[int], list[Scored]]
# Families whose image positions (M-RoPE) `_shared` reproduces; all others take one full pass a prompt.
REUSING_MODEL_TYPES = frozenset({"qwen2_vl", "qwen2_5_vl"})
# Inputs beside ids and mask that hold something for each token of a prompt.
PER_TOKEN = frozenset({"mm_token_type_ids", "moe_mm_token_type_ids", "token_type_ids", "cross_attention_mask"})
# Families of which each token of a prompt sees the whole of it; what follows is of another type.
PREFIX_MODEL_TYPES = frozenset({"paligemma"})


def score_options(model: HFModel, requests: Sequence[Request]) -> Iterator[Prediction]:
    """Yield one Prediction a request: `text` is the likeliest option, ties going to the first."""
    groups: dict[tuple[object, ...], list[Request]] = {}
    for request in requests:
        fault = "the request has no options to score" if not request.options else model.refusal(request)
        if fault is not None:
            yield failed(request, fault)
            continue
        groups.setdefault(_group_key(model, request), []).append(request)
    for group in groups.values():
        yield from _score_group(model, group)


def _group_key(model: HFModel, request: Request) -> tuple[object, ...]:
    """Return what two prompts must share for one computation to serve both."""
    if not (request.images and model.reuse and model.config.model_type in REUSING_MODEL_TYPES):
        return (id(request),)
    before_images = model.render(request).partition(model.image_token)[0]
    return (request.chat, before_images, *(image.sha256 for image in request.images))


def _score_group(model: HFModel, group: list[Request]) -> Iterator[Prediction]:
    import torch

    started = time.perf_counter()
    try:
        images = open_images(group[0])
    except IMAGE_ERRORS as error:
        for request in group:
            yield failed(request, f"image of {request.id}: {error}")
        return
    with torch.inference_mode():
        if len(group) > 1:
            try:
                found = _shared(model, group, images)
            except AloeError:
                raise
            # Each is then scored alone, and what fails alone fails alone.
            except Exception as error:  # noqa: BLE001
                model.raise_fatal(error)
            else:
                share = (time.perf_counter() - started) / len(group)
                for request, (ids, scores) in zip(group, found, strict=True):
                    yield _prediction(model, request, ids, scores, share)
                return
        for request in group:
            started = time.perf_counter()
            try:
                ids, scores = _alone(model, request, images)
            except AloeError:
                raise
            # A family may raise anything for one odd item: it fails, and the others are scored.
            except Exception as error:  # noqa: BLE001
                model.raise_fatal(error)
                yield failed(request, f"{request.id}: {type(error).__name__}: {' '.join(str(error).split())[:400]}")
                continue
            yield _prediction(model, request, ids, scores, time.perf_counter() - started)


def _prediction(model: HFModel, request: Request, ids: list[int], found: list[Scored], seconds: float) -> Prediction:
    scores, greedy = zip(*found, strict=True)
    said = scored(request, len(ids), scores, seconds, greedy)
    return replace(said, image_tokens=model.image_tokens(ids)) if request.images else said


def _alone(model: HFModel, request: Request, images: list[Any]) -> Found:
    """Score one request with nothing shared; of several options, one of several tokens costs one more pass."""
    inputs = model.prepare([request], [images])
    tokens: list[int] = inputs["input_ids"][0].tolist()
    options = option_ids(model.tokenizer, request, model.render)
    if len(options) == 1:
        (ids,) = options
        whole = extended(model, inputs, [ids[:-1]]) if len(ids) > 1 else inputs
        return tokens, [_followed(_log_softmax(_logits(model, whole, len(ids))), ids)]
    first = _log_softmax(_logits(model, inputs, 1))[-1]
    scores = []
    for ids in options:
        rest = _log_softmax(_logits(model, extended(model, inputs, [ids[:-1]]), len(ids) - 1)) if len(ids) > 1 else []
        scores.append(_followed([first, *rest], ids))
    return tokens, scores


def _followed(rows: Sequence[Any], ids: Sequence[int]) -> Scored:
    """Return how likely the tokens `ids` are under the log-probabilities of each step, and whether each is the top."""
    score = sum(float(row[token]) for row, token in zip(rows, ids, strict=True))
    return score, all(int(row.argmax()) == token for row, token in zip(rows, ids, strict=True))


def extended(model: HFModel, inputs: dict[str, Any], rows: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Return `inputs` with a row of text tokens after each prompt, all rows of one length.

    What else is given per token is for the further ones what it is for the prompt's last, which is text too.
    """
    import torch

    width = len(rows[0])
    longer = dict(inputs)
    fill = {"input_ids": [list(row) for row in rows], "attention_mask": [[1] * width] * len(rows)}
    for name, more in fill.items():
        longer[name] = torch.cat([inputs[name], torch.tensor(more).to(inputs[name])], dim=1)
    for name in PER_TOKEN & inputs.keys():
        last = inputs[name][:, -1:]
        if name == "token_type_ids" and model.config.model_type in PREFIX_MODEL_TYPES:
            last = torch.ones_like(last)
        longer[name] = torch.cat([inputs[name], *[last] * width], dim=1)
    return longer


def _logits(model: HFModel, inputs: dict[str, Any], keep: int, **extra: Any) -> Any:
    """Return the logits of the last `keep` positions of one sequence, shape (keep, vocabulary)."""
    if "logits_to_keep" in inspect.signature(model.network.forward).parameters:
        extra["logits_to_keep"] = keep
    if "past_key_values" not in extra:
        model.forget_positions()
        extra.setdefault("use_cache", False)
    return model.network(**inputs, **extra).logits[0, -keep:]


def _log_softmax(logits: Any) -> Any:
    import torch

    return torch.log_softmax(logits.float(), dim=-1)


def _shared(model: HFModel, group: list[Request], images: list[Any]) -> list[Found]:
    """Score prompts over the same images, of a Qwen2-VL, computing their common beginning once."""
    import torch

    network, config = model.network, model.config
    vision = model.processor.image_processor(images=images, return_tensors="pt").to(model.device)
    grid = vision["image_grid_thw"]
    pads = (grid.prod(-1) // config.vision_config.spatial_merge_size**2).tolist()
    prompts = [token_ids(model, request, pads) for request in group]
    options = [option_ids(model.tokenizer, request, model.render) for request in group]
    common = _common_length(prompts)
    if config.image_token_id in prompts[0][common:]:
        raise ValueError("the prompts part before the end of their images")

    def positions(ids: list[int]) -> tuple[Any, Any, Any]:
        row = torch.tensor([ids], device=model.device)
        kinds = (row == config.image_token_id).int()
        places, _ = network.model.get_rope_index(row, mm_token_type_ids=kinds, image_grid_thw=grid)
        return row, kinds, places

    model.forget_positions()
    row, kinds, places = positions(prompts[0])
    cache = network(
        input_ids=row[:, :common],
        mm_token_type_ids=kinds[:, :common],
        position_ids=places[..., :common],
        pixel_values=vision["pixel_values"],
        image_grid_thw=grid,
        use_cache=True,
        logits_to_keep=1,
    ).past_key_values

    def step(ids: Any, where: Any, keep: int) -> Any:
        inputs = {"input_ids": ids, "position_ids": where}
        return _log_softmax(_logits(model, inputs, keep, past_key_values=cache, use_cache=True))

    found = []
    for prompt, choices in zip(prompts, options, strict=True):
        row, _, places = positions(prompt)
        first = step(row[:, common:], places[..., common:], 1)[-1]
        scores = []
        for ids in choices:
            rest: Any = []
            if len(ids) > 1:
                tail = torch.tensor([ids[:-1]], device=model.device)
                ahead = torch.arange(1, len(ids), device=model.device)
                rest = step(tail, places[..., -1:] + ahead, len(ids) - 1)
                cache.crop(-(len(ids) - 1))
            scores.append(_followed([first, *rest], ids))
        cache.crop(-(len(prompt) - common))
        found.append((prompt, scores))
    return found


def token_ids(model: HFModel, request: Request, pads: list[int]) -> list[int]:
    """Return the prompt's tokens with each image placeholder repeated as often as the image has patches."""
    pieces = model.render(request).split(model.image_token)
    if len(pieces) != len(pads) + 1:
        raise ValueError(f"the prompt holds {len(pieces) - 1} image tokens for {len(pads)} images")
    text = pieces[0]
    for count, piece in zip(pads, pieces[1:], strict=True):
        text += model.image_token * count + piece
    special = adds_special_tokens(model.tokenizer, request, text, processor=model.sees_images)
    return list(model.tokenizer(text, add_special_tokens=special)["input_ids"])


def _common_length(prompts: list[list[int]]) -> int:
    """Return how many first tokens all prompts share, leaving at least one token to each."""
    length = min(map(len, prompts)) - 1
    for prompt in prompts[1:]:
        length = next((i for i in range(length) if prompt[i] != prompts[0][i]), length)
    return length
