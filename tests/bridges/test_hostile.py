"""Names, replies and tags that are code somewhere: inert in every format that a run is written in."""

import csv
import html
import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from aloe_bench import report
from aloe_bench.boards.build import build
from aloe_bench.boards.tables import escape
from aloe_bench.boards.verify import verify
from aloe_bench.bridges.exchange.eee import export_eee
from aloe_bench.bridges.exchange.hub import export_hub
from aloe_bench.bridges.exchange.imports import import_eee
from aloe_bench.bridges.exchange.inspect_log import export_inspect
from aloe_bench.core import Prediction, Verdict
from aloe_bench.evaluation import runlog
from aloe_bench.judges.jury import panel
from aloe_bench.seeds import rng_for
from tests.boards.test_leaderboard import record, run_folder
from tests.reporting.test_report import data_of

PARTS = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</td></table>", "&lt;b&gt;", "<!--", "-->",
    "javascript:alert(1)", "[a](http://x.y)", "![a](http://x.y/z)", "**b**", "`c`", "| x |", "\n# head\n",
    "\n\n", "---", "{{7*7}}", "${x}", "http://x.y", "=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1",
    "＝1", "\u202eevil", "\u2066a\u2069", "\u200b", "\x00", "\x1b[2J", "\x7f", "\\input{/etc/passwd}",
    "\\write18{ls}", "$x$", "%", "&", "#", "_", "^", "~", "{", "}", "\\", "'", '"', ": ", "- a",
    "!!python/object:x", "\u2028", "é", "漢", "🩻", "a", "1",
)  # fmt: skip


def hostile(number: int) -> str:
    rng = rng_for(number, "hostile")
    return "".join(PARTS[int(rng.random() * len(PARTS))] for _ in range(1 + int(rng.random() * 4)))


def made(folder: Path, first: int, count: int) -> tuple[Path, list[str]]:
    """Return a run whose model, options, categories, questions and replies are hostile, and these texts."""
    texts = [hostile(number) for number in range(first, first + count)]
    records = [
        record(i, float(i % 2), texts[i % 3], question=text, target=text, options=(text, "B"),
               prediction=Prediction(f"s{i}", text, "stop", reasoning=text))
        for i, text in enumerate(texts)
    ]  # fmt: skip
    return run_folder(folder, texts[0], "careqa_vision_mcq", records), texts


def check_page(text: str) -> None:
    """A page holds no markup but its own, and every table as many cells in each line as in its head."""
    assert set(re.findall(r"<[^>]*>", text)) <= {"<br>", "<small>", "</small>", "<u>", "</u>"} | set(
        re.findall(r"<!-- Gen[^>]*>", text)
    )
    assert not re.search(r"(?<!\\)\[[^\]]*(?<!\\)\]\(", re.sub(r"\([\w./#-]+\.md\)", "", text))
    for block in text.split("\n\n"):
        lines = [line for line in block.split("\n") if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) <= 1
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069]", text)


def beside(folder: Path, texts: Sequence[str]) -> list[Path]:
    """Return a second run on the same questions, and one that judges with hostile names graded."""
    records = [record(i, float(i % 3 > 0), texts[i % 3]) for i in range(len(texts))]
    graded = [
        record(i, None, kind="open", score=panel.score([Verdict(f"s{i}", texts[k], float((i + k) % 2), texts[i])
                                                        for k in range(3)]))
        for i in range(9)
    ]  # fmt: skip
    return [
        run_folder(folder / "s", f"{texts[1]} too", "careqa_vision_mcq", records),
        run_folder(folder / "j", texts[0], "careqa_vision_open", graded),
    ]


def check_csv(path: Path) -> None:
    with path.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            texts = [text for name, text in line.items() if not re.fullmatch(r"-?[\d.e+-]+", text) and name != "n"]
            assert not any(text.lstrip().startswith(("=", "+", "-", "@", "＝")) or "\0" in text for text in texts)


def check_run(folder: Path, first: int, count: int) -> None:
    run, texts = made(folder / "r", first, count)
    build([run, *beside(folder, texts)], folder / "board")
    assert verify(folder / "board") == []
    for page in (folder / "board").glob("*.md"):
        check_page(page.read_text(encoding="utf-8"))
    for name in ("leaderboard", "comparisons", "agreement"):
        check_csv(folder / f"board/{name}.csv")
    for path in (folder / "board").glob("*.tex"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(
            r"\\(input|write|include|def|let|csname)\b|[\x00-\x08\x0b-\x1f\u202e]|(?<!\\)%(?! Gen| Lua|\n\\begin)", text
        )
    cells = json.loads((folder / "board/leaderboard.json").read_text())["cells"]
    assert texts[0] in {cell["model"] for cell in cells}
    export_eee(run, folder / "eee")
    (back,) = import_eee(folder / "eee", folder / "back")
    assert runlog.read_lines(back) == runlog.read_lines(run)
    for path in export_hub(run, folder / "hub"):
        text = path.read_text()
        assert yaml.safe_load(text.removeprefix("---\n").removesuffix("\n---\n")) is not None and text.isascii()
    log = json.loads(export_inspect(run, folder / "log").path.read_text())
    assert [sample["target"] for sample in log["samples"]] == texts
    outside = {path.relative_to(folder).parts[0] for path in folder.rglob("*")}
    assert outside == {"r", "s", "j", "board", "eee", "back", "hub", "log"}


class _Tags(HTMLParser):
    """The elements of a page and their attributes, as a browser's parser finds them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {tag, *(f"{tag} {name}" for name, _ in attrs)}


def tags_of(page: Path) -> set[str]:
    parser = _Tags()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser.found


@pytest.mark.slow
def test_ten_thousand_hostile_texts_add_nothing_to_a_report_s_elements(tmp_path: Path) -> None:
    plain = run_folder(tmp_path / "p", "m", "careqa_vision_mcq", [record(i, float(i % 2), "abc"[i % 3])
                                                                  for i in range(100)])  # fmt: skip
    (quiet,) = report(plain, tmp_path / "plain.html")
    run, texts = made(tmp_path / "r", 20_000, 10_000)
    (page,) = report(run, tmp_path / "hostile.html")
    assert tags_of(page) <= tags_of(quiet)
    (found,) = data_of(page.read_text(encoding="utf-8"))["sets"]
    assert found["rows"]["prompt"] == texts == found["runs"][0]["text"]


def test_hostile_texts_are_inert_in_every_format(tmp_path: Path) -> None:
    check_run(tmp_path, 0, 100)


@pytest.mark.slow
def test_ten_thousand_hostile_texts_are_inert_in_every_format(tmp_path: Path) -> None:
    for part in range(100):
        check_run(tmp_path / str(part), 1000 + 100 * part, 100)


def test_a_cell_shows_what_was_written() -> None:
    for number in range(200):
        shown = html.unescape(re.sub(r"\\([\\`*_\[\]~#])", r"\1", escape(hostile(number))))
        assert "<br>" not in escape(hostile(number)) and shown
