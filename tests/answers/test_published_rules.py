"""The parsers that keep others' rules: row by row what those rules read, on replies written down and on real ones."""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from aloe_bench.answers.compat.probmed import BOTH
from aloe_bench.answers.parsers import Asked
from aloe_bench.answers.score import shipped_parser
from aloe_bench.answers.strict.reading import Parsed
from tests.answers.test_real_replies import REPLIES, rows

BRAIN = ["Glioma", "Meningioma", "Pituitary tumor", "No tumor"]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SAMPLE = slice(0, None, 8)  # 2,024 of 16,190

real = pytest.mark.skipif(not REPLIES.is_dir(), reason=f"no real replies in {REPLIES}")


def read(parser: str, reply: str, choices: Sequence[str] = BRAIN, kind: str = "choice") -> Parsed:
    # A test says its kind as a plain word, which the table has as a literal.
    return shipped_parser(parser).reads[kind](reply, Asked("", choices, "stop"))  # type: ignore[index]


@pytest.mark.parametrize(
    ("reply", "first", "exact", "mmmu", "lmeval"),
    [
        ("B", "B", "B", "B", None),
        ("b.", "B", "B", None, None),
        (" (B)\nbecause", "B", "B", "B", "B"),
        ("B. Meningioma", "B", None, None, "B"),
        ("The answer is C.", "C", None, "C", None),
        ("The answer is (C)", None, None, "C", "C"),
        ("Option D", "D", None, "D", None),
        ("Answer: D", "A", None, "D", "D"),
        ("A tumour of the meninges, so B", "A", None, "B", None),
        ("Not (A) but (C). (B) is wrong.", None, None, "B", "B"),
        ("It is a meningioma", None, None, None, "B"),
        ("In my view it is surely a glioma", None, None, "A", "A"),
        ("Glioma? No: Because", None, None, None, "A"),
        ("No: Because", None, None, None, "B"),
        ("(E)", None, None, None, None),
        ("", None, None, None, None),
    ],
)
def test_what_each_rule_reads_worked_out_by_hand_from_its_published_form(reply, first, exact, mmmu, lmeval):
    found = [read(parser, reply).letter for parser in ("first-letter", "exact-match", "mmmu", "lm-eval")]
    assert found == [first, exact, mmmu, lmeval]


def test_where_the_published_script_draws_a_letter_nothing_is_read():
    assert read("mmmu", "I cannot tell.") == Parsed(None, "mmmu-by-lot")


def test_exact_match_reads_yes_and_no():
    said = ("Yes.", "no", "No tumor", "Yes, there is")
    assert [read("exact-match", reply, (), "yes_no").letter for reply in said] == ["yes", "no", None, None]


def agree(parser: str, accepts: Callable[[int, str, str], bool]) -> None:
    """Check that the rule says right where its source does, whichever option were the answer.

    `accepts` gets the row's place, its reply and a letter.
    """
    for at, row in enumerate(rows()[SAMPLE]):
        letter = read(parser, row["reply"], row["choices"]).letter
        for target in LETTERS[: len(row["choices"])]:
            assert accepts(at, row["reply"], target) == (letter == target), (row["reply"][-200:], letter, target)


@real
@pytest.mark.slow
def test_2000_real_replies_score_as_by_lm_evals_own_filters_and_metric():
    extraction = pytest.importorskip("lm_eval.filters.extraction")
    metrics = pytest.importorskip("lm_eval.api.metrics")
    sample = rows()[SAMPLE]
    choices = [{"choices": row["choices"]} for row in sample]

    def filtered(*filters: Any) -> list[str]:
        replies = [[row["reply"]] for row in sample]
        for one in filters:
            replies = one.apply(replies, choices)
        return [said for (said,) in replies]

    def is_match(said: str, target: str) -> bool:
        match = metrics.exact_match_hf_evaluate([said], [target], ignore_case=True, ignore_punctuation=True)
        return bool(match["exact_match"])

    choice = filtered(extraction.MultiChoiceRegexFilter(r"(\([A-Z]\))", -1, ignore_case=True, ignore_punctuation=True))
    line = filtered(
        extraction.RegexFilter(r"^(.*?)(?=\n|$)"), extraction.WhitespaceFilter(), extraction.RegexFilter(r"^(.*?)\s*$")
    )
    agree("lm-eval", lambda at, reply, target: is_match(choice[at], f"({target})"))
    agree("exact-match", lambda at, reply, target: is_match(line[at], target))


@real
@pytest.mark.slow
def test_2000_real_replies_are_read_as_by_mmmus_own_function(monkeypatch):
    theirs = pytest.importorskip("lm_eval.tasks.mmmu.utils")
    monkeypatch.setattr(theirs, "random", types.SimpleNamespace(choice=lambda letters: None))  # no letter by lot
    for row in rows()[SAMPLE]:
        letters = LETTERS[: len(row["choices"])]
        found = theirs.parse_multi_choice_response(
            row["reply"], list(letters), dict(zip(letters, row["choices"], strict=True))
        )
        assert read("mmmu", row["reply"], row["choices"]).letter == found, row["reply"][-200:]


@real
@pytest.mark.slow
def test_2000_real_replies_score_as_by_mmstars_rule_written_down_again():
    def accepts(at: int, reply: str, target: str) -> bool:
        said = reply.lower().strip().replace("\n", " ") + " " * 20
        places = {"": 0, "(": 1, "option ": 7, "the answer is ": 14}
        return any(said[:n] == words and said[n] == target.lower() for words, n in places.items())

    agree("first-letter", accepts)


@real
@pytest.mark.slow
def test_2000_real_replies_score_as_by_probmeds_rule_written_down_again():
    for row in rows()[SAMPLE]:
        said = row["reply"].strip()
        letter = read("probmed", row["reply"], (), "yes_no").letter
        for word in ("Yes", "No"):
            accepted = word in said or said.lower() in (word.lower(), f"{word.lower()}.")
            assert accepted == (letter in (word.lower(), BOTH)), row["reply"][:200]
