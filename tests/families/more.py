"""Llama 4, Aya Vision, LFM2-VL and Ovis2: one function per family."""

from __future__ import annotations

from pathlib import Path

from tests.families.base import VISION, chatml, save, text_config, tokenizer
from tests.families.others import HEADERS


def llama4(folder: Path) -> Path:
    import transformers as hf

    marks = "<|image|> <|image_start|> <|image_end|> <|patch|> <|tile_x_separator|> <|tile_y_separator|>".split()
    special = ["<|header_start|>", "<|header_end|>", "<|eot|>", *marks]
    tok = tokenizer(special, bos="<|begin_of_text|>", eos="<|eot|>", pad="<|pad|>", adds_bos=True)
    token = tok.convert_tokens_to_ids
    rope = {"rope_type": "default", "rope_theta": 1e4}
    experts = {"num_local_experts": 2, "intermediate_size_mlp": 96, "head_dim": 16, "attention_chunk_size": 4096}
    sight = {**VISION, "image_size": 56, "patch_size": 14, "vision_output_dim": 64, "rope_parameters": rope}
    projected = {"projector_input_dim": 64, "projector_output_dim": 64, "intermediate_size": 128}
    config = hf.Llama4Config(
        text_config=text_config(tok, rope_parameters=rope, **experts),
        vision_config={**sight, **projected},
        boi_token_index=token("<|image_start|>"),
        eoi_token_index=token("<|image_end|>"),
        image_token_index=token("<|patch|>"),
    )
    template = HEADERS
    for old, new in (("start_header_id", "header_start"), ("end_header_id", "header_end"), ("eot_id", "eot")):
        template = template.replace(old, new)
    images = hf.Llama4ImageProcessor(size={"height": 56, "width": 56}, max_patches=4)
    processor = hf.Llama4Processor(images, tok, patch_size=14, chat_template=template)
    return save(folder, hf.Llama4ForConditionalGeneration(config), processor, ["<|eot|>"])


def aya_vision(folder: Path) -> Path:
    import transformers as hf

    marks = "<|START_OF_IMG|> <|END_OF_IMG|> <|IMG_PATCH|> <|IMG_LINE_BREAK|> TILE TILE_GLOBAL <image>".split()
    turns = "<|START_OF_TURN_TOKEN|> <|END_OF_TURN_TOKEN|> <|USER_TOKEN|> <|CHATBOT_TOKEN|> <|SYSTEM_TOKEN|>".split()
    tok = tokenizer([*marks, *turns], bos="<BOS_TOKEN>", eos="<|END_OF_TURN_TOKEN|>", pad="<PAD>", adds_bos=True)
    sight = {**VISION, "model_type": "siglip_vision_model", "image_size": 56, "patch_size": 14}
    config = hf.AyaVisionConfig(
        text_config=text_config(tok, model_type="cohere2", layer_types=["sliding_attention", "full_attention"]),
        vision_config={**sight, "vision_use_head": False},
        image_token_index=tok.convert_tokens_to_ids("<|IMG_PATCH|>"),
        tie_word_embeddings=True,
    )
    template = (
        "{{ bos_token }}{% for m in messages %}<|START_OF_TURN_TOKEN|>{% if m['role'] == 'system' %}<|SYSTEM_TOKEN|>"
        "{% else %}<|USER_TOKEN|>{% endif %}{% if m['content'] is string %}{{ m['content'] }}{% else %}"
        "{% for part in m['content'] %}{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
        "{% endfor %}{% endif %}<|END_OF_TURN_TOKEN|>{% endfor %}"
        "{% if add_generation_prompt %}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{% endif %}"
    )
    images = hf.GotOcr2ImageProcessor(
        size={"height": 56, "width": 56}, crop_to_patches=True, min_patches=1, max_patches=4
    )
    shapes = {"patch_size": 14, "img_size": 56, "downsample_factor": 2}
    processor = hf.AyaVisionProcessor(images, tok, chat_template=template, **shapes)
    return save(folder, hf.AyaVisionForConditionalGeneration(config), processor, ["<|END_OF_TURN_TOKEN|>"])


def lfm2_vl(folder: Path) -> Path:
    import transformers as hf

    named = {"image_token": "<image>", "image_start_token": "<|image_start|>", "image_end_token": "<|image_end|>"}
    special = ["<|im_start|>", "<|im_end|>", "<|img_thumbnail|>", *named.values()]
    rows = [f"<|img_row_{row}_col_{column}|>" for row in range(1, 5) for column in range(1, 5)]
    tok = tokenizer([*special, *rows], bos="<|startoftext|>", eos="<|im_end|>", pad="<|pad|>", adds_bos=True, **named)
    text = text_config(tok, model_type="lfm2", layer_types=["conv", "full_attention"], block_auto_adjust_ff_dim=False)
    config = hf.Lfm2VlConfig(
        text_config=text,
        vision_config={**VISION, "model_type": "siglip2_vision_model", "patch_size": 16, "num_patches": 64}
        | {"vision_use_head": False},
        image_token_id=tok.convert_tokens_to_ids("<image>"),
        projector_hidden_size=64,
    )
    images = hf.Lfm2VlImageProcessor(
        tile_size=64, min_image_tokens=4, max_image_tokens=16, max_tiles=4, max_num_patches=64, encoder_patch_size=16
    )
    processor = hf.Lfm2VlProcessor(images, tok, chat_template="{{ bos_token }}" + chatml("<image>"))
    return save(folder, hf.Lfm2VlForConditionalGeneration(config), processor, ["<|im_end|>"], spread=0.3)


def ovis2(folder: Path) -> Path:
    import transformers as hf

    marks = "<IMG_ATOM> <IMG_START> <IMG_GRID> <IMG_COL> <IMG_ROW> <IMG_END> <image>".split()
    tok = tokenizer(["<|im_start|>", "<|im_end|>", *marks], eos="<|im_end|>", pad="<|endoftext|>")
    token = tok.convert_tokens_to_ids
    text = text_config(tok, model_type="qwen2")
    config = hf.Ovis2Config(
        text_config=text,
        vision_config={**VISION, "image_size": 56, "patch_size": 14, "hidden_stride": 2, "vocab_size": 64},
        image_token_id=token("<IMG_ATOM>"),
        visual_indicator_token_ids=[token(mark) for mark in marks[1:6]],
        vocab_size=text["vocab_size"],
        hidden_size=64,
    )
    images = hf.Ovis2ImageProcessor(
        size={"height": 56, "width": 56}, crop_to_patches=True, min_patches=1, max_patches=4
    )
    processor = hf.Ovis2Processor(images, tok, chat_template=chatml("<image>\n"), image_seq_length=4)
    return save(folder, hf.Ovis2ForConditionalGeneration(config), processor, ["<|im_end|>"])
