"""Template sets: the sentences that ask and mislead, as reviewed data (templates/*.toml, or a user's own file)."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, Literal, get_args

from aloe_bench.errors import UsageError, did_you_mean
from aloe_bench.heart.problems import Problems, read_text, toml_line

if TYPE_CHECKING:
    from aloe_bench.heart.attacks.attack import Attack, Combination

Authority = Literal["low", "medium", "high"]
AUTHORITIES: tuple[Authority, ...] = get_args(Authority)
# What the sentences of a cue must hold.
CUE_NEEDS = {"classification": {"class_name"}, "detection": {"class_name", "bbox"}, "neutral": set[str]()}
# What they may hold beside these: a control of detection's own, and sentences that name an option and claim nothing.
CUE_OPTIONS = {"neutral_detection": set[str](), "mention_classification": {"class_name"}, "mention_detection": {"bbox"}}
MAX_LENGTH = 500
# The kind of opinions that report further tests: a reader should believe them, so they are drawn only when asked for,
# and measured apart.
TESTIMONY = "testimony"


@dataclass(frozen=True, slots=True)
class Question:
    """How an item is asked; `text` of a detection question names the class."""

    id: str
    task: str
    text: str


@dataclass(frozen=True, slots=True)
class CueWording:
    """One way to make a claim, per task, and its control that makes none.

    The sentences of `mention_*` name an option without a claim, empty if there are none. `bias` is the kind of speaker
    or pressure.
    """

    id: str
    classification: str
    detection: str
    neutral: str
    authority: Authority | None = None
    bias: str = ""
    neutral_detection: str = ""
    mention_classification: str = ""
    mention_detection: str = ""

    def control(self, task: str) -> str:
        """Return the sentence of `task` that claims nothing."""
        return self.neutral_detection or self.neutral if task == "detection" else self.neutral

    def mention(self, task: str) -> str:
        """Return the sentence of `task` that names an option and claims nothing; empty if there is none."""
        return self.mention_classification if task == "classification" else self.mention_detection

    @property
    def sentences(self) -> tuple[str, ...]:
        """All that it may say."""
        every = (self.classification, self.detection, self.neutral, self.neutral_detection, self.mention_classification,
                 self.mention_detection)  # fmt: skip
        return tuple(text for text in every if text)

    def claim(self, task: str) -> str:
        """Return the claiming sentence of `task`."""
        return self.classification if task == "classification" else self.detection


@dataclass(frozen=True, slots=True)
class CueTable:
    """A table of cue wordings, `[[name]]` in a template set, of which each item draws one.

    A sentence may hold the placeholders `allowed` besides those it needs. Wordings of `kinds` and `graded` tables may
    state a kind of speaker or pressure (`bias`), `graded` ones the authority of who speaks; several of one kind can be
    drawn.
    `own` are used with a template set that has no such table; a set may lack one that is `optional`.
    """

    name: str
    allowed: frozenset[str] = frozenset()
    graded: bool = False
    own: tuple[CueWording, ...] = ()
    optional: bool = False
    kinds: bool = False

    def __post_init__(self) -> None:
        for wording in self.own:
            for key, needs in CUE_NEEDS.items():
                for fault in faults(getattr(wording, key), needs, self.allowed):
                    raise UsageError(f"wording {wording.id!r} of the table {self.name!r}: {key} {fault}")
            if (wording.authority is not None) != self.graded:
                raise UsageError(f"wording {wording.id!r} of the table {self.name!r}: all state an authority, or none.")


@dataclass(frozen=True, slots=True)
class PhraseTable:
    """A table of phrases that belong together: key -> the placeholders that the phrase must hold.

    `[name]` in a template set, or `[[name]]` for several, with an id, of which each item draws one.
    """

    name: str
    needs: Mapping[str, set[str]]


@dataclass(frozen=True, slots=True)
class TemplateSet:
    """All wordings of one experiment; `label` ("clinical-1") is what every row records.

    `cues` and `phrases` are by table: table -> wordings, table -> one or several of key -> phrase ("id" is a key).
    """

    name: str
    version: int
    sha256: str
    questions: tuple[Question, ...]
    cues: Mapping[str, tuple[CueWording, ...]]
    phrases: Mapping[str, tuple[Mapping[str, str], ...]] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return f"{self.name}-{self.version}"

    def mentions(self, table: str) -> bool:
        """Return whether all wordings of a table can name an option without a claim."""
        return all(wording.mention(task) for wording in self.cues[table] for task in ("classification", "detection"))

    def questions_of(self, task: str) -> tuple[Question, ...]:
        """Return the questions of `task`, in file order."""
        return tuple(question for question in self.questions if question.task == task)


def fill(text: str, **values: object) -> str:
    """Return `text` with its $placeholders replaced once; a "$" inside a value stays as it is."""
    return Template(text).substitute(values)


def faults(text: object, needs: set[str], allowed: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield what is wrong with a sentence that must hold the placeholders `needs` and may hold `allowed`."""
    if not (isinstance(text, str) and text.strip() and len(text) <= MAX_LENGTH):
        yield f"= {text!r}; expected a sentence of 1 to {MAX_LENGTH} characters"
        return
    if not text.isprintable():
        yield "holds a line break or a control character; expected one line"
    template = Template(text)
    if not template.is_valid():
        yield "has a '$' that begins no placeholder; write '$$' for a dollar sign"
        return
    found = set(template.get_identifiers())
    for name in sorted(needs - found):
        yield f"= {text!r} lacks its placeholder ${name}"
    for name in sorted(found - needs - allowed):
        expected = " and ".join(f"${n}" for n in sorted(needs | allowed)) or "none"
        yield f"= {text!r} has the placeholder ${name}; allowed here: {expected}"


