"""LLaVA-1.5 and LLaVA-NeXT (the tokenizer, not the template, writes the start token), LLaVA-OneVision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.families.base import VISION, chatml, save, text_config, tokenizer

# As in the hub's LLaVA-1.5 folders: pictures first, no start token.
VICUNA = (
    "{% for m in messages %}{% if m['role'] != 'system' %}{{ m['role'].upper() }}: {% endif %}"
    "{% for part in m['content'] if part['type'] == 'image' %}<image>\n{% endfor %}"
    "{% for part in m['content'] if part['type'] == 'text' %}{{ part['text'] }} {% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
PINS = [[56, 112], [112, 56], [112, 112], [168, 56], [56, 168]]
SIGHT = {**VISION, "image_size": 56, "patch_size": 14}
CROP = {"size": {"shortest_edge": 56}, "crop_size": {"height": 56, "width": 56}}


def _vicuna_parts() -> tuple[Any, dict[str, Any]]:
    tok = tokenizer(["<image>"], bos="<s>", eos="</s>", pad="<pad>", adds_bos=True, image_token="<image>")
    return tok, {
        "text_config": text_config(tok, model_type="llama"),
        "vision_config": {**SIGHT, "projection_dim": 32, "model_type": "clip_vision_model"},
        "image_token_index": tok.convert_tokens_to_ids("<image>"),
        "image_seq_length": 16,
    }


def llava(folder: Path) -> Path:
    import transformers as hf

    tok, config = _vicuna_parts()
    more = {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    processor = hf.LlavaProcessor(hf.CLIPImageProcessor(**CROP), tok, chat_template=VICUNA, **more)
    return save(folder, hf.LlavaForConditionalGeneration(hf.LlavaConfig(**config)), processor, ["</s>"])


def llava_next(folder: Path) -> Path:
    import transformers as hf

    tok, config = _vicuna_parts()
    more = {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    images = hf.LlavaNextImageProcessor(image_grid_pinpoints=PINS, **CROP)
    network = hf.LlavaNextForConditionalGeneration(hf.LlavaNextConfig(image_grid_pinpoints=PINS, **config))
    return save(folder, network, hf.LlavaNextProcessor(images, tok, chat_template=VICUNA, **more), ["</s>"])


def llava_onevision(folder: Path) -> Path:
    import transformers as hf

    named = {"image_token": "<image>", "video_token": "<video>"}
    tok = tokenizer(["<|im_start|>", *named.values()], eos="<|im_end|>", pad="<|endoftext|>", **named)
    config = hf.LlavaOnevisionConfig(
        text_config=text_config(tok, model_type="qwen2"),
        vision_config={**SIGHT, "model_type": "siglip_vision_model", "vision_use_head": False},
        image_token_index=tok.convert_tokens_to_ids("<image>"),
        video_token_index=tok.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=PINS,
    )
    square = {"height": 56, "width": 56}
    processor = hf.LlavaOnevisionProcessor(
        hf.LlavaOnevisionImageProcessor(size=square, image_grid_pinpoints=PINS),
        tok,
        hf.LlavaOnevisionVideoProcessor(size=square),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=chatml("<image>\n"),
    )
    return save(folder, hf.LlavaOnevisionForConditionalGeneration(config), processor, ["<|im_end|>"])
