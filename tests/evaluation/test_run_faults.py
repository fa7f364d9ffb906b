"""Torn logs, full disks, crashes and broken images: a run loses nothing that was finished."""

from __future__ import annotations

import subprocess
import sys

import pytest

from aloe_bench.evaluation.runlog import read_run
from tests.conftest import MINI, closed_rows
from tests.evaluation.test_run import MOCK, only_run, untimed


def test_a_torn_last_line_costs_that_record_alone(aloe, closed, tmp_path):
    root = closed(closed_rows(40))
    aloe(*MOCK, "--data-root", root)
    folder = only_run(tmp_path / "runs")
    whole = untimed(folder)
    (folder / "summary.json").unlink()
    log = folder / "records.jsonl"
    log.write_bytes(log.read_bytes()[:-25])
    assert len(read_run(folder)[1]) == 39

    assert aloe(*MOCK, "--data-root", root).returncode == 0

    assert untimed(folder) == whole


def test_a_disk_that_fills_up_loses_nothing_of_what_was_finished(closed, tmp_path, aloe):
    root = closed(closed_rows(165))
    words = [sys.executable, "-m", "aloe_bench.cli.main", *MOCK, "--data-root", str(root)]

    full = subprocess.run(
        ["bash", "-c", 'ulimit -f 40; exec "$@"', "-", *words], cwd=tmp_path, capture_output=True, text=True
    )

    assert full.returncode == 3, full.stderr
    assert "records.jsonl: cannot write" in full.stderr
    assert "Traceback" not in full.stderr
    folder = only_run(tmp_path / "runs")
    kept = untimed(folder)
    assert 0 < len(kept) < 165
    assert not (folder / "summary.json").exists()
    assert (folder / "records.jsonl").read_bytes().endswith(b"\n")
    assert aloe(*MOCK, "--data-root", root).returncode == 0
    assert len(read_run(folder)[1]) == 165
    assert untimed(folder)[: len(kept)] == kept


def test_an_output_folder_that_cannot_be_written_is_one_message(aloe, closed, tmp_path):
    (tmp_path / "file").write_text("")

    done = aloe(*MOCK, "--data-root", closed(closed_rows(3)), "--output", tmp_path / "file" / "runs")

    assert done.returncode == 3
    assert "cannot create" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_truncated_image_fails_its_question_alone_and_is_named(aloe, closed, tmp_path):
    root = closed(closed_rows(6))
    image = (MINI / "images" / "retina.jpg").read_bytes()
    (root / "cut.jpg").write_bytes(image[: len(image) // 2])
    rows = closed_rows(6)
    rows[2]["image"] = "cut.jpg"

    done = aloe(*MOCK, "--data-root", closed(rows), "--model-args", "decode=true")

    assert done.returncode == 1
    assert "careqa_vision/row-2" in done.stderr
    assert "cut.jpg" in done.stderr
    _, records = read_run(only_run(tmp_path / "runs"))
    assert [r.score.value for r in records] == [1.0, 1.0, None, 1.0, 1.0, 1.0]
    (root / "cut.jpg").write_bytes(image)
    assert "data_sha256" in aloe(*MOCK, "--data-root", root, "--model-args", "decode=true").stderr


def test_a_decompression_bomb_is_refused_before_anything_runs(aloe, closed, tmp_path):
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    rows = closed_rows(4)
    root = closed(rows)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    (root / "bomb.png").write_bytes(bomb)
    rows[1]["image"] = "bomb.png"

    done = aloe(*MOCK, "--data-root", closed(rows))

    assert done.returncode == 3
    assert "bomb.png" in done.stderr
    assert "60000" in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("file", ["run.json", "summary.json"])
def test_a_crash_between_temporary_file_and_rename_loses_nothing(aloe, closed, tmp_path, file):
    root = closed(closed_rows(40))
    words = [*MOCK, "--data-root", str(root), "--name", "m"]
    crash = (
        "import os, sys\n"
        "def crash(event, words):\n"
        f"    if event == 'os.rename' and str(words[1]).endswith('{file}'):\n"
        "        os._exit(9)\n"
        "sys.addaudithook(crash)\n"
        f"sys.argv = ['aloe-bench', *{words!r}]\n"
        "from aloe_bench.cli.main import main\n"
        "main()\n"
    )

    crashed = subprocess.run([sys.executable, "-c", crash], cwd=tmp_path, capture_output=True, text=True)
    again = aloe(*words)

    assert crashed.returncode == 9, crashed.stderr
    assert again.returncode == 0, again.stderr
    (finished,) = [path.parent for path in (tmp_path / "runs").rglob("summary.json")]
    assert [r.sample_id for r in read_run(finished)[1]] == [f"careqa_vision/row-{i}" for i in range(40)]
