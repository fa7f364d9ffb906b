"""Open answers graded by a jury, and the jury held to experts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aloe_bench.api.runs import Progress, Run
from aloe_bench.evaluation import runlog
from aloe_bench.evaluation.finish import finish

if TYPE_CHECKING:
    from aloe_bench.judges.agreement.measure import Agreement, Mode
    from aloe_bench.judges.jury.seats import Jury
    from aloe_bench.stats.agreement import Level


def jury(judges: Path | str | None = None, keys: Mapping[str, str] | None = None) -> Jury:
    """Return the jury of a judges.toml, by default the paper's three; `keys` are API keys by the names in the file."""
    from aloe_bench.judges.jury.seats import Jury

    return Jury.read(None if judges is None else Path(judges), keys or {})


def judge(
    run: Run | Path | str,
    judges: Jury | Path | str | None = None,
    *,
    keys: Mapping[str, str] | None = None,
    fresh: bool = False,
    progress: Progress = lambda done, total: None,
) -> Run:
    """Return `run` with its open answers graded by `judges`: a jury, or a judges.toml, by default the paper's three.

    What is graded stays, so that it can be interrupted and repeated; `fresh` sets earlier verdicts aside. `keys` are
    API keys by the names in the file, such as `os.environ`. Raises RunMismatchError if another jury has begun.
    """
    folder = run.folder if isinstance(run, Run) else Path(run)
    runlog.read_header(folder)
    seated = jury(judges, keys) if judges is None or isinstance(judges, Path | str) else judges
    try:
        seated.grade(folder, progress, fresh)
    # Of an interrupted session too, Ctrl-C included: what an earlier jury said may no longer stand.
    except BaseException:
        if runlog.is_finished(folder):
            finish(folder)
        raise
    return Run(folder, finish(folder))


def correct(annotations: Path | str, run: Run | Path | str) -> Run:
    """Return `run` with its judged cells corrected by the experts' labels of a CSV file, kept in its folder.

    The labelled answers are those that `annotate --sample` drew at random, or all. Each such cell of the summary, and
    of a leaderboard built from the run, keeps its number and gains `corrected`. Raises DataError without a draw.
    """
    from aloe_bench.answers.score import open_answer
    from aloe_bench.judges.agreement.correct import keep_labels
    from aloe_bench.judges.agreement.study import study_of
    from aloe_bench.judges.experts.annotations import read_annotations

    folder = run.folder if isinstance(run, Run) else Path(run)
    keep_labels(folder, study_of(read_annotations(Path(annotations)), runlog.read_run(folder)[1], open_answer))
    return Run(folder, finish(folder, done=runlog.is_finished(folder)))


def agreement(
    annotations: Path | str,
    run: Run | Path | str | None = None,
    *,
    mode: Mode = "extra-rater",
    level: Level = "ordinal",
    values: Sequence[float] = (0, 0.5, 1),
    resamples: int = 2000,
    seed: int = 0,
    epsilon: float = 0.2,
    raters: Sequence[str] = (),
) -> Agreement:
    """Return how far the experts of a CSV file agree with each other and, given a judged run, with its jury.

    `values` is their scale, the lowest first; `raters` are those that count, all by default. Raises DataError for
    labels off the scale, or of another run.
    """
    from aloe_bench.answers.score import open_answer
    from aloe_bench.judges.agreement.measure import agreement as measure
    from aloe_bench.judges.agreement.study import study_of
    from aloe_bench.judges.experts.annotations import read_annotations

    labels = read_annotations(Path(annotations), tuple(map(float, values)), raters)
    folder = run.folder if isinstance(run, Run) else None if run is None else Path(run)
    records = None if folder is None else runlog.read_run(folder)[1]
    return measure(
        study_of(labels, records, open_answer), mode, level, seed=seed, n_resamples=resamples, epsilon=epsilon
    )
