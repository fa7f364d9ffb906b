"""`aloe-bench vlmeval`: VLMEvalKit's own runner on our tasks, and how its matcher reads a run's replies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aloe_bench.cli.common import RunFolder
from aloe_bench.cli.verb import Verb
from aloe_bench.errors import RunMismatchError, UsageError, did_you_mean

if TYPE_CHECKING:
    from aloe_bench.bridges.vlmeval.parity import Parity

SHOWN = 12


@click.command(
    context_settings={"ignore_unknown_options": True},
    cls=Verb,
    examples=(
        "aloe-bench vlmeval --data CareQA_Vision_MCQ --model NAME",
        "aloe-bench vlmeval --parity runs/m/careqa_vision_mcq",
    ),
)
@click.option("--data", multiple=True, help="Upstream's names: CareQA_Vision_MCQ CareQA_Vision_Open HEART ...")
@click.option("--heart", type=click.Path(path_type=Path), help="The folder that HEART stands for.")
@click.option("--parity", type=RunFolder(), help="A run folder: read its replies with both matchers.")
@click.option("--data-root", type=click.Path(path_type=Path), default=Path("data"), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def vlmeval(
    context: click.Context,
    data: tuple[str, ...],
    heart: Path | None,
    parity: Path | None,
    data_root: Path,
    as_json: bool,
    words: tuple[str, ...],
) -> None:
    """Run data sets of ours through VLMEvalKit: --data NAME... --model FOLDER_OR_ITS_NAME, and any option of `run`.

    With --parity RUN instead: read the replies of a run with our strict parser and with upstream's matcher.
    """
    if parity is not None:
        _show(_compared(parity, data_root, heart), as_json)
        return
    from aloe_bench.cli.run import run

    names, options = list(data), list(words)
    while options and not options[0].startswith("-"):
        names.append(options.pop(0))
    if not names:
        raise UsageError("No data set given: --data CareQA_Vision_MCQ, or --parity RUN.")
    tasks = ",".join(_task_name(name, heart) for name in names)
    passed = ["--engine", "vlmeval", "--tasks", tasks, "--data-root", str(data_root), *options]
    with run.make_context("vlmeval", passed + (["--json"] if as_json else []), parent=context.parent) as inner:
        run.invoke(inner)


def _task_name(name: str, heart: Path | None) -> str:
    """Return our name of a data set that upstream calls `name`."""
    from aloe_bench import registry
    from aloe_bench.bridges.vlmeval.table import dataset_name

    if name == "HEART":
        if heart is None:
            raise UsageError("HEART is a folder of yours: name it with --heart FOLDER.")
        return f"heart:{heart}"
    known = {dataset_name(task): task for task in registry.TASKS}
    if name not in known and name not in registry.TASKS and not name.startswith("heart:"):
        raise UsageError(f"Unknown data set {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}, HEART.")
    return known.get(name, name)


def _compared(folder: Path, data_root: Path, heart: Path | None) -> Parity:
    from aloe_bench import registry
    from aloe_bench.bridges.vlmeval.parity import compare
    from aloe_bench.evaluation.plan import Settings, load_plan
    from aloe_bench.evaluation.runlog import read_run

    header, records = read_run(folder)
    then = header["task"]
    if heart is None and then["name"] not in registry.TASKS:
        raise UsageError(f"{then['name']} is a folder of yours: name it with --heart FOLDER.")
    task = registry.task(f"heart:{heart}" if heart else then["name"])
    plan = load_plan(task, data_root, Settings(allow_partial=True))
    # Options of another table, or in another order, would read the same replies otherwise.
    if (task.name, plan.data_sha256) != (then["name"], then["data_sha256"]):
        raise RunMismatchError(
            f"{folder}: the run was made on {then['name']} {then['data_sha256'][:12]}, and {heart or data_root} holds "
            f"{task.name} {plan.data_sha256[:12]}. Pass the data that the run was made on."
        )
    return compare(records, {sample.id: sample.choices for _, sample in plan.samples})


def _show(parity: Parity, as_json: bool) -> None:
    differing = parity.disagreements
    ours, theirs = (100 * parity.accuracy(reader) for reader in ("strict", "upstream"))
    if as_json:
        rows = [{name: getattr(r, name) for name in r.__slots__} for r in differing]
        facts = {"upstream": parity.version, "n": len(parity.readings), "strict": ours / 100, "matcher": theirs / 100}
        click.echo(json.dumps({**facts, "disagreements": rows}, indent=2, ensure_ascii=False))
        return
    click.echo(f"{len(parity.readings)} replies; accuracy {ours:.2f} read strictly, {theirs:.2f} by {parity.version}.")
    click.echo(f"{len(differing)} replies are read differently (target, strict, upstream, reply):")
    for reading in differing[:SHOWN]:
        reply = " ".join(reading.reply.split())[:70]
        strict, upstream = reading.strict or "-", reading.upstream or "-"
        click.echo(f"  {reading.sample_id}: {reading.target} {strict} {upstream} {reply!r} ({reading.rule})")
    if len(differing) > SHOWN:
        click.echo(f"  ... and {len(differing) - SHOWN} more; --json lists all.")
