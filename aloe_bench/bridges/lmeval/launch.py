"""lm-eval's own command line with our tasks in its index and our model in its registry."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from aloe_bench.bridges.lmeval.docs import TASKS_FOLDER
from aloe_bench.errors import DependencyError, UsageError


def launch(words: list[str]) -> None:
    """Run `lm-eval WORDS`; raises DependencyError without lm_eval and UsageError for what it refuses."""
    try:
        import lm_eval.tasks
    except ImportError as error:
        raise DependencyError(f"lm-eval is not here ({error}). Run `pip install 'aloe-bench[lm-eval]'`.") from error
    from lm_eval._cli import HarnessCLI
    from lm_eval.utils import setup_logging

    import aloe_bench.bridges.lmeval.model  # noqa: F401 - puts --model aloe-bench into lm-eval's registry

    manager, argv = lm_eval.tasks.TaskManager, sys.argv
    # lm-eval's command reads both where it runs and offers no other place to hand them over.
    lm_eval.tasks.TaskManager, sys.argv = _with_ours(manager), ["aloe-bench lm-eval", *words]
    setup_logging()
    try:
        cli = HarnessCLI()
        cli.execute(cli.parse_args())
    except (KeyError, ValueError) as error:
        raise UsageError(f"lm-eval: {error}") from error
    finally:
        lm_eval.tasks.TaskManager, sys.argv = manager, argv


def _with_ours(manager: type[Any]) -> type[Any]:
    """Return lm-eval's task index with our tasks in it, which reads its own 14,000 names only when one is asked for."""

    class Registered(manager):  # type: ignore[misc]
        def __init__(self, include_path: Any = None, include_defaults: bool = True, **options: Any) -> None:
            theirs = include_path if isinstance(include_path, list | tuple) else [include_path] if include_path else []
            self._paths: list[str | Path] = [TASKS_FOLDER, *theirs]
            self._options, self._wants_defaults = options, include_defaults
            super().__init__(include_path=self._paths, include_defaults=False, **options)

        def _read_defaults(self) -> None:
            if self._wants_defaults:
                self._wants_defaults = False
                super().__init__(include_path=self._paths, include_defaults=True, **self._options)

        def match_tasks(self, task_list: list[str]) -> list[str]:
            # A group may name tasks of lm-eval's own, and so may a pattern.
            if any(name not in self.all_subtasks for name in task_list):
                self._read_defaults()
            matches: list[str] = super().match_tasks(task_list)
            return matches

        def list_all_tasks(self, *arguments: Any, **options: Any) -> str:
            self._read_defaults()
            return str(super().list_all_tasks(*arguments, **options))

    return Registered
