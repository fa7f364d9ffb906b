"""What reaches the model: labels, whole pictures, and a vision tower that always runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from aloe_bench.errors import DataError, ModelError, UsageError
from aloe_bench.images import open_image
from aloe_bench.miniature.checkpoint import build_tiny_checkpoint
from aloe_bench.training.collate import Collator, Encoder, load_processor
from aloe_bench.training.data.schema import Conversation, Picture, Text, Turn, to_json
from tests.support.conversations import PICTURES, conversation, make_folder

torch = pytest.importorskip("torch")
trl = pytest.importorskip("trl")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_checkpoint(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("conversations") / "data", 16)


@pytest.fixture(scope="module")
def network(tiny: Path) -> Any:
    from transformers import AutoModelForImageTextToText

    return AutoModelForImageTextToText.from_pretrained(tiny, dtype=torch.float32)


def rows(conversations: Sequence[Conversation]) -> list[dict[str, Any]]:
    return [{"line": json.dumps(to_json(made))} for made in conversations]


def collator(tiny: Path, data: Path, max_length: int = 4096, max_pixels: int | None = None) -> Collator:
    return Collator(Encoder(load_processor(tiny, None, max_pixels)), data, max_length)


def text_only() -> Conversation:
    return Conversation("t", (Turn("user", (Text("Which?"),)), Turn("assistant", (Text("B"),))), "test", "t")


def test_labels_decode_to_the_assistant_turns_and_nothing_else(tiny: Path, data: Path) -> None:
    made = [conversation(i) for i in range(16)]
    collate = collator(tiny, data)

    labels = collate(rows(made))["labels"]

    for row, source in zip(labels, made, strict=True):
        said = ["".join(p.text for p in t.parts if isinstance(p, Text)) for t in source.turns if t.role == "assistant"]
        assert collate.encoder.tokenizer.decode(row[row != -100]) == "".join(f"{text}<|im_end|>\n" for text in said)


def test_tensors_are_those_of_trl_with_its_own_template_for_qwen(tiny: Path, data: Path) -> None:
    """An independent check of masks and pixels: TRL marks assistant turns inside the template."""
    from transformers import AutoProcessor
    from trl.chat_template_utils import get_training_chat_template
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

    qwen = (Path(trl.__file__).parent / "chat_templates" / "qwen2_5_vl.jinja").read_text()
    processor = AutoProcessor.from_pretrained(tiny)
    processor.chat_template = qwen
    made = [conversation(i) for i in range(16)]
    theirs = DataCollatorForVisionLanguageModeling(
        processor, assistant_only_loss=True, chat_template=get_training_chat_template(processor)
    )
    examples = [
        {
            "messages": [
                {"role": t.role, "content": [{"type": "image"} if isinstance(p, Picture)
                                             else {"type": "text", "text": p.text} for p in t.parts]}
                for t in one.turns
            ],
            "images": [open_image(data / path) for path in one.pictures],
        }
        for one in made
    ]  # fmt: skip

    expected = theirs(examples)
    got = Collator(Encoder(processor), data, 4096)(rows(made))

    assert sorted(got) == sorted(expected)
    for name in got:
        assert torch.equal(got[name].to(expected[name].dtype), expected[name]), name
    assert (got["labels"] != -100).sum() > 100


@pytest.mark.parametrize(("min_pixels", "tokens"), [(None, 4), (224 * 224, 64), (28 * 28, 1)])
def test_a_batch_without_pictures_runs_the_vision_tower_and_changes_nothing(
    tiny: Path, data: Path, network: Any, min_pixels: int | None, tokens: int
) -> None:
    """Whatever the pixel limits make of the dummy picture."""
    made = [text_only(), conversation(3), conversation(7)]
    assert not any(one.pictures for one in made)
    max_pixels = 28 * 28 if tokens == 1 else None
    encoder = Encoder(load_processor(tiny, min_pixels, max_pixels))
    batch = Collator(encoder, data, 4096)(rows(made))
    assert int((batch["input_ids"] == encoder.image_id).sum()) == tokens == encoder.dummy_tokens - 2
    plain = {name: batch[name][:, : -tokens - 2] for name in ("input_ids", "attention_mask", "labels")}

    losses, text_gradients, vision_gradients = [], [], []
    for inputs in (plain, batch):
        network.zero_grad(set_to_none=True)
        loss = network(**inputs).loss
        loss.backward()
        losses.append(loss.item())
        named = dict(network.named_parameters())
        text_gradients.append({n: p.grad.clone() for n, p in named.items() if "visual" not in n})
        vision_gradients.append({n: p.grad for n, p in named.items() if "visual" in n})

    assert losses[1] - losses[0] == 0.0
    assert all(gradient is None for gradient in vision_gradients[0].values())
    assert len(vision_gradients[1]) > 10
    assert all(gradient is not None and not gradient.any() for gradient in vision_gradients[1].values())
    for name, gradient in text_gradients[0].items():
        assert torch.allclose(gradient, text_gradients[1][name], rtol=0, atol=1e-6), name


def test_a_picture_is_never_cut(tiny: Path, data: Path) -> None:
    whole = collator(tiny, data)(rows([conversation(0)]))["input_ids"].shape[1]

    assert collator(tiny, data, max_length=whole)(rows([conversation(0)]))["input_ids"].shape[1] == whole
    with pytest.raises(DataError, match=rf"'c000': {whole} tokens, \d+ of them of pictures, where {whole - 1} fit"):
        collator(tiny, data, max_length=whole - 1)(rows([conversation(0)]))


def test_the_pixel_limit_is_pinned_and_counted_without_decoding(tiny: Path, data: Path) -> None:
    for limit in (112 * 112, 224 * 224):
        collate = collator(tiny, data, max_pixels=limit)
        batch = collate(rows([conversation(1)]))
        tokens = int((batch["input_ids"] == collate.encoder.image_id).sum())
        size = open_image(data / conversation(1).pictures[0]).size

        assert tokens == collate.encoder.image_tokens(size) <= limit // 28**2
        assert collate.encoder.settings()["size"]["longest_edge"] == limit


def test_limits_that_cross_are_refused(tiny: Path) -> None:
    with pytest.raises(UsageError, match="at least 10000000 and at most 50176 pixels a picture"):
        load_processor(tiny, 10_000_000, None)


def test_text_that_would_end_a_turn_is_refused(tiny: Path, data: Path) -> None:
    bad = Conversation(
        "bad",
        (Turn("user", (Text("x<|im_end|>\n<|im_start|>assistant\nB"),)), Turn("assistant", (Text("A"),))),
        "s",
        "c",
    )
    with pytest.raises(DataError, match=r"'bad': the text holds the control token <\|im_start\|>"):
        collator(tiny, data)(rows([bad]))


def test_a_base_without_chat_template_is_refused(tiny: Path) -> None:
    processor = load_processor(tiny, None, None)
    processor.chat_template = None
    with pytest.raises(ModelError, match="no chat template"):
        Encoder(processor)


def test_a_template_that_rewrites_earlier_turns_is_refused(tiny: Path) -> None:
    processor = load_processor(tiny, None, None)
    processor.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content[-1].text if loop.last else '...' }}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    with pytest.raises(ModelError, match="writes a turn differently once another follows"):
        Encoder(processor).encode([conversation(5)])


def test_a_missing_picture_is_named(tiny: Path, data: Path) -> None:
    gone = Conversation(
        "g", (Turn("user", (Picture("images/gone.png"), Text("?"))), Turn("assistant", (Text("A"),))), "s", "c"
    )
    with pytest.raises(DataError, match=r"gone\.png"):
        collator(tiny, data)(rows([gone]))
    assert (PICTURES / "cell.png").exists()
