"""Tables as people have them: the same rows whatever program wrote them, and one clear line for what is not a table."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from aloe_bench.errors import DataError
from aloe_bench.tables import as_text, is_absent, number_of, read_table, whole_of

ROWS = [("q1", "1", "é, quoted"), ("q2", "0,5", 'say "hi"'), ("q3", "", "two\nlines")]


def csv_text(separator: str, end: str = "\n") -> str:
    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"'

    lines = [separator.join(("Item_ID", "score", "note"))] + [separator.join(map(cell, row)) for row in ROWS]
    return end.join(lines) + end


WAYS = {
    "comma": csv_text(",").encode(),
    "semicolon": csv_text(";").encode(),
    "tab": csv_text("\t").encode(),
    "bar": csv_text("|").encode(),
    "mark": csv_text(";").encode("utf-8-sig"),
    "CRLF": csv_text(",", "\r\n").encode(),
    "CR": csv_text(",", "\r").encode(),
    "UTF-16": csv_text("\t").encode("utf-16"),
    "sep line": b"sep=;\r\n" + csv_text(";", "\r\n").encode(),
    "quoted sep line": b'\xef\xbb\xbf"sep=;"\n' + csv_text(";").encode(),
    "blank lines": ("\n\n" + csv_text(",") + "\n \n").encode(),
    "empty columns": csv_text(",").replace("note\n", "note,,\n").replace('"é, quoted"', '"é, quoted",,').encode()
    .replace(b'"say ""hi"""', b'"say ""hi""",,').replace(b'lines"', b'lines",,'),
    "spaces": csv_text(",").replace("score", " score\u00a0").encode(),
    "JSON lines": "".join(
        json.dumps(dict(zip(("Item_ID", "score", "note"), row, strict=True))) + "\n" for row in ROWS
    ).encode(),
    "JSON list": json.dumps([dict(zip(("Item_ID", "score", "note"), row, strict=True)) for row in ROWS]).encode(),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_the_same_rows_whoever_wrote_them(way: str, tmp_path: Path) -> None:
    path = tmp_path / "ratings.txt"  # what it is, is seen in the bytes
    path.write_bytes(WAYS[way])
    table = read_table(path, needed=("item_id", "SCORE"))
    assert [(row.text("item_id"), row.text("Score"), row.text("note")) for row in table.rows] == ROWS
    assert not table.faults


def test_parquet_with_gaps_gives_whole_numbers(tmp_path: Path) -> None:
    frame = pd.DataFrame({"item_id": [1.0, 2.0, 3.0], "class": [0, None, 2], "note": ["a", None, "c"]})
    frame.to_parquet(tmp_path / "labels.parquet")
    frame.to_csv(tmp_path / "labels.csv", index=False)
    frame.to_csv(tmp_path / "indexed.csv")
    for name in ("labels.parquet", "labels.csv", "indexed.csv"):
        table = read_table(tmp_path / name, ids=("item_id",))
        assert [row.text("item_id") for row in table.rows] == ["1", "2", "3"], name
        assert [whole_of(row.cells["class"]) for row in table.rows] == [0, None, 2]
        assert [is_absent(row.cells["note"]) for row in table.rows] == [False, True, False]
    assert any("index" in note for note in table.notes) and any("floats" in note for note in table.notes)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id,a,A\nx,1,2\n", "'a' and 'A' differ in case alone"),
        ("id,a,a\nx,1,2\n", "'a' is there twice"),
        ("id,caf\u00e9,cafe\u0301\nx,1,2\n", "is there twice"),
        ("id,,a\nx,1,2\n", "column 2 has no name"),
        ("ident,a\nx,1\n", "no column 'id'. Did you mean ident?"),
        ("", "no column 'id'"),
    ],
)
def test_a_header_that_can_mean_two_things_is_refused(text: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=r"a\.csv") as caught:
        read_table(path, needed=("id",))
    assert expected in str(caught.value)


def test_every_row_that_cannot_be_used_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,score\nx,1\n"y\ny",0,5\nz\n4.1E+12,1\n')
    faults = read_table(path, ids=("id",)).faults
    assert len(faults) == 3
    assert f"{path}:3: 3 fields; expected 2" in faults[0] and "decimal comma" in faults[0]
    assert f"{path}:5: 1 field;" in faults[1]
    assert f"{path}:6" in faults[2] and "cut short" in faults[2]
    lines = tmp_path / "a.jsonl"
    lines.write_text('{"id": 1}\n{"id": 1, "ID": 2}\n[1]\n{"id": \n{"id": NaN}\n')
    table = read_table(lines)
    assert [row.text("id") for row in table.rows] == ["1", ""]
    assert [fault.split(": ")[0] for fault in table.faults] == [f"{lines}:{n}" for n in (4, 2, 3)]


@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"PK\x03\x04xx", "Excel"), (b"\x1f\x8bxx", "gzip"), (b"id\n\xe9\n", "a.csv:2: not UTF-8"), (b"PAR1xx", "Parquet"),
     (b'id,a\nx,"1\n', "a.csv:2: not readable"), (b"[{", "JSON")],
)  # fmt: skip
def test_what_is_no_table_is_named(data: bytes, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert expected in str(caught.value)


def test_numbers_are_read_where_they_can_be_one_thing_only() -> None:
    numbers = {"0,5": 0.5, "0.5": 0.5, ".5": 0.5, "1,0": 1.0, "-1,25": -1.25, "\u22121": -1.0, "0,500": 0.5, "1e3": 1e3}
    assert {text: number_of(text) for text in numbers} == numbers
    unclear = ("1,500", "1.2.3", "one", "1 000", "inf", "\u0663", "", "true")
    assert [number_of(text) for text in unclear] == [None] * len(unclear)
    assert [whole_of(cell) for cell in ("3", "3.0", "3,00", 3.0, 3)] == [3] * 5
    assert [whole_of(cell) for cell in ("3.5", True, None)] == [None] * 3
    assert all(map(is_absent, ("", " ", "NA", "N/A", "n/a", "NaN", "-", "null", None, float("nan"))))
    assert not any(map(is_absent, (0, "0", "no", "nano")))
    assert [as_text(cell) for cell in (3.0, 3.5, None, True, " x ")] == ["3", "3.5", "", "true", "x"]
