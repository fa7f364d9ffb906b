"""What will be asked: a task's samples, checked and counted, after `limit` and `shard`."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from aloe_bench import registry
from aloe_bench.answers.score import refuse_unreadable
from aloe_bench.core import (
    Absent,
    AnswerForm,
    AnswerProtocol,
    Decoding,
    Fetchable,
    ImageRef,
    Sample,
    Task,
    Telling,
    Unmatching,
)
from aloe_bench.errors import AloeError, DataError, MissingDataError, UsageError
from aloe_bench.evaluation.cells import refuse_unmeasurable
from aloe_bench.evaluation.controls import READ, Arm, Controls, controls_of
from aloe_bench.evaluation.defence import Defence
from aloe_bench.evaluation.leftover import ROW, Unmatched
from aloe_bench.evaluation.repeats import repeats_of
from aloe_bench.facts import facts_of
from aloe_bench.images import decoded, sendable
from aloe_bench.joins import FIRST
from aloe_bench.pixels import FLAT
from aloe_bench.tasks import formats
from aloe_bench.tasks.data.fetched import Proof, commits, proof_of_data

OF_ONE_GREY = "of one grey"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user may set of a run; written whole into its header.

    `extend_cut` grants cut replies so many tokens beyond the limit; `repeats` are the replies to each question.
    """

    output: Path = Path("runs")
    decoding: Decoding = field(default_factory=Decoding)
    protocol: AnswerProtocol = "generate"
    parser: str = "strict"
    answer: AnswerForm = "letter"
    limit: int | None = None
    shard: tuple[int, int] | None = None
    chunk: int = 32
    fresh: bool = False
    allow_partial: bool = False
    extend_cut: int | None = None
    controls: tuple[Arm, ...] = ()
    defence: Defence | None = None
    repeats: int = 1

    @property
    def before(self) -> str:
        """The words that stand before every prompt."""
        return self.defence.text if self.defence else ""


@dataclass(frozen=True, slots=True)
class Plan:
    """A task's samples after `limit` and `shard`, with what identifies the whole.

    `absent` counts, by group, what the data names and does not hold; `absent_sentence` says it in words. `commits`
    are those of the fetched data sets by hub id, empty for a copy of the user's own; `proof` says whether the data are
    known to be the benchmark's, None of a task that is none. `controls` are asked beside the samples. `told` is what
    the task says of its data, `left_over` what in them found no partner.
    """

    task: Task
    samples: tuple[tuple[int, Sample], ...]
    n_total: int
    partial: bool
    data_sha256: str
    prompt_sha256: str
    absent: Mapping[str, int] = field(default_factory=dict)
    absent_sentence: str = ""
    commits: Mapping[str, str] = field(default_factory=dict)
    proof: Proof | None = None
    controls: Controls = field(default_factory=Controls)
    told: Mapping[str, Any] = field(default_factory=dict)
    repeats: tuple[tuple[int, Sample], ...] = ()
    left_over: tuple[Unmatched, ...] = ()

    @property
    def asked(self) -> tuple[tuple[int, Sample], ...]:
        """All that is asked: the samples, their controls, and the samples again."""
        return self.samples + self.controls.samples + self.repeats


def load_plan(task: Task, root: Path, settings: Settings) -> Plan:
    """Return what is to be asked; raises DataError if the row count is none that the task knows.

    `limit` takes whole clusters' worth of base samples by hash, so a limited run is not a head of the file.
    """
    facts = facts_of(task)
    samples, lacking = _split(task.load(root))
    known = dict.fromkeys(count for count in (task.expected_rows, facts.paper.rows) if count is not None)
    other = _fits_by_chance(task, len(samples), lacking)
    partial = len(samples) not in known or other is not None
    if not samples or (partial and not settings.allow_partial):
        where = f" in {root}" if isinstance(task, Fetchable) else ""
        raise DataError(
            f"{task.name}: {len(samples)} rows{where}, expected {' or '.join(map(str, known))}{other or ''}."
            f"{_absent_sentence(lacking)} "
            "Get the whole data set, or pass --allow-partial to run what is there; every table will be marked."
        )
    refuse_unmeasurable(task.name, facts, samples)
    refuse_unreadable(settings.parser, {sample.kind for sample in samples}, task.name)
    data, prompts = hashlib.sha256(), hashlib.sha256()
    for sample in sorted(samples, key=lambda sample: sample.id):
        images = [image.sha256 for image in sample.images]
        parts: list[Any] = [sample.id, sample.kind, sample.question, sample.target, list(sample.choices), images]
        if sample.cue:
            parts.append(asdict(sample.cue))
        data.update(json.dumps(parts).encode())
        prompts.update(json.dumps([sample.id, formats.asked(task, sample, settings.answer, settings.before)]).encode())
    chosen: list[tuple[int, Sample]] = list(enumerate(samples))
    if settings.limit is not None:
        chosen = _limited(chosen, settings.limit)
    n_total = len(chosen)
    if settings.shard is not None:
        index, count = settings.shard
        chosen = [(i, sample) for i, sample in chosen if _bucket(sample.cluster, count) == index - 1]
    absent = dict(Counter(item.group for item in lacking))
    data_sets = task.data_sets(root) if isinstance(task, Fetchable) else ()
    return Plan(
        task,
        tuple(chosen),
        n_total,
        partial,
        data.hexdigest(),
        prompts.hexdigest(),
        absent,
        _absent_sentence(lacking),
        commits(data_sets),
        proof_of_data(task.name, data_sets, samples) if data_sets else None,
        controls_of(task, samples, chosen, settings.controls) if settings.controls else Controls(),
        task.told() if isinstance(task, Telling) else {},
        repeats_of(task.name, chosen, settings) if settings.repeats > 1 else (),
        _left_over(task, lacking),
    )


