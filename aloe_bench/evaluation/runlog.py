"""A run on disk: `run.json` (header), `records.jsonl` (append-only), `summary.json`.

Killing the process at any instant loses at most the batch in flight.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aloe_bench.core import Cue, Part, Prediction, Record, Score, Verdict
from aloe_bench.errors import DataError, RunMismatchError, did_you_mean
from aloe_bench.evaluation.leftover import LABEL, PICTURE, ROW, VERDICT, keep_left_over, read_left_over
from aloe_bench.files import VERDICT_FILE, LineWriter, write_json
from aloe_bench.joins import FIRST, join
from aloe_bench.tasks.data.fetched import why_unverified

SCHEMA = 2
JURY_FILE = "judges.json"
Header = dict[str, Any]

# What must be equal for two sessions to be one run; dotted paths into the header.
IDENTITY = (
    "schema", "model.fingerprint",
    "model.backend",
    "model.profile",
    "model.settings.dtype",
    "model.settings.generation",
    "model.file_sha256", "task.file_sha256",
    "task.name", "task.version", "task.data_sha256", "prompt_sha256",
    "protocol", "parser", "decoding", "seed", "limit", "shard", "n", "engine", "controls.asked", "repeats",
    "defence.sha256",
)  # fmt: skip


# What schema 2 added; of these a line holds only what is filled.
_FILLED = {
    "": ("options", "prompt", "repeat", "arm"),
    "prediction": ("finish_reason", "reasoning", "seed", "extended", "image_tokens"),
    "score": ("outcome", "refusal"),
}


def record_to_json(record: Record) -> dict[str, Any]:
    """Return `record` as the JSON object of one line."""
    value = asdict(record)
    value["tags"] = dict(record.tags)
    value["prompt"] = [_without_none(part) for part in value["prompt"]]
    for place, names in _FILLED.items():
        table = value[place] if place else value
        for name in names:
            if table[name] in (None, "", 0, (), []):
                del table[name]
    return value


def _without_none(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if value is not None}


def record_from_json(value: Mapping[str, Any]) -> Record:
    """Return the record that `record_to_json` wrote, now or under schema 1."""
    cue, prediction, score = value["cue"], value["prediction"], value["score"]
    lists = ("token_ids", "option_logprobs", "option_greedy")
    prediction = prediction | {key: tuple(prediction.get(key, ())) for key in lists}
    score = score | {"verdicts": tuple(Verdict(**verdict) for verdict in score["verdicts"])}
    made = {
        "cue": Cue(**cue) if cue else None,
        "prediction": Prediction(**prediction),
        "score": Score(**score),
        "options": tuple(value.get("options", ())),
        "prompt": tuple(_part(part) for part in value.get("prompt", ())),
    }
    return Record(**{**value, **made})


def _part(value: Mapping[str, Any]) -> Part:
    return Part(**{**value, "size": tuple(value["size"])} if "size" in value else value)


def create_run(folder: Path, header: Mapping[str, Any]) -> None:
    """Start a run folder with its header."""
    write_json(folder / "run.json", header)


def note_switched(folder: Path, settings: Mapping[str, Any]) -> None:
    """Keep in the header of a run what its back end did about parameters that the server refused."""
    switched = settings.get("switched")
    if not switched:
        return
    header = _read_header(folder / "run.json")
    known = header["model"]["settings"].get("switched") or {}
    if known != (both := {**known, **switched}):
        header["model"]["settings"]["switched"] = both
        write_json(folder / "run.json", header)


def note_verified(folder: Path, wanted: Mapping[str, Any]) -> None:
    """Keep in the header of a run that its data are the benchmark's, where that is only known now.

    `wanted` is the header of a run on the same data, which has the same hash.
    """
    header, task = _read_header(folder / "run.json"), wanted["task"]
    if why_unverified(header["task"].get("verified")) and not why_unverified(task.get("verified")):
        header["task"] |= {key: task[key] for key in ("verified", "commits")}
        write_json(folder / "run.json", header)


def find_run(place: Path) -> Path:
    """Return the run folder that a user names: itself, or the newest finished run in a task's or a model's folder.

    Raises DataError if there is none, or runs of several tasks are in it.
    """
    if (place / "run.json").exists():
        return place
    if not place.is_dir():
        beside = [each.name for each in place.parent.iterdir() if each.is_dir()] if place.parent.is_dir() else []
        if hint := did_you_mean(place.name, beside):
            raise DataError(f"{place}: there is no such folder.{hint}")
        return place
    found = [path.parent for path in sorted(place.glob("*/run.json")) or sorted(place.glob("*/*/run.json"))]
    tasks = sorted({folder.parent for folder in found})
    if len(tasks) > 1:
        names = ", ".join(str(folder) for folder in tasks[:5])
        raise DataError(f"{place}: holds runs of {len(tasks)} tasks ({names}); name the one.")
    finished = [folder for folder in found if is_finished(folder)]
    if found and not finished:
        raise DataError(
            f"{place}: no run.json, and none of its {len(found)} runs is finished; finish one, or name a run folder."
        )
    return max(finished, key=lambda folder: folder.name) if finished else place


def note(folder: Path, key: str, value: Any) -> None:
    """Keep a fact in the header of a run that has begun."""
    write_json(folder / "run.json", _read_header(folder / "run.json") | {key: value})


def read_header(folder: Path) -> Header:
    """Return the header of a run folder; raises DataError if it is none or of a later schema.

    Its `judges` is what `judges.json` says: a jury may sit long after the run.
    """
    header = _read_header(folder / "run.json")
    jury = folder / JURY_FILE
    if jury.exists():
        header["judges"] = _read_json(jury)
    return header


def _read_header(path: Path) -> Header:
    folder = path.parent
    try:
        header: Header = _read_json(path)
    except FileNotFoundError as error:
        raise DataError(f"{folder}: no run.json; expected a run folder that `aloe-bench run` wrote.") from error
    if not isinstance(header, dict) or not isinstance(header.get("schema"), int):
        raise DataError(f"{path}: no schema number; expected a run folder that `aloe-bench run` wrote.")
    if header["schema"] > SCHEMA:
        raise DataError(f"{path}: schema {header['schema']} is newer than {SCHEMA}; update aloe-bench.")
    return header


def read_records(folder: Path) -> list[Record]:
    """Return the records of the task's own samples, in its order; what is asked beside them is in `read_controls`
    and `read_repeats`.
    """
    return [record for record in read_lines(folder) if not record.arm and not record.repeat]


def read_repeats(folder: Path) -> list[Record]:
    """Return the records of further replies to the same samples, in the order of these."""
    return [record for record in read_lines(folder) if record.repeat]


def repeats_missing(header: Mapping[str, Any], records: Sequence[Record]) -> int:
    """Return how many further replies of a run have no record yet."""
    return int(header["n"]) * (int(header.get("repeats", 1)) - 1) - len(records)


def read_controls(folder: Path) -> list[Record]:
    """Return the records of controls, in the order of the samples in whose place they were asked."""
    return [record for record in read_lines(folder) if record.arm]


def read_lines(folder: Path) -> list[Record]:
    """Return all records in task order; the last line of a question wins, a torn last line is left out.

    A question is a sample, in one arm, at one repeat.
    """
    path = folder / "records.jsonl"
    latest: dict[tuple[str, str, int], Record] = {}
    if not path.exists():
        return []
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                break
            try:
                record = record_from_json(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"{path}:{number}: not a record ({error}); start again with --fresh.") from error
            latest[record.sample_id, record.arm, record.repeat] = record
    return sorted(latest.values(), key=lambda record: (record.index, record.arm, record.repeat))


def read_run(folder: Path) -> tuple[Header, list[Record]]:
    """Return header and records of a run folder."""
    return read_header(folder), read_records(folder)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: not readable as JSON ({error}); the run cannot be trusted.") from error


class RecordWriter(LineWriter):
    """Appends records to a run."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "records.jsonl")

    def append(self, records: Iterable[Record]) -> None:
        """Write `records` and wait for the disk."""
        self.write(map(record_to_json, records))


