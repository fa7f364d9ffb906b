"""Folders that bring their own code, in the shapes in which they are published."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from tests.families.base import save
from tests.families.llava import CROP, VICUNA, _vicuna_parts

MODELING = """\
from transformers import LlavaConfig, LlavaForConditionalGeneration


class OwnConfig(LlavaConfig):
    model_type = "own_vl"


class OwnForCausalLM(LlavaForConditionalGeneration):
    config_class = OwnConfig

    def chat(self, tokenizer, pixel_values, question, generation_config):
        raise NotImplementedError
"""
PROCESSING = """\
from transformers import LlavaProcessor


class OwnProcessor(LlavaProcessor):
    pass
"""
PROCESS = "    def __call__(self, *args, **kwargs):\n        raise NotImplementedError('use process()')"


def kimi_vl(folder: Path, processing: str = PROCESSING, modeling: str = MODELING) -> Path:
    """Write a model and a processor of its own, under AutoModelForCausalLM: as Kimi-VL and Phi-3.5-vision."""
    import transformers as hf

    folder.mkdir(parents=True)
    (folder / "modeling_own.py").write_text(modeling)
    (folder / "processing_own.py").write_text(processing)
    spec = importlib.util.spec_from_file_location("modeling_own", folder / "modeling_own.py")
    assert spec is not None and spec.loader is not None
    spec.loader.exec_module(own := importlib.util.module_from_spec(spec))
    tok, config = _vicuna_parts()
    more = {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    processor = hf.LlavaProcessor(hf.CLIPImageProcessor(**CROP), tok, chat_template=VICUNA, **more)
    save(folder, own.OwnForCausalLM(own.OwnConfig(**config)), processor, ["</s>"])
    names = {"AutoConfig": "modeling_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.OwnForCausalLM"}
    _change(folder / "config.json", auto_map=names)
    reads = {"processor_class": "OwnProcessor", "auto_map": {"AutoProcessor": "processing_own.OwnProcessor"}}
    _change(folder / "processor_config.json", **reads)
    _change(folder / "tokenizer_config.json", **reads)
    return folder


def borrowed_name(folder: Path) -> Path:
    """Write a model of its own that bears the name of a family in transformers."""
    return kimi_vl(folder, modeling=MODELING.replace("own_vl", "kimi_k25"))


def molmo(folder: Path) -> Path:
    """Write a processor whose own method, and not a call, reads pictures and words: as Molmo."""
    return kimi_vl(folder, PROCESSING.replace("    pass", PROCESS))


def internvl_chat(folder: Path) -> Path:
    """Write a model with a chat() of its own and a reader of pictures alone: as the first InternVL."""
    kimi_vl(folder)
    images = json.loads((folder / "processor_config.json").read_text())["image_processor"]
    (folder / "preprocessor_config.json").write_text(json.dumps(images))
    (folder / "processor_config.json").unlink()
    _change(folder / "tokenizer_config.json", processor_class=None, auto_map=None)
    return folder


def ovis(folder: Path) -> Path:
    """Write a model that names AutoModel and nothing that says how it is asked: as MiniCPM-V and GOT."""
    kimi_vl(folder)
    names = {"AutoConfig": "modeling_own.OwnConfig", "AutoModel": "modeling_own.OwnForCausalLM"}
    _change(folder / "config.json", auto_map=names)
    return folder


def _change(path: Path, **changed: Any) -> None:
    found = json.loads(path.read_text()) | changed
    path.write_text(json.dumps({key: value for key, value in found.items() if value is not None}))
