"""Contact sheets: of each source and measure some of the highest, the lowest and those nearest to each limit."""

from __future__ import annotations

from html import escape
from typing import Any

from aloe_bench.errors import DataError, UsageError
from aloe_bench.files import write_atomic
from aloe_bench.images import open_image
from aloe_bench.mixture.evaluation import turns_of
from aloe_bench.mixture.filter import MEASURES, Measure, QualityLimits, check
from aloe_bench.mixture.pool import STEPS, Pool, kept
from aloe_bench.mixture.read import ranks
from aloe_bench.mixture.sheet import page, thumbnail

EACH = 5
SHEET = "filter.html"
# What is looked at where no limit was given: a score between bad and good, most of an answer, and the outer hundredths.
USUAL = {"score": 3.0, "in_picture": 0.8}


def contact_sheet(pool: Pool, limits: QualityLimits, seed: int = 0) -> int:
    """Write POOL/filter.html for the measures that were taken; return how many samples it shows.

    Raises UsageError if none was taken, or as `check` does.
    """
    check(pool, limits)
    taken = [measure for measure, (step, *_) in MEASURES.items() if pool.report(step) is not None]
    if not taken:
        raise UsageError(
            f"{pool.folder}: nothing was measured yet. Run `aloe-bench data tag`, perplexity or ocr first."
        )
    last = [step for step in pool.done() if list(STEPS).index(step) < list(STEPS).index("filter")][-1]
    rows = kept(pool.table(last)).combine_chunks()
    figures = []
    for measure in taken:
        for source in sorted(set(rows["source"].to_pylist())):
            figures += _of_source(pool, rows, measure, source, limits, seed)
    words = f"Up to {EACH} samples a source, measure and group."
    write_atomic(pool.folder / SHEET, page("Samples to look at", words, figures))
    return len(figures)


def _of_source(pool: Pool, rows: Any, measure: Measure, source: str, limits: QualityLimits, seed: int) -> list[str]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    own = np.flatnonzero(pc.and_(pc.equal(rows["source"], source), pc.is_valid(rows[measure])).to_numpy(False))
    if not len(own):
        return []
    own = own[np.argsort(ranks(rows["draw"].to_numpy()[own], seed, "contact sheet"))]
    value = rows[measure].take(pa.array(own)).cast("float64").to_numpy()
    rising = np.argsort(value, kind="stable")
    groups = {"highest": rising[::-1][:EACH], "lowest": rising[:EACH]}
    for limit in _limits(measure, source, limits, value):
        near = np.argsort(np.abs(np.log1p(value) - np.log1p(limit)), kind="stable")
        groups[f"nearest from {limit:.4g} up"] = near[value[near] >= limit][:EACH]
        groups[f"nearest under {limit:.4g}"] = near[value[near] < limit][:EACH]
    made = []
    for name, places in groups.items():
        some = rows.take(pa.array(own[places], pa.int64()))
        for place, conversation in zip(places, pool.conversations(some), strict=True):
            title = f"{source}, {name}: {measure.replace('_', ' ')} {value[place]:.4g}"
            made.append(_figure(pool, title, conversation))
    return made


def _limits(measure: Measure, source: str, limits: QualityLimits, value: Any) -> list[float]:
    import numpy as np

    given = [end[source] for end in limits.of(measure) if source in end]
    if given:
        return given
    return [USUAL[measure]] if measure in USUAL else [float(q) for q in np.quantile(value, (0.01, 0.99))]


def _figure(pool: Pool, title: str, conversation: Any) -> str:
    pictures = []
    for path in conversation.pictures[:1]:
        try:
            pictures.append(thumbnail(open_image(pool.folder / path)))
        except DataError:
            pictures.append(escape(path))
    words = "<br>".join(f"<b>{escape(q[:400])}</b><br>{escape(a[:400])}" for q, a in list(turns_of(conversation))[:2])
    caption = f"<figcaption>{escape(title)} <small>{escape(conversation.id)}</small></figcaption>"
    return f"<figure>{caption}<div>{''.join(pictures) or 'no picture'}</div><div>{words}</div></figure>"