def append(folder: Path, records: Iterable[Record]) -> None:
    """Append `records` to a run folder."""
    with RecordWriter(folder) as writer:
        writer.append(records)


def identity(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a header that must not change within a run."""
    parts: dict[str, Any] = {}
    for path in IDENTITY:
        value: Any = header
        for key in path.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        parts[path] = value
    return parts


def refuse_difference(folder: Path, wanted: Mapping[str, Any]) -> None:
    """Raise RunMismatchError, naming every difference, unless `folder` was begun as `wanted` asks."""
    header = read_header(folder)
    old, new = identity(header), identity(wanted)
    changed = [f"{place} was {before!r}, is now {now!r}" for place, before, now in _changes(old, new)]
    if changed:
        raise RunMismatchError(
            f"{folder}: an unfinished run was made otherwise: {'; '.join(changed)}. {_moved(header, wanted)}"
            "Run with the earlier settings to finish it, or with --fresh to start another."
        )


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return by place in the header what differs, before and now; of two tables the entries that do."""
    found: list[tuple[str, Any, Any]] = []
    for place in old:
        before, now = old[place], new[place]
        if isinstance(before, dict) and isinstance(now, dict):
            inner = sorted(before.keys() | now.keys())
            found += [(f"{place}.{key}", before.get(key), now.get(key)) for key in inner]
        else:
            found.append((place, before, now))
    return [each for each in found if each[1] != each[2]]


def _moved(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Return what to say where a served model stands at another address than before."""
    places = [header["model"]["settings"].get("base_url") for header in (old, new)]
    if None in places or places[0] == places[1]:
        return ""
    return (
        f"The server was at {places[0]} and is at {places[1]} now; a model served from several places is known by "
        "--revision COMMIT, given from its first run on. "
    )


def runs_below(parent: Path, shard: str | None) -> list[Path]:
    """Return the run folders below `parent` for this shard, newest first."""
    folders = sorted(parent.iterdir(), reverse=True) if parent.is_dir() else []
    return [f for f in folders if (f / "run.json").exists() and read_header(f).get("shard") == shard]


def is_finished(folder: Path) -> bool:
    """Return whether a run has its summary."""
    return (folder / "summary.json").exists()


def unfinished_run(parent: Path, shard: str | None) -> Path | None:
    """Return the newest run folder below `parent` for this shard that has no summary yet."""
    return next((folder for folder in runs_below(parent, shard) if not is_finished(folder)), None)


def finished_run(parent: Path, wanted: Mapping[str, Any]) -> Path | None:
    """Return the newest run folder below `parent` that has a summary and was made as `wanted` asks."""
    folders = [folder for folder in runs_below(parent, wanted["shard"]) if is_finished(folder)]
    return next((folder for folder in folders if identity(read_header(folder)) == identity(wanted)), None)


def control_arms(header: Mapping[str, Any]) -> list[str]:
    """Return which controls a run asked."""
    return sorted((header.get("controls") or {}).get("asked", {}))


def controls_missing(header: Mapping[str, Any], records: Sequence[Record]) -> int:
    """Return how many of a run's controls have no record yet."""
    asked: Mapping[str, int] = (header.get("controls") or {}).get("asked", {})
    return sum(asked.values()) - len(records)


def _joined_controls(headers: Sequence[Header]) -> dict[str, Any]:
    asked, left = Counter[str](), Counter[tuple[str, str]]()
    for header in headers:
        asked.update(header["controls"]["asked"])
        left.update({(arm, reason): n for arm, reason, n in header["controls"]["left_out"]})
    return {"asked": dict(asked), "left_out": [[*key, n] for key, n in sorted(left.items())]}


def _joined_notes(parts: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Return the notes of shards as those of the whole; no question is in two."""
    return {
        note: {
            "questions": sum(part[note]["questions"] for part in parts if note in part),
            "first": sorted(name for part in parts if note in part for name in part[note]["first"])[:FIRST],
        }
        for note in sorted({note for part in parts for note in part})
    }


def _lacking_shards(headers: Sequence[Header]) -> str:
    """Return in words which shards are missing, by what those that are there are called."""
    given = [str(header.get("shard")) for header in headers]
    count = max((int(text.partition("/")[2]) for text in given if "/" in text), default=0)
    joined = join([f"{n}/{count}" for n in range(1, count + 1)], given)
    told = joined.told("shards of the run", "shards that were given")
    return "a shard is missing" + "".join(f"; {sentence}" for sentence in told)


def merge(folders: Sequence[Path], output: Path) -> list[Record]:
    """Join the shards of one run into `output`; refuses unless together they hold every sample once."""
    headers, parts = zip(*map(read_run, folders), strict=True)
    # A shard without an open question never had a jury.
    juries = {
        (header.get("judges") or {}).get("identity")
        for header, records in zip(headers, parts, strict=True)
        if any(record.kind == "open" for record in records)
    }
    if len(juries) > 1:
        raise RunMismatchError("The shards were graded by different juries, or only some were; grade them alike first.")
    own = ("shard", "n", "controls.asked")
    first = {k: v for k, v in identity(headers[0]).items() if k not in own}
    merged: dict[str, Record] = {}
    for folder, header, records in zip(folders, headers, parts, strict=True):
        other = {k: v for k, v in identity(header).items() if k not in own}
        changed = [f"{place} ({here!r}, there {there!r})" for place, there, here in _changes(first, other)]
        if control_arms(header) != control_arms(headers[0]):
            changed.append("controls")
        if changed:
            raise RunMismatchError(f"{folder}: differs from {folders[0]} in {', '.join(changed)}; not one run.")
        if len(records) != header["n"]:
            raise DataError(f"{folder}: {len(records)} of {header['n']} records; finish this shard first.")
        if controls_missing(header, read_controls(folder)):
            raise DataError(f"{folder}: controls without a record; finish this shard first.")
        for record in records:
            if record.sample_id in merged:
                raise DataError(f"{folder}: {record.sample_id} is in two shards; give each shard once.")
            merged[record.sample_id] = record
    whole = headers[0]["n_total"]
    if len(merged) != whole:
        raise DataError(f"{len(merged)} of {whole} samples in {len(folders)} shards; {_lacking_shards(headers)}.")
    if len({header.get("extended") for header in headers}) > 1:
        raise RunMismatchError("Cut replies were extended in some shards alone; give all the same --extend-cut.")
    ids = [header["run_id"] for header in headers]
    jury = next((header["judges"] for header in headers if header.get("judges")), None)
    header = {k: v for k, v in headers[0].items() if k != "judges"}
    header |= {"shard": None, "n": whole, "run_id": output.name, "merged": ids}
    if "controls" in header:
        header["controls"] = _joined_controls(headers)
    header["pictures"] = _joined_notes([each.get("pictures", {}) for each in headers])
    if doubtful := [each["task"] for each in headers if why_unverified(each["task"].get("verified"))]:
        header["task"] = doubtful[0]  # data are the benchmark's only if every shard's were
    create_run(output, header)
    if jury is not None:
        write_json(output / JURY_FILE, jury)
        with (output / VERDICT_FILE).open("wb") as file:
            for folder in folders:
                whole_lines = (folder / VERDICT_FILE).read_bytes() if (folder / VERDICT_FILE).exists() else b""
                file.write(whole_lines[: whole_lines.rfind(b"\n") + 1])
    # Labels are of one folder's correction, which is not joined.
    kept = [entry for folder in folders for entry in read_left_over(folder) if entry.what != LABEL]
    keep_left_over(output, (ROW, PICTURE, VERDICT), kept)
    records = sorted(merged.values(), key=lambda record: record.index)
    append(output, records)
    append(output, [record for folder in folders for record in read_controls(folder)])
    return records
