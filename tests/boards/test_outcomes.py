"""Published outcomes: all numbers follow from one letter an item, and published runs are compared like run folders."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aloe_bench.boards.build import build, evidence
from aloe_bench.boards.heart import heart_blocks
from aloe_bench.boards.items import items_of, read_items
from aloe_bench.boards.letters import outcomes_of, records_of
from aloe_bench.boards.published import numbers_of, read_all
from aloe_bench.boards.verify import verify
from aloe_bench.core import Cue, Prediction, Score, Verdict
from aloe_bench.errors import DataError
from aloe_bench.evaluation.cells import header_facts, task_cells, task_sections
from aloe_bench.evaluation.runlog import read_run
from aloe_bench.heart.measure.answers import facets
from aloe_bench.judges.jury import panel
from tests.boards.test_leaderboard import record, run_folder, table_rows
from tests.evaluation.test_suite import answered
from tests.support import suite_data as made
from tests.support.heart_tables import Source, rows, worded, write_folder


def exact_cells(header: Any, records: Any) -> dict[str, Any]:
    return {
        name: (cell.exact, cell.n, cell.n_clusters, cell.failed, cell.unread, cell.unjudged, cell.split,
               cell.interval and pytest.approx(cell.interval))
        for name, cell in task_cells(header, records).items()
    }  # fmt: skip


def same_from_letters(folder: Path) -> Any:
    """Return the result of a run, whose cells and sections, made of letters alone, are those of its records."""
    header, records = read_run(folder)
    result, items = evidence(folder)
    for name, wanted in exact_cells(header, records).items():
        got = result["cells"][name]
        assert tuple(got[key] for key in ("exact", "n", "n_clusters", "failed", "unread", "unjudged", "split",
                                          "interval")) == wanted, name  # fmt: skip
    assert json.loads(json.dumps(numbers_of(result["run"], result["task"]["name"], header_facts(header, records),
                                            items, result["outcomes"])["cells"])) == json.loads(
        json.dumps(result["cells"]))  # fmt: skip
    again = outcomes_of(items, records_of(items, result["outcomes"]), header_facts(header, records))
    assert {**again, "regraded": result["outcomes"].get("regraded")} == {"regraded": None} | result["outcomes"]
    return result


def test_an_attacked_run_follows_from_its_letters_with_every_measure(quick, tmp_path):
    folder = write_folder(
        tmp_path / "a",
        worded(rows([Source("brain", 30, 4), Source("skin", 12, 3, "detection")], attacks=("caption", "legend"))),
    )
    done = quick("run", "--model", "mock", "--tasks", f"heart:{folder}",
                 "--model-args", "accuracy=0.7,follow=0.5,refusal=0.1,failure=0.001")  # fmt: skip
    (header,) = (tmp_path / "runs").rglob("run.json")
    assert done.returncode in (0, 1), done.stderr
    result = same_from_letters(header.parent)

    _, records = read_run(header.parent)
    wanted = task_sections(read_run(header.parent)[0], records)["heart"]
    assert result["heart"].keys() == wanted.keys() == {"classification", "detection"}
    for task, part in wanted.items():
        for attack, measures in part["columns"].items():
            for name, levels in measures.items():
                got = result["heart"][task]["columns"][attack][name]["macro"]
                assert got["value"] == pytest.approx(levels["macro"]["value"]), (task, attack, name)
                for key in ("interval", "interval_wordings"):
                    assert got.get(key) == pytest.approx(levels["macro"].get(key)), (task, attack, name, key)
    columns = result["heart"]["detection"]["columns"]
    assert columns["caption"]["adversarial"]["macro"]["interval_wordings"]
    assert "; like these [" in "".join(heart_blocks([result]))
    assert "interval_wordings" not in columns["legend"]["adversarial"]["macro"], "nothing says how legends are worded"
    arms = result["outcomes"]["arms"]
    assert {len(text) for text in arms.values()} == {42}
    assert set(arms["caption/adversarial"]) >= set("1lr0")
    assert set(arms["legend/adversarial"][:30]) == {"."}, "no legend on a classification item"


def test_a_jury_s_grades_its_splits_and_a_missing_judge_follow_from_the_letters(tmp_path):
    def graded(i: int, *grades: float | None) -> Any:
        score = panel.score([Verdict(f"s{i}", f"j{k}", grade, "{}") for k, grade in enumerate(grades)])
        return record(i, None, score=score, kind="open")

    records = [graded(0, 1, 1, 0), graded(1, 0, 0.5, 1), graded(2, 0.5, 0.5, 0), graded(3, 0, 0, None)]
    cut = Prediction("s4", "and so", "length")
    records.append(
        record(4, None, score=panel.score([Verdict("s4", f"j{k}", 1, "") for k in range(3)]), prediction=cut)
    )
    whole = same_from_letters(run_folder(tmp_path / "r", "m", "careqa_vision_open", records))
    assert whole["outcomes"]["arms"] == {"baseline": "1hh01"}
    assert whole["outcomes"]["grades"]["baseline"] == {"j0": "10h01", "j1": "1hh01", "j2": "010x1"}
    missing = same_from_letters(
        run_folder(tmp_path / "x", "m", "careqa_vision_open", [*records[:2], graded(2, 1, 0, None), record(
            3, None, score=Score(None, None, "unjudged"))])
    )  # fmt: skip
    assert missing["outcomes"]["arms"] == {"baseline": "1hx?"}
    assert (missing["cells"]["overall"]["failed"], missing["cells"]["overall"]["unjudged"]) == (1, 1)


@pytest.mark.parametrize(("outcome", "letter"), [("refused", "r"), ("filtered", "f"), ("cut", "c"), ("unread", "u")])
def test_each_way_of_not_answering_has_its_letter(tmp_path, outcome, letter):
    lost = record(1, 0.0, score=Score(0.0, None, f"unread: {outcome}", outcome=outcome))
    failed = record(2, None, score=Score(None, None, "failed", outcome="failed"),
                    prediction=Prediction("s2", None, "error", "gone"))  # fmt: skip
    run = run_folder(tmp_path / "r", "m", "careqa_vision_mcq", [record(0, 1.0), lost, failed])
    assert same_from_letters(run)["outcomes"]["arms"]["baseline"] == f"1{letter}x"


def test_rules_that_read_replies_again_publish_what_they_read(tmp_path):
    made.slake(tmp_path / "data", [made.slake_row(i, answer="No" if i % 2 else "Yes") for i in range(30)])
    replies = iter(["Yes", "well", "no", "the lung"] * 50)
    _, records = answered("slake", tmp_path / "data", lambda sample: next(replies))
    run = run_folder(tmp_path / "r", "m", "slake", records)
    result = same_from_letters(run)
    assert result["cells"]["closed, exact match"]["value"] is not None
    assert set(result["outcomes"]["regraded"]["slake exact match"]) >= set("01.")


def test_pairs_and_weighted_units_follow_from_the_letters(tmp_path):
    made.probmed(tmp_path / "data", [row for image in range(3) for row in made.probmed_image(image)])
    _, records = answered("probmed", tmp_path / "data", lambda s: "yes" if s.cluster == "im0" else s.target)
    run = run_folder(tmp_path / "r", "m", "probmed", records)
    assert same_from_letters(run)["cells"]["pairs"]["value"] < 1


def test_a_fractional_score_cannot_be_published_item_by_item(tmp_path):
    run = run_folder(tmp_path / "r", "m", "careqa_vision_mcq", [record(0, 0.3)])
    with pytest.raises(DataError, match=r"s0: scored 0\.3; only 0, 0\.5 and 1 can be published"):
        build([run], tmp_path / "out")


@pytest.fixture
def two_boards(tmp_path: Path) -> tuple[Path, list[Path]]:
    scores = {"a": [1, 1, 0, 1] * 10, "b": [1, 0, 0, 1] * 10}
    runs = [
        run_folder(tmp_path / name, name, "careqa_vision_mcq", [record(i, float(v)) for i, v in enumerate(of)])
        for name, of in scores.items()
    ]
    build(runs, tmp_path / "boards")
    return tmp_path / "boards", runs


def test_published_runs_are_compared_like_their_run_folders(quick, two_boards):
    boards, runs = two_boards
    results = sorted((boards / "results").glob("*/*.json"))
    published = quick("leaderboard", "compare", *results, "--by", "category", "--margin", "5", "--json")
    folders = quick("compare", *runs, "--by", "category", "--margin", "5", "--json")
    assert (published.returncode, folders.returncode) == (0, 0), published.stderr + folders.stderr
    one, two = (json.loads(done.stdout) for done in (published, folders))
    assert one["rows"] == two["rows"]
    assert one["rows"][0]["value"] == -0.25
    assert len(list((boards / "items").iterdir())) == 1, "both runs share the items"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda o: o["arms"].update(baseline="1" * 39), "has 39 letters for 40 items"),
        (lambda o: o["arms"].update(baseline="1" * 39 + "q"), "the letter 'q'"),
        (lambda o: o["arms"].pop("baseline"), "does not have every item"),
        (lambda o: o.update(items="0" * 64), "there are no items of that name"),
    ],
)
def test_a_result_that_does_not_fit_its_items_is_named(two_boards, change, said):
    boards, _ = two_boards
    path = boards / "results" / "a" / "careqa_vision_mcq.json"
    result = json.loads(path.read_text())
    change(result["outcomes"])
    path.write_text(json.dumps(result))
    with pytest.raises(DataError, match=said):
        verify(boards)


def test_items_that_were_changed_by_hand_are_named(two_boards):
    boards, _ = two_boards
    (path,) = (boards / "items").iterdir()
    path.write_text(path.read_text().replace('"s7"', '"s8"'))
    with pytest.raises(DataError, match="its content is not what its name, the SHA-256, says"):
        read_all(boards)


def test_items_say_how_each_attack_was_worded_and_older_ones_do_not(tmp_path):
    said = {"alike": ("a", "a"), "apart": ("a", "b")}
    records = [record(0, 1.0, cluster="p"), record(1, 0.0, cluster="q")]
    for i, (one, two) in enumerate(said.values()):
        for variant, wording in (("adversarial", one), ("neutral", two)):
            tags = {**records[i].tags, "attack": "caption", "variant": variant, "wording": wording, "bias": "peer"}
            cue = Cue("caption", variant, f"s{i}", None)
            records.append(replace(records[i], sample_id=f"s{i}/caption/{variant}", cue=cue, tags=tags))
    task = {"name": "heart", "version": 1, "data_sha256": "0" * 64}

    new, old = items_of(task, records), items_of(task, records[:2])

    assert new.spoken == {"caption": {"wording": ("a", ""), "bias": ("peer", "peer")}}, "variants must agree"
    for schema, items in ((2, new), (1, old)):
        path = items.path(tmp_path)
        path.parent.mkdir(exist_ok=True)
        path.write_text(items.text)
        assert json.loads(items.text)["schema"] == schema
        assert read_items(path) == items and read_items(path).sha256 == items.sha256
    assert not old.spoken


@pytest.mark.parametrize(
    ("wordings", "sentences"),
    [
        (("a", "b"), [["a", "b"]]),
        (("a+x", "b+x"), [["a", "b"], ["x", "x"]]),
        (("a+a", "b+b"), [["a", "b"]]),  # a caption shared by picture and prompt
        (("a+b", "b+a"), []),  # two opinions of one kind
        (("a", "b+x"), []),
        (("a", ""), []),
    ],
)
def test_each_sentence_of_a_cue_has_its_wordings_or_none_has(wordings, sentences):
    rows = {}
    for i, wording in enumerate(wordings):
        rows[f"s{i}"] = replace(record(i, 1.0), tags={"wording": wording, "bias": "peer"})

    found = facets([*rows], [rows])

    assert [facet.ids.tolist() for facet in found] == sentences
    assert all(set(facet.kinds) == {"peer/"} for facet in found)


def test_items_that_no_result_names_any_more_are_deleted(tmp_path, two_boards):
    boards, _ = two_boards
    (old,) = (boards / "items").iterdir()
    build([run_folder(tmp_path / "c", n, "careqa_vision_mcq", [record(0, 1.0)]) for n in "a"], boards)
    assert old.exists(), "b still names them"
    build([run_folder(tmp_path / "d", n, "careqa_vision_mcq", [record(0, 1.0)]) for n in "b"], boards)
    assert not old.exists()


def boards_of(tmp_path: Path, scores: dict[str, list[float]], **facts: Any) -> Path:
    runs = [
        run_folder(tmp_path / name, name, "careqa_vision_mcq", [record(i, float(v)) for i, v in enumerate(of)], **facts)
        for name, of in scores.items()
    ]
    build(runs, tmp_path / "boards")
    return tmp_path / "boards"


def test_runs_that_may_be_the_best_are_marked_on_every_page(tmp_path):
    scores = {"best": [1.0] * 150 + [0.0] * 15, "alike": [0.0] * 3 + [1.0] * 147 + [0.0] * 15, "poor": [1, 0, 0] * 55}
    page = (boards_of(tmp_path, scores) / "careqa_vision.md").read_text(encoding="utf-8")
    own = {row[0]: row[2] for row in table_rows(tmp_path / "boards/careqa_vision.md") if "paper" not in row[0]}
    assert {name: "≈" in shown for name, shown in own.items()} == {"best": False, "alike": True, "poor": False}
    assert "≈: in the 95 % confidence set for the best of our runs" in page


def test_a_table_of_models_and_tasks_is_one_family_against_the_first(quick, tmp_path):
    runs = []
    for model, shift in (("base", 0), ("tuned", 30), ("other", 1)):
        for task in ("careqa_vision_mcq", "pathmmu"):
            records = [record(i, float(i % 2 == 0 or i < shift)) for i in range(120)]
            runs.append(run_folder(tmp_path / f"{model}-{task}", model, task, records))
    done = quick("compare", "--table", *runs, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [model["model"] for model in result["models"]] == ["base", "tuned", "other"]
    rows = {(row["second"], row["task"], row["cell"]): row for row in result["rows"]}
    found = rows["tuned", "pathmmu", "overall"]
    assert (found["first"], found["value"], found["n"]) == ("base", 15 / 120, 120)
    assert {row["family"] for row in rows.values()} == {sum(row["p"] is not None for row in rows.values())}
    assert found["p"] < found["p_adjusted"] < 0.05 and found["interval_family"][0] < found["interval"][0]
    every = json.loads(quick("compare", "--table", *runs, "--reference", "other", "--all-pairs", "--json").stdout)
    pairs = {(row["first"], row["second"]) for row in every["rows"]}
    assert pairs == {("other", "base"), ("other", "tuned"), ("base", "tuned")}
    printed = quick("compare", "--table", *runs)
    assert "tuned - base" in printed.stdout and "+12.5" in printed.stdout
    lacking = quick("compare", "--table", *runs[:3])
    assert lacking.returncode == 2 and "pathmmu" in lacking.stderr


def test_a_comparison_says_what_changed_among_answers_read_in_both(quick, tmp_path):
    def run(name: str, unread: int) -> Path:
        lost = Score(0.0, None, "unread: no option", outcome="unread")
        records = [record(i, 0.0, score=lost) if i < unread else record(i, float(i % 4 > 0)) for i in range(160)]
        return run_folder(tmp_path / name, name, "careqa_vision_mcq", records)

    one, two = run("whole", 0), run("garbled", 30)
    row = json.loads(quick("compare", one, two, "--json").stdout)["rows"][0]
    assert row["value"] == pytest.approx(-22 / 160)
    assert (row["answered_in_both"]["value"], row["answered_in_both"]["n"]) == (0.0, 130)
    assert "overall: among the 130 items that both answered, +0.0" in quick("compare", one, two).stdout
    same = json.loads(quick("compare", one, one, "--json").stdout)["rows"][0]
    assert "answered_in_both" not in same
