"""`aloe-bench run`: ask a model the questions of one or more tasks."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aloe_bench import registry
from aloe_bench.cli.common import FiniteRange
from aloe_bench.cli.verb import Verb
from aloe_bench.core import AnswerForm, AnswerProtocol, Decoding

if TYPE_CHECKING:
    from aloe_bench.core import Task
    from aloe_bench.evaluation.controls import Arm
    from aloe_bench.evaluation.plan import Plan, Settings
    from aloe_bench.judges.jury.seats import Jury
    from aloe_bench.models.make import ModelSpec

DECODING = Decoding()
SECRET_OPTIONS = ("--api-key",)


@dataclass(frozen=True)
class RunOptions:
    """The options of `run`, by their names on the command line."""

    model: str
    backend: str
    base_url: tuple[str, ...]
    revision: str | None
    api_key: str
    model_args: str
    min_pixels: int | None
    max_pixels: int | None
    resolution: str | None
    name: str | None
    size_group: str | None
    domain: str | None
    tasks: str | None
    suite: str | None
    data_root: Path
    output: Path
    protocol: AnswerProtocol
    answer: AnswerForm
    parser: str
    max_new_tokens: int
    temperature: float
    decoding: str
    reasoning_tokens: int | None
    extend_cut: int | None
    batch_size: int
    engine: str
    ray: str | None
    replicas: int
    gpus_per_replica: float
    judges: Path | None
    limit: int | None
    shard: str | None
    controls: str | None
    read: bool
    repeats: int
    defence: str | None
    seed: int
    max_failed: float
    fresh: bool
    allow_partial: bool
    allow_missing: bool
    dry_run: bool
    as_json: bool


@click.command(
    cls=Verb,
    examples=(
        "aloe-bench run --model PATH --suite medical --data-root data",
        "aloe-bench run --model NAME --base-url http://127.0.0.1:8000/v1 --tasks mcq:questions.csv",
    ),
    groups={
        "Model": "model backend base-url revision api-key model-args "
        "min-pixels max-pixels resolution name size-group domain batch-size",
        "Questions": "tasks suite data-root limit shard controls defence repeats allow-partial allow-missing",
        "Asking and reading": "protocol answer parser max-new-tokens temperature decoding seed "
        "reasoning-tokens extend-cut judges",
        "Where it runs": "engine ray replicas gpus-per-replica",
    },
)
@click.option("--model", required=True, help="Checkpoint folder, model name on the server, or 'mock'.")
@click.option(
    "--backend",
    default="auto",
    show_default=True,
    help=f"auto, {', '.join(registry.BACKENDS)}, an installed one, or FILE.py:NAME of yours.",
)
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
@click.option("--tasks", help="Comma-separated names; of yours: mcq:, yesno: or open:FILE, heart:FOLDER, FILE.py:NAME.")
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
@click.option(
    "--parser",
    type=click.Choice(list(registry.PARSERS)),
    metavar="NAME",
    default="strict",
    show_default=True,
    help=f"How replies are read: {', '.join(registry.PARSERS)} (`aloe-bench ls parsers`).",
)
@click.option("--max-new-tokens", type=click.IntRange(1), default=DECODING.max_new_tokens, show_default=True)
@click.option("--temperature", type=FiniteRange(0), default=DECODING.temperature, show_default=True)
@click.option(
    "--decoding",
    type=click.Choice(["greedy", "provider"]),
    default="greedy",
    show_default=True,
    help="provider: sample as the folder's generation_config.json says; the row is labelled.",
)
@click.option(
    "--reasoning-tokens",
    type=click.IntRange(1),
    help="Close the model's reasoning after so many tokens; --max-new-tokens more may follow (--backend hf).",
)
@click.option(
    "--extend-cut",
    type=click.IntRange(1),
    help="Give replies that were cut so many tokens beyond --max-new-tokens, also in the finished run (greedy only).",
)
@click.option("--batch-size", type=click.IntRange(1), default=8, show_default=True)
@click.option(
    "--engine",
    type=click.Choice(["native", "vlmeval"]),
    default="native",
    show_default=True,
    help="Who asks: our own loop, or VLMEvalKit's runner (images only; --model may be one of its names).",
)
@click.option(
    "--ray",
    is_flag=False,
    flag_value="local",
    help="Run on the Ray cluster at an address; without a value, on this machine.",
)
@click.option("--replicas", type=click.IntRange(1), default=2, show_default=True, help="Back ends on the cluster.")
@click.option("--gpus-per-replica", type=FiniteRange(0), default=0, show_default=True)
@click.option("--judges", type=click.Path(path_type=Path), help="judges.toml: grade open answers in the same pass.")
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1),
    help="Ask N items, chosen by a hash of the item's id: always the same N.",
)
@click.option("--shard", help="i/n: only the i-th of n parts, split by image.")
@click.option("--defence", help="A text file, or picture-first or ignore-words: words before every prompt.")
@click.option("--repeats", type=click.IntRange(1), default=1, help="Replies to each question, above temperature 0.")
@click.option("--controls", help="blank,swap: ask image questions again over a grey, and over another picture.")
@click.option("--read", is_flag=True, help="Of an attacked table: also ask what the cues drawn into pictures say.")
@click.option(
    "--seed", type=int, default=DECODING.seed, show_default=True, help="Seeds sampled replies (--temperature above 0)."
)
@click.option("--max-failed", type=FiniteRange(0, 1), default=0.01, show_default=True)
@click.option("--fresh", is_flag=True, help="Start another run, instead of resuming one or taking a finished one.")
@click.option("--allow-partial", is_flag=True, help="Run a data set of unexpected size; every table is marked.")
@click.option("--allow-missing", is_flag=True, help="Leave out tasks that have no data; every table is marked.")
@click.option("--dry-run", is_flag=True, help="Load and check the data, print one prompt per task, ask nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
def run(**options: Any) -> None:
    """Ask a model the questions of one or more tasks; run again to resume. A finished run is not asked again."""
    _run(RunOptions(**options))


def _run(wanted: RunOptions) -> None:
    from aloe_bench.api.runs import Where, chunk_of, decoding_of, engines_of, evaluate_plans, model_of
    from aloe_bench.cli.common import progress_of, same_command
    from aloe_bench.cli.summary import show, show_jury
    from aloe_bench.evaluation.defence import load_defence
    from aloe_bench.evaluation.plan import Settings

    names = registry.task_names(wanted.tasks, wanted.suite)
    tasks = [registry.task(name) for name in names]
    spec = _spec(wanted)
    decoding = Decoding(wanted.temperature, wanted.max_new_tokens, wanted.seed, wanted.reasoning_tokens)
    settings = Settings(
        output=wanted.output,
        decoding=decoding_of(wanted.decoding, spec, tasks, wanted.protocol, decoding),
        protocol=wanted.protocol,
        parser=wanted.parser,
        answer=wanted.answer,
        limit=wanted.limit,
        shard=_shard(wanted.shard),
        chunk=chunk_of(wanted.batch_size),
        fresh=wanted.fresh,
        allow_partial=wanted.allow_partial,
        extend_cut=wanted.extend_cut,
        controls=_controls(wanted.controls, wanted.read),
        repeats=wanted.repeats,
        defence=load_defence(wanted.defence) if wanted.defence else None,
    )
    where = Where(wanted.engine, wanted.ray, wanted.replicas, wanted.gpus_per_replica)
    engines = engines_of(tasks, wanted.data_root, wanted.output, where, spec)
    plans, left_out = _plans(tasks, wanted.data_root, settings, wanted.allow_missing)
    if wanted.dry_run:
        _show_prompts(plans, settings)
        return
    jury = _jury(wanted.judges)
    model, facts = model_of(spec, plans, engines, wanted.name, wanted.size_group, wanted.domain)
    asked = {"argv": _redacted(sys.argv[1:]), "options": _recorded(vars(wanted)), "left_out": left_out}
    progress = partial(progress_of, quiet=wanted.as_json)
    summaries = evaluate_plans(plans, model, facts, settings, engines, asked, jury, progress)
    for summary in summaries:
        summary["left_out"] = left_out  # a finished run may be of a command that left out nothing
        if summary.get("already_finished"):
            click.echo(
                f"Already finished, and not asked again: {summary['run']}. --fresh starts another run.", err=True
            )
    if wanted.as_json:
        click.echo(json.dumps(summaries, indent=2))
    else:
        show(summaries)
    worst = max(summary["failed"] / max(1, summary["n"]) for summary in summaries)
    if any(summary["failed"] for summary in summaries):
        first = next(summary["first_failure"] for summary in summaries if summary["failed"])
        click.echo(f"Some items failed and have no score; the first: {first}", err=True)
        click.echo(f"Fix the cause and {same_command()}: only the failed items are asked.", err=True)
    if jury:
        worst = max(worst, show_jury(jury, summaries, wanted.as_json))
    if worst > wanted.max_failed:
        raise click.exceptions.Exit(1)


def _spec(wanted: RunOptions) -> ModelSpec:
    """Return the model that the options name."""
    from aloe_bench.models.make import ModelSpec

    if wanted.backend == "openai" and not wanted.base_url:
        raise click.UsageError("--backend openai needs --base-url, e.g. http://127.0.0.1:8000/v1.")
    limits = {"min_pixels": wanted.min_pixels, "max_pixels": wanted.max_pixels, "resolution": wanted.resolution}
    shown = {key: value for key, value in limits.items() if value is not None}
    return ModelSpec(
        wanted.model,
        wanted.backend,
        wanted.base_url,
        wanted.api_key,
        wanted.batch_size,
        model_args(wanted.model_args) | shown,
        revision=wanted.revision,
    )


def _controls(text: str | None, read: bool) -> tuple[Arm, ...]:
    if text is None and not read:
        return ()
    from aloe_bench.evaluation.controls import READ, parse_controls

    return (*parse_controls(text), *((READ,) if read else ()))


def _jury(judges: Path | None) -> Jury | None:
    if judges is None:
        return None
    from aloe_bench.judges.jury.seats import Jury

    return Jury.read(judges, os.environ)


def _plans(tasks: list[Task], root: Path, settings: Settings, allow_missing: bool) -> tuple[list[Plan], list[str]]:
    """Return the plans, and the names of the tasks without data; say what is left out."""
    from aloe_bench.evaluation.plan import load_plans

    plans, missing = load_plans(tasks, root, settings, allow_missing)
    if missing:
        lines = "\n".join(map(str, missing))
        click.echo(f"Skipped, no data found:\n{lines}", err=True)
    for plan in plans:
        if plan.absent:
            click.echo(f"{plan.task.name}:{plan.absent_sentence} These are not asked.", err=True)
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
    for pair in filter(None, _pairs(text)):
        key, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"--model-args {pair!r}: expected k=v.")
        values[key.strip().replace("-", "_")] = _value(value.strip())
    return values


def _pairs(text: str) -> list[str]:
    """Return the parts of `text` between its commas, but not between those of a JSON object or list."""
    pairs: list[str] = []
    for part in text.split(","):
        if pairs and sum(map(pairs[-1].count, "{[")) > sum(map(pairs[-1].count, "}]")):
            pairs[-1] += f",{part}"
        else:
            pairs.append(part)
    return pairs


def _value(text: str) -> Any:
    try:
        return json.loads(f"0{text}" if text.startswith(".") else text)
    except ValueError:
        return text


def _recorded(options: Mapping[str, Any]) -> dict[str, Any]:
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
    from aloe_bench.evaluation.plan import suited
    from aloe_bench.tasks.formats import asked

    for plan in plans:
        first = "; the first prompt:" if plan.samples else ", nothing to ask."
        click.echo(f"{plan.task.name}: {len(plan.samples)} samples{first}")
        if settings.controls:
            click.echo(plan.controls.sentence(len(plan.samples)))
        for _, sample in plan.samples[:1]:
            click.echo(asked(plan.task, sample, suited(settings, plan.task).answer, settings.before))
