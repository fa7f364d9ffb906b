"""What a task says of itself reaches the pages: a new task, an own page, a column beside the paper's, an odd name."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.boards.test_leaderboard import number, table_rows

MINIMAL = """
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aloe_bench.core import Sample
from aloe_bench.facts import CellSpec, Column, Facts, Place
from aloe_bench.tasks import formats


@dataclass(frozen=True)
class Ward:
    name: str = "{name}"
    version: int = 1
    source: str = "the ward"
    revision: str = "main"
    licence: str = "ours"
    expected_rows: int = 6
    {facts}

    def load(self, root: Path) -> Iterator[Sample]:
        for i in range(6):
            tags = {{"shift": "day" if i % 3 else "night", "points": str(1 + i)}}
            asked = f"What about {{i}}?"
            yield Sample(f"ward/{{i}}", "choice", asked, "A", f"p{{i // 2}}", choices=("x", "y"), tags=tags)

    def prompt(self, sample: Sample) -> str:
        return formats.prompt(sample)


TASK = Ward()
"""


def ward(folder: Path, facts: str = "", name: str = "ward") -> str:
    """Write a task file and return what --tasks takes."""
    path = folder / "ward.py"
    path.write_text(MINIMAL.format(name=name, facts=f"facts: Facts = Facts({facts})" if facts else ""))
    return f"{path}:TASK"


def run_and_build(quick, place: str, folder: Path, model: str = "m", accuracy: str = "1") -> str:
    """Run the task with a model that is no miniature as far as its header says, build, and return what was printed."""
    done = quick("run", "--model", "mock", "--model-args", f"accuracy={accuracy}", "--name", model, "--tasks", place)
    assert done.returncode == 0, done.stderr
    for header in folder.glob(f"runs/{model}/*/*/run.json"):
        value = json.loads(header.read_text())
        value["model"] |= {"miniature": False, "backend": "hf", "size_group": "small", "domain": "medical"}
        header.write_text(json.dumps(value))
    (folder / "ward.py").unlink()  # a page needs neither the task's file nor its data
    built = quick("leaderboard", "build", "runs", "--output", "boards")
    assert built.returncode == 0, built.stderr
    return built.stdout + built.stderr


def own_rows(page: Path) -> dict[str, list[str]]:
    return {row[0]: row for row in table_rows(page) if "paper" not in row[0]}


def test_a_minimal_task_has_a_row_on_other_md_and_a_mock_one_on_miniature_md(quick, tmp_path):
    place = ward(tmp_path)

    printed = run_and_build(quick, place, tmp_path)

    assert "boards/other.md" in printed
    row = own_rows(tmp_path / "boards/other.md")["m"]
    assert number(row[2]) == "b100.00b" and ", n 6, 3 clusters" in row[2]
    assert "ward v1: n 6, unread 0, failed 0; run " in row[3]
    assert quick("leaderboard", "check", "--output", "boards").returncode == 0

    ward(tmp_path)
    assert quick("run", "--model", "mock", "--name", "toy", "--tasks", place).returncode == 0
    assert quick("leaderboard", "build", "runs", "--output", "boards").returncode == 0
    assert "toy" not in (tmp_path / "boards/other.md").read_text()
    assert "toy" in own_rows(tmp_path / "boards/miniature.md")


def test_mmlu_5shot_has_a_row_on_other_md(tmp_path):
    from aloe_bench.boards.build import build
    from tests.boards.test_leaderboard import record, run_folder

    run = run_folder(tmp_path / "r", "m", "mmlu_5shot", [record(i, 1.0) for i in range(4)])
    build([run], tmp_path / "out")

    assert number(own_rows(tmp_path / "out/other.md")["m"][2]) == "b100.00b"


CELLS = """cells=(
    CellSpec("overall"),
    CellSpec("by patient", unit=("cluster",)),
    CellSpec("weighted", weight="points"),
    CellSpec("macro over shifts", "macro", "shift"),
    CellSpec("{} shift", "each", "shift"),
    CellSpec("nights", only={"shift": "Night"}),
)"""


def test_cells_are_made_as_the_task_s_facts_say(quick, tmp_path):
    place = ward(tmp_path, CELLS)
    done = quick("run", "--model", "mock", "--model-args", "accuracy=.5,seed=3", "--tasks", place, "--json")
    (summary,) = json.loads(done.stdout)
    lines = (tmp_path / summary["run"] / "records.jsonl").read_text().splitlines()
    records = sorted((json.loads(line) for line in lines), key=lambda record: record["index"])

    right = [record["score"]["value"] for record in records]
    assert 0 < sum(right) < 6, "the mock should be right here and wrong there"
    night, day = [right[0], right[3]], [right[i] for i in (1, 2, 4, 5)]
    wanted = {
        "overall": sum(right) / 6,
        "by patient": sum(min(right[i], right[i + 1]) for i in (0, 2, 4)) / 3,
        "weighted": sum(value * (1 + i) for i, value in enumerate(right)) / 21,
        "macro over shifts": (sum(night) / 2 + sum(day) / 4) / 2,
        "day shift": sum(day) / 4,
        "night shift": sum(night) / 2,
        "nights": sum(night) / 2,
    }
    assert {name: cell["value"] for name, cell in summary["cells"].items()} == pytest.approx(wanted)


def test_facts_that_no_sample_has_are_refused_before_anything_is_asked(quick, tmp_path):
    for facts, message in {
        'cells=(CellSpec("by ward", "each", "wrd"),)': r"made over tag 'wrd', which no sample has. Tags here: points",
        'cells=(CellSpec("w", weight="shift"),)': "ward/0: tag 'shift' is 'night'; expected a weight",
        'cells=(CellSpec("o", rule="probmed pair"),)': "Unknown rule of cells 'probmed pair'. Did you mean",
        'measure="heart"': "measure 'heart' needs the tags attack, dataset",
        'engine="lm-evl"': "engine 'lm-evl' is not known; expected one of native, lm-eval",
    }.items():
        refused = quick("run", "--model", "mock", "--tasks", ward(tmp_path, facts))
        assert refused.returncode in (2, 3), facts
        assert re.search(message, " ".join(refused.stderr.split())), (facts, refused.stderr)
        assert not (tmp_path / "runs").exists()
        (tmp_path / "ward.py").unlink()


def test_an_own_page_needs_no_paper_and_a_column_beside_the_paper_s_no_paper_row(quick, tmp_path):
    places = (
        'places=(Place("night_ward", (Column("All"),), "Ward"), '
        'Place("medical", (Column("Ward|<b>", paper="OmniMedVQA"),), "Ward", scored="exact match", rows="6")),'
    )
    run_and_build(quick, ward(tmp_path, places), tmp_path)

    page = (tmp_path / "boards/night_ward.md").read_text()
    assert page.splitlines()[2] == "# Night ward"
    assert number(own_rows(tmp_path / "boards/night_ward.md")["m"][2]) == "b100.00b"
    medical = tmp_path / "boards/medical.md"
    rows = [row for row in table_rows(medical) if len(row) > 5]
    # 10 columns of the paper's, one more: empty in the paper's rows, and the task stands in no column of theirs.
    assert {len(row) for row in rows} == {14}
    paper = [row for row in rows if "paper" in row[0]]
    assert len(paper) == 19 and {row[12] for row in paper} == {"–"}
    (own,) = [row for row in rows if row[0] == "m"]
    assert number(own[12]) == "b100.00b" and set(own[2:12]) == {"–"}
    assert "| Ward | exact match | 6 | – |" in medical.read_text()
    assert "<b>" not in medical.read_text()
    assert "m" not in own_rows(tmp_path / "boards/other.md")


@pytest.mark.parametrize(
    ("places", "remark"),
    [
        ('Place("night", (Column("All", "overal"),)),', "page 'night' shows its cells 'overal', and it has 'overall'"),
        ('Place("heart", (Column("All"),)),', "'heart' cannot be the name of a page of columns"),
        ('Place("../night", (Column("All"),)),', "'../night' cannot be the name of a page of columns"),
        ('Place("Medical", (Column("All"),)),', "page 'Medical' would be written over 'medical'"),
        ('Place("night", ()),', "its place on page 'night' has no column"),
    ],
)
def test_build_says_why_a_row_is_not_where_its_task_asked(quick, tmp_path, caplog, places, remark):
    run_and_build(quick, ward(tmp_path, f"places=({places})"), tmp_path)

    assert remark in caplog.text and "its row is on other.md" in caplog.text
    assert "m" in own_rows(tmp_path / "boards/other.md")
    assert {path.name for path in (tmp_path / "boards").glob("*.md")} == {
        f"{name}.md" for name in ("careqa_vision", "heart", "medical", "miniature", "other")
    }


def test_a_task_called_like_an_attacked_table_has_cells_of_its_own(quick, tmp_path):
    run_and_build(quick, ward(tmp_path, name="heart-failure"), tmp_path)

    assert number(own_rows(tmp_path / "boards/other.md")["m"][2]) == "b100.00b"
    assert "m" not in own_rows(tmp_path / "boards/heart.md")


def test_a_broken_result_is_named_with_its_place_whatever_is_broken(tmp_path, quick):
    run_and_build(quick, ward(tmp_path), tmp_path)
    (path,) = (tmp_path / "boards/results").rglob("*.json")
    whole = json.loads(path.read_text())
    broken = 0
    for keys in [*places_in(whole)]:
        for value in (None, "x", -1.5, [], {}):
            copy = json.loads(json.dumps(whole))
            spot = copy
            for key in keys[:-1]:
                spot = spot[key]
            spot[keys[-1]] = value
            path.write_text(json.dumps(copy))
            done = quick("leaderboard", "check", "--output", "boards")
            assert done.returncode in (0, 3, 4), (keys, value, done.stderr)
            assert "Traceback" not in done.stderr
            if done.returncode == 3:
                broken += 1
                assert re.search(rf"ward\.json: .*{re.escape(str(keys[-1])) if isinstance(keys[-1], str) else ''}",
                                 done.stderr.replace("\n", " ")), (keys, value, done.stderr)  # fmt: skip
    assert broken > 50


def places_in(value: object, keys: tuple[object, ...] = ()) -> object:
    """Yield the path to every part of a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield (*keys, key)
        yield from places_in(part, (*keys, key))
