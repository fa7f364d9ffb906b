"""What a checkpoint folder would do here, told without its weights: prompt, tokens per picture, memory, commands."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aloe_bench.core import Message, Request
from aloe_bench.errors import ModelError
from aloe_bench.models.checkpoint_files import CheckpointFiles
from aloe_bench.models.hf import HFModel
from aloe_bench.models.hf_folder import check_folder, read_config
from aloe_bench.models.hf_load import Loaded, Setup, load_shapes

if TYPE_CHECKING:
    from PIL import Image

# What a device is asked to hold beside its share of the weights: the keys and values of SEQUENCES prompts of LENGTH
# tokens, and what the kernels work in.
SEQUENCES, LENGTH, WORKING_BYTES = 8, 4096, 2_000_000_000
# Of a GPU's memory, vLLM's default share.
USABLE = 0.9
PICTURES = ((224, 224), (512, 512), (1024, 1024), (2048, 1536))
QUESTION = "Which of these is shown?\nA. a fracture\nB. none\nAnswer with the letter alone."
GPUS_A_NODE, NODES = 8, 4


@dataclass(frozen=True, slots=True)
class Sizes:
    """Counts of a network. `bf16` and `four_bit` are bytes of weights, `cached` bytes of keys and values per token.

    At 4 bit (bitsandbytes NF4: half a byte a number and one float32 for every 64) stand the linear layers but the
    last, which gives the scores; all else at 16. `cached` takes every layer to look at every token; where some look
    at a window or none, it is less.
    """

    parameters: int
    bf16: int
    four_bit: int
    cached: int
    heads: int

    def a_device(self, devices: int, *, four_bit: bool = False) -> int:
        """Return the bytes that each of `devices` holds, weights and keys and values split evenly over them."""
        weights = self.four_bit if four_bit else self.bf16
        return (weights + SEQUENCES * LENGTH * self.cached) // devices + WORKING_BYTES

    def splits(self) -> list[int]:
        """Return over how many devices of a node each layer can be split: the heads have to come out even."""
        return [n for n in (1, 2, 4, 8) if self.heads % n == 0]


def sizes(network: Any) -> Sizes:
    """Return the sizes of a network; its tensors may hold nothing."""
    from torch import nn

    head = network.get_output_embeddings()
    counted = {id(parameter): parameter.numel() for parameter in network.parameters()}
    linear = [module.weight for module in network.modules() if isinstance(module, nn.Linear) and module is not head]
    packed = sum({id(weight): weight.numel() for weight in linear}.values())
    total = sum(counted.values())
    text = network.config.get_text_config()
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    kept = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    return Sizes(
        parameters=total,
        bf16=2 * total,
        four_bit=2 * (total - packed) + packed // 2 + 4 * (packed // 64),
        cached=2 * 2 * text.num_hidden_layers * kept * width,
        heads=text.num_attention_heads,
    )


class Shapes(HFModel):
    """A folder's model without its weights: it renders prompts and counts tokens, and answers nothing."""

    def _read_config(self) -> dict[str, object]:
        return read_config(self.folder)

    def _load(self, files: CheckpointFiles, setup: Setup) -> Loaded:
        return load_shapes(files, self._loader, setup)

    def _probe(self) -> str:
        return self.render(Request("probe", (Message("user", QUESTION),), ()))


@dataclass(frozen=True, slots=True)
class _Plain:
    """A picture of a size, grey from edge to edge."""

    size: tuple[int, int]
    sha256: str = "plain"

    def open(self) -> Image.Image:
        from PIL import Image

        return Image.linear_gradient("L").resize(self.size).convert("RGB")


def checkup(path: str, options: Mapping[str, Any], gpu_bytes: int) -> dict[str, Any]:
    """Return what is known of the folder before it is loaded; `options` are those of back end hf.

    Keys: family, class, loader, weights (None if they are whole, else what is wrong with them), parameters, prompt,
    picture_tokens by size, memory by devices (bytes at bf16 and 4 bit), backends (None, or why not), commands.
    Raises ModelError for a folder that transformers cannot read even so, with what serves it where that is known.
    """
    model = Shapes(path, **options)
    found = sizes(model.network)
    return {
        "path": path,
        "family": model.config.model_type,
        "class": type(model.network).__name__,
        "loader": model.profile.loader,
        "weights": _weights(model.folder),
        "parameters": found.parameters,
        "profile": model.profile.to_json() | {"dtype": None},
        "prompt": prompt(model),
        "picture_tokens": picture_tokens(model),
        "cache_bytes_a_token": found.cached,
        "memory": {
            str(n): {"bf16": found.a_device(n), "4 bit": found.a_device(n, four_bit=True)} for n in found.splits()
        },
        "backends": {"hf": None, "vllm": _vllm(model.config.architectures or ())},
        "commands": commands(path, found, gpu_bytes),
    }


def prompt(model: HFModel) -> str:
    """Return a question as the model is sent it, special tokens and all."""
    pictures = (_Plain(PICTURES[0]),) if model.sees_images else ()
    return model.render(Request("example", (Message("user", QUESTION),), pictures))


def picture_tokens(model: HFModel) -> dict[str, int]:
    """Return by "width x height" how many tokens of a prompt stand for a picture; none for a text model."""
    found = {}
    words = Request("words", (Message("user", QUESTION),), ())
    for size in PICTURES if model.sees_images else ():
        shown = Request("picture", words.messages, (_Plain(size),))
        ids = model.prepare([shown], [[picture.open() for picture in shown.images]])["input_ids"][0].tolist()
        try:
            plain = int(model.prepare([words], [[]])["input_ids"].shape[1])
        except ValueError:  # PaliGemma's processor reads no prompt without a picture
            plain = len(ids) - (model.image_tokens(ids) or 0)
        found[f"{size[0]} x {size[1]}"] = len(ids) - plain
    return found


def commands(path: str, found: Sizes, gpu_bytes: int) -> dict[str, str]:
    """Return the command for one node of 8 GPUs of `gpu_bytes` each and for four, or why there is none."""
    room = USABLE * gpu_bytes
    split = next((n for n in found.splits() if found.a_device(n) <= room), None)
    if split is None:
        most = max(found.splits())
        need = f"{found.a_device(most) / 1e9:.0f} GB on each of {most} GPUs, {room / 1e9:.0f} can be used"
        why = f"too large at bf16: {need}; serve it over several nodes, and give --base-url"
        return {"1 x 8 GPUs": why, "4 x 8 GPUs": why}
    base = f"aloe-bench run --model {path} --suite medical --backend vllm"
    if split > 1:
        base += f" --model-args tensor_parallel_size={split}"

    def spread(address: str, gpus: int) -> str:
        return f"{base} --ray{address} --replicas {gpus // split} --gpus-per-replica {split}"

    one = base if split == GPUS_A_NODE else spread("", GPUS_A_NODE)
    return {"1 x 8 GPUs": one, "4 x 8 GPUs": spread(" HEAD_NODE:6379", NODES * GPUS_A_NODE)}


def _weights(folder: Path) -> str | None:
    try:
        check_folder(folder)
    except ModelError as error:
        return str(error)
    return None


def _vllm(architectures: Sequence[str]) -> str | None:
    """Return why vLLM would not load these classes here, or None."""
    if importlib.util.find_spec("vllm") is None:
        return "not installed: pip install 'aloe-bench[vllm]'"
    from vllm import ModelRegistry

    known = ModelRegistry.get_supported_archs()
    if not set(architectures) & set(known):
        return f"this vLLM knows no {', '.join(architectures)}; serve it elsewhere and give --base-url"
    return None
