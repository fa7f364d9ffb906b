"""The second look at a hit: do two pictures show the same, and what share of all hits at a radius does.

A perceptual hash sees 64 numbers of a picture, so hits among radiographs are often other patients in the same
projection (arXiv 2606.10066). Two checks: the correlation of fine structure, and the share of true hits estimated from
how often hits agree, against how often they would if they were false.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from PIL import Image

SIDE_PX = 128
_SHIFT_PX = 4
_BLUR_PX = 4
# At this likeness and above two pictures count as one. Copies of 12 real radiographs (JPEG of quality 30, 224 x 224,
# brighter, more contrast) have .99 or more; of 553 pairs of different ones the most alike have .75, the median .09.
SAME = 0.85
# Fewer pictures of known other patients than this say nothing of a chance rate.
LEAST = 20

Method = Literal["labels", "likeness", "decoys", "not estimable"]


def likeness(one: Image.Image, other: Image.Image) -> float:
    """Return how alike the fine structure of two pictures is, -1 to 1, once aligned within a few of 128 pixels.

    What is alike between patients, the outline of a body part, is taken out by subtracting a blurred copy.
    """
    import numpy as np

    a, b = _fine(one), _fine(other)
    spectrum = np.fft.rfft2(a).conj() * np.fft.rfft2(b)
    shifted = np.fft.irfft2(spectrum, s=a.shape)
    reach = range(-_SHIFT_PX, _SHIFT_PX + 1)
    return float(shifted[np.ix_(reach, reach)].max())


def _fine(image: Image.Image) -> Any:
    import numpy as np
    from PIL import Image as Pillow
    from PIL import ImageFilter

    grey = image.convert("L").resize((SIDE_PX, SIDE_PX), Pillow.Resampling.LANCZOS)
    values = np.asarray(grey, np.float64) - np.asarray(grey.filter(ImageFilter.GaussianBlur(_BLUR_PX)), np.float64)
    values -= values.mean()
    norm = float(np.sqrt((values**2).sum()))
    return values / norm if norm > 0 else values


@dataclass(frozen=True, slots=True)
class HitPrecision:
    """The estimated share of true hits at a radius with its 95 % interval; None and the reason where there is none."""

    radius: int
    method: Method
    value: float | None
    low: float | None
    high: float | None
    n: int
    agreeing: int
    note: str = ""


def precision(radius: int, method: Method, agrees: Sequence[bool], chance: Sequence[float | None]) -> HitPrecision:
    """Return the share of true hits by maximum likelihood: true ones agree always, a false one with its `chance`.

    `chance` is that of the very hit: of its label among known other patients of its view. Plain agreement would call
    .2 true hits .6, because false hits share a view and so, mostly, a label. The interval is of the likelihood.
    """
    import numpy as np

    known = [(a, q) for a, q in zip(agrees, chance, strict=True) if q is not None]
    n, agreeing = len(known), sum(a for a, _ in known)
    if len(known) < max(1, len(agrees) / 2):
        why = "not known how often false hits agree: give --view and --label, or --decoys" if agrees else "no hits"
        return HitPrecision(radius, "not estimable", None, None, None, len(agrees), sum(agrees), why)
    if min(q for _, q in known) > 0.95:
        return HitPrecision(radius, "not estimable", None, None, None, n, agreeing, "false hits would agree as well")
    share = np.linspace(0, 1, 1001)[:, None]
    groups = Counter(known)  # hits with one chance say the same
    agree, q, times = (np.array(each)[None, :] for each in zip(*((*key, n) for key, n in groups.items()), strict=True))
    with np.errstate(divide="ignore"):
        terms = np.log(np.where(agree, share + (1 - share) * q, (1 - share) * (1 - q))) * times
    likelihood = terms.sum(axis=1)
    best = int(likelihood.argmax())
    inside = np.flatnonzero(likelihood >= likelihood[best] - 1.92)  # half the .95 quantile of chi-squared(1)
    ends = float(share[inside[0], 0]), float(share[inside[-1], 0])
    return HitPrecision(radius, method, float(share[best, 0]), *ends, n, agreeing)


def decoy_precision(radius: int, hits: int, n: int, decoy_hits: int, n_decoys: int) -> HitPrecision:
    """Return the share of true hits where `n_decoys` pictures known not to be in training have `decoy_hits` hits.

    They say how many of the `hits` of `n` evaluation pictures are false; the interval is that of their Poisson count.
    """
    from scipy.stats import chi2

    if not hits or n_decoys < LEAST:
        why = "no hits" if not hits else f"{n_decoys} decoys; at least {LEAST} are needed"
        return HitPrecision(radius, "not estimable", None, None, None, hits, 0, why)
    low = chi2.ppf(0.025, 2 * decoy_hits) / 2 if decoy_hits else 0.0
    high = chi2.ppf(0.975, 2 * decoy_hits + 2) / 2
    shares = [min(1.0, max(0.0, 1 - count * n / n_decoys / hits)) for count in (decoy_hits, high, low)]
    note = f"{decoy_hits} hits of {n_decoys} decoys"
    return HitPrecision(radius, "decoys", shares[0], shares[1], shares[2], hits, 0, note)


@dataclass(frozen=True, slots=True)
class KnownPatients:
    """Pictures of known patients, by view and label: what a false hit of the same view would agree in by chance."""

    counts: Mapping[tuple[str, ...], int]  # of a view, a view and label, a view and patient, all three

    @classmethod
    def of(cls, pictures: Sequence[tuple[str, str, str]]) -> KnownPatients:
        """Return the reference of pictures given as (view, label, patient)."""
        counts: Counter[tuple[str, ...]] = Counter()
        for view, label, patient in pictures:
            counts.update([("view", view), ("label", view, label), ("patient", view, patient), (view, label, patient)])
        return cls(counts)

    def chance(self, view: str, label: str, patient: str) -> float | None:
        """Return how often another patient's picture of this view has this label; None where too few are known."""
        count = self.counts.get
        others = count(("view", view), 0) - count(("patient", view, patient), 0)
        alike = count(("label", view, label), 0) - count((view, label, patient), 0)
        return alike / others if others >= LEAST else None
