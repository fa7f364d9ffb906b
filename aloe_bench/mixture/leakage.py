"""Which samples of a pool show a picture, or ask a question, of an evaluation set, and how sure that is.

POOL/leakage/hits.csv    evaluation pictures with their hits, counted at distance 0, 2 and 4
POOL/leakage/pairs.csv   the first 100 pairs, nearest first, with the likeness of each
POOL/leakage/text.csv    evaluation questions that training texts repeat
POOL/leakage/sheet.html  the pairs side by side, the most doubtful first
"""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from aloe_bench.errors import DataError
from aloe_bench.files import spreadsheet_safe, write_atomic
from aloe_bench.images import open_image
from aloe_bench.mixture.evaluation import EvaluationSet, HeldPicture, HeldText, turns_of
from aloe_bench.mixture.pictures import picture_table
from aloe_bench.mixture.pool import Pool, dropped, kept
from aloe_bench.mixture.sheet import PairShown, pair_sheet
from aloe_bench.mixture.textual import TextHit, TextIndex
from aloe_bench.mixture.verify import (
    LEAST,
    SAME,
    HitPrecision,
    KnownPatients,
    decoy_precision,
    likeness,
    precision,
)
from aloe_bench.prints import PrintTable, matches
from aloe_bench.seeds import rng_for

FOLDER = "leakage"
# Counts at these distances are always given; only the first is what the paper removed (appendix D: exact matching).
RADII = (0, 2, 4)
PAIRS = 100
# Pairs that are looked at once more, drawn by their names where there are more.
LOOKED_AT = 2_000
Report = Callable[[int, int], None]
TextDrop = Literal["none", "both", "question", "runs"]
_TEXT_DROPS: dict[TextDrop, tuple[str, ...]] = {
    "none": (),
    "both": ("question and answer",),
    "question": ("question and answer", "question"),
    "runs": ("question and answer", "question", "runs of words"),
}


@dataclass(frozen=True, slots=True)
class LeakageSearch:
    """What is compared and what is dropped.

    `radius` bits drop a picture; 0 is the paper's exact matching. `text` says which repeats of a question drop one.
    `label` and `view` are tags by which false hits are told; `decoys` a set known not to be in training.
    """

    radius: int = 0
    text: TextDrop = "none"
    label: str = ""
    view: str = ""
    decoys: EvaluationSet | None = None
    seed: int = 0

    @property
    def reach(self) -> int:
        return max(self.radius, *RADII)


@dataclass(frozen=True, slots=True)
class PictureHit:
    """A training picture near one of an evaluation set; `alike` is None where pixels are not at hand."""

    path: str
    held: HeldPicture
    of: str
    distance: int
    alike: float | None = None


def leakage(
    pool: Pool, sets: Sequence[EvaluationSet], search: LeakageSearch, report: Report = lambda done, total: None
) -> dict[str, Any]:
    """Return the report of the step: samples that show an evaluation picture, or repeat its question, are dropped."""
    settings = {
        "radius": search.radius, "text": search.text, "label": search.label, "view": search.view, "seed": search.seed,
        "sets": {each.name: each.digest() for each in sets},
        "decoys": search.decoys.digest() if search.decoys else None,
    }  # fmt: skip
    # `settings` is typed as JSON; "sets" was made a mapping four lines above.
    if len(settings["sets"]) < len(sets):  # type: ignore[arg-type]
        raise DataError("two evaluation sets have one name; compare with them one after the other.")
    return pool.step("leakage", settings, lambda table: _searched(pool, table, sets, search, report))


