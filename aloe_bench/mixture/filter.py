"""Samples below a quality score, by source, dropped; and a page of high, low and borderline ones to set it by."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from aloe_bench.errors import DataError, UsageError, did_you_mean
from aloe_bench.files import write_atomic
from aloe_bench.images import open_image
from aloe_bench.mixture.evaluation import turns_of
from aloe_bench.mixture.pool import Pool, dropped, kept
from aloe_bench.mixture.read import ranks
from aloe_bench.mixture.sheet import page, thumbnail

EACH = 5
SHEET = "filter.html"


def filter_pool(pool: Pool, least: Mapping[str, int]) -> dict[str, Any]:
    """Return the report of the step: samples with a score under their source's `least` (1 to 5) are dropped.

    A sample without a score is kept, and counted. Raises UsageError for an unknown source, or a pool without scores.
    """
    _check(pool, least)

    def make(table: Any) -> tuple[Any, dict[str, Any]]:
        import numpy as np

        sources, scores = table["source"].to_pylist(), table["score"].to_pylist()
        low = [s is not None and s < least.get(source, 1) for source, s in zip(sources, scores, strict=True)]
        details = {row: f"score {scores[row]}, at least {least[sources[row]]}" for row, out in enumerate(low) if out}
        rows = kept(table)
        without = rows["score"].null_count
        return dropped(table, "low score", np.array(low, bool), details), {"kept_without_score": without}

    return pool.step("filter", {"least": dict(sorted(least.items()))}, make)


def _check(pool: Pool, least: Mapping[str, int]) -> None:
    known = list(pool.facts()["sources"])
    for source, score in least.items():
        if source not in known:
            raise UsageError(f"no source {source!r}.{did_you_mean(source, known)} There is {', '.join(known)}.")
        if score not in range(1, 6):
            raise UsageError(f"{source}={score}: a score is a whole number from 1 to 5.")
    if pool.report("tag") is None:
        raise UsageError(f"{pool.folder}: no scores yet. Run `aloe-bench data tag` first.")


def contact_sheet(pool: Pool, least: Mapping[str, int], seed: int = 0) -> int:
    """Write POOL/filter.html, of each source some of the highest, lowest and borderline; return how many."""
    import numpy as np
    import pyarrow as pa

    table = pool.table("tag")
    rows = kept(table).combine_chunks()
    order = np.argsort(ranks(rows["draw"].to_numpy(), seed, "contact sheet"))
    figures = []
    for source in sorted(set(rows["source"].to_pylist())):
        own = [int(i) for i in order if rows["source"][int(i)].as_py() == source and rows["score"][int(i)].is_valid]
        scores = {i: rows["score"][i].as_py() for i in own}
        limit = least.get(source, 3)
        groups = {
            "highest": sorted(own, key=lambda i: -scores[i])[:EACH],
            "lowest": sorted(own, key=lambda i: scores[i])[:EACH],
            f"at the limit of {limit}": [i for i in own if scores[i] in (limit, limit - 1)][:EACH],
        }
        for name, some in groups.items():
            shown = rows.take(pa.array(some, pa.int64()))
            for i, conversation in zip(some, pool.conversations(shown), strict=True):
                figures.append(_figure(pool, f"{source}, {name}: score {scores[i]}", conversation))
    write_atomic(pool.folder / SHEET, page("Scores to look at", f"Up to {EACH} samples a source and group.", figures))
    return len(figures)


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
