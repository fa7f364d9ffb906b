"""What decides the bytes of a HEART table, and that it appears whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest
from click.testing import CliRunner

from aloe_bench.cli.main import cli
from aloe_bench.images import open_image
from tests.support.heart_source import TOML, write_source

# Twelve pictures give 9 classification and 12 detection items; a row for each of 1 + 3 x 3 (4 with boxes) variants, and
# two mentions of each of two attacks in the prompt.
ITEMS, ROWS = (9, 12), 9 * 17 + 12 * 20


def attack(*words: object) -> Any:
    return CliRunner().invoke(cli, ["attack", *map(str, words)], catch_exceptions=True)


def made(output: Path, *words: object) -> Path:
    done = attack("--output", output, *words)
    assert done.exit_code == 0, done.output
    return output


def files_of(folder: Path) -> dict[str, str]:
    """Return path -> digest of every file below `folder`."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def rows_of(folder: Path, dataset: str = "tiny") -> list[dict[str, Any]]:
    """Return the rows without `index`, which is the row's place in its table."""
    rows = parquet.read_table(folder / "heart.parquet").to_pylist()
    return [{k: v for k, v in row.items() if k != "index"} for row in rows if row["dataset"] == dataset]


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source of twelve pictures, and its table made by one worker."""
    root = tmp_path_factory.mktemp("usual")
    source = write_source(root / "source")
    return source, made(root / "out", "--source", source, "--workers", 1)


def test_the_counts_are_those_of_the_items_and_the_manifest_says_them(usual: tuple[Path, Path]) -> None:
    manifest = json.loads((usual[1] / "manifest.json").read_text())
    assert (manifest["rows"], manifest["items"], manifest["dropped"]) == (ROWS, sum(ITEMS), 0)
    assert sum(entry["rows"] for entry in manifest["counts"]) == ROWS == len(rows_of(usual[1]))
    pictures = {path.stem for path in (usual[1] / "images").iterdir()}
    # Three captions an item, three legends more with boxes, and a picture without boxes or with its boxes;
    # of a picture that gives both kinds of item nothing is shared.
    assert manifest["pictures"] == len(pictures) == 9 * 4 + 12 * 7
    assert pictures == {row["image_sha256"] for row in rows_of(usual[1])}
    for path in (usual[1] / "images").iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem


def test_two_workers_write_the_same_bytes_as_one(usual: tuple[Path, Path], tmp_path: Path) -> None:
    assert files_of(made(tmp_path / "out", "--source", usual[0], "--workers", 2)) == files_of(usual[1])


def test_shuffled_input_gives_the_same_bytes(usual: tuple[Path, Path], tmp_path: Path) -> None:
    order = [7, 3, 11, 0, 9, 5, 1, 10, 2, 8, 4, 6]
    source = write_source(tmp_path / "source", order=order)
    assert files_of(made(tmp_path / "out", "--source", source, "--workers", 1)) == files_of(usual[1])


def test_a_third_of_the_items_are_the_same_rows_and_pictures(usual: tuple[Path, Path], tmp_path: Path) -> None:
    part = made(tmp_path / "out", "--source", usual[0], "--limit", 4, "--workers", 1)
    rows = rows_of(part)
    whole = {(row["item_id"], row["attack"], row["variant"]): row for row in rows_of(usual[1])}
    assert len(rows) == 4 * 17 + 4 * 20
    assert all(whole[row["item_id"], row["attack"], row["variant"]] == row for row in rows)
    assert (files_of(part / "images").items()) <= files_of(usual[1] / "images").items()


def test_a_third_of_the_pictures_change_wrong_boxes_alone(usual: tuple[Path, Path], tmp_path: Path) -> None:
    """Wrong boxes lie where true ones do in the other pictures of the source; nothing else depends on those."""
    part = made(tmp_path / "out", "--source", write_source(tmp_path / "source", order=[10, 1, 7, 4]), "--workers", 1)
    whole = {(row["item_id"], row["attack"], row["variant"]): row for row in rows_of(usual[1])}
    boxes = ("fake_bboxes", "box_labels", "box_info", "image_path", "image_sha256")
    for row in rows_of(part):
        other = whole[row["item_id"], row["attack"], row["variant"]]
        changed = {name for name in row if row[name] != other[name]}
        assert changed <= (set(boxes) if row["task"] == "detection" else set())


def test_another_dataset_in_the_same_table_changes_no_row(usual: tuple[Path, Path], tmp_path: Path) -> None:
    other = write_source(tmp_path / "other", 3, toml=TOML.replace('"tiny"', '"another"'))
    both = made(tmp_path / "out", "--source", usual[0], "--source", other, "--workers", 1)
    assert rows_of(both) == rows_of(usual[1])
    assert len(rows_of(both, "another")) == 3 * 17 + 2 * 20


def test_fewer_attacks_give_the_same_rows_of_those_left(usual: tuple[Path, Path], tmp_path: Path) -> None:
    part = made(tmp_path / "out", "--source", usual[0], "--type", "sycophancy,legend", "--workers", 1)
    wanted = [row for row in rows_of(usual[1]) if row["attack"] in ("", "sycophancy", "legend")]
    assert rows_of(part) == wanted


def test_another_seed_gives_other_cues(usual: tuple[Path, Path], tmp_path: Path) -> None:
    other = made(tmp_path / "out", "--source", usual[0], "--type", "prompt", "--seed", 1, "--workers", 1)
    now = {(row["item_id"], row["variant"]): row["question"] for row in rows_of(other)}
    then = {(r["item_id"], r["variant"]): r["question"] for r in rows_of(usual[1]) if r["attack"] in ("", "prompt")}
    assert now.keys() == then.keys() and sum(now[key] != then[key] for key in now) > len(now) / 2


def test_a_limit_takes_the_classes_in_turn_and_a_larger_one_keeps_the_smaller(
    usual: tuple[Path, Path], tmp_path: Path
) -> None:
    chosen = []
    for limit in (3, 6):
        out = made(tmp_path / str(limit), "--source", usual[0], "--type", "prompt", "--limit", limit, "--workers", 1)
        base = [row for row in rows_of(out) if not row["attack"]]
        assert [sum(row["task"] == task for row in base) for task in ("classification", "detection")] == [limit, limit]
        assert len({r["true_class"] for r in base if r["task"] == "classification"}) == 3
        chosen.append({row["item_id"] for row in base})
    assert chosen[0] < chosen[1]


def test_embedded_pictures_are_the_same_and_datasets_decodes_both_forms(
    usual: tuple[Path, Path], tmp_path: Path
) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra train brings it")
    embedded = made(tmp_path / "out", "--source", usual[0], "--embed", "--workers", 1)
    kept = ["dropped.csv", "heart.parquet", "manifest.json", "places.json"]
    assert sorted(path.name for path in embedded.iterdir()) == kept
    paths, bytes_ = (
        datasets.load_dataset(
            "parquet",
            data_files=str(folder / "heart.parquet"),
            split="train",
            cache_dir=str(tmp_path / folder.parent.name),
        )
        for folder in (usual[1], embedded)
    )
    assert paths.column_names == bytes_.column_names
    assert str(bytes_.features["image_path"]).startswith("Image(") and paths.features["image_path"].dtype == "string"
    for name, kind in {"true_class": "int64", "index": "int64", "fake_class": "float64", "answer": "string"}.items():
        assert paths.features[name].dtype == bytes_.features[name].dtype == kind
    for n in (0, 11, ROWS - 1):
        file = open_image(usual[1] / paths[n]["image_path"])
        assert bytes_[n]["image_path"].convert("RGB").tobytes() == file.tobytes()
        assert {k: v for k, v in paths[n].items() if k != "image_path"} == {
            k: v for k, v in bytes_[n].items() if k != "image_path"
        }


PUBLISHED = (
    "dataset task approach sample_type source_id true_class index question A B C D answer fake_option true_bbox "
    "true_class_name fake_bboxes fake_bboxes_classes fake_class fake_class_name caption syco_trigger answer_color "
    "image_path"
).split()


def test_the_published_columns_come_first_with_their_types(usual: tuple[Path, Path]) -> None:
    table = parquet.read_schema(usual[1] / "heart.parquet")
    assert table.names[:24] == PUBLISHED
    kinds = {name: str(table.field(name).type) for name in PUBLISHED}
    numbers = {"true_class": "int64", "index": "int64", "fake_class": "double"}
    assert kinds == {name: numbers.get(name, "string") for name in PUBLISHED}


def test_class_99_stands_for_a_generated_box_and_has_no_name(usual: tuple[Path, Path]) -> None:
    rows = [row for row in rows_of(usual[1]) if row["task"] == "detection" and row["variant"] == "adversarial"]
    generated = [row for row in rows if row["fake_class"] == 99]
    assert generated and all(row["fake_class_name"] is None for row in generated)
    annotated = [row for row in rows if row["fake_class"] != 99]
    assert annotated and all(row["fake_class_name"] == ("nodule", "mass")[int(row["fake_class"])] for row in annotated)
    for row in rows:
        kinds = {name: info["kind"] for name, info in json.loads(row["box_info"]).items()}
        assert (kinds[row[row["fake_option"]]] == "generated") == (row["fake_class"] == 99)
        assert kinds[row[row["answer"]]] == "annotated"


def test_an_output_that_exists_is_kept_unless_asked_and_only_ours_is_replaced(
    usual: tuple[Path, Path], tmp_path: Path
) -> None:
    out = made(tmp_path / "out", "--source", usual[0], "--limit", 1, "--workers", 1)
    before = files_of(out)
    refused = attack("--source", usual[0], "--output", out, "--limit", 2)
    assert refused.exit_code == 3 or refused.exception.exit_code == 3
    assert "--overwrite" in str(refused.exception) and files_of(out) == before
    made(out, "--source", usual[0], "--limit", 2, "--overwrite", "--workers", 1)
    assert files_of(out) != before
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("mine")
    refused = attack("--source", usual[0], "--output", foreign, "--limit", 1, "--overwrite")
    assert "manifest.json" in str(refused.exception) and (foreign / "thesis.txt").read_text() == "mine"


def test_a_seed_that_the_table_cannot_hold_is_a_usage_error(usual: tuple[Path, Path], tmp_path: Path) -> None:
    done = attack("--source", usual[0], "--output", tmp_path / "out", "--limit", 1, "--workers", 1, "--seed", 2**63)
    assert done.exit_code == 2 and "--seed" in done.output and not list(tmp_path.iterdir())
    made(tmp_path / "out", "--source", usual[0], "--limit", 1, "--workers", 1, "--seed", 2**63 - 1)


def test_a_dry_run_writes_nothing_and_counts_the_rows(usual: tuple[Path, Path], tmp_path: Path) -> None:
    done = attack("--source", usual[0], "--output", tmp_path / "out", "--dry-run", "--json")
    assert json.loads(done.stdout) == {"dry_run": True, "pictures": 12, "items": 21, "rows": ROWS}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_build_leaves_nothing_that_looks_like_a_table(tmp_path: Path, sign: signal.Signals) -> None:
    source = write_source(tmp_path / "source", 200)
    out = tmp_path / "out"
    words = [
        sys.executable,
        "-m",
        "aloe_bench.cli.main",
        "attack",
        "--source",
        source,
        "--output",
        out,
        "--workers",
        "2",
    ]
    running = subprocess.Popen(
        [*map(str, words)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        # A shell that started the tests in the background would have had Ctrl-C ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".out.building-*/images/*.png")) and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(sign)
    _, said = running.communicate(timeout=60)
    assert running.returncode == (130 if sign == signal.SIGINT else -signal.SIGKILL), said
    assert "Traceback" not in said and not out.exists()
    if sign == signal.SIGKILL:
        assert list(tmp_path.glob(".out.building-*"))
        made(out, "--source", source, "--limit", 1, "--workers", 1)
    assert not list(tmp_path.glob(".out.building-*"))
