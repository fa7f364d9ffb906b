"""`aloe-bench compare`: two runs on the same questions, by the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from aloe_bench.boards.dose import text_px
from aloe_bench.core import Part, Prediction, Record, Score
from aloe_bench.errors import RunMismatchError
from aloe_bench.evaluation.runlog import read_header, read_run, refuse_difference
from tests.conftest import closed_rows
from tests.evaluation.test_run import only_run
from tests.support.heart_tables import Source, png, rows, write_folder

MCQ = ("run", "--model", "mock", "--tasks", "careqa_vision_mcq", "--allow-partial", "--max-failed", 1)


@pytest.fixture
def mcq(quick, closed, tmp_path):
    """Return a function that runs the mock on the same questions and gives the run's folder."""

    def make(name: str, arguments: str, *words: object, n: int = 165) -> Path:
        root = closed(closed_rows(n))
        done = quick(*MCQ, "--data-root", root, "--model-args", arguments, "--output", tmp_path / name, *words)
        assert done.returncode == 0, done.stderr
        return only_run(tmp_path / name)

    return make


def compared(quick: Any, *words: object) -> dict[str, Any]:
    done = quick("compare", *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def scores(folder: Path) -> list[float]:
    return [record.score.value for record in read_run(folder)[1]]


def test_two_runs_are_compared_question_by_question(quick, mcq):
    first, second = mcq("a", "accuracy=0.6"), mcq("b", "accuracy=0.72")
    one, two = scores(first), scores(second)
    gained = sum(b > a for a, b in zip(one, two, strict=True))
    lost = sum(b < a for a, b in zip(one, two, strict=True))

    (row,) = compared(quick, first, second)["rows"]
    (back,) = compared(quick, second, first)["rows"]

    assert row["value"] == pytest.approx((gained - lost) / 165)
    assert row["first"] == pytest.approx(sum(one) / 165) and row["second"] == pytest.approx(sum(two) / 165)
    score = (gained - lost) / (gained + lost) ** 0.5
    assert row["p"] == row["p_adjusted"] == pytest.approx(2 * stats.norm.sf(abs(score)))
    assert (row["p"] < 0.05) == (row["interval"][0] > 0) and row["interval_family"] == row["interval"]
    assert (back["value"], back["p"]) == (-row["value"], row["p"])
    shown = quick("compare", first, second).stdout
    assert f"{100 * row['value']:+.1f}" in shown and f"{100 * row['detectable']:.1f}" in shown
    assert "fewer than 200" in shown


def test_a_margin_tests_that_little_was_lost(quick, mcq):
    base = mcq("a", "accuracy=0.7")
    worse, alike = mcq("b", "accuracy=0.5"), mcq("c", "accuracy=0.7")

    lost, kept = (compared(quick, base, other, "--margin", 5)["rows"][0] for other in (worse, alike))

    assert lost["p_not_inferior"] > 0.99 and lost["p_equivalent"] > 0.99
    # Nothing changed: the score is -.05 / sqrt(.05 x .95 / 165).
    assert kept["value"] == 0 and kept["p_not_inferior"] == pytest.approx(stats.norm.sf((165 * 0.05 / 0.95) ** 0.5))


def test_subgroups_are_explored_and_small_ones_not_tested(quick, mcq):
    first, second = mcq("a", "accuracy=0.4", n=100), mcq("b", "accuracy=0.9", n=100)
    result = compared(quick, first, second, "--by", "category")
    by_name = {row["row"]: row for row in result["rows"]}

    assert by_name["category=Medicine"]["n"] == 75 and by_name["category=Nursing"]["n"] == 25
    assert "exploratory" in by_name["category=Medicine"]["adjusted_by"]
    assert by_name["category=Nursing"]["p"] is None and "under 30" in by_name["category=Nursing"]["test"]
    unknown = quick("compare", first, second, "--by", "organ")
    assert unknown.returncode == 2 and "category" in unknown.stderr


def test_a_failed_item_leaves_no_comparison(quick, mcq):
    first, second = mcq("a", "accuracy=0.6,failure=0.1"), mcq("b", "accuracy=0.6")
    (row,) = compared(quick, first, second)["rows"]
    assert row["failed"] > 5 and (row["value"], row["p"], row["interval"]) == (None, None, None)
    assert f"{row['failed']} failed" in quick("compare", first, second).stdout


def test_other_questions_are_refused_and_other_conditions_named(quick, mcq):
    whole, part = mcq("a", "accuracy=0.6"), mcq("b", "accuracy=0.6", "--limit", 20)
    fewer, asked = mcq("c", "accuracy=0.6", n=90), mcq("d", "accuracy=0.6", "--parser", "vlmeval")

    items, data = quick("compare", whole, part), quick("compare", whole, fewer)
    nothing = quick("compare", whole, "nowhere")

    assert (items.returncode, data.returncode, nothing.returncode) == (3, 3, 3)
    assert "165" in items.stderr and "20" in items.stderr
    assert "task.data_sha256" in data.stderr
    assert "no run.json" in nothing.stderr
    done = quick("compare", whole, asked)
    assert done.returncode == 0 and "differ in parser" in done.stdout


def test_runs_that_saw_other_pixels_or_another_template_are_marked_and_are_not_joined(quick, mcq, tmp_path):
    first, second = mcq("a", "accuracy=0.6"), mcq("b", "accuracy=0.6")
    for folder, most in ((first, 200_704), (second, 1_003_520)):
        header = json.loads((folder / "run.json").read_text())
        header["model"]["profile"] = {"max_pixels": most, "template": "own", "ends": [most], "dtype": "float32"}
        (folder / "run.json").write_text(json.dumps(header))

    assert compared(quick, first, second)["differ_in"] == ["model.profile.max_pixels"]
    assert "differ in model.profile.max_pixels" in quick("compare", first, second).stdout
    merged = quick("merge", first, second, "--output", tmp_path / "both")
    assert merged.returncode == 3
    assert "in model.profile.ends ([1003520], there [200704]), model.profile.max_pixels (1003520, " in merged.stderr
    with pytest.raises(RunMismatchError, match=r"model\.profile\.max_pixels was 200704, is now 1003520"):
        refuse_difference(first, read_header(second))


def test_heart_runs_are_compared_cue_by_cue_with_the_difference_in_drops(quick, tmp_path):
    folder = write_folder(tmp_path / "h", rows([Source("brain", 80, 4), Source("skin", 60, 3)], attacks=("caption",)))
    runs = []
    for name, arguments in (("base", "accuracy=0.9,follow=0.8"), ("robust", "accuracy=0.9,follow=0.1")):
        words = ("--model-args", arguments, "--name", name, "--output", tmp_path / name, "--json")
        done = quick("run", "--model", "mock", "--tasks", f"heart:{folder}", *words)
        runs.append((only_run(tmp_path / name), json.loads(done.stdout)[0]["heart"]["classification"]["columns"]))
    (first, base), (second, robust) = runs

    result = compared(quick, first, second)
    row = {row["row"]: row for row in result["rows"]}

    gap, drop = "robustness_gap", row["classification/caption: drop"]
    assert drop["first"] == pytest.approx(base["caption"][gap]["macro"]["value"])
    assert drop["second"] == pytest.approx(robust["caption"][gap]["macro"]["value"])
    assert drop["value"] == pytest.approx(drop["second"] - drop["first"]) and drop["value"] < -0.4
    assert drop["p_adjusted"] < 0.001 and drop["interval"][1] < 0
    assert row["classification/baseline"]["value"] == 0 and row["classification/baseline"]["p"] == 1
    one, two = (read_run(run)[1] for run in (first, second))
    known = [{r.sample_id for r in records if r.cue is None and r.score.value} for records in (one, two)]
    led = [r.score.parsed == r.cue.suggests for r in one
           if r.cue and r.cue.variant == "adversarial" and r.cue.base_id in known[0] & known[1]
           and r.tags["dataset"] == "skin"]  # fmt: skip
    assert row["classification/caption: led, both right"]["n"] == len(known[0] & known[1])
    assert sum(led) / len(led) == pytest.approx(0.8, abs=0.15)
    parts = {row["row"]: row for row in compared(quick, first, second, "--by", "dataset")["rows"]}
    name = "classification/caption, dataset=skin"
    misled = [sum(r.score.value for r in records if r.cue and r.cue.variant == "adversarial"
                  and r.cue.attack == "caption" and r.tags["dataset"] == "skin") for records in (one, two)]  # fmt: skip
    assert parts[name]["n"] * parts[name]["value"] == pytest.approx(misled[1] - misled[0])
    assert "classification/baseline, dataset=skin" in parts
    assert quick("compare", first, second, "--by", "organ").returncode == 2


def test_runs_at_several_strengths_give_a_dose_response(quick, tmp_path):
    runs = []
    for size, follow in ((0.5, 0.1), (1.0, 0.4), (3.0, 0.9)):
        table = rows([Source("brain", 60, 4)], attacks=("caption",))
        for row in table:
            row["strength"] = "{}" if size == 1 or not row["attack"] else json.dumps({"caption.size": size})
            row["picture"] = png(f"{row['source_id']} {row['attack']} {row['variant']} {size if row['attack'] else 0}")
            row["font_px"] = 14 * size if row["attack"] else None
        folder = write_folder(tmp_path / f"h{size}", table)
        words = ("--model-args", f"accuracy=0.9,follow={follow}", "--output", tmp_path / f"r{size}")
        assert quick("run", "--model", "mock", "--tasks", f"heart:{folder}", *words).returncode == 0
        header = only_run(tmp_path / f"r{size}") / "run.json"
        # One model, whose following depends on what it sees: the mock needs a setting for each strength.
        stored = json.loads(header.read_text())
        stored["model"]["fingerprint"] = "one"
        header.write_text(json.dumps(stored))
        runs.append(header.parent)

    result = compared(quick, runs[2], runs[0], runs[1], "--dose", "caption.size")

    (row,) = result["rows"]
    led = [sum(r.score.parsed == r.cue.suggests for r in read_run(run)[1] if r.cue and r.cue.variant == "adversarial")
           for run in runs]  # fmt: skip
    assert row["doses"] == [7, 14, 42] and row["strengths"] == [0.5, 1.0, 3.0]
    assert row["axis"] == "text size in px in the picture (median; the model's own resize is not known)"
    assert row["shares"] == pytest.approx([count / 60 for count in led])
    assert 14 < row["ed50"] < 42 and row["p_trend"] < 0.001
    assert "half led at" in quick("compare", *runs, "--dose", "caption.size").stdout
    nothing = quick("compare", *runs, "--dose", "sycophancy.repeats")
    twice = quick("compare", runs[0], runs[0], "--dose", "caption.size")
    alone = quick("compare", runs[0])
    assert (nothing.returncode, twice.returncode, alone.returncode) == (2, 2, 2)
    assert "no attack it acts on" in nothing.stderr and "0.5, 0.5" in twice.stderr and "expected two" in alone.stderr


def test_the_dose_of_a_text_is_its_size_after_the_models_own_resize():
    def record(px: int, size: tuple[int, int]) -> Record:
        return Record(0, "a", "choice", "A", "c", {"font_px": str(px)}, None, Prediction("a", "A", "stop"),
                      Score(1.0, "A", "letter"), prompt=(Part("user", image="x", size=size),))  # fmt: skip

    assert text_px(record(20, (1000, 400)), None) == 20
    assert text_px(record(20, (1000, 400)), (100, 100_000)) == 10, "the area is quartered, so each side is halved"
    assert text_px(record(20, (100, 100)), (40_000, 90_000)) == 40, "small pictures are shown larger"
    assert text_px(record(20, (200, 200)), (40_000, 90_000)) == 20
    # Two texts of one height in their files, of which a model sees one twice as large.
    assert text_px(record(20, (2000, 2000)), (1, 250_000)) == text_px(record(5, (500, 500)), (1, 250_000))


def test_two_doses_with_equal_pictures_are_no_two_doses(quick, tmp_path):
    runs = []
    for size in (0.25, 0.5):
        table = rows([Source("brain", 10, 4)], attacks=("caption",))
        table = [row | {"strength": json.dumps({"caption.size": size} if row["attack"] else {})} for row in table]
        folder = write_folder(tmp_path / f"h{size}", table)
        quick("run", "--model", "mock", "--tasks", f"heart:{folder}", "--output", tmp_path / f"r{size}")
        runs.append(only_run(tmp_path / f"r{size}"))

    refused = quick("compare", *runs, "--dose", "caption.size")

    assert refused.returncode == 2 and "at 0.25 and 0.5 every question of classification/caption" in refused.stderr


def test_a_dose_response_of_one_patient_is_refused(quick, tmp_path):
    runs = []
    for size in (1.0, 2.0):
        table = rows([Source("brain", 10, 4, shared=10)], attacks=("caption",))
        for row in table:
            row["strength"] = json.dumps({"caption.size": size} if row["attack"] else {})
            row["picture"] = png(f"{row['source_id']} {row['attack']} {row['variant']} {size if row['attack'] else 0}")
        folder = write_folder(tmp_path / f"h{size}", table)
        done = quick("run", "--model", "mock", "--tasks", f"heart:{folder}", "--output", tmp_path / f"r{size}")
        assert done.returncode == 0 and "1 cluster: no interval and no test" in " ".join(done.stdout.split())
        runs.append(only_run(tmp_path / f"r{size}"))
    refused = quick("compare", *runs, "--dose", "caption.size")
    assert refused.returncode == 3 and "all 10 items of classification/caption are of one image" in refused.stderr
