"""The compat parser `vlmeval`: another tool's published rule, to reproduce its numbers, labelled wherever used."""

from __future__ import annotations

import re
from collections.abc import Sequence

from aloe_bench.answers.strict.reading import Parsed

_VLMEVAL_REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)


def parse_choice_vlmeval(reply: str, choices: Sequence[str]) -> Parsed:
    """Return what VLMEvalKit's `can_infer` reads: compat, to reproduce published numbers, never to score new runs.

    Its faults are kept: the article in "the answer is a ..." is letter A, reasoning is not cut, lower case is unread,
    option text matches inside words. Its letter Z (refusal) is `None` here. Rule: one option letter, upper case, among
    the last four words; else its pull request 1552's "answer is [A-D]"; else the one option text contained.
    """
    if "Failed to obtain answer via API" in reply or any(r in reply for r in _VLMEVAL_REFUSALS):
        return Parsed(None, "vlmeval-refusal")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(choices)]
    words = reply.translate(str.maketrans(".()[],:;!*#{}", " " * 13)).split()
    named = [letter for letter in letters if letter in words]
    if len(named) == 1 and words.index(named[0]) > len(words) - 5:
        return Parsed(named[0], "vlmeval-letter")
    if not named and "Z" in words:
        return Parsed(None, "vlmeval-refusal")
    verbose = re.search(r"(?i)answer\s{1,99}is\s{1,99}\*{0,99}([ABCD])", reply)
    if verbose and verbose.group(1).upper() in letters:
        return Parsed(verbose.group(1).upper(), "vlmeval-verbose")
    if len(reply) > 2 * sum(map(len, choices)):
        return Parsed(None, "vlmeval-too-long")
    held = [letter for letter, text in zip(letters, choices, strict=False) if text.lower() in reply.lower()]
    return Parsed(held[0], "vlmeval-text") if len(held) == 1 else Parsed(None, "vlmeval-none")
