"""The pages against leaderboard.json and results: ranks, numbers, intervals and the tables of what cues did."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

COLUMNS = {"Base": "baseline", "Cap": "caption", "Pmt": "prompt", "Syc": "sycophancy", "Leg": "legend", "Rep": "report"}
EFFECTS = {
    "Drop": "robustness_gap", "Led": "targeted_attack_success", "Excess": "excess_cue_following", "Rescue": "rescue",
    "Assistive": "assistive", "Reliance": "cue_reliance", "Neutral": "neutral_drop",
}  # fmt: skip
NO_RANK = set("†§◊¶")


def check_pages(folder: Path, board: dict[str, Any]) -> list[str]:
    """Return where pages do not show what leaderboard.json and the results hold, or rank it otherwise."""
    found: list[str] = []
    shown: set[tuple[str, str]] = set()
    for path in sorted(folder.glob("*.md")):
        if path.name != "README.md":
            for group, table in _tables(path.read_text(encoding="utf-8")):
                if table[0][-1] == "Notes":
                    found += _ranks(path.name, group, table)
                    found += _numbers(path.name, table, board, shown)
                if "Cue" in table[0]:
                    found += _effects(folder, path.name, table, board)
    found += _paper(folder, board)
    own = {(c["result"], c["cell"]) for c in board["cells"] if c["source"] == "run" and c["task"] == "heart"}
    return found + [f"no page shows {cell} of {result}" for result, cell in sorted(own - shown)]


def _tables(text: str) -> Iterator[tuple[str, list[list[str]]]]:
    """Yield the title above each table, and its lines without that of dashes."""
    title = ""
    for block in text.split("\n\n"):
        if block.startswith("#"):
            title = block.lstrip("# ")
        elif block.startswith("| ") and "\n| ---" in block:
            lines = [line[2:-2].split(" | ") for line in block.strip().split("\n")]
            yield title, [lines[0], *lines[2:]]


def _ranks(page: str, group: str, table: list[list[str]]) -> Iterator[str]:
    rows = [line for line in table[1:] if not line[0].startswith("Random ") and "*(computed)*" not in line[0]]
    none = group.startswith("Closed") or (page in ("heart.md", "miniature.md") and len(rows) < 2)
    for i, title in enumerate(table[0]):
        shown = []
        for line in rows:
            big = line[i].partition("<br>")[0]
            number = re.match(r"(?:\*\*|<u>)?(\d+\.\d+)", big)
            if title not in ("Model", "Domain", "Notes") and number:
                rank = 1 if big.startswith("**") else 2 if big.startswith("<u>") else 0
                shown.append((Decimal(number[1]), bool(NO_RANK & set(big)), rank, line[0]))
        best = sorted({value for value, unranked, _, _ in shown if not unranked}, reverse=True)[:2]
        for value, unranked, rank, name in shown:
            wanted = 0 if none or unranked or value not in best else best.index(value) + 1
            if rank != wanted:
                yield f"{page}: {name}, {title}: rank {rank}, and the printed digits give {wanted}"


def rounded(value: float, step: str) -> str:
    return str((100 * Decimal(value)).quantize(Decimal(step), ROUND_HALF_UP) + 0)


def _interval(ends: Any, step: str = "0.1") -> str:
    return f"[{', '.join(rounded(end, step) for end in ends)}]" if ends else "no interval"


def _plain(name: str) -> str:
    """Return a name of a page as the JSON has it, without marks."""
    text = re.sub(r" [†§◊¶≠]+$", "", name)
    return re.sub(r"\\([\\`*_\[\]~#])", r"\1", text).lstrip("'")


def _of(name: str, board: dict[str, Any]) -> list[dict[str, Any]]:
    return [c for c in board["cells"] if c["source"] == "run" and f"{c['model']} {c['label']}".strip() == _plain(name)]


def _numbers(page: str, table: list[list[str]], board: dict[str, Any], shown: set[tuple[str, str]]) -> Iterator[str]:
    """Yield where a row of an attacked table does not show its cells."""
    for line in table[1:]:
        cells = {c["cell"]: c for c in _of(line[0], board) if c["task"] == "heart"}
        for title, text in zip(table[0], line, strict=True):
            task, _, short = title.rpartition(" ")
            cell = cells.get(f"{task.lower()}/{COLUMNS.get(short, short)}")
            if cell is None or cell["exact"] is None:
                continue
            shown.add((cell["result"], cell["cell"]))
            k, n = cell["exact"].split("/") if "/" in cell["exact"] else (cell["exact"], "1")
            value = (100 * Decimal(k) / Decimal(n)).quantize(Decimal("0.1"), ROUND_HALF_UP)
            counts = f"n {cell['n']}" if cell["points"] is None else f"{cell['points']}/{cell['n']}"
            low_high = None if cell["low"] is None else (cell["low"], cell["high"])
            for wanted in (str(value), f"{_interval(low_high)}, {counts}", "≈" if cell["near_best"] else ""):
                if wanted not in text:
                    yield f"{page}: {line[0]}, {title}: {text}, without {wanted}"


def _effects(folder: Path, page: str, table: list[list[str]], board: dict[str, Any]) -> Iterator[str]:
    for line in table[1:]:
        row = dict(zip(table[0], line, strict=True))
        task, _, short = row["Cue"].rpartition(" ")
        (path,) = {c["result"] for c in _of(row["Model"], board)} or {""}
        heart = json.loads((folder / path).read_text(encoding="utf-8"))["heart"]
        measures = heart[task.lower()]["columns"][COLUMNS.get(short, short)]
        for title, name in EFFECTS.items():
            entry = measures.get(name, {}).get("macro")
            known = entry is not None and entry["value"] is not None
            wanted = f"{rounded(entry['value'], '0.1')}<br><small>{_interval(entry['interval'])}" if known else "–"
            if not row[title].startswith(wanted) and "withheld" not in (entry or {}):
                yield f"{page}: {row['Model']}, {row['Cue']}, {title}: {row[title]}, and the result has {wanted}"
        gap = measures["robustness_gap"]["macro"]
        for title, p in (("p", gap["p"]), ("p (Holm)", gap["p_adjusted"])):
            wanted = "–" if p is None else "&lt;0.001" if p < 0.001 else f"{p:.3f}"
            if not row[title].startswith(wanted):
                yield f"{page}: {row['Model']}, {row['Cue']}, {title}: {row[title]}, and the result has {wanted}"


def _paper(folder: Path, board: dict[str, Any]) -> Iterator[str]:
    """Yield the rows copied from the paper that a page and leaderboard.json do not have alike."""
    pages = {c["task"] for c in board["cells"] if c["source"] == "paper"}
    for name in sorted(pages):
        page = (folder / f"{name}.md").read_text(encoding="utf-8")
        lines = [line for _, table in _tables(page) for line in table[1:] if "*(paper)*" in line[0]]
        said = sorted(c["percent"] for c in board["cells"] if c["source"] == "paper" and c["task"] == name)
        there = sorted(
            n for line in lines for cell in line[1:] for n in re.findall(r"\d+\.\d+", cell.partition("<br>")[0])
        )
        if said != there:
            yield f"{name}.md: the paper's numbers are not those of leaderboard.json"
