"""The rows of text benchmarks from local files: what lm-eval's own task definitions want to see of them.

Layouts and counts: see docs/lm-eval.md. Imports no lm_eval.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from aloe_bench.errors import DataError
from aloe_bench.tasks.data.rows import json_lines

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TextRow:
    """One question: `doc` has the fields that lm-eval's definition reads, `answer` counts the options from 0."""

    id: str
    doc: Fields
    choices: tuple[str, ...]
    answer: int


@dataclass(frozen=True, slots=True)
class RowSource:
    """Where a data set lies below the data root, and how a raw row of it is read.

    `files` are glob patterns, tried in order, in which {part} is the part's name and {split} the split's.
    """

    folder: str
    hub: str
    files: tuple[str, ...]
    read: Callable[[Fields, str], TextRow]
    only: Callable[[Fields, str], bool] = lambda row, part: True

    def places(self, root: Path) -> list[Path]:
        """Return the folders that are looked into."""
        return [root / self.folder, root / self.hub.rpartition("/")[2], root]

    def find(self, root: Path, part: str, split: str) -> list[Path]:
        """Return the files of the first pattern that fits, in order; empty if there are none."""
        for folder in dict.fromkeys(self.places(root)):
            for pattern in self.files:
                found = sorted(folder.glob(pattern.format(part=part, split=split)))
                if found:
                    return found
        return []


def read_rows(source: RowSource, root: Path, part: str, split: str) -> list[TextRow] | None:
    """Return the rows of one part, None if it has no file; raises DataError naming file, row and field."""
    files = source.find(root, part, split)
    if not files:
        return None
    rows, seen = [], Counter[str]()
    for file in files:
        for number, raw in enumerate(_raw_rows(file), 1):
            where = f"{file}: row {number}"
            if not source.only(raw, part):
                continue
            row = source.read({**raw, "_part": part}, where)
            seen[row.id] += 1
            # Data sets without ids repeat a few questions; each keeps its place.
            name = row.id if seen[row.id] == 1 else f"{row.id}-{seen[row.id]}"
            rows.append(TextRow(name, {**row.doc, "sample_id": name}, row.choices, row.answer))
    return rows or None


def _raw_rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet

            yield from pyarrow.parquet.read_table(path).to_pylist()
            return
        text = path.read_text(encoding="utf-8")
        value = json.loads(text) if text.lstrip()[:1] == "[" else _objects(text)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable ({' '.join(str(error).split())[:200]}). Download it again.") from error
    if isinstance(value, dict):  # ori_pqal.json: PubMed id -> row
        value = [{"pubid": key, **row} for key, row in value.items() if isinstance(row, dict)]
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise DataError(f"{path}: expected a list of objects, one per question.")
    yield from value


def _objects(text: str) -> Any:
    """Return the one object of a JSON file, or the list of those of JSON lines."""
    try:
        return json.loads(text)
    except ValueError:
        return json_lines(text)


def _text(row: Fields, field: str, where: str) -> str:
    value = row.get(field)
    if not isinstance(value, str) or not value.strip():
        known = ", ".join(sorted(str(key) for key in row if key != "_part"))
        found = f"is {value!r}" if field in row else f"is missing; the row has {known}"
        raise DataError(f"{where}: field {field!r} {found}; expected text. Pin the earlier revision.")
    return value


def _option(row: Fields, field: str, where: str) -> str:
    """Return an option's text, which may be empty: what the data set says is what lm-eval shows."""
    value = row.get(field)
    if not isinstance(value, str):
        raise DataError(f"{where}: option {field!r} is {value!r}; expected text. Pin the earlier revision.")
    return value


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _index(row: Fields, field: str, count: int, where: str) -> int:
    value = row.get(field)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < count:
        raise DataError(f"{where}: {field} {value!r} is not one of 0-{count - 1}, the place of the right option.")
    return value


def _mmlu(row: Fields, where: str) -> TextRow:
    question, choices = _text(row, "question", where), row.get("choices")
    if not isinstance(choices, list) or len(choices) != 4 or not all(isinstance(text, str) for text in choices):
        raise DataError(f"{where}: field 'choices' is {choices!r}; expected a list of four texts.")
    answer = _index(row, "answer", 4, where)
    doc = {"question": question, "choices": choices, "answer": answer}
    return TextRow(f"mmlu/{row['_part']}/{_digest(question, choices, answer)}", doc, tuple(choices), answer)


