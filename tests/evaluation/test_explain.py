"""`compare --explain`: parts that add up exactly, and factors that were planted are found again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from aloe_bench.answers.score import grade, parser_id
from aloe_bench.boards.explain import explain
from aloe_bench.core import Prediction, Record, Sample
from aloe_bench.evaluation.runlog import append, create_run

Change = Callable[[int], bool]
N = 60
LIMIT_WORDS = 4


def sample(i: int) -> Sample:
    letter, choices = "ABCD"[i % 4], ("w", "x", "y", "z")
    return Sample(f"item-{i}", "choice", f"Which one is number {i}?", letter, f"image-{i}", choices=choices)


def record(i: int, parser: str, right: bool, cut: bool) -> Record:
    """A reply in a sentence, which `first-letter` does not read; a cut one ends before its letter."""
    one = sample(i)
    letter = one.target if right else "ABCD"[(i + 1) % 4]
    text = "Looking closely at it, " if cut else f"Looking closely at it, the answer is {letter}."
    said = Prediction(one.id, text, "length" if cut else "stop", output_tokens=LIMIT_WORDS if cut else 9)
    score = grade(one, said, parser)
    return Record(i, one.id, one.kind, one.target, one.cluster, {}, None, said, score, one.question, one.choices)


@pytest.fixture
def run(tmp_path) -> Callable[..., Path]:
    def write(
        name: str, rows: range = range(N), parser: str = "strict", wrong: Change = lambda i: False,
        cut: Change = lambda i: False,
    ) -> Path:  # fmt: skip
        folder = tmp_path / name
        folder.mkdir()
        task = {"name": "own", "version": 1, "data_sha256": "0"}
        header = {"schema": 2, "run_id": name, "task": task, "model": {"name": "m"}, "parser": parser_id(parser)}
        create_run(folder, header | {"n": len(rows), "decoding": {"max_new_tokens": 9}, "protocol": "generate"})
        append(folder, [record(i, parser, not wrong(i), cut(i)) for i in rows])
        return folder

    return write


def parts(first: Path, second: Path) -> dict[str, Fraction]:
    found = explain(first, second)
    assert sum(part.points for part in found.parts) == found.second - found.first
    return {part.name: part.points * N for part in found.parts}


@pytest.mark.parametrize(
    ("planted", "part", "items"),
    [
        ({"wrong": lambda i: i % 10 == 0}, "the rest", -6),
        ({"cut": lambda i: i % 4 == 0}, "cut", -15),
        ({"parser": "first-letter"}, "parser", -60),
        ({"parser": "exact-match"}, "parser", -60),
    ],
)
def test_a_planted_factor_is_the_whole_difference_in_its_own_part(run, planted, part, items):
    found = parts(run("first"), run("second", **planted))
    assert found == {"rows": 0, "parser": 0, "cut": 0, "the rest": 0} | {part: items}


def test_other_rows_are_told_from_answers(run):
    # The ten rows that only the second run has are all wrong: 50 of 60 against 50 of 50.
    found = parts(run("first", rows=range(50)), run("second", wrong=lambda i: i >= 50))
    assert found == {"rows": -10, "parser": 0, "cut": 0, "the rest": 0}


def test_all_four_at_once_add_up_and_each_is_recovered(run):
    changes = {"parser": "exact-match", "wrong": lambda i: i % 10 == 1, "cut": lambda i: i % 10 == 2}
    second = run("second", rows=range(10, N), **changes)
    first = run("first", wrong=lambda i: i < 10)
    found = parts(first, second)
    # Of the 50 in common five are wrong in the second, five are cut, and 40 right and unread; ten others were wrong.
    assert found == {"rows": 10, "parser": -48, "cut": -6, "the rest": -6}


def test_one_id_with_another_question_is_another_row(run):
    first, second = run("first"), run("second")
    moved = replace(record(0, "strict", right=False, cut=False), question="Another question?")
    append(second, [moved])
    assert parts(first, second)["rows"] == Fraction(-1)


def test_the_command_names_what_differs_in_the_headers(run, quick):
    first, second = run("first"), run("second", parser="exact-match", rows=range(30))
    done = quick("compare", "--explain", first, second)
    assert done.returncode == 0 and "strict-3" in done.stdout and "exact-match-3" in done.stdout, done.stderr
    found = json.loads(quick("compare", "--explain", first, second, "--json").stdout)
    assert set(found["headers"]) == {"parser", "n"}
    assert sum(Fraction(part["exact_points"]) for part in found["parts"]) == Fraction(found["exact_points"])
    assert quick("compare", "--explain", first, second, "--by", "x").returncode == 2
