"""aloe-bench: robustness benchmark for medical vision-language models.

    from aloe_bench import evaluate
    run = evaluate("path/to/checkpoint", "careqa_vision_mcq", data_root="data")
    print(run.cells["overall"].value)

Each name below is imported when it is first used, so that `import aloe_bench` loads nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aloe_bench.api.grading import agreement, judge, jury
    from aloe_bench.api.reports import report, view
    from aloe_bench.api.runs import Run, evaluate
    from aloe_bench.api.tables import attack, compare, leaderboard
    from aloe_bench.core import Cell, Decoding, Model, Record, Sample, Task
    from aloe_bench.errors import AloeError, DataError, ModelError, UsageError
    from aloe_bench.models.make import ModelSpec

__version__ = "0.1.0"
__all__ = [
    "AloeError",
    "Cell",
    "DataError",
    "Decoding",
    "Model",
    "ModelError",
    "ModelSpec",
    "Record",
    "Run",
    "Sample",
    "Task",
    "UsageError",
    "agreement",
    "attack",
    "compare",
    "evaluate",
    "judge",
    "jury",
    "leaderboard",
    "report",
    "view",
]
_PLACES = {
    **dict.fromkeys(("Cell", "Decoding", "Model", "Record", "Sample", "Task"), "aloe_bench.core"),
    **dict.fromkeys(("AloeError", "DataError", "ModelError", "UsageError"), "aloe_bench.errors"),
    **dict.fromkeys(("Run", "evaluate"), "aloe_bench.api.runs"),
    **dict.fromkeys(("agreement", "judge", "jury"), "aloe_bench.api.grading"),
    **dict.fromkeys(("attack", "compare", "leaderboard"), "aloe_bench.api.tables"),
    "ModelSpec": "aloe_bench.models.make",
    **dict.fromkeys(("report", "view"), "aloe_bench.api.reports"),
}


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module 'aloe_bench' has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
