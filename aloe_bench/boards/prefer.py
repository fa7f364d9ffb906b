"""Which of two runs of one model on one task a page shows: the verified one, the complete, the graded, the newest."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from aloe_bench.boards.results import doubt

log = logging.getLogger(__name__)

Result = Mapping[str, Any]
_STAMP = re.compile(r"\d{8}T\d{6}\.\d+Z")
_REPLACED = "run %s takes the place of run %s, of another model of the same name; give each its own with run --name"


def preferred(given: Result, result: Result) -> dict[str, Any]:
    """Return the one that is shown, with the newer runs that were passed over for it, each with the reason.

    `given` was there before; it stays only if it is verified, complete or graded and `result` is not, or if it is newer
    by the time in its name. The order in which more than two runs come makes no difference.
    """
    if given["run"] == result["run"]:
        return _shown(result, given, {})
    for why, has in (("data not verified", _is_verified), ("partial", _is_complete), ("not graded", _is_graded)):
        if has(given) != has(result):
            shown, other = (given, result) if has(given) else (result, given)
            log.warning("run %s left out: %s; run %s is shown", other["run"], why, shown["run"])
            return _shown(shown, other, {str(other["run"]): why})
    if _is_newer(given["run"], result["run"]):
        log.warning("run %s left out: run %s is newer", result["run"], given["run"])
        return _shown(given, result, {})
    if given["model"]["fingerprint"] != result["model"]["fingerprint"]:
        log.warning(_REPLACED, result["run"], given["run"])
    return _shown(result, given, {})


def _shown(shown: Result, other: Result, why: Mapping[str, str]) -> dict[str, Any]:
    over = {**other.get("passed_over", {}), **shown.get("passed_over", {}), **why}
    kept = {run: over[run] for run in sorted(over) if run != shown["run"] and not _is_newer(shown["run"], run)}
    rest = {key: value for key, value in shown.items() if key != "passed_over"}
    return {**rest, "passed_over": kept} if kept else rest


def _is_verified(result: Result) -> bool:
    return not doubt(result)


def _is_complete(result: Result) -> bool:
    return not result["partial"]


def _is_graded(result: Result) -> bool:
    return not any(numbers["unjudged"] for numbers in result["cells"].values())


def _is_newer(first: str, second: str) -> bool:
    """The first run began after the second, as far as their names tell."""
    return bool(_STAMP.fullmatch(first) and _STAMP.fullmatch(second)) and first > second
