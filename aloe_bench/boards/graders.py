"""agreement.md: how far the judges of published runs agree with each other, and with experts who labelled answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from aloe_bench.boards.letters import labels_of
from aloe_bench.boards.published import Published
from aloe_bench.boards.shares import significant
from aloe_bench.boards.tables import (
    APART,
    FOOTNOTES,
    GENERATED,
    MARKS,
    escape,
    is_miniature,
    markdown,
    percent,
    run_name,
)
from aloe_bench.core import Record
from aloe_bench.evaluation.cells import vote
from aloe_bench.stats.intervals import Interval

Result = Mapping[str, Any]
TITLE = "Agreement of judges and experts"
ALONE = (
    "Over all answers that a jury graded: the share on which all judges gave one grade, that on which no grade has a "
    "majority (split: the median stands), and that without a grade of the jury; k/n beneath. Alpha: Krippendorff's, "
    "ordinal, among the judges, with its jackknife interval over pictures or patients. Judges who agree may be wrong "
    "alike: only experts tell."
)
BESIDE_EXPERTS = (
    "On the answers that were drawn at random and that experts labelled (docs/agreement.md): ordinal alpha of the "
    "experts, of the experts with the jury as one more rater, and the second minus the first. The jury is a median, "
    "which is less noisy than one expert: a rise does not show that it is as good as one."
)
GRADERS = (
    "The jury and each judge on the labelled answers that it graded: its mean grade in %, the experts' on the same "
    "answers, and the first minus the second in points, paired, by Tango's score (above 0: lenient)."
)

FIELDS = (
    "of", "n", "unanimous", "split", "no_grade", "mean", "experts_mean", "alpha", "alpha_low", "alpha_high", "bias",
    "bias_low", "bias_high",
)  # fmt: skip
GRADED_COLUMNS = ("model", "task", *FIELDS, "result")


@dataclass(frozen=True, slots=True)
class Rated:
    """A number with its interval; the value is None where it does not exist."""

    value: float | None
    interval: Interval | None
    n: int


@dataclass(frozen=True, slots=True)
class GraderNumbers:
    """The jury, or one judge, on the labelled answers that it graded: its mean grade and the experts', and the bias."""

    mean: float
    experts: float
    bias: Rated


@dataclass(frozen=True, slots=True)
class ExpertNumbers:
    """What experts' labels say of a run: `n_labels` answers have one."""

    n_experts: int
    n_labels: int
    alone: Rated
    with_jury: Rated
    difference: Rated
    graders: Mapping[str, GraderNumbers]


@dataclass(frozen=True, slots=True)
class GradedRun:
    """How the judges of one result graded; `place` is its place in the list of results, `means` the judges' by name."""

    place: int
    n: int
    unanimous: int
    split: int
    no_grade: int
    alpha: Rated
    means: Mapping[str, Rated]
    experts: ExpertNumbers | None


def graded_runs(published: Sequence[Published]) -> list[GradedRun]:
    """Return how the judges agree in every result that holds their grades."""
    found = []
    for place, one in enumerate(published):
        judged = [record for record in one.records if record.score.verdicts]
        if judged:
            found.append(_graded(place, one, judged))
    return found


def _graded(place: int, one: Published, judged: Sequence[Record]) -> GradedRun:
    import numpy as np

    judges = sorted({verdict.judge for record in judged for verdict in record.score.verdicts})
    given = [{verdict.judge: verdict.grade for verdict in record.score.verdicts} for record in judged]
    grades = np.array([[_number(of.get(name)) for of in given] for name in judges])
    clusters = [record.cluster for record in judged]
    labels = labels_of(one.items, one.result["outcomes"])
    return GradedRun(
        place,
        len(judged),
        sum(len(of) == len(judges) and None not in of.values() and len(set(of.values())) == 1 for of in given),
        sum(vote([*of.values()]).split for of in given),
        sum(record.score.value is None for record in judged),
        _alpha(grades, clusters),
        {name: _mean(row) for name, row in zip(judges, grades, strict=True)},
        None if labels is None else _beside_experts(judged, judges, grades, labels.experts),
    )


