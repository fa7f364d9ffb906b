"""Idefics2 (the tokenizer writes the start token), Idefics3 and SmolVLM (pictures in tiles)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.families.base import VISION, save, text_config, tokenizer

TEMPLATE = (
    "{% for m in messages %}{{ m['role'] | capitalize }}:{% if m['content'][0]['type'] != 'image' %} {% endif %}"
    "{% for part in m['content'] %}{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
NAMED = {
    "image_token": "<image>",
    "fake_image_token": "<fake_token_around_image>",
    "global_image_token": "<global-img>",
    "end_of_utterance_token": "<end_of_utterance>",
    "image_boundary_token": "<fake_token_around_image>",
    "video_token": "<image>",
}
TILES = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
SIGHT = {**VISION, "image_size": 56, "patch_size": 14}


def _tokenizer(bos: str, adds_bos: bool) -> Any:
    special = [*dict.fromkeys(NAMED.values()), *TILES]
    return tokenizer(special, bos=bos, eos="<|eot|>", pad="<|pad|>", adds_bos=adds_bos, **NAMED)


def idefics2(folder: Path) -> Path:
    import transformers as hf

    tok = _tokenizer("<s>", adds_bos=True)
    resampler = {
        "hidden_size": 64,
        "resampler_n_latents": 4,
        "resampler_depth": 1,
        "resampler_n_heads": 4,
        "resampler_head_dim": 16,
        "num_key_value_heads": 2,
    }
    config = hf.Idefics2Config(
        text_config=text_config(tok, model_type="mistral"),
        vision_config=SIGHT,
        perceiver_config=resampler,
        image_token_id=tok.convert_tokens_to_ids("<image>"),
    )
    images = hf.Idefics2ImageProcessor(size={"shortest_edge": 28, "longest_edge": 56}, do_image_splitting=False)
    processor = hf.Idefics2Processor(images, tok, image_seq_len=4, chat_template=TEMPLATE)
    return save(folder, hf.Idefics2ForConditionalGeneration(config), processor, ["<|eot|>", "<end_of_utterance>"])


def idefics3(folder: Path) -> Path:
    import transformers as hf

    tok = _tokenizer("<|begin_of_text|>", adds_bos=True)
    config = hf.Idefics3Config(
        text_config=text_config(tok, model_type="llama"),
        vision_config=SIGHT,
        image_token_id=tok.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=tok.pad_token_id,
    )
    images = hf.Idefics3ImageProcessor(size={"longest_edge": 112}, max_image_size={"longest_edge": 56})
    processor = hf.Idefics3Processor(images, tok, image_seq_len=4, chat_template=tok.bos_token + TEMPLATE)
    return save(folder, hf.Idefics3ForConditionalGeneration(config), processor, ["<|eot|>", "<end_of_utterance>"])


def smolvlm(folder: Path) -> Path:
    import transformers as hf

    tok = _tokenizer("<|im_start|>", adds_bos=False)
    config = hf.SmolVLMConfig(
        text_config=text_config(tok, model_type="llama"),
        vision_config=SIGHT,
        image_token_id=tok.convert_tokens_to_ids("<image>"),
        scale_factor=2,
        pad_token_id=tok.pad_token_id,
    )
    sizes = {"size": {"longest_edge": 112}, "max_image_size": {"longest_edge": 56}}
    processor = hf.SmolVLMProcessor(
        hf.SmolVLMImageProcessor(**sizes),
        tok,
        hf.SmolVLMVideoProcessor(**sizes),
        image_seq_len=4,
        chat_template=tok.bos_token + TEMPLATE,
    )
    return save(folder, hf.SmolVLMForConditionalGeneration(config), processor, ["<|eot|>", "<end_of_utterance>"])
