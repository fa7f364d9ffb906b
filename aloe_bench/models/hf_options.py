"""The `logprob` protocol: the log-probability of each option as the next words of the reply.

One forward pass a prompt. Where prompts share their images (a clean question and its misled
variants) or options have several tokens, the images and the text up to where they part are computed
once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aloe_bench.core import Prediction, Request
from aloe_bench.errors import AloeError
from aloe_bench.models.hf_prefix import PER_TOKEN, begin, common_length, last_logits, picture_hashes, read_prompts
from aloe_bench.models.opening import IMAGE_ERRORS, failed, open_images
from aloe_bench.models.options import option_ids, scored

if TYPE_CHECKING:
    from aloe_bench.models.hf import HFModel

log = logging.getLogger(__name__)
# The log-probability of an option, and whether greedy decoding would say it.
Scored = tuple[float, bool]
# A prompt's tokens, and its options.
Found = tuple[list[int], list[Scored]]
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
    if not (request.images and model.shares):
        return (id(request),)
    try:
        beginning = model.render(request).rpartition(model.image_token)[0]
    # A template may raise anything; the request then fails alone, where it is scored.
    except Exception:  # noqa: BLE001
        return (id(request),)
    return (request.chat, beginning, *picture_hashes(request))


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
        found = None
        try:
            found = _shared(model, group, images) if _saves(model, group) else None
        except AloeError:
            raise
        # Each is then scored alone, and what fails alone fails alone.
        except Exception as error:  # noqa: BLE001
            model.raise_fatal(error)
            log.info("%d prompts over one picture scored one by one: %s", len(group), error)
        if found is not None:
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


def _saves(model: HFModel, group: list[Request]) -> bool:
    """Return whether some of the group's tokens are computed twice if each option is scored alone."""
    request = group[0]
    if len(group) > 1 or len(request.options) == 1 or not (request.images and model.shares):
        return len(group) > 1
    return any(len(ids) > 1 for ids in option_ids(model.tokenizer, request, model.render))


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
    for name in PER_TOKEN & inputs.keys() - fill.keys():
        last = inputs[name][:, -1:]
        if name == "token_type_ids" and model.config.model_type in PREFIX_MODEL_TYPES:
            last = torch.ones_like(last)
        longer[name] = torch.cat([inputs[name], *[last] * width], dim=1)
    return longer


def _logits(model: HFModel, inputs: dict[str, Any], keep: int, **extra: Any) -> Any:
    """Return the logits of the last `keep` positions of one sequence, shape (keep, vocabulary)."""
    if "past_key_values" not in extra:
        model.forget_positions()
        extra.setdefault("use_cache", False)
    return model.network(**inputs, **last_logits(model, keep), **extra).logits[0, -keep:]


def _log_softmax(logits: Any) -> Any:
    import torch

    return torch.log_softmax(logits.float(), dim=-1)


def _shared(model: HFModel, group: list[Request], images: list[Any]) -> list[Found] | None:
    """Score prompts over the same images, their common beginning computed once; None if they leave a window."""
    prompts = read_prompts(model, [(request, images) for request in group])
    options = [option_ids(model.tokenizer, request, model.render) for request in group]
    common = common_length(prompts)
    if common < max(prompt.end for prompt in prompts):
        raise ValueError("the prompts part before the end of their images")
    longest = max(len(prompt.ids) for prompt in prompts) + max(len(ids) for choices in options for ids in choices)
    if longest > model.shareable:
        return None
    begun = begin(model, [(prompts[0], common)], [0])

    def step(after: list[int], new: int, keep: int) -> Any:
        """Return log-probabilities of the last `keep` of `new` tokens, with which what comes `after` the cut ends."""
        inputs = begun.followed_by([after], model.pad)
        inputs |= {name: inputs[name][..., -new:] for name in ("input_ids", "position_ids")}
        return _log_softmax(_logits(model, inputs, keep, past_key_values=begun.cache, use_cache=True))

    found = []
    for prompt, choices in zip(prompts, options, strict=True):
        rest = prompt.ids[common:]
        first = step(rest, len(rest), 1)[-1]
        scores = []
        for ids in choices:
            more: Any = []
            if (new := len(ids) - 1) > 0:
                more = step([*rest, *ids[:-1]], new, new)
                begun.cache.crop(-new)
            scores.append(_followed([first, *more], ids))
        begun.cache.crop(-len(rest))
        found.append((prompt.ids, scores))
    return found
