"""DeepSeek-VL (two words around a row of image tokens; the tokenizer writes the start token)."""

from __future__ import annotations

from pathlib import Path

from tests.families.base import VISION, save, text_config, tokenizer

TEMPLATE = (
    "{% for m in messages %}{% if m['role'] != 'system' %}{{ m['role'] | capitalize }}: {% endif %}"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for part in m['content'] %}"
    "{% if part['type'] == 'image' %}<image_placeholder>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "\n\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)


def deepseek_vl(folder: Path) -> Path:
    import transformers as hf

    mark, bos, eos = "<image_placeholder>", "<|begin_of_sentence|>", "<|end_of_sentence|>"
    tok = tokenizer([mark], bos=bos, eos=eos, pad="<pad>", adds_bos=True, image_token=mark)
    config = hf.DeepseekVLConfig(
        text_config=text_config(tok, model_type="llama"),
        vision_config={**VISION, "model_type": "siglip_vision_model", "image_size": 56, "patch_size": 14},
        image_token_id=tok.convert_tokens_to_ids(mark),
    )
    images = hf.DeepseekVLImageProcessor(size={"height": 56, "width": 56}, min_size=14)
    processor = hf.DeepseekVLProcessor(images, tok, chat_template=TEMPLATE, num_image_tokens=16)
    return save(folder, hf.DeepseekVLForConditionalGeneration(config), processor, [eos])
