"""The `aloe-bench` command: verbs are looked up by name and imported when used."""

from __future__ import annotations

import importlib
import logging
import sys
import tomllib
from pathlib import Path
from typing import Any

import click

from aloe_bench import __version__
from aloe_bench.cli.common import same_command
from aloe_bench.errors import AloeError, UsageError, did_you_mean, missing_extra

VERBS = {
    "run": "aloe_bench.cli.run:run",
    "attack": "aloe_bench.cli.attack:attack",
    "judge": "aloe_bench.cli.judge:judge",
    "train-sft": "aloe_bench.cli.train:train_sft",
    "train-ar": "aloe_bench.cli.train_ar:train_ar",
    "ls": "aloe_bench.cli.ls:ls",
    "data": "aloe_bench.cli.data:data",
    "doctor": "aloe_bench.cli.doctor:doctor",
    "leaderboard": "aloe_bench.cli.leaderboard:leaderboard",
    "merge": "aloe_bench.cli.merge:merge",
    "compare": "aloe_bench.cli.compare:compare",
    "report": "aloe_bench.cli.report:report",
    "view": "aloe_bench.cli.view:view",
    "rescore": "aloe_bench.cli.rescore:rescore",
    "plan": "aloe_bench.cli.plan:plan",
    "lm-eval": "aloe_bench.cli.lm_eval:lm_eval",
    "vlmeval": "aloe_bench.cli.vlmeval:vlmeval",
    "export": "aloe_bench.cli.export:export",
    "import": "aloe_bench.cli.imports:import_run",
    "annotate": "aloe_bench.cli.annotate:annotate",
    "agreement": "aloe_bench.cli.agreement:agreement",
    "alpha": "aloe_bench.cli.agreement:agreement",
    "demo": "aloe_bench.cli.demo:demo",
}
HELP = {
    "run": "Ask a model the questions of one or more tasks.",
    "attack": "Make a HEART table, questions with and without misleading cues, of a dataset of yours.",
    "judge": "Have a jury of language models grade the open answers of a run.",
    "train-sft": "Fine-tune a checkpoint on conversations.",
    "train-ar": "Fine-tune a checkpoint on an attacked source, so that cues mislead it less.",
    "ls": "List tasks, suites, attacks, back ends, parsers, judges, known models and training recipes.",
    "data": "Fetch the data sets of tasks, and make training mixtures of sources.",
    "doctor": "Show what is installed and what each extra would add.",
    "leaderboard": "Build leaderboard pages from run folders, and verify those of others.",
    "compare": "Test two runs on the same questions against each other, item by item.",
    "report": "Write runs as one offline page: sentences, figures, and every item to look at.",
    "view": "Show runs in a browser of this machine, however large, item by item.",
    "rescore": "Read the stored replies of a run again under other parsers, and say which rules move the score.",
    "plan": "Say how many items a comparison needs, before anything is run.",
    "merge": "Join the shards of one run, with a proof that none is missing.",
    "lm-eval": "Run lm-evaluation-harness with aloe-bench's tasks and model in it.",
    "vlmeval": "Run VLMEvalKit on aloe-bench's tasks, or compare its matcher with ours.",
    "export": "Write runs for Every Eval Ever or the Hugging Face hub, and tasks for other harnesses.",
    "import": "Make run folders of exported runs.",
    "annotate": "Let experts rate the open answers of a run on a web page.",
    "agreement": "Measure how far experts agree with each other and with the jury (also: alpha).",
    "demo": "Run the whole loop in miniature on a CPU, in minutes.",
}


