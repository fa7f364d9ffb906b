"""What is asked beside a run's samples, to see what the picture is for, and whether what is drawn into it is read.

blank: the same questions over a grey picture. swap: over the picture of another patient or image, whose truth is
another of the question's own options. read: what the cue drawn into a picture says. Their ids are "ID#blank",
"ID#swap" and "ID#read"; no cell ever holds them.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from aloe_bench.core import LETTERS, ImageRef, Sample, Task
from aloe_bench.errors import UsageError, did_you_mean
from aloe_bench.evaluation.cells import ATTACKED
from aloe_bench.seeds import rng_for

if TYPE_CHECKING:
    from PIL import Image

Arm = Literal["blank", "swap", "read"]
# Those that `--controls` names; `read` has an option of its own.
ARMS: tuple[Arm, ...] = ("blank", "swap")
READ: Arm = "read"
GREY = (128, 128, 128)
# Canvas sides are multiples of it, and of sizes there are few: prompts over one canvas share what was computed of it.
BUCKET_PX, MOST_SIZES = 64, 10
_TRIES = 64
Size = tuple[int, int]


@runtime_checkable
class Blankable(Protocol):
    """A task whose pictures show more than evidence, numbered boxes say, which a blank one then has to show too."""

    def blank(self, sample: Sample, canvas: Image.Image) -> Image.Image | None:
        """Return `canvas` with what of the sample's picture is part of its question; None if that is not known."""


@runtime_checkable
class Readable(Protocol):
    """A task with questions about pictures that something misleading is drawn into."""

    def reading(self, sample: Sample) -> Sample | None:
        """Return the question what is drawn into the sample's picture; None if nothing is, or it claims nothing."""