def _left_over(task: Task, lacking: Sequence[Absent]) -> tuple[Unmatched, ...]:
    """Return what the data name and do not hold, and what they hold that no row names."""
    rows = [Unmatched(ROW, f"{item.id}: {item.what}", f"absent ({item.group}): not asked") for item in lacking]
    others = task.left_over if isinstance(task, Unmatching) else ()
    return (*rows, *(Unmatched(*entry) for entry in others))


def other_engine(task: Task) -> str:
    """Return the name of what asks this task in place of our own loop, "" if nothing does."""
    engine = facts_of(task).engine
    if engine != "native" and engine not in registry.ENGINES:
        known = ", ".join(("native", *registry.ENGINES))
        raise UsageError(f"{task.name}: engine {engine!r} is not known; expected one of {known}.")
    return "" if engine == "native" else engine


def suited(settings: Settings, task: Task) -> Settings:
    """Return `settings` for one task: another engine's has one way of being asked, which is not the user's choice."""
    if not other_engine(task):
        return settings
    return replace(settings, protocol="logprob", answer="letter", parser="strict", controls=())


def load_plans(
    tasks: Sequence[Task], root: Path, settings: Settings, allow_missing: bool = False
) -> tuple[list[Plan], list[MissingDataError]]:
    """Return the plans, and what was said of the tasks without data.

    Raises one DataError that lists all of these unless `allow_missing` and another task has data.
    """
    plans: list[Plan] = []
    missing: list[MissingDataError] = []
    for task in tasks:
        try:
            plans.append(load_plan(task, root, suited(settings, task)))
        except MissingDataError as error:
            missing.append(error)
    if missing and len(tasks) == 1:
        raise missing[0]
    if missing and not (allow_missing and plans):
        hint = " Or pass --allow-missing to run the rest; every table will be marked." if plans else ""
        lines = "\n".join(map(str, missing))
        raise DataError(f"{len(missing)} of {len(tasks)} tasks have no data.{hint}\n{lines}")
    if settings.controls and plans and not any(plan.controls.samples for plan in plans):
        why = "; ".join(f"{plan.task.name}: {plan.controls.sentence(len(plan.samples))}" for plan in plans)
        if settings.controls == (READ,):
            raise UsageError(f"--read: no cue is drawn into a picture. {why}. Leave --read out.")
        raise UsageError(f"--controls: no question can be asked over another picture. {why}. Leave --controls out.")
    return plans, missing


def _fits_by_chance(task: Task, count: int, lacking: Sequence[Absent]) -> str | None:
    """Return in words why as many rows as the paper scored are not the paper's; None if they are, or are more."""
    paper = facts_of(task).paper
    if count == task.expected_rows or paper.lacks is None:
        return None
    others = any(item.group != paper.lacks for item in lacking)
    return f" (the latter with only {paper.lacks} short)" if others else None


def _split(rows: Iterable[Sample | Absent]) -> tuple[list[Sample], list[Absent]]:
    samples: list[Sample] = []
    lacking: list[Absent] = []
    for row in rows:
        if isinstance(row, Absent):
            lacking.append(row)
        else:
            samples.append(row)
    return samples, lacking


def _absent_sentence(lacking: Sequence[Absent]) -> str:
    """Return a sentence on what is absent, by group, with the first of each."""
    first: dict[str, str] = {}
    for item in lacking:
        first.setdefault(item.group, item.what)
    counts = Counter(item.group for item in lacking)
    groups = ", ".join(f"{group} {counts[group]} (first: {what})" for group, what in first.items())
    return f" Absent: {groups}." if groups else ""


def _bucket(cluster: str, count: int) -> int:
    return int(hashlib.sha256(cluster.encode()).hexdigest(), 16) % count


def _limited(chosen: list[tuple[int, Sample]], limit: int) -> list[tuple[int, Sample]]:
    def base(sample: Sample) -> str:
        return sample.cue.base_id if sample.cue else sample.id

    bases = list(dict.fromkeys(base(sample) for _, sample in chosen))
    kept = set(sorted(bases, key=lambda name: hashlib.sha256(name.encode()).digest())[:limit])
    return [(i, sample) for i, sample in chosen if base(sample) in kept]


def answer_key(plans: Sequence[Plan]) -> dict[str, tuple[str, str | None]]:
    """Return id -> (target, suggested option), which only the mock model is given.

    Over another picture the truth is that picture's, and what suggests the asked one's is all else.
    """

    def entry(sample: Sample) -> tuple[str, str | None]:
        if sample.arm == "swap":
            return sample.tags["shown"], sample.target
        return sample.target, sample.cue.suggests if sample.cue else None

    return {sample.id: entry(sample) for plan in plans for _, sample in plan.asked}


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
        notes = zip(shown, pool.map(_notes_of, shown.values()), strict=True)
        found: dict[str, set[str]] = defaultdict(set)
        for sha256, words in notes:
            for word in words:
                found[word].update(asked[sha256])
    return {note: {"questions": len(ids), "first": sorted(ids)[:FIRST]} for note, ids in sorted(found.items())}


def _notes_of(image: ImageRef) -> list[str]:
    from PIL import ImageStat

    words = [word for word in str(getattr(image, "note", "")).split("; ") if word]
    try:
        # As pixels.is_flat, whose rest no ordinary picture needs; nor does a plain one need to become RGB.
        plain = sendable(image)
        picture = decoded(plain[1], "picture") if plain else image.open()
        spread = ImageStat.Stat(picture.convert("L")).stddev[0]
    except AloeError:
        return words
    return [*words, OF_ONE_GREY] if spread < FLAT else words
