"""The numbers of a leaderboard for machines and papers: leaderboard.json, leaderboard.csv, and LaTeX of every page."""

from __future__ import annotations

import csv
import hashlib
import html
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from importlib import resources
from pathlib import Path
from typing import Any

from aloe_bench.boards.ablations import TABLES
from aloe_bench.boards.apart import apart
from aloe_bench.boards.graders import GRADED_COLUMNS, agreement_facts
from aloe_bench.boards.near import near_best
from aloe_bench.boards.pages import Board
from aloe_bench.boards.published import Published
from aloe_bench.boards.shares import parts_of, points_of, points_text
from aloe_bench.boards.tables import cell_marks, is_miniature, marks_of, percent, protocol_label
from aloe_bench.boards.versus import VERSUS_COLUMNS, versus_facts
from aloe_bench.evaluation.outcomes import OUTCOMES
from aloe_bench.files import spreadsheet_safe

SCHEMA = 1
PAPER = (
    ("medical", "table3_benchmarks.csv"),
    ("heart", "table4_robustness.csv"),
    ("careqa_vision", "table10_careqa_vision.csv"),
    *(("ablations", file) for file in TABLES),
)
COLUMNS = (
    "source", "model", "label", "run", "task", "version", "data_sha256", "cell", "percent", "points", "n", "n_clusters",
    "low", "high", "exact", *OUTCOMES, "unjudged", "marks", "near_best", "apart", "miniature", "result",
)  # fmt: skip
NOTES = "Notes"
# Lines of a table that fit a page of LaTeX, and how wide it is: as the text, unless it is narrower.
PAGE_LINES = 40
NARROW = r"\ifdim\width>\textwidth\textwidth\else\width\fi"


