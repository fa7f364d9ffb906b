"""Cases, mock judges, finished runs and judges.toml files for the tests of the jury."""

from __future__ import annotations

import json
from pathlib import Path

from aloe_bench.core import Decoding, Prediction, Record, Score
from aloe_bench.evaluation import runlog
from aloe_bench.judges.jury.panel import Ballot, Judge, Panel
from aloe_bench.judges.jury.rubric import Case, read_case
from aloe_bench.judges.jury.store import VerdictStore
from aloe_bench.models.mock_judge import JudgeBehaviour, MockJudge

GRADES = (0.0, 0.5, 1.0)
ANSWERS = {1.0: "acute alteplase infusion", 0.5: "alteplase infusion", 0.0: "nothing"}


def cases(n: int) -> list[Case]:
    return [Case(f"s{i}", f"Question {i}?", "acute alteplase infusion", ANSWERS[GRADES[i % 3]]) for i in range(n)]


def mock(name: str, **behaviour: object) -> Judge:
    model = MockJudge(read_case, JudgeBehaviour(**behaviour), name)
    return Judge(name, model, Decoding(), model.fingerprint)


def graded(folder: Path, judges: list[Judge], some: list[Case]) -> Ballot:
    folder.mkdir(exist_ok=True)
    with VerdictStore(folder) as store:
        return Panel(judges).grade(some, store)


def run_folder(folder: Path, some: list[Case], **model: object) -> Path:
    """Write a finished run whose answers are those of `some`."""
    facts = {"name": "m", "fingerprint": "f" * 64, "backend": "hf", "miniature": False, "size_group": "small",
             "domain": "general", "settings": {}} | model  # fmt: skip
    task = {"name": "careqa_vision_open", "version": 1, "expected_rows": len(some), "data_sha256": "d"}
    header = {"schema": 1, "run_id": folder.name, "model": facts, "task": task, "protocol": "generate", "limit": None,
              "partial": False, "shard": None, "n": len(some), "n_total": len(some)}  # fmt: skip
    runlog.create_run(folder, header)
    records = [
        Record(i, c.sample_id, "open", c.reference, f"c{i}", {"category": "medicine" if i % 2 else "nursing"}, None,
               Prediction(c.sample_id, c.answer, "stop"), Score(None, None, "unjudged"), c.question)
        for i, c in enumerate(some)
    ]  # fmt: skip
    runlog.append(folder, records)
    return folder


def judges_file(path: Path, *tables: dict[str, object]) -> Path:
    def toml(value: object) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + "}"
        return json.dumps(value)

    path.write_text("\n".join("[[judge]]\n" + "\n".join(f"{k} = {toml(v)}" for k, v in t.items()) for t in tables))
    return path


def mock_table(name: str, **options: object) -> dict[str, object]:
    return {"name": name, "backend": "mock", "model": "mock", "options": options}


def served_table(name: str, url: str, **more: object) -> dict[str, object]:
    return {"name": name, "backend": "openai", "model": name, "revision": "r1", "base_url": url} | more
