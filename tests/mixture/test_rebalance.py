"""A pool cut to loss tokens: shares come out as asked, the same samples whatever the order, and shortages are said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aloe_bench.errors import UsageError
from aloe_bench.miniature.checkpoint import build_tiny_checkpoint
from aloe_bench.mixture.clean import Cleaning, Processor, clean
from aloe_bench.mixture.coverage import as_markdown, coverage, tag_of, taxonomy
from aloe_bench.mixture.pool import Pool
from aloe_bench.mixture.read import read_sources
from aloe_bench.mixture.rebalance import Budget, budgets, rebalance, water, weights
from aloe_bench.mixture.source import load_source
from tests.conftest import Run
from tests.mixture import sources

NAMES = ("long", "short", "few")


def made(seed: int = 0, n: int = 6000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return source codes, loss tokens and draws; the first source has answers ten times as long."""
    rng = np.random.default_rng(seed)
    codes = rng.choice(3, n, p=[0.45, 0.45, 0.1])
    loss = np.maximum(1, rng.gamma(2, np.array([300, 30, 30])[codes])).astype(np.int64)
    return codes, loss, rng.integers(0, 2**64, n, np.uint64)


def test_shares_of_loss_tokens_come_out_as_asked() -> None:
    codes, loss, draws = made()
    has = dict(zip(NAMES, np.bincount(codes, loss).tolist(), strict=True))
    wanted = budgets(Budget(shares={"long": 50, "short": 40, "few": 10}), has, dict.fromkeys(NAMES, "x/y"))

    weight = weights(codes, loss, draws, [wanted[name] for name in NAMES], seed=0)

    given = np.bincount(codes, weight * loss)
    assert given / given.sum() == pytest.approx([0.5, 0.4, 0.1], abs=0.002)
    assert set(weight.tolist()) == {0, 1}
    # As much as the shares allow: one source gives nearly all it has.
    assert max(given / np.bincount(codes, loss)) > 0.999


def test_the_same_samples_are_taken_in_any_order_and_a_larger_budget_keeps_those_of_a_smaller() -> None:
    codes, loss, draws = made()
    small = weights(codes, loss, draws, [50_000, 20_000, 5_000], seed=3)
    large = weights(codes, loss, draws, [90_000, 40_000, 9_000], seed=3)
    order = np.random.default_rng(1).permutation(len(codes))

    assert (weights(codes[order], loss[order], draws[order], [50_000, 20_000, 5_000], seed=3) == small[order]).all()
    assert (large >= small).all() and large.sum() > small.sum()
    assert (weights(codes, loss, draws, [50_000, 20_000, 5_000], seed=4) != small).any()


def test_no_source_is_repeated_unless_asked() -> None:
    codes, loss, draws = made()
    has = np.bincount(codes, loss)
    assert weights(codes, loss, draws, list(3 * has), seed=0).max() == 1
    twice = weights(codes, loss, draws, list(2.5 * has), seed=0, upsample=True)
    assert set(twice.tolist()) == {2, 3}
    assert np.bincount(codes, twice * loss) == pytest.approx(2.5 * has, rel=0.01)


amounts = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 1000), min_size=1)


@given(amounts, st.randoms(use_true_random=False))
def test_water_gives_all_that_is_wanted_or_all_there_is(wanted: dict[str, int], rng) -> None:
    available = {name: rng.randint(0, 1000) for name in wanted}
    found = water(wanted, available)
    assert all(found[name] <= available[name] + 1e-6 for name in wanted)
    assert sum(found.values()) == pytest.approx(min(sum(wanted.values()), sum(available.values())))
    full = {name for name in wanted if found[name] >= available[name] - 1e-6}
    ratios = {found[name] / wanted[name] for name in wanted if name not in full}
    assert not ratios or max(ratios) - min(ratios) < 1e-6


