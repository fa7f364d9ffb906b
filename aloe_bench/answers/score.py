"""A sample and a model's reply become a score. A failed call is no score; an unreadable reply is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from aloe_bench.answers.compat.probmed import BOTH, parse_yes_no_probmed
from aloe_bench.answers.compat.vlmeval import parse_choice_vlmeval
from aloe_bench.answers.outcome import UNREAD, is_filtered, outcome_of_unread, refusal
from aloe_bench.answers.strict.choice import VERSION, Parsed, parse_choice, parse_yes_no, without_reasoning
from aloe_bench.core import LETTERS, Finish, Kind, Prediction, Sample, Score
from aloe_bench.errors import UsageError


@dataclass(frozen=True, slots=True)
class Asked:
    """What a parser may know beside the reply: the question, its options, and how the reply ended."""

    question: str
    choices: Sequence[str]
    finish: str


Parser = Callable[[str, Asked], Parsed]


def _strict2(kind: Kind) -> Parser:
    """Return version 2 of the strict parser, which knew neither the question nor how the reply ended."""

    def read(reply: str, asked: Asked) -> Parsed:
        from aloe_bench.answers.compat.strict2.choice import parse_choice, parse_yes_no

        found = parse_choice(reply, asked.choices) if kind == "choice" else parse_yes_no(reply)
        return Parsed(found.letter, found.rule)

    return read


# A compat parser reads only the kind of question that its benchmark has.
PARSERS: dict[str, Mapping[Kind, Parser]] = {
    "strict": {
        "choice": lambda reply, asked: parse_choice(reply, asked.choices, finish=asked.finish),
        "yes_no": lambda reply, asked: parse_yes_no(reply, asked.question, finish=asked.finish),
    },
    "strict2": {"choice": _strict2("choice"), "yes_no": _strict2("yes_no")},
    "vlmeval": {"choice": lambda reply, asked: parse_choice_vlmeval(reply, asked.choices)},
    "probmed": {"yes_no": lambda reply, asked: parse_yes_no_probmed(reply)},
}


def parser_id(name: str) -> str:
    """Return the name and version written into the header; "strict2" is version 2, whatever comes after."""
    return "strict2-2" if name == "strict2" else f"{name}-{VERSION}"


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


def grade_open(reply: str, finish: Finish = "stop") -> Score:
    """Return the score of a reply to an open question before a jury has seen it; no answer is a wrong one.

    A reply that ended at the token limit or in its reasoning, with nothing to show to a jury, was cut.
    """
    if open_answer(reply) is None:
        cut = finish == "length" or without_reasoning(reply) is None
        return Score(0.0, None, f"{UNREAD}no answer", outcome="cut" if cut else "unread")
    return Score(value=None, parsed=None, rule="unjudged", outcome="answered")


def graded_open(prediction: Prediction, jury: Score) -> Score:
    """Return the jury's score with its outcome: refused if it is 0 and the answer begins with a refusal."""
    first = re.split(r"[.!?。！？\n]", (open_answer(prediction.text or "") or "").strip(), maxsplit=1)[0]
    why = refusal(first) if jury.value == 0 else None
    return replace(jury, outcome="refused" if why else "answered", refusal=why)


def grade(sample: Sample, prediction: Prediction, parser: str = "strict") -> Score:
    """Return the score of one reply; value None if the call failed or a jury has yet to grade it."""
    if prediction.finish == "error" or prediction.text is None:
        return Score(value=None, parsed=None, rule="failed", outcome="failed")
    if is_filtered(prediction):
        return Score(0.0, None, f"{UNREAD}filtered", outcome="filtered")
    if sample.kind == "open":
        return grade_open(prediction.text, prediction.finish)
    if prediction.option_logprobs:
        likeliest = _likeliest(sample, prediction)
        return Score(float(likeliest == sample.target), likeliest, "logprob", outcome="answered")
    parsed = PARSERS[parser][sample.kind](prediction.text, Asked(sample.question, sample.choices, prediction.finish))
    if parsed.letter is None:
        outcome = outcome_of_unread(prediction, parsed.rule)
        why = refusal(prediction.text) if outcome == "refused" else None
        return Score(0.0, None, f"{UNREAD}{parsed.rule}", outcome=outcome, refusal=why)
    right = parsed.letter in (sample.target, BOTH)
    return Score(float(right), parsed.letter, parsed.rule, outcome="answered")


def _likeliest(sample: Sample, prediction: Prediction) -> str | None:
    """Return the letter (or word) of the likeliest option, ties going to the first; options may be scored as text."""
    if sample.kind != "choice":
        return prediction.text
    scores = prediction.option_logprobs
    return LETTERS[max(range(len(scores)), key=scores.__getitem__)]
