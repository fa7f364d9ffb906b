"""The compat parser `mmmu`: that benchmark's own script, to reproduce its numbers, labelled wherever used."""

from __future__ import annotations

from collections.abc import Sequence

from aloe_bench.answers.strict.reading import Parsed
from aloe_bench.core import LETTERS


def parse_choice_mmmu(reply: str, choices: Sequence[str]) -> Parsed:
    """Return what MMMU's `parse_multi_choice_response` reads, without its last resort: a letter drawn by lot.

    Of the options in brackets, the one whose last mention comes last; else of the upper-case letters between blanks;
    else, in replies of more than five words, of the options' texts. Its faults are kept: letters that are only
    discussed count, "A" is the article too, a text counts inside words. Source: eval/utils/eval_utils.py of MMMU, as
    lm-evaluation-harness has it (tasks/mmmu/utils.py).
    """
    for char in ",.!?;:'":
        reply = reply.strip(char)
    said = f" {reply} "
    ways = (
        ("mmmu-brackets", said, [f"({letter})" for letter in LETTERS[: len(choices)]]),
        ("mmmu-letter", said, [f" {letter} " for letter in LETTERS[: len(choices)]]),
        ("mmmu-text", said.lower(), [text.lower() for text in choices]),
    )
    for rule, text, names in ways[: 3 if len(said.split()) > 5 else 2]:
        last = [text.rfind(name) for name in names]
        if max(last, default=-1) >= 0:
            return Parsed(LETTERS[last.index(max(last))], rule)
    return Parsed(None, "mmmu-by-lot")