def _beside_experts(
    judged: Sequence[Record], judges: Sequence[str], grades: Any, experts: Mapping[str, Mapping[str, float]]
) -> ExpertNumbers | None:
    import numpy as np

    from aloe_bench.stats.agreement import alpha_difference, resamples

    labels = np.array([[_number(of.get(record.sample_id)) for record in judged] for of in experts.values()])
    rated = ~np.isnan(labels).all(axis=0)
    if not rated.any():
        return None
    clusters = [record.cluster for record, kept in zip(judged, rated, strict=True) if kept]
    jury = np.array([_number(record.score.value) for record in judged])[rated]
    labels, judged_too = labels[:, rated], grades[:, rated]
    both = np.vstack([labels, jury])
    change = alpha_difference(both, labels, "ordinal", resamples(clusters, n=0))
    means = np.nansum(labels, axis=0) / (~np.isnan(labels)).sum(axis=0)
    return ExpertNumbers(
        int((~np.isnan(labels)).any(axis=1).sum()),
        int(rated.sum()),
        _alpha(labels, clusters),
        _alpha(both, clusters),
        Rated(change.value, change.jackknife, change.n),
        {
            name: _grader(row, means, clusters)
            for name, row in [("jury", jury), *zip(judges, judged_too, strict=True)]
            if not np.isnan(row).all()
        },
    )


def _grader(grades: Any, experts: Any, clusters: Sequence[str]) -> GraderNumbers:
    import numpy as np

    from aloe_bench.stats.paired import paired_difference

    known = ~np.isnan(grades)
    bias = paired_difference(grades[known], experts[known], np.asarray(clusters)[known])
    return GraderNumbers(
        float(grades[known].mean()), float(experts[known].mean()), Rated(bias.value, bias.interval, bias.n)
    )


def _alpha(ratings: Any, clusters: Sequence[str]) -> Rated:
    """Return ordinal alpha of `ratings` (raters, items) with its jackknife interval, which no draw enters."""
    from aloe_bench.stats.agreement import alpha, resamples

    found = alpha(ratings, "ordinal", draws=resamples(clusters, n=0))
    return Rated(found.value, found.jackknife, found.n_units)


def _mean(row: Any) -> Rated:
    import numpy as np

    known = row[~np.isnan(row)]
    return Rated(float(known.mean()) if len(known) else None, None, len(known))


def _number(grade: float | None) -> float:
    return float("nan") if grade is None else grade


def agreement_page(results: Sequence[Result], runs: Sequence[GradedRun]) -> str:
    """Return agreement.md, of the runs that are not miniatures."""
    blocks = agreement_blocks(results, [run for run in runs if not is_miniature(results[run.place])])
    return "\n\n".join([GENERATED, f"# {TITLE}", *(blocks[1:] or ["No answers graded by a jury yet."])]) + "\n"


def agreement_blocks(results: Sequence[Result], runs: Sequence[GradedRun]) -> list[str]:
    """Return a title and the tables of `runs`; empty without any."""
    if not runs:
        return []
    alone = [
        ["Model", "Task", "Judges", "All alike", "Split", "No grade", "Alpha"],
        *(_alone(results, r) for r in runs),
    ]
    blocks = [f"## {TITLE}", ALONE, markdown(alone, names=3)]
    labelled = [(run, run.experts) for run in runs if run.experts is not None]
    if labelled:
        lines = [["Model", "Task", "Experts", "Answers", "Experts alone", "With the jury", "Difference"]]
        graders = [["Model", "Task", "Grader", "Answers", "Mean", "Experts", "Grader minus experts"]]
        for run, found in labelled:
            names = _names(results[run.place])
            alphas = [_signed(found.difference) if one is found.difference else _shown(one)
                      for one in (found.alone, found.with_jury, found.difference)]  # fmt: skip
            lines.append([*names, str(found.n_experts), str(found.n_labels), *alphas])
            graders += [[*names, *_grader_cells(name, of)] for name, of in found.graders.items()]
        blocks += [BESIDE_EXPERTS, markdown(lines, names=2), GRADERS, markdown(graders, names=3)]
    marks = [mark for mark in (*MARKS, APART) if any(mark in block for block in blocks[2:])]
    return [*blocks, *(FOOTNOTES[mark] for mark in marks)]


