"""What the figures of a report hold: their numbers, against counts of the records made another way."""

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aloe_bench import ModelSpec, attack, compare, evaluate, report
from aloe_bench.core import Prediction, Verdict
from aloe_bench.evaluation.corrected import FILE
from aloe_bench.evaluation.finish import finish
from aloe_bench.evaluation.runlog import read_controls, read_records
from aloe_bench.files import write_json
from aloe_bench.judges.jury import panel
from aloe_bench.reporting.charts import ReportFigure
from aloe_bench.reporting.figures import figures
from aloe_bench.reporting.probes import WordedAnswer, doses, worst_wordings
from aloe_bench.reporting.read import question_sets
from aloe_bench.reporting.words import sentences
from tests.boards.test_leaderboard import record, run_folder
from tests.reporting.conftest import Runs


def drawn(*folders: Path) -> dict[str, ReportFigure]:
    (each,) = question_sets(folders)
    return {figure.name: figure for figure in figures(each)}


def test_image_reliance_stands_with_its_interval_where_a_run_has_controls(runs: Runs) -> None:
    controls = {record.sample_id: record for record in read_controls(runs.base)}
    own = {record.sample_id: record for record in read_records(runs.base)}
    found = drawn(runs.base)
    for label, _, cue, share, _, n in found["controls"].rows:
        if label == "classification" and cue == "a grey picture: right":
            blank = [c for c in controls.values() if c.arm == "blank" and c.tags["task"] == "classification"]
            assert share == f"{100 * np.mean([c.score.value for c in blank]):.1f}" and n == str(len(blank))
            gap = np.mean([own[c.sample_id.removesuffix("#blank")].score.value - c.score.value for c in blank])
    rows = {row[0]: row for row in found["reliance"].rows}
    assert (
        rows["classification: image reliance"][3] == f"{100 * gap:.1f}"
        and " to " in rows["classification: image reliance"][4]
    )
    assert not {"controls", "reliance", "jury"} & drawn(runs.robust).keys()


@pytest.mark.slow
def test_a_dose_curve_is_drawn_over_tables_that_differ_in_one_strength_alone(runs: Runs, tmp_path: Path) -> None:
    folders = []
    for repeats in (1, 2):
        table = tmp_path / f"at{repeats}"
        attack(runs.folder / "source", table, attacks="sycophancy",
               strength=[f"sycophancy.repeats={repeats}"])  # fmt: skip
        model = ModelSpec("mock", options={"accuracy": 0.9, "follow": 0.3})
        folders.append(evaluate(model, f"heart:{table}", name="m", output=tmp_path / f"runs{repeats}").folder)
    found, remarks = doses(question_sets(folders))
    assert remarks == [] and found
    for figure in found:
        points = [(row[1], float(row[2])) for row in figure.rows]
        assert [dose for dose, _ in points] == ["1", "2"] and all(" to " in row[3] for row in figure.rows)
        task = next(task for task in ("classification", "detection") if task in figure.title)
        led = [r.score.parsed == r.cue.suggests for r in read_records(folders[0])
               if r.cue and r.cue.variant == "adversarial" and r.tags["task"] == task]  # fmt: skip
        assert points[0][1] == pytest.approx(100 * np.mean(led), abs=0.05)
    (page,) = report(folders, tmp_path / "report.html", pictures=0)
    assert "Across strengths" in page.read_text(encoding="utf-8")
    again = evaluate(ModelSpec("mock", options={"accuracy": 0.9, "follow": 0.3}), f"heart:{tmp_path / 'at2'}", name="m",
                     output=tmp_path / "short", max_new_tokens=9).folder  # fmt: skip
    found, (remark,) = doses(question_sets([folders[0], again]))
    assert not found and "make no dose curve over sycophancy.repeats" in remark and str(tmp_path) not in remark


