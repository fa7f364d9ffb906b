"""A CareQA-Vision folder of 200 closed rows, so that back ends and engines can be compared row by row."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

MINI = Path(__file__).parents[1] / "data" / "careqa_mini"


def write_many_rows(root: Path, n: int = 200) -> Path:
    """Write `n` closed questions to `root`: those of careqa_mini, their options turned and the wording varied."""
    shutil.copytree(MINI / "images", root / "images", dirs_exist_ok=True)
    rows = json.loads((MINI / "CareQA-Vis_close.json").read_text(encoding="utf-8"))
    made = []
    for number in range(n):
        turn, row = number // len(rows), dict(rows[number % len(rows)])
        options = [row[f"op{i}"] for i in range(1, 5)]
        turned = options[turn % 4 :] + options[: turn % 4]
        row |= {f"op{i}": text for i, text in enumerate(turned, 1)}
        row |= {"unique_id": f"row-{number}", "cop": turned.index(options[row["cop"] - 1]) + 1}
        row["question"] = f"{'Look closely. ' * (turn // 4)}{row['question']}"
        made.append(row)
    (root / "CareQA-Vis_close.json").write_text(json.dumps(made), encoding="utf-8")
    return root
