"""Qwen2-VL, Qwen2.5-VL (MiMo-VL, Lingshu), Qwen3-VL and its MoE, Qwen3.5, and a template that opens the reasoning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.families.base import chatml, save, text_config, tokenizer

NAMED = {
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "vision_bos_token": "<|vision_start|>",
    "vision_eos_token": "<|vision_end|>",
}
SHOWN = "<|vision_start|><|image_pad|><|vision_end|>"
OPENS = (
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% else %}<think>\n{% endif %}"
)
ENDS = ["<|im_end|>", "<|endoftext|>"]
SIGHT = {"depth": 2, "hidden_size": 32, "num_heads": 2, "out_hidden_size": 64, "intermediate_size": 64}


def _parts(patch: int, rope: dict[str, Any], **text: Any) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Return tokenizer, the config's common settings, and the processor's."""
    from transformers import Qwen3VLVideoProcessor
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor
    from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor

    special = ["<|im_start|>", "<|im_end|>", *NAMED.values(), "<think>", "</think>"]
    tok = tokenizer(special, eos="<|im_end|>", pad="<|endoftext|>", **NAMED)
    token = tok.convert_tokens_to_ids
    config = {
        "text_config": text_config(tok, rope_parameters={"rope_type": "default", "rope_theta": 1e6, **rope}, **text),
        "image_token_id": token("<|image_pad|>"),
        "video_token_id": token("<|video_pad|>"),
        "vision_start_token_id": token("<|vision_start|>"),
        "vision_end_token_id": token("<|vision_end|>"),
        "tie_word_embeddings": False,
    }
    size = {"shortest_edge": (4 * patch) ** 2, "longest_edge": (2 * patch) ** 2 * 48}
    video = Qwen3VLVideoProcessor if patch == 16 else Qwen2VLVideoProcessor
    parts = {
        "image_processor": Qwen2VLImageProcessor(size=dict(size), patch_size=patch),
        "tokenizer": tok,
        "video_processor": video(size=dict(size), patch_size=patch),
        "chat_template": chatml(SHOWN),
    }
    return tok, config, parts


def qwen2_vl(folder: Path) -> Path:
    import transformers as hf

    _, config, parts = _parts(14, {"mrope_section": [2, 3, 3]})
    sight = {"depth": 2, "embed_dim": 32, "num_heads": 2, "hidden_size": 64, "mlp_ratio": 2}
    network = hf.Qwen2VLForConditionalGeneration(hf.Qwen2VLConfig(vision_config=sight, **config))
    return save(folder, network, hf.Qwen2VLProcessor(**parts), ENDS)


def qwen2_5_vl(folder: Path) -> Path:
    import transformers as hf

    _, config, parts = _parts(14, {"mrope_section": [2, 3, 3]})
    sight = {**SIGHT, "fullatt_block_indexes": [1], "window_size": 56}
    network = hf.Qwen2_5_VLForConditionalGeneration(hf.Qwen2_5_VLConfig(vision_config=sight, **config))
    return save(folder, network, hf.Qwen2_5_VLProcessor(**parts), ENDS)


DEEP = {**SIGHT, "patch_size": 16, "num_position_embeddings": 64}
STACKED = {**DEEP, "deepstack_visual_indexes": [0, 1]}
INTERLEAVED = {"mrope_section": [2, 3, 3], "mrope_interleaved": True}


def qwen3_vl(folder: Path, opened: bool = False) -> Path:
    import transformers as hf

    _, config, parts = _parts(16, INTERLEAVED, head_dim=16)
    parts["chat_template"] = chatml(SHOWN, OPENS if opened else "")
    network = hf.Qwen3VLForConditionalGeneration(hf.Qwen3VLConfig(vision_config=STACKED, **config))
    return save(folder, network, hf.Qwen3VLProcessor(**parts), ENDS)


def qwen3_vl_thinking(folder: Path) -> Path:
    return qwen3_vl(folder, opened=True)


def qwen3_vl_moe(folder: Path) -> Path:
    import transformers as hf

    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "decoder_sparse_step": 1}
    _, config, parts = _parts(16, INTERLEAVED, head_dim=16, **experts)
    network = hf.Qwen3VLMoeForConditionalGeneration(hf.Qwen3VLMoeConfig(vision_config=STACKED, **config))
    return save(folder, network, hf.Qwen3VLProcessor(**parts), ENDS)


def qwen3_5(folder: Path) -> Path:
    import transformers as hf

    rope = {"mrope_section": [1, 1, 2], "mrope_interleaved": True, "partial_rotary_factor": 0.5}
    linear = {
        "layer_types": ["linear_attention", "full_attention"],
        "linear_key_head_dim": 8,
        "linear_value_head_dim": 8,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
    }
    _, config, parts = _parts(16, rope, head_dim=16, **linear)
    network = hf.Qwen3_5ForConditionalGeneration(hf.Qwen3_5Config(vision_config=DEEP, **config))
    return save(folder, network, hf.Qwen3VLProcessor(**parts), ENDS)
