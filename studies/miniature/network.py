"""The miniature's Qwen2-VL: 0.37 million weights, the real classes, the stock processor, its own small tokenizer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from aloe_bench.miniature.checkpoint import CHAT_TEMPLATE, SPECIAL_TOKENS, mark, seeded_network

PATCH_PX = 14
MERGE = 2
CELL_PX = PATCH_PX * MERGE
HIDDEN = 64
_HEAD = 16
_LAYERS = 3
_PIXELS = {"shortest_edge": CELL_PX * CELL_PX, "longest_edge": 64 * CELL_PX * CELL_PX}


def train_tokenizer(texts: Iterable[str]) -> Any:
    """Return a byte-level BPE tokenizer trained on `texts`, digits and punctuation apart, Qwen's special tokens last.

    Any other text can be encoded too, byte by byte.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    words = Regex(r"\n| ?[A-Za-z]+| ?[0-9]| ?[^\sA-Za-z0-9]+")
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=800, show_progress=False, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet())
    )
    bpe.train_from_iterator(texts, trainer)
    bpe.add_special_tokens(list(SPECIAL_TOKENS))
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        padding_side="left",
        model_max_length=2048,
        extra_special_tokens={"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"},
    )


def build_network(tokenizer: Any, seed: int) -> Any:
    """Return an untrained Qwen2VLForConditionalGeneration for `tokenizer`, its weights set by `seed`."""
    token = tokenizer.convert_tokens_to_ids
    section = 3 * _HEAD // 16
    return seeded_network(
        tokenizer,
        seed,
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": HIDDEN,
            "intermediate_size": 2 * HIDDEN,
            "num_hidden_layers": _LAYERS,
            "num_attention_heads": HIDDEN // _HEAD,
            "num_key_value_heads": HIDDEN // _HEAD,
            "max_position_embeddings": 2048,
            "initializer_range": 0.05,
            # The three sections sum to half of the head's dimensions.
            "rope_parameters": {
                "rope_type": "default",
                "type": "mrope",
                "mrope_section": [_HEAD // 2 - 2 * section, section, section],
                "rope_theta": 10_000.0,
            },
            "bos_token_id": None,
            "eos_token_id": token("<|im_end|>"),
            "pad_token_id": token("<|endoftext|>"),
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": _LAYERS,
            "embed_dim": HIDDEN,
            "num_heads": HIDDEN // _HEAD,
            "hidden_size": HIDDEN,
            "patch_size": PATCH_PX,
            "spatial_merge_size": MERGE,
            # Stills only: with the usual 2 each picture would be read twice.
            "temporal_patch_size": 1,
            "mlp_ratio": 2,
            "initializer_range": 0.05,
        },
        tie_word_embeddings=True,
        initializer_range=0.05,
    )


def build_processor(tokenizer: Any) -> Any:
    """Return the stock processor; a picture whose sides are multiples of 28 is seen pixel by pixel."""
    from transformers import Qwen2VLProcessor
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor
    from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor

    sizes = {"patch_size": PATCH_PX, "merge_size": MERGE, "temporal_patch_size": 1}
    return Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=dict(_PIXELS), **sizes),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(size=dict(_PIXELS), **sizes),
        chat_template=CHAT_TEMPLATE,
    )


def save_checkpoint(folder: Path, network: Any, tokenizer: Any) -> Path:
    """Return `folder`, now a checkpoint that `run` takes, marked as miniature so that it joins no real table."""
    folder.mkdir(parents=True, exist_ok=True)
    network.save_pretrained(folder)
    build_processor(tokenizer).save_pretrained(folder)
    mark(folder)
    return folder
