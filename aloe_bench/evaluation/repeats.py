"""Several replies to each question at a temperature above 0: how much of a score is the draw of one reply.

A score over n items of one reply each varies with the items and with the replies. K replies to each item tell the two
apart: within an item only replies vary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt
from typing import TYPE_CHECKING, Any

from aloe_bench.core import Record, Sample
from aloe_bench.errors import UsageError
from aloe_bench.evaluation.cells import is_attacked

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from aloe_bench.evaluation.plan import Settings


def repeats_of(name: str, chosen: Sequence[tuple[int, Sample]], settings: Settings) -> tuple[tuple[int, Sample], ...]:
    """Return the further questions, `settings.repeats` - 1 of each sample, under ids of their own.

    Raises UsageError where replies would not be drawn, or somebody else has to grade them.
    """
    if settings.decoding.temperature == 0 or settings.protocol != "generate":
        raise UsageError(f"{name}: --repeats draws new replies; it needs --temperature above 0 and generated replies.")
    if settings.shard is not None:
        raise UsageError(f"{name}: --repeats does not go with --shard; run the task whole.")
    if any(sample.kind == "open" for _, sample in chosen):
        raise UsageError(f"{name}: --repeats is for questions with options; a jury grades one reply to an open one.")
    return tuple(
        (index, replace(sample, id=f"{sample.id}#{k}", repeat=k))
        for index, sample in chosen
        for k in range(1, settings.repeats)
    )


def by_item(records: Sequence[Record], repeats: Sequence[Record]) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """Return the scores (items, replies), nan where a call failed, and the items' clusters, in the records' order."""
    import numpy as np

    place = {record.sample_id: i for i, record in enumerate(records)}
    count = 1 + max((record.repeat for record in repeats), default=0)
    scores = np.full((len(records), count), np.nan)
    for record in (*records, *repeats):
        if record.score.value is not None:
            name = record.sample_id.rpartition("#")[0] if record.repeat else record.sample_id
            scores[place[name], record.repeat] = record.score.value
    return scores, np.array([record.cluster for record in records], dtype=str)


def repeats_section(records: Sequence[Record], repeats: Sequence[Record]) -> dict[str, Any]:
    """Return {"repeats": ...} of a run that asked each question several times, of any other nothing.

    Of all items, and of an attacked table of each arm of each task: `n_replies` an item, the mean `value` over all
    replies with its interval over items (a whole item's mean reply is one answer), and the variance of one reply's
    score in two parts, `items` and `replies`. `sd_of_one` is how far the mean of one reply an item strays from that
    of all replies there could be, `changed` the share of items whose replies do not all score the same.
    """
    if not repeats:
        return {}
    return {"repeats": {name: _numbers(*of) for name, of in grouped_replies(records, repeats).items()}}


def grouped_replies(
    records: Sequence[Record], repeats: Sequence[Record]
) -> dict[str, tuple[list[Record], list[Record]]]:
    """Return row -> its first and its further replies: all, or each arm of each task of an attacked table."""
    groups: dict[str, tuple[list[Record], list[Record]]] = {}
    for side, some in enumerate((records, repeats)):
        for record in some:
            groups.setdefault(_group(record), ([], []))[side].append(record)
    return groups


def _group(record: Record) -> str:
    if not is_attacked([record]):
        return "overall"
    return f"{record.tags['task']}/" + (f"{record.cue.attack}/{record.cue.variant}" if record.cue else "baseline")


def _numbers(records: Sequence[Record], repeats: Sequence[Record]) -> dict[str, Any]:
    import numpy as np

    from aloe_bench.stats.intervals import clustered_mean

    scores, clusters = by_item(records, repeats)
    n, count = scores.shape
    failed = int(np.isnan(scores).sum())
    found = {"n_replies": count, "n": n, "failed": failed}
    if failed:
        return found | {"value": None, "interval": None}
    means = scores.mean(axis=1)
    value, interval = clustered_mean(means.tolist(), clusters.tolist())
    return found | {"value": value, "interval": interval, **variance_parts(scores)}


def variance_parts(scores: NDArray[np.float64]) -> dict[str, float]:
    """Return how the scores (items, replies) vary: between items, within one, and what that does to a mean."""
    import numpy as np

    n, count = scores.shape
    within = float(scores.var(axis=1, ddof=1).mean()) if count > 1 else 0.0
    between = max(0.0, float(np.var(scores.mean(axis=1), ddof=1)) - within / count) if n > 1 else 0.0
    changed = float((scores != scores[:, :1]).any(axis=1).mean())
    return {"items": between, "replies": within, "sd_of_one": sqrt(within / n), "changed": changed}
