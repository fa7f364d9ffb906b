"""How replies ended, counted in every cell: six outcomes, what they leave open, and what has no rank."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aloe_bench.answers.outcome import outcome_of
from aloe_bench.core import Cell, Outcome, Prediction, Record, Sample
from aloe_bench.evaluation.cells import cell, task_cells
from aloe_bench.evaluation.outcomes import cautions, is_cut_often, is_ranked, lopsided
from aloe_bench.evaluation.runlog import read_run, record_from_json, record_to_json
from tests.conftest import closed_rows
from tests.evaluation.test_run import only_run
from tests.support.awkward_server import awkward_server, chat, openai_error

# What comes back, how it ended, in the back end's words; and what it is.
REPLIES: dict[Outcome, tuple[str | None, str, str | None]] = {
    "answered": ("A", "stop", "stop"),
    "refused": ("I'm sorry, I cannot help with that.", "stop", "stop"),
    "filtered": ("", "stop", "content_filter"),
    "cut": ("First, the shape of the", "length", "length"),
    "unread": ("It is a picture.", "stop", "stop"),
    "failed": (None, "error", None),
}


def made(index: int, outcome: Outcome, target: str = "A", options: tuple[str, ...] = ("x", "y"), **tags: str) -> Record:
    from aloe_bench.answers.score import grade

    text, finish, reason = REPLIES[outcome]
    prediction = Prediction(f"s{index}", text, finish, finish_reason=reason)  # type: ignore[arg-type]
    sample = Sample(f"s{index}", "choice", "Which?", target, f"c{index}", choices=options)
    return Record(
        index, f"s{index}", "choice", target, f"c{index}", tags, None, prediction, grade(sample, prediction),
        options=options,
    )  # fmt: skip


def cells(records: list[Record], **spec: Any) -> dict[str, Cell]:
    from dataclasses import asdict

    from aloe_bench.facts import CellSpec, Facts

    facts = Facts(cells=(CellSpec("it", **spec),))
    return task_cells({"run_id": "r", "task": {"name": "t", "facts": json.loads(json.dumps(asdict(facts)))}}, records)


def test_the_six_outcomes_of_a_cell_add_up_and_bound_what_is_not_known():
    ends = ["answered"] * 5 + ["refused", "filtered", "filtered", "cut", "unread"]
    records = [made(i, end) for i, end in enumerate(ends)]  # type: ignore[arg-type]
    (found,) = cells(records).values()
    assert (found.answered, found.refused, found.filtered, found.cut, found.unread, found.failed) == (5, 1, 2, 1, 1, 0)
    assert (found.value, found.bounds, found.unread_by) == (0.5, (0.5, 0.8), {"nothing-found": 1})

    (found,) = cells([*records, made(10, "failed")]).values()
    assert found.value is None and found.failed == 1
    assert found.bounds == pytest.approx((5 / 11, 9 / 11))


def test_nothing_lost_has_no_bounds():
    (found,) = cells([made(0, "answered"), made(1, "unread"), made(2, "refused")]).values()
    assert (found.value, found.bounds) == (pytest.approx(1 / 3), None)


def test_bounds_are_averaged_as_the_value_is():
    records = [made(0, "cut", part="a"), *(made(i, "answered", part="b") for i in range(1, 4))]
    (macro,) = cells(records, average="macro", over="part").values()
    assert (macro.value, macro.bounds) == (0.5, (0.5, 1.0))
    weighted = [replace(r, tags={"w": w}) for r, w in zip(records, "3111", strict=True)]
    (found,) = cells(weighted, weight="w").values()
    assert (found.value, found.bounds) == (0.5, (0.5, 1.0))


def test_a_unit_is_open_only_where_its_other_questions_leave_it_so():
    wrong = made(1, "answered", "B")
    pairs = [made(0, "cut", unit="p"), replace(wrong, tags={"unit": "p"}),
             made(2, "cut", unit="q"), made(3, "answered", unit="q"), made(4, "answered", unit="r")]  # fmt: skip
    (found,) = cells(pairs, unit=("unit",)).values()
    assert (found.n, found.cut, found.answered) == (3, 2, 1)
    assert found.bounds == pytest.approx((1 / 3, 2 / 3))


@pytest.mark.parametrize(
    ("cut", "unread", "marked", "ranked"),
    [(10, 0, False, True), (11, 0, True, True), (50, 0, True, True), (51, 0, True, False), (0, 200, False, True),
     (0, 201, False, False)],
)  # fmt: skip
def test_over_1_percent_cut_marks_and_over_5_or_20_unread_have_no_rank(cut, unread, marked, ranked):
    numbers = {"n": 1000, "cut": cut, "unread": unread}
    assert (is_cut_often(numbers), is_ranked(numbers)) == (marked, ranked)


def test_the_caution_names_cells_the_first_reply_and_what_to_try():
    records = [made(i, "unread" if i < 3 else "cut" if i < 4 else "answered") for i in range(10)]
    cut, unread = cautions(cells(records), records)
    assert "it 1 of 10 (10.0 %)" in cut and "no rank" in cut and "--max-new-tokens" in cut
    assert "it 3 of 10 (30.0 %)" in unread and "no rank and no drop" in unread
    assert 's0 (nothing-found): "It is a picture."' in unread and "--answer text" in unread


def test_a_quoted_reply_is_short_and_moves_no_cursor():
    records = [replace(made(i, "unread"), prediction=Prediction("s", f"\x1b[2Jwell\n{'so ' * 100}", "stop"))
               for i in range(3)]  # fmt: skip
    (text,) = cautions(cells(records), records)
    assert "\x1b" not in text and "\n" not in text and len(text) < 600


def test_records_of_before_outcomes_say_what_they_show():
    for outcome in REPLIES:
        old = record_to_json(made(0, outcome))
        old["score"].pop("outcome")
        old["score"].pop("refusal", None)
        assert outcome_of(record_from_json(old)) == outcome


def test_a_refusal_keeps_its_reason():
    from aloe_bench.answers.score import grade

    sample = Sample("s", "choice", "Which?", "A", "c", choices=("x", "y"))
    asked = {"I cannot see the image.": "cannot-tell", "I cannot provide medical advice.": "policy", "A": None}
    for text, why in asked.items():
        assert grade(sample, Prediction("s", text, "stop")).refusal == why


def test_unread_replies_where_one_answer_is_right_are_told():
    healthy = [made(i, "unread" if i < 12 else "answered", "AB"[i % 2], ("No, normal", "nodule")[:: 1 - 2 * (i % 2)])
               for i in range(20)]  # fmt: skip
    others = [made(20 + i, "answered", "AB"[i % 2], ("nodule", "No, normal")[:: 1 - 2 * (i % 2)]) for i in range(180)]
    (told,) = lopsided([*healthy, *others])
    assert '12 of 20 (60.0 %) where the right answer is "No, normal", 0 of 180 (0.0 %)' in told
    even = [made(i, "unread" if i % 5 == 0 else "answered", "AB"[i % 2]) for i in range(200)]
    assert lopsided(even) == []


def test_a_cell_of_no_record_has_no_share():
    assert is_ranked({"n": 0, "cut": 0, "unread": 0}) and cell([], "r").bounds is None


def counted(folder: Path) -> Counter[str]:
    """Count by what is in the log: the finish, and the text that the mock gives."""
    kinds = {None: "failed", "": "filtered"}
    found: Counter[str] = Counter()
    for record in read_run(folder)[1]:
        text = record.prediction.text
        sorry = "refused" if text and "sorry" in text else "unread" if text and "quality" in text else "answered"
        found[kinds.get(text) or ("cut" if record.prediction.finish == "length" else sorry)] += 1
    return found


def test_every_planted_rate_is_counted_exactly(quick, closed, tmp_path):
    root = closed(closed_rows(200))
    planted = "accuracy=.8,failure=.05,filtered=.1,cut=.2,refusal=.1,mumble=.1"
    done = quick("run", "--model", "mock", "--tasks", "careqa_vision_mcq", "--allow-partial", "--data-root", root,
                "--model-args", planted, "--max-failed", 1, "--json")  # fmt: skip
    found = json.loads(done.stdout)[0]["cells"]["overall"]
    seen = counted(only_run(tmp_path / "runs"))
    assert {name: found[name] for name in REPLIES} == {name: seen[name] for name in REPLIES}
    assert all(seen[name] > 3 for name in REPLIES)
    assert found["shares"]["cut"] == seen["cut"] / 200 and found["ranked"] is False


def test_a_server_that_cuts_filters_and_refuses_is_counted_exactly(quick, closed, tmp_path):
    def behave(body: Any, turn: int) -> Any:
        said = json.dumps(body["messages"])
        number = int(said.split("Which one is number ")[1].split("?")[0])
        return (
            chat("A"), chat("I'm sorry, I cannot help with that."), chat("", "content_filter"),
            chat("First, the", "length"), chat("It is a picture."), chat("", "stop", reasoning_content="so B"),
            chat("B", "eos_token"), openai_error("filtered", code="content_filter"),
        )[number % 8]  # fmt: skip

    root = closed(closed_rows(40))
    with awkward_server(behave) as served:
        done = quick("run", "--model", "m", "--base-url", served.url, "--tasks", "careqa_vision_mcq", "--json",
                    "--allow-partial", "--data-root", root)  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)[0]["cells"]["overall"]
    wanted = {"answered": 10, "refused": 5, "filtered": 10, "cut": 5, "unread": 10, "failed": 0}
    assert {name: found[name] for name in wanted} == wanted
    assert found["value"] == 5 / 40 and found["bounds"] == [0.125, 0.125 + 15 / 40]
