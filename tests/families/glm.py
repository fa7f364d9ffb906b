"""GLM-4.1V and GLM-4.5V: [gMASK]<sop> first, a picture between two marks, /nothink."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.families.base import save, text_config, tokenizer

TOKENS = """[gMASK] <sop> <|user|> <|assistant|> <|system|> <|observation|>
<|begin_of_image|> <|image|> <|end_of_image|>
<|begin_of_video|> <|video|> <|end_of_video|> <think> </think> /nothink <|begin_of_box|> <|end_of_box|>""".split()
TEMPLATE = (
    "[gMASK]<sop>{% for m in messages %}<|{{ m['role'] }}|>\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for part in m['content'] %}{% if part['type'] == 'image' %}<|begin_of_image|><|image|><|end_of_image|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "{% if m['role'] == 'user' and enable_thinking is defined and not enable_thinking %}/nothink{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think></think>\n{% endif %}{% endif %}"
)


def _build(folder: Path, config_class: Any, network_class: Any, **text: Any) -> Path:
    from transformers import Glm4vProcessor
    from transformers.models.glm4v.image_processing_glm4v import Glm4vImageProcessor
    from transformers.models.glm4v.video_processing_glm4v import Glm4vVideoProcessor

    tok = tokenizer(TOKENS, eos="<|endoftext|>", pad="<|endoftext|>", image_token="<|image|>", video_token="<|video|>")
    token = tok.convert_tokens_to_ids
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4, "partial_rotary_factor": 0.5}
    sight = {"depth": 2, "hidden_size": 32, "num_heads": 2, "out_hidden_size": 64, "intermediate_size": 64}
    config = config_class(
        text_config=text_config(tok, rope_parameters=rope, **text),
        vision_config={**sight, "patch_size": 14, "image_size": 336},
        image_token_id=token("<|image|>"),
        video_token_id=token("<|video|>"),
        image_start_token_id=token("<|begin_of_image|>"),
        image_end_token_id=token("<|end_of_image|>"),
        video_start_token_id=token("<|begin_of_video|>"),
        video_end_token_id=token("<|end_of_video|>"),
        tie_word_embeddings=False,
    )
    size = {"shortest_edge": 112 * 112, "longest_edge": 28 * 28 * 2 * 48}
    processor = Glm4vProcessor(
        image_processor=Glm4vImageProcessor(size=dict(size)),
        tokenizer=tok,
        video_processor=Glm4vVideoProcessor(size=dict(size)),
        chat_template=TEMPLATE,
    )
    return save(folder, network_class(config), processor, ["<|endoftext|>", "<|user|>", "<|observation|>"])


def glm4v(folder: Path) -> Path:
    import transformers as hf

    return _build(folder, hf.Glm4vConfig, hf.Glm4vForConditionalGeneration)


def glm4v_moe(folder: Path) -> Path:
    import transformers as hf

    experts = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "n_shared_experts": 1}
    groups = {"head_dim": 16, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1}
    return _build(folder, hf.Glm4vMoeConfig, hf.Glm4vMoeForConditionalGeneration, **experts, **groups)
