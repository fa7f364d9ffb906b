"""Which of two runs of one model on one task a page shows: the graded one, the verified, the complete, the newest."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from aloe_bench.boards.results import doubt

log = logging.getLogger(__name__)

Result = Mapping[str, Any]
_STAMP = re.compile(r"\d{8}T\d{6}\.\d+Z")
_REPLACED = "run %s takes the place of run %s, of another model of the same name; give each its own with run --name"


def preferred(given: Result, result: Result) -> dict[str, Any]:
    """Return the one that is shown, with what the runs that were passed over for it lack.

    `given` was there before; it stays only if it is graded, verified or complete and `result` is not, or if it is newer
    by the time in its name. Graded comes first, so that no cell without grades takes the place of one with them. The
    order in which more than two runs come makes no difference.
    """
    if given["run"] == result["run"]:
        return _shown(result, given)
    for word, lack in LACKS.items():
        if lack(given) != lack(result):
            shown, other = (given, result) if lack(given) < lack(result) else (result, given)
            log.warning("run %s left out: %s; run %s is shown", other["run"], word, shown["run"])
            return _shown(shown, other)
    if _is_newer(given["run"], result["run"]):
        log.warning("run %s left out: run %s is newer", result["run"], given["run"])
        return _shown(given, result)
    if given["model"]["fingerprint"] != result["model"]["fingerprint"]:
        log.warning(_REPLACED, result["run"], given["run"])
    return _shown(result, given)


def passed_over(result: Result) -> dict[str, str]:
    """Return the runs that a page names beside the one it shows, each with the reason: those that are newer.

    An older one too, where its data were verified and those of the run that is shown are not.
    """
    told, own = {}, _lacking(result)
    for run, words in sorted(result.get("passed_over", {}).items()):
        lacking = words.split("; ")
        verified_too = UNVERIFIED in own and UNVERIFIED not in lacking
        if verified_too or not _is_newer(result["run"], run):
            why = next((word for word in lacking if word not in own), lacking[0])
            told[run] = f"{why}, although on verified data" if verified_too else why
    return told


def _shown(shown: Result, other: Result) -> dict[str, Any]:
    over = {**other.get("passed_over", {}), **shown.get("passed_over", {})}
    over[str(other["run"])] = "; ".join(_lacking(other))
    kept = {run: over[run] for run in sorted(over) if over[run] and run != shown["run"]}
    rest = {key: value for key, value in shown.items() if key != "passed_over"}
    return {**rest, "passed_over": kept} if kept else rest


def _lacking(result: Result) -> list[str]:
    return [word for word, lack in LACKS.items() if lack(result)]


def _ungraded(result: Result) -> Fraction:
    """Return which share of the cells that hold replies holds some that no jury has graded."""
    cells = [numbers for numbers in result["cells"].values() if numbers["n"]]
    return Fraction(sum(bool(numbers["unjudged"]) for numbers in cells), max(len(cells), 1))


UNVERIFIED = "data not verified"
# What a run may lack, the gravest first.
LACKS: Mapping[str, Callable[[Result], int | Fraction]] = {
    "not graded": _ungraded,
    UNVERIFIED: lambda result: int(bool(doubt(result))),
    "partial": lambda result: int(bool(result["partial"])),
}


def _is_newer(first: str, second: str) -> bool:
    """The first run began after the second, as far as their names tell."""
    return bool(_STAMP.fullmatch(first) and _STAMP.fullmatch(second)) and first > second
