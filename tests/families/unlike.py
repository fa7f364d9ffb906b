"""Families that do one thing as no other: Chameleon, Qianfan-OCR, HunYuan-VL, Kimi-K2.5, MiniCPM-V 4.6, MiniMax-M3."""

from __future__ import annotations

from pathlib import Path

from tests.families.base import VISION, chatml, save, text_config, tokenizer

TURNS = ["<|im_start|>", "<|im_end|>"]


def chameleon(folder: Path) -> Path:
    """Pictures are words of its own; its processor ends each prompt with a token that no template wrote."""
    import transformers as hf

    named = {"image_token": "<image>", "boi_token": "<racm3:break>", "eoi_token": "<eoss>"}
    words = [f"IMGIMG{chr(65 + i // 10)}{chr(65 + i % 10)}Z" for i in range(32)]
    tok = tokenizer(
        [*TURNS, *named.values(), "<reserved08706>", *words], bos="<s>", eos="</s>", pad="<pad>", adds_bos=True, **named
    )
    tok.sep_token, tok.chat_template = "<reserved08706>", chatml("<image>")
    sight = {"embed_dim": 8, "num_embeddings": 32, "latent_channels": 8, "resolution": 32, "base_channels": 32}
    sight |= {"channel_multiplier": [1, 2, 2], "num_res_blocks": 1}
    config = hf.ChameleonConfig(
        **text_config(tok) | {"num_key_value_heads": 4}, vq_config=sight, vocabulary_map=dict(tok.get_vocab())
    )
    images = hf.ChameleonImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    processor = hf.ChameleonProcessor(images, tok, image_seq_length=64)
    return save(folder, hf.ChameleonForConditionalGeneration(config), processor, ["</s>", "<|im_end|>"])


def qianfan_ocr(folder: Path) -> Path:
    """The token that stands for a picture in a prompt is not the one that it becomes."""
    import transformers as hf

    named = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    tok = tokenizer([*TURNS, *named.values()], eos="<|im_end|>", pad="<|endoftext|>", **named)
    config = hf.QianfanOCRConfig(
        text_config=text_config(tok, model_type="qwen3", head_dim=16),
        vision_config={**VISION, "image_size": [56, 56], "patch_size": [14, 14]},
        image_token_id=tok.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
        downsample_ratio=0.5,
    )
    images = hf.GotOcr2ImageProcessor(
        size={"height": 56, "width": 56}, crop_to_patches=True, min_patches=1, max_patches=6
    )
    processor = hf.QianfanOCRProcessor(images, tok, image_seq_length=4, chat_template=chatml("<image>\n"))
    return save(folder, hf.QianfanOCRForConditionalGeneration(config), processor, ["<|im_end|>"])


def hunyuan_vl(folder: Path) -> Path:
    """Places of four kinds (XD-RoPE); a picture's rows end in tokens of their own."""
    import transformers as hf

    named = {"image_token": "<|place|>", "image_start_token": "<|start|>", "image_end_token": "<|end|>"}
    tok = tokenizer(
        [*TURNS, *named.values(), "<|line|>"], bos="<|bos|>", eos="<|im_end|>", pad="<|pad|>", adds_bos=True, **named
    )
    token = tok.convert_tokens_to_ids
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2] * 4, "xdrope_section": [2] * 4}
    sight = {**VISION, "patch_size": 16, "out_hidden_size": 64, "text_hidden_size": 64, "img_max_token_num": 64}
    config = hf.HunYuanVLConfig(
        text_config=text_config(tok, head_dim=16, rope_parameters=rope),
        vision_config={**sight, "max_image_size": 256, "min_image_size": 32, "max_vit_seq_len": 1024},
        image_token_id=token("<|place|>"),
        im_start_id=token("<|start|>"),
        im_end_id=token("<|end|>"),
        im_newline_id=token("<|line|>"),
    )
    images = hf.HunYuanVLImageProcessor(size={"shortest_edge": 64 * 64, "longest_edge": 128 * 128})
    template = "{{ bos_token }}" + chatml("<|start|><|place|><|end|>")
    processor = hf.HunYuanVLProcessor(images, tok, chat_template=template)
    return save(folder, hf.HunYuanVLForConditionalGeneration(config), processor, ["<|im_end|>"])


