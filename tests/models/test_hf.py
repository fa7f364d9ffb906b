"""The transformers back end, on a tiny Qwen2-VL and a tiny Llama with random weights."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from PIL import Image

os.environ.setdefault("OMP_NUM_THREADS", "1")
torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from aloe_bench.answers.score import grade  # noqa: E402
from aloe_bench.core import Decoding, Message, Model, OptionScorer, Request, Sample  # noqa: E402
from aloe_bench.errors import ModelError  # noqa: E402
from aloe_bench.miniature.checkpoint import build_tiny_checkpoint, main, tiny_tokenizer  # noqa: E402
from aloe_bench.models.checkpoint_files import fingerprint_folder  # noqa: E402
from aloe_bench.models.hf import HFModel  # noqa: E402
from aloe_bench.models.hf_folder import generation_ids  # noqa: E402
from aloe_bench.models.hf_prefix import shareable_tokens  # noqa: E402
from aloe_bench.models.opening import open_images  # noqa: E402

# torch.jit and SWIG-built modules deprecate themselves on newer Pythons while transformers imports them.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning"),
]
DECODING = Decoding(max_new_tokens=12)


@dataclass(frozen=True)
class Picture:
    """A picture drawn on demand: a gradient whose size and tint depend on `number`."""

    number: int
    size: tuple[int, int]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(f"{self.number} {self.size}".encode()).hexdigest()

    def open(self) -> Image.Image:
        tint = (37 * self.number % 256, 91 * self.number % 256, 140)
        return Image.blend(
            Image.linear_gradient("L").resize(self.size).convert("RGB"), Image.new("RGB", self.size, tint), 0.5
        )


class Broken(Picture):
    def open(self) -> Image.Image:
        raise OSError("image file is truncated (12 bytes not processed)")


def request(number: int, text: str = "", **kwargs: object) -> Request:
    words = text or "Which finding is most likely? " + "The patient has fever and cough. " * (number % 4)
    picture = Picture(number, (60 + 23 * number, 200 - 9 * number))
    made = Request(f"q{number}", (Message("user", words),), (picture,), tuple("ABCD"))
    return replace(made, **kwargs)  # type: ignore[arg-type]


def ids_of(model: HFModel, requests: list[Request]) -> dict[str, tuple[int, ...]]:
    return {reply.id: reply.token_ids for reply in model.generate(requests, DECODING)}


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return build_tiny_checkpoint(tmp_path_factory.mktemp("hf") / "tiny")


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> HFModel:
    return HFModel(str(tiny_folder), device="cpu")


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("hf") / "llama"
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        initializer_range=0.1,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def test_the_same_seed_gives_the_same_bytes(tiny_folder, tmp_path, capsys):
    assert main([str(tmp_path / "again")]) == 0

    again, other = tmp_path / "again", build_tiny_checkpoint(tmp_path / "other", seed=1)
    names = sorted(file.name for file in tiny_folder.iterdir())
    assert names == sorted(file.name for file in again.iterdir())
    assert all((tiny_folder / name).read_bytes() == (again / name).read_bytes() for name in names)
    assert fingerprint_folder(again) == fingerprint_folder(tiny_folder) != fingerprint_folder(other)
    assert json.loads((again / "config.json").read_text())["aloe_bench_miniature"] is True
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err


def test_batch_size_does_not_change_the_tokens(tiny):
    requests = [request(number) for number in range(12)]
    by_size = {}
    for size in (1, 4, 7):
        tiny.batch_size = size
        by_size[size] = ids_of(tiny, requests)
    tiny.batch_size = 8

    assert by_size[1] == by_size[4] == by_size[7]
    assert len(by_size[1]) == 12
    assert len(set(by_size[1].values())) > 6


def test_a_reply_carries_its_counts(tiny):
    replies = list(tiny.generate([request(1), request(2, chat=False), request(3, images=())], DECODING))

    model: Model = tiny
    assert isinstance(model, OptionScorer)
    assert model.describe()["dtype"] == "float32"
    assert model.fingerprint == fingerprint_folder(tiny.folder)
    assert {reply.id for reply in replies} == {"q1", "q2", "q3"}
    for reply in replies:
        assert reply.finish in ("stop", "length")
        assert reply.text is not None
        assert (len(reply.token_ids) == 12) == (reply.finish == "length")
        assert reply.output_tokens == len(reply.token_ids)
        assert (reply.prompt_tokens or 0) > 0
        assert (reply.seconds or 0) > 0


def test_sampling_depends_on_the_request_alone(tiny):
    decoding = Decoding(temperature=1.0, max_new_tokens=8)
    requests = [request(number) for number in range(3)]

    together = {reply.id: reply.token_ids for reply in tiny.generate(requests, decoding)}
    alone = next(iter(tiny.generate([requests[2]], decoding)))

    assert together["q2"] == alone.token_ids != ids_of(tiny, [requests[2]])["q2"][:8]


def test_an_image_that_breaks_fails_alone(tiny):
    broken = request(4, images=(Broken(4, (80, 80)),))
    requests = [request(1), broken, request(2)]

    for replies in (list(tiny.generate(requests, DECODING)), list(tiny.option_logprobs(requests))):
        by_id = {reply.id: reply for reply in replies}
        assert len(replies) == 3
        assert by_id["q4"].finish == "error"
        assert by_id["q4"].text is None
        assert "truncated" in str(by_id["q4"].error)
        assert all(by_id[id_].text is not None for id_ in ("q1", "q2"))


def test_a_request_the_processor_refuses_fails_alone(tiny):
    smuggled = request(5, text="Look at <|image_pad|> closely")

    by_id = {reply.id: reply for reply in tiny.generate([request(1), smuggled], DECODING)}

    assert by_id["q1"].text is not None
    assert "2 image tokens for 1 images" in str(by_id["q5"].error)


def test_running_out_of_memory_halves_the_batch(tiny_folder):
    model = HFModel(str(tiny_folder), device="cpu")
    requests = [request(number) for number in range(5)]
    whole, sizes = ids_of(model, requests), []

    def cramped(module, args, kwargs):
        rows = kwargs["input_ids"].shape[0]
        sizes.append(rows)
        if rows > limit:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    model.network.register_forward_pre_hook(cramped, with_kwargs=True)
    limit = 2
    assert ids_of(model, requests) == whole
    assert max(sizes) == 5
    limit = 0
    assert {reply.finish for reply in model.generate(requests, DECODING)} == {"error"}


def test_penalties_of_the_checkpoint_are_not_inherited(tiny, tiny_folder, tmp_path):
    folder = shutil.copytree(tiny_folder, tmp_path / "penalised")
    path = folder / "generation_config.json"
    extra = {"repetition_penalty": 1.5, "no_repeat_ngram_size": 2, "max_length": 40}
    path.write_text(json.dumps(json.loads(path.read_text()) | extra))
    requests = [request(number) for number in range(4)]

    assert ids_of(HFModel(str(folder), device="cpu"), requests) == ids_of(tiny, requests)
    assert fingerprint_folder(folder) != fingerprint_folder(tiny_folder)


def test_vllm_ends_at_the_tokens_that_hf_ends_at(tiny_folder, tmp_path):
    written = json.loads((tiny_folder / "config.json").read_text())
    inner = {**written, "text_config": {**written["text_config"], "eos_token_id": [5, 7]}}
    for number, (config, generation) in enumerate(
        [(written, True), (written, False), (inner, False), ({**inner, "eos_token_id": [9]}, False)]
    ):
        folder = Path(shutil.copytree(tiny_folder, tmp_path / str(number)))
        (folder / "config.json").write_text(json.dumps(config))
        if not generation:
            (folder / "generation_config.json").unlink()
        model = HFModel(str(folder), device="cpu")
        assert generation_ids(folder, model.tokenizer.eos_token_id) == model.eos


def test_code_of_the_checkpoint_is_part_of_its_fingerprint(tiny_folder, tmp_path):
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "coded"))
    (folder / "modeling_own.py").write_text("SCALE = 0\n")  # which nothing loads yet
    assert fingerprint_folder(folder) == fingerprint_folder(tiny_folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoConfig": "modeling_own.Own"}}))
    seen = set()
    for line in ("SCALE = 1\n", "SCALE = 2\n"):
        (folder / "modeling_own.py").write_text(line)
        seen.add(fingerprint_folder(folder))
    assert len(seen | {fingerprint_folder(tiny_folder)}) == 3


def test_sharing_images_does_not_change_the_reply(tiny, tiny_folder):
    fresh = HFModel(str(tiny_folder), device="cpu", batch_size=1, reuse=False)
    sets = [(), (Picture(1, (90, 150)),), (Picture(2, (200, 70)),), (Picture(1, (90, 150)), Picture(2, (200, 70)))]
    requests = [
        replace(request(n, text=f"Which one? {'The chart says B. ' * cue}Answer:"), id=f"{n}/{cue}", images=images)
        for n, images in enumerate(sets)
        for cue in range(5)
    ]
    requests.append(replace(request(9), id="raw", chat=False, images=sets[1]))
    alone = list(fresh.generate(requests, DECODING))
    plain = {reply.id: (reply.token_ids, reply.text, reply.finish, reply.prompt_tokens) for reply in alone}

    for size in (2, 7, 64):
        tiny.batch_size = size
        shared = {r.id: (r.token_ids, r.text, r.finish, r.prompt_tokens) for r in tiny.generate(requests, DECODING)}
        assert shared == plain
    tiny.batch_size = 8
    assert len({ids for ids, *_ in plain.values()}) > len(requests) / 2


def test_sharing_images_does_not_change_the_scores(tiny, tiny_folder):
    fresh = HFModel(str(tiny_folder), device="cpu", reuse=False)
    two = (Picture(1, (90, 150)), Picture(2, (200, 70)))
    cues = ("", "A nurse says B. ", "A nurse says C, and the chart agrees. ", "Think first. ")
    requests = [
        replace(request(n, text=f"Which one? {cue}Answer:"), id=f"{n}/{i}", images=images, options=options)
        for n, (images, options) in enumerate([(two, ("A", "B", "C")), (two[:1], ("A", "pneumonia", "Zyx qq"))])
        for i, cue in enumerate(cues)
    ]
    requests.append(request(9, images=()))

    shared = {reply.id: reply for reply in tiny.option_logprobs(requests)}
    alone = {reply.id: reply for reply in fresh.option_logprobs(requests)}

    assert len(shared) == len(requests)
    for each in requests:
        mine, plain = shared[each.id], alone[each.id]
        assert mine.text == plain.text
        assert mine.text in each.options
        assert mine.prompt_tokens == plain.prompt_tokens
        assert mine.option_logprobs == pytest.approx(plain.option_logprobs, abs=1e-4)
        assert len(mine.option_logprobs) == len(each.options)
    assert len({reply.option_logprobs for reply in alone.values()}) == len(requests)


def test_prompts_over_one_image_compute_it_once(tiny_folder):
    model = HFModel(str(tiny_folder), device="cpu")
    seen: list[int] = []
    model.network.model.visual.register_forward_pre_hook(lambda module, args: seen.append(1))
    requests = [replace(request(3, text=f"Cue {i}. Answer:"), id=str(i)) for i in range(6)]

    assert len(list(model.option_logprobs(requests))) == 6
    assert len(seen) == 1
    assert len(list(model.generate(requests, DECODING))) == 6
    assert len(seen) == 2


def test_one_token_options_agree_with_the_first_token_generated(tiny):
    vocabulary = tuple(tiny.tokenizer.decode([token]) for token in range(40, 60))
    asked = request(3, options=vocabulary)

    scores = next(iter(tiny.option_logprobs([asked]))).option_logprobs

    inputs = tiny.prepare([asked], [open_images(asked)])
    expected = torch.log_softmax(tiny.network(**inputs).logits[0, -1], dim=-1)
    ids = [tiny.tokenizer.encode(option)[0] for option in vocabulary]
    assert scores == pytest.approx(expected[ids].tolist(), abs=1e-4)


def test_a_text_only_folder_answers_and_refuses_images(llama_folder):
    model = HFModel(str(llama_folder), device="cpu", name="judge")
    asked = [request(number, images=()) for number in range(3)]

    by_id = {reply.id: reply for reply in model.generate([*asked, request(7)], DECODING)}
    scored = list(model.option_logprobs([asked[0]]))

    assert model.name == "judge"
    assert all(by_id[each.id].text is not None for each in asked)
    assert by_id["q7"].finish == "error"
    assert "text-only" in str(by_id["q7"].error)
    assert scored[0].text in tuple("ABCD")
    model.batch_size = 1
    assert ids_of(model, asked) == {each.id: by_id[each.id].token_ids for each in asked}


def test_folders_that_are_no_checkpoint_say_so(tiny_folder, tmp_path):
    def message(folder: Path) -> str:
        with pytest.raises(ModelError) as caught:
            HFModel(str(folder), device="cpu")
        assert "\n" not in str(caught.value)
        assert str(folder) in str(caught.value)
        return str(caught.value)

    def spoilt(name: str) -> Path:
        return Path(shutil.copytree(tiny_folder, tmp_path / name))

    assert "no such model folder" in message(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    assert "empty" in message(tmp_path / "empty")
    (bare := spoilt("bare")).joinpath("config.json").unlink()
    assert "no config.json" in message(bare)
    (other := spoilt("other")).joinpath("config.json").write_text("{}")
    assert "no model_type" in message(other)
    (weightless := spoilt("weightless")).joinpath("model.safetensors").unlink()
    assert "no weights" in message(weightless)
    cut = spoilt("cut")
    os.truncate(cut / "model.safetensors", 100_000)
    assert "100000 bytes where the header promises" in message(cut)
    (pointer := spoilt("pointer")).joinpath("model.safetensors").write_text("version https://git-lfs.github.com/")
    assert "git lfs pull" in message(pointer)
    (bert := spoilt("bert")).joinpath("config.json").write_text(
        json.dumps({"model_type": "bert", "architectures": ["BertForTokenClassification"]})
    )
    assert "BertForTokenClassification" in message(bert)


def test_weights_that_lack_a_tensor_are_refused(tiny_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(tiny_folder, tmp_path / "partial"))
    tensors = load_file(folder / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(ModelError, match="lack 1 tensors"):
        HFModel(str(folder), device="cpu")


def test_a_run_begun_in_float32_is_not_finished_in_bfloat16(tiny_folder, aloe, tmp_path):
    from tests.conftest import MINI

    words = ("run", "--model", tiny_folder, "--tasks", "careqa_vision_mcq", "--allow-partial", "--data-root", MINI,
             "--max-new-tokens", "2", "--limit", "4")  # fmt: skip
    assert aloe(*words).returncode == 0
    (summary,) = (tmp_path / "runs").rglob("summary.json")
    summary.unlink()

    other = aloe(*words, "--model-args", "dtype=bfloat16")

    assert other.returncode == 3
    assert "model.settings.dtype was 'float32', is now 'bfloat16'" in other.stderr


def test_an_extended_reply_equals_one_long_one_token_by_token(tiny):
    words = (
        "Which finding is most likely?",
        "What is it, and where? Name it.",
        "Name the organ that is shown here, please.",
    )
    same_picture = [request(1, text, id=f"q{i}") for i, text in enumerate(words)]
    requests = [*same_picture, request(5), request(6, images=()), request(7, chat=False)]
    short = {one.id: one for one in tiny.generate(requests, Decoding(max_new_tokens=5))}
    cut = [one for one in requests if short[one.id].finish == "length"]
    longer = list(tiny.extend(cut, [short[one.id] for one in cut], Decoding(max_new_tokens=11)))
    whole = {one.id: one for one in tiny.generate(requests, Decoding(max_new_tokens=16))}
    assert len(longer) == len(cut) >= 5
    for one in longer:
        other = whole[one.id]
        assert (one.token_ids, one.text, one.finish) == (other.token_ids, other.text, other.finish)
        assert (one.prompt_tokens, one.output_tokens) == (other.prompt_tokens, other.output_tokens)


def template_ending_in(folder: Path, tmp_path: Path, tail: str) -> str:
    path = tmp_path / f"{len(tail)}.jinja"
    path.write_text((folder / "chat_template.jinja").read_text().replace("assistant\n", f"assistant\n{tail}"))
    return str(path)


def test_reasoning_that_the_template_opened_is_no_answer_and_is_closed_before_options(tiny_folder, tmp_path):
    opens = HFModel(
        str(tiny_folder), device="cpu", chat_template=template_ending_in(tiny_folder, tmp_path, "<think>\n")
    )
    closed = HFModel(
        str(tiny_folder),
        device="cpu",
        chat_template=template_ending_in(tiny_folder, tmp_path, "<think>\n\n</think>\n\n"),
    )
    requests = [request(1), request(1, "And where is it?", id="q1b"), request(2)]
    sample = Sample("q1", "choice", "?", "A", "q1", choices=("w", "x", "y", "z"))
    for reply in opens.generate(requests, DECODING):
        score = grade(sample, reply)
        assert reply.text is not None and reply.text.startswith("<think>\n")
        assert (score.parsed, score.outcome, score.rule) == (None, "cut", "unread: open-reasoning")

    ours = {one.id: one.option_logprobs for one in opens.option_logprobs(requests)}
    theirs = {one.id: one.option_logprobs for one in closed.option_logprobs(requests)}
    for name, scores in ours.items():
        assert scores == pytest.approx(theirs[name], abs=1e-4)
    assert opens.describe()["logprob_closes_reasoning"] is True and "logprob_closes_reasoning" not in closed.describe()

    free = {one.id: one for one in opens.generate(requests, Decoding(max_new_tokens=6))}
    bounded = list(opens.generate(requests, Decoding(max_new_tokens=5, reasoning_tokens=6)))
    assert len(bounded) == 3
    for one in bounded:
        assert one.token_ids[:6] == free[one.id].token_ids
        assert one.text is not None and one.text.startswith(f"{free[one.id].text}\n</think>\n\n")
        assert len(free[one.id].token_ids) + 5 < len(one.token_ids) == one.output_tokens


def test_only_what_keeps_keys_and_values_of_all_tokens_shares_a_beginning(tiny):
    def shareable(model_type: str = "qwen2_vl", **text: object) -> float:
        config = copy.deepcopy(tiny.config)
        config.model_type = model_type
        for name, value in text.items():
            setattr(config.text_config, name, value)
        return shareable_tokens(config)

    rope = tiny.config.text_config.rope_parameters
    assert shareable() == float("inf")
    assert shareable(layer_types=["full_attention", "sliding_attention"], sliding_window=64) == 64
    assert shareable(layer_types=["full_attention", "linear_attention"]) == 0
    assert shareable(rope_parameters=rope | {"rope_type": "longrope"}) == 0
    assert shareable(rope_parameters={"full_attention": {"rope_type": "dynamic"}}) == 0
    assert shareable("a_family_that_nobody_tested") == 0
