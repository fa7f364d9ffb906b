"""Two runs on one small attacked table, made once."""

from pathlib import Path
from typing import NamedTuple

import pytest

from aloe_bench import ModelSpec, attack, evaluate
from aloe_bench.miniature.loop import EVALUATION
from aloe_bench.miniature.source import write_source


class Runs(NamedTuple):
    """The folder of everything, the table that was asked, and the runs of a base and of a robust model."""

    folder: Path
    table: Path
    base: Path
    robust: Path


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("reported")
    source = write_source(folder / "source", "xray", 8)
    attack(source, folder / "attacked", templates=str(EVALUATION))
    made = []
    for name, options in (
        ("base", {"accuracy": 0.9, "follow": 0.7}),
        ("robust", {"accuracy": 0.9, "follow": 0.1, "refusal": 0.1, "verbose": True}),
    ):
        task, output = f"heart:{folder / 'attacked'}", folder / "runs"
        controls = ("blank", "swap") if name == "base" else ()
        made.append(
            evaluate(ModelSpec("mock", options=options), task, name=name, output=output, controls=controls).folder
        )
    return Runs(folder, folder / "attacked", *made)
