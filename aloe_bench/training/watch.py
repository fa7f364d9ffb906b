"""What watches a training run: the progress line, TensorBoard, and the wish to stop."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from transformers import PrinterCallback, TrainerCallback

Report = Callable[[int, int, str], None]


class StopRequest:
    """The first SIGINT or SIGTERM asks for a stop after the step; a second SIGINT stops at once.

    So does the clock, `seconds` after now, if given.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self._heard = False
        self._deadline = None if seconds is None else time.monotonic() + seconds

    @property
    def asked(self) -> bool:
        """Whether this process wants to stop."""
        return self._heard or (self._deadline is not None and time.monotonic() > self._deadline)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear the two signals while the block runs."""
        before = {number: signal.signal(number, self._hear) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._heard and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._heard = True


def attach(trainer: Any, stop: StopRequest, save_every: int, report: Report, tensorboard: Path) -> None:
    """Let `trainer` save every so many steps, report each, write TensorBoard files, and stop when asked to."""
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_Saver(stop, save_every, trainer.accelerator))
    if trainer.args.should_save:
        trainer.add_callback(_Reporter(report))
        trainer.add_callback(_board(tensorboard))


def _board(folder: Path) -> Any:
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations import TensorBoardCallback

    return TensorBoardCallback(SummaryWriter(log_dir=str(folder)))  # type: ignore[no-untyped-call, unused-ignore]


class _Saver(TrainerCallback):  # type: ignore[misc]
    """Saves every so many steps, and saves and stops once a stop is asked for, on every rank at the same step.

    Not left to the trainer: a resumed one would keep the interval of the run it resumes.
    """

    def __init__(self, stop: StopRequest, save_every: int, accelerator: Any) -> None:
        self._stop = stop
        self._save_every = save_every
        self._accelerator = accelerator

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        if self._anyone_asks():
            control.should_save = True
            control.should_training_stop = True
        if state.global_step % self._save_every == 0:
            control.should_save = True
        return control

    def _anyone_asks(self) -> bool:
        """Signals reach ranks at different times; a rank that stops alone would leave the others waiting."""
        if self._accelerator.num_processes == 1:
            return self._stop.asked
        import torch

        mine = torch.tensor(float(self._stop.asked), device=self._accelerator.device)
        return bool(self._accelerator.reduce(mine, "sum") > 0)


class _Reporter(TrainerCallback):  # type: ignore[misc]
    """Passes on each step with its loss and the tokens per second of this session."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._started: tuple[float, float] | None = None

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        if not logs or "loss" not in logs:
            return
        now, tokens = time.monotonic(), logs.get("num_tokens", 0.0)
        # From the end of the first step: what comes before it is loading and warming up.
        start, before = self._started = self._started or (now, tokens)
        speed = f", {(tokens - before) / (now - start):,.0f} tokens/s" if now > start else ""
        self._report(state.global_step, state.max_steps, f"loss {logs['loss']:.3f}{speed}")
