"""A checkpoint folder becomes a network, its tokenizer and its processor, or one ModelError that says why not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aloe_bench.errors import DependencyError, ModelError, UsageError
from aloe_bench.models.checkpoint_files import CheckpointFiles, gguf_file
from aloe_bench.models.known import known_model
from aloe_bench.models.profile import Loader

_CLASSES: Mapping[Loader, str] = {
    "image-text-to-text": "AutoModelForImageTextToText",
    "multimodal-lm": "AutoModelForMultimodalLM",
    "causal": "AutoModelForCausalLM",
    "causal-own-code": "AutoModelForCausalLM",
}
# Of these only the part that writes is loaded, and not the one that speaks.
_THINKERS = {
    "qwen2_5_omni": "Qwen2_5OmniThinkerForConditionalGeneration",
    "qwen3_omni_moe": "Qwen3OmniMoeThinkerForConditionalGeneration",
}

SERVE_IT = " Serve it with its own code, and give the --base-url."


@dataclass(frozen=True, slots=True)
class Setup:
    """What a user may set of how a folder is loaded; None and "auto" leave it to the folder."""

    dtype: str = "auto"
    device: str = "auto"
    device_map: str | None = None
    attn_implementation: str | None = None
    trust_remote_code: bool = False
    min_pixels: int | None = None
    max_pixels: int | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A network in evaluation mode on `device`, and what reads for it; `processor` is None for a text model."""

    network: Any
    tokenizer: Any
    processor: Any
    device: Any


def loader_of(folder: Path, config: Mapping[str, Any], trust_remote_code: bool) -> Loader:
    """Return how transformers loads the folder; raises ModelError if it does not, with what can be done instead."""
    from transformers.models.auto import modeling_auto

    if not config:
        return "causal"
    architectures = config.get("architectures")
    named = set(architectures) if isinstance(architectures, list) else set()
    if named & _names(modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES):
        return "image-text-to-text"
    model_type = str(config.get("model_type"))
    several = modeling_auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES
    own = config.get("auto_map")
    # Code of the folder's own may bear the name of a family that transformers has.
    known = model_type in several and not (trust_remote_code and isinstance(own, dict))
    listens_or_sees = named & _names(several) or (named and known and not _is_causal(named))
    if listens_or_sees and _has_vision(config):
        return "multimodal-lm"
    if _is_causal(named):
        return "causal"
    if isinstance(own, dict) and not own.keys() & {"AutoModelForImageTextToText", "AutoModelForCausalLM"}:
        raise ModelError(
            f"{folder / 'config.json'}: {sorted(named)} is code of the folder's own and names no model that continues "
            f"a prompt ({', '.join(sorted(own))}): it is asked by a chat() of its own.{_served(folder) or SERVE_IT}"
        )
    if isinstance(own, dict) and not trust_remote_code:
        raise ModelError(
            f"{folder / 'config.json'}: {sorted(named)} is code of the folder's own. Read it, and allow it with "
            f"--model-args trust_remote_code=true.{_served(folder)}"
        )
    if isinstance(own, dict) and "AutoModelForImageTextToText" in own:
        return "image-text-to-text"
    if isinstance(own, dict) and "AutoModelForCausalLM" in own:
        return "causal-own-code" if _has_processor(folder) or _has_vision(config) else "causal"
    raise ModelError(
        f"{folder / 'config.json'}: architectures {sorted(named)} name no image-text-to-text or causal language model "
        f"that transformers knows.{_served(folder) or ' Check the path, or update transformers.'}"
    )


def load(files: CheckpointFiles, loader: Loader, setup: Setup) -> Loaded:
    """Return the folder's model. Raises ModelError if it is broken, incomplete or larger than the free memory."""
    import transformers
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    # What matters of its warnings is checked here; some families give one per reply.
    transformers_logging.set_verbosity_error()
    folder, device = files.folder, device_of(setup.device)
    dtype = dtype_of(setup.dtype, device)
    refuse_too_large(files, dtype, device, setup.device_map)
    options = _options(files, setup)
    placed = {"device_map": setup.device_map, "attn_implementation": setup.attn_implementation}
    placed = {key: value for key, value in placed.items() if value is not None}
    model_class = getattr(transformers, _THINKERS.get(_model_type(folder), _CLASSES[loader]))
    try:
        refuse_encoder_decoder(folder, transformers.AutoConfig.from_pretrained(folder, **options))
        tokenizer, processor = _readers(folder, loader, options)
        network, info = model_class.from_pretrained(folder, dtype=dtype, output_loading_info=True, **options, **placed)
        if files.adapter is not None:
            network = _adapted(network, files.adapter)
        if setup.device_map is None:
            network = network.to(device)
    except ModelError:
        raise
    # Whatever transformers, safetensors or a custom class raises here means one thing to the user.
    except Exception as error:
        raise _unloadable(folder, model_class.__name__, error) from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise ModelError(
            f"{folder}: the weights lack {len(missing)} tensors of {type(network).__name__}, first "
            f"{missing[0]}; they would be random. Download the weights again, or merge the adapter."
        )
    if processor is not None:
        limit_pixels(processor, setup.min_pixels, setup.max_pixels)
    elif setup.min_pixels or setup.max_pixels:
        raise UsageError(f"{folder}: a text-only model has no use for --min-pixels or --max-pixels.")
    return Loaded(network.eval(), tokenizer, processor, network.device if setup.device_map else device)


