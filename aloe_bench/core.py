"""The nouns: what travels from a dataset row to a leaderboard cell.

Standard library only. Frozen dataclasses for values, Protocols for what others supply.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from PIL import Image

Kind = Literal["choice", "yes_no", "open"]
Variant = Literal["assistive", "adversarial", "neutral", "mention", "mention_truth"]
Finish = Literal["stop", "length", "error"]
# How providers say, in their finish reason, that their filter stopped a prompt or a reply.
FILTERS = frozenset(
    ("content_filter", "safety", "blocklist", "prohibited_content", "recitation", "spii", "image_safety", "guardrail")
)
Outcome = Literal["answered", "refused", "filtered", "cut", "unread", "failed"]
Refusal = Literal["policy", "cannot-tell"]
Role = Literal["system", "user", "assistant"]
AnswerProtocol = Literal["generate", "logprob"]
AnswerForm = Literal["letter", "text"]
Box = tuple[float, float, float, float]

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@runtime_checkable
class ImageRef(Protocol):
    """A picture by content: known by its hash, decoded only when `open` is called."""

    @property
    def sha256(self) -> str: ...
    @property
    def size(self) -> tuple[int, int]: ...
    def open(self) -> Image.Image: ...


@dataclass(frozen=True, slots=True)
class Cue:
    """What was added to a clean sample to lead the model."""

    attack: str
    variant: Variant
    base_id: str
    suggests: str | None


@dataclass(frozen=True, slots=True)
class Sample:
    """One question about one or more images, with its answer.

    `target` is a letter for `choice`, "yes" or "no" for `yes_no`, the reference text for `open`.
    `cluster` names the source image or patient; every interval resamples by it. `arm` names the control that it is,
    `repeat` numbers further questions for the same item.
    """

    id: str
    kind: Kind
    question: str
    target: str
    cluster: str
    images: tuple[ImageRef, ...] = ()
    choices: tuple[str, ...] = ()
    boxes: tuple[Box, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    cue: Cue | None = None
    arm: str = ""
    repeat: int = 0


@dataclass(frozen=True, slots=True)
class Absent:
    """What a data set names and does not hold: a question without its image, or a whole file (group "files").

    It is counted by `group` and never left out in silence.
    """

    id: str
    group: str
    what: str


def samples_of(rows: Iterable[Sample | Absent]) -> Iterator[Sample]:
    """Yield what of a task's rows can be asked."""
    return (row for row in rows if isinstance(row, Sample))


class Task(Protocol):
    """A benchmark: data about it, how to load it, and the one place that builds its prompt.

    It may say more of itself in an attribute `facts`, an `aloe_bench.facts.Facts`: cells, engine, pages, the paper.
    """

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def source(self) -> str: ...
    @property
    def revision(self) -> str: ...
    @property
    def licence(self) -> str: ...
    @property
    def expected_rows(self) -> int: ...
    def load(self, root: Path) -> Iterator[Sample | Absent]: ...
    def prompt(self, sample: Sample) -> str: ...


@dataclass(frozen=True, slots=True)
class DataSet:
    """A hub data set that a task reads, and the folder it is read from."""

    hub: str
    folder: Path


@runtime_checkable
class Fetchable(Protocol):
    """A task whose data `data fetch` brings, and which so can be known to be the benchmark's."""

    def data_sets(self, root: Path) -> Sequence[DataSet]: ...


@runtime_checkable
class Telling(Protocol):
    """A task that says something of its data once they are loaded, which stands in a run's header and on its page."""

    def told(self) -> Mapping[str, Any]: ...


@runtime_checkable
class Noting(Protocol):
    """A task with notes on how its files were read, for the header of a run and for no page: they name files."""

    @property
    def notes(self) -> Sequence[str]: ...


@runtime_checkable
class Unmatching(Protocol):
    """A task whose files hold what belongs to none of its rows: what it is, its name, and what became of it."""

    @property
    def left_over(self) -> Sequence[tuple[str, str, str]]: ...


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. The images of a request stand before the text of its first user turn."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Request:
    """What a model sees of a sample; it never holds the target. `begun` are words that its reply already holds."""

    id: str
    messages: tuple[Message, ...]
    images: tuple[ImageRef, ...] = ()
    options: tuple[str, ...] = ()
    json_schema: Mapping[str, object] | None = None
    chat: bool = True
    begun: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """One piece of a prompt as it is sent: a `text`, or a picture by its hash and `size` (width, height) in pixels.

    `note` says how a picture is shown that could be shown in another way (the ground of a transparent one).
    """

    role: Role
    text: str | None = None
    image: str | None = None
    size: tuple[int, int] | None = None
    note: str | None = None


def parts_of(request: Request) -> tuple[Part, ...]:
    """Return what of a request is shown, in its order: the images stand before the text of the first user turn."""
    parts: list[Part] = []
    waiting = list(request.images)
    for message in request.messages:
        if message.role == "user":
            notes = [getattr(image, "note", "") or None for image in waiting]
            parts += [Part("user", image=i.sha256, size=i.size, note=n) for i, n in zip(waiting, notes, strict=True)]
            waiting = []
        parts.append(Part(message.role, message.text))
    return tuple(parts)


