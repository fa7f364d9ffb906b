"""Samples beyond the limits of their source dropped: by score, by perplexity, by what stands in the picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from aloe_bench.errors import UsageError, did_you_mean
from aloe_bench.mixture.pool import Pool, dropped, kept
from aloe_bench.training.data.filters import Reason

Measure = Literal["score", "perplexity", "in_picture"]
# What each measure is read from, the reason it drops for, and what its limits may be.
MEASURES: dict[Measure, tuple[str, Reason, float, float]] = {
    "score": ("tag", "low score", 1, 5),
    "perplexity": ("perplexity", "perplexity", 1, float("inf")),
    "in_picture": ("ocr", "answer in picture", 0, 1),
}


@dataclass(frozen=True, slots=True)
class QualityLimits:
    """Limits by source: scores from 1 to 5, perplexities from 1, shares of an answer that stand in the picture.

    A value at its limit is kept. `note` says who looked at what to set them, and stays with the decisions.
    """

    min_score: Mapping[str, float] = field(default_factory=dict)
    min_perplexity: Mapping[str, float] = field(default_factory=dict)
    max_perplexity: Mapping[str, float] = field(default_factory=dict)
    max_in_picture: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    def of(self, measure: Measure) -> tuple[Mapping[str, float], Mapping[str, float]]:
        """Return the least and the greatest values of a measure, by source."""
        if measure == "score":
            return self.min_score, {}
        return ({}, self.max_in_picture) if measure == "in_picture" else (self.min_perplexity, self.max_perplexity)


def filter_pool(pool: Pool, limits: QualityLimits) -> dict[str, Any]:
    """Return the report of the step: samples beyond a limit of their source are dropped, with value and limit.

    A sample without a value is kept, and counted. Raises UsageError for an unknown source, a limit that no value can
    have, or a measure that was not taken.
    """
    check(pool, limits)

    def make(table: Any) -> tuple[Any, dict[str, Any]]:
        sources, without, by = table["source"].to_pylist(), dict[str, int](), dict[str, int]()
        for measure, (_, reason, _, _) in MEASURES.items():
            least, most = limits.of(measure)
            if not least and not most:
                continue
            rows = kept(table)
            limited = [source in least or source in most for source in rows["source"].to_pylist()]
            without[measure] = rows[measure].filter(limited).null_count
            table, n = _beyond(table, sources, measure, reason, (least, most))
            by |= {f"{measure} {end}": count for end, count in n.items() if count}
        return table, {"kept_without": without, "by_limit": by}

    return pool.step("filter", _settings(limits), make)


def _settings(limits: QualityLimits) -> dict[str, Any]:
    return {
        name: dict(sorted(given.items())) if isinstance(given, Mapping) else given
        for name, given in asdict(limits).items()
        if given
    }


def _beyond(
    table: Any, sources: list[str], measure: Measure, reason: Reason, ends: tuple[Mapping[str, float], ...]
) -> tuple[Any, dict[str, int]]:
    """Return `table` without the samples beyond a limit of `measure`, and how many each end took."""
    import numpy as np
    import pyarrow.compute as pc

    open_ends = (-np.inf, np.inf)
    low, high = (
        np.array([end.get(s, other) for s in sources], float) for end, other in zip(ends, open_ends, strict=True)
    )
    value = pc.fill_null(table[measure].cast("float64"), float("nan")).to_numpy()
    under, over = value < low, value > high
    details = {
        int(row): f"{measure.replace('_', ' ')} {value[row]:.4g}, at {'least' if under[row] else 'most'} "
        f"{(low if under[row] else high)[row]:.4g}"
        for row in np.flatnonzero(under | over)
    }
    left = pc.is_null(table["reason"]).to_numpy(zero_copy_only=False)
    n = {"too low": int((under & left).sum()), "too high": int((over & left).sum())}
    return dropped(table, reason, under | over, details), n


def check(pool: Pool, limits: QualityLimits) -> None:
    """Raise UsageError for limits that this pool cannot be held to."""
    known = list(pool.facts()["sources"])
    for measure, (step, _, lowest, highest) in MEASURES.items():
        least, most = limits.of(measure)
        if (least or most) and pool.report(step) is None:
            raise UsageError(f"{pool.folder}: no {measure} was taken yet. Run `aloe-bench data {step}` first.")
        for source, number in [*least.items(), *most.items()]:
            if source not in known:
                raise UsageError(f"no source {source!r}.{did_you_mean(source, known)} There is {', '.join(known)}.")
            if not lowest <= number <= highest:
                upper = f" to {highest:g}" if highest < float("inf") else ""
                raise UsageError(f"{source}={number:g}: a limit of {measure} is a number from {lowest:g}{upper}.")
        for source in least.keys() & most.keys():
            if least[source] > most[source]:
                raise UsageError(f"{source}: at least {least[source]:g} and at most {most[source]:g} leave no sample.")
