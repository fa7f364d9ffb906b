"""A HEART source in, an attacked table out: whole or not at all, the same bytes whoever computes them."""

from __future__ import annotations

import hashlib
import logging
import platform
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from aloe_bench import workers
from aloe_bench.errors import DataError
from aloe_bench.files import NewFolder, write_json
from aloe_bench.heart.build import (
    GENERATOR,
    DroppedItem,
    HeartJob,
    HeartRecipe,
    Outcome,
    check_job,
    item_keys,
    run_job,
)
from aloe_bench.heart.checks import check_recipe
from aloe_bench.heart.measure.geometry import ItemBoxes, medoid_share
from aloe_bench.heart.places import Elsewhere, Places
from aloe_bench.heart.plan import ItemKey
from aloe_bench.heart.problems import Problems, sentences
from aloe_bench.heart.sources.source import MAX_OPTIONS, Source
from aloe_bench.heart.survey import FILE as PLACES
from aloe_bench.heart.survey import SeenPictures, places_text, survey
from aloe_bench.heart.table.write import TableWriter, item_boxes
from aloe_bench.joins import dropped_csv
from aloe_bench.seeds import rng_for

log = logging.getLogger(__name__)
Report = Callable[[int, int], None]
# One item in so many is held against the picture it was drawn on, pixel by pixel; all of them in a small table.
CHECK_EVERY, CHECK_ALL_BELOW = 16, 200
_FILES = ("heart.parquet", "dropped.csv", PLACES)
DROPPED_COLUMNS = ("dataset", "task", "source_id", "true_class", "true_class_name", "reason")


@dataclass(frozen=True, slots=True)
class Work:
    """What will be made: one job a picture, in the order of the table, and pictures that give no item.

    `places` are those of the true boxes, by dataset, that wrong boxes are drawn by; `given` if from another table.
    """

    jobs: tuple[HeartJob, ...]
    empty: tuple[tuple[str, str], ...]  # (dataset, image id)
    places: Mapping[str, Places] = field(default_factory=dict)
    given: bool = False

    @property
    def items(self) -> int:
        return sum(len(job.keys) for job in self.jobs)


def plan_work(
    sources: Sequence[Source],
    recipe: HeartRecipe,
    *,
    limit: int | None = None,
    places: Mapping[str, Places] | None = None,
    n_workers: int = 1,
    report: Report = lambda done, total: None,
) -> Work:
    """Return the jobs of `sources`; `limit` takes that many items of each dataset and task, classes in turn.

    Wrong boxes are drawn by `places`, dataset -> those of another table; without them by those of the whole source,
    whose pictures are looked at for it. Raises DataError or UsageError for what cannot be made.
    """
    check_recipe(recipe, tuple(sources))
    names = Counter(source.name for source in sources)
    twice = [name for name, n in names.items() if n > 1]
    if twice:
        raise DataError(f"two sources are called {twice[0]!r}; give each its own name in dataset.toml.")
    jobs: list[HeartJob] = []
    empty: list[tuple[str, str]] = []
    used: dict[str, Places] = {}
    for source in sources:
        facts = replace(source, images=())
        wanted = _limited([key for image in source.images for key in item_keys(source, image)], recipe.seed, limit)
        chosen = {image.image_id: [key for key in item_keys(source, image) if key in wanted] for image in source.images}
        asked = [image for image in source.images if any(key.task == "detection" for key in chosen[image.image_id])]
        by_place = bool(asked) and not recipe.parity
        own = Places()
        if by_place:
            own, faults = survey(source, source.images if places is None else asked, n_workers, report)
            _refuse_unread({name: fault for name, fault in faults.items() if not chosen[name]})
            used[source.name] = own if places is None else _given(places, source)
        for image in source.images:
            keys = tuple(chosen[image.image_id])
            if not item_keys(source, image):
                empty.append((source.name, image.image_id))
            if keys:
                elsewhere = tuple(_elsewhere(key, own, used, recipe.seed) for key in keys)
                jobs.append(HeartJob(facts, image, keys, checked=False, elsewhere=elsewhere))
    if not jobs:
        raise DataError("No item: no listed image has a class or a box. Fill the class column or the annotations.")
    total = sum(len(job.keys) for job in jobs)
    jobs = [replace(job, checked=total < CHECK_ALL_BELOW or _sampled(job.keys)) for job in jobs]
    jobs.sort(key=lambda job: (job.source.name, job.image.image_id))
    return Work(tuple(jobs), tuple(sorted(empty)), used, places is not None and bool(used))