def exports(folder: Path, published: Mapping[Path, Published], board: Board) -> dict[str, str]:
    """Return file name -> text of what stands beside the pages, made of them and of the results alone.

    leaderboard.json names every other file of the leaderboard with its SHA-256.
    """
    cells = [*_paper_cells(), *_cells(folder, published)]
    paths = [path.relative_to(folder).as_posix() for path in published]
    results = [one.result for one in published.values()]
    pairs = [versus_facts(results, paths, row) for row in board.versus]
    graded = [line for run in board.graded for line in agreement_facts(results, paths, run)]
    made = {
        "leaderboard.csv": _csv(COLUMNS, cells),
        "comparisons.csv": _csv(VERSUS_COLUMNS, pairs),
        "agreement.csv": _csv(GRADED_COLUMNS, graded),
    }
    made |= {f"{name.removesuffix('.md')}.tex": latex(text) for name, text in board.pages.items()}
    texts = {**board.pages, **made}
    files = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    for path, one in published.items():
        files[path.relative_to(folder).as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
        files[f"items/{one.items.sha256}.json"] = one.items.sha256
    whole = {
        "schema": SCHEMA, "cells": cells, "comparisons": pairs, "agreement": graded,
        "files": dict(sorted(files.items())),
    }  # fmt: skip
    return made | {"leaderboard.json": json.dumps(whole, indent=1) + "\n"}


def _cells(folder: Path, published: Mapping[Path, Published]) -> Iterator[dict[str, Any]]:
    near = near_best([*published.values()])
    other = apart([one.result for one in published.values()])
    for (path, one), near_cells, texts in zip(published.items(), near, other, strict=True):
        result = one.result
        task = result["task"]
        for name, numbers in result["cells"].items():
            points, exact = points_of(result, name), numbers["exact"]
            low, high = numbers["interval"] or (None, None)
            cell: dict[str, Any] = {
                "source": "run",
                "model": result["model"]["name"],
                "label": protocol_label(result).strip(),
                "run": result["run"],
                "task": task["name"],
                "version": task["version"],
                "data_sha256": task["data_sha256"],
                "cell": name,
                "percent": None if exact is None else str(percent(Fraction(exact))),
                "points": None if points is None else points_text(points),
                "n": numbers["n"],
                "n_clusters": numbers["n_clusters"],
                "low": low,
                "high": high,
                "exact": exact,
                **{outcome: numbers[outcome] for outcome in OUTCOMES},
                "unjudged": numbers["unjudged"],
                "marks": marks_of(result) + cell_marks(numbers),
                "near_best": name in near_cells,
                "apart": "; ".join(texts),
                "miniature": is_miniature(result),
                "result": path.relative_to(folder).as_posix(),
            }
            parts = {key: [points_text(k), n] for key, (k, n) in parts_of(result, name).items()}
            yield cell | ({"parts": parts} if parts else {})


def _paper_cells() -> Iterator[dict[str, Any]]:
    """Yield the paper's numbers as it prints them; it gives no counts and no intervals."""
    for page, file in PAPER:
        source = resources.files("aloe_bench.boards").joinpath("paper", file).read_text(encoding="utf-8")
        for line in csv.DictReader(source.splitlines()):
            for name, text in line.items():
                if name not in ("model", "size_group", "domain"):
                    told = {"source": "paper", "model": line["model"], "task": page, "cell": name, "percent": text}
                    yield {column: told.get(column) for column in COLUMNS}


def _csv(columns: Sequence[str], lines: Sequence[Mapping[str, Any]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for line in lines:
        writer.writerow([_csv_cell(line[column]) for column in columns])
    return file.getvalue()


def _csv_cell(value: object) -> str:
    if value is None:
        return ""
    return spreadsheet_safe(value.replace("\0", "\ufffd")) if isinstance(value, str) else str(value)


def latex(page: str) -> str:
    """Return a page's tables in LaTeX (booktabs, graphicx), as wide as the text at most, without the notes."""
    blocks = [
        "% Generated from the page of this name. Needs \\usepackage{booktabs,graphicx,textcomp};",
        "% LuaLaTeX or XeLaTeX where names are not in Latin letters.",
    ]
    title = ""
    for block in page.strip().split("\n\n"):
        if block.startswith("#"):
            title = block.lstrip("# ")
        elif block.startswith("| ") and "\n| ---" in block:
            head, dashes, *rows = [line[2:-2].split(" | ") for line in block.split("\n")]
            at_once = PAGE_LINES // 2 if "<br><small>" in block else PAGE_LINES
            for at in range(0, len(rows), at_once) or [0]:
                caption = f"{title} (continued)" if at else title
                blocks.append(_table(caption, [head, dashes, *rows[at : at + at_once]]))
    return "\n".join(blocks) + "\n"


def _table(title: str, lines: Sequence[Sequence[str]]) -> str:
    kept = [i for i, name in enumerate(lines[0]) if name != NOTES]
    marks = "".join("r" if lines[1][i].endswith(":") else "l" for i in kept)
    head, *body = ([_cell(line[i]) for i in kept] for line in (lines[0], *lines[2:]))
    rows = "\n".join(f"{' & '.join(row)} \\\\" for row in body)
    return (
        f"\\begin{{table}}\n\\caption{{{_cell(title)}}}\n\\resizebox{{{NARROW}}}{{!}}{{%\n\\begin{{tabular}}{{{marks}}}\n"
        f"\\toprule\n{' & '.join(head)} \\\\\n\\midrule\n{rows}\n\\bottomrule\n\\end{{tabular}}}}\n\\end{{table}}"
    )


def _cell(text: str) -> str:
    """Return one cell of a page in LaTeX: bold and underlined numbers, the small print beneath."""
    number, _, small = text.partition("<br><small>")
    number = re.sub(r"\*\*(.*?)\*\*", lambda m: f"\0b{m[1]}\0e", number)
    number = re.sub(r"<u>(.*?)</u>", lambda m: f"\0u{m[1]}\0e", number)
    shown = _escaped(number).replace("\0b", "\\textbf{").replace("\0u", "\\underline{").replace("\0e", "}")
    if not small:
        return shown
    beneath = _escaped(small.removesuffix("</small>"))
    return f"\\begin{{tabular}}[t]{{@{{}}r@{{}}}}{shown}\\\\{{\\scriptsize {beneath}}}\\end{{tabular}}"


_LATEX = {
    "\\": "\\textbackslash{}", "{": "\\{", "}": "\\}", "$": "\\$", "&": "\\&", "#": "\\#", "^": "\\^{}", "_": "\\_",
    "~": "\\~{}", "%": "\\%", "<": "\\textless{}", ">": "\\textgreater{}", "|": "\\textbar{}", "[": "{[}", "]": "{]}",
    "†": "\\dag{}", "‡": "\\ddag{}", "§": "\\S{}", "◊": "$\\diamond$",
    "≈": "$\\approx$", "≠": "$\\neq$", "↓": "$\\downarrow$", "–": "--", "…": "\\ldots{}",
    '"': "{\\ttfamily\\char34}", "`": "\\textasciigrave{}", "'": "\\textquotesingle{}", "−": "$-$", "\ufffd": "?",
}  # fmt: skip


def _escaped(text: str) -> str:
    """Return text of a Markdown cell as LaTeX prints it, whatever it holds."""
    plain = re.sub(r"\\([\\`*_\[\]~#])", r"\1", text)
    plain = html.unescape(plain.replace("*(paper)*", "(paper)").replace("*(computed)*", "(computed)"))
    return "".join(_LATEX.get(character, character) for character in plain)
