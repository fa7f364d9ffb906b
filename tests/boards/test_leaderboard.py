"""The leaderboard, entered by `build`: the paper's Table 10 comes out of run folders digit by digit."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from aloe_bench.boards.build import build
from aloe_bench.boards.verify import verify
from aloe_bench.core import Prediction, Record, Score
from aloe_bench.errors import DataError
from aloe_bench.evaluation import runlog
from aloe_bench.evaluation.cells import cell
from aloe_bench.stats.intervals import clustered_mean, nearly_exact

VERIFIED = {"by": "hub", "why": ""}
COLUMNS = [f"{part}/{group}" for part in ("mcq", "vqa") for group in ("overall", "nursing", "medicine")]
MARKS = Path(__file__).parents[1] / "data" / "table10_marks.txt"
# (task, number of nursing and medicine questions, smallest step of one score)
PARTS = {
    "mcq": ("careqa_vision_mcq", {"nursing": 42, "medicine": 123}, Fraction(1)),
    "vqa": ("careqa_vision_open", {"nursing": 28, "medicine": 108}, Fraction(1, 2)),
}


def record(index: int, value: float | None, category: str = "medicine", **extra: Any) -> Record:
    values: dict[str, Any] = {
        "index": index,
        "sample_id": f"s{index}",
        "kind": "choice",
        "target": "A",
        "cluster": f"c{index}",
        "tags": {"category": category},
        "cue": None,
        "prediction": Prediction(f"s{index}", "A", "stop"),
        "score": Score(value, "A", "letter"),
    } | extra
    return Record(**values)


def run_folder(
    folder: Path, model: str, task: str, records: Sequence[Record], *, model_facts: Any = (), verified: Any = VERIFIED,
    **facts: Any,
) -> Path:  # fmt: skip
    header = {
        "schema": 1,
        "run_id": folder.name,
        "model": {
            "name": model,
            "fingerprint": f"fp-{model}",
            "backend": "hf",
            "miniature": False,
            "size_group": "small",
            "domain": "general",
            **dict(model_facts),
        },
        "task": {
            "name": task,
            "version": 1,
            "expected_rows": len(records),
            "data_sha256": "0" * 64,
            "verified": verified,
        },
        "protocol": "generate",
        "limit": None,
        "partial": False,
        "seed": 0,
        "n": len(records),
        "decoding": {"temperature": 0.0, "max_new_tokens": 512},
    } | facts
    folder.mkdir(parents=True)
    runlog.create_run(folder, header)
    runlog.append(folder, list(records))
    return folder


def printed(points: Fraction, n: int) -> str:
    exact = Decimal((100 * points).numerator) / Decimal((100 * points).denominator * n)
    return str(exact.quantize(Decimal("0.01"), ROUND_HALF_UP))


def scores_behind(shown: str, n: int, step: Fraction) -> list[float]:
    """The `n` item scores, in steps of `step`, whose mean prints as `shown`; there is one total only."""
    totals = [step * k for k in range(int(n / step) + 1) if printed(step * k, n) == shown]
    assert len(totals) == 1, f"{shown} of {n}: {totals}"
    whole = int(totals[0])
    scores = [1.0] * whole + [float(totals[0] - whole)] * (totals[0] != whole)
    return scores + [0.0] * (n - len(scores))


def table_rows(page: Path) -> list[list[str]]:
    lines = [line for line in page.read_text(encoding="utf-8").split("\n") if line.startswith("|")]
    rows = [[part.strip() for part in line.strip("|").split("|")] for line in lines]
    return [row for row in rows if row[0] not in ("Model", "---")]


def number(shown: str) -> str:
    return shown.split("<br>")[0].replace("**", "b").replace("<u>", "u").replace("</u>", "u")


def paper() -> list[dict[str, str]]:
    source = resources.files("aloe_bench.boards").joinpath("paper/table10_careqa_vision.csv")
    return list(csv.DictReader(source.read_text(encoding="utf-8").splitlines()))


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("golden")
    folders = []
    for line in paper():
        for part, (task, counts, step) in PARTS.items():
            records: list[Record] = []
            for category, n in counts.items():
                for value in scores_behind(line[f"{part}/{category}"], n, step):
                    records.append(record(len(records), value, category.title()))
            facts = {"size_group": line["size_group"], "domain": line["domain"]}
            folder = root / "runs" / f"{line['model']}-{part}"
            folders.append(run_folder(folder, line["model"], task, records, model_facts=facts))
    build(folders, root / "out")
    return root / "out"


def test_all_108_cells_of_table_10_come_out_to_the_printed_digit(golden: Path) -> None:
    rows = {row[0]: row[2:8] for row in table_rows(golden / "careqa_vision.md")}
    compared = 0
    for line in paper():
        own = [number(shown).strip("bu") for shown in rows[line["model"].replace("_", "\\_")]]
        assert own == [line[column] for column in COLUMNS], line["model"]
        compared += len(own)
    assert compared == 108


def test_every_bold_and_underline_of_table_10_comes_out(golden: Path) -> None:
    rows = {row[0]: row[2:8] for row in table_rows(golden / "careqa_vision.md")}
    models = marked = 0
    for line in MARKS.read_text(encoding="utf-8").splitlines():
        model, *shown = line.split("\t")
        if f"{model} *(paper)*" not in rows:
            continue
        expected = [re.sub("</?b>", "b", re.sub("</?u>", "u", value)) for value in shown]
        assert [number(value) for value in rows[model]] == expected, model
        assert [number(value) for value in rows[f"{model} *(paper)*"]] == expected, model
        models += 1
        marked += sum(not value[0].isdigit() for value in expected)
    # Two more <b> are the titles of the size groups.
    text = MARKS.read_text(encoding="utf-8")
    assert (models, marked) == (18, text.count("<b>") - 2 + text.count("<u>"))


def test_tables_follow_from_the_results_and_an_edit_by_hand_is_seen(golden: Path) -> None:
    page = golden / "careqa_vision.md"
    assert verify(golden) == []
    before = page.read_text(encoding="utf-8")
    page.write_text(before.replace("60.61", "99.99"), encoding="utf-8")
    assert any("99.99" in line for line in verify(golden))
    build([], golden)
    assert page.read_text(encoding="utf-8") == before


@pytest.mark.parametrize("facts", [{"miniature": True}, {"backend": "mock"}])
def test_miniatures_never_stand_beside_the_paper(tmp_path: Path, facts: dict[str, Any]) -> None:
    run = run_folder(tmp_path / "r", "toy", "careqa_vision_mcq", [record(i, 1.0) for i in range(4)], model_facts=facts)
    build([run], tmp_path / "out")
    assert "toy" not in (tmp_path / "out/careqa_vision.md").read_text(encoding="utf-8")
    assert "toy" not in (tmp_path / "out/medical.md").read_text(encoding="utf-8")
    assert {row[0] for row in table_rows(tmp_path / "out/miniature.md")} == {"toy"}


HOSTILE = ["../x", "/etc/x", "=cmd|", "a|b", "a\nb\r\n| c |", "a\u202eb", "a\0b", "x" * 300, "..", "", "<b>&\\|"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_stays_inside_and_leaves_the_table_whole(tmp_path: Path, name: str) -> None:
    run = run_folder(tmp_path / "r", name, "careqa_vision_mcq", [record(i, 1.0) for i in range(4)])
    out = tmp_path / "deep" / "out"
    written = build([run], out)
    assert all(path.resolve().is_relative_to(out.resolve()) for path in written)
    everything = {path for path in tmp_path.rglob("*") if path.is_file() and run not in path.parents}
    assert everything == set(written)
    rows = table_rows(out / "careqa_vision.md")
    assert {len(row) for row in rows} == {9}
    assert len(rows) == 19
    page = (out / "careqa_vision.md").read_text(encoding="utf-8")
    assert not set("\0\u202e\r") & set(page)
    own = next(row[0] for row in rows if "paper" not in row[0])
    assert not own.startswith(("=", "+", "-", "@"))
    assert "<b>" not in own


@pytest.mark.parametrize(("right", "shown"), [(1, "3.13"), (3, "9.38"), (5, "15.63")])
def test_a_printed_tie_is_rounded_up(tmp_path: Path, right: int, shown: str) -> None:
    records = [record(i, float(i < right)) for i in range(32)]  # 1/32 is 3.125 %
    build([run_folder(tmp_path / "r", "m", "careqa_vision_mcq", records)], tmp_path / "out")
    own = next(row for row in table_rows(tmp_path / "out/careqa_vision.md") if row[0] == "m")
    assert number(own[2]).strip("bu") == shown


def test_open_answers_without_a_jury_print_no_number(tmp_path: Path) -> None:
    records = [record(i, 1.0) for i in range(3)] + [record(3, None, score=Score(None, None, "not judged"))]
    out = tmp_path / "out"
    build([run_folder(tmp_path / "r", "m", "careqa_vision_open", records)], out)
    own = next(row for row in table_rows(out / "careqa_vision.md") if row[0] == "m")
    assert own[5] == own[7] == "not judged"
    assert own[6] == "–"
    assert ", not judged 1" in own[8]


def test_a_failed_call_leaves_no_number_and_is_counted() -> None:
    failed = record(1, None, prediction=Prediction("s1", None, "error", "timeout"), score=Score(None, None, "failed"))
    unread = record(2, 0.0, score=Score(0.0, None, "unread: no option"))
    numbers = cell([record(0, 1.0), failed, unread], "r")
    assert (numbers.value, numbers.interval) == (None, None)
    assert (numbers.n, numbers.failed, numbers.unread) == (3, 1, 1)


def test_a_limited_run_is_marked_and_not_ranked(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "r", "m", "careqa_vision_mcq", [record(i, 1.0) for i in range(4)], limit=4)
    build([run], tmp_path / "out")
    page = tmp_path / "out/careqa_vision.md"
    own = next(row for row in table_rows(page) if row[0].startswith("m "))
    assert own[0] == "m †"
    assert number(own[2]) == "100.00†"
    assert "† A limited or partial run" in page.read_text(encoding="utf-8")


def test_a_partial_run_does_not_replace_a_complete_one(tmp_path: Path) -> None:
    records = [record(i, 1.0) for i in range(4)]
    whole = run_folder(tmp_path / "whole", "m", "careqa_vision_mcq", records)
    part = run_folder(tmp_path / "part", "m", "careqa_vision_mcq", records, limit=4)
    build([whole], tmp_path / "out")
    other = run_folder(tmp_path / "other", "n", "careqa_vision_mcq", records)
    with pytest.raises(DataError, match="holds a complete one"):
        build([other, part], tmp_path / "out")
    assert not (tmp_path / "out/results/n").exists() and verify(tmp_path / "out") == []


@pytest.mark.parametrize("order", [1, -1])
def test_a_trial_run_beside_the_complete_one_is_left_out_and_said_to_be(
    tmp_path: Path, order: int, caplog: pytest.LogCaptureFixture
) -> None:
    part = run_folder(tmp_path / "part", "m", "careqa_vision_mcq", [record(i, 0.0) for i in range(2)], limit=2)
    whole = run_folder(tmp_path / "whole", "m", "careqa_vision_mcq", [record(i, 1.0) for i in range(4)])
    for _ in range(2):  # again, now that the complete one is on disk
        build([part, whole][::order], tmp_path / "out")
    own = [row for row in table_rows(tmp_path / "out/careqa_vision.md") if "paper" not in row[0]]
    assert [(row[0], number(row[2])) for row in own] == [("m", "b100.00b")]
    assert "run part left out" in caplog.text


def test_another_model_of_the_same_name_takes_the_place_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old, new, last = (
        run_folder(tmp_path / name, "m", "careqa_vision_mcq", [record(0, 1.0)], model_facts={"fingerprint": name})
        for name in ("old", "new", "last")
    )
    build([old, new], tmp_path / "out")
    assert "run new takes the place of run old" in caplog.text
    caplog.clear()
    build([new], tmp_path / "out")
    assert not caplog.text
    build([last], tmp_path / "out")
    assert "run last takes the place of run new" in caplog.text
    (tmp_path / "out/results/m/careqa_vision_mcq.json").write_text("{")
    build([last], tmp_path / "out")
    assert verify(tmp_path / "out") == []


def test_an_unfinished_run_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "r", "m", "careqa_vision_mcq", [record(0, 1.0)], n=2)
    with pytest.raises(DataError, match="1 records, expected 2"):
        build([run], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_logprob_answers_have_a_row_of_their_own_and_no_size_a_third_group(tmp_path: Path) -> None:
    right, wrong = [record(i, 1.0) for i in range(4)], [record(i, 0.0) for i in range(4)]
    size = {"size_group": None}
    runs = [
        run_folder(tmp_path / "g", "m", "careqa_vision_mcq", right, model_facts=size),
        run_folder(tmp_path / "l", "m", "careqa_vision_mcq", wrong, model_facts=size, protocol="logprob"),
    ]
    build(runs, tmp_path / "out")
    page = tmp_path / "out/careqa_vision.md"
    own = {row[0]: number(row[2]) for row in table_rows(page) if "paper" not in row[0]}
    assert own == {"m": "b100.00b", "m [logprob]": "u0.00u"}
    assert "## Unregistered size" in page.read_text(encoding="utf-8")


def test_the_evidence_names_its_run_model_task_and_data(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "r", "m", "careqa_vision_mcq", [record(i, i % 2) for i in range(4)])
    build([run], tmp_path / "out")
    result = json.loads((tmp_path / "out/results/m/careqa_vision_mcq.json").read_text(encoding="utf-8"))
    assert (result["run"], result["model"]["fingerprint"]) == ("r", "fp-m")
    assert (result["task"]["version"], result["task"]["data_sha256"]) == (1, "0" * 64)
    assert result["cells"]["overall"]["exact"] == "1/2"
    assert result["cells"]["overall"]["n_clusters"] == 4


def test_no_spread_is_not_no_uncertainty_and_one_cluster_has_no_interval() -> None:
    mean, interval = clustered_mean([1.0] * 6, list("aabbcc"))
    assert mean == 1.0 and interval is not None
    # Three clusters show nothing of how misses go together: each is worth one answer.
    assert interval == pytest.approx(nearly_exact(3, 3))
    assert clustered_mean([1.0, 0.0], ["a", "a"]) == (0.5, None)
