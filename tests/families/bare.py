"""Families without a chat template: PaliGemma, which bare prompts can ask, and what `hf` refuses in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.families.base import VISION, save, text_config, tokenizer

SIGHT = {**VISION, "image_size": 56, "patch_size": 14}
SQUARE = {"size": {"height": 56, "width": 56}}


def paligemma(folder: Path) -> Path:
    """Each token of its prompt sees the whole of it, the further ones what stands before them."""
    import transformers as hf

    tok = tokenizer(["<image>"], bos="<bos>", eos="<eos>", pad="<pad>", adds_bos=True, image_token="<image>")
    images = hf.SiglipImageProcessor(**SQUARE)
    images.image_seq_length = 16
    config = hf.PaliGemmaConfig(
        text_config=text_config(tok, model_type="gemma", head_dim=16),
        vision_config={**SIGHT, "model_type": "siglip_vision_model", "vision_use_head": False, "projection_dim": 64},
        image_token_index=tok.convert_tokens_to_ids("<image>"),
        projection_dim=64,
        hidden_size=64,
    )
    network = hf.PaliGemmaForConditionalGeneration(config)
    return save(folder, network, hf.PaliGemmaProcessor(images, tok), ["<eos>"], spread=0.35)


def _blip_2(folder: Path, text: dict[str, object]) -> Path:
    import transformers as hf

    tok = tokenizer(["<image>"], bos="</s>", eos="</s>", pad="<pad>", adds_bos=True)
    processor = hf.Blip2Processor(hf.BlipImageProcessor(**SQUARE), tok, num_query_tokens=4)
    ids = {"vocab_size": len(tok) + 8, "pad_token_id": tok.pad_token_id, "eos_token_id": tok.eos_token_id}
    config = hf.Blip2Config(
        text_config=text | ids,
        vision_config=SIGHT,
        qformer_config={**VISION, "encoder_hidden_size": 32, "vocab_size": 64},
        num_query_tokens=4,
        image_token_index=tok.convert_tokens_to_ids("<image>"),
    )
    return save(folder, hf.Blip2ForConditionalGeneration(config), processor, ["</s>"])


def blip_2(folder: Path) -> Path:
    sizes = {"hidden_size": 64, "ffn_dim": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    more = {"word_embed_proj_dim": 64, "max_position_embeddings": 1024, "bos_token_id": 600}
    return _blip_2(folder, {"model_type": "opt", **sizes, **more})


def blip_2_t5(folder: Path) -> Path:
    sizes = {"d_model": 64, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 4, "decoder_start_token_id": 0}
    return _blip_2(folder, {"model_type": "t5", **sizes})


def trocr(folder: Path) -> Path:
    import transformers as hf

    tok = tokenizer([], bos="<s>", eos="</s>", pad="<pad>", adds_bos=True)
    writes = hf.BertConfig(**VISION, vocab_size=len(tok) + 8, is_decoder=True, add_cross_attention=True)
    config = hf.VisionEncoderDecoderConfig.from_encoder_decoder_configs(hf.ViTConfig(**SIGHT), writes)
    processor = hf.TrOCRProcessor(hf.ViTImageProcessor(**SQUARE), tok)
    return save(folder, hf.VisionEncoderDecoderModel(config), processor, ["</s>"])


def git(folder: Path) -> Path:
    import transformers as hf

    tok = tokenizer([], bos="[CLS]", eos="[SEP]", pad="[PAD]", adds_bos=True)
    config = hf.GitConfig(**VISION, vision_config=SIGHT, vocab_size=len(tok) + 8)
    crop = {"size": {"shortest_edge": 56}, "crop_size": {"height": 56, "width": 56}}
    return save(folder, hf.GitForCausalLM(config), hf.GitProcessor(hf.CLIPImageProcessor(**crop), tok), ["[SEP]"])


# name -> what builds a tiny one, and the words that say why it is not run.
REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "git": (git, "a GitProcessor has no token that stands for a picture"),
    "trocr": (trocr, "a vision-encoder-decoder reads with an encoder and writes with a decoder"),
    "blip_2 with T5": (blip_2_t5, "a blip-2 reads with an encoder and writes with a decoder"),
    "blip_2": (blip_2, "Its processor puts the picture where it will"),
}
