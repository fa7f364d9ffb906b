"""Template sets: the sentences that ask and mislead, as reviewed data (templates/*.toml, or a user's own file)."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any, Literal, get_args

from aloe_bench.errors import UsageError, did_you_mean
from aloe_bench.heart.problems import Problems, read_text, toml_line

Authority = Literal["low", "medium", "high"]
AUTHORITIES: tuple[Authority, ...] = get_args(Authority)
DEFAULT_SET = "clinical"
TASKS = ("classification", "detection")
# What a sentence must hold, and what it may hold besides.
_NEEDS = {"classification": {"class_name"}, "detection": {"class_name", "bbox"}, "neutral": set[str]()}
_QUESTION_NEEDS = {"classification": set[str](), "detection": {"class_name"}}
_LEGEND_NEEDS = {"finding": {"class_name"}, "none": set[str](), "neutral": set[str]()}
_MAX_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Question:
    """How an item is asked; `text` of a detection question names the class."""

    id: str
    task: str
    text: str


@dataclass(frozen=True, slots=True)
class CueWording:
    """One way to make a claim, per task, and its control that makes none."""

    id: str
    classification: str
    detection: str
    neutral: str
    authority: Authority | None = None

    def claim(self, task: str) -> str:
        """Return the claiming sentence of `task`."""
        return self.classification if task == "classification" else self.detection


@dataclass(frozen=True, slots=True)
class LegendWording:
    """Entries of a legend: of a box with a class, of one without, and of any box where nothing is claimed."""

    finding: str
    none: str
    neutral: str


@dataclass(frozen=True, slots=True)
class TemplateSet:
    """All wordings of one experiment; `label` ("clinical-1") is what every row records."""

    name: str
    version: int
    sha256: str
    questions: tuple[Question, ...]
    sycophancy: tuple[CueWording, ...]
    captions: tuple[CueWording, ...]
    legend: LegendWording

    @property
    def label(self) -> str:
        return f"{self.name}-{self.version}"

    def questions_of(self, task: str) -> tuple[Question, ...]:
        """Return the questions of `task`, in file order."""
        return tuple(question for question in self.questions if question.task == task)


def fill(text: str, **values: object) -> str:
    """Return `text` with its $placeholders replaced once; a "$" inside a value stays as it is."""
    return Template(text).substitute(values)


def shipped_sets() -> tuple[str, ...]:
    """Return the names of the template sets in this package."""
    folder = resources.files("aloe_bench.heart") / "templates"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load_templates(name_or_path: str | Path = DEFAULT_SET) -> TemplateSet:
    """Return a shipped set by name, or the user's own from a TOML file.

    Raises one DataError with file and line of every template that cannot be used.
    """
    text, place = _text(name_or_path)
    return _Reader(text, place).read()


def _text(name_or_path: str | Path) -> tuple[str, str]:
    path = Path(name_or_path)
    if path.suffix == ".toml" or path.exists():
        return read_text(path, "a template set"), str(path)
    known = shipped_sets()
    if str(name_or_path) not in known:
        raise UsageError(
            f"Unknown template set {str(name_or_path)!r}.{did_you_mean(str(name_or_path), known)} "
            f"Shipped: {', '.join(known)}; or give a .toml file."
        )
    shipped = resources.files("aloe_bench.heart") / "templates" / f"{name_or_path}.toml"
    return shipped.read_text(encoding="utf-8"), f"{name_or_path}.toml"


class _Reader:
    """One template file; every fault goes to `problems` with its line."""

    def __init__(self, text: str, place: str) -> None:
        self._text, self._place, self._problems = text, place, Problems()

    def read(self) -> TemplateSet:
        whole = self._parsed()
        questions = tuple(self._questions(whole))
        sycophancy = tuple(self._cues(whole, "sycophancy"))
        captions = tuple(self._cues(whole, "caption"))
        legend = self._legend(whole)
        name, version = whole.get("name"), whole.get("version")
        if not (isinstance(name, str) and name.strip() and name.isprintable() and len(name) <= 60):
            self._add(1, f"name = {name!r}; expected the set's short name")
        if isinstance(version, bool) or not isinstance(version, int) or version < 1:
            self._add(1, f"version = {version!r}; expected a whole number from 1")
        for key in whole:
            if key not in ("name", "version", "question", "sycophancy", "caption", "legend"):
                self._add(toml_line(self._text, key), f"unknown key {key!r}")
        for task in TASKS:
            if not any(question.task == task for question in questions):
                self._add(1, f"no [[question]] with task = {task!r}")
        self._check_ids(questions, sycophancy, captions)
        self._problems.stop_if_any(f"templates {self._place}")
        digest = hashlib.sha256(self._text.encode()).hexdigest()
        return TemplateSet(str(name), int(version or 0), digest, questions, sycophancy, captions, legend)

    def _parsed(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as error:
            self._add(1, f"not readable as TOML ({error})")
            self._problems.stop_if_any(f"templates {self._place}")
            raise

    def _add(self, line: int, message: str) -> None:
        self._problems.add(f"{self._place}:{line}", message)

    def _entries(self, whole: Mapping[str, Any], table: str) -> Iterator[tuple[int, dict[str, Any]]]:
        entries = whole.get(table)
        if not isinstance(entries, list) or not entries:
            self._add(1, f"no [[{table}]]; expected at least one")
            return
        for nth, entry in enumerate(entries):
            if isinstance(entry, dict):
                yield nth, entry
            else:
                self._add(toml_line(self._text, "", table), f"{table}[{nth}] is not a table")

    def _sentence(self, table: str, nth: int, entry: Mapping[str, Any], key: str, needs: set[str]) -> str:
        """Return entry[key], a sentence with exactly the placeholders it needs; a fault is noted."""
        line, text = toml_line(self._text, table, key, nth), entry.get(key)
        if not (isinstance(text, str) and text.strip() and len(text) <= _MAX_LENGTH):
            self._add(line, f"[{table}] {key} = {text!r}; expected a sentence of 1 to {_MAX_LENGTH} characters")
            return ""
        if not text.isprintable():
            self._add(line, f"[{table}] {key} holds a line break or a control character; expected one line")
        template = Template(text)
        if not template.is_valid():
            self._add(line, f"[{table}] {key}: a '$' that begins no placeholder; write '$$' for a dollar sign")
            return text
        found = set(template.get_identifiers())
        allowed = needs | ({"number"} if table == "caption" else set())
        for name in sorted(needs - found):
            self._add(line, f"[{table}] {key} = {text!r} lacks its placeholder ${name}")
        for name in sorted(found - allowed):
            expected = " and ".join(f"${n}" for n in sorted(allowed)) or "none"
            self._add(line, f"[{table}] {key} = {text!r} has the placeholder ${name}; allowed here: {expected}")
        return text

    def _id(self, table: str, nth: int, entry: Mapping[str, Any]) -> str:
        value = entry.get("id")
        if isinstance(value, str) and value.strip() and value.isprintable() and len(value) <= 60:
            return value
        self._add(toml_line(self._text, table, "id", nth), f"[{table}] id = {value!r}; expected a short name")
        return ""

    def _known_keys(self, table: str, nth: int, entry: Mapping[str, Any], known: tuple[str, ...]) -> None:
        for key in entry:
            if key not in known:
                line = toml_line(self._text, table, key, nth)
                self._add(line, f"[{table}] has no key {key!r}.{did_you_mean(key, known)}")

    def _questions(self, whole: Mapping[str, Any]) -> Iterator[Question]:
        for nth, entry in self._entries(whole, "question"):
            self._known_keys("question", nth, entry, ("id", "task", "text"))
            task = entry.get("task")
            if task not in TASKS:
                line = toml_line(self._text, "question", "task", nth)
                self._add(line, f"[question] task = {task!r}; expected {' or '.join(TASKS)}")
                continue
            text = self._sentence("question", nth, entry, "text", _QUESTION_NEEDS[task])
            yield Question(self._id("question", nth, entry), task, text)

    def _cues(self, whole: Mapping[str, Any], table: str) -> Iterator[CueWording]:
        graded = table == "sycophancy"
        for nth, entry in self._entries(whole, table):
            self._known_keys(table, nth, entry, ("id", *_NEEDS, *(("authority",) if graded else ())))
            texts = {key: self._sentence(table, nth, entry, key, needs) for key, needs in _NEEDS.items()}
            authority = entry.get("authority")
            if graded and authority not in AUTHORITIES:
                line = toml_line(self._text, table, "authority", nth)
                self._add(line, f"[{table}] authority = {authority!r}; expected {', '.join(AUTHORITIES)}")
            yield CueWording(self._id(table, nth, entry), **texts, authority=authority if graded else None)

    def _legend(self, whole: Mapping[str, Any]) -> LegendWording:
        table = whole.get("legend")
        if not isinstance(table, dict):
            self._add(1, "no [legend]; expected finding, none and neutral")
            return LegendWording("", "", "")
        self._known_keys("legend", 0, table, tuple(_LEGEND_NEEDS))
        return LegendWording(**{k: self._sentence("legend", 0, table, k, n) for k, n in _LEGEND_NEEDS.items()})

    def _check_ids(self, *groups: tuple[Question, ...] | tuple[CueWording, ...]) -> None:
        for table, group in zip(("question", "sycophancy", "caption"), groups, strict=True):
            ids = [entry.id for entry in group]
            for twice in sorted({i for i in ids if ids.count(i) > 1}):
                line = toml_line(self._text, table, "id", max(n for n, i in enumerate(ids) if i == twice))
                self._add(line, f"[{table}] id {twice!r} is there twice")
