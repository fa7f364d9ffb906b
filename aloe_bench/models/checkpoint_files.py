"""The files of a checkpoint that make its answers: check, fingerprint and name come from this one list."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aloe_bench.errors import ModelError

_CHUNK_BYTES = 1 << 20
# The order in which transformers looks for weights; the first that is there is loaded, and no other.
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
# What transformers reads of a folder beside the weights.
_READ = frozenset(
    """config.json generation_config.json tokenizer.json tokenizer_config.json special_tokens_map.json added_tokens.json
    vocab.json vocab.txt merges.txt tekken.json preprocessor_config.json processor_config.json chat_template.json
    chat_template.jinja video_preprocessor_config.json audio_tokenizer_config.json""".split()
)
# Vocabularies of any name: sentencepiece's, and those of the first Qwen models.
_VOCABULARIES = (".model", ".tiktoken")
# A folder with code of its own may read any of these.
_OF_OWN_CODE = (".py", ".json", ".txt", ".jinja", *_VOCABULARIES)
# What training leaves beside a model, with code of its own or not.
_LEFT_BY_TRAINING = frozenset(
    "trainer_state.json all_results.json train_results.json eval_results.json requirements.txt".split()
)


@dataclass(frozen=True, slots=True)
class CheckpointFiles:
    """`weights` and `others` are what is loaded, by name below `folder`; `index` lists the shards, if there are any.

    `adapter` is the folder of a LoRA adapter, whose base the other fields then describe.
    """

    folder: Path
    weights: tuple[str, ...]
    index: str | None
    others: tuple[str, ...]
    adapter: Path | None = None

    @property
    def paths(self) -> dict[str, Path]:
        """Return every file that makes the answers, by its name in the fingerprint."""
        found = {name: self.folder / name for name in {*self.weights, *self.others, *filter(None, [self.index])}}
        if self.adapter is not None:
            found |= {f"adapter/{name}": self.adapter / name for name in _adapter_files(self.adapter)}
        return found


def checkpoint_files(path: str | Path) -> CheckpointFiles:
    """Return the files of the folder, or of the base model of an adapter's folder, that make its answers.

    A weight file that is named and missing is in the list all the same. Raises ModelError if the folder holds whole
    weights and an adapter, if an adapter's base is not there, or if an index cannot be read.
    """
    folder = Path(path)
    if is_adapter(folder):
        return _with_base(folder)
    weights, index = _weights(folder)
    if weights and (folder / "adapter_config.json").is_file():
        raise ModelError(
            f"{folder}: weights of a whole model ({weights[0]}) and a LoRA adapter (adapter_config.json) beside them. "
            "Loaded as it is, the adapter would be added a second time if it was merged. Move adapter_config.json and "
            "adapter_model.* away if it was; if not, give the adapter a folder of its own and run that."
        )
    own_code = bool(_config(folder).get("auto_map"))
    return CheckpointFiles(folder, weights, index, tuple(sorted(_others(folder, own_code, {*weights, index}))))


def is_adapter(folder: Path) -> bool:
    """Return whether the folder holds a LoRA adapter and no model."""
    return (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file()


def fingerprint_folder(path: str | Path) -> str:
    """Return the SHA-256 over the names and contents of the files that make the folder's answers.

    For an adapter these are the base's and its own. Raises ModelError if there are none.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such folder. Give the folder of a Hugging Face checkpoint.")
    files = checkpoint_files(folder).paths
    if not files:
        raise ModelError(f"{folder}: no model files to fingerprint; expected config.json and weights.")
    whole = hashlib.sha256()
    for name in sorted(files):
        whole.update(f"{name}\0{_sha256(files[name])}\n".encode())
    return whole.hexdigest()


def adapter_facts(files: CheckpointFiles) -> list[dict[str, str]]:
    """Return name and SHA-256 of the adapter, in a list that is empty without one."""
    if files.adapter is None:
        return []
    whole = hashlib.sha256()
    for name in _adapter_files(files.adapter):
        whole.update(f"{name}\0{_sha256(files.adapter / name)}\n".encode())
    return [{"name": model_name(files.adapter), "sha256": whole.hexdigest(), "base": model_name(files.folder)}]