def load_shapes(files: CheckpointFiles, loader: Loader, setup: Setup) -> Loaded:
    """Return the folder's model as shapes that hold no numbers; what reads text and pictures for it is real.

    Nothing but the configuration and the tokenizer's and processor's files is needed. Raises ModelError without them.
    """
    import torch
    import transformers

    model_class = getattr(transformers, _CLASSES[loader])
    own_code = {"trust_remote_code": setup.trust_remote_code}
    try:
        config = transformers.AutoConfig.from_pretrained(files.folder, local_files_only=True, **own_code)
        refuse_encoder_decoder(files.folder, config)
        tokenizer, processor = _readers(files.folder, loader, _options(files, setup))
        with torch.device("meta"):
            network = model_class.from_config(config, **own_code)
    except ModelError:
        raise
    # As above: whatever a library or a folder's own code raises means one thing to the user.
    except Exception as error:
        raise _unloadable(files.folder, model_class.__name__, error) from error
    if processor is not None:
        limit_pixels(processor, setup.min_pixels, setup.max_pixels)
    return Loaded(getattr(network, "thinker", network).eval(), tokenizer, processor, torch.device("cpu"))


def _model_type(folder: Path) -> str:
    path = folder / "config.json"
    return str(json.loads(path.read_text(encoding="utf-8")).get("model_type")) if path.is_file() else ""


def _options(files: CheckpointFiles, setup: Setup) -> dict[str, Any]:
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": setup.trust_remote_code}
    gguf = gguf_file(files.folder)
    return options if gguf is None else options | {"gguf_file": gguf}