def test_the_worst_wording_is_chosen_on_other_pictures_than_it_is_shown_on() -> None:
    """All wordings alike, 30 % led: the worst eight of twenty show 30 % there, and more where they are chosen."""
    shown, naive = [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        led = rng.random((20, 60)) < 0.3
        answers = [WordedAnswer(f"w{w}", f"{seed}-{w}-{i}", float(led[w, i])) for w in range(20) for i in range(60)]
        worst, n_ranked, n_left = worst_wordings(answers)
        assert (len(worst), n_ranked, n_left) == (8, 20, 0)
        shown += [share.value for share in worst.values()]
        naive += sorted(led.mean(axis=1))[-8:]
    assert np.mean(naive) > 0.34 and abs(np.mean(shown) - 0.3) < 0.025
    biased = [WordedAnswer("caption: bad", f"b{i}", float(i % 10 < 9)) for i in range(60)]
    few = [WordedAnswer("caption: rare", f"r{i}", 1.0) for i in range(9)]
    worst, n_ranked, n_left = worst_wordings([*answers, *biased, *few])
    assert next(iter(worst)) == "caption: bad" and (n_ranked, n_left) == (21, 1)


def test_jury_and_judges_stand_against_the_experts_of_a_run_that_holds_labels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truth = rng.choice([0.0, 0.5, 1.0], 120)
    records = []
    for i, right in enumerate(truth):
        grades = [min(1.0, right + 0.5 * (rng.random() < lenient)) for lenient in (0.9, 0.9, 0.0)]
        score = panel.score([Verdict(f"s{i}", f"j{k}", float(grade), "{}") for k, grade in enumerate(grades)])
        records.append(record(i, None, score=score, kind="open", prediction=Prediction(f"s{i}", f"words {i}", "stop")))
    run = run_folder(tmp_path / "run", "m", "careqa_vision_open", records, shard=None)
    finish(run)
    assert "jury" not in drawn(run)
    write_json(run / FILE, {"experts": {"e": {f"s{i}": float(truth[i]) for i in range(0, 120, 2)}}})
    found = drawn(run)
    rows = {row[0]: row for row in found["jury"].rows}
    given = [records[i].score.value - truth[i] for i in range(0, 120, 2)]
    assert rows["jury"][3] == f"{100 * np.mean(given):.1f}" and rows["jury"][5] == "60"
    low, _, high = rows["jury"][4].partition(" to ")
    assert float(low) < 100 * np.mean(given) < float(high) and float(low) > 0
    assert rows["j2"][3] == "0.0"
    assert any(row[2].startswith("corrected") and row[5] == "60" for row in found["corrected"].rows)
    (each,) = question_sets([run])
    assert "as the jury graded it; corrected by 60 labels of experts" in sentences(each)[0][1][0]


def test_a_figure_is_written_for_paper_in_the_colours_of_the_page_with_its_alt_text(runs: Runs) -> None:
    figure = drawn(runs.base)["accuracy"]
    svg = figure.on_paper("svg").decode()
    assert "#00805f" in svg and "var(--" not in svg and figure.alt in svg
    assert svg == figure.on_paper("svg").decode()
    with Image.open(io.BytesIO(figure.on_paper("png"))) as picture:
        assert picture.width > 1200 and picture.info["Description"] == figure.alt
        assert picture.convert("RGB").getpixel((3, 3)) == (255, 255, 255)
    page = figure.on_page("f1")
    assert "var(--adversarial)" in page and "#0102" not in page


@pytest.mark.slow
def test_plots_holds_every_figure_of_the_page_twice(runs: Runs, quick, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(runs.robust, other)
    done = quick("report", runs.base, other, "--pictures", 0, "--output", tmp_path / "r.html", "--plots",
                 tmp_path / "plots", "--workers", 1)  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = sorted(path.name for path in (tmp_path / "plots").iterdir())
    count = (tmp_path / "r.html").read_text(encoding="utf-8").count('<figure class="chart">')
    assert len(written) == 2 * count and {name.rpartition(".")[2] for name in written} == {"svg", "png"}
    assert compare(runs.base, other)["rows"] and any("paired0" in name for name in written)
