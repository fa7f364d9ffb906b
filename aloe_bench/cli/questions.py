"""`aloe-bench data template` and `data check`: questions of one's own, begun and checked."""

from __future__ import annotations

import json
from pathlib import Path

import click

from aloe_bench.cli.verb import Verb
from aloe_bench.errors import DataError

KIND = click.Choice(["mcq", "yesno", "open"])


@click.command(
    cls=Verb,
    examples=(
        "aloe-bench data template mcq",
        "aloe-bench data template open questions",
    ),
)
@click.argument("kind", type=KIND)
@click.argument("folder", type=click.Path(path_type=Path), required=False)
def template(kind: str, folder: Path | None) -> None:
    """Write an example of own questions of KIND, explained column by column, to a new FOLDER (KIND-questions)."""
    from aloe_bench.tasks.data.question_templates import write_template
    from aloe_bench.tasks.own import MOST_GROUPS

    table = write_template(kind, folder or Path(f"{kind}-questions"), MOST_GROUPS)
    click.echo(f"{table}: an example; {table.with_name('README.txt')} explains every column. Fill in yours, then")
    click.echo(f"aloe-bench data check {kind}:{table}")


@click.command(
    cls=Verb,
    examples=(
        "aloe-bench data check mcq:questions.csv",
        "aloe-bench data check open:questions.jsonl --json",
    ),
)
@click.argument("file")
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
def check(file: str, as_json: bool) -> None:
    """Check own questions: FILE, or mcq:FILE, yesno:FILE, open:FILE. Every fault is told with its line."""
    from aloe_bench.core import Absent, Sample
    from aloe_bench.evaluation.outcomes import told_of_pictures
    from aloe_bench.evaluation.plan import picture_notes
    from aloe_bench.tasks.data.questions import guessed_kind, read_questions
    from aloe_bench.tasks.own import KINDS, facts_of_file

    before, colon, after = file.partition(":")
    path = Path(after if colon and before in KINDS else file).expanduser()
    kind = before if colon and before in KINDS else next(k for k, v in KINDS.items() if v == guessed_kind(path))
    found = read_questions(path, KINDS[kind], kind)
    found.stop_if_faulty()
    found.notes += told_of_pictures(picture_notes(row for row in found.rows if isinstance(row, Sample)))
    facts = {"task": f"{kind}:{path}", **facts_of_file(found)}
    absent = [row.what for row in found.rows if isinstance(row, Absent)]
    if as_json:
        click.echo(json.dumps({**facts, "absent": absent, "notes": found.notes}, indent=2))
    else:
        for name, value in facts.items():
            click.echo(f"{name:<9} {value if not isinstance(value, list) else ', '.join(value) or 'none'}")
        for note in found.notes:
            click.echo(f"note: {note}", err=True)
    if absent:
        first = "\n".join(f"  {what}" for what in absent[:10])
        raise DataError(
            f"{path}: {len(absent)} of {len(found.rows)} rows name a picture that is not there; a run needs "
            f"--allow-partial, and every table of it is marked.\n{first}"
        )
    if not as_json:
        click.echo(f"No fault. aloe-bench run --model MODEL --tasks {kind}:{path}")
