"""The compat parsers `first-letter` and `exact-match`: replies taken for a bare letter, as two public tools do."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

from aloe_bench.answers.strict.reading import Parsed

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_OPENINGS = ("", "(", "option ", "the answer is ")


def parse_first_letter(reply: str, letters: Sequence[str]) -> Parsed:
    """Return what MMStar's `exact_match` accepts (as in lmms-eval, tasks/mmstar/utils.py), up to 14 options.

    Its faults are kept: case is ignored, so that "A mass ..." and "benign" are A and B; nothing else of the reply is
    looked at. With more options it accepts two letters for one reply ("Option C" is O too); here the first is read.
    """
    said = reply.lower().strip().replace("\n", " ")
    for opening in _OPENINGS:
        char = said[len(opening) : len(opening) + 1]
        if said.startswith(opening) and char and char.upper() in letters:
            return Parsed(char.upper(), f"first-letter{f': {opening.strip()}' if opening else ''}")
    return Parsed(None, "first-letter-none")


def parse_exact(reply: str, answers: Sequence[str]) -> Parsed:
    """Return the answer that the reply's first line is, but for case, ASCII punctuation and blanks around it.

    As `mmlu_generative` of lm-evaluation-harness: three filters, then `exact_match` without case and punctuation. Only
    "\\n" ends its first line.
    """
    line = re.findall(r"^(.*?)(?=\n|$)", reply)
    said = re.findall(r"^(.*?)\s*$", line[0].strip() if line else "")
    plain = (said[0].strip() if said else "").lower().translate(_NO_PUNCTUATION)
    found = next((answer for answer in answers if answer.lower() == plain), None)
    return Parsed(found, "exact-match" if found else "exact-match-none")
