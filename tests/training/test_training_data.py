"""Conversations on disk: what goes in comes out, and what is wrong is named."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from aloe_bench.core import Message, Request
from aloe_bench.errors import DataError
from aloe_bench.images import file_image
from aloe_bench.training.data.schema import Picture, Text, Turn, asked_and_answered, read_folder, write_folder
from tests.support.conversations import PICTURES, conversation, make_folder


def test_conversations_come_back_as_they_were_written(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data", 10)

    assert list(read_folder(folder)) == [conversation(i) for i in range(10)]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["n"] == 10
    assert manifest["sha256"] == hashlib.sha256((folder / "conversations.jsonl").read_bytes()).hexdigest()


def test_a_trained_question_stands_as_a_model_is_asked_it() -> None:
    image = file_image(PICTURES / "cell.png")
    asked = Request("heart/x/1", (Message("system", "Be brief."), Message("user", "Which?")), (image,))

    made = asked_and_answered(asked, "B", ["images/cell.png"], source="heart-x", cluster="x/1")

    assert made.turns == (
        Turn("system", (Text("Be brief."),)),
        Turn("user", (Picture("images/cell.png"), Text("Which?"))),
        Turn("assistant", (Text("B"),)),
    )


USER = {"role": "user", "content": "Which?"}
REPLY = {"role": "assistant", "content": "B"}
GOOD = {"id": "a", "source": "s", "cluster": "c", "messages": [USER, REPLY]}
BAD_LINES = [
    ("{", "not JSON"),
    ("[]", "not a JSON object"),
    (json.dumps(GOOD | {"id": ""}), "'id' is ''"),
    (json.dumps(GOOD | {"tags": {"a": 1}}), "'tags' is"),
    (json.dumps(GOOD | {"messages": [USER]}), "the turns are user;"),
    (json.dumps(GOOD | {"messages": [USER, USER]}), "alternation"),
    (json.dumps(GOOD | {"messages": [USER, {"role": "assistant", "content": " "}]}), "without text"),
    (json.dumps(GOOD | {"messages": [USER, {"role": "bot", "content": "B"}]}), "turn 2: role 'bot'"),
    (json.dumps(GOOD | {"messages": [{"role": "user", "content": [{"type": "image", "image": "../x.png"}]}, REPLY]}),
     "picture path '../x.png'"),
    (json.dumps(GOOD | {"messages": [{"role": "user", "content": [{"type": "video"}]}]}), "part {'type': 'video'}"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "complaint"), BAD_LINES)
def test_a_bad_line_is_named_with_its_number(tmp_path: Path, line: str, complaint: str) -> None:
    (tmp_path / "conversations.jsonl").write_text(json.dumps(GOOD | {"id": "first"}) + "\n" + line + "\n")

    with pytest.raises(DataError) as caught:
        list(read_folder(tmp_path))

    assert "conversations.jsonl:2" in str(caught.value)
    assert complaint in str(caught.value)


def test_an_id_may_stand_only_once(tmp_path: Path) -> None:
    (tmp_path / "conversations.jsonl").write_text(2 * (json.dumps(GOOD) + "\n"))

    with pytest.raises(DataError, match=r"jsonl:2: id 'a' stands there twice"):
        list(read_folder(tmp_path))


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data", 4)

    def breaks() -> object:
        yield conversation(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_folder(folder, breaks())  # type: ignore[arg-type]

    assert len(list(read_folder(folder))) == 4
    assert sorted(path.name for path in folder.iterdir()) == ["conversations.jsonl", "images", "manifest.json"]
