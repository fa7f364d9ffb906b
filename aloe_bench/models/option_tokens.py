"""The tokens of the options that are scored after a prompt, the same for every back end that has a tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def option_ids(tokenizer: Any, options: Sequence[str], raw_prompt: str | None, special: bool) -> list[list[int]]:
    """Return each option's tokens: on their own after a chat prompt, which ends in a closed turn (`raw_prompt` None).

    After a raw prompt they are what the tokenizer adds for prompt and option together, as in lm-eval: some
    tokenizers give a text another first token when nothing stands before it. `special` is whether the tokenizer adds
    its own first token to the prompt. Raises ValueError for an option without tokens.
    """
    if raw_prompt is None:
        ids = [list(tokenizer.encode(option, add_special_tokens=False)) for option in options]
    else:
        start = len(tokenizer(raw_prompt, add_special_tokens=special)["input_ids"])
        wholes = tokenizer([raw_prompt + option for option in options], add_special_tokens=special)
        ids = [list(whole[start:]) for whole in wholes["input_ids"]]
    if not all(ids):
        raise ValueError(f"an option of {tuple(options)!r} has no tokens")
    return ids
