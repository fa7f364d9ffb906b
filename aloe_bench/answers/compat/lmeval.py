"""The compat parser `lm-eval`: that harness's filter for multiple choice, to reproduce its numbers, labelled."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Sequence

from aloe_bench.answers.strict.reading import Parsed
from aloe_bench.core import LETTERS

_BRACKETED = re.compile(r"\([A-Z]\)")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def parse_choice_lmeval(reply: str, choices: Sequence[str]) -> Parsed:
    """Return what `multi_choice_regex` reads as `mmlu_flan_cot_zeroshot` sets it ("flexible-extract").

    The last "(X)" of the reply, an option or not; else the last place where an option's text stands, case and
    punctuation ignored; else the last letter after a colon. Its faults are kept: the text counts inside words and
    wherever it is denied, of two options of one text the later is meant, ": Because" is B, and a text that ends in a
    blank once its punctuation is gone is compared with the letter itself. Source: lm_eval/filters/extraction.py of
    lm-evaluation-harness 0.4.13.
    """
    letters = LETTERS[: len(choices)]
    if bracketed := _BRACKETED.findall(reply):
        return _letter(bracketed[-1], letters, "lmeval-brackets")
    texts = {_bare(text.strip()): letter for text, letter in zip(choices, LETTERS, strict=False)}
    held = re.findall("|".join(map(re.escape, sorted(texts, key=len, reverse=True))), _bare(reply)) if texts else []
    if held and (last := held[-1].strip()):
        return _letter(texts.get(last, last), letters, "lmeval-text")
    if after_colon := re.findall(rf":\s*([{letters}])", reply) if letters else []:
        return _letter(after_colon[-1], letters, "lmeval-colon")
    return Parsed(None, "lmeval-none")


def _bare(text: str) -> str:
    return "".join(char for char in text.lower() if not unicodedata.category(char).startswith("P"))


def _letter(said: str, letters: str, rule: str) -> Parsed:
    """Return what the harness's exact match, without case and punctuation, takes for one of `letters`."""
    plain = said.lower().translate(_NO_PUNCTUATION).upper()
    return Parsed(plain, rule) if len(plain) == 1 and plain in letters else Parsed(None, f"{rule}-no-option")
