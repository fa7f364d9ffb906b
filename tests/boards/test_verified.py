"""Rows whose data are not known to be the benchmark's stand on the pages marked and unranked."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest

from aloe_bench.boards.build import build
from aloe_bench.boards.verify import verify
from aloe_bench.core import Prediction, Record, Score
from aloe_bench.evaluation.runlog import merge
from aloe_bench.tasks.data.fetched import Fetched, FetchedFile, proof_of_run, write_fetched
from aloe_bench.tasks.data.listing import HUB, Listing, against
from tests.boards.test_facts import own_rows
from tests.boards.test_leaderboard import VERIFIED as FETCHED
from tests.boards.test_leaderboard import number, record, run_folder
from tests.conftest import MINI, closed_rows
from tests.support.hub_server import Hub, serving

REAL_SLAKE = Path(__file__).parents[3] / "shared" / "real" / "slake" / "test.json"
COPY = {"by": "", "why": "HPAI-BSC/CareQA-Vision is a copy that `data fetch` did not bring"}


def as_a_real_model(folder: Path) -> None:
    """Let the runs below a folder be those of a model that is not a mock, as far as their headers say."""
    for path in folder.rglob("run.json"):
        header = json.loads(path.read_text())
        header["model"] |= {"miniature": False, "backend": "openai", "size_group": "small", "domain": "medical"}
        path.write_text(json.dumps(header))


def fetched(folder: Path, repo: str = "HPAI-BSC/CareQA-Vision", revision: str = "a" * 40) -> Path:
    """Let a copy of careqa_mini in a data root be one that `data fetch` brought."""
    place = folder / "careqa_vision"
    shutil.copytree(MINI, place)
    recorded(place, repo, revision)
    return place


def recorded(place: Path, repo: str = "HPAI-BSC/CareQA-Vision", revision: str = "a" * 40) -> Fetched:
    """Leave in a folder the record that `data fetch` would, as anybody can."""
    files = {
        path.relative_to(place).as_posix(): FetchedFile(
            path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()
        )
        for path in place.rglob("*")
        if path.is_file()
    }
    record = Fetched(repo, revision, files)
    write_fetched(place, record)
    return record


def run_mini(quick, *more: object):
    done = quick(
        "run", "--model", "mock", "--tasks", "careqa_vision_mcq", "--allow-partial", "--data-root", "data", *more
    )
    headers = sorted(Path.cwd().glob("runs/*/*/*/run.json"))
    return done, json.loads(headers[-1].read_text())["task"]["verified"] if headers else None


def test_165_rows_of_noise_in_careqa_s_layout_are_marked_and_ranked_on_no_page(quick, closed, tmp_path):
    closed(closed_rows(165))
    done = quick("run", "--model", "mock", "--model-args", "accuracy=1", "--name", "vlm", "--data-root", "data",
                 "--tasks", "careqa_vision_mcq")  # fmt: skip
    assert done.returncode == 0, done.stderr
    as_a_real_model(tmp_path / "runs")
    assert quick("leaderboard", "build", "runs", "--output", "out").returncode == 0

    for page in ("careqa_vision", "medical"):
        text = (tmp_path / f"out/{page}.md").read_text()
        row = own_rows(tmp_path / f"out/{page}.md")["vlm §"]
        cells = [cell for cell in row[2:-1] if cell != "–"]
        assert cells and all(number(cell) == "100.00§" for cell in cells)
        assert "data not verified: HPAI-BSC/CareQA-Vision is a copy that `data fetch` did not bring§" in row[
            -1
        ].replace("\\`", "`")
        assert "Only complete runs on verified data are ranked." in text and "§ Data not verified" in text
        # The paper's best keeps its mark.
        assert "**" in text.split("*(paper)*", 1)[1]
    found = [path for kind in ("md", "tex", "csv") for path in (tmp_path / "out").rglob(f"*.{kind}")]
    assert {"careqa_vision.md", "heart.md", "medical.tex", "leaderboard.csv"} <= {path.name for path in found}
    for path in found:
        for line in (each for each in path.read_text().splitlines() if re.search(r"\bvlm\b", each)):
            marked = any(mark in line for mark in ("§", "\\S{}", "not verified"))
            assert marked and "**" not in line and "textbf" not in line, (path.name, line)
    assert verify(tmp_path / "out") == []


def test_a_record_of_fetching_proves_nothing_where_the_hub_cannot_be_asked(quick, tmp_path):
    place = fetched(tmp_path / "data")

    done, verified = run_mini(quick)
    assert done.returncode == 0, done.stderr
    assert verified["by"] == "" and "by the folder's own word alone: the hub could not be asked" in verified["why"]
    assert "Data not verified: careqa_vision_mcq" in done.stdout + done.stderr

    picture = next((place / "images").glob("*.png"))
    whole = picture.read_bytes()
    picture.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    done, _ = run_mini(quick)
    assert done.returncode == 3
    assert f"{picture.relative_to(tmp_path)}: checksum " in done.stderr and "as fetched" in done.stderr


@pytest.mark.slow
def test_a_forged_folder_is_found_out_by_the_hub_and_another_hub_vouches_for_nothing(aloe, tmp_path):
    def verified(**hub: str) -> dict[str, str]:
        asked = ("run", "--model", "mock", "--tasks", "careqa_vision_mcq", "--allow-partial", "--data-root", "data")
        done = aloe(*asked, "--fresh", **hub, HF_HUB_OFFLINE="0", HF_HUB_DISABLE_TELEMETRY="1")
        assert done.returncode == 0, done.stderr
        return json.loads(max(tmp_path.glob("runs/*/*/*/run.json")).read_text())["task"]["verified"]

    place = fetched(tmp_path / "data")
    held = {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*.*") if path.is_file()}
    with serving(Hub("HPAI-BSC/CareQA-Vision", {"a" * 40: held})) as hub:
        why = verified(HF_ENDPOINT=hub.url)["why"]
        assert f"are those that {hub.url} gives, which is not https://huggingface.co" in why

        shutil.rmtree(place)
        shutil.copytree(MINI, place)
        table = next(path for path in place.iterdir() if path.suffix in (".json", ".jsonl"))
        table.write_bytes(table.read_bytes() + b"\n")
        recorded(place)
        found = verified(HF_ENDPOINT=hub.url)
    assert found["by"] == "" and f"{table.name} is not what HPAI-BSC/CareQA-Vision at aaaaaaaa holds" in found["why"]


def test_a_folder_is_known_by_the_checksums_that_the_hub_lists_for_its_commit_and_by_nothing_else(tmp_path):
    small, large = b"[]", b"pixels"
    (tmp_path / "t.json").write_bytes(small)
    (tmp_path / "p.png").write_bytes(large)
    record = recorded(tmp_path, repo="o/d")
    git = {"t.json": hashlib.sha1(b"blob 2\0[]").hexdigest()}
    sha = {"p.png": hashlib.sha256(large).hexdigest(), "more.zip": "0" * 64}

    assert against(Listing(HUB, sha, git), tmp_path, record) == ""
    assert "p.png is not what" in against(Listing(HUB, sha | {"p.png": "0" * 64}, git), tmp_path, record)
    assert "t.json is not what" in against(Listing(HUB, sha, {"t.json": "0" * 40}), tmp_path, record)
    assert "holds no file p.png" in against(Listing(HUB, {}, git), tmp_path, record)
    assert "no commit" in against(Listing(HUB, {}, {}), tmp_path, record)
    assert "which is not" in against(Listing("http://mirror", sha, git), tmp_path, record)


def test_a_run_of_when_a_record_was_believed_is_marked_until_it_is_run_again(tmp_path):
    for name, said in (("old", {"by": "fetch", "why": ""}), ("new", FETCHED)):
        run = run_folder(tmp_path / name, name, "careqa_vision_mcq", [record(0, 1.0)], verified=said)
        build([run], tmp_path / "out")

    rows = own_rows(tmp_path / "out/careqa_vision.md")
    assert "run again where the hub can be reached" in rows["old §"][-1] and "new" in rows


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda place: (place / "aloe-fetch.json").unlink(), "is a copy that `data fetch` did not bring"),
        (lambda place: shutil.copy(MINI / "images/cell.png", place / "x.png"), "files beside it that were not fetched"),
        (
            lambda place: manifest_with(place, repo="me/mine"),
            "was fetched from me/mine and not from HPAI-BSC/CareQA-Vision",
        ),
        (lambda place: manifest_with(place, revision="main"), "was fetched at 'main', which is not a commit"),
    ],
)
def test_what_is_not_known_to_be_the_benchmark_says_why(quick, tmp_path, change, why):
    change(fetched(tmp_path / "data"))

    done, verified = run_mini(quick)

    assert done.returncode == 0, done.stderr
    assert verified["by"] == "" and why in verified["why"]


def manifest_with(place: Path, **facts: str) -> None:
    path = place / "aloe-fetch.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


def test_a_forged_header_does_not_make_other_rows_those_of_a_benchmark_with_a_list(tmp_path):
    for task in ("slake", "mmmu"):
        records = [record(i, 1.0, kind="open", question="What is shown?") for i in range(3)]
        build([run_folder(tmp_path / task, "m", task, records)], tmp_path / "out")

    row = own_rows(tmp_path / "out/medical.md")["m §"]
    assert row[-1].count("s0 and 2 more not on the list of the benchmark's rows") == 2
    assert {number(cell) for cell in row[2:-1]} == {"100.00§", "–"}


def test_the_rows_of_slake_itself_are_on_its_list(tmp_path):
    if not REAL_SLAKE.is_file():
        pytest.skip(f"no {REAL_SLAKE}")
    rows = [row for row in json.loads(REAL_SLAKE.read_text()) if row["q_lang"] == "en"]
    records = [
        Record(
            i, f"slake/{row['qid']}", "open", row["answer"], "c", {}, None, Prediction("", "a", "stop"),
            Score(1.0, None, ""), question=row["question"],
        )
        for i, row in enumerate(rows)
    ]  # fmt: skip

    assert proof_of_run("slake", FETCHED, records).by == "hub"
    changed = proof_of_run(
        "slake", FETCHED, [*records[:7], *[_with_answer(r, "no") for r in records[7:9]], *records[9:]]
    )
    assert changed.by == "" and f"{records[7].sample_id}" in changed.why


def _with_answer(given: Record, target: str) -> Record:
    return replace(given, target=target + given.target)


@pytest.mark.parametrize("order", [*permutations(range(3))])
def test_a_verified_run_is_preferred_to_a_newer_one_that_is_not_and_a_graded_one_among_these(tmp_path, order):
    def run(day: int, value: float | None, verified: dict[str, str]) -> Path:
        score = {"score": Score(None, None, "unjudged")} if value is None else {}
        records = [record(i, value, kind="open", **score) for i in range(4)]
        folder = tmp_path / f"2026010{day}T000000.000000Z"
        return run_folder(folder, "m", "careqa_vision_open", records, verified=verified)

    runs = [run(1, 1.0, FETCHED), run(2, None, FETCHED), run(3, 0.0, COPY)]
    for each in order:
        build([runs[each]], tmp_path / "out")

    row = own_rows(tmp_path / "out/careqa_vision.md")["m"]
    assert number(row[5]) == "b100.00b"
    assert "passed over: run 20260102T000000.000000Z, not graded" in row[-1]
    assert "passed over: run 20260103T000000.000000Z, data not verified" in row[-1]


def test_a_result_of_before_data_were_verified_is_marked(tmp_path):
    run = run_folder(tmp_path / "r", "m", "careqa_vision_mcq", [record(i, 1.0) for i in range(2)], verified=None)
    build([run], tmp_path / "out")

    assert "made before data were verified" in own_rows(tmp_path / "out/careqa_vision.md")["m §"][-1]


def test_shards_are_verified_only_if_each_of_them_is(tmp_path):
    parts = []
    for i, verified in enumerate((FETCHED, COPY)):
        facts = {"verified": verified, "n_total": 2, "shard": f"{i + 1}/2"}
        parts.append(run_folder(tmp_path / str(i), "m", "careqa_vision_mcq", [record(i, 1.0)], **facts))
    merge(parts, tmp_path / "whole")

    assert json.loads((tmp_path / "whole/run.json").read_text())["task"]["verified"] == COPY


@pytest.mark.parametrize("order", [*permutations(range(3))])
def test_no_run_without_grades_takes_the_place_of_a_graded_one_whatever_else_speaks_for_it(tmp_path, order):
    ungraded = [record(i, None, kind="open", score=Score(None, None, "unjudged")) for i in range(4)]
    graded = [record(i, 1.0, kind="open") for i in range(4)]
    runs = [
        run_folder(tmp_path / f"2026010{day}T000000.000000Z", "m", "careqa_vision_open", records, verified=verified)
        for day, records, verified in ((1, ungraded, FETCHED), (2, graded, COPY), (3, ungraded, FETCHED))
    ]
    for each in order:
        build([runs[each]], tmp_path / "out")

    row = own_rows(tmp_path / "out/careqa_vision.md")["m §"]
    assert number(row[5]) == "100.00§"
    for day in (1, 3) if order[0] == 1 or (order[1] == 1 and order[0] == 0) else (3,):
        assert f"run 2026010{day}T000000.000000Z, not graded, although on verified data" in row[-1]
