"""`aloe-bench agreement`: how far experts agree with each other and with the jury."""

from __future__ import annotations

from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aloe_bench.cli.common import FiniteRange, RunFolder
from aloe_bench.cli.verb import Verb

if TYPE_CHECKING:
    from aloe_bench.judges.agreement.measure import Agreement, Mode
    from aloe_bench.stats.agreement import Level


def _scale(_context: click.Context, _option: click.Parameter, text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a list of numbers, such as 0,0.5,1.") from None
    rising = all(low < high for low, high in pairwise(values))
    if len(values) < 2 or not rising or not all(map(isfinite, values)):
        raise click.BadParameter(f"{text!r}: give two numbers or more, the lowest first, none twice.")
    return values


@click.command(
    cls=Verb,
    examples=(
        "aloe-bench agreement --annotations ratings.csv",
        "aloe-bench agreement --annotations ratings.csv --run runs/m/careqa_vision_open --correct",
    ),
)
@click.option("--annotations", required=True, type=click.Path(path_type=Path), help="CSV of the experts' labels.")
@click.option(
    "--raters", help="Who counts, e.g. ana,bo; all by default. Other columns and raters are left out, and named."
)
@click.option("--run", "run_folder", type=RunFolder(), help="A judged run of the answers they rated.")
@click.option(
    "--mode",
    type=click.Choice(["extra-rater", "vs-majority", "all-raters"]),
    default="extra-rater",
    show_default=True,
    help="The jury as one more rater, against the experts' majority, or each judge as a rater.",
)
@click.option(
    "--level", type=click.Choice(["nominal", "ordinal", "interval"]), default="ordinal", show_default=True,
    help="How far apart two grades are; alpha itself is printed at all three.",
)  # fmt: skip
@click.option("--values", default="0,0.5,1", show_default=True, callback=_scale, help="The scale, lowest first.")
@click.option("--resamples", type=click.IntRange(100, 100_000), default=2000, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option(
    "--epsilon", type=FiniteRange(0, 1), default=0.2, show_default=True,
    help="What the alternative annotator test grants the jury; 0.2 beside experts.",
)  # fmt: skip
@click.option("--report", type=click.Path(path_type=Path, file_okay=False), help="Folder for the trust report.")
@click.option("--min-alpha", type=FiniteRange(-1, 1), help="Exit with 4 if alpha is lower, or may not be read.")
@click.option("--min-alpha-low", type=FiniteRange(-1, 1), help="Exit with 4 if an interval reaches below.")
@click.option("--correct", is_flag=True, help="Correct the run's judged cells by labels of `annotate --sample`.")
@click.option("--json", "as_json", is_flag=True, help="Print the unrounded numbers as JSON and nothing else.")
def agreement(
    annotations: Path,
    raters: str | None,
    run_folder: Path | None,
    mode: Mode,
    level: Level,
    values: tuple[float, ...],
    resamples: int,
    seed: int,
    epsilon: float,
    report: Path | None,
    min_alpha: float | None,
    min_alpha_low: float | None,
    correct: bool,
    as_json: bool,
) -> None:
    """Compute Krippendorff's alpha among experts and with the jury, with intervals and checks.

    The table has the columns item_id,rater,label, or item_id and one column a rater; a column `cluster` says
    what items share. Labels: correct, partially correct, incorrect, ambiguous, or 1, 0.5, 0; an empty one is missing.
    """
    import json
    from dataclasses import asdict

    from aloe_bench import __version__
    from aloe_bench.api.grading import agreement as measure
    from aloe_bench.evaluation.runlog import read_header

    if correct and (run_folder is None or not set(values) <= {0.0, 0.5, 1.0}):
        raise click.UsageError("--correct needs --run, a judged run, and the grades 0, 0.5 and 1, without --values.")
    if report is not None:
        from aloe_bench.judges.agreement.report import check_matplotlib

        check_matplotlib()
    result = measure(
        annotations,
        run_folder,
        mode=mode,
        level=level,
        values=values,
        resamples=resamples,
        seed=seed,
        epsilon=epsilon,
        raters=tuple(name.strip() for name in raters.split(",")) if raters else (),
    )
    cells = _correct(annotations, run_folder) if correct and run_folder is not None else {}
    header = None if run_folder is None else read_header(run_folder)
    source = {"aloe_bench": __version__, "annotations": _file(annotations), "run": _run(run_folder, header)}
    if as_json:
        corrected = {"corrected": cells} if correct else {}
        click.echo(json.dumps(source | asdict(result) | corrected, indent=2, allow_nan=False))
    else:
        _print(result)
        _print_corrected(cells)
    if report is not None:
        from aloe_bench.judges.agreement.report import write_report

        for path in write_report(result, source, report):
            click.echo(str(path), err=as_json)
    if min_alpha is not None or min_alpha_low is not None:
        _gate(result, min_alpha, min_alpha_low)


def _correct(annotations: Path, run_folder: Path) -> dict[str, Any]:
    """Return the cells that were corrected, raw numbers beside them."""
    from aloe_bench.api.grading import correct

    cells: dict[str, Any] = correct(annotations, run_folder).summary["cells"]
    return {name: cell for name, cell in cells.items() if "corrected" in cell}


def _print_corrected(cells: dict[str, Any]) -> None:
    def span(interval: tuple[float, float] | None, form: str = ".1f") -> str:
        return f"[{', '.join(f'{100 * end:{form}}' for end in interval)}]" if interval else "(no interval)"

    for name, cell in cells.items():
        found = cell["corrected"]
        wider = found["interval_experts"]
        click.echo(
            f"{name}: jury {100 * cell['value']:.1f} {span(cell['interval'])}, items only; corrected with "
            f"{found['n_labels']} labels {100 * found['value']:.1f} {span(found['interval'])} by these experts"
            + (f", {span(wider)} by experts like these" if wider else "")
            + f"; bias {100 * found['bias']:+z.1f} {span(found['bias_interval'], '+z.1f')}"
        )


def _file(path: Path) -> dict[str, str]:
    import hashlib

    return {"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def _run(folder: Path | None, header: dict[str, Any] | None) -> dict[str, Any] | None:
    if folder is None or header is None:
        return None
    model, task, jury = (header.get(part) or {} for part in ("model", "task", "judges"))
    return {
        "id": header.get("run_id", folder.name),
        "model": model.get("name"),
        "fingerprint": model.get("fingerprint"),
        "task": task.get("name"),
        "task_version": task.get("version"),
        "rubric": jury.get("rubric"),
        "jury": jury.get("identity"),
    }


def _print(result: Agreement) -> None:
    from aloe_bench.judges.agreement.tables import counts_line, left_over, plain, tables, visible

    click.echo(counts_line(result) + "\n")
    for sentence in left_over(result):
        click.echo(sentence)
    for table in tables(result):
        click.echo(plain(table) + "\n")
    for caution in result.cautions:
        click.echo(f"Caution: {visible(caution)}")
    for finding in result.findings:
        click.echo(visible(finding))


def _gate(result: Agreement, min_alpha: float | None, min_alpha_low: float | None) -> None:
    from aloe_bench.errors import GateError

    panel = result.panel
    found, band = (panel.alpha[result.level], panel.band) if panel else (result.humans[result.level], result.band)
    whose = f"with the panel ({result.mode})" if panel else "among the experts"
    if band.name is None or found.value is None:
        raise GateError(f"alpha {whose} must not be read: {band.reason or found.reason} The gate is not met.")
    lowest = min(interval[0] for interval in (found.bootstrap, found.jackknife) if interval is not None)
    if min_alpha_low is not None and lowest < min_alpha_low:
        raise GateError(f"alpha {whose} may be as low as {lowest:.4f}, below --min-alpha-low {min_alpha_low:g}.")
    if min_alpha is not None and found.value < min_alpha:
        raise GateError(f"alpha {whose} is {found.value:.4f}, below --min-alpha {min_alpha:g}.")
