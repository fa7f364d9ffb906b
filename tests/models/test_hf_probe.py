"""What the question at load finds out of a network whose passes give other scores than `generate` goes by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from aloe_bench.errors import ModelError
from aloe_bench.miniature.loop import BASE
from aloe_bench.models.hf import HFModel
from aloe_bench.models.hf_probe import probe


def tampered(is_wrong: Callable[[int, int], bool]) -> HFModel:
    """Return the shipped base, whose passes without a cache give wrong scores where `is_wrong(rows, more tokens)`."""
    model = HFModel(str(BASE), device="cpu")
    widths: list[int] = []

    def turned(_: Any, args: Any, given: Any, made: Any) -> Any:
        if given.get("use_cache") is False:
            rows, width = given["input_ids"].shape
            widths.append(width)
            if is_wrong(rows, width - widths[0]):
                made.logits = made.logits.roll(1, -1)
        return made

    model.network.register_forward_hook(turned, with_kwargs=True)
    return model


def test_a_model_whose_passes_agree_is_taken_as_it_is() -> None:
    probe(model := tampered(lambda rows, more: False))

    assert model.unextendable is None and "one_by_one" not in model.describe()


def test_a_model_whose_passes_do_not_continue_the_prompt_is_refused() -> None:
    with pytest.raises(ModelError, match="does not continue the prompt"):
        probe(tampered(lambda rows, more: True))


def test_options_are_not_scored_where_a_longer_prompt_has_other_next_words() -> None:
    probe(model := tampered(lambda rows, more: rows == 1 and more == 1))

    assert "one_by_one" not in model.describe()
    with pytest.raises(ModelError, match="other next words"):
        list(model.option_logprobs([]))


def test_a_model_whose_scores_a_batch_changes_is_asked_one_by_one() -> None:
    probe(model := tampered(lambda rows, more: rows > 1))

    assert model.unextendable is None and model.describe()["one_by_one"] is True
