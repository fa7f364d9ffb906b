"""Image controls: the same questions over a grey picture and over another one, beside the run, in none of its cells."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from aloe_bench.boards.build import evidence
from aloe_bench.boards.compare import compared as compare_sides
from aloe_bench.boards.compare import published_side
from aloe_bench.boards.verify import result_text, verify
from aloe_bench.bridges.exchange.eee import SECTIONS, export_eee
from aloe_bench.core import Prediction, Record, Score
from aloe_bench.evaluation.controls import ARMS, controls_of
from aloe_bench.evaluation.reliance import controls_section
from aloe_bench.evaluation.runlog import read_controls, read_lines, read_records
from aloe_bench.files import write_atomic
from aloe_bench.heart.task import open_task
from aloe_bench.reporting.figures import figures
from aloe_bench.reporting.read import question_sets
from tests.evaluation.test_run import only_run
from tests.support.heart_source import write_source

MOCK = ("--model", "mock", "--backend", "mock", "--model-args", "accuracy=0.9,blank=0.3,stay=0.25,follow=0.5")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from aloe_bench import attack

    root = tmp_path_factory.mktemp("controls")
    patients = {i: f"p{i // 2}" for i in range(40)}
    attack(write_source(root / "source", 40, patients=patients), root / "table", attacks="prompt,legend")
    return root / "table"


def test_controls_stand_beside_a_run_and_change_none_of_its_numbers(quick, table, tmp_path):
    plain = quick("run", *MOCK, "--tasks", f"heart:{table}", "--output", tmp_path / "plain", "--json")
    both = quick("run", *MOCK, "--tasks", f"heart:{table}", "--output", tmp_path / "both", "--json",
                 "--controls", "blank,swap")  # fmt: skip

    one, two = (json.loads(done.stdout)[0] for done in (plain, both))
    folder = only_run(tmp_path / "both")
    records, controls = read_records(folder), read_controls(folder)
    assert (one["n"], one["cells"], one["heart"]) == (two["n"], two["cells"], two["heart"]) and "controls" not in one
    assert {(r.arm, r.sample_id.rpartition("#")[2]) for r in controls} == {("blank", "blank"), ("swap", "swap")}
    own = {r.sample_id: r for r in records}
    for record in controls:
        asked = own[record.sample_id.rpartition("#")[0]]
        assert asked.cue is None and (asked.question, asked.options, asked.target, asked.cluster) == (
            record.question, record.options, record.target, record.cluster
        )  # fmt: skip
        assert asked.prompt[0].image != record.prompt[0].image and asked.prompt[1:] == record.prompt[1:]
        if record.arm == "swap":
            other = own[record.tags["shown_id"]]
            assert other.cluster != record.cluster and record.prompt[0].image == other.prompt[0].image
            shown = record.options["ABCD".index(record.tags["shown"])]
            assert shown == other.options["ABCD".index(other.target)] and record.tags["shown"] != record.target
    for task, entry in two["controls"].items():
        assert all(sum(ends.values()) == ends["answered"] > 0 for ends in entry["outcomes"].values())
        blank = [r for r in controls if r.arm == "blank" and r.tags["task"] == task]
        right = np.mean([own[r.sample_id.rpartition("#")[0]].score.value for r in blank])
        assert entry["image_reliance"]["value"] == pytest.approx(right - np.mean([r.score.value for r in blank]))
        low, high = entry["image_reliance"]["interval"]
        assert low <= entry["image_reliance"]["value"] <= high and entry["blank"]["n"] == len(blank) >= 30 * 0.6
    swap = [r for r in controls if r.arm == "swap"]
    follows = two["controls"]["classification"]["swap_follows"]
    assert follows["value"] == np.mean([r.score.parsed == r.tags["shown"] for r in swap])
    assert "swap_follows" not in two["controls"]["detection"]
    assert not two["controls"]["classification"]["same_patient"]
    left = {(arm, n) for arm, _, n in two["controls_left_out"]}
    assert ("swap", sum(r.tags["task"] == "detection" for r in own.values() if r.cue is None)) in left


def test_drops_under_a_drawn_cue_stand_beside_what_the_model_could_read_of_it(quick, table, tmp_path):
    words = ("--model", "mock", "--backend", "mock", "--model-args", "accuracy=0.9,follow=0.6,read=0.5", "--read")
    done = quick("run", *words, "--tasks", f"heart:{table}", "--output", tmp_path / "runs", "--json")

    summary, folder = json.loads(done.stdout)[0], only_run(tmp_path / "runs")
    own, asked = {r.sample_id: r for r in read_records(folder)}, read_controls(folder)
    assert {(r.cue.attack, r.cue.variant, r.arm) for r in asked} == {("legend", "adversarial", "read")}
    assert {r.question for r in asked} == {"Which option does the legend below this image mark?"}
    assert all(r.target == r.cue.suggests and r.prompt[0] == own[r.sample_id[:-5]].prompt[0] for r in asked)
    columns = summary["heart"]["detection"]["columns"]
    assert "cue_read" not in columns["prompt"] and "controls" not in summary["heart"]
    read = {r.cue.base_id: r.score.value for r in asked}
    found = {name: columns["legend"][name]["micro"] for name in
             ("cue_read", "robustness_gap", "robustness_gap_if_read", "cue_following_if_read")}  # fmt: skip
    assert found["cue_read"]["value"] == np.mean([*read.values()]) and 0.2 < found["cue_read"]["value"] < 0.8
    of_read = [name for name, value in read.items() if value]
    attacked = [own[f"{name}/legend/adversarial"] for name in of_read]
    drop = np.mean([own[name].score.value for name in of_read]) - np.mean([r.score.value for r in attacked])
    assert found["robustness_gap_if_read"]["value"] == pytest.approx(drop)
    assert found["robustness_gap_if_read"]["n"] == found["cue_following_if_read"]["n"] == len(of_read)
    assert found["cue_following_if_read"]["value"] == np.mean([r.score.parsed == r.cue.suggests for r in attacked])

    shown = quick("run", *words, "--tasks", f"heart:{table}", "--output", tmp_path / "runs").stdout
    assert "drop if read" in shown and "detection/legend" in shown and "for the wordings of this table" in shown
    board = tmp_path / "board"
    quick("leaderboard", "build", folder, "--output", board)
    assert "Drop, of cues read" in (board / "miniature.md").read_text()
    assert quick("leaderboard", "verify", board).returncode == 0
    # What travels, and what is looked at, hold the readings too.
    aggregate, *_ = export_eee(folder, tmp_path / "eee")
    sections = json.loads(json.loads(aggregate.read_text())["eval_library"]["additional_details"][SECTIONS])
    assert rounded(sections["heart"]) == rounded(summary["heart"])
    (each,) = question_sets([folder])
    (drawn,) = (one for one in figures(each) if one.name == "read")
    assert [float(row[3]) for row in drawn.rows] == [
        pytest.approx(100 * found[name]["value"], abs=0.06) for name in ("cue_read", "cue_following_if_read")
    ]
    (result,) = (json.loads(path.read_text()) for path in (board / "results").glob("*/*.json"))
    assert result["heart"] == summary["heart"] and "read:legend/adversarial" in result["outcomes"]["arms"]


def test_reading_is_refused_where_nothing_is_drawn(quick, table, tmp_path):
    from aloe_bench import attack

    attack(write_source(tmp_path / "source", 4), tmp_path / "table", attacks="prompt")
    done = quick("run", *MOCK, "--tasks", f"heart:{tmp_path / 'table'}", "--read", "--output", tmp_path / "runs")
    assert done.returncode == 2 and "no cue is drawn into a picture" in done.stderr


def test_a_run_with_controls_that_was_cut_short_is_finished_and_then_compared(quick, table, tmp_path):
    words = ("run", *MOCK, "--tasks", f"heart:{table}", "--controls", "blank,swap", "--output")
    quick(*words, tmp_path / "a")
    folder = only_run(tmp_path / "a")
    whole = (folder / "records.jsonl").read_bytes()
    (folder / "summary.json").unlink()
    (folder / "records.jsonl").write_bytes(whole[: 2 * len(whole) // 3])

    again = quick(*words, tmp_path / "a")
    other = quick("run", *MOCK[:-1], "accuracy=0.9,blank=0.9", *words[7:], tmp_path / "b")
    compared = quick("compare", folder, only_run(tmp_path / "b"), "--json")

    assert again.returncode == other.returncode == 0, again.stderr + other.stderr
    assert sorted(map(repr, (replaced(r) for r in read_lines(folder)))) == sorted(
        {repr(replaced(r)) for r in read_lines(folder)}
    )
    rows = {row["row"]: row for row in json.loads(compared.stdout)["rows"]}
    row = rows["classification: image reliance"]
    assert row["value"] < -0.3 and row["value"] == pytest.approx(row["second"] - row["first"])
    assert "image control" in again.stdout and "follows the shown picture" in again.stdout
    page = quick("leaderboard", "build", tmp_path / "a", "--output", tmp_path / "boards")
    assert page.returncode == 0, page.stderr
    text = (tmp_path / "boards" / "miniature.md").read_text()
    assert "## Image controls" in text and "| Boxes alone *(computed)* |" in text
    assert "Boxes alone give " in again.stdout
    # What is published of the controls follows from one letter an item, and is compared like the run folders.
    published = [evidence(only_run(tmp_path / name)) for name in "ab"]
    arms = published[0].result["outcomes"]["arms"]
    assert {"blank:baseline", "swap:baseline"} < arms.keys() and set(arms["swap:baseline"]) >= set("1l.")
    summary = json.loads((folder / "summary.json").read_text())
    assert rounded(published[0].result["controls"]) == rounded(summary["controls"])
    for name, one in zip("ab", published, strict=True):
        path = tmp_path / "pages" / "results" / name / "heart.json"
        write_atomic(path, result_text(one.result))
        write_atomic(one.items.path(tmp_path / "pages"), one.items.text)
    sides = [published_side(path) for path in sorted((tmp_path / "pages").glob("results/*/*.json"))]
    again = {row["row"]: row for row in compare_sides(*sides)["rows"]}[row["row"]]
    assert (again["value"], again["p"]) == pytest.approx((row["value"], row["p"]))
    assert verify(tmp_path / "boards") == []
    (result,) = (tmp_path / "boards" / "results").glob("*/*.json")
    text = result.read_text()
    result.write_text(text.replace('"same_patient": false', '"same_patient": true', 1))
    assert any("controls" in line for line in verify(tmp_path / "boards"))


def rounded(numbers: Any) -> Any:
    """Numbers whose last digits depend on the order of sums, to nine digits."""
    return json.loads(json.dumps(numbers), parse_float=lambda text: round(float(text), 9))


def replaced(record: Record) -> tuple[Any, ...]:
    return record.sample_id, record.arm, record.prediction.text, record.score


def test_a_blank_picture_keeps_the_boxes_and_nothing_of_the_picture(table):
    task = open_task(str(table))
    samples = list(task.load(table))

    made = controls_of(task, samples, list(enumerate(samples)), ["blank"])

    shown = {sample.id: np.asarray(sample.images[0].open()) for _, sample in made.samples}
    assert len(shown) == sum(sample.cue is None for sample in samples)
    for _, sample in made.samples:
        height, width, _ = shown[sample.id].shape
        assert width % 64 == height % 64 == 0
        grey = (shown[sample.id] == 128).all(axis=2).mean()
        assert grey == 1 if sample.tags["task"] == "classification" else 0.3 < grey < 0.99


def test_what_controls_cost_and_what_has_none_is_said_before_anything_is_asked(quick, table, closed):
    dry = quick("run", *MOCK, "--tasks", f"heart:{table}", "--controls", "swap,blank", "--dry-run")
    text = quick("run", *MOCK, "--tasks", "careqa_vision_open", "--controls", "blank", "--allow-partial")
    wrong = quick("run", *MOCK, "--tasks", f"heart:{table}", "--controls", "blnk")

    assert "times the prompts of the run alone" in dry.stdout and "controls: blank " in dry.stdout
    assert text.returncode in (2, 3)
    assert wrong.returncode == 2 and "Did you mean blank?" in wrong.stderr


@pytest.mark.parametrize("sides", [[10, 10, 60], [10, 10, 60, 60, 80]])
def test_a_box_with_another_number_of_sides_is_refused_where_it_would_be_drawn_again(quick, table, tmp_path, sides):
    broken = tmp_path / "table"
    shutil.copytree(table, broken)
    lines = pq.read_table(broken / "heart.parquet").to_pylist()
    row, cells = next((n, line) for n, line in enumerate(lines) if line["box_info"] and not line["attack"])
    boxes = json.loads(cells["box_info"])
    next(iter(boxes.values()))["pixels"] = sides
    cells["box_info"] = json.dumps(boxes)
    pq.write_table(pa.Table.from_pylist(lines), broken / "heart.parquet")

    refused = quick("run", *MOCK, "--tasks", f"heart:{broken}", "--controls", "blank", "--output", tmp_path / "runs")

    assert refused.returncode == 3 and f"heart.parquet: row {row + 1}" in refused.stderr
    assert "box_info is not as `attack` writes it" in refused.stderr and "Build the folder again" in refused.stderr
    assert not (tmp_path / "runs").exists()


def made(rng: np.random.Generator, n: int, reliance: float) -> tuple[list[Record], list[Record]]:
    """Return records of a model that is right in .8, over a grey picture in .8 - `reliance`, and stays in .3."""

    def record(i: int, arm: str, parsed: str) -> Record:
        tags = {"shown": "B"} if arm == "swap" else {}
        prediction = Prediction(f"{i}#{arm}", parsed, "stop")
        score = Score(float(parsed == "A"), parsed, "letter")
        name = f"{i}#{arm}" if arm else str(i)
        return Record(i, name, "choice", "A", f"c{i}", tags, None, prediction, score, options=("w", "x"), arm=arm)

    def letters(share: float) -> Sequence[str]:
        return np.where(rng.random(n) < share, "A", "B").tolist()

    own = [record(i, "", letter) for i, letter in enumerate(letters(0.8))]
    arms = {"blank": letters(0.8 - reliance), "swap": letters(0.3)}
    return own, [record(i, arm, letter) for arm in ARMS for i, letter in enumerate(arms[arm])]


@pytest.mark.slow
@pytest.mark.parametrize(("n", "reliance"), [(60, 0.0), (60, 0.3), (165, 0.3), (165, 0.05)])
def test_the_intervals_of_image_controls_cover_what_is_true(n: int, reliance: float) -> None:
    rng, runs = np.random.default_rng(7), 2000
    truths = {"image_reliance": reliance, "blank": 0.8 - reliance, "swap_follows": 0.7, "swap_stays": 0.3,
              "shown_over_asked": 0.4}  # fmt: skip
    hits = dict.fromkeys(truths, 0)
    for _ in range(runs):
        found = controls_section(*made(rng, n, reliance))["controls"]["overall"]
        for name, truth in truths.items():
            low, high = found[name]["interval"]
            hits[name] += low <= truth + 1e-9 and truth - 1e-9 <= high
    print({name: hit / runs for name, hit in hits.items()})
    assert all(hit / runs >= 0.93 for hit in hits.values()), hits
