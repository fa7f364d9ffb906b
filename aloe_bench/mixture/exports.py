"""The mixture as trainers read it. Pictures stay where they are: rows name them below a link to the pool's images.

mixture/        conversations.jsonl, manifest.json, images: what `train-sft --data` takes
trl/            train.jsonl with messages and images, README.md
llama-factory/  data.json, dataset_info.json, README.md
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from aloe_bench.errors import DataError
from aloe_bench.files import write_atomic, write_json
from aloe_bench.mixture.convert import IMAGES
from aloe_bench.training.data.schema import Conversation, Picture, Text, to_json, write_folder

ExportFormat = Literal["train-sft", "trl", "llama-factory"]
MARK = "<image>"
# How each trainer averages, and what that does to a balance of loss tokens. Read in train-sft's own trainer, in
# trl 1.16's SFTTrainer.compute_loss, and in LLaMA-Factory's CustomSeq2SeqTrainer, which with a processor sets
# model_accepts_loss_kwargs to False.
AVERAGES: dict[ExportFormat, str] = {
    "train-sft": "the mean over all learnt tokens of a step: the balance holds",
    "trl": "the mean over all learnt tokens of a step (trl 1.16, num_items_in_batch): the balance holds",
    "llama-factory": (
        "the mean of the means of micro-batches where there are pictures: tokens of short answers weigh more than "
        "those of long ones, which undoes part of the balance; the more so, the smaller a micro-batch"
    ),
}
_TRL = """\
# For TRL

```python
from datasets import Image, List, load_dataset

rows = load_dataset("json", data_files="train.jsonl", split="train").cast_column("images", List(Image()))
```

Run it in this folder: pictures are named relative to it. `assistant_only_loss=True` takes the loss on assistant turns,
as the tokens of the card are counted. The loss is {average}.
"""
_FACTORY = """\
# For LLaMA-Factory

`dataset_dir` is this folder, `dataset` is `{name}`. The loss is {average}.

Left out, because its text holds the mark {mark} itself: {left}.
"""


def write_exports(
    output: Path, name: str, formats: Iterable[ExportFormat], weighted: Mapping[ExportFormat, Iterator[Any]], facts: Any
) -> dict[str, dict[str, Any]]:
    """Write each format from its own iterator over (conversation, weight); return what each came to."""
    found: dict[str, dict[str, Any]] = {}
    for each in formats:
        folder = output / {"train-sft": "mixture"}.get(each, each)
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            (folder / IMAGES).symlink_to(Path("..") / IMAGES, target_is_directory=True)
        rows = repeated(weighted[each])
        if each == "train-sft":
            written = write_folder(folder, rows, facts)
            found[each] = {"rows": written["n"], "sha256": written["sha256"]}
        elif each == "trl":
            n = _write_lines(folder / "train.jsonl", map(_trl_row, rows))
            write_atomic(folder / "README.md", _TRL.format(average=AVERAGES["trl"]))
            found[each] = {"rows": n}
        else:
            found[each] = _llama_factory(folder, name, rows)
        found[each]["loss"] = AVERAGES[each]
    return found


def repeated(weighted: Iterable[tuple[Conversation, int]]) -> Iterator[Conversation]:
    """Yield each conversation as often as its weight says; repeats have an id of their own."""
    for conversation, times in weighted:
        for k in range(times):
            yield conversation if not k else replace(conversation, id=f"{conversation.id}#{k + 1}")


def _trl_row(conversation: Conversation) -> dict[str, Any]:
    line = to_json(conversation)
    for message in line["messages"]:
        message["content"] = [
            {"type": "image", "text": None} if p["type"] == "image" else {"type": "text", "text": p["text"]}
            for p in message["content"]
        ]
    return {"id": conversation.id, "messages": line["messages"], "images": list(conversation.pictures)}


def _llama_factory(folder: Path, name: str, rows: Iterable[Conversation]) -> dict[str, Any]:
    left: list[str] = []

    def lines() -> Iterator[dict[str, Any]]:
        for conversation in rows:
            if any(isinstance(p, Text) and MARK in p.text for turn in conversation.turns for p in turn.parts):
                left.append(conversation.id)
                continue
            messages = [
                {"role": t.role, "content": "".join(MARK if isinstance(p, Picture) else p.text for p in t.parts)}
                for t in conversation.turns
            ]
            yield {"messages": messages, "images": list(conversation.pictures)}

    n = _write_lines(folder / "data.json", lines(), as_list=True)
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    entry = {
        "file_name": "data.json", "formatting": "sharegpt", "columns": {"messages": "messages", "images": "images"},
        "tags": {**tags, "system_tag": "system"},
    }  # fmt: skip
    write_json(folder / "dataset_info.json", {name: entry})
    words = _FACTORY.format(name=name, average=AVERAGES["llama-factory"], mark=MARK, left=", ".join(left) or "nothing")
    write_atomic(folder / "README.md", words)
    return {"rows": n, "left_out": left}


def _write_lines(path: Path, rows: Iterable[Mapping[str, Any]], as_list: bool = False) -> int:
    """Write rows as JSON lines, or as a list with one row a line, whole or not at all; return how many."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    n = 0
    try:
        with temporary.open("w", encoding="utf-8") as file:
            for n, row in enumerate(rows, 1):
                before = ("[\n" if n == 1 else ",\n") if as_list else ""
                file.write(before + json.dumps(row, ensure_ascii=False) + ("" if as_list else "\n"))
            if as_list:
                file.write("\n]\n" if n else "[]\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise DataError(f"{path}: cannot write ({error.strerror}). Free space and run it again.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return n