def _names(result: Result) -> list[str]:
    return [run_name(result), escape(str(result["task"]["name"]))]


def _alone(results: Sequence[Result], run: GradedRun) -> list[str]:
    shares = [
        f"{percent(Fraction(k, run.n), '0.1')}<br><small>{k}/{run.n}</small>"
        for k in (run.unanimous, run.split, run.no_grade)
    ]
    judges = ", ".join(f"{escape(name)} (mean {_percent(of.value)}, n {of.n})" for name, of in run.means.items())
    return [*_names(results[run.place]), judges, *shares, _shown(run.alpha)]


def _grader_cells(name: str, of: GraderNumbers) -> list[str]:
    ends = ", ".join(f"{percent(Fraction(end), '0.1'):+}" for end in of.bias.interval or ())
    bias = "–" if of.bias.value is None else f"{percent(Fraction(of.bias.value), '0.1'):+}"
    return [
        escape(name), str(of.bias.n), _percent(of.mean), _percent(of.experts),
        f"{bias}<br><small>{f'[{ends}]' if ends else 'no interval'}</small>",
    ]  # fmt: skip


def _percent(value: float | None) -> str:
    return "–" if value is None else str(percent(Fraction(value), "0.1"))


def _shown(rated: Rated) -> str:
    if rated.value is None:
        return f"none<br><small>n {rated.n}</small>"
    ends = ", ".join(f"{end:.3f}" for end in rated.interval or ())
    return f"{rated.value:.3f}<br><small>{f'[{ends}]' if ends else 'no interval'}, n {rated.n}</small>"


def _signed(rated: Rated) -> str:
    if rated.value is None:
        return "–"
    ends = ", ".join(f"{end:+z.3f}" for end in rated.interval or ())
    return f"{rated.value:+z.3f}<br><small>{f'[{ends}]' if ends else 'no interval'}</small>"


def agreement_facts(results: Sequence[Result], paths: Sequence[str], run: GradedRun) -> list[dict[str, Any]]:
    """Return one result's agreement for machines, a line for each group of raters and each grader."""
    result, experts = results[run.place], run.experts
    told = {"model": result["model"]["name"], "task": result["task"]["name"]}
    counts = {"n": run.n, "unanimous": run.unanimous, "split": run.split, "no_grade": run.no_grade}
    lines: list[dict[str, Any]] = [{"of": "judges", **counts, **_facts(run.alpha, "alpha")}]
    lines += [{"of": f"judge {name}", "n": of.n, "mean": of.value} for name, of in run.means.items()]
    if experts is not None:
        groups = {"experts": experts.alone, "experts and jury": experts.with_jury, "difference": experts.difference}
        lines += [{"of": name, "n": experts.n_labels, **_facts(of, "alpha")} for name, of in groups.items()]
        lines += [
            {"of": f"{name} minus experts", "n": of.bias.n, "mean": of.mean, "experts_mean": of.experts,
             **_facts(of.bias, "bias")}
            for name, of in experts.graders.items()
        ]  # fmt: skip
    return [told | {key: _rounded(line.get(key)) for key in FIELDS} | {"result": paths[run.place]} for line in lines]


def _rounded(value: Any) -> Any:
    return significant(value) if isinstance(value, float) else value


def _facts(rated: Rated, name: str) -> dict[str, float | None]:
    low, high = rated.interval or (None, None)
    return {name: rated.value, f"{name}_low": low, f"{name}_high": high}
