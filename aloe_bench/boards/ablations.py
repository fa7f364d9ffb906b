"""ablations.md: the paper's Tables 7, 8 and 9, of models that were trained on other mixtures."""

from __future__ import annotations

import csv
from importlib import resources

from aloe_bench.boards.tables import GENERATED, escape

TEXT = (
    "Copied from Aloe-Vision, Tables 7 to 9: accuracy in %, of SLAKE the judges' score. All are of Aloe-Vision-7B, "
    "trained as its Table 6 says on what the row names. The paper gives neither counts nor intervals, and no run of "
    "ours stands here. Their first rows are one model, of which Table 3 has other values in three columns "
    "(docs/paper-notes.md)."
)
TABLES = {
    "table7_mixtures.csv": "Table 7: mixtures",
    "table8_leakage.csv": "Table 8: pictures of the evaluation in the training data",
    "table9_filtering.csv": "Table 9: filtering",
}


def ablation_lines(file: str) -> list[dict[str, str]]:
    """Return the rows of one of `TABLES`, field by field, as printed."""
    source = resources.files("aloe_bench.boards").joinpath("paper", file)
    return list(csv.DictReader(source.read_text(encoding="utf-8").splitlines()))


def ablations_page() -> str:
    """Return the page."""
    blocks = [GENERATED, "# Ablations of the paper", TEXT]
    for file, title in TABLES.items():
        rows = ablation_lines(file)
        names = [name for name in rows[0] if name != "model"]
        lines = [["Trained on", *map(escape, names)], ["---", *["---:"] * len(names)]]
        lines += [[f"{escape(row['model'])} *(paper)*", *(row[name] for name in names)] for row in rows]
        blocks += [f"## {title}", "\n".join("| " + " | ".join(line) + " |" for line in lines)]
    return "\n\n".join(blocks) + "\n"
