"""`aloe-bench data sniff, clean, ...`: from sources to a training mixture."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from aloe_bench.cli.common import progress_of
from aloe_bench.cli.verb import Verb
from aloe_bench.cli.workplace import on_ray, workplace_of
from aloe_bench.errors import DataError, UsageError

if TYPE_CHECKING:
    from aloe_bench.mixture.pool import Pool
    from aloe_bench.training.data.schema import Conversation

PATH = click.Path(path_type=Path)
WORKERS = click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
_Command = TypeVar("_Command", bound=Callable[..., Any])


@click.command(
    cls=Verb,
    examples=(
        "aloe-bench data sniff samples.jsonl",
        "aloe-bench data sniff samples.parquet --output source.toml",
    ),
)
@click.argument("file", type=PATH)
@click.option("--output", type=PATH, help="Write the mapping to this TOML file.")
def sniff(file: Path, output: Path | None) -> None:
    """Propose a mapping of FILE: where its pictures, turns, boxes, ids and licence are.

    What the file cannot tell is written as DECIDE, with a comment; a mapping that holds one is refused. A mapping
    given as FILE.toml is tried on its own first rows.
    """
    from aloe_bench.mixture import sniff as sniffing

    if not file.is_file():
        raise DataError(f"{file}: no such file. Give a file of rows: JSON, JSON lines, Parquet or CSV.")
    if file.suffix == ".toml":
        _tried(file)
        return
    found = sniffing.sniff(file)
    for line in found.evidence:
        click.echo(f"# {line}")
    click.echo(found.toml, nl=False)
    if output is not None:
        if output.exists():
            raise UsageError(f"{output} exists; choose another --output, or remove it.")
        from aloe_bench.files import write_atomic

        write_atomic(output, found.toml)
    if found.shipped:
        files = ", ".join(found.shipped_files)
        click.echo(f"\nThe shipped mapping {found.shipped} fits, and reads {files}: {found.shipped}:{file.parent}")
    if found.undecided:
        click.echo(f"\nFor you to decide: {', '.join(found.undecided)}.", err=True)
    if output is not None:
        click.echo(f"Then try it: aloe-bench data sniff {output}", err=True)


def _tried(file: Path) -> None:
    from aloe_bench.mixture.readers import source_files
    from aloe_bench.mixture.sniff import try_mapping
    from aloe_bench.mixture.source import load_source

    mapping, root = load_source(str(file))
    for path in source_files(root, mapping.files):
        first, good, faults = try_mapping(mapping, root, path)
        click.echo(f"{path.name}: {good} of the first {good + sum(faults.values())} selected rows become conversations")
        for fault, n in sorted(faults.items(), key=lambda pair: -pair[1])[:5]:
            click.echo(f"  {n} x {fault}")
        if first is not None:
            click.echo(shown(first))


def shown(conversation: Conversation) -> str:
    """Return a conversation as a person reads it."""
    from aloe_bench.training.data.schema import Picture

    lines = [f"  {conversation.id} (cluster {conversation.cluster})"]
    for turn in conversation.turns:
        words = " ".join(f"[{p.path}]" if isinstance(p, Picture) else p.text for p in turn.parts)
        lines.append(f"  {turn.role}: {words[:400]}")
    return "\n".join(lines)


@click.command(
    cls=Verb,
    examples=(
        "aloe-bench data clean fracatlas:FracAtlas --output pool",
        "aloe-bench data clean source.toml:FOLDER --model PATH --output pool",
    ),
    groups={
        "What is dropped": "model min-pixels max-pixels max-length max-pictures min-side without-pictures",
        "Where it runs": "workers ray replicas gpus-per-replica",
    },
)
@click.argument("sources", nargs=-1, required=True)
@click.option("--output", type=PATH, required=True, help="The pool: a folder for samples and what is found of them.")
@click.option(
    "--model", type=PATH, help="Checkpoint folder whose processor counts tokens; without it none are counted."
)
@click.option("--min-pixels", type=click.IntRange(1), help="Smallest picture the processor makes, in pixels.")
@click.option("--max-pixels", type=click.IntRange(1), help="Largest picture the processor makes; part of the counts.")
@click.option("--max-length", type=click.IntRange(1), default=4096, show_default=True, help="Tokens of a sample.")
@click.option("--max-pictures", type=click.IntRange(0), default=5, show_default=True)
@click.option("--min-side", type=click.IntRange(1), default=50, show_default=True, help="Pixels.")
@click.option("--without-pictures", is_flag=True, help="The pictures are not at hand: ask nothing of them, and say so.")
@click.option("--seed", default=0, show_default=True, help="Which rows a mapping's `sample` takes.")
@click.option("--fresh", is_flag=True, help="Start over instead of resuming.")
@WORKERS
@on_ray
@JSON
def clean(sources: tuple[str, ...], output: Path, workers: int, as_json: bool, **options: Any) -> None:
    """Read SOURCES into a pool and drop what cannot be trained on, each sample with one reason; run again to resume.

    A source is FILE.toml, FILE.toml:FOLDER, or a shipped mapping and a folder, such as fracatlas:FOLDER.
    """
    from aloe_bench.mixture.clean import Cleaning, Processor
    from aloe_bench.mixture.clean import clean as cleaned
    from aloe_bench.mixture.pool import POOL_FILE, Pool
    from aloe_bench.mixture.read import read_sources
    from aloe_bench.mixture.source import load_source
    from aloe_bench.training.data.filters import Limits

    place = workplace_of(options, workers)
    if options["without_pictures"] and options["model"]:
        raise UsageError("--model counts the tokens of pictures too; leave it out, or --without-pictures.")
    found = [load_source(source) for source in sources]
    if options["fresh"] and output.is_dir():
        if any(output.iterdir()) and not (output / POOL_FILE).is_file():
            raise UsageError(f"{output} is not a pool, and is not removed. Choose another --output.")
        shutil.rmtree(output)
    pool = Pool(output)
    limits = Limits(options["max_length"], options["max_pictures"], options["min_side"])
    processor = Processor(options["model"], options["min_pixels"], options["max_pixels"]) if options["model"] else None
    with ExitStack() as stack:

        def report(title: str) -> Callable[[int, int], None]:
            return stack.enter_context(progress_of(title, quiet=as_json))

        read_sources(pool, found, options["seed"], place.spread, report("files"))
        done = cleaned(pool, Cleaning(limits, processor, not options["without_pictures"]), place.spread, report)
    if as_json:
        click.echo(json.dumps({step: pool.report(step) for step in pool.done()}, indent=2, sort_keys=True))
        return
    show_counts(pool)
    for sentence in done.get("left_over", ()):
        click.echo(f"Caution: {sentence}", err=True)
    if respelled := (pool.report("read") or {}).get("respelled"):
        first = ", ".join(respelled["first"])
        click.echo(
            f"Pictures called otherwise, in case or composition: {respelled['samples']} samples: {first}", err=True
        )
    if not done["settings"]["pictures"]:
        click.echo("Not asked: whether the pictures are there, whole and large enough (--without-pictures).")
    if not done["settings"]["processor"]:
        click.echo("Not counted: tokens, and so not length and control tokens either. --model CHECKPOINT counts them.")


def show_counts(pool: Pool) -> None:
    """Print what each step that was done took out, by source; the numbers add up line by line."""
    for step in pool.done():
        counts = (pool.report(step) or {})["counts"]
        click.echo(f"{step}: {counts['before']} samples, {counts['after']} kept")
        for source, each in counts["sources"].items():
            out = ", ".join(f"{n} {reason}" for reason, n in each.items() if reason not in ("before", "after") and n)
            click.echo(f"  {source}: {each['before']} - {out or '0'} = {each['after']}")


@click.command(
    cls=Verb,
    examples=(
        "aloe-bench data leakage pool --against careqa_vision_mcq",
        "aloe-bench data leakage pool --against heart:attacked --radius 4 --variant mirror",
    ),
    groups={
        "What is compared": "against data-root radius variant drop-text",
        "How often a hit is true": "label view decoys",
    },
)
@click.argument("pool", type=PATH)
@click.option("--against", multiple=True, required=True, help="A task, heart:FOLDER, a pool, or a folder of pictures.")
@click.option("--data-root", type=PATH, default=Path("data"), show_default=True, help="Where the data of tasks lies.")
@click.option("--radius", type=click.IntRange(0, 8), default=0, show_default=True, help="Bits; 0 is the paper's rule.")
@click.option("--variant", "variants", multiple=True, type=click.Choice(["mirror", "crop"]), help="Search these too.")
@click.option(
    "--drop-text",
    type=click.Choice(["none", "both", "question", "runs"]),
    default="none",
    show_default=True,
    help="Drop samples that repeat question and answer, the question, or half of its runs of 8 words.",
)
@click.option("--label", default="", help="Tag that true hits agree in, such as diagnosis; with --view.")
@click.option("--view", default="", help="Tag that false hits share, such as projection.")
@click.option("--decoys", type=PATH, help="Folder of pictures of the same kind, known not to be in training.")
@click.option("--seed", default=0, show_default=True, help="Which pairs are looked at where there are many.")
@JSON
def leakage(pool: Path, against: tuple[str, ...], data_root: Path, as_json: bool, **options: Any) -> None:
    """Drop samples of POOL that show a picture of an evaluation set, and say how many hits are true.

    Counts at 0, 2 and 4 bits are always given. Blank pictures count only where their pixels are equal. Each hit within
    4 bits is compared once more at 128 pixels; POOL/leakage/sheet.html shows the pairs, the most doubtful first.
    """
    from aloe_bench.mixture.evaluation import evaluation_set
    from aloe_bench.mixture.leakage import FOLDER, LeakageSearch
    from aloe_bench.mixture.leakage import leakage as searched
    from aloe_bench.mixture.pool import Pool

    made = Pool(pool)
    made.table()
    cache = pool / FOLDER
    sets = []
    for given in against:
        with progress_of(f"hash {given}", quiet=as_json) as report:
            sets.append(evaluation_set(given, data_root, options["variants"], cache, report))
    decoys = evaluation_set(str(options["decoys"]), data_root) if options["decoys"] else None
    names = ("radius", "label", "view", "seed")
    search = LeakageSearch(text=options["drop_text"], decoys=decoys, **{name: options[name] for name in names})
    with progress_of("compare pairs", quiet=as_json) as report:
        found = searched(made, sets, search, report)
    if as_json:
        click.echo(json.dumps(found, indent=2, sort_keys=True))
        return
    show_leakage(found)
    click.echo(f"Pairs: {cache / 'sheet.html'}; all hits: {cache / 'hits.csv'}")


def show_leakage(found: dict[str, Any]) -> None:
    """Print what a search for leakage found."""
    for name, counts in found["pictures"].items():
        near = ", ".join(f"{counts[f'training at {r}']} at {r} bits" for r in (0, 2, 4))
        blank = f"{counts['degenerate with equal pixels']} blank or made-up ones with equal pixels"
        of = f"{counts['compared']} pictures compared, {counts['degenerate']} of them blank or made-up"
        click.echo(f"{name}: {of}; training pictures near one: {near}; {blank}")
    for name, n in found["absent"].items():
        click.echo(f"{name}: {n} of its own rows or pictures are absent, and were not compared")
    for name, copies in found["texts"].items():
        for copy, n in copies.items():
            click.echo(f"{name}: {n['samples']} samples repeat {copy} of {n['questions']} questions")
    for each in found["precision"]:
        if each["value"] is None:
            alike = f"{each['agreeing']} of {each['n']} hits agree; " if each["n"] else ""
            click.echo(f"precision at {each['radius']} bits: {alike}not estimable ({each['note']})")
        else:
            click.echo(
                f"precision at {each['radius']} bits, by {each['method']}: {each['value']:.2f} "
                f"[{each['low']:.2f}, {each['high']:.2f}] of {each['n']} hits"
                f"{'; ' if each['note'] else ''}{each['note']}"
            )
    counts = found["counts"]
    out = ", ".join(f"{n} {reason}" for reason, n in counts["dropped"].items() if n) or "none dropped"
    click.echo(f"{counts['before']} samples, {out}, {counts['after']} kept")


_SUFFIXES = {"k": 1e3, "m": 1e6, "b": 1e9}


def amounts(given: tuple[str, ...]) -> dict[str, float]:
    """Return NAME=NUMBER pairs; a number may end in k, M or B."""
    found = {}
    for pair in given:
        name, equals, text = pair.partition("=")
        times = _SUFFIXES.get(text[-1:].casefold(), 1.0)
        try:
            found[name] = float(text[:-1] if times != 1.0 else text) * times
        except ValueError:
            equals = ""
        if not equals or not name or not found.get(name, 0.0) >= 0:
            raise UsageError(f"{pair!r}: expected NAME=NUMBER, such as pubmedvision=175.3M.")
    return found


@click.command(
    cls=Verb,
    examples=(
        "aloe-bench data rebalance pool --table-1",
        "aloe-bench data rebalance pool --share xray=0.5 --share ct=0.5 --total 10M",
    ),
)
@click.argument("pool", type=PATH)
@click.option(
    "--tokens", multiple=True, help="Loss tokens of a source or category: pubmedvision=175.3M, text/general=1M."
)
@click.option("--share", "shares", multiple=True, help="Share of a source or category: multimodal/medical=41.8.")
@click.option("--table-1", is_flag=True, help="The loss tokens of the paper's Table 1, by the shipped mappings' names.")
@click.option("--total", help="Loss tokens in all, with --share; as many as all shares allow if not given.")
@click.option("--spill", is_flag=True, help="What one cannot give is given by the others, in proportion.")
@click.option("--upsample", is_flag=True, help="Repeat samples of a source that has less than its budget.")
@click.option("--apply", "listed", type=PATH, help="A mixture.parquet of another pool: its weights by id, no budget.")
@click.option("--seed", default=0, show_default=True, help="Which samples of a source are taken.")
@JSON
def rebalance(pool: Path, listed: Path | None, as_json: bool, **options: Any) -> None:
    """Cut POOL to budgets of loss tokens; POOL/mixture.parquet lists every id with its weight and reason.

    Names with a "/" are categories (modality/domain), shared among their sources up to one level. Nothing is tokenised
    again, and nothing repeated unless asked.
    """
    from aloe_bench.mixture.pool import Pool
    from aloe_bench.mixture.rebalance import TABLE_1, Budget, apply_list
    from aloe_bench.mixture.rebalance import rebalance as balanced

    made = Pool(pool)
    made.table(columns=["id"])
    tokens, shares = amounts(options["tokens"]), amounts(options["shares"])
    if options["table_1"]:
        tokens = {**TABLE_1, **tokens}
        tokens = {name: tokens[name] for name in made.facts()["sources"] if name in tokens}
    if listed is not None:
        if tokens or shares:
            raise UsageError("--apply takes weights from a list; leave out --tokens, --share and --table-1.")
        found = apply_list(made, listed)
    else:
        names = [*tokens, *shares]
        by: Any = "category" if names and all("/" in name for name in names) else "source"
        total = amounts((f"total={options['total']}",))["total"] if options["total"] else None
        flags = {name: options[name] for name in ("spill", "upsample", "seed")}
        found = balanced(made, Budget(by, tokens, shares, total, **flags))
    if as_json:
        click.echo(json.dumps(found, indent=2, sort_keys=True))
        return
    for each in found.get("sources_balanced", ()):
        short = f"; {each['short']:,.0f} short of its budget" if each["short"] >= 1 else ""
        click.echo(
            f"{each['source']}: {each['samples']:,} of {each['has_samples']:,} samples, {each['tokens']:,} of "
            f"{each['has_tokens']:,} loss tokens, {each['share']:.1%}{short}"
        )
    for sentence in found.get("left_over", ()):
        click.echo(f"Caution: {sentence}", err=True)
    counts = found["counts"]
    whole = ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in found["totals"].items())
    over = counts["dropped"]["over budget"]
    click.echo(f"{counts['before']} samples, {over} over budget, {counts['after']} kept: {whole}")
    click.echo(found["reduction"])


@click.command(
    cls=Verb,
    examples=(
        "aloe-bench data coverage pool",
        "aloe-bench data coverage pool --rows modality --columns anatomy",
    ),
)
@click.argument("pool", type=PATH)
@click.option("--rows", default="modality", show_default=True, help="Tag of the rows.")
@click.option("--columns", default="specialty", show_default=True, help="Tag of the columns, such as anatomy.")
def coverage(pool: Path, rows: str, columns: str) -> None:
    """Count the kept samples of POOL by two tags: a table, a page, and a heatmap where matplotlib is installed."""
    from aloe_bench.mixture.coverage import as_markdown, write_coverage
    from aloe_bench.mixture.coverage import coverage as covered
    from aloe_bench.mixture.pool import Pool

    found = covered(Pool(pool), rows, columns)
    written = write_coverage(pool, f"{rows}-{columns}", found)
    click.echo(as_markdown(found), nl=False)
    click.echo("\n".join(f"{path}" for path in written), err=True)


COMMANDS = (sniff, clean, leakage, rebalance, coverage)
