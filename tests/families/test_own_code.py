"""Code of a folder's own: exact where it can be asked as other models are, else refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from aloe_bench.errors import ModelError
from aloe_bench.models.hf import HFModel
from tests.families import own_code, test_families

pytestmark = [pytest.mark.families, *test_families.pytestmark]


@pytest.fixture(autouse=True)
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep transformers' copies of the code out of the user's cache."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))


def test_a_model_and_processor_of_a_folders_own_are_asked_as_transformers_asks_them(tmp_path: Path) -> None:
    model = HFModel(str(own_code.kimi_vl(tmp_path / "kimi")), device="cpu", trust_remote_code=True)

    assert model.profile.loader == "causal-own-code"
    test_families.test_its_prompt_is_the_processors_own(model)
    test_families.test_greedy_replies_are_those_of_transformers_in_any_batch(model)
    test_families.test_an_option_scores_what_forced_decoding_gives(model, test_families.WORDS)
    test_families.test_the_picture_changes_the_scores(model)


def test_own_code_that_bears_the_name_of_a_tested_family_takes_full_passes(tmp_path: Path) -> None:
    model = HFModel(str(own_code.borrowed_name(tmp_path / "own")), device="cpu", trust_remote_code=True)

    assert model.config.model_type == "kimi_k25" and model.reuse
    group = test_families.variants()
    with test_families.vision_passes(model) as passes:
        assert all(reply.error is None for reply in model.option_logprobs(group))
    assert len(passes) >= len(group)


@pytest.mark.parametrize(
    ("shape", "trusted", "words"),
    [
        ("kimi_vl", False, "Read it, and allow it with --model-args trust_remote_code=true"),
        ("ovis", False, r"names no model that continues a prompt \(AutoConfig, AutoModel\)"),
        ("ovis", True, r"names no model that continues a prompt \(AutoConfig, AutoModel\)"),
        ("internvl_chat", True, "brings no processor that reads text and pictures together"),
        ("molmo", True, r"a made-up question failed .* use process\(\)\. .*give the --base-url"),
    ],
)
def test_what_cannot_be_asked_is_said_in_one_line(shape: str, trusted: bool, words: str, tmp_path: Path) -> None:
    folder = getattr(own_code, shape)(tmp_path / "model")
    with pytest.raises(ModelError, match=words) as caught:
        HFModel(str(folder), device="cpu", trust_remote_code=trusted)
    assert "\n" not in str(caught.value)