def model_name(path: str | Path) -> str:
    """Return what the model in a folder is called: the folder's own name, a link's, or NAME of the hub's cache.

    The cache keeps it in models--ORG--NAME/snapshots/COMMIT.
    """
    place = Path(path).expanduser()
    name = place.name if place.name not in ("", ".", "..") else place.resolve().name
    parts = place.absolute().parts
    if len(parts) >= 3 and parts[-2] == "snapshots" and parts[-3].startswith("models--"):
        return parts[-3].rpartition("--")[2]
    return name


def gguf_file(folder: Path) -> str | None:
    """Return the name of the folder's one GGUF file if it has no other weights.

    Raises ModelError where several stand side by side.
    """
    if next(folder.glob("*.safetensors"), None) or next(folder.glob("*.bin"), None):
        return None
    names = sorted(file.name for file in folder.glob("*.gguf"))
    if len(names) > 1:
        raise ModelError(f"{folder}: {len(names)} .gguf files ({', '.join(names)}); expected one. Move the others.")
    return names[0] if names else None


def _weights(folder: Path) -> tuple[tuple[str, ...], str | None]:
    """Return the weight files that are loaded, and the index that names them."""
    for name in _WEIGHTS:
        if not (folder / name).is_file():
            continue
        return (_named_in(folder / name), name) if name.endswith(".index.json") else ((name,), None)
    gguf = gguf_file(folder)
    if gguf is not None:
        return (gguf,), None
    # No name that transformers knows: code of the folder's own may.
    return tuple(
        sorted(file.name for kind in ("*.safetensors", "*.bin") for file in folder.glob(kind) if _plain(file))
    ), None


def _plain(file: Path) -> bool:
    left = ("training_args.bin", "optimizer.bin", "scheduler.bin")
    return file.name not in (*_ADAPTER_WEIGHTS, *left) and not file.name.startswith(".")


def _named_in(index: Path) -> tuple[str, ...]:
    try:
        return tuple(sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(f"{index}: not a weight index ({error!r}). Download the file again.") from error


def _others(folder: Path, own_code: bool, taken: set[str | None]) -> Iterator[str]:
    for file in folder.rglob("*") if own_code else folder.iterdir():
        name = file.relative_to(folder).as_posix()
        if not file.is_file() or name in taken or any(part.startswith(".") for part in name.split("/")):
            continue
        read = name in _READ or file.suffix in _VOCABULARIES
        if own_code:
            read |= file.suffix in _OF_OWN_CODE and name not in _LEFT_BY_TRAINING
            read &= not name.endswith(".index.json")
        if read:
            yield name
    for file in folder.glob("additional_chat_templates/*.jinja"):
        yield file.relative_to(folder).as_posix()


def _with_base(folder: Path) -> CheckpointFiles:
    written = _config(folder, "adapter_config.json").get("base_model_name_or_path")
    if not any((folder / name).is_file() for name in _ADAPTER_WEIGHTS):
        raise ModelError(
            f"{folder}: adapter_config.json without adapter_model.safetensors. Download the adapter again."
        )
    if not isinstance(written, str) or not written:
        raise ModelError(
            f"{folder / 'adapter_config.json'}: no base_model_name_or_path; say there which model it adapts."
        )
    base = next((place for place in (folder / written, Path(written).expanduser()) if place.is_dir()), None)
    base = base or _cached(written)
    if base is None:
        raise ModelError(
            f"{folder}: an adapter of {written!r}, which is not a folder here and not in the hub's cache. Fetch it "
            f"(hf download {written}), or write its folder into adapter_config.json as base_model_name_or_path."
        )
    found = checkpoint_files(base)
    return CheckpointFiles(base, found.weights, found.index, found.others, folder)


def _cached(name: str) -> Path | None:
    """Return the folder of a hub model that lies in the cache; nothing is fetched."""
    if name.count("/") != 1:
        return None
    import huggingface_hub

    try:
        return Path(huggingface_hub.snapshot_download(name, local_files_only=True))
    # Not in the cache, or no name that a hub could know.
    except (OSError, ValueError):
        return None


def _adapter_files(folder: Path) -> list[str]:
    weights = next((name for name in _ADAPTER_WEIGHTS if (folder / name).is_file()), None)
    return [name for name in ("adapter_config.json", weights) if name]


def _config(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """Return the JSON object in a file, empty if there is none; what is wrong with it is `check_folder`'s to say."""
    try:
        written = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return written if isinstance(written, dict) else {}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
