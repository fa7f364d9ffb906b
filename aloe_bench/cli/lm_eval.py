"""`aloe-bench lm-eval`: lm-eval's own command with our tasks and our model in it.

The functions named in the YAML files live here too, as they read the environment: lm-eval's command has no other door
for a data folder.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from aloe_bench.errors import DataError

ALLOW_PARTIAL = "ALOE_BENCH_ALLOW_PARTIAL"
DATA_ROOT = Path("data")


@click.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def lm_eval(words: tuple[str, ...]) -> None:
    """Pass WORDS on to lm-eval (`lm-eval run ...`, `lm-eval ls ...`), with our tasks and --model aloe-bench known."""
    from aloe_bench.bridges.lmeval_launch import launch

    launch(list(words))


def documents(*, task: str, folder_from: str, **_: Any) -> dict[str, Any]:
    """Return the documents of the registered `task`, from the folder that the variable `folder_from` names."""
    from aloe_bench import registry
    from aloe_bench.bridges import lmeval_docs

    root = Path(os.environ.get(folder_from) or DATA_ROOT)
    partial = os.environ.get(ALLOW_PARTIAL, "").lower() in ("1", "true", "yes")
    try:
        return lmeval_docs.documents(registry.resolve("task", registry.TASKS, task), root, partial)
    except DataError as error:
        raise DataError(
            f"{error} In lm-eval the folder is named by the variable {folder_from} (now {root}), and "
            f"{ALLOW_PARTIAL}=1 stands for --allow-partial."
        ) from error
