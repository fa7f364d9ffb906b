"""A pool cut to a balance of loss tokens: budgets by source or category, each source a prefix of a drawn order.

A loss that is averaged over all assistant tokens of a global batch weighs sources by their loss tokens, so these are
what is balanced (Aloe-Vision, section 3, "Token-based rebalancing"). Where a trainer averages within each sample first,
long answers weigh as much as short ones and the balance is undone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from aloe_bench.errors import DataError, UsageError, did_you_mean
from aloe_bench.evaluation.leftover import Unmatched, keep_left_over
from aloe_bench.joins import Joined, join
from aloe_bench.mixture.pool import COUNTS, Pool, dropped, text_sha256, with_columns, write_table
from aloe_bench.mixture.read import ranks

LIST = "mixture.parquet"
LISTED = "listed id"
REDUCTION = (
    "The balance holds where the loss is the mean over all assistant tokens of a global batch; a mean within each "
    "sample first undoes it."
)
# Loss tokens of Aloe-Vision's Table 1, by the names of the shipped mappings.
TABLE_1 = {
    "pubmedvision": 175.3e6, "medmax": 33.7e6, "mecovqa": 0.7e6, "med-grit": 2.6e6, "medtrinity": 55.5e6,
    "cambrian": 65.4e6, "aloe": 190.3e6, "magpie": 116.6e6,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Budget:
    """Loss tokens wanted: `tokens` are absolute, `shares` are of `total`, or of as much as all shares allow.

    `by` source, or by category, such as "multimodal/medical"; within a category every source gives up to one level, and
    smaller ones all they have. `spill` lets what one cannot give be given by the others, in proportion.
    """

    by: Literal["source", "category"] = "source"
    tokens: Mapping[str, float] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)
    total: float | None = None
    spill: bool = False
    upsample: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Allotted:
    """What a source has, was to give, and gives, in samples and loss tokens; `short` is what it lacks."""

    source: str
    category: str
    has_samples: int
    has_tokens: int
    wanted: float
    samples: int
    tokens: int
    share: float
    short: float


def water(wanted: Mapping[str, float], available: Mapping[str, float]) -> dict[str, float]:
    """Return what each gives: no more than it has, the rest spread over the others in proportion to what they should.

    The sum is that of `wanted` unless all together have less.
    """
    given = dict.fromkeys(wanted, 0.0)
    open_, left = {name for name in wanted if wanted[name] > 0}, sum(wanted.values())
    while open_ and left > 1e-9:
        weight = sum(wanted[name] for name in open_)
        full = {n for n in open_ if available[n] - given[n] <= left * wanted[n] / weight}
        if not full:
            return {n: given[n] + (left * wanted[n] / weight if n in open_ else 0.0) for n in wanted}
        for name in full:
            left -= available[name] - given[name]
            given[name] = available[name]
        open_ -= full
    return given


def budgets(budget: Budget, has: Mapping[str, float], category: Mapping[str, str]) -> dict[str, float]:
    """Return the loss tokens wanted of each source; `has` says what there are. Raises UsageError for a wrong name."""
    groups: dict[str, float] = {}
    for source, tokens in has.items():
        name = source if budget.by == "source" else category[source]
        groups[name] = groups.get(name, 0.0) + tokens
    given = budget.tokens or budget.shares
    if bool(budget.tokens) == bool(budget.shares):
        raise UsageError("a budget is either of tokens or of shares; give one of both.")
    for name in given:
        if name not in groups:
            raise UsageError(
                f"budget for {name!r}: no such {budget.by}.{did_you_mean(name, groups)} There is {', '.join(groups)}."
            )
    if missing := sorted(groups.keys() - given.keys()):
        raise UsageError(f"no budget for {', '.join(missing)}. Give one, or 0 to leave it out.")
    if any(value < 0 for value in given.values()) or not sum(given.values()):
        raise UsageError("budgets are numbers of 0 or more, and not all 0.")
    wanted = dict(given)
    if budget.shares:
        whole = sum(given.values())
        most = min(groups[name] * whole / share for name, share in given.items() if share > 0)
        total = most if budget.total is None else budget.total
        wanted = {name: total * share / whole for name, share in given.items()}
    if budget.spill and not budget.upsample:
        wanted = water(wanted, groups)
    if budget.by == "source":
        return wanted
    within: dict[str, float] = {}
    for name, tokens in wanted.items():
        members = [source for source in has if category[source] == name]
        level = water({s: tokens / len(members) for s in members}, {s: has[s] for s in members})
        # A category that lacks tokens: the shortage is that of its sources alike.
        short = tokens - sum(level.values())
        within |= {s: level[s] + short / len(members) for s in members}
    return within


def weights(
    codes: Any, loss_tokens: Any, draws: Any, wanted: Sequence[float], seed: int, upsample: bool = False
) -> Any:
    """Return how often each sample is in the mixture, as int32: 0 or 1, or more where a source may be repeated.

    `codes` index `wanted`. Of each source the samples in the order of their ranks are taken while their loss tokens fit
    its budget, so a larger budget keeps all that a smaller one does, whatever the order of rows.
    """
    import numpy as np

    found = np.zeros(len(codes), np.int32)
    rank = ranks(draws, seed, "rebalance")
    for code, budget in enumerate(wanted):
        rows = np.flatnonzero(codes == code)
        order = rows[np.argsort(rank[rows])]
        spent = np.cumsum(loss_tokens[order], dtype=np.int64)
        has = int(spent[-1]) if len(spent) else 0
        times = int(budget // has) if upsample and has else 0
        found[rows] += np.int32(times)
        found[order[: int(np.searchsorted(spent, budget - times * has, side="right"))]] += np.int32(1)
    return found


def rebalance(pool: Pool, budget: Budget) -> dict[str, Any]:
    """Return the report of the step: samples over their budget are dropped, the others weighted.

    The list of all samples with weight and reason is POOL/mixture.parquet. Raises UsageError without token counts.
    """
    report = pool.step("rebalance", asdict(budget), lambda table: _balanced(table, budget))
    _write_list(pool)
    return report


def _balanced(table: Any, budget: Budget) -> tuple[Any, dict[str, Any]]:
    import numpy as np
    import pyarrow as pa

    table = table.combine_chunks()
    alive = table["reason"].is_null().to_numpy()
    if "loss_tokens" not in table.schema.names or table["loss_tokens"].filter(pa.array(alive)).null_count:
        raise UsageError("tokens were not counted. Run `aloe-bench data clean` with --model CHECKPOINT --fresh.")
    loss = table["loss_tokens"].fill_null(0).to_numpy()
    coded = table["source"].combine_chunks().dictionary_encode()
    names, codes = coded.dictionary.to_pylist(), coded.indices.to_numpy()
    category = _categories(table, names, codes)
    rows = np.flatnonzero(alive)
    has = np.bincount(codes[rows], loss[rows], len(names))
    wanted = budgets(budget, {n: float(t) for n, t in zip(names, has, strict=True) if t}, category)
    limits = [wanted.get(name, 0.0) for name in names]
    weight = np.zeros(len(table), np.int32)
    weight[rows] = weights(
        codes[rows], loss[rows], table["draw"].to_numpy()[rows], limits, budget.seed, budget.upsample
    )
    given = np.bincount(codes, weight * loss, len(names))
    parts = [
        Allotted(
            name, category[name], int((codes[rows] == i).sum()), int(has[i]), limits[i],
            int(weight[codes == i].sum()), int(given[i]), float(given[i] / max(1, given.sum())),
            max(0.0, limits[i] - has[i]) if not budget.upsample else 0.0,
        )
        for i, name in enumerate(names)
    ]  # fmt: skip
    detail = {
        int(r): f"{names[codes[r]]} gives {int(given[codes[r]])} loss tokens"
        for r in np.flatnonzero(alive & (weight == 0))
    }
    after = dropped(table, "over budget", alive & (weight == 0), detail)
    after = with_columns(after, {"weight": pa.array(weight, pa.int32())})
    totals = {name: int((table[name].fill_null(0).to_numpy() * weight.astype(np.int64)).sum()) for name in COUNTS}
    return after, {"sources_balanced": [asdict(part) for part in parts], "totals": totals, "reduction": REDUCTION}


def _categories(table: Any, names: Sequence[str], codes: Any) -> dict[str, str]:
    import numpy as np

    _, first = np.unique(codes, return_index=True)
    found = {}
    for row in first.tolist():
        found[names[codes[row]]] = f"{table['modality'][row].as_py()}/{table['domain'][row].as_py()}"
    return found


def _write_list(pool: Pool) -> None:
    table = pool.table("rebalance", ["id", "source", "weight", "reason"])
    write_table(pool.folder / LIST, table)


def _joined(listed: Any, here: Any) -> Joined:
    """Return the ids of two arrays that the other one lacks; most of millions are in both, and are not walked over."""
    import pyarrow.compute as pc

    ours, theirs = (
        one.filter(pc.invert(pc.is_in(one, value_set=other))).to_pylist()
        for one, other in ((listed, here), (here, listed))
    )
    return join(ours, theirs)


def apply_list(pool: Pool, listed: Path) -> dict[str, Any]:
    """Return the report of a rebalancing by another pool's list: weights by id, no budget asked.

    Samples that the list does not name are dropped; those, and the ids that the pool lacks, are counted and named, and
    POOL/dropped.csv has each such id. Raises DataError if the list names none of the pool's samples.
    """
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        given = parquet.read_table(listed, columns=["id", "weight"])
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{listed}: no list of ids with weights ({str(error).splitlines()[0]}).") from error
    import pyarrow.compute as pc

    # A row that is out may have the id of one that is in, which counts; `index_in` takes the first.
    given = given.sort_by([("weight", "descending")])
    taken = given.filter(pc.greater(given["weight"], 0))["id"]
    if not len(given) or len(pc.unique(taken)) < len(taken):
        raise DataError(f"{listed}: no ids, or one that has a weight twice.")

    def make(table: Any) -> tuple[Any, dict[str, Any]]:
        import numpy as np

        places = pc.index_in(table["id"].combine_chunks(), value_set=given["id"].combine_chunks())
        weight_or_none = given["weight"].combine_chunks().take(places)
        weight = weight_or_none.fill_null(0)
        alive = table["reason"].combine_chunks().is_null().to_numpy(zero_copy_only=False)
        times = np.where(alive, weight.to_numpy(zero_copy_only=False), 0).astype(np.int32)
        unlisted = pc.is_null(weight_or_none).to_numpy(zero_copy_only=False)
        joined = _joined(given["id"].combine_chunks(), table["id"].combine_chunks())
        ids = f"ids of {listed.name}"
        if not (~unlisted).any():
            raise DataError(f"{listed}: none of its {len(given)} ids is in {pool.folder}, such as {given['id'][0]}.")
        if joined.respelled or joined.unclear:
            raise DataError(f"{listed}: {'; '.join(joined.told(ids, 'samples of the pool'))}. Write them alike.")
        keep_left_over(
            pool.folder, (LISTED,), [Unmatched(LISTED, name, f"in {listed.name} alone") for name in joined.left_only]
        )
        unnamed = {int(row): f"not in {listed.name}" for row in np.flatnonzero(alive & unlisted)}
        after = dropped(table, "over budget", alive & (times == 0), unnamed)
        totals = {}
        for name in COUNTS if "loss_tokens" in table.schema.names else ():
            totals[name] = int((table[name].fill_null(0).to_numpy() * times.astype(np.int64)).sum())
        facts = {
            "totals": totals, "listed": len(given), "left_over": joined.told(ids, f"samples of {pool.folder.name}"),
            "reduction": REDUCTION,
        }  # fmt: skip
        return with_columns(after, {"weight": pa.array(times, pa.int32())}), facts

    digest = {"list": [listed.name, text_sha256(given.to_pydict())]}
    report = pool.step("rebalance", digest, make)
    _write_list(pool)
    return report
