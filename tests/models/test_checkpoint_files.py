"""One list of files: what is loaded is what is checked, fingerprinted and named; nothing else moves the identity."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from aloe_bench.core import Decoding, Message, Request  # noqa: E402
from aloe_bench.errors import AloeError, ModelError, UsageError  # noqa: E402
from aloe_bench.miniature.checkpoint import build_tiny_checkpoint  # noqa: E402
from aloe_bench.models.checkpoint_files import fingerprint_folder, model_name  # noqa: E402
from aloe_bench.models.hf import HFModel  # noqa: E402
from aloe_bench.models.hf_folder import check_folder  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return build_tiny_checkpoint(tmp_path_factory.mktemp("files") / "tiny")


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


@pytest.mark.parametrize("name", ["pytorch_model.bin.index.json", "model.safetensors.index.json"])
def test_an_index_that_is_not_loaded_names_no_missing_files(folder: Path, name: str) -> None:
    before = fingerprint_folder(folder)
    (folder / name).write_text(json.dumps({"weight_map": {"a": "gone-00001-of-00002.bin"}}))
    check_folder(folder)
    assert fingerprint_folder(folder) == before


def test_an_index_that_is_loaded_names_them(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    with pytest.raises(ModelError, match=r"1 of 2 weight files .* missing, first model-00002-of-00002"):
        check_folder(folder)


@pytest.mark.parametrize(
    "name",
    ["trainer_state.json", "pytorch_model.bin", "training_args.bin", "notes.txt", "sub/config.json", "helper.py"],
)
def test_what_no_loader_reads_does_not_move_the_identity(folder: Path, name: str) -> None:
    before = fingerprint_folder(folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("{}")
    assert fingerprint_folder(folder) == before


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "chat_template.jinja", "model.safetensors"])
def test_what_a_loader_reads_moves_it(folder: Path, name: str) -> None:
    before = fingerprint_folder(folder)
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data + b"\n")
    assert fingerprint_folder(folder) != before


def test_a_model_is_called_as_its_folder_its_link_or_its_name_on_the_hub(tiny: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--Org--Some-VL-7B" / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    (tmp_path / "mine").symlink_to(snapshot)
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / "v2").mkdir()
    assert model_name(snapshot) == "Some-VL-7B" == model_name(f"{snapshot}/")
    assert model_name(tmp_path / "mine") == "mine"
    assert model_name(tmp_path / "snapshots" / "v2") == "v2"
    assert model_name("Org/Some-VL-7B") == "Some-VL-7B"


@pytest.fixture(scope="module")
def lora(tiny: Path) -> Callable[[Path], Path]:
    """Return a function that saves a LoRA adapter of the tiny checkpoint in a folder."""
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForImageTextToText

    torch.manual_seed(0)
    network = AutoModelForImageTextToText.from_pretrained(tiny)
    settings = peft.LoraConfig(r=4, lora_alpha=64, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    adapted = peft.get_peft_model(network, settings)

    def save(folder: Path) -> Path:
        adapted.save_pretrained(folder)
        return folder

    return save


def first_scores(model: HFModel) -> tuple[float, ...]:
    (reply,) = model.option_logprobs([Request("q", (Message("user", "Which?"),), options=tuple("ABCD"))])
    return reply.option_logprobs


def test_an_adapter_runs_on_its_base_and_both_are_in_the_identity(
    tiny: Path, lora: Callable[[Path], Path], tmp_path: Path
) -> None:
    adapter = lora(tmp_path / "my-lora")
    model, base = HFModel(str(adapter), device="cpu"), HFModel(str(tiny), device="cpu")
    assert model.name == "my-lora"
    assert first_scores(model) != pytest.approx(first_scores(base), abs=1e-3)
    (facts,) = model.profile.to_json()["adapters"]
    assert (facts["name"], facts["base"]) == ("my-lora", "tiny")
    assert len({model.fingerprint, base.fingerprint}) == 2

    moved = shutil.copytree(tiny, tmp_path / "other-base")
    written = json.loads((adapter / "adapter_config.json").read_text())
    template = moved / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    (adapter / "adapter_config.json").write_text(json.dumps(written | {"base_model_name_or_path": str(moved)}))
    assert fingerprint_folder(adapter) not in (model.fingerprint, base.fingerprint)


def test_weights_with_an_adapter_beside_them_are_refused_on_either_road(
    folder: Path, lora: Callable[[Path], Path]
) -> None:
    lora(folder)
    for refuse in (lambda: HFModel(str(folder)), lambda: fingerprint_folder(folder)):
        with pytest.raises(AloeError, match=r"LoRA adapter .*beside them"):
            refuse()


def test_an_adapter_without_its_base_says_what_to_fetch(lora: Callable[[Path], Path], tmp_path: Path) -> None:
    adapter = lora(tmp_path / "lost")
    written = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(written | {"base_model_name_or_path": "Org/Base-VL"}))
    with pytest.raises(ModelError, match="hf download Org/Base-VL"):
        HFModel(str(adapter))


def template_of(folder: Path, text: str) -> Path:
    (folder / "chat_template.jinja").write_text(text)
    return folder


def test_a_template_that_takes_strings_only_is_met(folder: Path) -> None:
    words = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] }}\n{% endfor %}assistant:"
    model = HFModel(str(template_of(folder, words)), device="cpu")
    assert model.profile.content == "string"
    (reply,) = model.generate([Request("q", (Message("user", "Which?"),))], Decoding(max_new_tokens=2))
    assert reply.error is None


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{% for m in messages %}{{ m['role'] }}{% endfor %}", "become 0"),
        ("{{ messages[0]['content'][7]['text'] }}", "takes neither"),
    ],
)
def test_a_template_that_fails_every_item_is_one_error_with_the_cause(folder: Path, text: str, cause: str) -> None:
    with pytest.raises(ModelError, match=cause):
        HFModel(str(template_of(folder, text)), device="cpu")


def test_a_folder_without_template_is_told_and_can_be_helped(folder: Path, tmp_path: Path) -> None:
    own = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="chat_template=FILE"):
        HFModel(str(folder), device="cpu")
    (tmp_path / "mine.jinja").write_text(own)
    given = HFModel(str(folder), device="cpu", chat_template=str(tmp_path / "mine.jinja"))
    bare = HFModel(str(folder), device="cpu", chat_template="raw")
    assert given.profile.template.startswith("mine.jinja-") and bare.profile.template == "raw"
    assert "<|im_start|>" in given.render(Request("q", (Message("user", "Which?"),)))
    assert bare.render(Request("q", (Message("user", "Which?"),))) == "Which?"


def test_pixels_template_keywords_and_dtype_stand_in_the_profile(folder: Path) -> None:
    text = (folder / "chat_template.jinja").read_text()
    template_of(folder, text.replace("assistant\n", "assistant\n{% if enable_thinking %}<think>\n{% endif %}"))
    plain = HFModel(str(folder), device="cpu").profile
    thinks = HFModel(str(folder), device="cpu", enable_thinking=True).profile
    small = HFModel(str(folder), device="cpu", max_pixels=28 * 28 * 8).profile
    half = HFModel(str(folder), device="cpu", dtype="bfloat16").profile
    paper = HFModel(str(folder), device="cpu", resolution="paper").profile
    assert (plain.thinking, thinks.thinking) == ("none", "opened")
    assert (small.max_pixels, half.dtype) == (28 * 28 * 8, "bfloat16")
    assert (paper.min_pixels, paper.max_pixels) == (1280 * 28 * 28, 16384 * 28 * 28)
    assert len({json.dumps(one.to_json()) for one in (plain, thinks, small, half, paper)}) == 5
    with pytest.raises(UsageError, match="Did you mean enable_thinking"):
        HFModel(str(folder), device="cpu", chat_template_kwargs={"enable_thinkin": True})


def test_fewer_pixels_are_fewer_tokens(folder: Path) -> None:
    from tests.models.test_hf import request

    def tokens(**limits: int) -> int:
        (reply,) = HFModel(str(folder), device="cpu", **limits).generate([request(3)], Decoding(max_new_tokens=1))
        return int(reply.prompt_tokens or 0)

    assert tokens(max_pixels=28 * 28 * 8) < tokens() < tokens(min_pixels=28 * 28 * 60)
