"""A text-only judge in a GGUF file answers as the same weights in safetensors do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
gguf = pytest.importorskip("gguf")

from aloe_bench.core import Decoding, Message, Request  # noqa: E402
from aloe_bench.models.hf import HFModel  # noqa: E402
from tests.models.test_hf import llama_folder  # noqa: E402, F401

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
PARTS = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def as_gguf(folder: Path, output: Path) -> None:
    """Write a Llama folder as one F32 GGUF file, query and key rows in that format's rotary order."""
    import torch
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text())
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    vocabulary = {token["content"]: token["id"] for token in tokenizer["added_tokens"]} | tokenizer["model"]["vocab"]
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    special = {token["content"] for token in tokenizer["added_tokens"]}
    writer = gguf.GGUFWriter(str(output), "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["hidden_size"] // heads)
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in special else 1 for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in tokenizer["model"]["merges"]])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(vocabulary["<|endoftext|>"])
    writer.add_chat_template("{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:")
    for name, tensor in load_file(folder / "model.safetensors").items():
        target = NAMES.get(name)
        if target is None:
            _, _, layer, part = name.removesuffix(".weight").split(".", 3)
            target = f"blk.{layer}.{PARTS[part]}.weight"
            if part in ("self_attn.q_proj", "self_attn.k_proj"):
                n = heads if "q_proj" in part else kv_heads
                tensor = tensor.reshape(n, 2, -1, tensor.shape[1]).swapaxes(1, 2).reshape(tensor.shape)
        writer.add_tensor(target, tensor.to(torch.float32).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_folder_gives_the_token_ids_of_its_safetensors(llama_folder, tmp_path):  # noqa: F811
    folder = tmp_path / "judge"
    folder.mkdir()
    as_gguf(llama_folder, folder / "judge-f32.gguf")
    requests = [Request(f"q{i}", (Message("user", "The patient has a cough. " * (i + 1)),)) for i in range(6)]

    replies = [
        {reply.id: reply for reply in HFModel(str(path), device="cpu").generate(requests, Decoding(max_new_tokens=12))}
        for path in (llama_folder, folder)
    ]

    assert {reply.finish for reply in replies[1].values()} <= {"stop", "length"}
    assert {k: r.token_ids for k, r in replies[1].items()} == {k: r.token_ids for k, r in replies[0].items()}