@dataclass(frozen=True)
class FittedImage:
    """A picture shown on a grey canvas of `size`, as large as it fits; an ImageRef, its hash that of the pixels."""

    picture: ImageRef
    size: Size

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of size and pixels."""
        return hashlib.sha256(repr(self.size).encode() + self.open().tobytes()).hexdigest()

    def open(self) -> Image.Image:
        """Return it as RGB."""
        return fitted_on_grey(self.picture.open(), self.size)


def fitted_on_grey(picture: Image.Image, size: Size) -> Image.Image:
    """Return `picture` as large as it fits in the middle of a grey canvas of `size`, as RGB."""
    from PIL import Image, ImageOps

    fitted = ImageOps.contain(picture, size, Image.Resampling.BICUBIC)
    canvas = Image.new("RGB", size, GREY)
    canvas.paste(fitted, ((size[0] - fitted.width) // 2, (size[1] - fitted.height) // 2))
    return canvas


@dataclass(frozen=True, slots=True)
class Controls:
    """What is asked beside the samples of a plan; `left_out` counts by arm and reason what cannot be."""

    samples: tuple[tuple[int, Sample], ...] = ()
    left_out: tuple[tuple[str, str, int], ...] = ()

    def sentence(self, n: int) -> str:
        """Return in words what is asked beside `n` samples, what that costs, and what is left out."""
        asked = Counter(sample.arm for _, sample in self.samples)
        counts = ", ".join(f"{arm} {asked[arm]}" for arm in (*ARMS, READ) if arm in asked) or "none"
        left = "".join(f"; {arm} not of {count}: {reason}" for arm, reason, count in self.left_out)
        return f"controls: {counts}, {(n + len(self.samples)) / max(1, n):.2f} times the prompts of the run alone{left}"


def parse_controls(text: str | None) -> tuple[Arm, ...]:
    """Return the arms that "blank,swap" names, in their own order; raises UsageError."""
    names = [name.strip() for name in (text or "").split(",") if name.strip()]
    for name in names:
        if name not in ARMS:
            raise UsageError(f"--controls {name!r}: expected {' or '.join(ARMS)}.{did_you_mean(name, ARMS)}")
    return tuple(arm for arm in ARMS if arm in names)


def controls_of(
    task: Task, every: Sequence[Sample], chosen: Sequence[tuple[int, Sample]], arms: Sequence[Arm]
) -> Controls:
    """Return what is asked beside `chosen`: image controls of those without a cue, readings of those with a drawn one.

    The pictures to swap in are those of `every`.
    """
    readings = _readings(task, chosen) if READ in arms else ()
    arms = [arm for arm in arms if arm != READ]
    clean = [(index, sample) for index, sample in chosen if sample.cue is None]
    fit = [(index, sample) for index, sample in clean if sample.images and sample.kind != "open"]
    left = Counter({("open, or without a picture", arm): len(clean) - len(fit) for arm in arms})
    made: list[tuple[int, Sample]] = []
    sizes = canvases([image.size for _, sample in fit for image in sample.images])
    pool = _Pool(every) if "swap" in arms else None
    for index, sample in fit:
        for arm in arms:
            found = _blank(task, sample, sizes) if arm == "blank" else pool.swapped(sample) if pool else ""
            if isinstance(found, str):
                left[found, arm] += 1
            else:
                made.append((index, found))
    return Controls((*made, *readings), tuple((arm, reason, n) for (reason, arm), n in sorted(left.items()) if n))


def _readings(task: Task, chosen: Sequence[tuple[int, Sample]]) -> list[tuple[int, Sample]]:
    """Return the questions what is drawn into the pictures of `chosen`."""
    if not isinstance(task, Readable):
        return []
    asked = [(index, sample.id, task.reading(sample)) for index, sample in chosen]
    return [(i, replace(one, id=f"{name}#{READ}", arm=READ)) for i, name, one in asked if one is not None]


def _arm(sample: Sample, arm: Arm, images: tuple[ImageRef, ...], **tags: str) -> Sample:
    return replace(sample, id=f"{sample.id}#{arm}", arm=arm, images=images, tags={**sample.tags, **tags})


def _blank(task: Task, sample: Sample, sizes: dict[Size, Size]) -> Sample | str:
    """Return `sample` over a blank picture, or why there is none."""
    from PIL import Image

    shown = []
    for picture in sample.images:
        canvas: Image.Image | None = Image.new("RGB", sizes[picture.size], GREY)
        if isinstance(task, Blankable) and canvas is not None:
            canvas = task.blank(sample, canvas)
        if canvas is None:
            return "what is drawn into its picture is not recorded, or has no room on the canvas"
        shown.append(_png(canvas, sample.id))
    return _arm(sample, "blank", tuple(shown))


def _png(image: Image.Image, name: str) -> ImageRef:
    from aloe_bench.images import bytes_image

    file = io.BytesIO()
    image.save(file, "PNG")
    return bytes_image(file.getvalue(), f"{name}#blank")


def canvases(sizes: Sequence[Size]) -> dict[Size, Size]:
    """Return the canvas of each picture size: no smaller where that can be, in whole buckets, and few of them."""

    def bucket(side: int) -> int:
        return -(-side // BUCKET_PX) * BUCKET_PX

    rounded = {size: (bucket(size[0]), bucket(size[1])) for size in set(sizes)}
    counts = Counter(rounded[size] for size in sizes)
    kept = sorted(counts, key=lambda size: (-counts[size], size))[:MOST_SIZES]

    def nearest(size: Size) -> Size:
        def apart(other: Size) -> tuple[bool, int, Size]:
            smaller = other[0] < size[0] or other[1] < size[1]
            return smaller, abs(other[0] - size[0]) + abs(other[1] - size[1]), other

        return min(kept, key=apart)

    return {size: nearest(near) for size, near in rounded.items()}


class _Pool:
    """The pictures of a task by what is asked of them and what the answer is."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._by_truth: dict[tuple[str, ...], dict[str, list[Sample]]] = defaultdict(lambda: defaultdict(list))
        for sample in sorted(samples, key=lambda sample: sample.id):
            if sample.cue is None and len(sample.images) == 1 and sample.kind != "open" and not _boxed(sample):
                self._by_truth[_asked(sample)][_truth(sample)].append(sample)

    def swapped(self, sample: Sample) -> Sample | str:
        """Return `sample` over the picture of another cluster with another truth, or why there is none."""
        if len(sample.images) != 1:
            return "has several pictures"
        if _boxed(sample):
            return "asks for a box, and no other picture has the same boxes"
        truths = self._by_truth[_asked(sample)]
        options = sample.choices if sample.kind == "choice" else ("yes", "no")
        others = [other for text in options if text != _truth(sample) for other in truths.get(text, ())]
        found = _drawn(sample, others)
        if found is None:
            return "no picture of another cluster has another of its options for its truth"
        truth, size = _truth(found), sample.images[0].size
        shown: ImageRef = found.images[0] if found.images[0].size == size else FittedImage(found.images[0], size)
        letter = LETTERS[options.index(truth)] if sample.kind == "choice" else truth
        return _arm(sample, "swap", (shown,), shown=letter, shown_id=found.id)


def _boxed(sample: Sample) -> bool:
    return sample.tags.keys() >= ATTACKED and sample.tags["task"] == "detection"


def _asked(sample: Sample) -> tuple[str, ...]:
    """Return what is asked of a picture: of an attacked table its data set and task, which word it in many ways."""
    modality = sample.tags.get("modality", "")
    if sample.tags.keys() >= ATTACKED:
        return sample.tags["dataset"], sample.tags["task"], modality
    return sample.kind, " ".join(sample.question.lower().split()), modality


def _truth(sample: Sample) -> str:
    return sample.choices[LETTERS.index(sample.target)] if sample.kind == "choice" else sample.target


def _drawn(sample: Sample, others: Sequence[Sample]) -> Sample | None:
    """Return one of `others` by lot, of another cluster and picture, of equal size if one comes up soon."""

    def apart(other: Sample) -> bool:
        return other.cluster != sample.cluster and other.images[0].sha256 != sample.images[0].sha256

    if not others:
        return None
    rng = rng_for("swap", sample.id)
    tried = [other for other in (rng.choice(others) for _ in range(_TRIES)) if apart(other)]
    tried = tried or [other for other in others if apart(other)]
    same = [other for other in tried if other.images[0].size == sample.images[0].size]
    return next(iter(same or tried), None)