def _readers(folder: Path, loader: Loader, options: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return tokenizer and processor; a text model has no processor."""
    import transformers

    if loader == "causal":
        return transformers.AutoTokenizer.from_pretrained(folder, **options), None
    processor = transformers.AutoProcessor.from_pretrained(folder, **options)
    tokenizer = getattr(processor, "tokenizer", None)
    if tokenizer is None:
        raise ModelError(
            f"{folder}: it brings no processor that reads text and pictures together (of a chat() of its own none is "
            f"run here).{_served(folder) or SERVE_IT}"
        )
    if getattr(processor, "image_token", None) is None and type(processor).__module__.startswith("transformers."):
        raise ModelError(
            f"{folder}: a {type(processor).__name__} has no token that stands for a picture in a prompt: it puts one "
            f"picture where it will, and hf shows pictures where the prompt marks them.{SERVE_IT}"
        )
    return tokenizer, processor


def refuse_encoder_decoder(folder: Path, config: Any) -> None:
    """Raise ModelError for a network that writes with a decoder of its own instead of continuing its prompt."""
    if config.is_encoder_decoder or getattr(getattr(config, "text_config", None), "is_encoder_decoder", False):
        raise ModelError(
            f"{folder}: a {config.model_type} reads with an encoder and writes with a decoder; hf asks models that "
            f"continue their prompt.{SERVE_IT}"
        )


def _unloadable(folder: Path, class_name: str, error: Exception) -> ModelError:
    return ModelError(
        f"{folder}: transformers could not load it as {class_name}: "
        f"{type(error).__name__}: {' '.join(str(error).split())[:300]}. "
        "Check that the folder is complete and fits the installed transformers."
    )


def limit_pixels(processor: Any, least: int | None, most: int | None) -> None:
    """Set the pixels (width times height) at which pictures are shown; UsageError if the processor has no limits."""
    if least is None and most is None:
        return
    images: Any = processor.image_processor
    known = getattr(getattr(images, "valid_kwargs", None), "__annotations__", {})
    if "min_pixels" not in known:
        raise UsageError(
            f"{type(images).__name__} has no limits of pixels to set: it shows pictures by its own rule, size "
            f"{getattr(images, 'size', None)}. Leave --min-pixels and --max-pixels out."
        )
    size = images.size
    least, most = least or size["shortest_edge"], most or size["longest_edge"]
    if not 0 < least <= most:
        raise UsageError(f"--min-pixels {least} and --max-pixels {most}: expected 0 < min <= max.")
    # These processors keep the two areas under the names of edges.
    images.size = type(size)(shortest_edge=least, longest_edge=most)


def pixel_limits(processor: Any) -> tuple[int | None, int | None]:
    """Return the least and most pixels that the processor shows, None where it has no such limits."""
    images: Any = getattr(processor, "image_processor", None)
    if "min_pixels" not in getattr(getattr(images, "valid_kwargs", None), "__annotations__", {}):
        return None, None
    return images.size["shortest_edge"], images.size["longest_edge"]


def picture_mark(processor: Any) -> str:
    """Return what stands for a picture in a rendered prompt; Qianfan's is not the token that it becomes."""
    return str(getattr(processor, "image_placeholder_token", None) or getattr(processor, "image_token", "<image>"))


def cast(value: Any, dtype: Any) -> Any:
    """Return an input of the network with its floating-point numbers in `dtype`; pixels may come as a list."""
    if isinstance(value, list):
        return [cast(one, dtype) for one in value]
    return value.to(dtype) if hasattr(value, "to") and value.is_floating_point() else value


def quantization_of(config: Mapping[str, Any]) -> str | None:
    """Return how the weights of this config.json are quantised, None where they are not."""
    written = config.get("quantization_config")
    return str(written.get("quant_method", "unknown")) if isinstance(written, dict) else None


def weight_bytes(files: CheckpointFiles, float_bytes: int | None = None) -> int:
    """Return the bytes of the weights in memory, floating-point numbers taking `float_bytes` each (None: as stored)."""
    total = 0
    for name in files.weights:
        path = files.folder / name
        tensors = list(_tensors(path)) if name.endswith(".safetensors") else []
        total += sum(count * (float_bytes or size) if kind else count * size for count, size, kind in tensors)
        total += 0 if tensors else path.stat().st_size
    return total


def _tensors(path: Path) -> Iterator[tuple[int, int, bool]]:
    """Yield elements, bytes an element, and whether it is a plain floating-point number, of each tensor in a file."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        count = 1
        for length in entry["shape"]:
            count *= length
        begin, end = entry["data_offsets"]
        yield count, (end - begin) // max(1, count), entry["dtype"] in ("F64", "F32", "F16", "BF16")


def refuse_too_large(files: CheckpointFiles, dtype: Any, device: Any, device_map: str | None) -> None:
    """Raise ModelError before anything is read if the weights are larger than the free memory where they go."""
    import torch

    quantized = (files.folder / "config.json").is_file() and "quantization_config" in (
        files.folder / "config.json"
    ).read_text(encoding="utf-8")
    need = weight_bytes(files, None if dtype == "auto" or quantized else dtype.itemsize)
    gpus = [torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count())]
    if device_map is not None:
        free, where = sum(gpus) + _free_ram(), f"{len(gpus)} GPUs and this machine's memory together"
    elif device.type == "cuda":
        free, where = gpus[device.index or 0], str(device)
    else:
        free, where = _free_ram(), "this machine's memory"
    if need > free:
        ways = "--model-args device_map=auto spreads it over all GPUs; " if device_map is None and len(gpus) > 1 else ""
        raise ModelError(
            f"{files.folder}: the weights take {need / 1e9:.1f} GB, {where} has {free / 1e9:.1f} GB free. {ways}"
            "--backend vllm --model-args tensor_parallel_size=N splits it over N GPUs."
        )


def _free_ram() -> int:
    """Return the bytes of memory that can still be had here."""
    import psutil  # type: ignore[import-untyped, unused-ignore]  # accelerate needs it too

    return int(psutil.virtual_memory().available)


def device_of(name: str) -> Any:
    """Return torch's device of this name, "auto" being a GPU where there is one."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"device {name!r}: torch knows no such device; try auto, cpu or cuda.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(f"device {name!r}: torch sees no GPU here. Use auto or cpu, or check the driver.")
    return device


def dtype_of(name: str, device: Any) -> Any:
    """Return torch's dtype of this name; "auto" is float32 on a CPU and the checkpoint's own elsewhere."""
    import torch

    if name == "auto":
        return torch.float32 if device.type == "cpu" else "auto"
    known = ("float32", "bfloat16", "float16")
    if name not in known:
        raise ModelError(f"dtype {name!r} is not one of auto, {', '.join(known)}.")
    return getattr(torch, name)


def _adapted(network: Any, adapter: Path) -> Any:
    """Return the network with the adapter merged into its weights."""
    try:
        from peft import PeftModel
    except ImportError as error:
        raise DependencyError(f"{adapter} is a LoRA adapter, which needs peft. Run: pip install peft.") from error
    return PeftModel.from_pretrained(network, str(adapter)).merge_and_unload(safe_merge=True)


def _served(folder: Path) -> str:
    """Return what is known of how a model of the paper can be run otherwise."""
    known = known_model(str(folder.resolve()))
    return f" {known.name}: {known.note}." if known and known.note else ""


def _has_vision(config: Mapping[str, Any]) -> bool:
    inner = [value for value in config.values() if isinstance(value, dict)]
    return "vision_config" in config or any("vision_config" in part for part in inner)


def _has_processor(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("processor_config.json", "preprocessor_config.json"))


def _is_causal(named: set[str]) -> bool:
    from transformers.models.auto import modeling_auto

    return bool(named & _names(modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES))


def _names(mapping: Mapping[str, str | tuple[str, ...]]) -> set[str]:
    names: set[str] = set()
    for value in mapping.values():
        names |= {value} if isinstance(value, str) else set(value)
    return names
