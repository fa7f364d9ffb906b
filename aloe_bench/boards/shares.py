"""Which numbers of a result are plain shares, k of n, and what the others are means of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from aloe_bench import registry

Result = Mapping[str, Any]


def points_of(result: Result, name: str) -> Fraction | None:
    """Return k of the cell `name` where its value is k/n by its very making, halves counted; None of other means."""
    numbers = result["cells"][name]
    if numbers["exact"] is None or not numbers["n"] or not _is_plain(result, name):
        return None
    points = Fraction(numbers["exact"]) * numbers["n"]
    return points if points.denominator in (1, 2) else None


def share_text(result: Result, name: str) -> str:
    """Return "97/165" of a plain share, "n 165" of any other mean."""
    points, n = points_of(result, name), result["cells"][name]["n"]
    return f"n {n}" if points is None else f"{points_text(points)}/{n}"


def points_text(points: Fraction) -> str:
    """Return points as printed: whole, or with .5 behind."""
    return str(points.numerator) if points.denominator == 1 else f"{float(points):.1f}"


def significant(value: float | None) -> float | None:
    """Return a number with the six digits that every machine gives alike."""
    return None if value is None else float(f"{value:.6g}")


def parts_of(result: Result, name: str) -> dict[str, tuple[Fraction, int]]:
    """Return data set -> (k, n) of an attacked table's cell that is a mean over several; empty of any other."""
    datasets = _datasets(result, name)
    if len(datasets) < 2 or any(part["value"] is None for part in datasets.values()):
        return {}
    return {
        dataset: (Fraction(round(2 * part["value"] * part["n"]), 2), part["n"]) for dataset, part in datasets.items()
    }


def _datasets(result: Result, name: str) -> Mapping[str, Any]:
    if "heart" not in result:
        return {}
    task, _, attack = name.partition("/")
    measure = "accuracy" if attack == "baseline" else "adversarial"
    found: Mapping[str, Any] = result["heart"][task]["columns"][attack][measure].get("datasets", {})
    return found


def _is_plain(result: Result, name: str) -> bool:
    if "heart" in result:
        return len(_datasets(result, name)) == 1
    for spec in result["task"]["facts"]["cells"]:
        pattern = re.escape(spec.name).replace(r"\{\}", "(.|\n)*") if spec.average == "each" else re.escape(spec.name)
        if re.fullmatch(pattern, name):
            return spec.average != "macro" and not spec.weight and (not spec.rule or spec.rule in registry.REGRADES)
    return False
