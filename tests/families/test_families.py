"""Eight promises, held by every family: what `hf` gives is what transformers' own processor and `generate` give."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from PIL import Image, ImageChops

os.environ.setdefault("OMP_NUM_THREADS", "1")
torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from aloe_bench.core import Decoding, Message, Request  # noqa: E402
from aloe_bench.models.hf import HFModel  # noqa: E402
from tests.families.table import FAMILIES, NO_REUSE, builder  # noqa: E402

# Warnings of transformers and of what it imports, none of them ours.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning"),  # of GLM's processor
    pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning"),
]
SIZES = ((60, 200), (120, 90), (33, 47), (224, 224), (301, 77), (150, 151))
EIGHT = Decoding(max_new_tokens=8)
CLOSES = "\n</think>\n\n"  # what Qwen3's own template writes where thinking is off
TOWERS = (
    "visual",
    "vision_tower",
    "vision_model",
    "image_embed",
    "quantize",
)  # what the families call what looks at pictures
WORDS = ("acute effusion of the left lung", "normal", "chronic mass of the heart")


@dataclass(frozen=True)
class Picture:
    """Coloured shapes that depend on `number`."""

    number: int
    size: tuple[int, int]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(f"{self.number} {self.size}".encode()).hexdigest()

    def open(self) -> Image.Image:
        ramp = Image.linear_gradient("L").resize(self.size)
        bands = [ImageChops.offset(ramp, 31 * self.number * band, 17 * self.number) for band in (1, 2, 3)]
        return Image.merge("RGB", [band.rotate(90 * (self.number % 4)) for band in bands])


def asked(number: int, *, pictures: int = 1, words: str = "", system: bool = False, **more: Any) -> Request:
    text = words or f"Which finding is most likely? {'The patient has fever. ' * (number % 3)}"
    turns = (Message("system", "Answer in one word."),) if system else ()
    shown = tuple(Picture(10 * number + i, SIZES[(number + i) % len(SIZES)]) for i in range(pictures))
    return Request(f"q{number}-{pictures}-{system}-{words}", (*turns, Message("user", text)), shown, **more)


def own_inputs(model: HFModel, request: Request) -> Any:
    """Return what transformers' own `apply_chat_template(tokenize=True)` makes of the request."""
    turns = []
    images = [picture.open() for picture in request.images]
    for message in request.messages:
        shown, images = (images, []) if message.role == "user" else ([], images)
        pictures = [{"type": "image", "image": image} for image in shown]
        turns.append({"role": message.role, "content": [*pictures, {"type": "text", "text": message.text}]})
    made = model.processor.apply_chat_template(
        turns,
        chat_template=model.template,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        add_generation_prompt=True,
    )
    # Llama 4's processor gives pixels in bfloat16, whatever the weights are in.
    cast = {key: value.to(model.network.dtype) if value.is_floating_point() else value for key, value in made.items()}
    return {key: value for key, value in cast.items() if key != "token_type_ids" or "image" in repr(turns)}


def own_ids(model: HFModel, request: Request) -> list[int]:
    ids: list[int] = own_inputs(model, request)["input_ids"][0].tolist()
    return ids


def our_ids(model: HFModel, request: Request) -> list[int]:
    ids: list[int] = model.prepare([request], [[picture.open() for picture in request.images]])["input_ids"][0].tolist()
    return ids


def replies(model: HFModel, requests: list[Request], size: int = 8) -> dict[str, tuple[int, ...]]:
    model.batch_size = size
    return {reply.id: reply.token_ids for reply in model.generate(requests, EIGHT)}


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[pytest.mark.families] if number else []) for number, name in enumerate(FAMILIES)],
)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> HFModel:
    torch.set_num_threads(1)
    folder = builder(request.param)(tmp_path_factory.mktemp("family") / request.param)
    return HFModel(str(folder), device="cpu", name=request.param)


def test_it_loads_as_a_model_that_sees(model: HFModel) -> None:
    assert model.sees_images
    assert all(reply.text is not None for reply in model.generate([asked(0), asked(1, pictures=0)], EIGHT))


def test_its_prompt_is_the_processors_own(model: HFModel) -> None:
    requests = [asked(i) for i in range(6)] + [asked(6, pictures=2), asked(7, pictures=0), asked(8, system=True)]
    for request in requests:
        assert our_ids(model, request) == own_ids(model, request), request.id


def test_pictures_stand_before_the_words_one_mark_each(model: HFModel) -> None:
    text = model.render(asked(1, pictures=2, words="chest question"))
    assert text.count(model.image_token) == 2
    assert text.rindex(model.image_token) < text.index("chest question")
    marks = [re.escape(model.image_token)] * 2
    assert re.search(".*".join([*marks, "chest question"]), text, re.DOTALL)