def kimi_k25(folder: Path) -> Path:
    """A DeepSeek-V3 text model, with keys and values of low rank."""
    import transformers as hf
    from transformers.models.kimi_k25.video_processing_kimi_k25 import Kimi_K25VideoProcessor

    marks = "<|media_begin|> <|media_content|> <|media_pad|> <|media_end|> <|kimi_k25_video_placeholder|>".split()
    tok = tokenizer([*TURNS, *marks], bos="[BOS]", eos="[EOS]", pad="[PAD]")
    token = tok.convert_tokens_to_ids
    ranks = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 16}
    experts = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "n_shared_experts": 1}
    groups = {"n_group": 1, "topk_group": 1, "first_k_dense_replace": 1}
    text = text_config(tok, model_type="deepseek_v3", **ranks, **experts, **groups)
    config = hf.Kimi_K25Config(
        text_config=text | {"num_key_value_heads": 4},
        vision_config={**VISION, "patch_size": 14, "pos_emb_height": 8, "pos_emb_width": 8},
        projection_hidden_size=32,
        image_token_id=token("<|media_pad|>"),
        video_token_id=token(marks[-1]),
        vision_start_token_id=token("<|media_begin|>"),
        vision_end_token_id=token("<|media_end|>"),
    )
    shown = "<|media_begin|>image<|media_content|><|media_pad|><|media_end|>"
    images = hf.Kimi_K25ImageProcessor(max_patches=64)
    processor = hf.Kimi_K25Processor(images, tok, Kimi_K25VideoProcessor(), chat_template=chatml(shown))
    return save(folder, hf.Kimi_K25ForConditionalGeneration(config), processor, ["[EOS]", "<|im_end|>"])


def minicpmv4_6(folder: Path) -> Path:
    """Pictures in slices, each picture with its number before it."""
    import transformers as hf
    from transformers.models.minicpmv4_6.video_processing_minicpmv4_6 import MiniCPMV4_6VideoProcessor

    named = {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"}
    for part, words in (("image", "image"), ("slice", "slice"), ("image_id", "image_id")):
        named |= {f"{part}_start_token": f"<{words}>", f"{part}_end_token": f"</{words}>"}
    tok = tokenizer([*TURNS, *named.values()], bos="<s>", eos="<|im_end|>", pad="<pad>", **named)
    config = hf.MiniCPMV4_6Config(
        text_config=text_config(tok, model_type="qwen3", head_dim=16),
        vision_config={**VISION, "image_size": 112, "patch_size": 14, "insert_layer_id": 0},
        insert_layer_id=0,
        image_size=112,
        image_token_id=tok.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=tok.convert_tokens_to_ids("<|video_pad|>"),
    )
    images = hf.MiniCPMV4_6ImageProcessor(scale_resolution=112, max_slice_nums=4)
    template = chatml("<|image_pad|>\n")
    processor = hf.MiniCPMV4_6Processor(images, MiniCPMV4_6VideoProcessor(), tok, chat_template=template)
    return save(folder, hf.MiniCPMV4_6ForConditionalGeneration(config), processor, ["<|im_end|>"])


def minimax_m3_vl(folder: Path) -> Path:
    """Attention over blocks of places, which padding moves: a batch changes its scores, so it is asked one by one."""
    import transformers as hf
    from transformers.models.minimax_m3_vl.processing_minimax_m3_vl import MiniMaxM3VLProcessor
    from transformers.models.minimax_m3_vl.video_processing_minimax_m3_vl import MiniMaxM3VLVideoProcessor

    image, video = MiniMaxM3VLProcessor.IMAGE_TOKEN, MiniMaxM3VLProcessor.VIDEO_TOKEN
    marks = [image, video, MiniMaxM3VLProcessor.VISION_START_TOKEN, MiniMaxM3VLProcessor.VISION_END_TOKEN]
    tok = tokenizer([*TURNS, *marks], bos="<s>", eos="<|im_end|>", pad="<pad>")
    experts = {"num_local_experts": 4, "num_experts_per_tok": 2, "mlp_layer_types": ["dense", "sparse"]}
    widths = {"head_dim": 16, "rotary_dim": 8, "dense_intermediate_size": 64, "shared_intermediate_size": 32}
    config = hf.MiniMaxM3VLConfig(
        text_config=text_config(tok, model_type="minimax_m3_vl_text", **experts, **widths),
        vision_config={**VISION, "model_type": "minimax_m3_vl_vision", "image_size": 112, "patch_size": 14},
        image_token_index=tok.convert_tokens_to_ids(image),
        video_token_index=tok.convert_tokens_to_ids(video),
        projector_hidden_size=64,
    )
    images = hf.MiniMaxM3VLImageProcessor(size={"shortest_edge": 4 * 28 * 28, "longest_edge": 28 * 28 * 48})
    processor = MiniMaxM3VLProcessor(images, tok, MiniMaxM3VLVideoProcessor(), chat_template=chatml(image))
    return save(folder, hf.MiniMaxM3SparseForConditionalGeneration(config), processor, ["<|im_end|>"])
