"""Gemma 3 (MedGemma), InternVL, Pixtral, Mistral 3, Mllama: one function per family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.families.base import VISION, chatml, save, text_config, tokenizer


def gemma3(folder: Path, window: int = 32) -> Path:
    import transformers as hf

    special = """<start_of_turn> <end_of_turn> <start_of_image> <end_of_image> <image_soft_token>""".split()
    named = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    tok = tokenizer(special, bos="<bos>", eos="<eos>", pad="<pad>", adds_bos=True, **named)
    token = tok.convert_tokens_to_ids
    layers = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": window}
    config = hf.Gemma3Config(
        text_config=text_config(tok, head_dim=16, query_pre_attn_scalar=16, **layers),
        vision_config={**VISION, "model_type": "siglip_vision_model", "image_size": 112, "patch_size": 14}
        | {"vision_use_head": False},
        mm_tokens_per_image=16,
        boi_token_index=token("<start_of_image>"),
        eoi_token_index=token("<end_of_image>"),
        image_token_index=token("<image_soft_token>"),
    )
    template = (
        "{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m['role'] }}\n{% if m['content'] is string %}"
        "{{ m['content'] | trim }}{% else %}{% for part in m['content'] %}{% if part['type'] == 'image' %}"
        "<start_of_image>{% else %}{{ part['text'] | trim }}{% endif %}{% endfor %}{% endif %}<end_of_turn>\n"
        "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
    )
    images = hf.Gemma3ImageProcessor(size={"height": 112, "width": 112})
    processor = hf.Gemma3Processor(images, tok, chat_template=template, image_seq_length=16)
    network = hf.Gemma3ForConditionalGeneration(config)
    return save(folder, network, processor, ["<eos>", "<end_of_turn>"], spread=0.35)


def gemma3_wide(folder: Path) -> Path:
    return gemma3(folder, window=1024)


def internvl(folder: Path) -> Path:
    import transformers as hf

    named = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    special = ["<|im_start|>", "<|im_end|>", *named.values(), "<video>"]
    tok = tokenizer(special, eos="<|im_end|>", pad="<|endoftext|>", video_token="<video>", **named)
    config = hf.InternVLConfig(
        text_config=text_config(tok, model_type="qwen2"),
        vision_config={**VISION, "image_size": [56, 56], "patch_size": [14, 14]},
        image_token_id=tok.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        downsample_ratio=0.5,
    )
    square = {"height": 56, "width": 56}
    processor = hf.InternVLProcessor(
        hf.GotOcr2ImageProcessor(size=square, crop_to_patches=True, min_patches=1, max_patches=6),
        tok,
        hf.InternVLVideoProcessor(size=square),
        image_seq_length=4,
        chat_template=chatml("<IMG_CONTEXT>\n"),
    )
    return save(folder, hf.InternVLForConditionalGeneration(config), processor, ["<|im_end|>"])


INSTRUCT = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST]{% if m['content'] is string %}"
    "{{ m['content'] }}{% else %}{% for part in m['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% else %}[IMG]{% endif %}{% endfor %}{% endif %}[/INST]{% elif m['role'] == 'system' %}[SYSTEM_PROMPT]"
    "{{ m['content'] if m['content'] is string else m['content'][0]['text'] }}[/SYSTEM_PROMPT]{% endif %}{% endfor %}"
)


def _mistral_parts() -> tuple[Any, dict[str, Any]]:
    special = "[INST] [/INST] [IMG] [IMG_BREAK] [IMG_END] [SYSTEM_PROMPT] [/SYSTEM_PROMPT]".split()
    tok = tokenizer(special, bos="<s>", eos="</s>", pad="<pad>", adds_bos=True)
    return tok, {
        "text_config": text_config(tok, model_type="mistral", head_dim=16),
        "vision_config": {**VISION, "model_type": "pixtral", "head_dim": 16, "image_size": 112, "patch_size": 14},
        "image_token_index": tok.convert_tokens_to_ids("[IMG]"),
        "vision_feature_layer": -1,
    }


def mistral3(folder: Path) -> Path:
    import transformers as hf

    tok, config = _mistral_parts()
    images = hf.PixtralImageProcessor(size={"longest_edge": 112}, patch_size={"height": 14, "width": 14})
    processor = hf.PixtralProcessor(images, tok, patch_size=14, spatial_merge_size=2, chat_template=INSTRUCT)
    network = hf.Mistral3ForConditionalGeneration(hf.Mistral3Config(spatial_merge_size=2, **config))
    return save(folder, network, processor, ["</s>"])


def pixtral(folder: Path) -> Path:
    import transformers as hf

    tok, config = _mistral_parts()
    images = hf.PixtralImageProcessor(size={"longest_edge": 112}, patch_size={"height": 14, "width": 14})
    processor = hf.PixtralProcessor(images, tok, patch_size=14, spatial_merge_size=1, chat_template=INSTRUCT)
    settings = hf.LlavaConfig(vision_feature_select_strategy="full", **config)
    return save(folder, hf.LlavaForConditionalGeneration(settings), processor, ["</s>"])


HEADERS = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for part in m['content'] %}"
    "{% if part['type'] == 'image' %}<|image|>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|eot_id|>"
    "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)


def mllama(folder: Path) -> Path:
    import torch
    import transformers as hf

    special = "<|start_header_id|> <|end_header_id|> <|eot_id|> <|image|> <|python_tag|>".split()
    tok = tokenizer(
        special, bos="<|begin_of_text|>", eos="<|eot_id|>", pad="<|pad|>", adds_bos=True, image_token="<|image|>"
    )
    rope = {"rope_type": "default", "rope_theta": 1e4}
    text = text_config(tok, cross_attention_layers=[1], rope_parameters=rope)
    ratios = [[1, 1], [1, 2], [2, 1], [1, 3], [3, 1], [2, 2], [1, 4], [4, 1]]
    sight = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_global_layers": 1}
    more = {"attention_heads": 2, "image_size": 56, "patch_size": 14, "max_num_tiles": 4, "vision_output_dim": 64}
    shapes = {"supported_aspect_ratios": ratios, "intermediate_layers_indices": [0]}
    config = hf.MllamaConfig(
        text_config={**text, "vocab_size": len(tok)},
        vision_config={**sight, **more, **shapes},
        image_token_index=tok.convert_tokens_to_ids("<|image|>"),
    )
    network = hf.MllamaForConditionalGeneration(config)
    with torch.no_grad():  # the gates of the cross attention start at 0, where a picture changes nothing
        for name, weight in network.named_parameters():
            if "gate" in name and weight.dim() == 1:
                weight.fill_(1.0)
    images = hf.MllamaImageProcessor(size={"height": 56, "width": 56}, max_image_tiles=4)
    return save(folder, network, hf.MllamaProcessor(images, tok, chat_template=HEADERS), ["<|eot_id|>"])
