"""Pictures side by side on one page that needs nothing else: for a person to say what a measure could not."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from aloe_bench.images import open_image

if TYPE_CHECKING:
    from PIL import Image

_SIDE_PX = 240
_STYLE = (
    "body{font:14px system-ui,sans-serif;margin:2rem auto;max-width:64rem;color:#222}"
    "figure{display:grid;grid-template-columns:1fr 1fr;gap:.5rem;margin:0 0 1.5rem;padding:.5rem;border:1px solid #ccc}"
    "figcaption{grid-column:1/3}img{max-width:100%;background:#000}small{overflow-wrap:anywhere}"
)


@dataclass(frozen=True, slots=True)
class PairShown:
    """A training picture and the evaluation picture that it may be."""

    training: Path
    evaluation: Callable[[], Image.Image] | None
    training_name: str
    evaluation_name: str
    of: str
    distance: int
    alike: float | None


def pair_sheet(pairs: Sequence[PairShown], n: int) -> str:
    """Return the page of `pairs`, in their order; `n` is how many there are in all."""
    return page(
        "Leakage: pairs to look at",
        f"{len(pairs)} of {n} pairs, those first whose likeness is nearest to the limit between one picture and two.",
        [_pair(number, pair) for number, pair in enumerate(pairs, 1) if pair.evaluation is not None],
    )


def page(title: str, words: str, figures: Sequence[str]) -> str:
    """Return a whole page of figures under a title."""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
        f"<h1>{escape(title)}</h1><p>{escape(words)}</p>{''.join(figures)}</html>\n"
    )


def thumbnail(image: Image.Image) -> str:
    """Return the picture, made small, as an img element that carries its own bytes."""
    small = image.convert("RGB")
    small.thumbnail((_SIDE_PX, _SIDE_PX))
    file = io.BytesIO()
    small.save(file, "PNG")
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'


def _pair(number: int, pair: PairShown) -> str:
    if pair.evaluation is None:
        return ""
    alike = "not compared" if pair.alike is None else f"{pair.alike:.2f}"
    return (
        f"<figure><figcaption>{number}. distance {pair.distance} bits, likeness {alike}</figcaption>"
        f"<div>{thumbnail(open_image(pair.training))}<br><small>training: {escape(pair.training_name)}</small></div>"
        f"<div>{thumbnail(pair.evaluation())}<br><small>{escape(pair.of)}: {escape(pair.evaluation_name)}</small></div>"
        "</figure>"
    )
