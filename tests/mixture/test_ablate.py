"""Variants of a mixture: each lacks what its name says and nothing else, and gets the full one's updates."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from aloe_bench.evaluation.runlog import read_records
from aloe_bench.mixture.ablate import as_toml, variants
from aloe_bench.mixture.build import build, load_recipe
from aloe_bench.mixture.pool import Pool
from aloe_bench.seeds import rng_for
from aloe_bench.training.data.schema import read_folder
from tests.conftest import Run
from tests.mixture import sources
from tests.mixture.test_build import GRADER, MEASURED, content, made
from tests.mixture.test_sources import pool_of


def ids(folder: Path) -> set[str]:
    return {each.id for each in read_folder(folder / "mixture")}


def test_each_variant_lacks_what_its_name_says_and_has_as_many_updates(tmp_path: Path, quick: Run) -> None:
    recipe = made(tmp_path / "in")
    (tmp_path / "in" / "grader.py").write_text(GRADER)
    measured = MEASURED.format(folder=tmp_path / "in")
    recipe.write_text(recipe.read_text().replace("[export]", f"{measured}[export]"))

    done = quick("data", "ablate", recipe, "--output", tmp_path / "out", "--batch", 2, "--epochs", 2)

    assert done.returncode == 0, done.stderr
    table = json.loads((tmp_path / "out" / "ablation.json").read_text())["variants"]
    by_name = {each["name"]: each for each in table}
    assert list(by_name) == ["full", "without-multimodal", "without-text", "with-leakage", "unfiltered"]
    found = {name: ids(tmp_path / "out" / name) for name in by_name}
    assert found["without-text"] == {name for name in found["full"] if not name.startswith("sharegpt/")}
    assert found["without-multimodal"] == {name for name in found["full"] if name.startswith("sharegpt/")}
    full = Pool(tmp_path / "out" / "full")
    limited = {r["id"] for r in full.table().to_pylist() if r["reason"] in ("low score", "perplexity")}
    assert limited and found["unfiltered"] == found["full"] | limited
    assert found["with-leakage"] > found["full"]
    updates = len(found["full"]) // 2 * 2
    for name, each in by_name.items():
        a_pass = len(found[name]) // 2
        assert each["rows"] == len(found[name]) and each["updates"] == a_pass * each["epochs"] >= updates
        assert each["epochs"] == 2 or a_pass * (each["epochs"] - 1) < updates

    # A variant is what its own recipe builds, and nothing of the full one is touched.
    before = content(tmp_path / "out" / "full")
    for name in ("without-text", "unfiltered"):
        build(load_recipe(tmp_path / "out" / f"{name}.toml"), tmp_path / name)
        assert content(tmp_path / name).keys() <= content(tmp_path / "out" / name).keys()
        assert (tmp_path / name / "mixture.parquet").read_bytes() == (
            tmp_path / "out" / name / "mixture.parquet"
        ).read_bytes()
    assert content(tmp_path / "out" / "full") == before
    again = quick("data", "ablate", recipe, "--output", tmp_path / "out", "--batch", 2, "--match", "largest", "--json")
    assert again.returncode == 0 and content(tmp_path / "out" / "full") == before
    most = max(map(len, found.values())) // 2
    assert all(most <= each["updates"] < most + each["rows"] // 2 for each in json.loads(again.stdout))


def test_a_recipe_is_the_same_written_and_read_again(tmp_path: Path) -> None:
    recipe = made(tmp_path / "in")
    extra = '[rebalance]\nby = "category"\nshares = { "text/medical" = 2, "multimodal/medical" = 1.5 }\n'
    recipe.write_text(
        recipe.read_text().replace("[about]", f'{extra}[about]\ndescription = "a \\"quoted\\" line\\nand é\\u007f"')
    )
    wish = load_recipe(recipe)
    (tmp_path / "again.toml").write_text(as_toml(wish))
    assert load_recipe(tmp_path / "again.toml") == wish
    smaller = variants(wish)["without-text"][1]
    assert smaller.rebalance and dict(smaller.rebalance.shares) == {"multimodal/medical": 1.5}


def test_a_mixture_with_nothing_to_leave_out_is_refused(tmp_path: Path, quick: Run) -> None:
    recipe = made(tmp_path / "in")
    recipe.write_text('name = "one"\n[[source]]\nuse = "llava/mapping.toml"\n')
    done = quick("data", "ablate", recipe, "--output", tmp_path / "out")
    assert done.returncode == 2 and "nothing to leave out" in done.stderr


def test_scores_on_leaked_items_stand_against_the_rest_of_a_run(tmp_path: Path, quick: Run) -> None:
    pool = pool_of(tmp_path, sources.llava(tmp_path))
    (tmp_path / "own").mkdir()
    rows = []
    for i in range(24):
        if i < 12:  # a picture that the pool shows, each of six twice
            name = sources.NAMES[(0, 1, 2, 4, 5, 6)[i % 6]]
            shutil.copy(sources.PICTURES / name, tmp_path / "own" / name)
        else:
            name = f"new{i}.png"
            noise = rng_for("leaked", i).randbytes(64 * 64)
            Image.frombytes("L", (64, 64), noise).resize((128, 128)).save(tmp_path / "own" / name)
        rows.append({"id": f"q{i}", "image": name, "question": "Is it there?", "answer": "yes"})
    (tmp_path / "own" / "own.jsonl").write_text("\n".join(map(json.dumps, rows)))
    task = f"yesno:{tmp_path / 'own' / 'own.jsonl'}"
    ran = quick("run", "--model", "mock", "--model-args", "accuracy=0.6", "--tasks", task, "--output", "runs")
    assert ran.returncode == 0, ran.stderr
    (folder,) = (path.parent for path in (tmp_path / "runs").rglob("summary.json"))

    early = quick("data", "leaked", pool.folder, folder)
    assert early.returncode == 2 and "Run `data leakage` first" in early.stderr
    assert quick("data", "leakage", pool.folder, "--against", task).returncode == 0
    (found,) = json.loads(quick("data", "leaked", pool.folder, folder, "--json").stdout)

    right = {record.sample_id.split("/")[-1]: record.score.value for record in read_records(folder)}
    means = [sum(right[f"q{i}"] for i in part) / 12 for part in (range(12), range(12, 24))]
    assert found["leaked"]["n"] == found["rest"]["n"] == 12 and found["leaked"]["n_clusters"] == 6
    assert [found["leaked"]["value"], found["rest"]["value"]] == pytest.approx(means)
    assert found["difference"] == pytest.approx(means[0] - means[1])
    low, high = found["interval"]
    assert low < found["difference"] < high and high - low > 0.3  # six pictures say little
    shown = quick("data", "leaked", pool.folder, folder).stdout
    assert "of 12 items, 6 clusters" in shown and "leaked - rest:" in shown
