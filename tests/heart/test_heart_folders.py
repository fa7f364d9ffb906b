"""HEART tables as they are found, by the command: layouts that are read, and what is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

from aloe_bench.errors import DataError
from aloe_bench.evaluation.runlog import read_run
from aloe_bench.heart.task import open_task
from tests.evaluation.test_run import only_run
from tests.heart.test_heart_measure import TWO_SETS, summary
from tests.support.heart_tables import Source, rows, write_folder, write_published, write_tsv


@pytest.mark.parametrize("embed", [False, True])
def test_a_folder_is_read_with_paths_and_with_embedded_pictures(tmp_path, embed):
    table = rows(TWO_SETS)
    folder = write_folder(tmp_path / "a", table, embed=embed, modality="MRI")
    if embed:
        shutil.rmtree(folder / "images")

    samples = list(open_task(str(folder)).load(tmp_path))

    assert len(samples) == len(table)
    for sample, row in zip(samples, table, strict=True):
        assert sample.images[0].sha256 == hashlib.sha256(row["picture"]).hexdigest()
        assert sample.images[0].open().size == (4, 4)
        assert sample.id.startswith(f"heart/{row['dataset']}/{row['item_id']}")
        assert sample.choices["ABCD".index(sample.target)] == row["ABCD"["ABCD".index(row["answer"])]]
        assert (sample.cluster, sample.tags["modality"]) == (row["cluster"], "MRI")
    assert sum(len({id(s.images[0]) for s in samples if s.images[0].sha256 == h}) for h in
               {s.images[0].sha256 for s in samples}) == len({s.images[0].sha256 for s in samples})  # fmt: skip


@pytest.mark.parametrize("write", [write_published, write_tsv], ids=["hub parquet", "generator's TSV"])
def test_the_published_table_is_read_in_both_orders_of_columns(quick, tmp_path, write: Callable[..., Path]):
    table = rows(TWO_SETS)
    place = write(tmp_path / "published.tsv", table)

    result = summary(quick, place, "accuracy=0.6,follow=0.4", "--allow-partial", "--output", tmp_path / "r")
    ours = summary(quick, write_folder(tmp_path / "ours", table), "accuracy=0.6,follow=0.4", "--output", tmp_path / "o")

    assert result["partial"] and not ours["partial"]
    mine, theirs = read_run(only_run(tmp_path / "o"))[1], read_run(only_run(tmp_path / "r"))[1]
    assert [(r.sample_id, r.target, r.cue, r.score) for r in mine] == [
        (r.sample_id, r.target, r.cue, r.score) for r in theirs
    ]
    # The published table has no patients: its items are as many clusters as pictures.
    assert {r.cluster for r in theirs} == {f"{r['dataset']}/{r['source_id']}" for r in table}


def test_options_that_the_published_table_shuffles_anew_are_followed_by_their_text(tmp_path):
    table = rows([Source("brain", 20, 4)], attacks=("prompt",))
    for row in table:
        if row["approach"] == "captions_text":  # ABCD -> BCDA
            texts = [row[c] for c in "BCDA"]
            row.update(zip("ABCD", texts, strict=True))
            for column in ("answer", "fake_option"):
                row[column] = row[column] and "DABC"["ABCD".index(row[column])]
    place = write_published(tmp_path / "p", table, parts=3)

    samples = {s.id: s for s in open_task(str(place)).load(tmp_path)}

    for sample in samples.values():
        if sample.cue:
            base = samples[sample.cue.base_id]
            assert base.target != sample.target
            shown = sample.choices["ABCD".index(sample.cue.suggests)]
            assert base.choices["ABCD".index(sample.tags["suggests_in_base"])] == shown


def test_boxes_that_a_published_legend_numbers_anew_are_not_taken_for_those_of_the_baseline(quick, tmp_path):
    table = rows([Source("brain", 60, 4, "detection")])
    hub, ours = write_published(tmp_path / "hub", table), write_folder(tmp_path / "ours", table)
    published, own = (
        summary(quick, place, "accuracy=0.7,follow=0.6", "--allow-partial", "--output", tmp_path / f"r-{place.name}")
        for place in (hub, ours)
    )
    columns = published["heart"]["detection"]["columns"]
    assert "excess_cue_following" not in columns["legend"] and columns["legend"]["cue_following"]["macro"]["n"] == 60
    theirs, others = columns["caption"], own["heart"]["detection"]["columns"]["caption"]
    for cell in (theirs.pop("excess_cue_following")["macro"], others.pop("excess_cue_following")["macro"]):
        # One attack fewer is tested, so what is corrected for the number of tests differs, and nothing else.
        assert (cell["value"], cell["n"]) == (pytest.approx(23 / 60), 60)
    assert theirs == others
    assert own["heart"]["detection"]["columns"]["legend"]["excess_cue_following"]["macro"]["n"] == 60
    assert quick("leaderboard", "build", tmp_path / "r-hub").returncode == 0


def test_the_nan_that_pandas_leaves_for_an_unused_option_is_no_option(tmp_path):
    table = [row | {"D": float("nan")} for row in rows([Source("brain", 3, 3)])]
    samples = list(open_task(str(write_published(tmp_path / "p", table))).load(tmp_path))
    assert {len(sample.choices) for sample in samples} == {3} and {s.tags["n_options"] for s in samples} == {"3"}


def test_a_picture_by_index_is_refused_where_two_rows_have_it(tmp_path):
    table = rows([Source("brain", 4, 3)], attacks=("prompt",))
    for row in table[6:]:  # two parts of six rows, each numbered from 0, one after the other
        row["index"] -= 6
    place = write_tsv(tmp_path / "joined.tsv", table)
    with pytest.raises(DataError, match=r"row 1 and .*row 7 both are"):
        list(open_task(str(place)).load(tmp_path))


def test_a_table_that_a_spreadsheet_saved_again_has_the_same_samples(tmp_path):
    table = rows([Source("brain", 3, 3)], attacks=("prompt",))
    plain = write_tsv(tmp_path / "t.tsv", table)
    text = plain.read_text()
    head, rest = text.split("\n", 1)
    again = tmp_path / "again" / "t.tsv"
    again.parent.mkdir()
    lines = [line.strip("\r") + "\t\t" for line in (head.replace("question", "Question", 1), *rest.splitlines())]
    again.write_bytes("\r\n".join(["sep=\t", *lines]).encode("utf-8-sig"))
    assert [s.question for s in open_task(str(again)).load(tmp_path)] == [
        s.question for s in open_task(str(plain)).load(tmp_path)
    ]
    again.write_text(text.replace(head, head.strip() + "\tQUESTION", 1))
    with pytest.raises(DataError, match="column 'question' is there twice"):
        open_task(str(again))


def test_what_pandas_writes_of_gaps_and_whole_numbers_is_read_as_meant(tmp_path):
    table = rows([Source("brain", 3, 3)], attacks=("prompt",))
    plain = write_tsv(tmp_path / "t.tsv", table)
    frame = pd.read_csv(plain, sep="\t", keep_default_na=False)
    frame["index"] = frame["index"].astype(float)
    pointers = frame["image"].astype(str).str.fullmatch(r"\d+")
    frame.loc[pointers, "image"] = frame.loc[pointers, "image"].astype(str) + ".0"
    frame["D"] = frame["D"].astype(str).replace("", "nan")
    frame.to_csv(tmp_path / "again.tsv", sep="\t", index=False)
    before, after = ([*open_task(str(tmp_path / name)).load(tmp_path)] for name in ("t.tsv", "again.tsv"))
    assert pointers.any() and [s.choices for s in after] == [s.choices for s in before]
    assert [s.images[0].sha256 for s in after] == [s.images[0].sha256 for s in before]


def test_the_published_table_is_24311_rows_and_a_folder_what_its_manifest_says(quick, tmp_path):
    table = rows([Source("brain", 5, 4)])
    published = quick("run", "--model", "mock", "--tasks", f"heart:{write_published(tmp_path / 'p', table)}")
    short = quick("run", "--model", "mock", "--tasks", f"heart:{write_folder(tmp_path / 'f', table[:-1])}")
    manifest = tmp_path / "f" / "manifest.json"
    manifest.write_text(json.dumps({"rows": len(table)}))
    cut = quick("run", "--model", "mock", "--tasks", f"heart:{tmp_path / 'f'}")

    assert (published.returncode, short.returncode, cut.returncode) == (3, 0, 3)
    assert f"{len(table)} rows" in published.stderr and "expected 24311" in published.stderr
    assert f"{len(table) - 1} rows" in cut.stderr and f"expected {len(table)}" in cut.stderr


def altered(table: list[dict[str, Any]], at: Callable[[dict[str, Any]], bool], **cells: Any) -> list[dict[str, Any]]:
    index = next(i for i, row in enumerate(table) if at(row))
    return [*table[:index], table[index] | cells, *table[index + 1 :]]


def adversarial(row: dict[str, Any]) -> bool:
    return row["sample_type"] == "adversarial"


def assistive(row: dict[str, Any]) -> bool:
    return row["sample_type"] == "assistive"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: altered(t, adversarial, cue_target="A", answer="A"), "an adversarial cue argues for A"),
        (lambda t: altered(t, assistive, cue_target="D", answer="C"), "an assistive cue argues for D"),
        (lambda t: altered(t, adversarial, fake_option=None, cue_target=None), "argues for None"),
        (lambda t: t[1:], "has no baseline row"),
        (lambda t: [*t, t[0]], "every row needs its own id"),
        (lambda t: altered(t, adversarial, answer="E"), "answer 'E' is not one of A, B, C, D"),
        (lambda t: altered(t, adversarial, B=None), "without a gap"),
        (lambda t: altered(t, adversarial, question=" "), "column 'question' is empty"),
        (lambda t: altered(t, adversarial, sample_type="hostile"), "sample_type 'hostile'"),
        (lambda t: altered(t, adversarial, n_options=3), "n_options 3, but 4 options"),
        (lambda t: altered(t, adversarial, A="glioma", B="glioma"), "expected no text twice"),
        (lambda t: altered([r | {"item_id": None, "true_class": str(r["true_class"])} for r in t],
                           adversarial, true_class="nan"), "'true_class' is empty"),
    ],
)  # fmt: skip
def test_a_broken_row_is_refused_in_one_line_that_names_it(tmp_path, change, said):
    folder = write_folder(tmp_path / "a", change(rows([Source("brain", 4, 4)])))
    with pytest.raises(DataError, match=r"heart\.parquet: row \d+") as refused:
        list(open_task(str(folder)).load(tmp_path))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_missing_and_changed_pictures_are_refused(quick, tmp_path):
    folder = write_folder(tmp_path / "a", rows([Source("brain", 4, 4)]))
    pictures = sorted((folder / "images").iterdir())
    pictures[0].write_bytes(pictures[1].read_bytes())
    changed = quick("run", "--model", "mock", "--tasks", f"heart:{folder}")
    pictures[0].unlink()
    missing = quick("run", "--model", "mock", "--tasks", f"heart:{folder}")
    tsv = write_tsv(tmp_path / "t.tsv", [r for r in rows([Source("brain", 4, 4)]) if r["index"]])
    pointer = quick("run", "--model", "mock", "--tasks", f"heart:{tsv}", "--allow-partial")

    assert {changed.returncode, missing.returncode, pointer.returncode} == {3}
    assert "the table says" in changed.stderr
    assert not (tmp_path / "runs").exists()
    assert "not found" in missing.stderr and pictures[0].name in missing.stderr
    assert "no baseline" in pointer.stderr or "index 0" in pointer.stderr


def test_no_table_and_no_manifest_are_refused_with_the_next_step(quick, tmp_path):
    (tmp_path / "empty").mkdir()
    nothing = quick("run", "--model", "mock", "--tasks", "heart:empty")
    folder = write_folder(tmp_path / "a", rows([Source("brain", 4, 4)]))
    (folder / "manifest.json").unlink()
    bare = quick("run", "--model", "mock", "--tasks", f"heart:{folder}")
    wrong = quick("run", "--model", "mock", "--tasks", "hart:a")
    columns = pq.read_table(folder / "heart.parquet").drop_columns(["fake_option"])
    pq.write_table(columns, tmp_path / "short.parquet")
    short = quick("run", "--model", "mock", "--tasks", f"heart:{tmp_path / 'short.parquet'}")

    unnamed = quick("run", "--model", "mock", "--tasks", "heart:")
    text = quick("run", "--model", "mock", "--tasks", f"heart:{folder / 'images'}")

    assert (nothing.returncode, bare.returncode, wrong.returncode, short.returncode) == (3, 3, 2, 3)
    assert (unnamed.returncode, text.returncode) == (2, 3) and "names no folder" in unnamed.stderr
    assert "data fetch heart" in nothing.stderr
    assert "manifest.json" in bare.stderr
    assert "heart" in wrong.stderr
    assert "no column fake_option" in short.stderr
