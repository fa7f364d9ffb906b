"""Names to things, resolved only when used: one line of a table adds a task, an attack, a back end or a suite."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, TypeVar

from aloe_bench import outside
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
# A task that is a folder or a file of the user's: `heart:FOLDER`, `mcq:FILE`.
FOLDER_TASKS = {
    "heart": "aloe_bench.heart.task:open_task",
    "mcq": "aloe_bench.tasks.own:open_mcq",
    "yesno": "aloe_bench.tasks.own:open_yes_no",
    "open": "aloe_bench.tasks.own:open_open",
}
# What `data fetch` brings beside the tasks: the published table, to be run as heart:data/heart.
PUBLISHED = {"heart": "aloe_bench.heart.task:PUBLISHED"}
_WITH_IMAGES = (
    "careqa_vision_mcq", "careqa_vision_open", "omnimedvqa", "gmai_mmbench", "pathmmu", "probmed", "slake", "mmmu",
)  # fmt: skip
SUITES: dict[str, tuple[str, ...]] = {
    "careqa_vision": ("careqa_vision_mcq", "careqa_vision_open"),
    # The columns of Aloe-Vision, Table 3, in its order; servers give no log-probabilities for the last two.
    "medical": (*_WITH_IMAGES, "multimedqa", "mmlu"),
    "medical_images": _WITH_IMAGES,
}
# In the order of names and columns.
ATTACKS = {
    "caption": "aloe_bench.heart.attacks.caption:CAPTION",
    "prompt": "aloe_bench.heart.attacks.prompt:PROMPT",
    "sycophancy": "aloe_bench.heart.attacks.sycophancy:SYCOPHANCY",
    "legend": "aloe_bench.heart.attacks.legend:LEGEND",
    "report": "aloe_bench.heart.attacks.report:REPORT",
}
BACKENDS = {
    "hf": "aloe_bench.models.hf:HFModel",
    "vllm": "aloe_bench.models.vllm_engine:VLLMModel",
    "openai": "aloe_bench.models.http:OpenAIModel",
    "mock": "aloe_bench.models.mock:MockModel",
}
# Who reads the option out of a reply: ours, and the published rules of others.
PARSERS = {
    "strict": "aloe_bench.answers.parsers:STRICT",
    "strict2": "aloe_bench.answers.parsers:STRICT2",
    "vlmeval": "aloe_bench.answers.parsers:VLMEVAL",
    "probmed": "aloe_bench.answers.parsers:PROBMED",
    "mmmu": "aloe_bench.answers.parsers:MMMU",
    "lm-eval": "aloe_bench.answers.parsers:LMEVAL",
    "first-letter": "aloe_bench.answers.parsers:FIRST_LETTER",
    "exact-match": "aloe_bench.answers.parsers:EXACT_MATCH",
}
# What a task's facts may name: who asks in place of our own loop, what takes the place of cells, and rules of cells.
ENGINES = {"lm-eval": "aloe_bench.bridges.lmeval.engine:lmeval_engine"}
MEASURES = {"heart": "aloe_bench.heart.measure.effects:MEASURE"}
CELL_RULES = {
    "probmed pairs": "aloe_bench.tasks.probmed:pairs",
    "probmed official": "aloe_bench.tasks.probmed:official_units",
}
# Rules of cells that read replies again; the others make do with scores, tags and clusters.
REGRADES = {"slake exact match": "aloe_bench.answers.compat.slake:closed_by_exact_match"}
# What a Task has (core.py).
_TASK = ("name", "version", "source", "revision", "licence", "expected_rows", "load", "prompt")

# What was loaded from outside, by the id of each thing, which is kept so that no other gets its id.
_from_outside: dict[int, tuple[Any, outside.Origin]] = {}

T = TypeVar("T")


def folded(name: str) -> str:
    """Return `name` as names are compared: "-" and "_" are one."""
    return name.replace("-", "_")


def find(table: Mapping[str, T], name: str) -> T | None:
    """Return the entry of this name, None if there is none."""
    return next((entry for known, entry in table.items() if folded(known) == folded(name)), None)


def shipped(kind: str, table: Mapping[str, str], name: str) -> Any:
    """Return the object that `table` names, and nothing from outside the package: a results file may give the name."""
    place = find(table, name)
    if place is None:
        raise UsageError(f"Unknown {kind} {name!r}.{did_you_mean(name, table)} Known: {', '.join(table)}.")
    module, attribute = place.split(":")
    return getattr(importlib.import_module(module), attribute)


def resolve(kind: str, table: Mapping[str, str], name: str) -> Any:
    """Return the object that `table` names, or one from outside the package.

    That is FILE.py:NAME, a module's pkg.mod:NAME, or what an installed package offers under its entry points. Raises
    UsageError with the closest match.
    """
    if find(table, name) is not None:
        return shipped(kind, table, name)
    if ":" in name:
        return _kept(*outside.load(name))
    installed = outside.installed(kind)
    if (place := find(installed, name)) is not None:
        return _kept(*outside.load(place))
    known = [*table, *installed]
    raise UsageError(f"Unknown {kind} {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}.")


def origin(thing: object) -> outside.Origin | None:
    """Return where `resolve` found `thing`, None of one that was not loaded from outside."""
    found = _from_outside.get(id(thing))
    return found[1] if found else None


def _kept(thing: Any, found: outside.Origin) -> Any:
    _from_outside[id(thing)] = thing, found
    return thing


def task(name: str) -> Any:
    """Return the task of this name; KIND:FOLDER is the one in a folder, for the kinds in FOLDER_TASKS."""
    kind, colon, folder = name.partition(":")
    if colon and kind in FOLDER_TASKS:
        return resolve("kind of task", FOLDER_TASKS, kind)(folder)
    try:
        found = resolve("task", TASKS, name)
    except UsageError as error:
        raise UsageError(_instead(name) or f"{error}{' ' + _YOURS if colon else ''}") from error
    lacking = [part for part in _TASK if not hasattr(found, part)]
    if lacking:
        raise UsageError(f"{name}: a {type(found).__name__} without {', '.join(lacking)}; expected a Task.")
    if origin(found) is not None and find(TASKS, str(found.name)) is not None:
        raise UsageError(f"{name}: a task called {found.name!r} ships with aloe-bench. Give this one another name.")
    return found


def task_of_run(header: Mapping[str, Any]) -> Any:
    """Return the task of a run by its header; a folder or file of the user's is opened where the command named it.

    A header may come from a stranger: a file of data that it names is read, a Python file that it names is not run.
    """
    name, asked = str(header["task"]["name"]), (header.get("asked") or {}).get("options") or {}
    for word in (part.strip() for part in str(asked.get("tasks") or "").split(",")):
        kind, colon, _ = word.partition(":")
        if colon and kind in FOLDER_TASKS and name.startswith(kind) and (found := task(word)).name == name:
            return found
    return resolve("task", TASKS, name)


_YOURS = f"Yours are heart:FOLDER, {', '.join(f'{kind}:FILE' for kind in FOLDER_TASKS if kind != 'heart')}."


def _instead(name: str) -> str:
    """Return what somebody meant who asked for a task called like a suite or a kind of task; "" for any other name."""
    suite = next((each for each in SUITES if folded(each) == folded(name)), None)
    if suite:
        return f"{name!r} is a suite, not a task: use --suite {suite}."
    if name in FOLDER_TASKS:
        return f"{name!r} alone names no task: give yours as {name}:{'FOLDER' if name == 'heart' else 'FILE'}."
    return ""


def task_names(tasks: str | None, suite: str | None) -> list[str]:
    """Return the tasks asked for, in order, each once."""
    names = [name.strip() for name in (tasks or "").split(",") if name.strip()]
    if suite:
        members = find(SUITES, suite)
        if members is None:
            raise UsageError(f"Unknown suite {suite!r}.{did_you_mean(suite, SUITES)} Known: {', '.join(SUITES)}.")
        names = [*members, *names]
    if not names:
        raise UsageError("No task given. Use --tasks a,b or --suite NAME; `aloe-bench ls tasks` shows them.")
    kept: dict[str, str] = {}
    for name in names:
        kept.setdefault(name if ":" in name else folded(name), name)
    return list(kept.values())
