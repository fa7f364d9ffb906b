"""Runs that differ in prompt, data, pixels, parser or decoding carry a mark on whichever page they share a column."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aloe_bench import ModelSpec, evaluate
from aloe_bench.boards.build import build
from aloe_bench.boards.verify import verify
from tests.boards.test_leaderboard import record, run_folder
from tests.support.heart_tables import Source, rows, write_folder

Change = Callable[[dict[str, Any]], None]
PLACE = {
    "columns": [{"title": "All", "cell": "overall", "paper": ""}],
    "label": "",
    "asides": [],
    "scored": "",
    "rows": "",
}


def prompt(header: dict[str, Any]) -> None:
    header["prompt_sha256"] = "9" * 64


def data(header: dict[str, Any]) -> None:
    header["task"]["data_sha256"] = "9" * 64


def pixels(header: dict[str, Any]) -> None:
    header["model"]["profile"] = {"min_pixels": 3136, "max_pixels": 99999}


def parser(header: dict[str, Any]) -> None:
    header["parser"] = "strict-1"


def decoding(header: dict[str, Any]) -> None:
    header["decoding"] = {"temperature": 0.0, "max_new_tokens": 9}


CHANGES = {
    prompt: "prompt 99999999", data: "data 99999999", pixels: "max_pixels=99999", parser: "parser strict-1",
    decoding: "max_new_tokens=9",
}  # fmt: skip


def changed(folder: Path, model: str, change: Change | None) -> Path:
    """Give a run another name, the same facts of how it was asked as every other, and one change."""
    header = json.loads((folder / "run.json").read_text())
    header |= {"prompt_sha256": "1" * 64, "parser": "strict-3"}
    header["model"] |= {"name": model, "fingerprint": model}
    if change:
        change(header)
    (folder / "run.json").write_text(json.dumps(header))
    return folder


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("apart")
    table = write_folder(folder / "t", rows([Source("brain", 5, 4)], attacks=("caption",)))
    return evaluate(ModelSpec("mock", options={"accuracy": 0.8}), f"heart:{table}", output=folder / "runs").folder


def plain(folder: Path, task: str, *, own_page: bool = False, miniature: bool = False) -> Path:
    run = run_folder(
        folder, "m", task, [record(i, float(i % 2)) for i in range(6)], model_facts={"miniature": miniature}
    )
    if own_page:
        header = json.loads((run / "run.json").read_text())
        header["task"]["facts"] = {"cells": [{"name": "overall"}], "places": [{"page": "ours", **PLACE}]}
        (run / "run.json").write_text(json.dumps(header))
    return run


def heart_copy(attacked: Path, folder: Path, backend: str) -> Path:
    folder.mkdir(parents=True)
    header = json.loads((attacked / "run.json").read_text())
    header["run_id"] = folder.name
    header["model"] |= {"backend": backend, "miniature": backend == "mock"}
    (folder / "run.json").write_text(json.dumps(header))
    (folder / "records.jsonl").write_bytes((attacked / "records.jsonl").read_bytes())
    return folder


# Each kind of page that holds rows of runs: its file, whether other data stand in a table of their own there.
PAGES = {
    "medical.md": (lambda f, a: plain(f, "slake"), False),
    "careqa_vision.md": (lambda f, a: plain(f, "careqa_vision_mcq"), False),
    "ours.md": (lambda f, a: plain(f, "brought", own_page=True), False),
    "other.md": (lambda f, a: plain(f, "brought"), True),
    "miniature.md": (lambda f, a: plain(f, "careqa_vision_mcq", miniature=True), False),
    "heart.md": (lambda f, a: heart_copy(a, f, "hf"), True),
    "miniature.md, HEART": (lambda f, a: heart_copy(a, f, "mock"), True),
}


def marked_rows(page: str) -> dict[str, bool]:
    """Return model -> whether each line of a table that names it has the mark."""
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    return {
        name: all("≠" in line for line in lines if name in line)
        for name in ("first", "second")
        if any(name in line for line in lines)
    }


# Every page with one change, and one page with every change, are quick.
PAIRS = [
    pytest.param(page, change, marks=() if page == "careqa_vision.md" or change is decoding else pytest.mark.slow,
                 id=f"{page}: {change.__name__}")
    for page in PAGES for change in CHANGES
]  # fmt: skip


@pytest.mark.parametrize(("page", "change"), PAIRS)
def test_a_run_made_otherwise_is_marked(tmp_path: Path, attacked: Path, page: str, change: Change) -> None:
    make, tables_apart = PAGES[page]
    runs = [
        changed(make(tmp_path / f"r{i}", attacked), name, with_change)
        for i, (name, with_change) in enumerate((("first", None), ("second", change)))
    ]
    build(runs, tmp_path / "board")
    text = (tmp_path / "board" / page.partition(",")[0]).read_text()
    if change is data and tables_apart:
        tables = [block for block in text.split("\n\n") if "| first" in block or "| second" in block]
        assert tables and not any("| first" in block and "| second" in block for block in tables)
        return
    assert marked_rows(text) == {"first": True, "second": True}
    assert CHANGES[change] in text.replace("\\_", "_") and "≠ Runs of this task were not all" in text
    with (tmp_path / "board/leaderboard.csv").open(newline="") as file:
        said = {line["model"]: line["apart"] for line in csv.DictReader(file) if line["source"] == "run"}
    assert CHANGES[change] in said["second"] and said["first"]


@pytest.mark.parametrize("page", PAGES)
def test_runs_made_alike_are_not_marked(tmp_path: Path, attacked: Path, page: str) -> None:
    make, _ = PAGES[page]
    build(
        [changed(make(tmp_path / f"r{i}", attacked), name, None) for i, name in enumerate(("first", "second"))],
        tmp_path / "b",
    )
    assert "≠" not in (tmp_path / "b" / page.partition(",")[0]).read_text()
    assert verify(tmp_path / "b") == []


def test_the_mark_stands_in_latex(tmp_path: Path) -> None:
    runs = [changed(plain(tmp_path / f"r{i}", "careqa_vision_mcq"), f"m{i}", (None, decoding)[i]) for i in range(2)]
    build(runs, tmp_path / "b")
    assert len(re.findall(r"\$\\neq\$", (tmp_path / "b/careqa_vision.tex").read_text())) >= 2
