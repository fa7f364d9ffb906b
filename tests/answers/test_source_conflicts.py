"""Where our letter and a source's own reading of the same real reply differ: each is listed with its cause.

`letter_conflicts.jsonl` holds a line for each, read by hand: who is right, and why the readings differ.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from aloe_bench.answers.strict.choice import parse_choice
from tests.answers.test_real_replies import REPLIES, ROOT, labels, rows, sha

pytestmark = pytest.mark.skipif(not REPLIES.is_dir(), reason=f"no real replies in {REPLIES}")

# Said in docs/replies.md too.
CAUSES = {
    "later-question": "the model made up a next question, and the source reads the answer to that",
    "not-said": "the source names an option that the reply does not",
    "contradicts-itself": "the reply calls one option the answer and works out another",
}


def read_by_source(row: dict[str, Any]) -> str | None:
    said = row["repo_extraction"]
    letters = [chr(65 + at) for at in range(len(row["choices"]))]
    return said if said in letters else None


def test_the_listed_differences_are_read_as_listed_and_counted_in_the_docs():
    listed = labels("letter_conflicts.jsonl")
    page = (ROOT / "docs" / "replies.md").read_text(encoding="utf-8")
    for cause, number in Counter((one["source"], one["cause"]) for one in listed.values()).items():
        source = {"mathvista": "MathVista", "worldmedqa-v": "WorldMedQA-V"}[cause[0]]
        assert f"| {source} | {CAUSES[cause[1]]} | {number} |" in page
    for row in rows():
        if one := listed.pop(sha(row["reply"], row["choices"]), None):
            assert (parse_choice(row["reply"], row["choices"]).letter, read_by_source(row)) == (
                one["ours"],
                one["theirs"],
            )
            assert one["cause"] in CAUSES and one["right"] in ("ours", "theirs", "neither")
    assert not listed


@pytest.mark.slow
def test_every_difference_is_listed():
    listed = labels("letter_conflicts.jsonl")
    found = [
        row
        for row in rows()
        if (theirs := read_by_source(row))
        and parse_choice(row["reply"], row["choices"]).letter not in (theirs, None)
        and sha(row["reply"], row["choices"]) not in listed
    ]
    assert not found, [(row["source"], row["id"], row["reply"][:80]) for row in found]
