"""A run as the Hugging Face hub reads it: a model card's `model-index`, and `.eval_results/*.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from aloe_bench.boards.build import evidence
from aloe_bench.boards.public import public_result
from aloe_bench.boards.results import doubt, is_published_heart
from aloe_bench.boards.tables import cell_marks, ended, marks_of, percent, protocol_label
from aloe_bench.errors import DataError
from aloe_bench.files import safe_name, write_atomic

TASK = "visual-question-answering"
# What the marks of pages mean, but for the one whose reason is given.
SAID = {"†": "not the whole task", "◊": "many replies name no option", "¶": "many replies were cut"}
UNPUBLISHED = "this run's data"


def export_hub(folder: Path, output: Path) -> list[Path]:
    """Return the files written below `output` for the finished run in `folder`: README.md, and, if its data are those
    of a benchmark on the hub, .eval_results/TASK.yaml.

    README.md holds the `model-index` alone, to be put into a model's card. A cell without a value stands in neither.
    Raises DataError for an unfinished run, and for one without any value.
    """
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
    from huggingface_hub.repocard_data import eval_results_to_model_index

    result = public_result(evidence(folder).result)
    task = result["task"]
    values = {name: cell for name, cell in result["cells"].items() if cell["exact"] is not None}
    if not values:
        raise DataError(f"{folder}: no cell has a value (calls failed, or a jury is waited for); nothing to export.")
    index = eval_results_to_model_index(
        str(result["model"]["name"]), [_card_result(result, name, cell) for name, cell in values.items()]
    )
    written = {output / "README.md": f"---\n{_yaml({'model-index': index})}---\n"}
    repository = _repository(task)
    if repository:
        entries = [
            EvalResultEntry(
                dataset_id=repository,
                task_id=f"{task['name']}/{name}",
                value=float(percent(Fraction(cell["exact"]))),
                date=_date(str(result["run"])),
                notes=_note(result, cell),
            )
            for name, cell in values.items()
        ]
        place = output / ".eval_results" / f"{safe_name(str(task['name']))}.yaml"
        written[place] = _yaml(eval_result_entries_to_yaml(entries))
    for path, text in written.items():
        write_atomic(path, text)
    return list(written)


def _card_result(result: Mapping[str, Any], name: str, cell: Mapping[str, Any]) -> Any:
    from huggingface_hub import EvalResult

    task = result["task"]
    arguments = {
        "version": task["version"], "data_sha256": task["data_sha256"], "prompt_sha256": result["prompt_sha256"],
        "parser": result["parser"], "protocol": result["protocol"], "decoding": result["decoding"],
        "run": result["run"], "model_fingerprint": result["model"]["fingerprint"],
    }  # fmt: skip
    return EvalResult(
        task_type=TASK,
        dataset_type=_repository(task) or safe_name(str(task["name"])),
        dataset_name=f"{task['name']} {UNPUBLISHED}" if doubt(result) else str(task["name"]),
        dataset_args=arguments,
        metric_type="accuracy",
        metric_name=f"{name}{protocol_label(result)}",
        metric_value=float(percent(Fraction(cell["exact"]))),
        metric_args={"interval_95": cell["interval"], "exact": cell["exact"], "n": cell["n"],
                     "n_clusters": cell["n_clusters"], "notes": _note(result, cell)},
    )  # fmt: skip


def _note(result: Mapping[str, Any], cell: Mapping[str, Any]) -> str:
    """Return what stands beside a number: its denominator, how replies ended, and why it would have no rank."""
    low_high = cell["interval"] or ()
    interval = f", 95 % [{', '.join(str(percent(Fraction(end))) for end in low_high)}]" if low_high else ""
    marks = marks_of(result) + cell_marks(cell)
    words = [text for mark, text in SAID.items() if mark in marks]
    words += [f"data not verified: {doubt(result)}"] if doubt(result) else []
    words += [label.strip()] if (label := protocol_label(result)) else []
    return "; ".join([f"n {cell['n']}{interval}", ended(cell), *words])


def _repository(task: Mapping[str, Any]) -> str:
    """Return the hub's data set that a task is, "" for the data of one's own."""
    from aloe_bench import registry

    source = str(task.get("source") or "")
    known = task["name"] in registry.TASKS or is_published_heart(task)
    return source if known and source.count("/") == 1 and not source.startswith(("/", ".")) else ""


def _date(run: str) -> str | None:
    """Return the day of a run that is called by its time."""
    day = run.partition("T")[0]
    return f"{day[:4]}-{day[4:6]}-{day[6:]}" if len(day) == 8 and day.isdigit() else None


def _yaml(value: Any) -> str:
    import yaml

    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=False, width=10**6))
