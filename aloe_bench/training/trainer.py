"""TRL's SFTTrainer, made safe to stop and to resume. Imported only when training starts: it loads torch and TRL.

What is changed, and why, each with its test in tests/test_training_sft.py or tests/test_training_faults.py:

* Resuming loads the weights strictly. The stock trainer loads a Qwen2-VL checkpoint non-strictly into
  modules of other names, keeps what the process happened to hold, and only warns (QwenLM/Qwen3-VL#1763).
* A checkpoint is written aside, flushed to disk and renamed, so that a folder of that name is whole.
* A loss that is not a number ends the run; the stock trainer replaces it by the mean of the earlier ones.
* No telemetry leaves the machine, and no model card in TRL's words is written.
"""

from __future__ import annotations

import errno
import math
import os
import shutil
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from safetensors import SafetensorError
from torch import nn
from torch.nn import functional
from transformers import Trainer
from trl import SFTTrainer

from aloe_bench.errors import DataError, ModelError

KEEP = 2
STATE = "trainer_state.json"
_ASIDE = ".incomplete"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# How the writers of torch and safetensors report a disk without room.
_FULL_WORDS = ("PytorchStreamWriter failed", "unexpected pos", "No space left", "File too large", "quota exceeded")


class StrictTrainer(SFTTrainer):  # type: ignore[misc]
    """An SFTTrainer whose checkpoints are whole or absent and whose resume is exact.

    `args.output_dir` holds the checkpoints alone; the newest `KEEP` stay.
    """

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        target = self.accelerator.unwrap_model(model or self.model)
        try:
            load_strictly(target, Path(resume_from_checkpoint))
        except ModelError as error:
            raise ModelError(
                f"{error} Remove this folder and run the same command again: it resumes from the checkpoint before."
            ) from error

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        try:
            super()._load_optimizer_and_scheduler(checkpoint)
        except (OSError, EOFError, RuntimeError, KeyError, ValueError, UnpicklingError) as error:
            raise ModelError(
                f"{checkpoint}: the optimizer's state cannot be loaded ({str(error).splitlines()[0]}). Remove this "
                "folder and run the same command again: it resumes from the checkpoint before."
            ) from error

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        parent = Path(self.args.output_dir)
        aside = parent / _ASIDE
        name = f"checkpoint-{self.state.global_step}"
        try:
            Trainer._save_checkpoint(self, model, trial)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                publish(aside / name, parent / name)
                aside.rmdir()
                for old in checkpoints(parent)[:-KEEP]:
                    discard(old)
        except (OSError, RuntimeError, SafetensorError) as error:
            shutil.rmtree(aside, ignore_errors=True)
            if not disk_is_full(error):
                raise
            last = checkpoints(parent)
            kept = f"{last[-1].name} is whole" if last else "there was none before"
            raise DataError(
                f"{parent}: no room to save step {self.state.global_step}; what was written of it is removed, and "
                f"{kept}. Free space and run the same command again to resume from there."
            ) from error

    def _get_output_dir(self, trial: Any) -> str:
        # Asked for by Trainer when it saves: everything is written aside first.
        return str(Path(self.args.output_dir) / _ASIDE)

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the sum of the loss over learnt tokens, divided by their number in the whole step.

        TRL scores learnt positions only on a GPU and every position on a CPU, where it doubles the
        time of a small model; in one process on a CPU this does as TRL does on a GPU. More processes
        must enter through their wrapper, which TRL does, or gradients are not exchanged.
        """
        alone_on_cpu = self.accelerator.device.type == "cpu" and self.accelerator.num_processes == 1
        if not alone_on_cpu or return_outputs or num_items_in_batch is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        labels = inputs.pop("labels")[:, 1:]
        learnt = labels != -100
        network = self.accelerator.unwrap_model(model)
        hidden = network.base_model(**inputs, use_cache=False).last_hidden_state[:, :-1][learnt]
        logits = network.get_output_embeddings()(hidden).float()
        targets = labels[learnt]
        self._count(inputs["attention_mask"], (logits.detach().argmax(-1) == targets).float().mean())
        return functional.cross_entropy(logits, targets, reduction="sum") / num_items_in_batch

    def _count(self, attention_mask: Any, accuracy: Any) -> None:
        self._total_train_tokens += int(attention_mask.sum())
        self._metrics["train"]["mean_token_accuracy"].append(float(accuracy))
        self._metrics["train"]["num_tokens"] = [self._total_train_tokens]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if not math.isfinite(logs.get("loss", 0.0)):
            raise ModelError(
                f"the loss at step {self.state.global_step} is {logs['loss']}; nothing after it can be trusted. "
                "Lower the learning rate, or look at the rows of that step."
            )
        super().log(logs, start_time)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write nothing: `card` writes ours."""

    def _send_telemetry(self) -> None:
        """Send nothing."""


def load_strictly(model: Any, folder: Path) -> None:
    """Give `model` exactly the weights of the checkpoint `folder`.

    Raises ModelError if a weight is missing, unexpected or of another shape.
    """
    fresh = read_strictly(type(model), folder, next(model.parameters()).dtype)
    model.load_state_dict(fresh.state_dict(), strict=True)


def read_strictly(kind: Any, folder: Path, dtype: Any) -> Any:
    """Return the model of class `kind` from `folder`; raises ModelError unless every weight is there."""
    try:
        model, found = kind.from_pretrained(folder, dtype=dtype, output_loading_info=True)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{folder}: the weights cannot be loaded ({str(error).splitlines()[0]}).") from error
    for fault in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        if names := sorted(map(str, found.get(fault) or ())):
            raise ModelError(
                f"{folder}: {len(names)} {fault.replace('_', ' ')}, first {names[0]}; expected the weights of "
                f"a {kind.__name__}, all of them. Nothing is trained from weights made up at random."
            )
    return model


def checkpoints(parent: Path) -> list[Path]:
    """Return the checkpoints in `parent`, oldest first; each is whole, for it got its name last."""
    steps = {int(path.name[11:]): path for path in parent.glob("checkpoint-*") if path.name[11:].isdecimal()}
    return [steps[step] for step in sorted(steps)]


def publish(aside: Path, target: Path) -> None:
    """Flush the folder `aside` to disk and give it its name; a folder of that name is replaced."""
    for path in [*aside.rglob("*"), aside]:
        flush(path)
    discard(target)
    aside.rename(target)
    flush(target.parent)


def discard(folder: Path) -> None:
    """Remove a checkpoint so that no part of it can be taken for a whole one."""
    if folder.exists():
        doomed = folder.with_name(f".{folder.name}.removed")
        shutil.rmtree(doomed, ignore_errors=True)
        folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def clear_leftovers(parent: Path) -> None:
    """Remove what a killed save or removal left in `parent`."""
    for path in (parent / _ASIDE, *parent.glob(".checkpoint-*.removed")):
        shutil.rmtree(path, ignore_errors=True)


def disk_is_full(error: BaseException) -> bool:
    """Return whether `error` says that there was no room to write."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    return any(word in str(error) for word in _FULL_WORDS)


def flush(path: Path) -> None:
    """Wait until the file or folder at `path` is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:
        # Some file systems cannot flush a folder; the files in it are what matters.
        if not path.is_dir():
            raise
    finally:
        os.close(descriptor)