DEFAULT_SET = "clinical"
TASKS = ("classification", "detection")
_QUESTION_NEEDS = {"classification": set[str](), "detection": {"class_name"}}


def shipped_sets() -> tuple[str, ...]:
    """Return the names of the template sets in this package."""
    folder = resources.files("aloe_bench.heart") / "templates"
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load_templates(name_or_path: str | Path = DEFAULT_SET, used: Iterable[Combination] = ()) -> TemplateSet:
    """Return a shipped set by name, or the user's own from a TOML file.

    Its tables are those of the shipped attacks and of the attacks `used`. Raises one DataError with file and line of
    every template that cannot be used.
    """
    text, place = _text(name_or_path)
    from aloe_bench.heart import attacks  # which take their wordings' kinds from here

    every = [*attacks.shipped().values(), *(part for combination in used for part in combination.parts)]
    return _Reader(text, place, every).read()


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

    def __init__(self, text: str, place: str, used: Iterable[Attack]) -> None:
        self._text, self._place, self._problems = text, place, Problems()
        tables = {attack.wordings.name: attack.wordings for attack in used if attack.wordings}
        self._cue_tables = [table for table in tables.values() if isinstance(table, CueTable)]
        self._phrase_tables = [table for table in tables.values() if isinstance(table, PhraseTable)]

    def read(self) -> TemplateSet:
        whole = self._parsed()
        questions = tuple(self._questions(whole))
        cues = {table.name: tuple(self._cues(whole, table)) for table in self._cue_tables}
        phrases = {table.name: self._phrases(whole, table) for table in self._phrase_tables}
        name, version = whole.get("name"), whole.get("version")
        if not (isinstance(name, str) and name.strip() and name.isprintable() and len(name) <= 60):
            self._add(1, f"name = {name!r}; expected the set's short name")
        if isinstance(version, bool) or not isinstance(version, int) or version < 1:
            self._add(1, f"version = {version!r}; expected a whole number from 1")
        for key in whole:
            if key not in ("name", "version", "question", *cues, *phrases):
                self._add(toml_line(self._text, key), f"unknown key {key!r}")
        for task in TASKS:
            if not any(question.task == task for question in questions):
                self._add(1, f"no [[question]] with task = {task!r}")
        self._check_ids("question", [question.id for question in questions])
        for table, wordings in cues.items():
            self._check_ids(table, [wording.id for wording in wordings])
        self._problems.stop_if_any(f"templates {self._place}")
        digest = hashlib.sha256(self._text.encode()).hexdigest()
        return TemplateSet(str(name), int(version or 0), digest, questions, cues, phrases)

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

    def _sentence(
        self, table: str, nth: int, entry: Mapping[str, Any], key: str, needs: set[str], allowed: frozenset[str]
    ) -> str:
        """Return entry[key], a sentence with the placeholders it needs and no others but `allowed`."""
        text = entry.get(key)
        for fault in faults(text, needs, allowed):
            line = toml_line(self._text, table, key, nth)
            self._add(line, f"[{table}] {key} {fault}")
        return str(text)

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
            text = self._sentence("question", nth, entry, "text", _QUESTION_NEEDS[task], frozenset())
            yield Question(self._id("question", nth, entry), task, text)

    def _cues(self, whole: Mapping[str, Any], table: CueTable) -> Iterator[CueWording]:
        if table.own and table.name not in whole:
            yield from table.own
            return
        name = table.name
        if table.optional and name not in whole:
            return
        for nth, entry in self._entries(whole, name):
            graded = ("authority", "bias") if table.graded else ("bias",) if table.kinds else ()
            self._known_keys(name, nth, entry, ("id", *CUE_NEEDS, *CUE_OPTIONS, *graded))
            wanted = CUE_NEEDS | {key: needs for key, needs in CUE_OPTIONS.items() if key in entry}
            texts = {k: self._sentence(name, nth, entry, k, needs, table.allowed) for k, needs in wanted.items()}
            authority = entry.get("authority")
            if table.graded and authority not in AUTHORITIES:
                line = toml_line(self._text, name, "authority", nth)
                self._add(line, f"[{name}] authority = {authority!r}; expected {', '.join(AUTHORITIES)}")
            bias = entry.get("bias", "")
            if not (isinstance(bias, str) and bias.isprintable() and len(bias) <= 60):
                self._add(toml_line(self._text, name, "bias", nth), f"[{name}] bias = {bias!r}; expected a short name")
            level = authority if table.graded else None
            yield CueWording(self._id(name, nth, entry), **texts, authority=level, bias=str(bias))

    def _phrases(self, whole: Mapping[str, Any], table: PhraseTable) -> tuple[dict[str, str], ...]:
        entry = whole.get(table.name)
        if isinstance(entry, list) and entry:
            found = []
            for nth, one in self._entries(whole, table.name):
                self._known_keys(table.name, nth, one, ("id", *table.needs))
                texts = {k: self._sentence(table.name, nth, one, k, n, frozenset()) for k, n in table.needs.items()}
                found.append({"id": self._id(table.name, nth, one), **texts})
            self._check_ids(table.name, [one["id"] for one in found])
            return tuple(found)
        if not isinstance(entry, dict):
            first, last = ", ".join([*table.needs][:-1]), [*table.needs][-1]
            self._add(1, f"no [{table.name}]; expected {first} and {last}")
            return ()
        self._known_keys(table.name, 0, entry, tuple(table.needs))
        texts = {k: self._sentence(table.name, 0, entry, k, needs, frozenset()) for k, needs in table.needs.items()}
        return ({"id": "", **texts},)

    def _check_ids(self, table: str, ids: list[str]) -> None:
        for twice in sorted({i for i in ids if ids.count(i) > 1}):
            line = toml_line(self._text, table, "id", max(n for n, i in enumerate(ids) if i == twice))
            self._add(line, f"[{table}] id {twice!r} is there twice")
