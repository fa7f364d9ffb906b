"""The shipped base does what its page says, and the whole loop runs from one command."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from aloe_bench.miniature.derived import misled_task, reading_task
from aloe_bench.miniature.loop import BASE, evaluation_table
from aloe_bench.miniature.measure import ATTACKS, Answers, asker
from studies.miniature.base import train_base


def answers(checkpoint: Path, folder: Path, pictures: int) -> Answers:
    task = evaluation_table(folder / "test", pictures)
    asking = asker(checkpoint, "base", folder / "runs")
    wanted = misled_task(task, folder)
    return Answers.from_runs(asking.ask(wanted), None, asking.ask(reading_task(wanted, folder)))


def test_the_shipped_weights_are_the_recorded_ones_and_small() -> None:
    weights = (BASE / "model.safetensors").read_bytes()
    recorded = tomllib.loads((BASE / "provenance.toml").read_text())
    assert hashlib.sha256(weights).hexdigest() == recorded["weights_sha256"]
    assert sum(path.stat().st_size for path in BASE.iterdir()) < 5_000_000


def test_the_shipped_base_sees_reads_and_is_misled(tmp_path: Path) -> None:
    """84 items a task: 88 and 78 % clean and at most 21 % under a cue leave room for chance."""
    base = answers(BASE, tmp_path, 24)
    for task, least in (("classification", 0.80), ("detection", 0.55)):
        clean = base.accuracy(task, "")
        assert clean.n >= 82 and (clean.value or 0) >= least  # two pictures may have no room for four boxes
        for attack in ATTACKS[task]:
            assert base.drop(task, attack) >= 0.25
            assert (base.followed(task, attack).value or 0) >= 0.5
            assert base.is_read(task, attack)
    assert (base.read("detection", "legend").value or 0) >= 0.9  # type: ignore[union-attr]
    assert Answers.from_json(json.loads(json.dumps(base.to_json()))) == base


def test_the_demonstration_runs_from_base_to_pages_and_refuses_a_folder_in_use(aloe, tmp_path: Path) -> None:
    done = aloe("demo", "--quick", "--output", "out")

    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "A quick run" in said and "peak memory" in said and "no evidence about any real model" in said
    assert max(map(len, done.stdout.partition("Summary: ")[0].splitlines())) <= 80
    written = (tmp_path / "out" / "summary.md").read_text(encoding="utf-8")
    assert "restricted" in written and "A quick run" in written
    legend = next(line for line in done.stdout.splitlines() if line.startswith(" legend"))
    assert "->" in legend  # how often it is read, before and after
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert len(summary["cells"]) == 9
    for cell in summary["cells"]:
        for part in ("base", "after"):
            assert cell[part]["off_option"] is not None and cell[part]["restricted"] is not None
            drawn = cell["attack"] in ("caption", "legend")
            assert (cell[part]["read"] is not None) == drawn
        low, high = cell["gain_interval"]
        assert low <= cell["gain"] <= high and cell["n"] >= 12
        if cell["attack"]:
            assert cell["base"]["followed"] > 0.5
    grades = [int(grade) for grade in re.findall(r"mean grade (\d+)", said)]
    assert len(grades) == 2 and grades[0] >= 50
    ar = summary["ar_data"]
    assert ar["modality"] == "xray" and ar["overlap"]["shared_pictures"] == 0 and ar["overlap"]["compared_with"] > 20
    page = (tmp_path / "out" / "leaderboards" / "miniature.md").read_text()
    assert "Miniature" in page
    shown = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "miniature-base" in shown and "miniature-AR-xray" in shown and 'id="pictures">{}' not in shown
    assert (tmp_path / "out" / "ar" / "checkpoint" / "config.json").is_file()
    again = aloe("demo", "--quick", "--output", "out")
    assert again.returncode == 2 and "not empty" in again.stderr


@pytest.mark.slow
def test_one_process_and_two_come_to_the_same(aloe, tmp_path: Path) -> None:
    for workers in (1, 2):
        done = aloe("demo", "--quick", "--workers", workers, "--output", f"out{workers}")
        assert done.returncode == 0, done.stderr
    for name in ("summary.json", "ar/checkpoint/model.safetensors"):
        one, two = ((tmp_path / f"out{workers}" / name).read_bytes() for workers in (1, 2))
        assert one == two, name


def test_ctrl_c_while_ar_trains_is_one_clear_message(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "aloe_bench.cli.main", "demo", "--quick", "--output", str(tmp_path / "out")]
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 280
    while not (tmp_path / "out" / "ar" / "checkpoint" / "tensorboard").exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate()

    assert process.returncode == 130, said
    assert "remove it and start again" in said and "Traceback" not in said and "run the same command" not in said


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> tuple[Answers, Answers]:
    """Answers of the shipped base and of one rebuilt by its command: about eight CPU minutes."""
    folder = tmp_path_factory.mktemp("rebuilt")
    base = train_base(folder / "base", 0)
    return answers(BASE, folder / "a", 88), answers(base, folder / "b", 88)


@pytest.mark.slow
def test_the_rebuilt_base_is_as_accurate_and_is_misled(rebuilt: tuple[Answers, Answers]) -> None:
    shipped, again = rebuilt
    for task in ATTACKS:
        low, high = shipped.accuracy(task, "").interval or (0.0, 1.0)
        # Two runs of one recipe, each with its sampling error.
        assert low - 0.05 <= (again.accuracy(task, "").value or 0.0) <= high + 0.05
        for attack in ATTACKS[task]:
            assert again.drop(task, attack) >= 0.25


@pytest.mark.slow
def test_the_rebuilt_base_follows_cues_as_the_shipped_one_does(rebuilt: tuple[Answers, Answers]) -> None:
    """On the machine of the shipped one the weights come out the same; elsewhere as good."""
    shipped, again = rebuilt
    for task in ATTACKS:
        for attack in ("", *ATTACKS[task]):
            low, high = shipped.accuracy(task, attack).interval or (0.0, 1.0)
            # Two runs of one recipe, each with its sampling error.
            assert low - 0.05 <= (again.accuracy(task, attack).value or 0.0) <= high + 0.05
