"""The gate on reading as a user meets it: the shipped tiny checkpoint, `train-ar --measure`, and its exit code.

Slow: some 90 CPU-seconds.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from aloe_bench.cli.main import cli
from aloe_bench.heart import make as attack
from aloe_bench.heart.attacks import parse_attacks
from aloe_bench.heart.build import HeartRecipe
from aloe_bench.heart.sources.source import load_source
from aloe_bench.heart.wordings import load_templates
from aloe_bench.miniature.loop import BASE
from aloe_bench.miniature.source import TEMPLATES, write_source

pytest.importorskip("trl")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a place with X-rays to learn from, and a table of CT whose captions are 250 reading questions and more."""
    folder = tmp_path_factory.mktemp("gate")
    write_source(folder / "xray", "xray", 32, 555, split="train")
    ct = load_source(write_source(folder / "ct", "ct", 256, 2077))
    recipe = HeartRecipe(parse_attacks("caption"), load_templates(TEMPLATES[0]))
    attack.build([ct], attack.plan_work([ct], recipe), recipe, folder / "eval")
    return folder


@pytest.mark.parametrize(
    ("rate", "epochs", "exit_code"),
    [("1e-9", 1, 0), ("1e-2", 4, 4)],
    ids=["learns nothing and reads on", "forgets how to read"],
)
def test_a_checkpoint_that_lost_reading_is_told_from_one_that_kept_it(
    place: Path, tmp_path: Path, rate: str, epochs: int, exit_code: int
) -> None:
    words = (
        "train-ar", "--model", BASE, "--source", place / "xray", "--output", tmp_path / "robust",
        "--answer", "text", "--templates", TEMPLATES[1], "--attacks", "prompt", "--held-out", 0,
        "--evaluation", place / "eval", "--measure", "--json", "--set", f"learning_rate={rate}",
        "--set", f"epochs={epochs}",
    )  # fmt: skip
    done = CliRunner().invoke(cli, [str(word) for word in words])

    print(done.stderr)
    assert done.exit_code == exit_code, done.exception
    measured = json.loads(done.stdout)["measured"]
    (title,) = (title for title in measured if title.endswith("reading what is drawn"))
    row = next(row for row in measured[title]["rows"] if row["row"].startswith("classification"))
    assert row["n"] >= 250 and row["first"] > 0.8
    said = f"classification: {100 * row['value']:+z.1f} points"
    assert said in done.stderr and ("NOT shown to be retained" in done.stderr) is (exit_code == 4)
    assert (row["interval"][0] > -0.05) is (exit_code == 0)
    assert ("is not to be taken for robustness" in done.stderr) is (exit_code == 4)
