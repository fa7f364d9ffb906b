"""A tiny Qwen2-VL folder with random weights: the real classes, at a thousandth of the size.

`python -m aloe_bench.miniature.checkpoint FOLDER` writes one. Its answers mean nothing;
config.json says so with `"aloe_bench_miniature": true`.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

from aloe_bench.errors import AloeError, UsageError, missing_extra

MARKER = "aloe_bench_miniature"
SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' or part['type'] == 'image_url' %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}"
    "<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_TEXT = """
the a of in on with and or is are was no not shows image patient which following best describes most likely
diagnosis finding answer option choose letter only yes because correct question anatomy structure chest
radiograph computed tomography magnetic resonance ultrasound histology slide fundus skin lesion biopsy
left right upper lower lobe lung heart liver kidney spleen brain spine bone joint fracture effusion
pneumonia pneumothorax oedema cardiomegaly nodule mass tumour carcinoma adenoma melanoma naevus
inflammation infection necrosis haemorrhage infarct stenosis aneurysm thrombosis embolism sepsis
treatment antibiotic surgery contrast dose nurse physician psychologist pharmacist chemist biologist
pressure fever pain cough dyspnoea acute chronic benign malignant bilateral unilateral normal abnormal"""
WORDS = tuple(_TEXT.split())
MIN_PIXELS = 56 * 56
MAX_PIXELS = 28 * 28 * 64


def build_tiny_checkpoint(folder: Path, seed: int = 0) -> Path:
    """Return `folder`, now a loadable Qwen2-VL checkpoint of under a million random weights.

    The bytes depend on `seed` and on the versions of torch, transformers and tokenizers alone.
    """
    from transformers import Qwen2VLProcessor
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor
    from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tiny_tokenizer(seed)
    _save_model(folder, tokenizer, seed)
    pixels = {"shortest_edge": MIN_PIXELS, "longest_edge": MAX_PIXELS}
    Qwen2VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=dict(pixels)),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(size=dict(pixels)),
        chat_template=CHAT_TEMPLATE,
    ).save_pretrained(folder)
    return folder


def tiny_tokenizer(seed: int = 0) -> Any:
    """Return a byte-level BPE tokenizer trained on made-up sentences, with Qwen's special tokens last."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    rng = random.Random(f"aloe-bench miniature corpus {seed}")
    corpus = [" ".join(rng.choices(WORDS, k=12)).capitalize() + "." for _ in range(400)]
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    bpe.train_from_iterator(corpus, trainer)
    # After training, so that the special ids stand last as they do in Qwen2-VL.
    bpe.add_special_tokens(list(SPECIAL_TOKENS))
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        padding_side="left",
        model_max_length=8192,
        extra_special_tokens={"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"},
    )


def _save_model(folder: Path, tokenizer: Any, seed: int) -> None:
    token = tokenizer.convert_tokens_to_ids
    hidden, heads = 128, 4
    model = seeded_network(
        tokenizer,
        seed,
        text_config={
            "vocab_size": -(-len(tokenizer) // 64) * 64,
            "hidden_size": hidden,
            "intermediate_size": 256,
            "num_hidden_layers": 3,
            "num_attention_heads": heads,
            "num_key_value_heads": 2,
            "max_position_embeddings": 8192,
            "initializer_range": 0.1,
            # The three sections sum to half of the head's 32 dimensions.
            "rope_parameters": {
                "rope_type": "default",
                "type": "mrope",
                "mrope_section": [4, 6, 6],
                "rope_theta": 1_000_000.0,
            },
            "bos_token_id": None,
            "eos_token_id": token("<|im_end|>"),
            "pad_token_id": token("<|endoftext|>"),
        },
        vision_config={
            "depth": 2,
            "embed_dim": 64,
            "num_heads": 4,
            "hidden_size": hidden,
            "mlp_ratio": 2,
            "initializer_range": 0.1,
        },
        tie_word_embeddings=False,
        # 0.1 and not 0.02: replies then differ from one another.
        initializer_range=0.1,
    )
    model.save_pretrained(folder)
    mark(folder)


def seeded_network(tokenizer: Any, seed: int, **settings: Any) -> Any:
    """Return an untrained, greedy Qwen2VLForConditionalGeneration with `settings`, its weights set by `seed`."""
    import torch
    from transformers import GenerationConfig, Qwen2VLConfig, Qwen2VLForConditionalGeneration

    token = tokenizer.convert_tokens_to_ids
    config = Qwen2VLConfig(
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        **settings,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Qwen2VLForConditionalGeneration(config).float()
    network.generation_config = GenerationConfig(
        do_sample=False,
        eos_token_id=[token("<|im_end|>"), token("<|endoftext|>")],
        pad_token_id=token("<|endoftext|>"),
    )
    return network


def mark(folder: Path) -> None:
    """Say in the checkpoint's config.json that it is miniature, so that its scores stand beside no real model's."""
    path = folder / "config.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    written[MARKER] = True
    path.write_text(json.dumps(written, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Write the folder that `arguments` names and say so; return the exit code."""
    try:
        if len(arguments) != 1:
            raise UsageError("usage: python -m aloe_bench.miniature.checkpoint FOLDER")
        from transformers.utils import logging

        logging.disable_progress_bar()  # of one file written in an instant
        print(build_tiny_checkpoint(Path(arguments[0])))
    except ModuleNotFoundError as error:
        if (found := missing_extra(error)) is None:
            raise
        print(f"Error: {found}", file=sys.stderr)
        return found.exit_code
    except AloeError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
