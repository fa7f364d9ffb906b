"""What the `logprob` protocol is in hf and vllm: the tokens of an option, and the Prediction made of its scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from aloe_bench.core import AnswerLikelihood, OptionScorer, Prediction, Request


def adds_special_tokens(tokenizer: Any, request: Request, text: str, *, processor: bool) -> bool:
    """Return whether the tokenizer puts its own first token before the prompt `text`.

    The rule is transformers' own (`ProcessorMixin.apply_chat_template`): a model with a processor gets the token unless
    the template wrote it; a text model's chat template stands as it is.
    """
    if request.chat and not processor:
        return False
    bos = tokenizer.bos_token
    return not (bos and text.startswith(bos))


def option_ids(tokenizer: Any, request: Request, render: Callable[[Request], str]) -> list[list[int]]:
    """Return each option's tokens: on their own after a chat prompt, which ends in a closed turn.

    After a raw prompt, the text that `render` gives, they are what the tokenizer adds for prompt and option
    together, as in lm-eval: some tokenizers give a text another first token when nothing stands before it.
    """
    if request.chat:
        ids = [list(tokenizer.encode(option, add_special_tokens=False)) for option in request.options]
    else:
        text = render(request)
        special = adds_special_tokens(tokenizer, request, text, processor=False)
        start = len(tokenizer(text, add_special_tokens=special)["input_ids"])
        wholes = tokenizer([text + option for option in request.options], add_special_tokens=special)
        ids = [list(whole[start:]) for whole in wholes["input_ids"]]
    if not all(ids):
        raise ValueError(f"an option of {request.options!r} has no tokens")
    return ids


def scored(
    request: Request, tokens: int, scores: Sequence[float], seconds: float, greedy: Sequence[bool] = ()
) -> Prediction:
    """Return the reply of a request whose options were scored: the likeliest one, ties going to the first."""
    best = max(range(len(scores)), key=scores.__getitem__)
    return Prediction(
        request.id,
        request.options[best].strip(),
        "stop",
        prompt_tokens=tokens,
        output_tokens=0,
        seconds=seconds,
        option_logprobs=tuple(scores),
        option_greedy=tuple(greedy),
    )


def answer_likelihoods(
    model: OptionScorer, tokenizer: Any, render: Callable[[Request], str], requests: Sequence[Request]
) -> Iterator[AnswerLikelihood]:
    """Yield how likely each request's one option is, with the number of its tokens.

    Raises ValueError for a request that has not exactly one option.
    """
    asked = {request.id: request for request in requests}
    if any(len(request.options) != 1 for request in requests):
        raise ValueError("a request for an answer's likelihood has one option, the answer")
    for found in model.option_logprobs(requests):
        if found.finish == "error":
            yield AnswerLikelihood(found.id, None, 0, found.error)
        else:
            (ids,) = option_ids(tokenizer, asked[found.id], render)
            yield AnswerLikelihood(found.id, found.option_logprobs[0], len(ids))
