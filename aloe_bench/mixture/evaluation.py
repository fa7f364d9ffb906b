"""What a mixture must not hold: the pictures and questions of a task, a HEART folder, a pool, or a folder of pictures.

Pictures are hashed as they are before any attack is drawn: of a HEART folder the clean rows' and what its table keeps
of the source pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aloe_bench import registry
from aloe_bench.core import ImageRef, Sample, Task, samples_of
from aloe_bench.errors import DataError, UsageError
from aloe_bench.images import open_image
from aloe_bench.mixture.pool import POOL_FILE, Pool, kept, text_sha256, write_table
from aloe_bench.prints import PicturePrint, file_print, image_print, parsed_print

if TYPE_CHECKING:
    from PIL import Image

_SUFFIXES = {".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".dcm"}
VARIANTS = ("mirror", "crop")
# What a cropped variant leaves of each side; a few per cent are what borders and captions take.
_CROPS = (0.02, 0.05, 0.10)
Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class HeldPicture:
    """A picture of an evaluation set. `variant` says how it was changed before it was hashed, mostly not at all.

    `open` gives its pixels; None where a table keeps the hash alone.
    """

    name: str
    cluster: str
    print: PicturePrint
    open: Callable[[], Image.Image] | None
    variant: str = ""
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HeldText:
    """A question of an evaluation set and its answer; `pictures` says whether it is asked about any."""

    name: str
    question: str
    answer: str
    pictures: bool


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """All that a mixture is compared with under one name; `absent` counts what the set names and does not hold."""

    name: str
    pictures: tuple[HeldPicture, ...]
    texts: tuple[HeldText, ...]
    source: str = ""
    absent: int = 0

    def digest(self) -> str:
        """Return the hash of what is compared."""
        shown = [(p.name, p.print.sha256, p.print.phash, p.print.pixels, p.variant) for p in self.pictures]
        return text_sha256([self.name, shown, [(t.name, t.question, t.answer) for t in self.texts]])


def evaluation_set(
    given: str, data_root: Path, variants: Sequence[str] = (), cache: Path | None = None,
    report: Report = lambda done, total: None,
) -> EvaluationSet:  # fmt: skip
    """Return the set that `given` names: a task, heart:FOLDER, a pool's folder, or a folder of pictures.

    `cache` is a folder for hashes, by the hash of each picture's file. Raises UsageError for a name that is not one of
    these, DataError for a set without pictures and questions.
    """
    folder = Path(given)
    if (folder / POOL_FILE).is_file():
        found = _of_pool(folder)
    elif (folder / "dataset.toml").is_file() or (folder.is_dir() and _is_heart(folder)):
        found = _of_heart(folder)
    elif folder.is_dir():
        found = _of_folder(folder, report)
    else:
        try:
            task = registry.task(given)
        except UsageError as error:
            raise UsageError(f"{given}: no folder, and as a task: {error}") from error
        found = _of_task(task, data_root, cache, report)
    if not found.pictures and not found.texts:
        raise DataError(f"{given}: neither pictures nor questions are there; nothing can be compared with it.")
    if not variants:
        return found
    more = [v for p in found.pictures for v in _variants(p, variants)]
    return EvaluationSet(found.name, (*found.pictures, *more), found.texts, found.source, found.absent)


def _is_heart(folder: Path) -> bool:
    return (folder / "heart.parquet").is_file()


def _of_task(task: Task, data_root: Path, cache: Path | None, report: Report) -> EvaluationSet:
    rows = list(task.load(data_root))
    samples = [s for s in samples_of(iter(rows)) if s.cue is None]
    shown: dict[str, tuple[ImageRef, Sample]] = {}
    for sample in samples:
        for image in sample.images:
            shown.setdefault(image.sha256, (image, sample))
    prints = _cached(cache, {key: image for key, (image, _) in shown.items()}, report)
    pictures = tuple(
        HeldPicture(f"{sample.id}", sample.cluster, prints[key], image.open, tags=dict(sample.tags))
        for key, (image, sample) in shown.items()
    )
    texts = tuple(HeldText(s.id, s.question, _answer(s), bool(s.images)) for s in samples)
    return EvaluationSet(task.name, pictures, texts, task.source, len(rows) - sum(isinstance(r, Sample) for r in rows))


def _answer(sample: Sample) -> str:
    from aloe_bench.core import LETTERS

    if sample.kind == "choice" and sample.target in LETTERS[: len(sample.choices)]:
        return sample.choices[LETTERS.index(sample.target)]
    return sample.target


def _of_pool(folder: Path) -> EvaluationSet:
    from aloe_bench.mixture.pictures import picture_table

    pool = Pool(folder)
    table = kept(pool.table())
    seen = picture_table(folder)
    facts = {row["path"]: row for row in seen.to_pylist() if not row["fault"]} if seen is not None else {}
    pictures: dict[str, HeldPicture] = {}
    texts = []
    for row, conversation in zip(table.to_pylist(), pool.conversations(table), strict=True):
        for path in conversation.pictures:
            if path in facts:
                fact = facts[path]
                size = (fact["width"], fact["height"])
                shown = PicturePrint(fact["sha256"], size, fact["phash"], fact["pixels"] or "")
                opened = file_image_opener(folder / path)
                pictures.setdefault(
                    path, HeldPicture(path, row["cluster"], shown, opened, tags=dict(conversation.tags))
                )
        for question, answer in turns_of(conversation):
            texts.append(HeldText(conversation.id, question, answer, bool(conversation.pictures)))
    return EvaluationSet(folder.name, tuple(pictures.values()), tuple(texts))


def turns_of(conversation: Any) -> Iterator[tuple[str, str]]:
    """Yield each question of a conversation with its answer, words alone."""
    from aloe_bench.training.data.schema import Text

    asked = ""
    for turn in conversation.turns:
        words = " ".join(part.text for part in turn.parts if isinstance(part, Text))
        if turn.role == "user":
            asked = words
        elif turn.role == "assistant":
            yield asked, words


def _of_heart(folder: Path) -> EvaluationSet:
    from aloe_bench.training.overlap import evaluation_prints

    pictures = tuple(
        HeldPicture(name, name, parsed_print(text), None) for name, text in dict(evaluation_prints(folder)).items()
    )
    return EvaluationSet(folder.name, pictures, ())


def _of_folder(folder: Path, report: Report) -> EvaluationSet:
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES and p.is_file())
    pictures, broken = [], 0
    for done, path in enumerate(files, 1):
        try:
            shown = file_print(path)
        except DataError:
            broken += 1
            continue
        name = path.relative_to(folder).as_posix()
        pictures.append(HeldPicture(name, name, shown, file_image_opener(path)))
        report(done, len(files))
    return EvaluationSet(folder.name, tuple(pictures), (), absent=broken)


def file_image_opener(path: Path) -> Callable[[], Image.Image]:
    """Return a function that opens the picture at `path` as upright RGB."""

    def opened() -> Image.Image:
        return open_image(path)

    return opened


def _variants(picture: HeldPicture, wanted: Sequence[str]) -> Iterator[HeldPicture]:
    """Yield the picture mirrored, and cropped by a few per cent, as far as its pixels are there."""
    from PIL.Image import Transpose

    if picture.open is None:
        return
    image = picture.open()
    made: list[tuple[str, Any]] = []
    if "mirror" in wanted:
        made.append(("mirror", image.transpose(Transpose.FLIP_LEFT_RIGHT)))
    if "crop" in wanted:
        for share in _CROPS:
            dx, dy = round(share * image.width), round(share * image.height)
            if image.width > 2 * dx and image.height > 2 * dy:
                made.append((f"crop {share:.0%}", image.crop((dx, dy, image.width - dx, image.height - dy))))
    for name, changed in made:
        shown = image_print(changed, picture.print.sha256)

        def opened(data: Any = changed) -> Any:
            return data

        yield HeldPicture(picture.name, picture.cluster, shown, opened, name, picture.tags)


def _cached(cache: Path | None, images: dict[str, ImageRef], report: Report) -> dict[str, PicturePrint]:
    """Return the print of each picture by the hash of its file, those of an earlier session from `cache`."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    found: dict[str, PicturePrint] = {}
    path = cache / "evaluation.parquet" if cache else None
    if path and path.is_file():
        for row in parquet.read_table(path).to_pylist():
            size = (row["width"], row["height"])
            found[row["sha256"]] = PicturePrint(row["sha256"], size, row["phash"], row["pixels"])
    new = [key for key in images if key not in found]
    for done, key in enumerate(new, 1):
        found[key] = image_print(images[key].open(), key)
        report(done, len(new))
    if path and new:
        rows = [
            {"sha256": p.sha256, "width": p.size[0], "height": p.size[1], "phash": p.phash, "pixels": p.pixels}
            for p in sorted(found.values(), key=lambda p: p.sha256)
        ]
        types = [("sha256", pa.string()), ("width", pa.int32()), ("height", pa.int32())]
        schema = pa.schema([*types, ("phash", pa.uint64()), ("pixels", pa.string())])
        write_table(path, pa.Table.from_pylist(rows, schema=schema))
    return {key: found[key] for key in images}
