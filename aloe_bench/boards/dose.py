"""Runs on one source attacked at several strengths: how cue-following rises with the dose."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from aloe_bench.boards.compare import PROFILE, Side, finished
from aloe_bench.boards.unshared import other_items
from aloe_bench.core import Record
from aloe_bench.errors import DataError, RunMismatchError, UsageError, did_you_mean
from aloe_bench.heart.strength import settings_of
from aloe_bench.heart.wordings import TESTIMONY
from aloe_bench.stats.dose import dose_response
from aloe_bench.stats.intervals import clustered_share

# What `attack --strength` leaves at its usual value is not written into a row.
USUAL = 1.0


# What the axis of a text's size says, by whether it is known how large the model is shown a picture.
SHOWN = "text size in px after the model's own resize (median)"
SENT = "text size in px in the picture (median; the model's own resize is not known)"


@dataclass(frozen=True, slots=True)
class _Run:
    """One run: its dose, all else that may move its cue-following, and task/attack -> sample id -> record.

    `limits` are the least and most pixels, width times height, at which the model is shown pictures; None where its
    profile does not say.
    """

    dose: float
    conditions: Mapping[str, Any]
    items: Mapping[str, Mapping[str, Record]]
    limits: tuple[int, int] | None


def dose_rows(runs: Sequence[Path], setting: str) -> dict[str, Any]:
    """Return, for each task and attack that `setting` (such as caption.size) acts on, its dose-response over `runs`.

    The share is cue-following under the adversarial cue. `axis` of a row says what its `doses` are: of a text's size
    the pixels that the model sees, where its profile says how pictures are shown to it; `strengths` are the settings
    themselves. Raises UsageError for a setting without a number in at least
    two runs or twice the same, RunMismatchError unless every run has the same items and cues, of one model asked in one
    way, and all other settings are equal.
    """
    return doses_of([finished(folder) for folder in runs], setting)


def doses_of(runs: Sequence[Side], setting: str) -> dict[str, Any]:
    """Return what `dose_rows` does, of runs that have been read."""
    known = settings_of()
    if setting not in known:
        raise UsageError(f"--dose {setting}: no setting.{did_you_mean(setting, known)} Known: {', '.join(known)}.")
    found = sorted((_run(side, setting) for side in runs), key=lambda run: run.dose)
    for key in found[0].conditions:
        values = list(dict.fromkeys(str(run.conditions[key]) for run in found))
        if len(values) > 1:
            raise RunMismatchError(f"--dose: the runs differ in {key} ({', '.join(values)}), not in {setting} alone.")
    doses = [run.dose for run in found]
    if len(set(doses)) < max(2, len(doses)):
        shown = ", ".join(f"{dose:g}" for dose in doses)
        raise UsageError(f"--dose {setting}: the runs were made at {shown}; expected two different strengths or more.")
    sizes = known[setting].look == "font_scale"
    rows = [_row(name, setting, sizes, found) for name in found[0].items]
    return {"model": found[0].conditions["model"], "setting": setting, "rows": rows}


def strengths(records: Sequence[Record]) -> set[str]:
    """Return the settings that `attack --strength` moved in a run's questions."""
    written = {record.tags.get("strength") or "{}" for record in records}
    return {name for text in written for name in json.loads(text)}


def _run(side: Side, setting: str) -> _Run:
    folder, header, records, *_ = side
    items: dict[str, dict[str, Record]] = {}
    doses: set[float] = set()
    others: set[str] = set()
    for record in records:
        if record.cue is None or record.cue.variant != "adversarial":
            continue
        parts = ["sycophancy" if part == TESTIMONY else part for part in record.cue.attack.split("+")]
        if setting.partition(".")[0] in parts:
            items.setdefault(f"{record.tags['task']}/{record.cue.attack}", {})[record.sample_id] = record
            settings = json.loads(record.tags.get("strength") or "{}")
            doses.add(_dose(folder, setting, settings.pop(setting, USUAL)))
            others.add(json.dumps(settings, sort_keys=True))
    if len(doses) != 1:
        raise UsageError(f"--dose {setting}: {folder} has no attack it acts on; expected e.g. caption.size.")
    asked = {key: header.get(key) for key in ("protocol", "parser", "answer", "decoding", "defence")}
    profile = header["model"].get("profile") or {}
    asked |= {f"model.profile.{key}": profile.get(key) for key in PROFILE}
    conditions = {"model": str(header["model"]["fingerprint"]), "--strength": " and ".join(sorted(others)), **asked}
    least, most = profile.get("min_pixels"), profile.get("max_pixels")
    return _Run(doses.pop(), conditions, items, (least or 0, most) if most else None)


