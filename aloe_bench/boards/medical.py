"""medical.md: the shape of the paper's Table 3, ten benchmarks a row, and a column for each other task that asks so."""

from __future__ import annotations

from aloe_bench.boards.shapes import PageText, Shape
from aloe_bench.boards.tables import NEAR, RANKED, escape, words


def _paragraphs(shape: Shape) -> tuple[str, ...]:
    return (
        "Score in %. Best in **bold**, second <u>underlined</u>, within a size group, by the printed digits. "
        f"{NEAR} Under a number: its 95 % interval over images and k/n "
        "of the questions that were really scored (n alone of other means). Rows marked *(paper)* are copied from "
        f"Aloe-Vision, Table 3. {RANKED}",
        "\n".join(_rows(shape)),
    )


def _rows(shape: Shape) -> list[str]:
    lines = [
        "| Column | Scored by | Rows of the set | Rows that the paper scored |",
        "| --- | --- | --- | --- |",
    ]
    for task, entry in shape.entries.items():
        cells = (entry.place.scored, entry.place.rows, entry.paper)
        lines.append(f"| {escape(shape.label(task))} | {' | '.join(words(each) if each else '–' for each in cells)} |")
    return lines


MEDICAL = PageText("Medical suite", _paragraphs, "table3_benchmarks.csv")
