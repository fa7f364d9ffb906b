"""What is told of a source's pictures once they are decoded: which are the same, blank, or shown on a chosen ground."""

from __future__ import annotations

from collections import defaultdict

from aloe_bench.heart.build import HeartJob, Outcome


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
