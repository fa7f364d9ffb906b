"""Data folders of MMLU and MultiMedQA: 40 real questions from the lm-eval wheel, and made-up ones of any number."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import yaml

from aloe_bench.bridges.lmeval.rows import pubmedqa_test_ids

MEDICAL_SUBJECTS = (
    "anatomy", "clinical_knowledge", "college_biology", "college_medicine", "medical_genetics",
    "professional_medicine", "nutrition", "virology",
)  # fmt: skip
_QUESTION = re.compile(r"^(.*)\n\s*\(A\) (.*?) \(B\) (.*?) \(C\) (.*?) \(D\) (.*)$", re.S)


def parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(map(dict, rows))), path)
    return path


def lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def real_mmlu(root: Path) -> Path:
    """Write the five real questions of each of eight medical subjects, from MMLU's dev split, as a test split."""
    for subject in MEDICAL_SUBJECTS:
        place = f"tasks/mmlu/flan_cot_fewshot/mmlu_{subject}.yaml"
        shots = yaml.safe_load(resources.files("lm_eval").joinpath(place).read_text(encoding="utf-8"))
        parquet(root / "mmlu" / subject / "test-00000-of-00001.parquet", [
            mmlu_row(*_QUESTION.match(shot["question"]).groups(), subject=subject,
                     answer="ABCD".index(re.search(r"answer is \(([A-D])\)", shot["target"])[1]))
            for shot in shots["fewshot_config"]["samples"]
        ])  # fmt: skip
    return root


def mmlu_row(question: str, *choices: str, subject: str, answer: int) -> dict[str, Any]:
    return {"question": question, "subject": subject, "choices": list(choices), "answer": answer}


def made_mmlu(root: Path, counts: Mapping[str, int], split: str = "test") -> Path:
    for subject, count in counts.items():
        parquet(root / "mmlu" / subject / f"{split}-00000-of-00001.parquet", [
            mmlu_row(f"{subject} {split} {i}?", *(f"thing {i}-{j}" for j in range(4)), subject=subject, answer=i % 4)
            for i in range(count)
        ])  # fmt: skip
    return root


def medmcqa_row(i: int) -> dict[str, Any]:
    options = {f"op{letter}": f"drug {i}{letter}" for letter in "abcd"}
    return {"id": f"uuid-{i}", "question": f"Which drug, {i}?", **options, "cop": i % 4, "choice_type": "single"}


def medqa_row(i: int) -> dict[str, Any]:
    return {"id": f"test-{i:05}", "sent1": f"A patient {i}.", "sent2": "", **{f"ending{j}": f"step {i}-{j}"
            for j in range(4)}, "label": i % 4}  # fmt: skip


def pubmedqa_rows(extra: int) -> list[dict[str, Any]]:
    """The 500 ids of the official test set among `extra` others, with made-up texts, as qiaojin/PubMedQA has them."""
    ids = [*sorted(pubmedqa_test_ids(), key=int), *(str(i) for i in range(1, extra + 1))]
    return [
        {"pubid": int(name), "question": f"Does it help, {name}?", "final_decision": ("yes", "no", "maybe")[i % 3],
         "context": {"contexts": [f"We asked {name}.", "Yes."]}}
        for i, name in enumerate(ids)
    ]  # fmt: skip


def made_multimedqa(root: Path, subjects: Mapping[str, int]) -> Path:
    """Write a whole MultiMedQA of made-up questions, in the layouts that the hub's repositories have."""
    made_mmlu(root, subjects)
    parquet(root / "medmcqa" / "data" / "validation-00000-of-00001.parquet", [medmcqa_row(i) for i in range(4183)])
    lines(root / "medqa" / "test.json", [medqa_row(i) for i in range(1273)])
    parquet(root / "pubmedqa" / "pqa_labeled" / "train-00000-of-00001.parquet", pubmedqa_rows(500))
    return root