def test_greedy_replies_are_those_of_transformers_in_any_batch(model: HFModel) -> None:
    requests = [asked(i) for i in range(6)] + [asked(6, pictures=2), asked(7, pictures=0)]
    own = {}
    for request in requests:
        inputs = own_inputs(model, request)
        model.forget_positions()
        row = model.network.generate(**inputs, generation_config=model.generation_config(EIGHT))[0]
        new = row[inputs["input_ids"].shape[1] :].tolist()
        end = next((i for i, token in enumerate(new) if token in model.eos), None)
        own[request.id] = tuple(new[:end])
    assert replies(model, requests, 1) == own
    assert replies(model, requests, 4) == own
    if model.config.model_type not in ("gemma3", "gemma4"):  # one word whatever they see; their scores differ
        assert len(set(own.values())) > 1


@pytest.mark.parametrize("options", [tuple("ABCD"), WORDS], ids=["letters", "words"])
def test_an_option_scores_what_forced_decoding_gives(model: HFModel, options: tuple[str, ...]) -> None:
    for request in (asked(2, options=options), asked(5, pictures=2, options=options)):
        (reply,) = model.option_logprobs([request])
        assert reply.error is None
        for option, found in zip(options, reply.option_logprobs, strict=True):
            words = f"{CLOSES}{option}" if model.profile.thinking == "opened" else option
            ids = model.tokenizer.encode(words, add_special_tokens=False)
            assert found == pytest.approx(forced(model, request, ids, option), abs=1e-4)


def forced(model: HFModel, request: Request, ids: list[int], option: str) -> float:
    """Return the log-probability of the option at the end of `ids`, where generate may say nothing but these."""
    inputs = own_inputs(model, request)
    start = inputs["input_ids"].shape[1]
    model.forget_positions()
    said = model.network.generate(
        **inputs,
        do_sample=False,
        repetition_penalty=1.0,
        max_new_tokens=len(ids),
        prefix_allowed_tokens_fn=lambda _, row: [ids[len(row) - start]],
        output_logits=True,
        return_dict_in_generate=True,
        eos_token_id=None,
    )
    rows = [torch.log_softmax(row[0].float(), dim=-1) for row in said.logits]
    scored = len(model.tokenizer.encode(option, add_special_tokens=False))
    return float(sum(row[token] for row, token in list(zip(rows, ids, strict=True))[-scored:]))


def test_variants_of_one_picture_get_the_same_with_and_without_reuse(model: HFModel) -> None:
    group = variants()
    model.reuse = True
    with vision_passes(model) as generating:
        shared = replies(model, group, 16)
    with vision_passes(model) as scoring:
        scores = list(model.option_logprobs(group))
    model.reuse = False
    with vision_passes(model) as alone:
        own_scores = {reply.id: reply for reply in model.option_logprobs(group)}
    own = replies(model, group, 1)
    model.reuse = True

    assert shared == own
    for found in scores:
        assert found.option_logprobs == pytest.approx(own_scores[found.id].option_logprobs, abs=1e-4), found.id
        assert found.prompt_tokens == own_scores[found.id].prompt_tokens
    pictures = len({request.images for request in group})
    if model.name in NO_REUSE:
        assert len(scoring) == len(alone)
    else:
        assert len(scoring) == pictures < len(group) <= len(alone)
        assert len(generating) <= pictures


def variants() -> list[Request]:
    """Return prompts of unlike lengths: three on one picture, one each on two of one size, and two on two pictures."""
    leads = ("", "A doctor says B. ", "The report of this patient says that the answer is C. ")
    options = (*"ABC", WORDS[0])
    asks = ((4, 1, 3), (7, 1, 1), (7 + len(SIZES), 1, 1), (8, 2, 2))
    shown = ((asked(number, pictures=pictures, options=options), count) for number, pictures, count in asks)
    return [
        replace(base, id=f"{base.id} {i}", messages=(Message("user", lead + base.messages[0].text),))
        for base, count in shown
        for i, lead in enumerate(leads[:count])
    ]


@contextmanager
def vision_passes(model: HFModel) -> Iterator[list[str]]:
    """Give a list that grows by one with every pass over pictures."""
    passes: list[str] = []
    towers = [module for name, module in model.network.named_modules() if name.rpartition(".")[2] in TOWERS]
    hook = towers[0].register_forward_pre_hook(lambda module, args: passes.append(type(module).__name__))
    try:
        yield passes
    finally:
        hook.remove()


def test_the_picture_changes_the_scores(model: HFModel) -> None:
    first = asked(0, options=tuple("ABCD"))
    second = replace(first, id="other", images=(Picture(77, first.images[0].size),))
    one, other = (reply.option_logprobs for reply in model.option_logprobs([first, second]))
    assert max(abs(a - b) for a, b in zip(one, other, strict=True)) > 0.1
