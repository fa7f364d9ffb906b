"""`leaderboard verify`: every byte and every number of a published folder follows from its outcomes."""

import csv
import hashlib
import json
import re
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import pytest

from aloe_bench.boards.build import build
from aloe_bench.boards.exports import latex
from aloe_bench.boards.published import read_all
from aloe_bench.boards.tables import escape
from aloe_bench.boards.verify import derived, verify
from aloe_bench.core import Score
from aloe_bench.errors import AloeError, DataError
from aloe_bench.seeds import rng_for
from tests.boards.test_leaderboard import record, run_folder
from tests.support.heart_tables import Source, rows, write_folder

HOSTILE = (
    "</td><script>alert(1)</script>", "=HYPERLINK(\"http://x\")", "\\input{/etc/passwd}", "$x$ & 50 % #_^~{}",
    "| a | b |", "**bold** <u>u</u>", "\u202egnp.exe", "a\x00b", "[a](javascript:alert(1))", "@SUM(A1)",
)  # fmt: skip


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a leaderboard of a benchmark's run and of one attacked table of two data sets."""
    from aloe_bench import ModelSpec, evaluate

    folder = tmp_path_factory.mktemp("verify")
    scores = [record(i, float(i % 3 > 0), "nursing" if i < 9 else "medicine") for i in range(24)]
    whole = run_folder(folder / "a", "some/model", "careqa_vision_mcq", scores)
    table = write_folder(folder / "t", rows([Source("brain", 12, 4), Source("skin", 9, 3)], attacks=("caption",)))
    spec = ModelSpec("mock", options={"accuracy": 0.8, "follow": 0.6, "refusal": 0.1})
    attacked = evaluate(spec, f"heart:{table}", output=folder / "runs").folder
    build([whole, attacked], folder / "board")
    return folder / "board"


@pytest.fixture
def copy(board: Path, tmp_path: Path) -> Path:
    shutil.copytree(board, tmp_path / "board")
    return tmp_path / "board"


def said(folder: Path) -> str:
    """Return what `verify` says of a folder, as the command would print it."""
    try:
        return "\n".join(verify(folder))
    except AloeError as error:
        return str(error)


def change_a_byte(folder: Path, number: int) -> tuple[Path, bytes]:
    """Change one byte of one file, both drawn by `number`; return the file and what it was."""
    rng = rng_for(number, "one byte")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = files[int(rng.random() * len(files))]
    before = path.read_bytes()
    at = int(rng.random() * len(before))
    other = bytes([(before[at] + 1 + int(rng.random() * 255)) % 256])
    path.write_bytes(before[:at] + other + before[at + 1 :])
    return path, before


def named_changes(folder: Path, count: int) -> list[str]:
    """Return the changes, of `count` one-byte ones, of which `verify` does not name the file."""
    missed = []
    for number in range(count):
        path, before = change_a_byte(folder, number)
        name = path.relative_to(folder).as_posix()
        if name not in said(folder):
            missed.append(f"{number}: {name}")
        path.write_bytes(before)
    return missed


def test_a_folder_as_built_is_what_its_outcomes_give(board: Path) -> None:
    assert verify(board) == []


def test_one_changed_byte_is_named(copy: Path) -> None:
    assert named_changes(copy, 12) == []
    assert verify(copy) == []


@pytest.mark.slow
def test_a_thousand_changed_bytes_are_named(copy: Path) -> None:
    assert named_changes(copy, 1000) == []


def test_a_consistent_forgery_of_a_cell_is_caught(copy: Path) -> None:
    """The number is changed in the result, and everything that is made of results is made again by the real code."""
    (path,) = copy.glob("results/*/careqa_vision_mcq.json")
    result = json.loads(path.read_text())
    result["cells"]["overall"] |= {"exact": "23/24", "value": 23 / 24}
    path.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")
    for name, text in derived(copy, read_all(copy))[0].items():
        (copy / name).write_text(text)
    assert "95.83" in (copy / "careqa_vision.md").read_text()
    found = verify(copy)
    assert any("cells.overall.exact is '23/24', and the outcomes give '2/3'" in line for line in found), found
    assert all(line.startswith("results/") for line in found)
    build([], copy)
    assert verify(copy) == [] and "95.83" not in (copy / "careqa_vision.md").read_text()


def test_a_forged_interval_p_value_and_a_page_of_ones_own_are_named(copy: Path) -> None:
    (path,) = copy.glob("results/*/heart-*.json")
    result = json.loads(path.read_text())
    gap = result["heart"]["classification"]["columns"]["caption"]["robustness_gap"]["macro"]
    gap["p"], gap["interval"] = 0.0001, [0.2, 0.3]
    path.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")
    (copy / "best.md").write_text("# We are the best\n")
    (copy / "items" / "extra.json").write_text("{}\n")
    found = "\n".join(verify(copy))
    for name in ("robustness_gap.macro.p is 0.0001", "robustness_gap.macro.interval[0] is 0.2", "best.md: no result",
                 "items/extra.json: no result"):  # fmt: skip
        assert name in found, found


def test_a_missing_page_and_a_folder_that_is_none_are_named(copy: Path, tmp_path: Path) -> None:
    (copy / "heart.tex").unlink()
    assert verify(copy) == ["heart.tex: missing"]
    with pytest.raises(DataError, match="expected a leaderboard"):
        verify(tmp_path / "nowhere")