class _Verbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module, attribute = VERBS[cmd_name].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        _name_variables(command, str(command.name))
        _take_config(command, (cmd_name,))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            ctx.fail(f"Unknown command {args[0]!r}.{did_you_mean(args[0], VERBS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(HELP.items()))


def _option_name(parameter: click.Parameter) -> str:
    """Return what a parameter is called on the command line, with underscores: "json", not "as_json"."""
    long = [option for option in parameter.opts if option.startswith("--")]
    return (long[0].removeprefix("--") if long else str(parameter.name)).replace("-", "_")


def _name_variables(command: click.Command, verb: str) -> None:
    """Let every option read the environment variable that its name on the command line promises."""
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.envvar is None:
            parameter.envvar = f"ALOE_BENCH_{verb}_{_option_name(parameter)}".replace("-", "_").upper()
    for name, below in getattr(command, "commands", {}).items():
        _name_variables(below, f"{verb}_{name}")


def _take_config(command: click.Command, place: tuple[str, ...]) -> None:
    """Let a verb take --config behind it too; what stands there counts before a file given earlier.

    `place` is the verb, or its group and its own name.
    """
    for name, below in getattr(command, "commands", {}).items():
        _take_config(below, (*place, name))

    def load(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> None:
        if value is not None:
            found: Any = _defaults(value)
            for name in place:
                found = found.get(name, {})
            ctx.default_map = {**(ctx.default_map or {}), **found}

    passes_on = command.context_settings.get("ignore_unknown_options")
    if passes_on or hasattr(command, "commands") or any("--config" in each.opts for each in command.params):
        return
    path = click.Path(path_type=Path)
    text = "TOML with a table per verb; may also stand before the verb."
    command.params.append(
        click.Option(["--config"], type=path, expose_value=False, is_eager=True, callback=load, help=text)
    )


def _dashes(name: str) -> str:
    return name.replace("_", "-")


@click.group(cls=_Verbs, context_settings={"auto_envvar_prefix": "ALOE_BENCH", "token_normalize_func": _dashes})
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option("--config", type=click.Path(path_type=Path), help="TOML, a table per command: [run] max-new-tokens = 64.")
@click.version_option(__version__)
@click.pass_context
def cli(ctx: click.Context, debug: bool, config: Path | None) -> None:
    """Robustness benchmark for medical vision-language models.

    Every option also reads ALOE_BENCH_VERB_OPTION; a flag beats the environment, which beats --config.
    """
    if config is not None:
        ctx.default_map = _defaults(config)
    told = logging.StreamHandler()
    told.setFormatter(_Told())
    logging.basicConfig(level=logging.INFO if debug else logging.WARNING, handlers=[told])


class _Told(logging.Formatter):
    """What a log record is to a reader: a caution of ours, or a line with the name of who says it."""

    def format(self, record: logging.LogRecord) -> str:
        ours = record.name.startswith("aloe_bench") and record.levelno == logging.WARNING
        return f"{'Caution' if ours else record.name}: {super().format(record)}"


def _defaults(config: Path) -> dict[str, dict[str, object]]:
    """Return the option defaults of a TOML file, checked against the verbs and options there are.

    The verbs of a group have tables of their own, such as [data.clean].
    """
    try:
        tables = tomllib.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{config}: not readable as TOML ({error}).") from error
    defaults: dict[str, dict[str, object]] = {}
    for verb, table in tables.items():
        command = cli.get_command(click.Context(cli), verb)
        if command is None or not isinstance(table, dict):
            raise UsageError(f"{config}: [{verb}] is not a command.{did_you_mean(verb, VERBS)}")
        found = _checked(command, table, verb, config)
        for name, place in VERBS.items():  # a table counts for the other names of its verb too
            if place == VERBS[verb]:
                defaults[name] = found
    return defaults


def _checked(command: click.Command, table: dict[str, object], verb: str, config: Path) -> dict[str, object]:
    """Return the defaults of one verb's table by the names of its parameters, or of a group's tables by verb."""
    if below := getattr(command, "commands", {}):
        found: dict[str, object] = {}
        for name, inner in table.items():
            if name not in below or not isinstance(inner, dict):
                near = did_you_mean(name, below)
                raise UsageError(f"{config}: [{verb}.{name}] is not a command of {verb} with its options.{near}")
            found[name] = _checked(below[name], inner, f"{verb}.{name}", config)
        return found
    known = {_option_name(p): str(p.name) for p in command.params if p.name != "config"}
    values = {key.replace("-", "_"): value for key, value in table.items()}
    for key in values:
        if key not in known:
            raise UsageError(f"{config}: [{verb}] has no option {key!r}.{did_you_mean(key, known)}")
    return {known[key]: value for key, value in values.items()}


def _say(error: AloeError) -> int:
    """Tell an error in its one line and return the exit code; with --debug, raise it."""
    if "--debug" in sys.argv:
        raise error
    click.echo(f"Error: {error}", err=True)
    return error.exit_code


def main() -> None:
    """Run the command and exit with its code; a user's mistake ends in one line, not a traceback."""
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo(f"Interrupted; {same_command()} to resume.", err=True)
        code = 130
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except AloeError as error:
        code = _say(error)
    except ModuleNotFoundError as error:
        if (found := missing_extra(error)) is None:
            raise
        code = _say(found)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