@dataclass(frozen=True, slots=True)
class Decoding:
    """How replies are sampled; written whole into the header of a run.

    Above temperature 0 every reply is drawn from `seed` and the request's id; at 0 `seed` changes nothing.
    `reasoning_tokens` bounds the reasoning: it is closed after so many, and `max_new_tokens` more may follow.
    The last six are a provider's: `source` says where it says so, None elsewhere.
    """

    temperature: float = 0.0
    max_new_tokens: int = 512
    seed: int = 0
    reasoning_tokens: int | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    source: str | None = None

    @property
    def likeliest(self) -> bool:
        """Whether each token is the likeliest one, whatever else was said."""
        return self.temperature == 0 and not (self.repetition_penalty or self.presence_penalty)

    def to_json(self) -> dict[str, object]:
        """Return it as headers hold it: what is not set is left out."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class Prediction:
    """A model's reply. `text` is None exactly when `finish` is "error".

    `option_logprobs` are natural logarithms, one per option, in the `logprob` protocol only; `option_greedy` says of
    each whether greedy decoding would begin with it, and is empty where the back end does not know.
    `finish_reason` is the end in the back end's own words, `reasoning` what it returned apart from the answer, `seed`
    what this reply was sampled from, `extended` by how many tokens it was given beyond the run's limit, `image_tokens`
    how many tokens of the prompt its pictures were; each is None or 0 where there is nothing to say.
    """

    id: str
    text: str | None
    finish: Finish
    error: str | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    seconds: float | None = None
    token_ids: tuple[int, ...] = ()
    option_logprobs: tuple[float, ...] = ()
    option_greedy: tuple[bool, ...] = ()
    finish_reason: str | None = None
    reasoning: str | None = None
    seed: int | None = None
    extended: int = 0
    image_tokens: int | None = None


class Model(Protocol):
    """Anything that answers requests; a judge is one too.

    `generate` yields exactly one Prediction a request, in any order. A request that cannot be
    answered yields `finish="error"`; only what makes every further request pointless raises.
    """

    @property
    def name(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    def describe(self) -> Mapping[str, object]: ...
    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Prediction]: ...


@runtime_checkable
class OptionScorer(Protocol):
    """A model that can also give the log-probability of each of a request's `options`."""

    def option_logprobs(self, requests: Sequence[Request]) -> Iterator[Prediction]: ...


@dataclass(frozen=True, slots=True)
class AnswerLikelihood:
    """How likely a model finds an answer: `logprob`, the natural logarithm over all its `tokens`; None if it failed."""

    id: str
    logprob: float | None
    tokens: int
    error: str | None = None


@runtime_checkable
class AnswerScorer(Protocol):
    """A model that reads a whole answer behind a prompt, however long, and says how likely it is, token by token.

    Each request has one option, the answer.
    """

    def answer_logprobs(self, requests: Sequence[Request]) -> Iterator[AnswerLikelihood]: ...


@runtime_checkable
class ReplyExtender(Protocol):
    """A model that can continue replies it has given, from their own tokens."""

    def extend(
        self, requests: Sequence[Request], replies: Sequence[Prediction], decoding: Decoding
    ) -> Iterator[Prediction]:
        """Yield one whole reply a request, greedily: that of `replies` and up to `max_new_tokens` more."""


def capabilities(model: Model) -> frozenset[str]:
    """Return the protocols that `model` can be asked by, of "generate" and "logprob".

    They are what its attribute `capabilities` says; without one, "logprob" is of those that have `option_logprobs`.
    """
    said = getattr(model, "capabilities", None)
    if said is not None:
        return frozenset(said)
    return frozenset({"generate", "logprob"} if isinstance(model, OptionScorer) else {"generate"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """One judge's grade of one open answer; None if the judge could not be read."""

    sample_id: str
    judge: str
    grade: float | None
    reply: str


@dataclass(frozen=True, slots=True)
class Score:
    """`value` is in [0, 1], or None where it could not be measured (never 0 for that).

    `parsed` is the option read from the reply, None if none could be; `rule` says how. `outcome` is None in logs of
    before it was decided; `answers.outcome.outcome_of` knows it of those too. `refusal` is why a refused reply refuses.
    """

    value: float | None
    parsed: str | None
    rule: str
    verdicts: tuple[Verdict, ...] = ()
    outcome: Outcome | None = None
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the run log; `index` is the sample's place in its task.

    `question` is what a jury compares answer and target by; `options` are the choices as shown, in their order;
    `prompt` is all that was sent. These are empty in logs of before they were kept. `repeat` numbers the replies to
    one sample from 0; `arm` names a control in whose place the sample was asked. How a cue is worded is in `tags`.
    """

    index: int
    sample_id: str
    kind: Kind
    target: str
    cluster: str
    tags: Mapping[str, str]
    cue: Cue | None
    prediction: Prediction
    score: Score
    question: str = ""
    options: tuple[str, ...] = ()
    prompt: tuple[Part, ...] = ()
    repeat: int = 0
    arm: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """One published number: `value` in [0, 1] with its 95 % interval, None if not measured.

    `exact` is the value as a fraction, from which the printed digits come; `unjudged` counts answers that wait for a
    jury; `split` is the share of a jury's grades without a majority. `answered`, `refused`, `filtered`, `cut`, `unread`
    and `failed` add up to `n`; `unread_by` counts the unread by cause. `bounds` are the values that would stand if
    every filtered, cut and failed reply had been wrong, and right; None where there are no such replies.
    """

    value: float | None
    n: int
    n_clusters: int
    interval: tuple[float, float] | None
    failed: int
    unread: int
    run: str
    exact: str | None = None
    unjudged: int = 0
    split: float | None = None
    answered: int = 0
    refused: int = 0
    filtered: int = 0
    cut: int = 0
    bounds: tuple[float, float] | None = None
    unread_by: Mapping[str, int] = field(default_factory=dict, hash=False)


def batches(requests: Iterable[Request], size: int) -> Iterator[list[Request]]:
    """Yield `requests` in lists of at most `size`, order kept."""
    batch: list[Request] = []
    for request in requests:
        batch.append(request)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
