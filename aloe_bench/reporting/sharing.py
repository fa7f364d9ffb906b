"""Whether a task's pictures may leave the machine: what it says itself, else what its licence allows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# A whole licence, not a sentence about some: "Apache-2.0 on its card, non-commercial in its terms" allows nothing here.
_OPEN = re.compile(
    r"(cc0|cc[ -]by|cc[ -]by[ -]sa|cc[ -]by[ -]nc|cc[ -]by[ -]nc[ -]sa|mit|apache|bsd[ -][23][ -]clause|pddl|odc[ -]by"
    r"|public domain)([ -]?\d\.\d)?(-universal)?",
    re.IGNORECASE,
)


def may_share(task: Mapping[str, Any]) -> bool:
    """Return whether the pictures of the task of a run's header may be passed on.

    `facts.pictures` decides ("share" or "keep"); where it is "licence", the licence must be one that allows copies.
    """
    said = (task.get("facts") or {}).get("pictures", "licence")
    if said != "licence":
        return bool(said == "share")
    return _OPEN.fullmatch(str(task.get("licence", "")).strip()) is not None