def _searched(
    pool: Pool, table: Any, sets: Sequence[EvaluationSet], search: LeakageSearch, report: Report
) -> tuple[Any, dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    seen, counts, hits = picture_table(pool.folder), dict[str, dict[str, int]](), list[PictureHit]()
    shown = set(pc.unique(kept(table)["pictures"].combine_chunks().flatten()).to_pylist()) if len(table) else set()
    if seen is not None:
        seen = seen.filter(pc.and_(pc.is_null(seen["fault"]), pc.is_in(seen["path"], pa.array(sorted(shown)))))
        for each in sets:
            counts[each.name] = _counted(found := _near(seen, each, search.reach), each)
            hits += found
    chosen = _looked_at(pool, hits, search.seed, report)
    texts = _texts(pool, kept(table), sets)
    gone = sorted({hit.path for hit in hits if hit.distance <= search.radius})
    after = _without_pictures(table, gone, hits, search.radius)
    after = _without_texts(after, sets, texts, search.text)
    estimates = [asdict(p) for r in _radii(search) for p in _precisions(pool, chosen, sets, hits, search, r, table)]
    _write(pool.folder / FOLDER, sets, hits, chosen, texts)
    facts: dict[str, Any] = {
        "pictures": counts, "precision": estimates, "looked_at": len(chosen),
        "texts": {each.name: _text_counts(texts[each.name]) for each in sets},
        "absent": {each.name: each.absent for each in sets if each.absent},
        "sources": {each.name: each.source for each in sets},
    }  # fmt: skip
    return after, facts


def _radii(search: LeakageSearch) -> list[int]:
    return sorted({*RADII, search.radius})


def _near(seen: Any, each: EvaluationSet, reach: int) -> list[PictureHit]:
    paths = seen["path"].to_pylist()
    many = PrintTable(seen["phash"].to_numpy(), seen["pixels"].to_pylist())
    few = PrintTable.of([held.print for held in each.pictures])
    return [
        PictureHit(paths[row], each.pictures[column], each.name, int(distance))
        for rows, columns, distances in matches(many, few, reach)
        for row, column, distance in zip(rows.tolist(), columns.tolist(), distances.tolist(), strict=True)
    ]


def _counted(hits: Sequence[PictureHit], each: EvaluationSet) -> dict[str, int]:
    """Return training pictures and evaluation pictures with a hit at each distance; degenerate ones apart."""
    plain = [hit for hit in hits if not hit.held.print.degenerate]
    found = {"compared": len(each.pictures), "degenerate": sum(p.print.degenerate for p in each.pictures)}
    for radius in RADII:
        near = [hit for hit in plain if hit.distance <= radius]
        found[f"training at {radius}"] = len({hit.path for hit in near})
        found[f"evaluation at {radius}"] = len({hit.held.name for hit in near})
    found["degenerate with equal pixels"] = len({hit.path for hit in hits}) - len({hit.path for hit in plain})
    return found


def _looked_at(pool: Pool, hits: Sequence[PictureHit], seed: int, report: Report) -> list[PictureHit]:
    """Return the hits with their likeness; where they are many, those that a draw by name takes."""
    order = sorted(hits, key=lambda hit: (hit.distance, hit.of, hit.held.name, hit.path))
    if len(order) > LOOKED_AT:
        order.sort(key=lambda hit: rng_for(seed, "leakage pair", hit.of, hit.held.name, hit.path).random())
        order = sorted(order[:LOOKED_AT], key=lambda hit: (hit.distance, hit.of, hit.held.name, hit.path))
    found = []
    for done, hit in enumerate(order, 1):
        alike = None
        if hit.held.open is not None:
            alike = round(likeness(open_image(pool.folder / hit.path), hit.held.open()), 4)
        found.append(PictureHit(hit.path, hit.held, hit.of, hit.distance, alike))
        report(done, len(order))
    return found


def _precisions(
    pool: Pool,
    chosen: Sequence[PictureHit],
    sets: Sequence[EvaluationSet],
    hits: Sequence[PictureHit],
    search: LeakageSearch,
    radius: int,
    table: Any,
) -> list[HitPrecision]:
    near = [hit for hit in chosen if hit.distance <= radius]
    found = []
    if search.label and search.view:
        held = [p for each in sets for p in each.pictures if not p.variant]
        reference = KnownPatients.of(
            [(p.tags.get(search.view, ""), p.tags.get(search.label, ""), p.cluster) for p in held]
        )
        labels = _labels(table, search.label)
        pairs = [(hit, labels.get(hit.path)) for hit in near]
        told = [(hit, label) for hit, label in pairs if label and hit.held.tags.get(search.label)]
        chance = [
            reference.chance(h.held.tags.get(search.view, ""), h.held.tags[search.label], h.held.cluster)
            for h, _ in told
        ]
        found.append(precision(radius, "labels", [label == h.held.tags[search.label] for h, label in told], chance))
    seen = [hit for hit in near if hit.alike is not None]
    agrees = [hit.alike >= SAME for hit in seen if hit.alike is not None]
    rate = _chance_alike(sets, search)
    found.append(precision(radius, "likeness", agrees, [rate] * len(agrees)))
    if search.decoys is not None:
        known = picture_table(pool.folder)
        false = _near(known.filter(known["fault"].is_null()), search.decoys, radius) if known is not None else []
        n = sum(len(each.pictures) for each in sets)
        total = sum(hit.distance <= radius for hit in hits)
        found.append(decoy_precision(radius, total, n, len(false), len(search.decoys.pictures)))
    return found


def _chance_alike(sets: Sequence[EvaluationSet], search: LeakageSearch) -> float | None:
    """Return how often pictures of known different patients of one view pass for one; None if none are known."""
    by_view: dict[tuple[str, str], list[HeldPicture]] = defaultdict(list)
    for each in sets:
        for held in each.pictures:
            if held.open is not None and not held.variant and search.view and held.tags.get(search.view):
                by_view[each.name, held.tags[search.view]].append(held)
    pairs = []
    for key, pictures in sorted(by_view.items()):
        order = sorted(pictures, key=lambda p: rng_for(search.seed, "known different", *key, p.name).random())
        pairs += [(a, b) for a, b in pairwise(order) if a.cluster != b.cluster][:40]
    pairs = pairs[:400]
    if len(pairs) < LEAST:
        return None
    return sum(likeness(a.open(), b.open()) >= SAME for a, b in pairs if a.open and b.open) / len(pairs)


def _labels(table: Any, tag: str) -> dict[str, str]:
    import json

    found: dict[str, str] = {}
    for paths, tags in zip(table["pictures"].to_pylist(), table["tags"].to_pylist(), strict=True):
        label = json.loads(tags).get(tag)
        for path in paths if label else ():
            found.setdefault(path, label)
    return found


def _texts(pool: Pool, table: Any, sets: Sequence[EvaluationSet]) -> dict[str, list[TextHit]]:
    found: dict[str, list[TextHit]] = {each.name: [] for each in sets}
    indexes = {each.name: TextIndex(each.texts) for each in sets if each.texts}
    if indexes:
        for conversation in pool.conversations(table):
            turns = list(turns_of(conversation))
            for name, index in indexes.items():
                found[name] += index.hits(conversation.id, turns)
    return found


def _text_counts(hits: Sequence[TextHit]) -> dict[str, dict[str, int]]:
    by_copy: dict[str, list[TextHit]] = defaultdict(list)
    for hit in hits:
        by_copy[hit.copy].append(hit)
    return {
        copy: {"samples": len({h.sample for h in some}), "questions": len({h.held for h in some})}
        for copy, some in sorted(by_copy.items())
    }


def _without_pictures(table: Any, gone: Sequence[str], hits: Sequence[PictureHit], radius: int) -> Any:
    import numpy as np

    bad, which = set(gone), np.zeros(len(table), bool)
    nearest: dict[str, PictureHit] = {}
    for hit in hits:
        if hit.path in bad and (hit.path not in nearest or hit.distance < nearest[hit.path].distance):
            nearest[hit.path] = hit
    details = {}
    for row, paths in enumerate(table["pictures"].to_pylist()):
        if path := next((path for path in paths if path in bad), None):
            hit = nearest[path]
            which[row] = True
            details[row] = f"{path} is at distance {hit.distance} of {hit.held.name} of {hit.of}"
    return dropped(table, "leaked picture", which, details)


def _without_texts(table: Any, sets: Sequence[EvaluationSet], texts: dict[str, list[TextHit]], text: TextDrop) -> Any:
    import numpy as np

    wanted = _TEXT_DROPS[text]
    first: dict[str, str] = {}
    for each in sets:
        for hit in texts[each.name]:
            if hit.copy in wanted:
                first.setdefault(hit.sample, f"{hit.copy} of {each.texts[hit.held].name} of {each.name}")
    which = np.array([name in first for name in table["id"].to_pylist()], bool)
    return dropped(
        table, "leaked text", which, {row: first[table["id"][row].as_py()] for row in np.flatnonzero(which).tolist()}
    )


def _write(
    folder: Path,
    sets: Sequence[EvaluationSet],
    hits: Sequence[PictureHit],
    chosen: Sequence[PictureHit],
    texts: dict[str, list[TextHit]],
) -> None:
    per: dict[tuple[str, str, str], Counter[int]] = defaultdict(Counter)
    nearest: dict[tuple[str, str, str], PictureHit] = {}
    for hit in hits:
        key = (hit.of, hit.held.name, hit.held.variant)
        per[key][hit.distance] += 1
        if key not in nearest or (hit.distance, hit.path) < (nearest[key].distance, nearest[key].path):
            nearest[key] = hit
    rows: list[Sequence[Any]] = [("set", "picture", "variant", "phash", *(f"at {r}" for r in RADII), "nearest")]
    rows += [
        (*key, f"{nearest[key].held.print.phash:016x}", *(sum(n for d, n in by.items() if d <= r) for r in RADII),
         nearest[key].path)
        for key, by in sorted(per.items())
    ]  # fmt: skip
    write_atomic(folder / "hits.csv", csv_text(rows))
    pairs: list[Sequence[Any]] = [("set", "picture", "variant", "training picture", "distance", "likeness")]
    pairs += [
        (h.of, h.held.name, h.held.variant, h.path, h.distance, "" if h.alike is None else h.alike)
        for h in chosen[:PAIRS]
    ]
    write_atomic(folder / "pairs.csv", csv_text(pairs))
    found: list[Sequence[Any]] = [("set", "question", "sample", "copy", "share of runs", "words")]
    for each in sets:
        held: Sequence[HeldText] = each.texts
        found += [
            (each.name, held[h.held].name, h.sample, h.copy, f"{h.share:.2f}", held[h.held].question[:200])
            for h in texts[each.name]
        ]
    write_atomic(folder / "text.csv", csv_text(found))
    doubtful = sorted(chosen, key=lambda h: (abs((h.alike or 0) - SAME), h.of, h.held.name, h.path))[:PAIRS]
    shown = [
        PairShown(
            folder.parent / h.path, h.held.open, h.path, f"{h.held.name} {h.held.variant}", h.of, h.distance, h.alike
        )
        for h in doubtful
        if h.held.open is not None
    ]
    write_atomic(folder / "sheet.html", pair_sheet(shown, len(hits)))


def csv_text(rows: Sequence[Sequence[Any]]) -> str:
    """Return rows as CSV that no spreadsheet takes for formulas."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerows([spreadsheet_safe(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    return file.getvalue()
