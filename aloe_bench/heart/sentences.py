"""What is said to a model: questions and cue wordings, and the tables of a template set that hold them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from string import Template
from typing import Literal, get_args

from aloe_bench.errors import UsageError

Authority = Literal["low", "medium", "high"]
AUTHORITIES: tuple[Authority, ...] = get_args(Authority)
# What the sentences of a cue must hold.
CUE_NEEDS = {"classification": {"class_name"}, "detection": {"class_name", "bbox"}, "neutral": set[str]()}
# What they may hold beside these: a control of detection's own, and sentences that name an option and claim nothing.
CUE_OPTIONS = {"neutral_detection": set[str](), "mention_classification": {"class_name"}, "mention_detection": {"bbox"}}
MAX_LENGTH = 500


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

    A sentence may hold the placeholders `allowed` besides those it needs. Wordings may state a kind of speaker or
    pressure (`bias`), `graded` ones the authority of who speaks; several of one kind can be drawn.
    `own` are used with a template set that has no such table; a set may lack one that is `optional`.
    """

    name: str
    allowed: frozenset[str] = frozenset()
    graded: bool = False
    own: tuple[CueWording, ...] = ()
    optional: bool = False

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
