"""`aloe-bench run`: ask a model the questions of one or more tasks."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aloe_bench import registry
from aloe_bench.cli.numbers import FiniteRange
from aloe_bench.core import Decoding
from aloe_bench.errors import DataError, MissingDataError

if TYPE_CHECKING:
    from aloe_bench.cli.engines import Engines
    from aloe_bench.core import Model, Task
    from aloe_bench.evaluation.plan import Plan, Settings

DECODING = Decoding()
SECRET_OPTIONS = ("--api-key",)


@click.command()
@click.option("--model", required=True, help="Checkpoint folder, model name on the server, or 'mock'.")
@click.option("--backend", type=click.Choice(("auto", *registry.BACKENDS)), default="auto", show_default=True)
@click.option(
    "--base-url",
    multiple=True,
    help="OpenAI-compatible endpoint, e.g. http://127.0.0.1:8000/v1; again for each further server of the same model.",
)
@click.option("--revision", help="Commit of a hub id, or the one that a server serves: it may move to another address.")
@click.option("--api-key", envvar="OPENAI_API_KEY", default="EMPTY", help="Never recorded; better set OPENAI_API_KEY.")
@click.option("--model-args", default="", help="k=v,... passed to the back end, e.g. dtype=bfloat16 or accuracy=0.7.")
@click.option("--min-pixels", type=click.IntRange(1), help="Show pictures at this width x height or more.")
@click.option("--max-pixels", type=click.IntRange(1), help="Show pictures at this width x height or less.")
@click.option("--resolution", type=click.Choice(["paper"]), help="Picture limits of the paper (Qwen2-VL and 2.5-VL).")
@click.option("--name", help="The row's name; default: base name and 8 digits of the fingerprint.")
@click.option(
    "--size-group",
    type=click.Choice(["small", "large", "closed"]),
    help="Leaderboard group: under or over 10B, or no weights. `ls models` has them for the paper's models.",
)
@click.option("--domain", type=click.Choice(["general", "medical"]), help="Leaderboard domain.")
@click.option("--tasks", help="Comma-separated task names; heart:FOLDER is a HEART table.")
@click.option("--suite", help="A named list of tasks.")
@click.option("--data-root", type=click.Path(path_type=Path), default=Path("data"), show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=Path("runs"), show_default=True)
@click.option("--protocol", type=click.Choice(["generate", "logprob"]), default="generate", show_default=True)
@click.option(
    "--answer",
    type=click.Choice(["letter", "text"]),
    default="letter",
    show_default=True,
    help="Ask choice questions for the option's letter or for its text.",
)
@click.option("--parser", type=click.Choice(["strict", "vlmeval", "probmed"]), default="strict", show_default=True)
@click.option("--max-new-tokens", type=click.IntRange(1), default=DECODING.max_new_tokens, show_default=True)
@click.option("--temperature", type=FiniteRange(0), default=DECODING.temperature, show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=8, show_default=True)
@click.option(
    "--engine",
    type=click.Choice(["native", "vlmeval"]),
    default="native",
    show_default=True,
    help="Who asks: our own loop, or VLMEvalKit's runner (images only; --model may be one of its names).",
)
@click.option("--ray", is_flag=False, flag_value="local", help="Spread over Ray: an address, or none for this machine.")
@click.option("--replicas", type=click.IntRange(1), default=2, show_default=True, help="Back ends on the cluster.")
@click.option("--gpus-per-replica", type=FiniteRange(0), default=0, show_default=True)
@click.option("--judges", type=click.Path(path_type=Path), help="judges.toml: grade open answers in the same pass.")
@click.option("--limit", type=click.IntRange(1), help="Only this many items (a seedless, order-free choice).")
@click.option("--shard", help="i/n: only the i-th of n parts, split by image.")
@click.option(
    "--seed", type=int, default=DECODING.seed, show_default=True, help="Seeds sampled replies (--temperature above 0)."
)
@click.option("--max-failed", type=FiniteRange(0, 1), default=0.01, show_default=True)
@click.option("--fresh", is_flag=True, help="Start another run instead of resuming.")
@click.option("--allow-partial", is_flag=True, help="Run a data set of unexpected size; every table is marked.")
@click.option("--allow-missing", is_flag=True, help="Leave out tasks that have no data; every table is marked.")
@click.option("--dry-run", is_flag=True, help="Load and check the data, print one prompt a task, ask nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
def run(**options: Any) -> None:
    """Ask a model the questions of one or more tasks; run again to resume."""
    from aloe_bench.cli.engines import Engines, suited
    from aloe_bench.cli.judge import Jury
    from aloe_bench.cli.progress import progress_of, same_command
    from aloe_bench.cli.summary import finish, show
    from aloe_bench.evaluation import loop
    from aloe_bench.evaluation.plan import Settings

    names = registry.task_names(options["tasks"], options["suite"])
    tasks = [registry.task(name) for name in names]
    settings = Settings(
        output=options["output"],
        decoding=Decoding(options["temperature"], options["max_new_tokens"], options["seed"]),
        protocol=options["protocol"],
        parser=options["parser"],
        answer=options["answer"],
        limit=options["limit"],
        shard=_shard(options["shard"]),
        chunk=max(32, 4 * options["batch_size"]),
        fresh=options["fresh"],
        allow_partial=options["allow_partial"],
    )
    engines = Engines.of(options, tasks)
    plans, left_out = _plans(tasks, options["data_root"], settings, options["allow_missing"])
    if options["dry_run"]:
        _show_prompts(plans, settings)
        return
    jury = Jury.read(options["judges"]) if options["judges"] else None
    model, facts = _model(options, plans, engines)
    engines.refuse_without_logprobs(model, facts["backend"], plans)
    if not options["fresh"] and loop.is_interrupted(plans, facts["name"], settings):
        settings = replace(settings, go_on=True)
    asked = {"argv": _redacted(sys.argv[1:]), "options": _recorded(options), "left_out": left_out}
    summaries = []
    for plan in plans:
        with progress_of(plan.task.name, quiet=options["as_json"]) as progress:
            engine = engines.engine(plan.task)
            folder = loop.run_plan(plan, model, suited(settings, plan.task), facts, asked, progress, engine)
        left = 0
        if jury and any(sample.kind == "open" for _, sample in plan.samples):
            left = jury.grade(folder, quiet=options["as_json"])
        summaries.append(finish(folder, done=not left))
    if options["as_json"]:
        click.echo(json.dumps(summaries, indent=2))
    else:
        show(summaries)
    worst = max(summary["failed"] / max(1, summary["n"]) for summary in summaries)
    if any(summary["failed"] for summary in summaries):
        first = next(summary["first_failure"] for summary in summaries if summary["failed"])
        click.echo(f"Some items failed and have no score; the first: {first}", err=True)
        click.echo(f"Mend the cause and {same_command()}: only the failed items are asked.", err=True)
    if jury:
        worst = max(worst, jury.report(summaries, options["as_json"]))
    if worst > options["max_failed"]:
        raise click.exceptions.Exit(1)


def _plans(tasks: list[Task], root: Path, settings: Settings, allow_missing: bool) -> tuple[list[Plan], list[str]]:
    """Return the plans, and the names of the tasks without data; without leave, these are one error that lists them."""
    from aloe_bench.cli.engines import suited
    from aloe_bench.evaluation.plan import load_plan

    plans: list[Plan] = []
    missing: list[MissingDataError] = []
    for task in tasks:
        try:
            plans.append(load_plan(task, root, suited(settings, task)))
        except MissingDataError as error:
            missing.append(error)
    told = "\n".join(map(str, missing))
    if missing and len(tasks) == 1:
        raise missing[0]
    if missing and not (allow_missing and plans):
        hint = "" if not plans else " Or pass --allow-missing to run the rest; every table will be marked."
        raise DataError(f"{len(missing)} of {len(tasks)} tasks have no data.{hint}\n{told}")
    if missing:
        click.echo(f"Left out, for want of data:\n{told}", err=True)
    for plan in plans:
        if plan.absent:
            click.echo(f"{plan.task.name}:{plan.absent_told} These are not asked.", err=True)
    return plans, [error.task for error in missing]


def _shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, _, second = text.partition("/")
    if not (first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second)):
        raise click.UsageError(f"--shard {text!r}: expected i/n with 1 <= i <= n, such as 2/3.")
    return int(first), int(second)


def model_args(text: str) -> dict[str, Any]:
    """Return `k=v,...` as values: JSON where it is (and .5 as 0.5), else text."""
    values: dict[str, Any] = {}
    for pair in filter(None, text.split(",")):
        key, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"--model-args {pair!r}: expected k=v.")
        values[key.strip().replace("-", "_")] = _value(value.strip())
    return values


def _value(text: str) -> Any:
    try:
        return json.loads(f"0{text}" if text.startswith(".") else text)
    except ValueError:
        return text


def _model(options: dict[str, Any], plans: list[Plan], engines: Engines) -> tuple[Model, dict[str, Any]]:
    """Return the model and the facts of it that the header holds."""
    from aloe_bench.models.checkpoint_files import model_name
    from aloe_bench.models.known import known_model

    backend = options["backend"]
    if backend == "auto":
        backend = "mock" if options["model"] == "mock" else "openai" if options["base_url"] else "hf"
    base = model_name(options["model"]) if backend in ("hf", "vllm") else options["model"]
    try:
        model = engines.model(_maker(backend, base, options, plans), backend, base)
    except TypeError as error:
        raise click.UsageError(f"--model-args: {error}") from error
    known = known_model(str(Path(options["model"]).resolve()) if backend in ("hf", "vllm") else options["model"])
    facts = {
        "name": options["name"] or f"{base}-{model.fingerprint[:8]}",
        "backend": backend,
        "miniature": backend == "mock" or _is_miniature(Path(options["model"])),
        "size_group": options["size_group"] or (known.size_group if known else None),
        "domain": options["domain"] or (known.domain if known else None),
    }
    return model, facts


def _maker(backend: str, base: str, options: dict[str, Any], plans: list[Plan]) -> Callable[[], Model]:
    """Return what builds the back end, here or in another process."""
    from aloe_bench.evaluation.plan import answer_key

    shown = {key: options[key] for key in ("min_pixels", "max_pixels", "resolution") if options[key] is not None}
    extra = model_args(options["model_args"]) | shown
    if shown and backend == "mock":
        raise click.UsageError("--min-pixels, --max-pixels and --resolution are of no use to the mock, which is blind.")
    make = registry.resolve("back end", registry.BACKENDS, backend)
    if backend == "mock":
        from aloe_bench.models.mock import Behaviour

        return partial(make, answer_key(plans), Behaviour(**extra), name=base)
    if backend == "openai":
        if not options["base_url"]:
            raise click.UsageError("--backend openai needs --base-url, e.g. http://127.0.0.1:8000/v1.")
        if "resolution" in extra:
            raise click.UsageError(
                "--resolution paper is for folders; for a server, use --min-pixels and --max-pixels."
            )
        served = {"base_url": options["base_url"], "api_key": options["api_key"], "revision": options["revision"]}
        return partial(make, base, **served, **extra)
    local = {"batch_size": options["batch_size"], "revision": options["revision"], "name": base}
    return partial(make, options["model"], **local, **extra)


def _is_miniature(folder: Path) -> bool:
    config = folder / "config.json"
    return config.is_file() and bool(json.loads(config.read_text(encoding="utf-8")).get("aloe_bench_miniature"))


def _recorded(options: dict[str, Any]) -> dict[str, Any]:
    """Return the resolved options (flag > environment > config file > default) without secrets."""
    return {
        key: [*map(_public, value)] if isinstance(value, tuple) else _public(str(value)) if _is_text(value) else value
        for key, value in options.items()
        if key != "api_key"
    }


def _is_text(value: object) -> bool:
    return isinstance(value, Path | str)


def _redacted(argv: list[str]) -> list[str]:
    """Return the command line with every secret's value replaced."""
    redacted, hide = [], False
    for word in argv:
        option, equals, _ = word.partition("=")
        option = option.replace("_", "-")
        if hide:
            redacted.append("***")
        elif equals and option in SECRET_OPTIONS:
            redacted.append(f"{option}=***")
        else:
            redacted.append(_public(word))
        hide = option in SECRET_OPTIONS and not equals
    return redacted


def _public(text: str) -> str:
    """Return `text` with user, password and query of a URL in it replaced."""
    return re.sub(r"(https?://)[^/\s]*@", r"\1***@", re.sub(r"(https?://[^\s?]*)\?\S*", r"\1?***", text))


def _show_prompts(plans: list[Plan], settings: Settings) -> None:
    from aloe_bench.cli.engines import suited
    from aloe_bench.tasks.formats import asked

    for plan in plans:
        first = "; the first prompt:" if plan.samples else ", nothing to ask."
        click.echo(f"{plan.task.name}: {len(plan.samples)} samples{first}")
        for _, sample in plan.samples[:1]:
            click.echo(asked(plan.task, sample, suited(settings, plan.task).answer))
