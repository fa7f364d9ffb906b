"""A sample and a model's reply become a score. A failed call is no score; an unreadable reply is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from aloe_bench.answers.compat.probmed import BOTH, parse_yes_no_probmed
from aloe_bench.answers.compat.vlmeval import parse_choice_vlmeval
from aloe_bench.answers.outcome import outcome_of_unread
from aloe_bench.answers.strict.choice import VERSION, Parsed, parse_choice, parse_yes_no, without_reasoning
from aloe_bench.core import LETTERS, Kind, Prediction, Sample, Score
from aloe_bench.errors import UsageError

# How providers say that their filter stopped a prompt or a reply.
FILTERS = frozenset(
    ("content_filter", "safety", "blocklist", "prohibited_content", "recitation", "spii", "image_safety", "guardrail")
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a parser may know beside the reply: the question, its options, and how the reply ended."""

    question: str
    choices: Sequence[str]
    finish: str


Parser = Callable[[str, Asked], Parsed]

# A compat parser reads only the kind of question that its benchmark has.
PARSERS: dict[str, Mapping[Kind, Parser]] = {
    "strict": {
        "choice": lambda reply, asked: parse_choice(reply, asked.choices, finish=asked.finish),
        "yes_no": lambda reply, asked: parse_yes_no(reply, asked.question, finish=asked.finish),
    },
    "vlmeval": {"choice": lambda reply, asked: parse_choice_vlmeval(reply, asked.choices)},
    "probmed": {"yes_no": lambda reply, asked: parse_yes_no_probmed(reply)},
}


def parser_id(name: str) -> str:
    """Return the name and version written into the header."""
    return f"{name}-{VERSION}"


def refuse_unreadable(parser: str, kinds: Iterable[Kind], task: str) -> None:
    """Raise UsageError if `parser` cannot read questions of one of `kinds`; a jury reads the open ones."""
    lacking = sorted(set(kinds) - set(PARSERS[parser]) - {"open"})
    if lacking:
        raise UsageError(
            f"{task}: --parser {parser} reads {', '.join(PARSERS[parser])} questions, and the task has "
            f"{', '.join(lacking)} ones. Run it with --parser strict."
        )


def open_answer(reply: str) -> str | None:
    """Return what of a reply a jury is shown: all but its reasoning; None if that leaves no answer."""
    text = without_reasoning(reply)
    return (text.strip() or None) if text is not None else None


def grade_open(reply: str) -> Score:
    """Return the score of a reply to an open question before a jury has seen it; no answer is a wrong one."""
    if open_answer(reply) is None:
        return Score(0.0, None, "unread: no answer")
    return Score(value=None, parsed=None, rule="unjudged")


def is_filtered(prediction: Prediction) -> bool:
    """Return whether the provider's own filter stopped the prompt or the reply, with or without text."""
    return (prediction.finish_reason or "").lower() in FILTERS


def grade(sample: Sample, prediction: Prediction, parser: str = "strict") -> Score:
    """Return the score of one reply; value None if the call failed or a jury has yet to grade it."""
    if prediction.finish == "error" or prediction.text is None:
        return Score(value=None, parsed=None, rule="failed", outcome="failed")
    if is_filtered(prediction):
        return Score(0.0, None, "unread: filtered", outcome="filtered")
    if sample.kind == "open":
        return grade_open(prediction.text)
    if prediction.option_logprobs:
        likeliest = _likeliest(sample, prediction)
        return Score(float(likeliest == sample.target), likeliest, "logprob", outcome="answered")
    parsed = PARSERS[parser][sample.kind](prediction.text, Asked(sample.question, sample.choices, prediction.finish))
    if parsed.letter is None:
        return Score(0.0, None, f"unread: {parsed.rule}", outcome=outcome_of_unread(prediction, parsed.rule))
    right = parsed.letter in (sample.target, BOTH)
    return Score(float(right), parsed.letter, parsed.rule, outcome="answered")


def _likeliest(sample: Sample, prediction: Prediction) -> str | None:
    """Return the letter (or word) of the likeliest option, ties going to the first; options may be scored as text."""
    if sample.kind != "choice":
        return prediction.text
    scores = prediction.option_logprobs
    return LETTERS[max(range(len(scores)), key=scores.__getitem__)]
