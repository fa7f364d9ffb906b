"""What lies in a checkpoint folder, checked before the minutes that loading it takes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from aloe_bench.errors import ModelError

_CHUNK_BYTES = 1 << 20
# .py and .tiktoken: what trust_remote_code runs, and the vocabulary of the first Qwen models.
_MODEL_SUFFIXES = frozenset({".safetensors", ".bin", ".json", ".gguf", ".jinja", ".txt", ".model", ".tiktoken", ".py"})
_LFS_POINTER = b"version https://git-lfs"


def local_folder(path: str) -> Path:
    """Return `path` as a folder, fetching it from the hub only if it looks like `owner/name`."""
    folder = Path(path).expanduser()
    looks_like_hub_id = path.count("/") == 1 and path[0] not in "./~" and not path.endswith("/")
    if folder.exists() or not looks_like_hub_id or Path(path.split("/")[0]).exists():
        return folder
    import huggingface_hub

    try:
        return Path(huggingface_hub.snapshot_download(path))
    # The client raises its own, httpx's and the system's errors for an absent or unreachable model.
    except Exception as error:
        raise ModelError(
            f"{path}: no such folder here, and the hub did not give it either "
            f"({type(error).__name__}). Check the path or the id, or log in for gated models."
        ) from error


def fingerprint_folder(path: str | Path) -> str:
    """Return the SHA-256 over the names and contents of the folder's model files.

    Model files are weights, tokenizer, processor, template, configuration and code of its own, by suffix.
    Raises ModelError if there are none.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such folder. Give the folder of a Hugging Face checkpoint.")
    files = {
        file.relative_to(folder).as_posix(): file
        for file in folder.rglob("*")
        if file.suffix in _MODEL_SUFFIXES
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
    }
    if not files:
        raise ModelError(f"{folder}: no model files to fingerprint; expected config.json and weights.")
    whole = hashlib.sha256()
    for name in sorted(files):
        whole.update(f"{name}\0{_sha256(files[name])}\n".encode())
    return whole.hexdigest()


def check_folder(path: str | Path) -> dict[str, object]:
    """Return the folder's config.json, or an empty dict for a GGUF folder.

    Raises ModelError for a folder that cannot be a complete checkpoint.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise ModelError(
            f"{folder}: no such model folder. Give the folder of a Hugging Face checkpoint, or a hub id "
            "such as Qwen/Qwen2-VL-7B-Instruct."
        )
    if not any(folder.iterdir()):
        raise ModelError(f"{folder}: the folder is empty; expected config.json and weights. Download it again.")
    if gguf_file(folder) is not None:
        return {}
    config_path = folder / "config.json"
    if not config_path.is_file():
        raise ModelError(
            f"{folder}: no config.json; expected a Hugging Face checkpoint (config.json, *.safetensors, "
            "tokenizer files). Check the path; training output may keep it in a subfolder checkpoint-N."
        )
    try:
        config = json.loads(config_path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{config_path}: not JSON ({error}). Download the file again.") from error
    if not isinstance(config, dict) or "model_type" not in config:
        raise ModelError(
            f"{config_path}: no model_type; this is not the configuration of a transformers checkpoint. Check the path."
        )
    _check_weights(folder)
    return config


def generation_ids(folder: Path, eos: int | None) -> tuple[int, ...]:
    """Return the end tokens that the folder's generation_config.json names, or config.json if it has none, else `eos`.

    These are what transformers, and so `hf`, ends at.
    """
    written = _read_json(folder / "generation_config.json")
    if written is None:
        config = _read_json(folder / "config.json") or {}
        written = config if config.get("eos_token_id") is not None else config.get("text_config") or {}
    named = written.get("eos_token_id")
    named = eos if named is None else named
    return () if named is None else (named,) if isinstance(named, int) else tuple(named)


def _read_json(path: Path) -> dict[str, Any] | None:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


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


def _check_weights(folder: Path) -> None:
    shards: set[Path] = set()
    for index in sorted((*folder.glob("*.safetensors.index.json"), *folder.glob("*.bin.index.json"))):
        try:
            named = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ModelError(f"{index}: not a weight index ({error!r}). Download the file again.") from error
        gone = sorted(name for name in named if not (folder / name).is_file())
        if gone:
            raise ModelError(
                f"{folder}: {len(gone)} of {len(named)} weight files named in {index.name} are missing, "
                f"first {gone[0]}. Download them."
            )
        shards.update(folder / name for name in named)
    shards.update(folder.glob("*.safetensors"))
    if not shards and not any(folder.glob("*.bin")):
        raise ModelError(
            f"{folder}: config.json but no weights; expected *.safetensors, *.bin or *.gguf. "
            "Download the weights into this folder."
        )
    for shard in sorted(shards):
        if shard.suffix == ".safetensors":
            _check_safetensors(shard)


def _check_safetensors(path: Path) -> None:
    """Raise ModelError unless the header can be read and the file is as long as the header says."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(len(_LFS_POINTER))
        if start == _LFS_POINTER:
            raise ModelError(f"{path}: a git-lfs pointer, not weights. Run `git lfs pull` in that folder.")
        header_bytes = int.from_bytes(start[:8], "little")
        header: object = None
        if size >= 8 and header_bytes <= size - 8:
            file.seek(8)
            try:
                header = json.loads(file.read(header_bytes))
            except ValueError:
                header = None
    if not isinstance(header, dict):
        raise ModelError(f"{path}: corrupt weights, {size} bytes without a safetensors header. Download it again.")
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    expected = 8 + header_bytes + max(ends, default=0)
    if size != expected:
        raise ModelError(
            f"{path}: corrupt weights, {size} bytes where the header promises {expected}. Download it again."
        )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
