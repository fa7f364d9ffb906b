"""From files of any layout to a pool in which every row is accounted for."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aloe_bench.errors import AloeError, DataError
from aloe_bench.mixture.boxes import boxes_in, to_thousandths, written
from aloe_bench.mixture.clean import Cleaning, clean
from aloe_bench.mixture.pictures import picture_table
from aloe_bench.mixture.pool import STEPS, Pool, reconciled
from aloe_bench.mixture.read import read_sources
from aloe_bench.mixture.readers import read_rows
from aloe_bench.mixture.sniff import sniff
from aloe_bench.mixture.source import load_source, read_mapping, shipped_mappings
from aloe_bench.training.data.filters import REASONS
from aloe_bench.training.data.schema import Picture
from tests.conftest import Run
from tests.mixture import sources

REAL = Path(__file__).parents[3] / "shared" / "real"
real_files = pytest.mark.skipif(not REAL.is_dir(), reason="the real files are not on this machine")


def pool_of(folder: Path, *mappings: Path) -> Pool:
    pool = Pool(folder / "pool")
    read_sources(pool, [load_source(str(mapping)) for mapping in mappings], seed=0)
    clean(pool, Cleaning())
    return pool


def test_every_row_of_every_layout_is_kept_or_has_its_one_reason(tmp_path: Path) -> None:
    makers = (sources.llava, sources.sharegpt, sources.table, sources.faulty)
    pool = pool_of(tmp_path, *(make(tmp_path) for make in makers))

    rows = pool.table().to_pylist()
    assert {row["id"]: row["reason"] for row in rows if row["reason"]} == {
        "llava/l3": "malformed row", "sharegpt/talk.jsonl:2": "malformed row", "sharegpt/s6": "repeated id",
        "table/t4": "malformed row", "faulty/six": "too many pictures", "faulty/gone": "unreadable picture",
        "faulty/torn": "unreadable picture", "faulty/narrow": "small picture", "faulty/away": "malformed row",
    }  # fmt: skip
    assert len(rows) == 12 + 9 + 6 + 6
    for step in ("read", "clean"):
        counts = pool.report(step)["counts"]
        assert counts["before"] - sum(counts["dropped"].values()) == counts["after"]
        for each in counts["sources"].values():
            assert each["before"] - sum(each[reason] for reason in STEPS[step]) == each["after"]
    assert pool.report("clean")["counts"]["after"] == 11 + 7 + 5 + 1


def test_conversations_show_pictures_where_their_marks_stood_and_no_picture_is_copied(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, sources.llava(tmp_path), sources.table(tmp_path))
    table = pool.table()
    found = {c.id: c for c in pool.conversations(table.filter(table["reason"].is_null()))}

    first = found["llava/l0"]
    assert first.turns[0].parts[0] == Picture(f"images/llava/pictures/{sources.NAMES[0]}")
    assert first.turns[0].parts[1].text == "What does picture 0 show?"
    assert first.tags == {"modality": "CT"}
    # The link leads to the source's own file; bytes that were inside a table lie there once, by their hash.
    assert (pool.folder / first.pictures[0]).samefile(tmp_path / "llava" / "pictures" / sources.NAMES[0])
    inside = list((pool.folder / "images" / "table.inside").iterdir())
    assert len(inside) == len({path.read_bytes() for path in inside}) == min(6, len(sources.NAMES))
    assert not any("bytes" in str(field.type) or "binary" in str(field.type) for field in table.schema)


def test_the_steps_give_all_reasons_in_their_order() -> None:
    assert tuple(reason for reasons in STEPS.values() for reason in reasons) == REASONS


def test_a_table_that_does_not_add_up_is_refused(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, sources.faulty(tmp_path))
    before, after = pool.table("read"), pool.table("clean")

    with pytest.raises(DataError, match="6 samples went in"):
        reconciled("clean", before, after.slice(1))
    with pytest.raises(DataError, match="not its own"):
        reconciled("leakage", before, after)
    back = after.set_column(after.schema.get_field_index("reason"), "reason", [[None] * len(after)])
    with pytest.raises(DataError, match="reason given earlier was changed"):
        reconciled("leakage", after, back)


def test_what_a_killed_run_left_is_gone_on_from_to_the_same_bytes(tmp_path: Path) -> None:
    mappings = [sources.llava(tmp_path), sources.table(tmp_path), sources.faulty(tmp_path)]
    pool = pool_of(tmp_path, *mappings)
    whole = {step: pool.table_path(step).read_bytes() for step in pool.done()}

    # As a kill leaves it: half the files of a step, and nothing of the steps behind.
    for path in [*pool.folder.glob("tables/*"), *pool.folder.glob("steps/*"), next(pool.folder.glob("pictures/*"))]:
        path.unlink()
    next(pool.folder.glob("rows/llava/*.parquet")).unlink()
    kept = next(pool.folder.glob("rows/table/*.parquet")).stat().st_mtime_ns

    again = pool_of(tmp_path, *mappings)
    assert {step: again.table_path(step).read_bytes() for step in again.done()} == whole
    assert next(pool.folder.glob("rows/table/*.parquet")).stat().st_mtime_ns == kept


def test_another_source_is_no_resume(tmp_path: Path) -> None:
    pool_of(tmp_path, sources.llava(tmp_path))
    with pytest.raises(AloeError, match="source faulty is in one of both"):
        pool_of(tmp_path, sources.llava(tmp_path), sources.faulty(tmp_path))


def test_an_edit_of_a_source_is_noticed_whatever_its_size_and_time_say(tmp_path: Path) -> None:
    mapping = sources.llava(tmp_path)
    pool = pool_of(tmp_path, mapping)
    read = {path: path.stat().st_mtime_ns for path in pool.folder.glob("rows/*/*")}
    rows = mapping.parent / "llava.json"
    times = rows.stat().st_atime_ns, rows.stat().st_mtime_ns

    rows.touch()  # another time, and the same content: nothing is read again
    pool_of(tmp_path, mapping)
    assert {path: path.stat().st_mtime_ns for path in pool.folder.glob("rows/*/*")} == read

    rows.write_text(rows.read_text().replace("Finding number 7", "Finding nothing "[:16]))
    os.utime(rows, ns=times)
    with pytest.raises(AloeError, match=r"source llava: llava\.json changed, came or went"):
        pool_of(tmp_path, mapping)


def test_an_edit_of_a_picture_is_noticed_whatever_its_size_and_time_say(tmp_path: Path) -> None:
    mapping = sources.llava(tmp_path)
    before = picture_table(pool_of(tmp_path, mapping).folder).to_pylist()
    picture = mapping.parent / "pictures" / sources.NAMES[0]
    known, data = picture.stat(), bytearray(picture.read_bytes())
    data[-3] ^= 1  # within the compressed pixels or behind them
    picture.write_bytes(data)
    os.utime(picture, ns=(known.st_atime_ns, known.st_mtime_ns))
    after = picture_table(pool_of(tmp_path, mapping).folder).to_pylist()
    changed = [a["path"] for a, b in zip(before, after, strict=True) if a["sha256"] != b["sha256"]]
    assert changed == [f"images/llava/pictures/{sources.NAMES[0]}"]


def test_a_random_part_depends_on_ids_alone(tmp_path: Path) -> None:
    mapping = sources.llava(tmp_path)
    rows = json.loads((mapping.parent / "llava.json").read_text())
    text = mapping.read_text()
    mapping.write_text(f"sample = 5\n{text}")
    first = pool_of(tmp_path / "a", mapping).table("read").to_pylist()
    (mapping.parent / "llava.json").write_text(json.dumps(rows[::-1]))
    second = pool_of(tmp_path / "b", mapping).table("read").to_pylist()

    assert len({r["id"] for r in first if not r["reason"]}) == 5
    assert {r["id"] for r in first if not r["reason"]} == {r["id"] for r in second if not r["reason"]}


def test_a_json_list_is_read_row_by_row_whatever_its_size(tmp_path: Path) -> None:
    rows = [{"i": i, "words": ("é" * 50_000 if i % 7 == 0 else "x") + '],["'} for i in range(200)]
    path = tmp_path / "big.json"
    path.write_text("\ufeff  " + json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    assert [row for _, row in read_rows(path)] == rows
    path.write_text(json.dumps(rows)[:-20], encoding="utf-8")
    with pytest.raises(DataError, match="breaks off after row 199"):
        list(read_rows(path))


sides = st.integers(1, 4000)
shares = st.floats(0, 1)


@given(sides, sides, shares, shares, shares, shares, st.sampled_from(["xyxy", "xywh", "cxcywh"]))
def test_a_box_survives_within_a_thousandth(w: int, h: int, a: float, b: float, c: float, d: float, form: str) -> None:
    left, right, top, bottom = min(a, c) * w, max(a, c) * w, min(b, d) * h, max(b, d) * h
    if right - left < 0.002 * w or bottom - top < 0.002 * h:
        return
    as_given = {
        "xyxy": (left, top, right, bottom),
        "xywh": (left, top, right - left, bottom - top),
        "cxcywh": ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top),
    }[form]
    made = to_thousandths(as_given, form, "pixels", (w, h))
    assert all(0 <= v < 1000 for v in made) and made[0] < made[2] and made[1] < made[3]
    for value, true, side in zip(made, (left, top, right, bottom), (w, h, w, h), strict=True):
        assert abs(value * side / 1000 - true) <= side / 1000 + 1e-6
    assert boxes_in(f"see {written(made)}") == [made]


def test_a_box_that_cannot_be_of_its_format_is_refused() -> None:
    with pytest.raises(DataError, match="reaches outside"):
        to_thousandths((500, 500, 900, 900), "xywh", "pixels", (1000, 1000))
    with pytest.raises(DataError, match="no area"):
        to_thousandths((500, 500, 90, 90), "xyxy", "pixels", (1000, 1000))
    assert boxes_in("<|box_start|>(1, 2), (30, 40)<|box_end|>") == [(1, 2, 30, 40)]


def test_every_shipped_mapping_is_whole_and_says_whether_it_was_tried() -> None:
    names = shipped_mappings()
    assert {"pubmedvision", "medmax", "mecovqa", "med-grit", "medtrinity", "cambrian", "aloe", "magpie"} < set(names)
    for name in names:
        path = Path(read_mapping.__code__.co_filename).parent / "mappings" / f"{name}.toml"
        assert read_mapping(path).seen_real_files is ("Never seen real files" not in path.read_text())


def test_sniff_proposes_what_reads_the_file(quick: Run, tmp_path: Path) -> None:
    made = sources.llava(tmp_path)
    made.unlink()
    done = quick("data", "sniff", made.parent / "llava.json", "--output", tmp_path / "llava" / "m.toml")
    assert done.returncode == 0 and 'turns = "conversations"' in done.stdout and 'folders = ["pictures"]' in done.stdout
    assert "domain, licence" in done.stderr
    refused = quick("data", "clean", tmp_path / "llava" / "m.toml", "--output", tmp_path / "p")
    assert refused.returncode == 3 and "domain, licence still says 'DECIDE'" in refused.stderr

    text = (tmp_path / "llava" / "m.toml").read_text().replace("DECIDE", "medical", 1).replace("DECIDE", "CC0-1.0")
    (tmp_path / "llava" / "m.toml").write_text(text)
    tried = quick("data", "sniff", tmp_path / "llava" / "m.toml")
    assert "11 of the first 12 selected rows become conversations" in tried.stdout
    assert "1 x 2 marks '<image>' for 1 pictures" in tried.stdout
    done = quick("data", "clean", tmp_path / "llava" / "m.toml", "--output", tmp_path / "p")
    assert done.returncode == 0 and "llava: 12 - 1 malformed row = 11" in done.stdout


@real_files
def test_real_files_are_recognised(tmp_path: Path) -> None:
    slake, atlas = sniff(REAL / "slake" / "test.json"), sniff(REAL / "fracatlas_small" / "dataset.csv")
    assert (slake.shipped, atlas.shipped) == ("slake", "fracatlas")
    assert 'question = "question"' in slake.toml and 'cluster = "img_id"' in slake.toml
    assert "fractured" in next(line for line in atlas.evidence if "perhaps a label" in line)