def _refuse_unread(faults: Mapping[str, str]) -> None:
    """Raise DataError for pictures that no item is made of and whose boxes count; others are named with their item."""
    problems = Problems()
    for fault in faults.values():
        where, _, message = fault.partition(": ")
        problems.add(where, message)
    problems.stop_if_any("pictures")


def _given(places: Mapping[str, Places], source: Source) -> Places:
    if source.name not in places:
        raise DataError(
            f"--places: it holds {', '.join(places) or 'no dataset'}, and not {source.name}. Give the table of a "
            "larger part of the same dataset, or leave --places out."
        )
    return places[source.name]


def _elsewhere(key: ItemKey, own: Places, used: Mapping[str, Places], seed: int) -> Elsewhere | None:
    """Return what true boxes of other pictures than that of `key` are like; None for an item without boxes."""
    place = own.of(key.source_id, key.true_class) if key.task == "detection" else None
    return None if place is None else used[key.dataset].elsewhere(place, key.rng(seed, "sizes"))


def _sampled(keys: Iterable[ItemKey]) -> bool:
    return any(int(key.item_id, 16) % CHECK_EVERY == 0 for key in keys)


def _limited(keys: Sequence[ItemKey], seed: int, limit: int | None) -> frozenset[ItemKey]:
    """Return at most `limit` items per task, by lot, classes in turn: a larger limit keeps those of a smaller one."""
    if limit is None:
        return frozenset(keys)
    by_class: dict[tuple[str, int], list[ItemKey]] = defaultdict(list)
    for key in keys:
        by_class[key.task, key.true_class].append(key)
    ranked = []
    for same in by_class.values():
        same.sort(key=lambda key: key.rng(seed, "limit").random())
        lot = rng_for(seed, "limit", same[0].task, same[0].true_class).random()
        ranked += [(place, lot, key) for place, key in enumerate(same)]
    ranked.sort(key=lambda entry: entry[:2])
    taken: dict[str, list[ItemKey]] = defaultdict(list)
    for _, _, key in ranked:
        if len(taken[key.task]) < limit:
            taken[key.task].append(key)
    return frozenset(key for some in taken.values() for key in some)


def check_pictures(work: Work, n_workers: int, report: Report) -> SeenPictures:
    """Decode every picture and mask, and return what is to be told of them.

    Raises one DataError that names each that cannot be read.
    """
    problems, seen = Problems(), SeenPictures()
    for done, outcome in enumerate(workers.ordered(check_job, work.jobs, n_workers), start=1):
        _note(problems, outcome)
        seen.add(work.jobs[done - 1], outcome)
        report(done, len(work.jobs))
    problems.stop_if_any("pictures")
    return seen


def _note(problems: Problems, outcome: Outcome) -> None:
    if outcome.fault is not None:
        where, _, message = outcome.fault.partition(": ")
        problems.add(where, message)


def build(
    sources: Sequence[Source],
    work: Work,
    recipe: HeartRecipe,
    output: Path,
    *,
    n_workers: int = 1,
    embed: bool = False,
    overwrite: bool = False,
    limit: int | None = None,
    report: Report = lambda done, total: None,
) -> dict[str, Any]:
    """Write the table of `work` to the new folder `output` and return its manifest.

    Rows and pictures depend on the items, the recipe and the versions in the manifest, on nothing else.
    Raises DataError if a picture cannot be read or `output` is taken; then nothing was written.
    """
    with NewFolder(output, overwrite=overwrite, known_by="manifest.json") as folder:
        pictures = folder / "images"
        pictures.mkdir()
        many = any(job.image.asked and len(job.image.asked.options) > MAX_OPTIONS for job in work.jobs)
        table = TableWriter(folder / "heart.parquet", images=pictures if embed else None, many_options=many)
        tally = _Tally(work, sources)
        outcomes = workers.ordered(partial(run_job, recipe, pictures), work.jobs, n_workers)
        for done, outcome in enumerate(outcomes, start=1):
            tally.add(work.jobs[done - 1], outcome)
            table.write(outcome.rows)
            report(done, len(work.jobs))
        table.close()
        tally.problems.stop_if_any("pictures")
        if not table.rows:
            raise DataError(f"Every item had to be dropped, the first because: {tally.dropped[0].reason}.")
        if work.places:
            (folder / PLACES).write_text(places_text(work.places), encoding="utf-8", newline="")
        dropped = dropped_csv(tally.dropped_lines(), DROPPED_COLUMNS)
        (folder / "dropped.csv").write_text(dropped, encoding="utf-8", newline="")
        if embed:
            for path in pictures.iterdir():
                path.unlink()
            pictures.rmdir()
        manifest = _manifest(sources, recipe, work, tally, folder, embed=embed, limit=limit)
        write_json(folder / "manifest.json", manifest)
    log.info("%s: %d rows, %d items dropped", output, tally.rows, len(tally.dropped))
    return manifest


