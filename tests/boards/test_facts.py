"""What a task says of itself reaches the pages: a new task, an own page, a column beside the paper's, an odd name."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from aloe_bench.boards.build import build
from aloe_bench.boards.tables import percent
from aloe_bench.boards.verify import verify
from aloe_bench.errors import DataError
from tests.boards.test_leaderboard import number, record, run_folder, table_rows
from tests.conftest import MINI
from tests.support.heart_tables import Source, rows, write_folder

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
    """Run the task with a model that is not a miniature by its header, build, and return what was printed."""
    done = quick("run", "--model", "mock", "--model-args", f"accuracy={accuracy}", "--name", model, "--tasks", place)
    assert done.returncode == 0, done.stderr
    for header in folder.glob(f"runs/{model}/*/*/run.json"):
        value = json.loads(header.read_text())
        value["model"] |= {"miniature": False, "backend": "hf", "size_group": "small", "domain": "medical"}
        header.write_text(json.dumps(value))
    (folder / "ward.py").unlink(missing_ok=True)  # a page needs neither the task's file nor its data
    built = quick("leaderboard", "build", "runs", "--output", "boards")
    assert built.returncode == 0, built.stderr
    return built.stdout + built.stderr


def own_rows(page: Path) -> dict[str, list[str]]:
    """Return the rows of a page's own tables; the comparisons that follow name the same models."""
    return {row[0]: row for row in reversed(table_rows(page)) if "paper" not in row[0]}


def test_a_minimal_task_has_a_row_on_other_md_and_a_mock_one_on_miniature_md(quick, tmp_path):
    place = ward(tmp_path)

    printed = run_and_build(quick, place, tmp_path)

    assert "boards/other.md" in printed
    row = own_rows(tmp_path / "boards/other.md")["m"]
    assert number(row[2]) == "b100.00b" and ", 6/6, 3 clusters" in row[2]
    assert "ward v1: n 6, answered 6; run " in row[3]
    assert quick("leaderboard", "verify", "boards").returncode == 0

    ward(tmp_path)
    assert quick("run", "--model", "mock", "--name", "toy", "--tasks", place).returncode == 0
    assert quick("leaderboard", "build", "runs", "--output", "boards").returncode == 0
    assert "toy" not in (tmp_path / "boards/other.md").read_text()
    assert "toy" in own_rows(tmp_path / "boards/miniature.md")


def test_mmlu_5shot_has_a_row_on_other_md(tmp_path):
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
        f"{name}.md"
        for name in ("ablations", "agreement", "careqa_vision", "comparisons", "heart", "medical", "miniature", "other")
    }


def test_a_task_called_like_an_attacked_table_has_cells_of_its_own(quick, tmp_path):
    run_and_build(quick, ward(tmp_path, name="heart-failure"), tmp_path)

    assert number(own_rows(tmp_path / "boards/other.md")["m"][2]) == "b100.00b"
    assert "m" not in own_rows(tmp_path / "boards/heart.md")


def test_a_task_from_outside_cannot_pass_for_one_that_ships(quick, tmp_path):
    refused = quick("run", "--model", "mock", "--tasks", ward(tmp_path, name="omnimedvqa"))

    assert refused.returncode == 2
    assert "a task called 'omnimedvqa' ships with aloe-bench" in " ".join(refused.stderr.split())


def test_names_are_one_with_dashes_and_underscores(quick, tmp_path):
    words = ("run", "--model", "mock", "--allow-partial", "--data-root", MINI, "--dry-run", "--tasks")
    asked = quick(*words, "careqa-vision-mcq,careqa_vision_mcq,careqa-vision_mcq")

    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.count("careqa_vision_mcq: ") == 1


def test_attacked_runs_of_before_headers_held_facts_keep_their_cells(quick, tmp_path):
    folder = write_folder(tmp_path / "attacked", rows([Source("chest", 12, 2)]))
    assert quick("run", "--model", "mock", "--name", "m", "--tasks", f"heart:{folder}").returncode == 0
    (header,) = (tmp_path / "runs").rglob("run.json")
    assert quick("leaderboard", "build", "runs", "--output", "new").returncode == 0
    value = json.loads(header.read_text())
    del value["task"]["facts"]
    header.write_text(json.dumps(value))
    assert quick("leaderboard", "build", "runs", "--output", "old").returncode == 0

    pages = [(tmp_path / each / "miniature.md").read_text() for each in ("new", "old")]
    assert pages[0] == pages[1]
    assert "Classification Cap" in pages[0]


@pytest.mark.parametrize("attacked", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_broken_result_is_named_with_its_place_whatever_is_broken(tmp_path, quick, attacked):
    if attacked:
        write_folder(tmp_path / "attacked", rows([Source("chest", 6, 2)], attacks=("caption", "prompt")))
    run_and_build(quick, "heart:attacked" if attacked else ward(tmp_path, CELLS), tmp_path)
    (path,) = (tmp_path / "boards/results").rglob("*.json")
    whole = json.loads(path.read_text())
    broken: set[str] = set()
    # One place of each kind: what it is called, and in what.
    for keys in {keys[-2:]: keys for keys in places_in(whole)}.values():
        for value in ("gone", "x", -1.5, []):
            copy = json.loads(json.dumps(whole))
            spot = copy
            for key in keys[:-1]:
                spot = spot[key]
            if value == "gone":
                del spot[keys[-1]]
            else:
                spot[keys[-1]] = value
            path.write_text(json.dumps(copy))
            if said := refusal(tmp_path / "boards"):
                assert said.startswith(f"{path}: "), (keys, value, said)
                broken.add(str(keys[-1]))
    assert {"name", "partial", "cells", "n", "exact", "interval", "data_sha256"} <= broken
    assert not attacked or {"arms", "before", "columns", "macro", "chance"} <= broken


def refusal(boards: Path) -> str:
    """Return what `leaderboard verify` says of a broken file, "" if none is; any other error fails the test."""
    try:
        verify(boards)
    except DataError as error:
        return str(error)
    return ""


def places_in(value: Any, keys: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path to every part of a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in items:
        yield (*keys, key)
        yield from places_in(part, (*keys, key))


def test_a_closed_run_loads_no_bridge_no_jury_and_no_attacked_table(tmp_path):
    script = (
        "import sys\nfrom aloe_bench.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print([name for name in sys.modules if name.split('.')[:2] in "
        "(['aloe_bench', 'bridges'], ['aloe_bench', 'heart'], ['aloe_bench', 'judges'])])"
    )
    words = ("run", "--model", "mock", "--tasks", "careqa_vision_mcq", "--data-root", MINI, "--allow-partial")
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, words)], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("right", "n", "printed"), [(1, 800, "0.13"), (3, 800, "0.38"), (5, 800, "0.63"), (799, 800, "99.88")]
)
def test_a_tie_in_the_last_digit_is_printed_upwards(tmp_path, right, n, printed):
    records = [record(i, float(i < right)) for i in range(n)]
    build([run_folder(tmp_path / "r", "m", "careqa_vision_mcq", records)], tmp_path / "out")

    assert number(own_rows(tmp_path / "out/careqa_vision.md")["m"][2]).strip("bu") == printed


@pytest.mark.parametrize(("value", "printed"), [("1/2000", "0.1"), ("3/2000", "0.2"), ("1999/2000", "100.0")])
def test_a_tie_of_the_attacked_table_is_printed_upwards(value, printed):
    assert str(percent(Fraction(value), "0.1")) == printed
