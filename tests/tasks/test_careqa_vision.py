"""CareQA-Vision's closed questions: what is right, and what the model is shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from aloe_bench import registry
from aloe_bench.tasks import formats
from tests.conftest import closed_rows


def test_the_answer_is_the_option_that_the_file_counts_to(closed: Callable[..., Path]) -> None:
    rows = closed_rows(8)
    task = registry.resolve("task", registry.TASKS, "careqa_vision_mcq")

    samples = list(task.load(closed(rows)))

    assert len(samples) == 8
    for row, sample in zip(rows, samples, strict=True):
        words = row[f"op{row['cop']}"]
        assert f"{sample.target}. {words}" in formats.asked(task, sample).splitlines()