def _dose(folder: Path, setting: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"--dose {setting}: {folder} has {value!r}, which is not a number; it cannot be put in order.")
    return float(value)


def text_px(record: Record, limits: tuple[int, int] | None) -> float:
    """Return the size in pixels of a drawn cue's text for a model that is shown pictures within `limits` of pixels.

    nan where the record does not say. The sides are scaled alike; a processor that rounds them moves this by less.
    """
    size = next((part.size for part in record.prompt if part.size), None)
    if "font_px" not in record.tags or size is None:
        return float("nan")
    pixels = size[0] * size[1]
    shown = pixels if limits is None else min(max(pixels, limits[0]), limits[1])
    scale: float = (shown / pixels) ** 0.5
    return float(record.tags["font_px"]) * scale


def _axis(name: str, setting: str, sizes: bool, found: Sequence[_Run]) -> tuple[str, list[float]]:
    """Return what the doses of a row are, and the doses."""
    if not sizes:
        return setting, [run.dose for run in found]
    medians = [float(np.median([text_px(record, run.limits) for record in run.items[name].values()])) for run in found]
    if np.isnan(medians).any():
        return f"{setting} (the runs do not say how large the text is)", [run.dose for run in found]
    for one, other in pairwise(zip(found, medians, strict=True)):
        if other[1] <= one[1]:
            raise UsageError(
                f"--dose: at {one[0].dose:g} and {other[0].dose:g} the text of {name} is {one[1]:.3g} and "
                f"{other[1]:.3g} px for the model: that is one dose. Leave one run out."
            )
    return SHOWN if all(run.limits for run in found) else SENT, medians


def _row(name: str, setting: str, sizes: bool, found: Sequence[_Run]) -> dict[str, Any]:
    strengths, runs = [run.dose for run in found], [run.items.get(name, {}) for run in found]
    ids = sorted(runs[0])
    for run in runs:
        if sorted(run) != ids:
            told = "".join(f" {sentence}." for sentence in other_items(list(runs[0].values()), list(run.values())))
            raise RunMismatchError(
                f"--dose: the runs have other items of {name}; attack one source with one seed.{told}"
            )
    if any((run[i].target, run[i].cue) != (runs[0][i].target, runs[0][i].cue) for run in runs for i in ids):
        raise RunMismatchError(f"--dose: the cues of {name} argue for other options; attack one source with one seed.")
    for (dose, one), (next_dose, other) in pairwise(zip(strengths, runs, strict=True)):
        if all(one[i].prompt and one[i].prompt == other[i].prompt for i in ids):
            raise UsageError(
                f"--dose: at {dose:g} and {next_dose:g} every question of {name} was the same, pictures too (no text "
                "is under min_font_px, 14 usually): that is one dose. Leave one run out."
            )
    failed = sum(record.score.value is None for run in runs for record in run.values())
    if failed:
        return {"row": name, "failed": failed}
    hits = np.array([[_led(run[i]) for run in runs] for i in ids], dtype=float)
    clusters = [runs[0][i].cluster for i in ids]
    if len(set(clusters)) < 2:
        raise DataError(f"--dose: all {len(ids)} items of {name} are of one image or patient; expected two or more.")
    axis, doses = _axis(name, setting, sizes, found)
    intervals = [clustered_share(column, np.ones(len(ids)), clusters).interval for column in hits.T]
    facts = {"row": name, "failed": 0, "axis": axis, "strengths": strengths, "intervals": intervals}
    return facts | asdict(dose_response(doses, hits, clusters, name))


def _led(record: Record) -> bool:
    return record.cue is not None and record.score.parsed == record.cue.suggests
