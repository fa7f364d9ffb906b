"""`aloe-bench agreement --report`: what stands on the pages, and that names stay names."""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from aloe_bench.cli.agreement import agreement as command
from tests.conftest import Run
from tests.support.simulated_study import Simulated, simulate, write_run, write_wide

HOSTILE = [
    "<script>alert(1)</script>",
    "$\\frac{1}{",
    "| a | `b` ![x](http://e.example/x.png)",
    "名前 \u202eevil\x1b[31m",
]


class Page(HTMLParser):
    """Collects the tags, the images' addresses and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.words += data


def pages(tmp_path: Path, study: Simulated, *options: str, with_run: bool = True) -> tuple[Page, str]:
    words = ["--annotations", str(write_wide(tmp_path / "a.csv", study)), "--report", str(tmp_path / "report")]
    if with_run:
        words += ["--run", str(write_run(tmp_path / "run", study))]
    done = CliRunner().invoke(command, [*words, *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    folder = tmp_path / "report"
    return Page((folder / "agreement.html").read_text()), (folder / "agreement.md").read_text()


def test_pages_hold_every_part_and_load_nothing(tmp_path: Path):
    page, markdown = pages(tmp_path, simulate(1))

    for part in (
        "Krippendorff's alpha", "Swap test", "Confusion", "Leniency and length bias", "Votes of the panel",
        "Without one judge", "Experts", "Pairs", "What the figures allow one to say", "SHA-256",
    ):  # fmt: skip
        assert part in page.words and part in re.sub(r"\\(.)", r"\1", markdown)
    assert len(page.addresses) == 3 and all(a.startswith("data:image/svg+xml;base64,") for a in page.addresses)
    for name in re.findall(r"!\[.*?\]\((.*?)\)", markdown):
        ElementTree.parse(tmp_path / "report" / name)
    assert "nan" not in page.words.lower().split() and "None" not in page.words


def test_numbers_on_the_pages_are_those_of_the_terminal(tmp_path: Path):
    study = simulate(1)
    page, markdown = pages(tmp_path, study)
    shown = CliRunner().invoke(
        command, ["--annotations", str(tmp_path / "a.csv"), "--run", str(tmp_path / "run")], catch_exceptions=False
    )
    for found in re.findall(r"[+-]?\d\.\d{3}", shown.output):
        assert found in page.words and found in markdown


def test_hostile_names_stay_names(tmp_path: Path):
    study = simulate(1, n=20)
    study.raters = HOSTILE
    study.judges = [HOSTILE[0], HOSTILE[1], HOSTILE[2]]

    page, markdown = pages(tmp_path, study)

    assert "script" not in page.tags and HOSTILE[0] in page.words
    assert "<script" not in markdown and "![x]" not in markdown and "\u202e" not in markdown and "\x1b" not in markdown
    body = [line for line in markdown.splitlines() if line.startswith("| ") and "Name | Items" in line]
    width = body[0].count("|")
    at = markdown.splitlines().index(body[0])
    assert all(line.count("|") == width for line in markdown.splitlines()[at : at + 6])
    shown = CliRunner().invoke(command, ["--annotations", str(tmp_path / "a.csv")], catch_exceptions=False)
    assert "\x1b" not in shown.output and "\u202e" not in shown.output


def test_without_a_run_the_page_is_about_the_experts(tmp_path: Path):
    page, markdown = pages(tmp_path, simulate(1), with_run=False)

    assert "How far the experts agree" in page.words and "jury" not in page.words.lower()
    assert len(page.addresses) == 1 and "confusion" not in markdown


def test_constant_judges_are_cautioned_against_at_the_top(tmp_path: Path):
    study = simulate(1)
    study.verdicts[:] = 1.0
    page, markdown = pages(tmp_path, study)

    assert page.words.index("gave 1 to all") < page.words.index("What the figures allow")
    assert "**Caution.**" in markdown and "not to be read" in page.words


def test_same_study_gives_the_same_bytes(tmp_path: Path):
    study = simulate(1, n=20)
    pages(tmp_path, study)
    before = {path.name: path.read_bytes() for path in (tmp_path / "report").iterdir()}
    words = ["--annotations", tmp_path / "a.csv", "--run", tmp_path / "run", "--report", tmp_path / "report"]
    CliRunner().invoke(command, [*map(str, words)], catch_exceptions=False)

    assert {path.name: path.read_bytes() for path in (tmp_path / "report").iterdir()} == before


def test_without_matplotlib_the_extra_is_named(aloe: Run, tmp_path: Path):
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "matplotlib.py").write_text("raise ImportError('not here')")
    file = write_wide(tmp_path / "a.csv", simulate(1, n=20))

    path = os.pathsep.join([str(tmp_path / "blocked"), os.environ.get("PYTHONPATH", "")])
    done = aloe("agreement", "--annotations", file, "--report", "r", PYTHONPATH=path)

    assert done.returncode == 3 and "aloe-bench[report]" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("n_judges", [1, 5])
def test_panels_of_other_sizes_are_drawn(n_judges: int, tmp_path: Path):
    study = simulate(1, n=20, judge_accuracy=(0.9,) * n_judges)
    study.judges = [f"judge-{at}" for at in range(n_judges)]
    page, _ = pages(tmp_path, study)

    assert f"judge-{n_judges - 1}" in page.words
