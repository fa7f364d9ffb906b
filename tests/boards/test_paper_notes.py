"""docs/paper-notes.md: each contradiction, computed from the copied tables; and these against the paper's own text."""

import csv
import re
from decimal import Decimal
from fractions import Fraction
from importlib import resources
from pathlib import Path

import pytest

from aloe_bench.boards.ablations import TABLES, ablation_lines

PAPER = Path(__file__).parents[3] / "shared" / "paper" / "aloe-vision.txt"
NOTES = (Path(__file__).parents[2] / "docs" / "paper-notes.md").read_text(encoding="utf-8")


def table(name: str) -> list[dict[str, str]]:
    source = resources.files("aloe_bench.boards").joinpath("paper", name)
    return list(csv.DictReader(source.read_text(encoding="utf-8").splitlines()))


BENCHMARKS, CAREQA, HEART = map(table, ("table3_benchmarks.csv", "table10_careqa_vision.csv", "table4_robustness.csv"))
BY_NAME = {row["model"]: row for row in BENCHMARKS}


def fits(shown: str, n: int, unit: Fraction) -> bool:
    """Return whether some k of n, in steps of `unit`, is printed as `shown`, rounded or cut to two decimals."""
    value = Fraction(shown)
    k = unit * ((value - Fraction(1, 200)) / 100 * n // unit)
    while 100 * k / n < value + Fraction(1, 100):
        off = 100 * k / n - value
        if abs(off) <= Fraction(1, 200) or 0 <= off < Fraction(1, 100):
            return True
        k += unit
    return False


@pytest.mark.parametrize(
    ("rows", "column", "n", "half", "count"),
    [(BENCHMARKS, "CareQA-V MCQ", 165, False, 19), (BENCHMARKS, "CareQA-V VQA", 136, True, 19),
     (BENCHMARKS, "PathMMU", 1142, False, 19), (BENCHMARKS, "PathMMU", 1100, False, 4),
     (BENCHMARKS, "PathMMU", 1156, False, 4), (BENCHMARKS, "GMAI-MMBench", 4550, False, 19),
     (BENCHMARKS, "GMAI-MMBench", 4500, False, 11), (BENCHMARKS, "MMMU", 900, False, 19),
     (BENCHMARKS, "MMMU", 1400, False, 3), (BENCHMARKS, "SLAKE", 1061, True, 18), (BENCHMARKS, "SLAKE", 2094, True, 9),
     (CAREQA, "mcq/nursing", 42, False, 18), (CAREQA, "mcq/medicine", 123, False, 18),
     (CAREQA, "vqa/nursing", 28, True, 18), (CAREQA, "vqa/medicine", 108, True, 18),
     (CAREQA, "vqa/medicine", 105, True, 0)],
)  # fmt: skip
def test_denominators(rows: list[dict[str, str]], column: str, n: int, half: bool, count: int) -> None:
    unit = Fraction(1, 2) if half else Fraction(1)
    assert sum(fits(row[column], n, unit) for row in rows) == count


def test_table_10_overall_follows_from_its_parts() -> None:
    for row in CAREQA:
        for kind, nursing, medicine in (("mcq", 42, 123), ("vqa", 28, 108)):
            points = Fraction(row[f"{kind}/nursing"]) * nursing + Fraction(row[f"{kind}/medicine"]) * medicine
            assert abs(points / (nursing + medicine) - Fraction(row[f"{kind}/overall"])) <= Fraction(1, 100)


def test_the_final_model_of_tables_7_to_9_is_not_table_3s() -> None:
    first = [{k: v for k, v in ablation_lines(file)[0].items() if k != "model"} for file in TABLES]
    assert first[0] == first[1] == first[2]
    names = {"OmniMed": "OmniMedVQA", "GMAI": "GMAI-MMBench", "MultimedQA": "MultiMedQA"}
    own = {name: Decimal(BY_NAME["Aloe-Vision-7B"][names.get(name, name)]) for name in first[0]}
    apart = {name: abs(Decimal(first[0][name]) - own[name]) for name in own}
    assert {name for name, off in apart.items() if off > Decimal("0.05")} == {"SLAKE", "MMMU", "PathMMU"}
    assert (apart["SLAKE"], apart["MMMU"], apart["PathMMU"]) == (Decimal("1.78"), Decimal("0.66"), Decimal("0.28"))


def test_claims_of_the_text() -> None:
    small = [row for row in BENCHMARKS if row["size_group"] == "small"]
    columns = [name for name in small[0] if name not in ("model", "size_group", "domain")]
    first = [c for c in columns if max(small, key=lambda row: Decimal(row[c]))["model"] == "Hulu-Med-7B"]
    assert len(first) == 5
    heart = {row["model"]: row for row in HEART}
    cells = [c for c in HEART[0] if c != "model" and not c.endswith("/baseline")]
    worse = [
        (size, c)
        for size in ("7B", "72B")
        for c in cells
        if Decimal(heart[f"Aloe-Vision-{size}-S2"][c]) < Decimal(heart[f"Aloe-Vision-{size}-S1"][c])
    ]
    assert worse == [("72B", "classification/sycophancy")]
    drops = {}
    for attack in ("caption", "prompt", "sycophancy"):
        for task in ("classification", "detection"):
            lost = [Decimal(row[f"{task}/baseline"]) - Decimal(row[f"{task}/{attack}"]) for row in HEART[1:]]
            drops[task, attack] = f"{sum(lost) / len(lost):.1f}"
    assert list(drops.values()) == ["57.5", "53.1", "49.7", "57.5", "27.7", "47.6"]
    assert all(text in NOTES for text in ("57.5 against 49.7", "47.6 against 27.7", "53.1 against 57.5", "75.0 before"))
    assert 3_959_087 - 3_571_622 == 387_465


@pytest.mark.skipif(not PAPER.is_file(), reason="the paper is not beside this checkout")
@pytest.mark.parametrize(
    ("number", "rows"),
    [
        (3, BENCHMARKS),
        (4, HEART[1:]),
        (10, CAREQA),
        *((n, ablation_lines(f)) for n, f in zip((7, 8, 9), TABLES, strict=True)),
    ],
)
def test_every_copied_value_is_the_papers(number: int, rows: list[dict[str, str]]) -> None:
    text = PAPER.read_text(encoding="utf-8")
    after = text[text.index(f"\nTable {number}:") + 1 :].partition("\nTable ")[0]
    printed = {re.sub(r"<.*?>", "", line).split("\t")[0]: re.sub(r"<.*?>", "", line).split("\t")[1:]
               for line in after.split("\n") if "\t" in line}  # fmt: skip
    for row in rows:
        values = [value for name, value in row.items() if name not in ("model", "size_group", "domain")]
        found = printed.get(row["model"])
        assert found is not None and sorted(found) == sorted(values), row["model"]
