"""The vision tower learns first, with linear heads that are thrown away afterwards.

Without this stage no mix of questions taught the whole model anything in minutes. The heads ask of the image tokens:
is the lesion here, is this box here, and for the picture: modality, normal or not, place, box, the word written
on it, the box its legend marks. Each is read both from all tokens side by side and from an attention-pooled one:
the latter lets the language part find the same things once the tower is frozen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aloe_bench.miniature.images import MODALITIES
from studies.miniature.forward import Pixels, see
from studies.miniature.network import CELL_PX, HIDDEN
from studies.miniature.optimizer import Optimizer, split
from studies.miniature.scenes import Scene

_CELLS = 24
_NEAR_LESION_PX, _NEAR_BOX_PX = 18, 24
_PLACE = 2
UNKNOWN = -100


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture and what can be known of it; a class index is UNKNOWN where it does not apply."""

    pixels: Pixels
    lesion: tuple[float, float] | None
    boxes: Sequence[tuple[float, float]]
    classes: tuple[int, ...]


class Vocabulary:
    """The words that heads tell apart, in fixed order."""

    def __init__(self, scenes: Sequence[Scene]) -> None:
        self.findings = sorted({o for s in scenes if s.task == "classification" for o in s.options})
        self.boxes = sorted({o for s in scenes if s.task == "detection" for o in s.options})
        self.sizes = (len(MODALITIES), len(self.findings), 4, 4, len(self.findings) + 4, 4)

    def shown(self, scene: Scene, attack: str, variant: str) -> Shown:
        """Return the row (`attack`, `variant`) of `scene` with all that is known of it."""
        view, centre = scene.view(attack, variant), scene.centre
        words = [*self.findings, *self.boxes]
        claimed = view.claimed
        boxed = scene.task == "detection"
        middles = [((b[0] + b[2]) / 2, (b[1] + b[3]) / 2) for _, b in sorted(scene.boxes.items())]
        classes = (
            MODALITIES.index(scene.modality),
            UNKNOWN if boxed else self.findings.index(scene.answer),
            UNKNOWN if boxed or centre is None else _place(centre),
            self.boxes.index(scene.answer) if boxed else UNKNOWN,
            words.index(claimed) if claimed and attack == "caption" else UNKNOWN,
            self.boxes.index(claimed) if claimed and attack == "legend" else UNKNOWN,
        )
        return Shown(view.pixels, centre, middles, classes)


def _place(centre: tuple[float, float]) -> int:
    """Return left, right, top or bottom as 0 to 3."""
    across, down = centre[0] - 56, centre[1] - 56
    return (0 if across < 0 else 1) if abs(across) > abs(down) else (2 if down < 0 else 3)


class VisionStage:
    """Teaches the vision tower of `network`; the heads live as long as this object."""

    def __init__(self, network: Any, sizes: Sequence[int]) -> None:
        import torch

        self._tower, self._sizes = network.model.visual, tuple(sizes)
        self._local = torch.nn.Linear(HIDDEN, 5)
        self._wide = torch.nn.ModuleList([torch.nn.Linear(HIDDEN * _CELLS, n) for n in sizes])
        self._pooled = torch.nn.ModuleList([torch.nn.Linear(HIDDEN, n) for n in sizes])
        self._attention = torch.nn.Linear(HIDDEN, len(sizes))
        self._bias = torch.nn.Parameter(torch.zeros(_CELLS, len(sizes)))
        self.right: dict[int, list[bool]] = {}

    def optimizer(self) -> Optimizer:
        """Return a fresh optimizer: Muon for the tower's matrices, AdamW for its other weights and the heads."""
        matrices, rest = split(self._tower.named_parameters())
        heads = [self._local, self._wide, self._pooled, self._attention]
        return Optimizer(matrices, [*rest, *(p for h in heads for p in h.parameters()), self._bias], muon_lr=0.02)

    def loss(self, shown: Sequence[Shown]) -> Any:
        """Return the summed loss of all heads on `shown`; `right` collects what the pooled heads got right."""
        import torch
        from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

        tokens = see(self._tower, [s.pixels for s in shown])
        seen = torch.stack([torch.nn.functional.pad(t, (0, 0, 0, _CELLS - len(t))) for t in tokens])
        there = torch.tensor([[float(i < len(t)) for i in range(_CELLS)] for t in tokens])
        near = torch.from_numpy(np.stack([_near(s) for s in shown]))
        local = binary_cross_entropy_with_logits(self._local(seen), near, reduction="none").mean(-1)
        loss = 2 * (local * there).sum() / there.sum()
        scores = self._attention(seen) + self._bias + (there[..., None] - 1) * 1e4
        pooled = torch.einsum("bnk,bnd->kbd", scores.softmax(1), seen)
        truth = torch.tensor([s.classes for s in shown])
        for k in range(len(self._sizes)):
            known = truth[:, k] != UNKNOWN
            if not known.any():
                continue
            weight = (float(known.float().mean()) + 0.2) * (2 if k == _PLACE else 1)
            guess = self._pooled[k](pooled[k])[known]
            wide = self._wide[k](seen.flatten(1))[known]
            target = truth[known, k]
            loss = loss + weight * (cross_entropy(wide, target) + cross_entropy(guess, target))
            self.right.setdefault(k, []).extend((guess.argmax(-1) == target).tolist())
        return loss

    def accuracy(self) -> Mapping[str, int]:
        """Return the share in percent that each head got right since it was last asked, and forget it."""
        names = ("modality", "finding", "place", "box", "word", "legend")
        found = {names[k]: round(100 * float(np.mean(hits))) for k, hits in sorted(self.right.items())}
        self.right = {}
        return found


def _near(shown: Shown) -> Any:
    """Return for each token whether the lesion, and each of the four boxes, is near its centre."""
    columns = shown.pixels.shape[1] // CELL_PX
    near = np.zeros((_CELLS, 5), np.float32)
    for cell in range(shown.pixels.shape[0] // CELL_PX * columns):
        x, y = (cell % columns + 0.5) * CELL_PX, (cell // columns + 0.5) * CELL_PX
        if shown.lesion is not None:
            near[cell, 0] = max(abs(shown.lesion[0] - x), abs(shown.lesion[1] - y)) < _NEAR_LESION_PX
        for i, (bx, by) in enumerate(shown.boxes):
            near[cell, 1 + i] = max(abs(bx - x), abs(by - y)) < _NEAR_BOX_PX
    return near
