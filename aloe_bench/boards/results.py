"""What results/<model>/<task>.json must hold, checked in whole before any page is made of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from aloe_bench import registry
from aloe_bench.boards.letters import Outcomes
from aloe_bench.checked import checked
from aloe_bench.errors import DataError
from aloe_bench.facts import CellSpec, Place
from aloe_bench.heart.table.published import ROWS, SOURCE
from aloe_bench.tasks.data.fetched import why_unverified

SCHEMA = 2
AGAIN = "Build it again from its run folder."


class CorrectedFacts(TypedDict):
    """A judged cell as experts would have it."""

    value: float
    interval: tuple[float, float] | None
    interval_experts: tuple[float, float] | None
    n_labels: int
    n_experts: int
    weight: float
    bias: float
    bias_interval: tuple[float, float] | None


class Numbers(TypedDict):
    """A cell."""

    value: float | None
    exact: str | None
    interval: tuple[float, float] | None
    n: int
    n_clusters: int
    answered: int
    refused: int
    filtered: int
    cut: int
    unread: int
    failed: int
    unjudged: int
    split: NotRequired[float | None]
    bounds: NotRequired[tuple[float, float] | None]
    unread_by: NotRequired[dict[str, int]]
    corrected: NotRequired[CorrectedFacts]


class ModelFacts(TypedDict):
    name: str
    fingerprint: str
    backend: str
    miniature: bool
    size_group: str | None
    domain: str | None
    profile: NotRequired[dict[str, Any] | None]


class TaskFacts(TypedDict):
    name: str
    version: int
    expected_rows: int
    data_sha256: str
    source: NotRequired[str | None]
    places: NotRequired[tuple[Place, ...]]
    told: NotRequired[Told]


class BoxesAlone(TypedDict):
    """What the best rule on boxes alone finds, without a picture."""

    value: float
    interval: tuple[float, float] | None
    n: int


class Told(TypedDict):
    """What a task said of its data."""

    boxes_alone: NotRequired[dict[str, BoxesAlone]]


class PublishedFacts(TypedDict):
    """Of a task's facts what its numbers follow from, as `facts.Facts` has them."""

    cells: tuple[CellSpec, ...]
    measure: str


class PublishedTask(TaskFacts):
    facts: PublishedFacts


class JudgeFacts(TypedDict):
    name: str
    backend: str


class JuryFacts(TypedDict):
    judges: list[JudgeFacts]


class VerifiedFacts(TypedDict):
    """Whether the data are known to be the benchmark's: by what, "" if not, and why not."""

    by: str
    why: str


class EngineFacts(TypedDict):
    name: str


class AttackMeasure(TypedDict):
    """One measure of an attacked table."""

    value: float | None
    interval: tuple[float, float] | None
    chance: NotRequired[float]
    below_chance: NotRequired[bool]
    p: NotRequired[float | None]
    p_flip: NotRequired[float | None]
    p_adjusted: NotRequired[float | None]
    interval_family: NotRequired[tuple[float, float] | None]
    detectable: NotRequired[float | None]
    detectable_at: NotRequired[float | None]
    bounds: NotRequired[tuple[float, float] | None]
    withheld: NotRequired[str]
    interval_wordings: NotRequired[tuple[float, float] | None]
    wordings: NotRequired[list[int]]


class Levels(TypedDict):
    macro: AttackMeasure


class Attacked(TypedDict):
    """One kind of question of an attacked table: attack -> measure -> levels."""

    columns: dict[str, dict[str, Levels]]


class ControlMeasure(TypedDict):
    """One measure of an image control."""

    value: float | None
    interval: tuple[float, float] | None
    n: int
    failed: int
    p: NotRequired[float | None]
    p_flip: NotRequired[float | None]
    p_adjusted: NotRequired[float | None]
    interval_family: NotRequired[tuple[float, float] | None]


class Controlled(TypedDict):
    """The image controls of one kind of question."""

    baseline: NotRequired[ControlMeasure]
    blank: NotRequired[ControlMeasure]
    image_reliance: NotRequired[ControlMeasure]
    swap_follows: NotRequired[ControlMeasure]
    swap_stays: NotRequired[ControlMeasure]
    shown_over_asked: NotRequired[ControlMeasure]
    chance: NotRequired[float]
    same_patient: NotRequired[bool]


