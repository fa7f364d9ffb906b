"""HEART items in memory: what each shows and asks under every cue, drawn when it is wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from aloe_bench.core import Sample
from aloe_bench.tasks import formats
from studies.miniature.forward import Pixels
from studies.miniature.network import CELL_PX


@dataclass(frozen=True, slots=True)
class View:
    """An item under one cue: its picture, its question, and the option the cue argues for (None without a claim)."""

    pixels: Pixels
    question: str
    claimed: str | None


@dataclass(frozen=True, slots=True)
class Scene:
    """One HEART item: its answer and options in words, and what is known of its picture.

    `view` gives it under a cue (attack, variant); ("", "baseline") is without one. `centre` is the lesion's, in pixels.
    """

    modality: str
    task: str
    answer: str
    options: tuple[str, ...]
    centre: tuple[float, float] | None
    boxes: Mapping[str, tuple[float, float, float, float]]
    view: Callable[[str, str], View]


def as_seen(image: Any) -> Pixels:
    """Return the pixels that the stock image processor hands on untouched: sides that are multiples of 28."""
    if any(side % CELL_PX for side in image.size):
        raise ValueError(f"a picture of {image.size} pixels; the miniature trains on multiples of {CELL_PX} alone")
    return np.asarray(image.convert("RGB"))


def choice_prompt(question: str, options: Iterable[str]) -> str:
    """Return `question` as `run --answer text` asks it."""
    return formats.text_form(formats.prompt(Sample("", "choice", question, "A", "", choices=tuple(options))))


def open_prompt(question: str) -> str:
    """Return `question` as `run` asks it without options."""
    return formats.prompt(Sample("", "open", question, "", ""))


def description(scene: Scene) -> str:
    """Return the reference answer to DESCRIBE."""
    return f"{scene.modality}, {scene.answer}"
