"""What every tiny family is made of: a byte-level tokenizer, random weights, the hub's layout of files."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aloe_bench.miniature.checkpoint import WORDS, mark

TEXT = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 8192,
}
VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


def tokenizer(
    special: Sequence[str], *, bos: str | None = None, eos: str, pad: str, adds_bos: bool = False, **named: str
) -> Any:
    """Return a BPE tokenizer of some 600 words with `special` tokens; `named` become attributes such as image_token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    rng = random.Random("tiny families")
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=600, show_progress=False, initial_alphabet=alphabet)
    bpe.train_from_iterator([" ".join(rng.choices(WORDS, k=12)).capitalize() + "." for _ in range(300)], trainer)
    bpe.add_special_tokens(list(dict.fromkeys([token for token in (bos, eos, pad) if token] + list(special))))
    if adds_bos:
        start = [(bos, bpe.token_to_id(bos))]
        bpe.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A $B", special_tokens=start
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=bos,
        eos_token=eos,
        pad_token=pad,
        model_max_length=8192,
        extra_special_tokens=named,
    )


def text_config(tok: Any, **more: Any) -> dict[str, Any]:
    """Return the settings of a two-layer text model for `tok`."""
    ids = {"bos_token_id": tok.bos_token_id, "eos_token_id": tok.eos_token_id, "pad_token_id": tok.pad_token_id}
    return {**TEXT, "vocab_size": -(-len(tok) // 64) * 64 + 64, **ids, **more}


def save(folder: Path, network: Any, processor: Any, ends: Sequence[str], *, spread: float = 0.12) -> Path:
    """Write the checkpoint with weights of standard deviation `spread`, ending its turns at the tokens `ends`.

    Its generation settings sample and penalise, as those of many released models do.
    """
    import torch
    from transformers import GenerationConfig

    tok = getattr(processor, "tokenizer", processor)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for _, weight in sorted(network.named_parameters()):
            if weight.dim() >= 2 and weight.is_floating_point():
                weight.normal_(0, spread)
    network.generation_config = GenerationConfig(
        eos_token_id=tok.convert_tokens_to_ids(list(ends)),
        pad_token_id=tok.pad_token_id,
        bos_token_id=tok.bos_token_id,
        do_sample=True,
        temperature=0.7,
        top_p=0.8,
        repetition_penalty=1.05,
    )
    network.save_pretrained(folder)
    processor.save_pretrained(folder)
    mark(folder)
    return folder


def chatml(image: str, opened: str = "") -> str:
    """Return a ChatML template that shows `image` for a picture; `opened` stands after the assistant's first line."""
    return (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
        "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for part in m['content'] %}"
        "{% if part['type'] == 'image' %}" + image + "{% elif 'text' in part %}{{ part['text'] }}{% endif %}"
        "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n" + opened + "{% endif %}"
    )
