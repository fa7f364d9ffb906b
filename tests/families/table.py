"""The families that are promised, each with what builds a tiny one; refused ones with the words of the refusal."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

# name -> module:function below this folder. The first is in `make test`, all are in `make test-families`.
FAMILIES = {
    "llava": "llava:llava",
    "llava_next": "llava:llava_next",
    "llava_onevision": "llava:llava_onevision",
    "idefics2": "idefics:idefics2",
    "idefics3": "idefics:idefics3",
    "smolvlm": "idefics:smolvlm",
    "deepseek_vl": "deepseek:deepseek_vl",
    "qwen2_vl": "qwen:qwen2_vl",
    "qwen2_5_vl": "qwen:qwen2_5_vl",
    "qwen3_vl": "qwen:qwen3_vl",
    "qwen3_vl, thinking": "qwen:qwen3_vl_thinking",
    "qwen3_vl_moe": "qwen:qwen3_vl_moe",
    "qwen3_5": "qwen:qwen3_5",
    "glm4v": "glm:glm4v",
    "glm4v_moe": "glm:glm4v_moe",
    "gemma3": "others:gemma3",
    "gemma3, wide window": "others:gemma3_wide",
    "internvl": "others:internvl",
    "pixtral": "others:pixtral",
    "mistral3": "others:mistral3",
    "mllama": "others:mllama",
    "llama4": "more:llama4",
    "aya_vision": "more:aya_vision",
    "lfm2_vl": "more:lfm2_vl",
    "ovis2": "more:ovis2",
    "chameleon": "unlike:chameleon",
    "qianfan_ocr": "unlike:qianfan_ocr",
    "hunyuan_vl": "unlike:hunyuan_vl",
    "kimi_k25": "unlike:kimi_k25",
    "minicpmv4_6": "unlike:minicpmv4_6",
    "minimax_m3_vl": "unlike:minimax_m3_vl",
    "gemma4": "omni:gemma4",
    "gemma4, wide window": "omni:gemma4_wide",
    "qwen2_5_omni": "omni:qwen2_5_omni",
    "qwen3_omni_moe": "omni:qwen3_omni_moe",
    "phi4_multimodal": "omni:phi4_multimodal",
}

# Those that take a full pass a prompt, and why; all others share the beginning of prompts over the same pictures.
NO_REUSE = {
    "qwen3_5": "linear attention keeps a state, not keys and values",
    "gemma3": "here its window is shorter than a prompt and its reply",
    "hunyuan_vl": "a batch changes its scores, so it is asked one by one",
    "minimax_m3_vl": "a batch changes its scores, so it is asked one by one",
    "mllama": "looks across at its pictures",
    "lfm2_vl": "its convolutions keep a state, not keys and values",
    "gemma4": "here its window is shorter than a prompt and its reply",
    "phi4_multimodal": "a long prompt turns its first positions otherwise, and it is asked one by one",
}


def builder(name: str) -> Callable[[Path], Path]:
    """Return what writes a tiny checkpoint of the family into a folder."""
    module, function = FAMILIES[name].split(":")
    build: Callable[[Path], Path] = getattr(importlib.import_module(f"tests.families.{module}"), function)
    return build
