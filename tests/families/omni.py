"""Models that also listen: Qwen2.5-Omni and Qwen3-Omni (their thinkers write), Gemma 4, Phi-4-multimodal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.families.base import VISION, chatml, save, text_config, tokenizer
from tests.families.qwen import ENDS, INTERLEAVED, SHOWN, SIGHT, STACKED

LISTENS = {
    "image_token": "<|image_pad|>",
    "video_token": "<|video_pad|>",
    "audio_token": "<|audio_pad|>",
    "vision_bos_token": "<|vision_start|>",
    "vision_eos_token": "<|vision_end|>",
    "audio_bos_token": "<|audio_start|>",
    "audio_eos_token": "<|audio_end|>",
}
HEARING = {"num_mel_bins": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "d_model": 32}


def _omni(rope: dict[str, Any], patch: int, **text: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of a thinker and of its processor."""
    import transformers as hf

    tok = tokenizer(["<|im_start|>", "<|im_end|>", *LISTENS.values()], eos="<|im_end|>", pad="<|endoftext|>", **LISTENS)
    token = tok.convert_tokens_to_ids
    size = {"shortest_edge": (4 * patch) ** 2, "longest_edge": (2 * patch) ** 2 * 48}
    config = {
        "text_config": text_config(tok, rope_parameters={"rope_type": "default", "rope_theta": 1e6, **rope}, **text),
        "audio_config": {**HEARING, "output_dim": 64, "n_window": 4},
        "audio_start_token_id": token("<|audio_start|>"),
        "audio_end_token_id": token("<|audio_end|>"),
        "vision_start_token_id": token("<|vision_start|>"),
        "vision_end_token_id": token("<|vision_end|>"),
    }
    parts = {
        "image_processor": hf.Qwen2VLImageProcessor(size=dict(size), patch_size=patch),
        "video_processor": hf.Qwen2VLVideoProcessor(size=dict(size), patch_size=patch),
        "feature_extractor": hf.WhisperFeatureExtractor(feature_size=16),
        "tokenizer": tok,
        "chat_template": chatml(SHOWN),
    }
    ids = {kind: token(f"<|{kind}_pad|>") for kind in ("image", "video", "audio")}
    return config | {"ids": ids}, parts


def _as_on_the_hub(folder: Path, architecture: str) -> Path:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": [architecture]}))
    return folder


def qwen2_5_omni(folder: Path) -> Path:
    import torch
    import transformers as hf

    config, parts = _omni({"mrope_section": [2, 3, 3]}, 14)
    ids = {f"{kind}_token_index": number for kind, number in config.pop("ids").items()}
    sight = {**SIGHT, "fullatt_block_indexes": [1], "window_size": 56}
    whole = hf.Qwen2_5OmniConfig(thinker_config={**config, **ids, "vision_config": sight}, enable_audio_output=False)
    network = hf.Qwen2_5OmniForConditionalGeneration(whole)
    save(folder, network, hf.Qwen2_5OmniProcessor(**parts), ENDS)
    torch.save({}, folder / "spk_dict.pt")  # the voices of its talker, without which the class does not load
    return _as_on_the_hub(folder, "Qwen2_5OmniModel")


def qwen3_omni_moe(folder: Path) -> Path:
    import transformers as hf

    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "decoder_sparse_step": 1}
    config, parts = _omni(INTERLEAVED, 16, head_dim=16, **experts)
    ids = {f"{kind}_token_id": number for kind, number in config.pop("ids").items()}
    config["audio_config"] |= {"downsample_hidden_size": 16, "n_window_infer": 8}
    whole = hf.Qwen3OmniMoeConfig(thinker_config={**config, **ids, "vision_config": STACKED}, enable_audio_output=False)
    network = hf.Qwen3OmniMoeForConditionalGeneration(whole)
    return save(folder, network, hf.Qwen3OmniMoeProcessor(**parts), ENDS)


GEMMA_4 = (
    "{{ bos_token }}{% for m in messages %}<|turn>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] | trim }}{% else %}{% for part in m['content'] %}"
    "{% if part['type'] == 'image' %}\n\n<|image|>\n\n{% else %}{{ part['text'] | trim }}{% endif %}{% endfor %}"
    "{% endif %}<turn|>\n{% endfor %}{% if add_generation_prompt %}<|turn>model\n{% endif %}"
)


