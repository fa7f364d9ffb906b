"""The end of a training run: the weights get their place in the output folder, whole."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aloe_bench.errors import DataError
from aloe_bench.files import write_json
from aloe_bench.training.card import write_card
from aloe_bench.training.trainer import disk_is_full, flush

if TYPE_CHECKING:
    from aloe_bench.training.sft import Trained

_FINAL = "final.incomplete"
# A folder without it is not a checkpoint to anyone: it comes last.
_LAST = "config.json"


def write_final(trainer: Any, base: Path, trained: Trained, state: Path) -> None:
    """Put the trained checkpoint into the output folder, with its card and its summary.

    Weights are written in the base checkpoint's own precision. Killed half-way, the folder holds no
    config.json, and the same command finishes it from the last checkpoint.
    """
    aside = state / _FINAL
    shutil.rmtree(aside, ignore_errors=True)
    try:
        _save(trainer, base, aside)
        trainer.accelerator.wait_for_everyone()
        if not trainer.args.should_save:
            return
        _move(aside, trained.output)
    except (OSError, RuntimeError) as error:
        shutil.rmtree(aside, ignore_errors=True)
        if not disk_is_full(error):
            raise
        raise DataError(
            f"{trained.output}: no room for the trained weights. The last checkpoint is whole: free space and run "
            "the same command again; it only writes them."
        ) from error
    write_card(trained)
    write_json(state / "summary.json", {"steps": trained.plan.steps, "losses": list(trained.losses)})


def _save(trainer: Any, base: Path, aside: Path) -> None:
    import torch

    network = trainer.accelerator.unwrap_model(trainer.model)
    written = json.loads((base / "config.json").read_text(encoding="utf-8"))
    precision = getattr(torch, str(written.get("dtype") or written.get("torch_dtype") or "float32"))
    if trainer.args.deepspeed_plugin is None:
        network.to(precision)
    _as_in_base(network.config, written)
    trainer.save_model(str(aside))
    # Pickled settings with paths of this machine; run.json says it in plain text.
    (aside / "training_args.bin").unlink(missing_ok=True)


def _as_in_base(config: Any, written: dict[str, Any]) -> None:
    """Undo what checkpointing sets for its own time: without a cache, answers take minutes."""
    for part, base in ((config, written), (config.get_text_config(), written.get("text_config", {}))):
        if getattr(part, "use_cache", None) is False:
            part.use_cache = base.get("use_cache", True)


def _move(aside: Path, output: Path) -> None:
    for path in sorted(aside.iterdir(), key=lambda path: path.name == _LAST):
        flush(path)
        os.replace(path, output / path.name)
    flush(output)
    aside.rmdir()