def _cells(key: ItemKey) -> tuple[str, str, str, str]:
    return key.dataset, key.task, key.source_id, str(key.true_class)


class _Tally:
    """Counts of what was made."""

    def __init__(self, work: Work, sources: Sequence[Source]) -> None:
        self.problems = Problems()
        self.dropped: list[DroppedItem] = []
        self.counts: Counter[tuple[str, str, str, str]] = Counter()
        self.pictures: set[str] = set()
        self.seen = SeenPictures()
        self.boxes: list[ItemBoxes] = []
        self._empty = work.empty
        self._left_over = [(source.name, entry) for source in sources for entry in source.left_over]

    @property
    def rows(self) -> int:
        return self.counts.total()

    def add(self, job: HeartJob, outcome: Outcome) -> None:
        _note(self.problems, outcome)
        self.seen.add(job, outcome)
        self.dropped += outcome.dropped
        self.pictures |= outcome.pictures
        for cells in outcome.rows:
            self.counts[cells["dataset"], cells["task"], cells["attack"], cells["variant"]] += 1
            if not cells["attack"] and cells["box_info"]:
                self.boxes.append(item_boxes(cells))

    def dropped_lines(self) -> list[tuple[str, ...]]:
        """Return a line an item that could not be made, a listed picture that gives none, and an entry left over."""
        lines = [(*_cells(d.key), d.class_name, d.reason) for d in self.dropped]
        nothing = "the image has neither a class nor a box"
        lines += [(dataset, "", image_id, "", "", nothing) for dataset, image_id in self._empty]
        lines += [(name, e.task, e.name, "", e.class_name, f"{e.what}: {e.reason}") for name, e in self._left_over]
        return sorted(lines)


def _manifest(
    sources: Sequence[Source],
    recipe: HeartRecipe,
    work: Work,
    tally: _Tally,
    folder: Path,
    *,
    embed: bool,
    limit: int | None,
) -> dict[str, Any]:
    """Return what the table was made of; it holds no time, place or host, so that a rebuild gives the same bytes."""
    import numpy
    import PIL
    import pyarrow

    ordered = sorted(sources, key=lambda source: source.name)
    parts = {part.name: part for attack in recipe.attacks for part in attack.parts}
    own = {name: part.origin.sha256 for name, part in sorted(parts.items()) if part.origin}
    items = sum(n for (_, _, attack, _), n in tally.counts.items() if not attack)
    return {
        "schema": 1,
        "generator_version": GENERATOR,
        "rows": tally.rows,
        "items": items,
        "pictures": len(tally.pictures),
        "dropped": len(tally.dropped_lines()),
        "left_over": {source.name: sentences(source.left_over) for source in ordered if source.left_over},
        "notes": {source.name: list(source.notes) for source in ordered if source.notes},
        "same_picture": tally.seen.twins(),
        "picture_notes": tally.seen.notes(),
        "medoid_share": medoid_share(tally.boxes),
        **({"places": "given" if work.given else "of the source"} if work.places else {}),
        "counts": [
            {"dataset": dataset, "task": task, "attack": attack, "variant": variant, "rows": n}
            for (dataset, task, attack, variant), n in sorted(tally.counts.items())
        ],
        "modality": ", ".join(sorted({source.modality for source in sources if source.modality})),
        "licence": ", ".join(sorted({source.licence for source in sources if source.licence})),
        "datasets": {source.name: _dataset_facts(source) for source in ordered},
        "attacks": [attack.name for attack in recipe.attacks],
        **({"attacks_from_outside": own} if own else {}),
        "variants": list(dict.fromkeys(variant for attack in recipe.attacks for variant in recipe.variants_of(attack))),
        "seed": recipe.seed,
        "limit": limit,
        "parity": recipe.parity,
        "embed": embed,
        "strength": dict(sorted(recipe.strength.settings.items())),
        "templates": {"set": recipe.templates.label, "sha256": recipe.templates.sha256},
        "files": {name: _sha256(folder / name) for name in _FILES if (folder / name).exists()},
        "versions": {
            "python": platform.python_version(),
            "pillow": PIL.__version__,
            "numpy": numpy.__version__,
            "pyarrow": pyarrow.__version__,
        },
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _dataset_facts(source: Source) -> dict[str, Any]:
    return {
        "modality": source.modality,
        "licence": source.licence,
        "split": source.split,
        "source_sha256": source.sha256,
        "rendering": source.rendering.facts(),
    }
