"""Before-and-after tables of the miniature: what was read, followed and gained, and how surely."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aloe_bench.miniature.measure import ATTACKS, CLEAN, READABLE, Answers
from aloe_bench.stats.intervals import Share
from aloe_bench.stats.paired import Difference

ANALOGUE = (
    "A model of 0.37 million weights on made-up pictures. How hard the pictures are and how often cues were right "
    "while the base learnt set the size of the collapse: this is an analogue of the paper's experiment, run through "
    "the same code, and no evidence about any real model."
)
LEGEND = (
    "Accuracy in %, pooled over the questions of all modalities, 95 % interval over pictures in brackets (the pages of "
    "`leaderboards` show means over modalities, each with the interval of that mean); cues are adversarial. "
    "*followed*: answers that are the cue's option. *off*: replies that name no option. *restricted*: the likeliest of "
    "the options offered, on a part of the items, and in brackets the accuracy on the same ones. *read*: how often the "
    "same model reads what is "
    f'written in the picture; below {READABLE:.0%} the cell says "not read", for a cue that cannot be read cannot '
    "mislead. Gains are paired over the same items, with the p value of their test."
)
_CUE_NAMES = {"": "none", "caption": "caption in the image", "prompt": "caption in the prompt"}


def before_and_after(before: Answers, after: Answers) -> str:
    """Return the table of two checkpoints, one row a task and cue, in Markdown."""
    head = (
        "task", "cue", "base", "after AR", "gain", "followed", "off", "restricted", "read",
    )  # fmt: skip
    rows = [_row(before, after, task, attack) for task, attack in cells()]
    return markdown(head, rows)


def in_short(before: Answers, after: Answers, task: str) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield cue, accuracy before and after, gain, and how often the cue is read, for the cells of `task`.

    A cell that is not read says so, and has neither accuracy nor gain.
    """
    for attack in (CLEAN, *ATTACKS[task]):
        scores = [
            with_interval(a.accuracy(task, attack)) if a.is_read(task, attack) else "not read" for a in (before, after)
        ]
        change = "" if "not read" in scores else gain(after.gain_over(before, task, attack)).partition(", p")[0]
        yield cue_name(attack), scores[0], scores[1], change, reads(before, after, task, attack)


def cells() -> Iterator[tuple[str, str]]:
    """Yield (task, attack) of every cell, the clean one of each task first."""
    for task, attacks in ATTACKS.items():
        for attack in (CLEAN, *attacks):
            yield task, attack


def cue_name(attack: str) -> str:
    """Return what a table calls the cue of `attack`."""
    return _CUE_NAMES.get(attack, attack)


def _row(before: Answers, after: Answers, task: str, attack: str) -> list[str]:
    both = (before, after)
    followed = " -> ".join(percent(a.followed(task, attack).value) for a in both) if attack else ""
    return [
        task,
        cue_name(attack),
        score(before, task, attack),
        score(after, task, attack),
        gain(after.gain_over(before, task, attack)),
        followed,
        " -> ".join(percent(a.off_option(task, attack).value) for a in both),
        " -> ".join(restricted(a, task, attack) for a in both),
        reads(before, after, task, attack),
    ]


def reads(before: Answers, after: Answers, task: str, attack: str) -> str:
    """Return how often a drawn cue is read, in percent, before and after; "" of others."""
    found = [a.read(task, attack) for a in (before, after)]
    return " -> ".join(percent(each.value) for each in found if each is not None)


def score(answers: Answers, task: str, attack: str) -> str:
    """Return accuracy with its interval, or "not read" with the accuracy behind it."""
    shown = with_interval(answers.accuracy(task, attack))
    if answers.is_read(task, attack):
        return shown
    return f"not read ({shown})"


def restricted(answers: Answers, task: str, attack: str) -> str:
    """Return the option-restricted score, and in brackets exact match on the same items."""
    return f"{percent(answers.restricted(task, attack).value)} ({percent(answers.exact_beside(task, attack).value)})"


def with_interval(share: Share) -> str:
    """Return a share as "76 [71, 80]" in percent."""
    if share.value is None:
        return "–"
    if share.interval is None:
        return percent(share.value)
    low, high = share.interval
    return f"{percent(share.value)} [{percent(low)}, {percent(high)}]"


def gain(difference: Difference) -> str:
    """Return a paired difference in points with interval and p value."""
    if difference.value is None:
        return "–"
    text = f"{100 * difference.value:+.0f}"
    if difference.interval is not None:
        text += f" [{100 * difference.interval[0]:+.0f}, {100 * difference.interval[1]:+.0f}]"
    if difference.p is not None:
        text += ", p < 0.001" if difference.p < 0.001 else f", p = {difference.p:.3f}"
    return text


def percent(value: float | None) -> str:
    """Return `value` in whole percent."""
    return "–" if value is None else f"{100 * value:.0f}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def numbers(before: Answers, after: Answers) -> list[Mapping[str, Any]]:
    """Return the table's figures unrounded, one object a cell."""
    found: list[Mapping[str, Any]] = []
    for task, attack in cells():
        difference = after.gain_over(before, task, attack)
        found.append(
            {
                "task": task,
                "attack": attack,
                "n": difference.n,
                "base": _figures(before, task, attack),
                "after": _figures(after, task, attack),
                "gain": difference.value,
                "gain_interval": difference.interval,
                "p": difference.p,
                "test": difference.test,
            }
        )
    return found


def _figures(answers: Answers, task: str, attack: str) -> Mapping[str, Any]:
    accuracy, read = answers.accuracy(task, attack), answers.read(task, attack)
    return {
        "accuracy": accuracy.value,
        "interval": accuracy.interval,
        "followed": answers.followed(task, attack).value if attack else None,
        "off_option": answers.off_option(task, attack).value,
        "restricted": answers.restricted(task, attack).value,
        "exact_beside_restricted": answers.exact_beside(task, attack).value,
        "read": None if read is None else read.value,
        "is_read": answers.is_read(task, attack),
    }
