"""A HEART table as a task: every row a sample, every cue row tied to its baseline.

`heart:FOLDER` on the command line. Source: heart/published.py for the published table; DESIGN of the folder in
docs/robustness.md.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from aloe_bench.core import LETTERS, Cue, DataSet, Sample, Variant
from aloe_bench.errors import DataError, UsageError
from aloe_bench.facts import Facts
from aloe_bench.files import safe_name
from aloe_bench.heart import attacks
from aloe_bench.heart.attacks.sycophancy import SYCOPHANCY
from aloe_bench.heart.blank import frames_of
from aloe_bench.heart.legibility import reading_sample
from aloe_bench.heart.measure.geometry import ItemBoxes, boxes_alone
from aloe_bench.heart.plan import MENTIONS, VARIANTS
from aloe_bench.heart.table import published
from aloe_bench.heart.table.read import HeartRow, TablePictures, boxes_in, dataset_names, read_rows, table_files
from aloe_bench.heart.table.write import MORE_OPTIONS
from aloe_bench.heart.wordings import TESTIMONY
from aloe_bench.tasks import formats
from aloe_bench.tasks.data.fetch import Fetch

if TYPE_CHECKING:
    from PIL import Image

FACTS = Facts(measure="heart")


@dataclass(frozen=True, slots=True)
class HeartTask:
    """The questions of one HEART table.

    `manifest` is the folder's, empty for another table; once loaded, `boxes` are where those of its detection items
    lie, and `bases` the rows of these, which tell how the boxes are drawn again.
    """

    name: str
    files: tuple[Path, ...]
    folder: Path
    expected_rows: int
    source: str
    revision: str
    licence: str
    modality: str
    version: int = 2
    facts: Facts = FACTS
    manifest: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    bases: dict[str, HeartRow] = field(default_factory=dict, compare=False, repr=False)
    boxes: dict[str, ItemBoxes] = field(default_factory=dict, compare=False, repr=False)

    def load(self, root: Path) -> Iterator[Sample]:
        """Yield the samples in the table's order; the table is where the task was opened, not below `root`.

        Raises DataError, naming file and row, for a repeated row, a cue without its baseline, an adversarial cue that
        argues for the truth or an assistive one that does not, and a picture that is missing or changed.
        """
        pictures, samples, rows = TablePictures(self.folder), list[Sample](), list[HeartRow]()
        for row in read_rows(list(self.files)):
            pictures.add(row)
            samples.append(_sample(row, self.modality))
            # The picture's bytes are in `pictures` now, once; the row would keep them a second time.
            kept = {c: v for c, v in row.cells.items() if c not in published.IMAGE_COLUMNS}
            rows.append(HeartRow(row.where, kept))
            if samples[-1].cue is None and samples[-1].tags["task"] == "detection":
                self.bases[samples[-1].id] = rows[-1]
                if boxes := boxes_in(row, samples[-1].cluster):
                    self.boxes[samples[-1].id] = boxes
        bases = _bases(samples, rows)
        for sample, row in zip(samples, rows, strict=True):
            tags = {**sample.tags, **_place_in_base(sample, row, bases)}
            yield replace(sample, images=(pictures.of(row),), tags=tags)

    def data_sets(self, root: Path) -> tuple[DataSet, ...]:
        """Return the published data set, and where the table was opened; nothing for an attacked folder of ours."""
        return (DataSet(published.SOURCE, self.folder),) if self.source == published.SOURCE else ()

    def prompt(self, sample: Sample) -> str:
        """Return the text of the user turn."""
        return formats.prompt(sample)

    def told(self) -> Mapping[str, Any]:
        """Return what boxes alone give away, {"boxes_alone": {"detection": ...}}, once the table is loaded."""
        found = boxes_alone([self.boxes[name] for name in sorted(self.boxes)])
        return {"boxes_alone": {"detection": found}} if found else {}

    def blank(self, sample: Sample, canvas: Image.Image) -> Image.Image | None:
        """Return `canvas` with the boxes of `sample`, if it has any; None where the table does not tell them."""
        if sample.tags["task"] == "classification":
            return canvas
        frames = frames_of(self.bases[sample.id], self.manifest)
        return frames.drawn_on(canvas, sample.images[0].size) if frames else None

    def reading(self, sample: Sample) -> Sample | None:
        """Return the question which option the drawn, adversarial cue of `sample` names; None of any other."""
        return reading_sample(sample) if sample.cue and sample.cue.variant == "adversarial" else None


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """What `data fetch` needs to know of the published table."""

    name: str
    fetches: tuple[Fetch, ...]


PUBLISHED = PublishedTable("heart", (Fetch(published.SOURCE, "main", "heart", ("*.parquet", "data/*.parquet")),))


def open_task(place: str) -> HeartTask:
    """Return the task of the HEART folder or table at `place`; raises DataError if there is none.

    The rows expected are those its manifest counts; without a manifest, those of the published table.
    """
    if not place.strip():
        raise UsageError("heart: names no folder; expected heart:FOLDER, one that `aloe-bench attack` wrote.")
    path = Path(place).expanduser()
    files = table_files(path)
    folder = path if path.is_dir() else path.parent
    manifest = _manifest(folder) if files[0].name == "heart.parquet" else {}
    datasets = dataset_names(files)
    return HeartTask(
        name=f"heart-{safe_name(datasets[0])}" if len(datasets) == 1 else "heart",
        files=tuple(files),
        folder=folder,
        expected_rows=int(manifest.get("rows", published.ROWS)),
        source=", ".join(datasets) if manifest else published.SOURCE,
        revision=str(manifest.get("generator_version", "main")),
        licence=str(manifest.get("licence", published.LICENCE)),
        modality=str(manifest.get("modality", "")),
        manifest=manifest,
    )


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: not readable ({error}); a HEART folder states its rows there. Build it again."
        ) from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("rows"), int):
        raise DataError(f"{path}: no number under 'rows'; expected the manifest `aloe-bench attack` writes.")
    return manifest


def _sample(row: HeartRow, modality: str) -> Sample:
    dataset, task = row.text("dataset"), _one_of(row, "task", published.TASKS)
    attack, variant = _cue_kind(row)
    attack = _apart(attack, row)
    choices = _choices(row)
    letters = LETTERS[: len(choices)]
    answer = _one_of(row, "answer", letters)
    item = row.optional("item_id") or _item_id(row)
    base = f"heart/{dataset}/{item}"
    cue = Cue(attack, variant, base, _cue_target(row, variant, answer, letters)) if variant else None
    return Sample(
        id=f"{base}/{attack}/{variant}" if cue else base,
        kind="choice",
        question=row.text("question"),
        target=answer,
        cluster=row.optional("cluster") or f"{dataset}/{row.text('source_id')}",
        choices=choices,
        tags={
            "dataset": dataset,
            "task": task,
            "attack": attack,
            "variant": variant or published.BASELINE,
            "n_options": str(len(choices)),
            "modality": modality,
            "strength": row.optional("strength") or "{}",
            **_spoken(row),
        },
        cue=cue,
    )


def _apart(attack: str, row: HeartRow) -> str:
    """Return the name that an attack is measured by: an opinion that reports further tests is "testimony"."""
    if row.optional("bias") != TESTIMONY:
        return attack
    return "+".join(TESTIMONY if part == SYCOPHANCY.name else part for part in attack.split("+"))


def _spoken(row: HeartRow) -> dict[str, str]:
    """Return as tags what a row says of its item and of how its cue is worded, of what it has."""
    templates = [row.optional("caption_template"), row.optional("trigger_template")]
    found = {
        "true_class": row.optional("true_class_name"),
        "box_kind": row.optional("box_kind"),
        "authority": row.optional("authority"),
        "bias": row.optional("bias"),
        "wording": "+".join(text for text in templates if text),
        "names": row.optional("cue_names"),
        "font_px": row.optional("font_px"),
    }
    return {tag: text for tag, text in found.items() if text}


def _item_id(row: HeartRow) -> str:
    true_class = _whole(row, "true_class")
    key = f"{row.text('dataset')}|{row.text('task')}|{row.text('source_id')}|{true_class}"
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def _whole(row: HeartRow, column: str) -> int:
    """Return a cell that holds a whole number; a TSV that pandas wrote may say 2.0."""
    text = row.text(column)
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not number.is_integer():
        raise DataError(f"{row.where}: {column} {text!r} is not a whole number.")
    return int(number)


def _one_of(row: HeartRow, column: str, known: Sequence[str]) -> str:
    value = row.text(column)
    if value not in known:
        raise DataError(f"{row.where}: {column} {value!r} is not one of {', '.join(known)}.")
    return value


def _cue_kind(row: HeartRow) -> tuple[str, Variant | None]:
    """Return attack and variant of a row; ("", None) for a baseline."""
    approach = row.text("approach")
    attack = row.optional("attack") or _attack_of(approach)
    variant = _one_of(row, "sample_type", (published.BASELINE, *VARIANTS, *MENTIONS))
    if attack is None:
        raise DataError(
            f"{row.where}: approach {approach!r} is not one of baseline_*, {', '.join(published.ATTACK_OF_APPROACH)}."
        )
    if (attack == "") != (variant == published.BASELINE):
        raise DataError(
            f"{row.where}: approach {approach!r} with sample_type {variant!r}; one is a baseline, one is not."
        )
    return attack, None if variant == published.BASELINE else cast("Variant", variant)


def _attack_of(approach: str) -> str | None:
    """Return our name of a published approach ("" for a baseline; composed ones joined by +), None if unknown."""
    if approach.partition("_")[0] == published.BASELINE:
        return ""
    parts = [published.ATTACK_OF_APPROACH.get(part, part) for part in approach.split("+")]
    return "+".join(parts) if all(part in published.ATTACK_OF_APPROACH.values() for part in parts) else None


def _choices(row: HeartRow) -> tuple[str, ...]:
    cells = [row.optional(letter) for letter in "ABCD"]
    more = row.optional(MORE_OPTIONS)
    if more is not None:
        cells += _more(more, row.where)
    choices = tuple(cell for cell in cells if cell is not None)
    if len(choices) < 2 or any(cell is not None for cell in cells[len(choices) :]):
        raise DataError(f"{row.where}: options {cells}; expected two or more, from A on and without a gap.")
    if row.optional("n_options") is not None and _whole(row, "n_options") != len(choices):
        raise DataError(f"{row.where}: n_options {_whole(row, 'n_options')}, but {len(choices)} options.")
    if len(set(choices)) < len(choices):
        raise DataError(f"{row.where}: options {list(choices)}; expected no text twice.")
    return choices


def _more(text: str, where: str) -> list[str]:
    """Return the options from E on."""
    try:
        listed = json.loads(text)
    except ValueError:
        listed = None
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed) or len(listed) > 22:
        raise DataError(f"{where}: {MORE_OPTIONS} {text[:60]!r}; expected a JSON list of up to 22 texts.")
    return listed


def _cue_target(row: HeartRow, variant: Variant, answer: str, letters: str) -> str | None:
    """Return the letter the cue argues for, checked: never the truth if adversarial, always if assistive."""
    if variant in ("neutral", *MENTIONS):
        return None
    fake = row.optional("cue_target") or (row.optional("fake_option") if variant == "adversarial" else answer)
    if fake is None or fake not in letters:
        raise DataError(f"{row.where}: an {variant} cue argues for {fake!r}, which is not one of {', '.join(letters)}.")
    if (fake == answer) != (variant == "assistive"):
        raise DataError(f"{row.where}: an {variant} cue argues for {fake}, and the answer is {answer}.")
    return fake


def _bases(samples: Sequence[Sample], rows: Sequence[HeartRow]) -> dict[str, tuple[Sample, HeartRow]]:
    """Return the baseline of each item and its row, checked: no id twice, no cue without its baseline."""
    where: dict[str, str] = {}
    for sample, row in zip(samples, rows, strict=True):
        if sample.id in where:
            raise DataError(f"{row.where}: {sample.id} is also {where[sample.id]}; every row needs its own id.")
        where[sample.id] = row.where
    base = {sample.id: (sample, row) for sample, row in zip(samples, rows, strict=True) if sample.cue is None}
    for sample, row in zip(samples, rows, strict=True):
        if sample.cue and sample.cue.base_id not in base:
            raise DataError(f"{row.where}: {sample.id} has no baseline row {sample.cue.base_id}. Get the whole table.")
    return base


def _place_in_base(sample: Sample, row: HeartRow, bases: Mapping[str, tuple[Sample, HeartRow]]) -> dict[str, str]:
    """Return the letter that the cue's option has in the item's baseline, as a tag; "" if it is not an option there.

    The published table shuffles options again for each approach, so the same letter need not be the same option. Its
    legends number other boxes too, and it does not say how: their "Box 2" is not an option of the baseline.
    """
    if sample.cue is None or sample.cue.suggests is None:
        return {}
    base, base_row = bases[sample.cue.base_id]
    boxes, option = row.optional("box_labels"), sample.choices[LETTERS.index(sample.cue.suggests)]
    recorded = boxes is not None or not attacks.needs_boxes(sample.cue.attack)
    known = recorded and boxes == base_row.optional("box_labels") and option in base.choices
    return {"suggests_in_base": LETTERS[base.choices.index(option)] if known else ""}
