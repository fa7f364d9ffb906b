"""What the miniature learns from is what `attack` writes, and its quick forward pass is the stock one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aloe_bench.heart import make as attack
from aloe_bench.heart.attacks import parse_attacks
from aloe_bench.heart.build import HeartRecipe
from aloe_bench.heart.sources.source import load_source
from aloe_bench.heart.wordings import load_templates
from aloe_bench.images import open_image
from aloe_bench.miniature.images import Difficulty
from aloe_bench.miniature.source import TEMPLATES, write_source
from studies.miniature.forward import IGNORED, Question, Writer, answer_logits
from studies.miniature.live import scene_of, training_scenes
from studies.miniature.network import build_network, build_processor, save_checkpoint, train_tokenizer
from studies.miniature.scenes import choice_prompt


def test_training_scenes_are_the_rows_and_pixels_that_attack_writes(tmp_path: Path) -> None:
    import pyarrow.parquet as parquet

    source = load_source(write_source(tmp_path / "source", "ct", 8))
    recipe = HeartRecipe(parse_attacks("all"), load_templates(TEMPLATES[0]))
    work = attack.plan_work([source], recipe)
    elsewhere = {job.image.image_id: job.elsewhere[0] for job in work.jobs}
    attack.build([source], work, recipe, tmp_path / "heart")
    rows = parquet.read_table(tmp_path / "heart" / "heart.parquet").to_pylist()
    assert len(rows) == 4 * 10 + 4 * 13
    images = {image.image_id: image for image in source.images}
    for row in rows:
        image = images[row["source_id"]]
        scene = scene_of(source, recipe, image, open_image(image.path), None, elsewhere[image.image_id])
        view = scene.view(row["attack"], row["variant"])
        drawn = open_image(tmp_path / "heart" / row["image_path"]).convert("RGB")
        assert view.question == row["question"]
        assert np.array_equal(view.pixels, np.asarray(drawn))
        assert scene.answer == row[row["answer"]]
        assert view.claimed == (row[row["cue_target"]] if row["cue_target"] else None)


def test_no_cue_sentence_is_both_trained_on_and_evaluated_with() -> None:
    sets = [load_templates(path) for path in TEMPLATES]
    sentences = [
        {
            text
            for cues in one.cues.values()
            for cue in cues
            for text in (cue.classification, cue.detection, cue.neutral)
        }
        for one in sets
    ]
    assert len(sentences[0]) == len(sentences[1]) == 18 and not sentences[0] & sentences[1]


@pytest.fixture(scope="module")
def tokenizer():
    texts = [choice_prompt("Which box contains the lesion?", ("Blue box", "White box")), "abnormal", "normal"]
    return train_tokenizer(texts * 50)


def test_the_quick_forward_pass_gives_the_logits_of_the_stock_one(tokenizer, tmp_path: Path) -> None:
    """Pictures of two sizes, two questions about one of them, answers of one and of several tokens."""
    scene = next(s for s in training_scenes(32, Difficulty(), 0, 0) if s.task == "detection")
    clean, legend = scene.view("", "baseline"), scene.view("legend", "adversarial")
    assert clean.pixels.shape != legend.pixels.shape
    asked = [
        Question(0, choice_prompt(clean.question, scene.options), "Blue box"),
        Question(1, choice_prompt(legend.question, scene.options), "White box"),
        Question(0, "Describe this image.", "normal"),
    ]
    network = build_network(tokenizer, seed=1).eval()
    processor = build_processor(tokenizer)
    writer = Writer(processor)
    batch = writer.batch(asked, [clean.pixels, legend.pixels])
    with torch.no_grad():
        quick, due, where = answer_logits(network, batch, writer.image_id)

        stock = []
        for question in asked:
            pixels = (clean, legend)[question.picture].pixels
            turns = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question.prompt}]}]
            text = processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            text += question.answer + "<|im_end|>"
            inputs = processor(text=[text], images=[Image.fromarray(pixels)], return_tensors="pt")
            answer = len(tokenizer(question.answer)["input_ids"]) + 1
            logits = network(**inputs).logits[0]
            stock.append(logits[-answer - 1 : -1])
            row = batch.ids[asked.index(question)]
            assert row[: len(logits)].tolist() == inputs["input_ids"][0].tolist()
    assert torch.cat(stock).shape == quick.shape
    assert float((torch.cat(stock) - quick).abs().max()) < 1e-5
    assert due.tolist() == [label for row in batch.labels.tolist() for label in row if label != IGNORED]
    assert int(where.sum()) == len(due)


def test_a_saved_network_is_a_checkpoint_marked_as_miniature(tokenizer, tmp_path: Path) -> None:
    from aloe_bench.core import Decoding, Message, Request
    from aloe_bench.models.hf import HFModel

    folder = save_checkpoint(tmp_path / "saved", build_network(tokenizer, seed=0), tokenizer)

    model = HFModel(str(folder))
    request = Request("r", (Message("user", "What does this image show?"),))
    (reply,) = model.generate([request], Decoding(max_new_tokens=3))
    assert reply.finish in ("stop", "length") and '"aloe_bench_miniature": true' in (folder / "config.json").read_text()
