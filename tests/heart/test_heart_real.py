"""The whole path on real medical pictures: attack, a run that is killed and resumed, heart tables on a page.

The model has Qwen2-VL's architecture and random weights, so its numbers say nothing and stand on miniature.md.
"""

from __future__ import annotations

import csv
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aloe_bench.evaluation.runlog import read_run
from tests.boards.test_heart_page import table_of
from tests.conftest import MINI
from tests.evaluation.test_run import only_run, untimed

pytest.importorskip("transformers")
pytestmark = pytest.mark.slow

KINDS = {
    "retina.jpg": 0, "microaneurysms.png": 0, "ihc.jpg": 1, "cell.png": 1, "ct_chest.png": 2, "mr_abdomen.png": 2,
    "bone_scan.png": 2, "us_heart.png": 3, "us_doppler.png": 3,
}  # fmt: skip
TOML = """\
name = "careqa-mini-tiles"
modality = "mixed"
licence = "see tests/data/README.md"

[classification]
classes = ["fundus photograph", "microscopy", "cross-section or bone scan", "ultrasound"]

[detection]
classes = ["the brightest region", "the darkest region"]
"""


def source(root: Path) -> Path:
    """Write a source of the upper and lower half of nine real pictures; both halves are one patient's.

    The classes are plain from the picture's origin, the boxes computed from its pixels.
    """
    for folder in ("images", "annotations"):
        (root / folder).mkdir(parents=True)
    (root / "dataset.toml").write_text(TOML)
    with (root / "labels.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(("image_id", "class", "patient_id", "split"))
        for name, kind in KINDS.items():
            picture = Image.open(MINI / "images" / name).convert("RGB")
            width, height = picture.size
            for i, top in enumerate((0, height // 2)):
                half = picture.crop((0, top, width, top + height // 2)).resize((224, 160))
                image_id = f"{name.partition('.')[0]}_{i}"
                half.save(root / "images" / f"{image_id}.png")
                (root / "annotations" / f"{image_id}.txt").write_text(extremes(half))
                lines.writerow((image_id, kind, name, "test"))
    return root


def extremes(picture: Image.Image) -> str:
    """Return the boxes of the brightest and the darkest block of 32 x 32, in YOLO's form."""
    grey = np.asarray(picture.convert("L"), dtype=float)
    means = grey.reshape(5, 32, 7, 32).mean(axis=(1, 3))
    found = []
    for index, place in enumerate((means.argmax(), means.argmin())):
        row, column = divmod(int(place), 7)
        found.append(f"{index} {(column + 0.5) / 7:.6f} {(row + 0.5) / 5:.6f} {1 / 7:.6f} {1 / 5:.6f}\n")
    return "".join(found)


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    root = tmp_path_factory.mktemp("real")
    words = ["attack", "--type", "all,caption+sycophancy", "--source", source(root / "source"), "--workers", 1]
    command(root, *words, "--output", root / "heart")
    subprocess.run([sys.executable, "-m", "aloe_bench.miniature.checkpoint", str(root / "tiny")], check=True)
    return root


def words_of(*words: object) -> list[str]:
    return [sys.executable, "-m", "aloe_bench.cli.main", *map(str, words)]


def command(cwd: Path, *words: object) -> str:
    done = subprocess.run(words_of(*words), cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def lines(output: Path) -> int:
    return sum(log.read_bytes().count(b"\n") for log in output.rglob("records.jsonl"))


def test_a_killed_and_resumed_run_on_attacked_real_pictures_ends_on_the_page(attacked):
    run = ("run", "--model", "tiny", "--tasks", "heart:heart", "--protocol", "logprob", "--batch-size", 8)
    child = subprocess.Popen(words_of(*run), cwd=attacked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while lines(attacked / "runs") < 96 and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.05)
    assert child.poll() is None, "the run ended before it could be killed"
    child.send_signal(signal.SIGKILL)
    child.wait()
    before = lines(attacked / "runs")
    assert not list((attacked / "runs").rglob("summary.json"))

    shown = command(attacked, *run)
    command(attacked, *run, "--output", "whole")

    header, records = read_run(only_run(attacked / "runs"))
    assert 96 <= before < len(records) == header["task"]["expected_rows"]
    assert untimed(only_run(attacked / "runs")) == untimed(only_run(attacked / "whole"))
    assert {record.cluster for record in records} == {f"careqa-mini-tiles/{name}" for name in KINDS}
    # Scoring the options always names one, so that the numbers are those of answers.
    assert {record.score.parsed for record in records} <= set("ABCD")
    assert "9 clusters" in " ".join(shown.split())

    command(attacked, "leaderboard", "build", "runs")
    command(attacked, "leaderboard", "verify")
    page = attacked / "leaderboards" / "miniature.md"
    (title,) = re.findall(r"### (heart-careqa-mini-tiles, data \w{8})", page.read_text())
    row = next(row for name, row in table_of(page, title).items() if name.startswith("tiny"))
    assert header["run_id"] in row["Notes"]
    assert [column for column in row if column.startswith("Detection")] == [
        f"Detection {attack}" for attack in ("Base", "Cap", "Pmt", "Syc", "Leg", "Rep", "caption+sycophancy")
    ]
    assert "tiny" not in (attacked / "leaderboards" / "heart.md").read_text()