def test_a_rebuild_gives_the_same_bytes(board: Path, copy: Path) -> None:
    build([], copy)
    for path in board.rglob("*"):
        if path.is_file():
            assert (copy / path.relative_to(board)).read_bytes() == path.read_bytes(), path.name


def test_every_number_has_its_denominator_or_the_parts_it_is_a_mean_of(board: Path) -> None:
    cells = json.loads((board / "leaderboard.json").read_text())["cells"]
    own = [cell for cell in cells if cell["source"] == "run"]
    for cell in own:
        if cell["points"] is not None:
            assert Fraction(cell["points"]) / cell["n"] == Fraction(cell["exact"])
        else:
            parts = [Fraction(k) / n for k, n in cell["parts"].values()]
            assert sum(parts) / len(parts) == Fraction(cell["exact"])
            assert sum(n for _, n in cell["parts"].values()) == cell["n"]
    assert {cell["cell"] for cell in own} >= {"overall", "nursing", "classification/baseline", "classification/caption"}
    assert re.search(r"66\.67.*\[\d+\.\d+, \d+\.\d+\], 16/24</small>", (board / "careqa_vision.md").read_text())


def test_the_papers_numbers_are_in_the_json_as_printed(board: Path) -> None:
    cells = json.loads((board / "leaderboard.json").read_text())["cells"]
    found = {(c["model"], c["task"], c["cell"]): c["percent"] for c in cells if c["source"] == "paper"}
    assert found["GPT-5.2", "medical", "MMLU"] == "86.55"
    assert found["GLM.4.5V", "heart", "classification/caption"] == "0.3"


def test_hashes_of_the_json_are_those_of_the_files(board: Path) -> None:
    files = json.loads((board / "leaderboard.json").read_text())["files"]
    there = {p.relative_to(board).as_posix() for p in board.rglob("*") if p.is_file()} - {"leaderboard.json"}
    assert files == {name: hashlib.sha256((board / name).read_bytes()).hexdigest() for name in there}


def test_hostile_names_are_inert_in_json_csv_and_latex(tmp_path: Path) -> None:
    folders = []
    for i, name in enumerate(HOSTILE):
        folders.append(run_folder(tmp_path / f"r{i}", name, "careqa_vision_mcq", [record(j, 1.0) for j in range(4)]))
    build(folders, tmp_path / "out")
    assert verify(tmp_path / "out") == []
    with (tmp_path / "out/leaderboard.csv").open(newline="", encoding="utf-8") as file:
        models = [line["model"] for line in csv.DictReader(file) if line["source"] == "run"]
    assert not any(name.lstrip().startswith(("=", "+", "-", "@")) for name in models)
    text = (tmp_path / "out/careqa_vision.tex").read_text()
    assert "\\input" not in text and "\u202e" not in text and "\0" not in text and "<script" not in text
    bare = re.sub(r"\\[{}]", "", text.replace("\\\\", ""))
    assert bare.count("{") == bare.count("}")
    assert len({len(re.findall(r"(?<!\\)&", line)) for line in text.splitlines() if line.endswith(" \\\\")}) == 1


def test_latex_escapes_what_markdown_escaped() -> None:
    name = escape("50% of_$x$ & {a} \\ ~#")
    number = "**61.2**<br><small>[1, 2], 3/4</small>"
    page = "\n".join(["# T", "", "| Model | A | Notes |", "| --- | ---: | --- |", f"| {name} | {number} | x |", ""])
    row = latex(page).splitlines()[-4]
    assert row.startswith(
        "50\\% of\\_\\$x\\$ \\& \\{a\\} \\textbackslash{} \\~{}\\# & \\begin{tabular}[t]{@{}r@{}}\\textbf{61.2}"
    )
    assert "Notes" not in latex(page)


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("lualatex") or shutil.which("pdflatex")), reason="no LaTeX here: apt-get install texlive-luatex"
)
def test_latex_compiles(board: Path, tmp_path: Path) -> None:
    """Every mark, hostile names and a table of several pages among it."""
    runs = []
    for i, name in enumerate((*HOSTILE, *(f"model{i}" for i in range(4)))):
        lost = Score(0.0, None, "unread: no option", outcome="unread")
        scores = [record(j, float(j % (i + 2) > 0)) if j > 3 * i else record(j, 0.0, score=lost) for j in range(60)]
        facts = {"decoding": {"temperature": 0.0, "max_new_tokens": 8 + i % 2}, "limit": 60 if i == 3 else None}
        runs.append(run_folder(tmp_path / f"r{i}", name, "careqa_vision_mcq", scores, **facts))
    build(runs, tmp_path / "out")
    files = [*sorted(board.glob("*.tex")), *sorted((tmp_path / "out").glob("*.tex"))]
    text = "".join(path.read_text() for path in files)
    assert all(mark in text for mark in ("$\\neq$", "$\\approx$", "\\dag{}", "$\\diamond$", "(continued)")), text[:500]
    inputs = "\n".join(f"\\input{{{path}}}" for path in files)
    packages = "\\documentclass{article}\n\\usepackage{booktabs,graphicx,textcomp}\n"
    (tmp_path / "all.tex").write_text(f"{packages}\\begin{{document}}\n{inputs}\n\\end{{document}}\n")
    program = str(shutil.which("lualatex") or shutil.which("pdflatex"))
    done = subprocess.run(
        [program, "-interaction=nonstopmode", "-halt-on-error", "all.tex"], cwd=tmp_path, capture_output=True
    )
    said = done.stdout.decode(errors="replace")
    assert done.returncode == 0, said[-2000:]
    assert "too large for page" not in said
