"""The `logprob` protocol in vLLM: first-token log-probabilities, and prompt ones where these do not reach.

vLLM names the likeliest 20 next tokens of a prompt in one pass that its prefix cache serves. An option of
several tokens, or one that is not among the 20, costs one more pass over the prompt with the option after it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from aloe_bench.core import Prediction, Request
from aloe_bench.models.opening import failed, open_each
from aloe_bench.models.options import option_ids, scored

if TYPE_CHECKING:
    from aloe_bench.models.vllm_engine import VLLMModel

LIKELIEST = 20  # vLLM's own default limit
Opened = tuple[Request, list[Any]]


def score_options(model: VLLMModel, requests: Sequence[Request]) -> Iterator[Prediction]:
    """Yield one Prediction a request: `text` is the likeliest option, ties going to the first."""
    for request in requests:
        if not request.options:
            yield failed(request, "the request has no options to score")
    opened, broken = open_each([request for request in requests if request.options])
    for request, fault in broken:
        yield failed(request, fault)
    for chat in (True, False):
        yield from _scored([pair for pair in opened if pair[0].chat == chat], model)


def _scored(opened: Sequence[Opened], model: VLLMModel) -> Iterator[Prediction]:
    """Score all at once; if vLLM refuses, by halves, until the one that it refuses stands alone."""
    if not opened:
        return
    started = time.perf_counter()
    try:
        found = _log_probabilities(model, opened)
    except model.refused as error:
        if len(opened) == 1:
            yield failed(opened[0][0], f"{opened[0][0].id}: {error}")
            return
        half = len(opened) // 2
        yield from _scored(opened[:half], model)
        yield from _scored(opened[half:], model)
        return
    share = (time.perf_counter() - started) / len(opened)
    for (request, _), (tokens, scores) in zip(opened, found, strict=True):
        yield scored(request, tokens, scores, share)


def _log_probabilities(model: VLLMModel, opened: Sequence[Opened]) -> list[tuple[int, list[float]]]:
    """Return the prompt's length in tokens and the score of each option, a request."""
    from vllm import SamplingParams

    options = [option_ids(model.tokenizer, request, model.text) for request, _ in opened]
    first = SamplingParams(temperature=0.0, max_tokens=1, logprobs=LIKELIEST)
    outputs = model.ask(opened, [first] * len(opened))
    known: dict[tuple[int, int], float] = {}
    for row, (output, choices) in enumerate(zip(outputs, options, strict=True)):
        for column, ids in enumerate(choices):
            if len(ids) == 1 and ids[0] in output.outputs[0].logprobs[0]:
                known[row, column] = float(output.outputs[0].logprobs[0][ids[0]].logprob)
    places = [(r, c) for r, choices in enumerate(options) for c in range(len(choices))]
    rest = [place for place in places if place not in known]
    prompts = [model.prompt(*opened[row], options[row][column]) for row, column in rest]
    whole = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0)
    answers = model.engine.generate(prompts, [whole] * len(prompts), use_tqdm=False) if prompts else []
    for (row, column), answer in zip(rest, answers, strict=True):
        ids = options[row][column]
        steps = answer.prompt_logprobs[-len(ids) :]
        known[row, column] = sum(float(step[token].logprob) for step, token in zip(steps, ids, strict=True))
    lengths = [len(output.prompt_token_ids) for output in outputs]
    return [(lengths[r], [known[r, c] for c in range(len(choices))]) for r, choices in enumerate(options)]