def _medmcqa(row: Fields, where: str) -> TextRow:
    options = [_option(row, f"op{letter}", where) for letter in "abcd"]
    answer = _index(row, "cop", 4, where)
    doc = {"question": _text(row, "question", where), "cop": answer}
    doc |= {f"op{letter}": text for letter, text in zip("abcd", options, strict=True)}
    return TextRow(f"medmcqa/{_text(row, 'id', where)}", doc, tuple(options), answer)


def _medqa(row: Fields, where: str) -> TextRow:
    options = [_option(row, f"ending{i}", where) for i in range(4)]
    answer = _index(row, "label", 4, where)
    doc = {"sent1": _text(row, "sent1", where), "label": answer}
    doc |= {f"ending{i}": text for i, text in enumerate(options)}
    name = row.get("id") or _digest(doc["sent1"], options, answer)
    return TextRow(f"medqa_4options/{name}", doc, tuple(options), answer)


DECISIONS = ("yes", "no", "maybe")


def _pubmedqa(row: Fields, where: str) -> TextRow:
    nested = row.get("context")
    context = row.get("CONTEXTS") or (nested.get("contexts") if isinstance(nested, dict) else None)
    if not isinstance(context, list) or not context or not all(isinstance(text, str) for text in context):
        raise DataError(f"{where}: no list of texts in CONTEXTS or context.contexts.")
    question = _text(row, "QUESTION" if "QUESTION" in row else "question", where)
    decision = _text(row, "final_decision", where)
    if decision not in DECISIONS:
        raise DataError(f"{where}: final_decision {decision!r} is not one of {', '.join(DECISIONS)}.")
    doc = {"CONTEXTS": context, "QUESTION": question, "final_decision": decision}
    return TextRow(f"pubmedqa/{row['pubid']}", doc, DECISIONS, DECISIONS.index(decision))


@cache
def pubmedqa_test_ids() -> frozenset[str]:
    """Return the PubMed ids of the 500 questions of the official test set (github.com/pubmedqa/pubmedqa, MIT)."""
    text = (
        resources.files("aloe_bench.bridges.lmeval").joinpath("data/pubmedqa_test_ids.txt").read_text(encoding="ascii")
    )
    return frozenset(text.split())


def in_pubmedqa_test(row: Fields, part: str = "") -> bool:
    """Return whether a row of the 1,000 labelled ones belongs to the official test set."""
    return str(row.get("pubid")) in pubmedqa_test_ids()


MMLU = RowSource(
    "mmlu",
    "cais/mmlu",
    ("{part}/{split}-*.parquet", "{part}/{split}.parquet", "{part}/{split}.json*", "all/{split}-*.parquet"),
    _mmlu,
    only=lambda row, part: row.get("subject") in (None, "", part),
)
MEDMCQA = RowSource("medmcqa", "openlifescienceai/medmcqa", ("data/validation-*.parquet", "validation.json*"), _medmcqa)
MEDQA = RowSource("medqa", "GBaker/MedQA-USMLE-4-options-hf", ("test.json*", "data/test-*.parquet"), _medqa)
PUBMEDQA = RowSource(
    "pubmedqa",
    "qiaojin/PubMedQA",
    ("pqa_labeled/train-*.parquet", "ori_pqal.json", "data/ori_pqal.json"),
    _pubmedqa,
    only=in_pubmedqa_test,
)


def missing_message(task: str, sources: Sequence[tuple[RowSource, str, str]], root: Path) -> str:
    """Return the list a user needs of a task without data: files, where they were looked for, what fetches them."""
    lines = [f"{task}: no data in {root}."]
    for source in dict.fromkeys(source for source, _, _ in sources):
        part, split = next((part, split) for other, part, split in sources if other is source)
        files = " or ".join(pattern.format(part=part, split=split) for pattern in source.files)
        looked = ", ".join(str(place) for place in dict.fromkeys(source.places(root)))
        lines.append(f"  {source.hub}: {files}; looked in {looked}")
    lines.append(f"  fetch with `aloe-bench data fetch {task} --data-root {root}`")
    return "\n".join(lines)
