"""What is remarkable about the pictures of a run: those of one grey, and those that are not shown as they stand."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aloe_bench.core import ImageRef, Sample
from aloe_bench.errors import AloeError
from aloe_bench.joins import FIRST, first_ten
from aloe_bench.pixels import is_flat

OF_ONE_GREY = "of one grey"


def picture_notes(samples: Iterable[Sample]) -> dict[str, dict[str, Any]]:
    """Return, for each note, how many questions show such a picture, and the ids of the first ten.

    Every picture is decoded once; one that does not open is told where it is asked about.
    """
    shown: dict[str, ImageRef] = {}
    asked: dict[str, list[str]] = defaultdict(list)
    for sample in samples:
        for image in sample.images:
            shown.setdefault(image.sha256, image)
            asked[image.sha256].append(sample.id)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        notes = zip(shown, pool.map(_notes, shown.values()), strict=True)
        found: dict[str, set[str]] = defaultdict(set)
        for sha256, words in notes:
            for word in words:
                found[word].update(asked[sha256])
    return {note: {"questions": len(ids), "first": sorted(ids)[:FIRST]} for note, ids in sorted(found.items())}


def told_of_pictures(notes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return what `picture_notes` found, a sentence a note."""
    said = []
    for note, found in notes.items():
        n, ids = found["questions"], list(found["first"])
        more = f" and {n - len(ids)} more" if n > len(ids) else ""
        said.append(f"pictures {note}: in {n} question{'' if n == 1 else 's'}: {first_ten(ids)}{more}")
    return said


def joined(parts: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Return the notes of shards as those of the whole; no question is in two."""
    return {
        note: {
            "questions": sum(part[note]["questions"] for part in parts if note in part),
            "first": sorted(name for part in parts if note in part for name in part[note]["first"])[:FIRST],
        }
        for note in sorted({note for part in parts for note in part})
    }


def _notes(image: ImageRef) -> list[str]:
    words = [word for word in str(getattr(image, "note", "")).split("; ") if word]
    try:
        return [*words, OF_ONE_GREY] if is_flat(image.open()) else words
    except AloeError:
        return words