def test_within_a_category_sources_give_up_to_one_level() -> None:
    has, category = {"a": 100.0, "b": 10.0, "c": 500.0}, {"a": "t/m", "b": "t/m", "c": "t/g"}
    wanted = budgets(Budget(by="category", tokens={"t/m": 80.0, "t/g": 50.0}), has, category)
    assert wanted == pytest.approx({"a": 70.0, "b": 10.0, "c": 50.0})
    spilt = budgets(Budget(tokens={"a": 50.0, "b": 50.0, "c": 50.0}, spill=True), has, category)
    assert spilt == pytest.approx({"a": 70.0, "b": 10.0, "c": 70.0})


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (Budget(tokens={"a": 1, "bb": 2}), "no such source"),
        (Budget(tokens={"a": 1}), "no budget for b"),
        (Budget(), "either of tokens or of shares"),
        (Budget(shares={"a": 0, "b": 0}), "not all 0"),
    ],
)
def test_a_budget_that_fits_nothing_is_refused(budget: Budget, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        budgets(budget, {"a": 5.0, "b": 5.0}, {"a": "t/m", "b": "t/m"})


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """A pool whose tokens were counted by the processor of a tiny checkpoint."""
    pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("balance")
    tiny = build_tiny_checkpoint(folder / "tiny")
    made = [load_source(str(make(folder))) for make in (sources.llava, sources.sharegpt)]
    pool = Pool(folder / "pool")
    read_sources(pool, made, seed=0)
    clean(pool, Cleaning(processor=Processor(tiny)))
    return pool


def test_every_id_has_a_weight_and_a_reason_and_the_list_fits_other_pools(pool: Pool, quick: Run) -> None:
    table = pool.table("clean")
    loss = dict(zip(table["id"].to_pylist(), table["loss_tokens"].to_pylist(), strict=True))
    whole = sum(n for name, n in loss.items() if n and name.startswith("sharegpt"))

    report = rebalance(pool, Budget(tokens={"llava": 10**9, "sharegpt": whole / 2}))

    listed = parquet.read_table(pool.folder / "mixture.parquet").to_pylist()
    assert len(listed) == len(table) and all((row["weight"] == 0) == bool(row["reason"]) for row in listed)
    by_source = {part["source"]: part for part in report["sources_balanced"]}
    assert by_source["llava"]["samples"] == 11 and by_source["llava"]["short"] > 10**8
    assert 0 < by_source["sharegpt"]["tokens"] <= whole / 2 and by_source["sharegpt"]["short"] == 0
    assert report["totals"]["loss_tokens"] == sum(loss[row["id"]] * row["weight"] for row in listed if row["weight"])
    assert report["totals"]["tokens"] == report["totals"]["text_tokens"] + report["totals"]["image_tokens"]
    assert "undoes it" in report["reduction"]

    kept = pool.folder.parent / "list.parquet"
    (pool.folder / "mixture.parquet").rename(kept)
    again = quick("data", "rebalance", pool.folder, "--apply", kept)
    assert again.returncode == 0, again.stderr
    assert parquet.read_table(pool.folder / "mixture.parquet").to_pylist() == listed

    # The same file with other weights is another list; a row that is out may share its id with one that is in.
    first, *others = [{"id": row["id"], "weight": float(row["weight"])} for row in listed if row["weight"]]
    rows = [{"id": first["id"], "weight": 0.0}, {"id": first["id"], "weight": 3.0}, *others]
    whole = kept.rename(kept.with_name("whole.parquet"))
    parquet.write_table(pyarrow.Table.from_pylist(rows), kept)
    assert quick("data", "rebalance", pool.folder, "--apply", kept).returncode == 0
    weights = {row["id"]: row["weight"] for row in parquet.read_table(pool.folder / "mixture.parquet").to_pylist()}
    assert weights[first["id"]] == 3.0
    parquet.write_table(pyarrow.Table.from_pylist([*rows, {"id": first["id"], "weight": 5.0}]), kept)
    twice = quick("data", "rebalance", pool.folder, "--apply", kept)
    assert twice.returncode == 3 and "has a weight twice" in twice.stderr
    assert quick("data", "rebalance", pool.folder, "--apply", whole).returncode == 0
    assert parquet.read_table(pool.folder / "mixture.parquet").to_pylist() == listed


def test_uncounted_tokens_are_not_balanced(tmp_path: Path, quick: Run) -> None:
    mapping = sources.sharegpt(tmp_path)
    assert quick("data", "clean", mapping, "--output", tmp_path / "pool").returncode == 0
    refused = quick("data", "rebalance", tmp_path / "pool", "--tokens", "sharegpt=1k")
    assert refused.returncode == 2 and "--model CHECKPOINT" in refused.stderr
    assert quick("data", "rebalance", tmp_path / "pool", "--tokens", "sharegpt").returncode == 2


def test_cells_are_filled_empty_or_make_no_sense(pool: Pool, quick: Run) -> None:
    found = coverage(pool, "modality", "modality")
    assert found.samples["CT", "CT"] + found.samples["MRI", "MRI"] == 11
    assert found.state("CT", "CT") == "filled" and found.state("PET", "CT") == "empty"
    assert "No sample at all: X-ray" in as_markdown(found)
    refused = quick("data", "coverage", pool.folder)
    assert refused.returncode == 2 and "no kept sample has a tag 'specialty'" in refused.stderr


def test_the_taxonomy_is_table_5s() -> None:
    dimensions = {name: table["tags"] for name, table in taxonomy().items() if "tags" in table}
    assert {name: len(tags) for name, tags in dimensions.items()} == {
        "MOD": 16,
        "MED": 17,
        "ST": 14,
        "SBP": 26,
        "GBP": 9,
    }
    assert tag_of("specialty", "Obstetrics & Gynecology") == "Obstetrics & Gyn." and tag_of("modality", "odd") == "odd"
