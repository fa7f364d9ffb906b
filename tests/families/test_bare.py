"""What has no chat template: asked in bare prompts where that is exact, refused in one line where it is not."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from aloe_bench.errors import ModelError  # noqa: E402
from aloe_bench.models.hf import HFModel  # noqa: E402
from tests.families import test_families  # noqa: E402
from tests.families.bare import REFUSED, paligemma  # noqa: E402
from tests.families.test_families import EIGHT, WORDS, asked, replies  # noqa: E402

pytestmark = test_families.pytestmark


def own_inputs(model, request):
    """Return what transformers' own processor makes of the bare prompt, as PaliGemma's card calls it."""
    text = "<image>" * len(request.images) + request.messages[0].text
    made = model.processor(text=[text], images=[[picture.open() for picture in request.images]], return_tensors="pt")
    return {name: value for name, value in made.items() if name != "labels"}


@pytest.mark.families
def test_paligemma_says_and_scores_what_transformers_does(tmp_path):
    model = HFModel(str(paligemma(tmp_path / "paligemma")), device="cpu", chat_template="raw")
    requests = [asked(0), asked(1, words="Is there an effusion of the left lung or is it normal?"), asked(2)]
    own = {}
    for request in requests:
        inputs = own_inputs(model, request)
        row = model.network.generate(**inputs, generation_config=model.generation_config(EIGHT))[0]
        new = row[inputs["input_ids"].shape[1] :].tolist()
        own[request.id] = tuple(new[: next((i for i, token in enumerate(new) if token in model.eos), None)])
    assert replies(model, requests, 1) == replies(model, requests, 3) == own
    scored = asked(1, options=WORDS)
    (found,) = model.option_logprobs([scored])
    for option, score in zip(WORDS, found.option_logprobs, strict=True):
        ids = model.tokenizer.encode(option, add_special_tokens=False)
        inputs = own_inputs(model, scored)
        start = inputs["input_ids"].shape[1]
        said = model.network.generate(
            **inputs,
            do_sample=False,
            max_new_tokens=len(ids),
            prefix_allowed_tokens_fn=lambda _, row, ids=ids, start=start: [ids[len(row) - start]],
            output_logits=True,
            return_dict_in_generate=True,
            eos_token_id=None,
        )
        steps = [torch.log_softmax(step[0].float(), dim=-1) for step in said.logits]
        assert score == pytest.approx(sum(float(row[i]) for row, i in zip(steps, ids, strict=True)), abs=1e-4)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.families] if number else []) for number, name in enumerate(REFUSED)]
)
def test_what_hf_cannot_ask_is_said_in_one_line_before_a_question_is(name, tmp_path):
    build, words = REFUSED[name]
    with pytest.raises(ModelError, match=words) as caught:
        HFModel(str(build(tmp_path / "model")), device="cpu", chat_template="raw")
    assert "\n" not in str(caught.value) and str(caught.value).endswith("and give the --base-url.")