def gemma4(folder: Path, window: int = 32, layers: int = 2, **more: Any) -> Path:
    import transformers as hf

    named = {
        **{"image_token": "<|image|>", "boi_token": "<|image>", "eoi_token": "<image|>"},
        **{"audio_token": "<|audio|>", "boa_token": "<|audio>", "eoa_token": "<audio|>"},
    }
    special = ["<|turn>", "<turn|>", "<|video|>", *named.values()]
    tok = tokenizer(special, bos="<bos>", eos="<eos>", pad="<pad>", adds_bos=True, **named)
    token = tok.convert_tokens_to_ids
    windows = {"layer_types": ["sliding_attention", "full_attention"] * (layers // 2), "sliding_window": window}
    heads = {"head_dim": 16, "global_head_dim": 16, "hidden_size_per_layer_input": 0}
    text = text_config(tok, **{**heads, **windows, "num_hidden_layers": layers, **more})
    sight = {**VISION, "num_key_value_heads": 2, "head_dim": 16, "patch_size": 8, "pooling_kernel_size": 2}
    config = hf.Gemma4Config(
        text_config=text,
        vision_config={**sight, "position_embedding_size": 256},
        boi_token_id=token("<|image>"),
        eoi_token_id=token("<image|>"),
        image_token_id=token("<|image|>"),
        video_token_id=token("<|video|>"),
        audio_token_id=token("<|audio|>"),
    )
    shown = {"patch_size": 8, "max_soft_tokens": 70, "pooling_kernel_size": 2}
    processor = hf.Gemma4Processor(
        hf.Gemma4AudioFeatureExtractor(),
        hf.Gemma4ImageProcessor(**shown),
        tok,
        hf.Gemma4VideoProcessor(**shown),
        chat_template=GEMMA_4,
        image_seq_length=70,
    )
    return save(folder, hf.Gemma4ForConditionalGeneration(config), processor, ["<eos>", "<turn|>"], spread=0.35)


def gemma4_wide(folder: Path) -> Path:
    """With what the released ones have: pictures seen both ways, layers that share keys, inputs a layer."""
    inputs = {"hidden_size_per_layer_input": 8, "vocab_size_per_layer_input": 1024}
    shared = {"use_bidirectional_attention": "vision", "num_kv_shared_layers": 2}
    return gemma4(folder, window=1024, layers=4, **inputs, **shared)


def phi4_multimodal(folder: Path) -> Path:
    import transformers as hf

    named = {"image_token": "<|image|>", "audio_token": "<|audio|>"}
    special = ["<|user|>", "<|assistant|>", "<|system|>", "<|end|>", *named.values()]
    tok = tokenizer(special, eos="<|endoftext|>", pad="<|pad|>", **named)
    token = tok.convert_tokens_to_ids
    sight = {**VISION, "image_size": 448, "crop_size": 448, "patch_size": 14, "image_token_id": token("<|image|>")}
    heard = {"hidden_size": 32, "intermediate_size": 32, "num_blocks": 1, "num_attention_heads": 2, "input_size": 80}
    channels = {"ext_pw_out_channel": 32, "depthwise_separable_out_channel": 32, "nemo_conv_channels": 8}
    config = hf.Phi4MultimodalConfig(
        **text_config(tok, rope_parameters={"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 1.0}),
        vision_config=sight,
        audio_config={**heard, **channels, "audio_token_id": token("<|audio|>")},
    )
    template = (
        "{% for m in messages %}<|{{ m['role'] }}|>{% if m['content'] is string %}{{ m['content'] }}{% else %}"
        "{% for part in m['content'] %}{% if part['type'] == 'image' %}<|image|>{% else %}{{ part['text'] }}{% endif %}"
        "{% endfor %}{% endif %}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    # Its processor counts the tokens of tiles of 448 pixels, whatever they are.
    images = hf.Phi4MultimodalImageProcessor(size={"height": 448, "width": 448}, dynamic_hd=2, patch_size=14)
    hears = hf.Phi4MultimodalFeatureExtractor()
    processor = hf.Phi4MultimodalProcessor(images, hears, tok, chat_template=template)
    return save(folder, hf.Phi4MultimodalForCausalLM(config), processor, ["<|end|>", "<|endoftext|>"])
