"""What `doctor --model` says of a folder, on configurations of the published dimensions and without their weights."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("transformers", reason="needs the hf extra")
from aloe_bench.models.checkup import checkup
from tests.families.qwen import qwen2_vl

# Dimensions of the hub's config.json of Qwen2-VL-7B-Instruct and -72B-Instruct, and the 8.29 and 73.4 billion
# parameters that the hub states for them.
SMALL = {
    "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
    "num_key_value_heads": 4, "vocab_size": 152064,
}  # fmt: skip
LARGE = {
    "hidden_size": 8192, "intermediate_size": 29568, "num_hidden_layers": 80, "num_attention_heads": 64,
    "num_key_value_heads": 8, "vocab_size": 152064,
}  # fmt: skip
SIGHT = {"depth": 32, "embed_dim": 1280, "num_heads": 16, "mlp_ratio": 4}
STATED = {"7B": 8.29e9, "72B": 73.4e9}


def published(folder, text):
    """Return a folder with Qwen2-VL's processor and these dimensions, and no weights."""
    qwen2_vl(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["text_config"] |= {**text, "head_dim": None, "max_position_embeddings": 32768}
    config["text_config"].pop("layer_types")
    config["text_config"]["rope_parameters"] = {
        "rope_type": "default",
        "rope_theta": 1e6,
        "mrope_section": [16, 24, 24],
    }
    config["vision_config"] |= {**SIGHT, "hidden_size": text["hidden_size"]}
    path.write_text(json.dumps(config))
    for weights in folder.glob("*.safetensors"):
        weights.unlink()
    return folder


@pytest.mark.parametrize(("size", "text", "cached"), [("7B", SMALL, 57_344), ("72B", LARGE, 327_680)])
def test_the_published_dimensions_come_to_the_published_sizes(tmp_path, size, text, cached):
    folder = published(tmp_path / size, text)
    found = checkup(str(folder), {}, 80_000_000_000)
    assert found["family"] == "qwen2_vl" and found["loader"] == "image-text-to-text"
    assert found["parameters"] == pytest.approx(STATED[size], rel=0.001)
    assert found["cache_bytes_a_token"] == cached  # 2 x layers x key-value heads x 128 x 2 bytes
    assert "no weights" in found["weights"]
    one, four = found["commands"]["1 x 8 GPUs"], found["commands"]["4 x 8 GPUs"]
    if size == "7B":
        assert list(found["memory"]) == ["1", "2", "4"]  # 28 heads do not split over 8
        assert "tensor_parallel_size" not in one and "--replicas 8 --gpus-per-replica 1" in one
        assert "--ray HEAD_NODE:6379 --replicas 32 " in four
    else:
        # 146.8 GB over two GPUs leave no room for keys and values in 72 of 80 GB.
        assert "tensor_parallel_size=4" in one and "--replicas 2 --gpus-per-replica 4" in one
        assert "--replicas 8 --gpus-per-replica 4" in four
        # NF4: about a quarter of 72 B linear numbers, embeddings and head at 16 bit.
        assert 42e9 < found["memory"]["1"]["4 bit"] - 8 * 4096 * cached - 2e9 < 46e9


def test_doctor_shows_the_prompt_and_what_a_picture_costs(quick, tmp_path):
    folder = qwen2_vl(tmp_path / "tiny")
    said = quick("doctor", "--model", folder, "--model-args", "min_pixels=3136,max_pixels=50176")
    assert said.returncode == 0, said.stderr
    assert "qwen2_vl (Qwen2VLForConditionalGeneration)" in said.stdout
    assert "<|im_start|>user\\n<|vision_start|><|image_pad|><|vision_end|>" in said.stdout
    # 224 x 224 pixels are 8 x 8 merged patches of 28, and two marks around them.
    assert "224 x 224 pixels: 66 tokens" in said.stdout and "1024 x 1024 pixels: 66 tokens" in said.stdout
    assert "On 1 x 8 GPUs of 80 GB: aloe-bench run" in said.stdout
    (folder / "config.json").unlink()
    broken = quick("doctor", "--model", folder)
    assert broken.returncode == 3 and "no config.json" in broken.stderr
