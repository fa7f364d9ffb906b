"""What is seen once all pictures of a source are decoded: where true boxes lie, which are the same, blank, transparent.

The places are looked up once, kept with the table, and used again.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

from aloe_bench import workers
from aloe_bench.errors import DataError
from aloe_bench.heart.build import HeartJob, Outcome, cluster_of, item_keys, open_job, unfit
from aloe_bench.heart.places import BoxPlace, Places, place_in
from aloe_bench.heart.sources.source import Source, SourceImage

FILE = "places.json"
_SCHEMA, _DIGITS = 1, 6
Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class _Found:
    places: tuple[BoxPlace, ...] = ()
    fault: str | None = None


def survey(
    source: Source, images: Sequence[SourceImage], n_workers: int = 1, report: Report = lambda done, total: None
) -> tuple[Places, dict[str, str]]:
    """Return the places of the true boxes in those of `images` that can be detection items, and image id -> fault.

    A fault is "where: what" of a picture that cannot be read.
    """
    facts = replace(source, images=())
    wanted = [image for image in images if source.detection and image.boxes and unfit(image) is None]
    jobs = [HeartJob(facts, image, tuple(item_keys(source, image)), checked=False) for image in wanted]
    faults, places = dict[str, str](), list[BoxPlace]()
    for done, found in enumerate(workers.ordered(_survey_job, jobs, n_workers), start=1):
        if found.fault is not None:
            faults[jobs[done - 1].image.image_id] = found.fault
        places += found.places
        report(done, len(jobs))
    return Places(places), faults


def _survey_job(job: HeartJob) -> _Found:
    try:
        picture, mask = open_job(job)
    except DataError as error:
        return _Found(fault=f"{job.image.where}: {error}")
    cluster, found = cluster_of(job.source, job.image), []
    for key in job.keys:
        if key.task == "detection":
            box = next(box for box in job.image.boxes if box.class_index == key.true_class)
            left, top, right, bottom = pixels = box.pixels(picture.size)
            sides = (*place_in(picture, pixels, mask), (right - left) / picture.width, (bottom - top) / picture.height)
            numbers = [round(side, _DIGITS) for side in sides]
            found.append(BoxPlace(cluster, job.image.image_id, key.true_class, *numbers))
    return _Found(tuple(found))


def places_text(places: Mapping[str, Places]) -> str:
    """Return what FILE holds: dataset -> one row a true box."""
    rows = {name: [list(astuple(box)) for box in places[name].boxes] for name in sorted(places)}
    return json.dumps({"schema": _SCHEMA, "places": rows}, ensure_ascii=False) + "\n"


def read_places(path: Path) -> dict[str, Places]:
    """Return dataset -> places, as a table's folder (or the file in it) holds them; raises DataError."""
    file = path / FILE if path.is_dir() else path
    try:
        found: Any = json.loads(file.read_text(encoding="utf-8"))
        if found["schema"] != _SCHEMA:
            raise ValueError(f"schema {found['schema']!r}")
        return {name: Places(_place(row) for row in rows) for name, rows in found["places"].items()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{file}: not readable as places ({error}). --places takes the folder of a table that "
            "`aloe-bench attack` wrote of a source with boxes."
        ) from error


def _place(row: Sequence[Any]) -> BoxPlace:
    cluster, image_id, index, *sides = row
    x, y, width, height = map(float, sides)
    if not all(0 <= side <= 1 for side in (x, y, width, height)):
        raise ValueError(f"a place outside its picture: {row}")
    return BoxPlace(str(cluster), str(image_id), int(index), x, y, width, height)


class SeenPictures:
    """Collects decoded pictures, known by "dataset/image_id"."""

    def __init__(self) -> None:
        self._same: dict[str, list[HeartJob]] = defaultdict(list)
        self._notes: dict[str, list[str]] = defaultdict(list)

    def add(self, job: HeartJob, outcome: Outcome) -> None:
        """Take note of the picture of `job`."""
        self._same[outcome.pixels].append(job)
        for note in outcome.notes:
            self._notes[note].append(_name(job))

    def twins(self) -> list[list[str]]:
        """Return the names of each group that is the same to the pixel and that no common patient makes one cluster."""
        found = []
        for jobs in self._same.values():
            patients = {(job.source.name, job.image.patient_id) for job in jobs}
            if len(jobs) > 1 and (len(patients) > 1 or not jobs[0].image.patient_id):
                found.append(sorted(map(_name, jobs)))
        return sorted(found)

    def notes(self) -> dict[str, list[str]]:
        """Return the names of the pictures that each note is about, such as "of one grey"."""
        return {note: sorted(names) for note, names in sorted(self._notes.items())}


def _name(job: HeartJob) -> str:
    return f"{job.source.name}/{job.image.image_id}"
