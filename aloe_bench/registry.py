"""Names to things, resolved only when used: one line of a table adds a task, a back end or a suite."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from aloe_bench.errors import UsageError, did_you_mean

TASKS = {
    "careqa_vision_mcq": "aloe_bench.tasks.careqa_vision:MCQ",
    "careqa_vision_open": "aloe_bench.tasks.careqa_vision:OPEN",
    "omnimedvqa": "aloe_bench.tasks.omnimedvqa:OMNIMEDVQA",
    "gmai_mmbench": "aloe_bench.tasks.gmai_mmbench:GMAI_MMBENCH",
    "pathmmu": "aloe_bench.tasks.pathmmu:PATHMMU",
    "probmed": "aloe_bench.tasks.probmed:PROBMED",
    "slake": "aloe_bench.tasks.slake:SLAKE",
    "mmmu": "aloe_bench.tasks.mmmu:MMMU",
    "multimedqa": "aloe_bench.bridges.lmeval.text:MULTIMEDQA",
    "mmlu": "aloe_bench.bridges.lmeval.text:MMLU",
    "mmlu_5shot": "aloe_bench.bridges.lmeval.text:MMLU_5SHOT",
}
# A task that is a folder of the user's: `heart:FOLDER`.
FOLDER_TASKS = {"heart": "aloe_bench.heart.task:open_task"}
_WITH_IMAGES = (
    "careqa_vision_mcq", "careqa_vision_open", "omnimedvqa", "gmai_mmbench", "pathmmu", "probmed", "slake", "mmmu",
)  # fmt: skip
SUITES: dict[str, tuple[str, ...]] = {
    "careqa_vision": ("careqa_vision_mcq", "careqa_vision_open"),
    # The columns of Aloe-Vision, Table 3, in its order; servers give no log-probabilities for the last two.
    "medical": (*_WITH_IMAGES, "multimedqa", "mmlu"),
    "medical_images": _WITH_IMAGES,
}
BACKENDS = {
    "hf": "aloe_bench.models.hf:HFModel",
    "vllm": "aloe_bench.models.vllm_engine:VLLMModel",
    "openai": "aloe_bench.models.http:OpenAIModel",
    "mock": "aloe_bench.models.mock:MockModel",
}


def resolve(kind: str, table: Mapping[str, str], name: str) -> Any:
    """Return the object that `table` names; raises UsageError with the closest match."""
    wanted = name.replace("-", "_")
    if wanted not in table:
        raise UsageError(f"Unknown {kind} {name!r}.{did_you_mean(wanted, table)} Known: {', '.join(table)}.")
    module, attribute = table[wanted].split(":")
    return getattr(importlib.import_module(module), attribute)


def task(name: str) -> Any:
    """Return the task of this name, or the one in a folder if the name is KIND:FOLDER."""
    kind, colon, folder = name.partition(":")
    return resolve("kind of task", FOLDER_TASKS, kind)(folder) if colon else resolve("task", TASKS, name)


def task_names(tasks: str | None, suite: str | None) -> list[str]:
    """Return the tasks asked for, in order, each once."""
    names = [name.strip() for name in (tasks or "").split(",") if name.strip()]
    if suite:
        suite = suite.replace("-", "_")
        if suite not in SUITES:
            raise UsageError(f"Unknown suite {suite!r}.{did_you_mean(suite, SUITES)} Known: {', '.join(SUITES)}.")
        names = [*SUITES[suite], *names]
    if not names:
        raise UsageError("No task given. Use --tasks a,b or --suite NAME; `aloe-bench ls tasks` shows them.")
    return list(dict.fromkeys(name if ":" in name else name.replace("-", "_") for name in names))
