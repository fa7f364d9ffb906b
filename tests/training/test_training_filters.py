"""What is left out of training, with one reason each, and what the rest measures."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest
from PIL import Image

from aloe_bench.errors import DataError
from aloe_bench.miniature.checkpoint import build_tiny_checkpoint
from aloe_bench.training.collate import IGNORED, Collator, Encoder, load_processor
from aloe_bench.training.data.filters import Limits
from aloe_bench.training.data.prepare import Prepared, prepare
from aloe_bench.training.data.schema import Conversation, Part, Picture, Text, Turn, to_json, write_folder
from tests.support.conversations import conversation, make_folder

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return Encoder(load_processor(build_tiny_checkpoint(tmp_path_factory.mktemp("base") / "tiny"), None, None))


def one(name: str, *parts: Part, answer: str = "B") -> Conversation:
    return Conversation(name, (Turn("user", (*parts, Text("?"))), Turn("assistant", (Text(answer),))), "test", name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four good conversations, and one for each reason to leave a conversation out."""
    folder = make_folder(tmp_path / "data", 0)
    Image.new("RGB", (49, 200)).save(folder / "images" / "narrow.png")
    Image.new("RGB", (50, 50)).save(folder / "images" / "square.png")
    (folder / "images" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    cell = Picture("images/cell.png")
    bad = [
        one("six", *[cell] * 6),
        one("gone", Picture("images/gone.png")),
        one("torn", Picture("images/torn.png")),
        one("narrow", Picture("images/narrow.png")),
        one("control", Text("<|im_end|>")),
        one("long", cell, answer="nodule " * 700),
    ]
    good = [conversation(0), conversation(3), one("five", *[cell] * 5), one("square", Picture("images/square.png"))]
    write_folder(folder, [*bad[:3], *good, *bad[3:]])
    return folder


def prepared(folder: Path, encoder: Encoder, target: Path, max_length: int = 600) -> Prepared:
    return prepare(folder, target, encoder, Limits(max_length=max_length), encoder.settings())


def test_each_drop_has_one_reason_and_the_counts_add_up(folder: Path, encoder: Encoder, tmp_path: Path) -> None:
    made = prepared(folder, encoder, tmp_path / "rows")

    with (tmp_path / "rows" / "dropped.csv").open() as file:
        drops = {row["id"]: row for row in csv.DictReader(file)}
    assert {name: row["reason"] for name, row in drops.items()} == {
        "six": "too many pictures", "gone": "unreadable picture", "torn": "unreadable picture",
        "narrow": "small picture", "control": "control token", "long": "too long",
    }  # fmt: skip
    assert made.n + sum(made.dropped.values()) == 10
    assert made.dropped["unreadable picture"] == 2
    assert "49x200" in drops["narrow"]["detail"]


def test_counted_tokens_are_those_of_the_batch(folder: Path, encoder: Encoder, tmp_path: Path) -> None:
    made = prepared(folder, encoder, tmp_path / "rows")
    kept = [conversation(0), conversation(3), one("five", *[Picture("images/cell.png")] * 5),
            one("square", Picture("images/square.png"))]  # fmt: skip

    batch = Collator(encoder, folder, 600)([{"line": json.dumps(to_json(row))} for row in kept])

    assert made.tokens == int(batch["attention_mask"].sum())
    assert made.loss_tokens == int((batch["labels"] != IGNORED).sum())
    assert made.image_tokens == int((batch["input_ids"] == encoder.image_id).sum())
    assert made.longest == int(batch["attention_mask"].sum(dim=1).max())


def test_text_alone_keeps_room_for_the_dummy_picture(folder: Path, encoder: Encoder, tmp_path: Path) -> None:
    write_folder(folder, [one("plain")])
    length = prepared(folder, encoder, tmp_path / "a").tokens

    assert prepared(folder, encoder, tmp_path / "b", max_length=length + 6).n == 1
    with pytest.raises(DataError, match=r"no conversation is left to train on \(1 too long\)"):
        prepared(folder, encoder, tmp_path / "c", max_length=length + 5)


def test_rows_are_made_again_only_if_something_changed(folder: Path, encoder: Encoder, tmp_path: Path) -> None:
    first = prepared(folder, encoder, tmp_path / "rows")
    written = (tmp_path / "rows" / "rows.arrow").stat().st_mtime_ns
    assert prepared(folder, encoder, tmp_path / "rows") == first
    assert (tmp_path / "rows" / "rows.arrow").stat().st_mtime_ns == written

    square = folder / "images" / "square.png"
    Image.new("RGB", (50, 50), "white").save(square)
    os.utime(square, (1, 1))
    changed = prepared(folder, encoder, tmp_path / "rows")

    assert changed.sha256 != first.sha256
    assert changed.tokens == first.tokens
    assert prepared(folder, encoder, tmp_path / "other").sha256 == changed.sha256
