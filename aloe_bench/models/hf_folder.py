"""What lies in a checkpoint folder, checked before the minutes that loading it takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aloe_bench.errors import ModelError, UsageError
from aloe_bench.models.checkpoint_files import checkpoint_files, gguf_file, is_adapter

_LFS_POINTER = b"version https://git-lfs"


def local_folder(path: str, revision: str | None = None) -> Path:
    """Return `path` as a folder, fetching it (at `revision`) from the hub only if it looks like `owner/name`."""
    folder = Path(path).expanduser()
    looks_like_hub_id = path.count("/") == 1 and path[0] not in "./~" and not path.endswith("/")
    if folder.exists() or not looks_like_hub_id or Path(path.split("/")[0]).exists():
        if revision:
            raise UsageError(f"--revision {revision}: {path} is a folder, which is known by its files. Leave it out.")
        return folder
    import huggingface_hub

    try:
        return Path(huggingface_hub.snapshot_download(path, revision=revision))
    # The client raises its own, httpx's and the system's errors for an absent or unreachable model.
    except Exception as error:
        raise ModelError(
            f"{path}: no such folder here, and the hub did not give it either "
            f"({type(error).__name__}). Check the path or the id, or log in for gated models."
        ) from error


def check_folder(path: str | Path) -> dict[str, object]:
    """Return the config.json of the folder or of its adapter's base, or an empty dict for a GGUF folder.

    Raises ModelError for a folder that cannot be a complete checkpoint.
    """
    folder = Path(path)
    config = read_config(folder)
    if config:
        _check_weights(checkpoint_files(folder).folder if is_adapter(folder) else folder)
    return config


def read_config(path: str | Path) -> dict[str, object]:
    """Return what `check_folder` does, whether or not the weights are there."""
    folder = Path(path)
    if not folder.is_dir():
        raise ModelError(
            f"{folder}: no such model folder. Give the folder of a Hugging Face checkpoint, or a hub id "
            "such as Qwen/Qwen2-VL-7B-Instruct."
        )
    if not any(folder.iterdir()):
        raise ModelError(f"{folder}: the folder is empty; expected config.json and weights. Download it again.")
    if is_adapter(folder):
        return read_config(checkpoint_files(folder).folder)
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
    return config


def generation_ids(folder: Path, eos: int | None) -> tuple[int, ...]:
    """Return the end tokens of a folder as `hf` ends at: its generation_config.json's, or config.json's if it has none.

    The tokenizer's own, `eos`, is one of them.
    """
    written = _read_json(folder / "generation_config.json")
    if written is None:
        config = _read_json(folder / "config.json") or {}
        written = config if config.get("eos_token_id") is not None else config.get("text_config") or {}
    return end_tokens(written.get("eos_token_id"), eos)


def end_tokens(written: int | list[int] | None, eos: int | None) -> tuple[int, ...]:
    """Return the ids at which a reply ends: those that the checkpoint's settings name, and the tokenizer's own."""
    named = [] if written is None else [written] if isinstance(written, int) else list(written)
    return tuple(dict.fromkeys([*named, *([] if eos is None else [eos])]))


def _read_json(path: Path) -> dict[str, Any] | None:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def _check_weights(folder: Path) -> None:
    files = checkpoint_files(folder)
    gone = [name for name in files.weights if not (folder / name).is_file()]
    if gone:
        raise ModelError(
            f"{folder}: {len(gone)} of {len(files.weights)} weight files named in {files.index} are missing, "
            f"first {gone[0]}. Download them."
        )
    if not files.weights:
        raise ModelError(
            f"{folder}: config.json but no weights; expected *.safetensors, *.bin or *.gguf. "
            "Download the weights into this folder."
        )
    for name in files.weights:
        if name.endswith(".safetensors"):
            _check_safetensors(folder / name)


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