class Repeated(TypedDict):
    """Several replies to each question: their mean, and what of its variance is the items' and what the replies'."""

    value: float | None
    interval: tuple[float, float] | None
    n: int
    n_replies: int
    failed: int


class DefenceFacts(TypedDict):
    name: str
    sha256: str


class Result(TypedDict):
    run: str
    model: ModelFacts
    task: PublishedTask
    protocol: str
    engine: NotRequired[EngineFacts | None]
    parser: NotRequired[str | None]
    prompt_sha256: NotRequired[str | None]
    decoding: NotRequired[dict[str, Any] | None]
    seed: NotRequired[int | None]
    answer: NotRequired[str | None]
    defence: NotRequired[DefenceFacts]
    judges: NotRequired[JuryFacts | None]
    switched: NotRequired[dict[str, str]]
    extended: NotRequired[int]
    submitted: NotRequired[bool]
    partial: bool
    verified: NotRequired[VerifiedFacts | None]
    absent: NotRequired[dict[str, int]]
    left_out: NotRequired[list[str]]
    passed_over: NotRequired[dict[str, str]]
    cells: dict[str, Numbers]
    cautions: NotRequired[list[str]]
    unread_by: NotRequired[dict[str, dict[str, int]]]
    outcomes: Outcomes
    heart: NotRequired[dict[str, Attacked]]
    controls: NotRequired[dict[str, Controlled]]
    repeats: NotRequired[dict[str, Repeated]]


def read_result(path: Path) -> Mapping[str, Any]:
    """Return the result at `path`; raises DataError, naming the place, for a file that is not as `build` wrote it."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error}). {AGAIN}") from error
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise DataError(f"{path}: expected a result of schema {SCHEMA}. {AGAIN}")
    try:
        result = checked(value, Result, str(path))
        _check_numbers(result, path)
    except DataError as error:
        raise DataError(f"{error} {AGAIN}") from error
    return result


def doubt(result: Mapping[str, Any]) -> str:
    """Return why the data of a result are not known to be its benchmark's; "" if they are, or it is of no benchmark.

    A task from outside this package, and an attacked folder, is not a benchmark that anybody else was asked.
    """
    task = result["task"]
    if task["name"] not in registry.TASKS and not is_published_heart(task):
        return ""
    return why_unverified(result.get("verified"))


def is_published_heart(task: Mapping[str, Any]) -> bool:
    """Return whether a task says that it is the whole published HEART table."""
    return bool(task["name"] == "heart" and task.get("source") == SOURCE and task["expected_rows"] == ROWS)


def _check_numbers(result: Result, path: Path) -> None:
    """Raise DataError where a cell's fraction is none, or its attacked table does not have it."""
    for name, numbers in result["cells"].items():
        exact = numbers["exact"]
        try:
            known = exact is None or 0 <= Fraction(exact) <= 1
        except (ValueError, ZeroDivisionError):
            known = False
        if not known:
            raise DataError(f"{path}: cells.{name}.exact is {exact!r}; expected a fraction from 0 to 1.")
    for name in result["cells"] if "heart" in result else ():
        task, _, attack = name.partition("/")
        measure = "accuracy" if attack == "baseline" else "adversarial"
        columns = result["heart"][task]["columns"] if task in result["heart"] else {}
        levels = columns.get(attack, {}).get(measure)
        if levels is None or not {"chance", "below_chance"} <= levels["macro"].keys():
            raise DataError(f"{path}: heart has nothing, or no chance, for the cell {name!r}.")
        parts = levels.get("datasets", {})
        if not isinstance(parts, dict) or not all({"value", "n"} <= part.keys() for part in parts.values()):
            raise DataError(f"{path}: heart has no value and number for each data set of the cell {name!r}.")
    for task, part in result["heart"].items() if "heart" in result else ():
        if "baseline" not in part["columns"]:
            raise DataError(f"{path}: heart.{task}.columns.baseline is missing.")
