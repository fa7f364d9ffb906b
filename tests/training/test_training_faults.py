"""What a user meets on a bad day: a kill during a save, a full disk, two signals. The last good checkpoint stays."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aloe_bench.errors import DataError
from aloe_bench.miniature.checkpoint import build_tiny_checkpoint
from aloe_bench.training.recipes import Recipe, changed, load_recipe
from aloe_bench.training.sft import Stopped, Trained, TrainingJob, train
from tests.support.conversations import make_folder

pytest.importorskip("trl")

SETTINGS = ("micro_batch=2", "global_batch=2")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_checkpoint(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("conversations") / "data", 12)


def recipe() -> Recipe:
    return changed(load_recipe("miniature"), SETTINGS)


@pytest.fixture(scope="module")
def uninterrupted(tiny: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(TrainingJob(tiny, data, tmp_path_factory.mktemp("whole") / "out", recipe()))


def same_end(first: Trained, second: Trained) -> bool:
    files = [trained.output / "model.safetensors" for trained in (first, second)]
    digests = {hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    return first.losses == second.losses and len(digests) == 1


def command(tiny: Path, data: Path, output: Path, *more: str) -> list[str]:
    sets = [word for setting in SETTINGS for word in ("--set", setting)]
    return [
        sys.executable, "-m", "aloe_bench.cli.main", "train-sft", "--recipe", "miniature", *sets,
        "--model", str(tiny), "--data", str(data), "--output", str(output), *more,
    ]  # fmt: skip


def started(words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)


def wait_for(process: subprocess.Popen[str], folder: Path, pattern: str) -> Path:
    """Return the first path under `folder` that fits, as soon as it is there."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        if (found := next(folder.glob(pattern), None)) is not None:
            return found
        time.sleep(0.0005)
    raise AssertionError(f"no {pattern}: {process.communicate()[0]}")


def caught(process: subprocess.Popen[str], folder: Path, pattern: str) -> Path:
    """Stop `process` while a path under `folder` that fits is there; return the path."""
    while True:
        found = wait_for(process, folder, pattern)
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.1)
        if found.exists():
            return found
        # On a busy machine that save was over by then: let it come to the next.
        process.send_signal(signal.SIGCONT)


def test_a_kill_during_a_save_leaves_the_last_good_checkpoint(
    tiny: Path, data: Path, uninterrupted: Trained, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    checkpoints = output / ".training" / "checkpoints"
    process = started(command(tiny, data, output, "--save-every", "1"))
    wait_for(process, checkpoints, "checkpoint-*")
    half = caught(process, checkpoints, ".incomplete/*/model.safetensors")
    process.kill()
    process.communicate()

    whole = sorted(path.name for path in checkpoints.glob("checkpoint-*"))
    assert whole
    assert half.parent.name not in whole

    resumed = train(TrainingJob(tiny, data, output, recipe()))

    assert resumed.resumed_from == int(whole[-1].removeprefix("checkpoint-"))
    assert same_end(resumed, uninterrupted)
    assert not list(checkpoints.glob(".*"))


def test_ctrl_c_saves_says_so_and_ends_in_130(tiny: Path, data: Path, uninterrupted: Trained, tmp_path: Path) -> None:
    """As a terminal sends it: to the trainer and to the process that reads its rows."""
    output = tmp_path / "out"
    process = started(command(tiny, data, output, "--save-every", "1", "--workers", "1"))
    wait_for(process, output / ".training" / "checkpoints", "checkpoint-1")
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate()

    assert process.returncode == 130, said
    assert "stopped at step" in said
    assert "run the same command again to resume" in said
    assert "Traceback" not in said
    assert same_end(train(TrainingJob(tiny, data, output, recipe())), uninterrupted)


@contextmanager
def files_of_at_most(n_bytes: int) -> Iterator[None]:
    """Let no file grow beyond `n_bytes`: to a writer it looks as a quota does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def stopped_once(job: TrainingJob) -> None:
    def report(done: int, total: int, note: str) -> None:
        if done == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Stopped):
        train(job, report)


@pytest.mark.parametrize("n_bytes", [1_000_000, 3_450_000])
def test_no_room_for_a_checkpoint_is_one_clear_message(
    tiny: Path, data: Path, uninterrupted: Trained, tmp_path: Path, n_bytes: int
) -> None:
    """At 1 MB the weights do not fit; at 3.45 MB they do, and the optimizer's state does not."""
    job = TrainingJob(tiny, data, tmp_path / "out", recipe(), save_every=2)
    stopped_once(job)
    checkpoints = job.output / ".training" / "checkpoints"
    before = {path: path.stat().st_size for path in checkpoints.rglob("*") if path.is_file()}

    with files_of_at_most(n_bytes), pytest.raises(DataError) as caught:
        train(job)

    assert "no room to save step 4" in str(caught.value)
    assert "checkpoint-3 is whole. Free space and run the same command again" in str(caught.value)
    assert {path: path.stat().st_size for path in checkpoints.rglob("*") if path.is_file()} == before
    assert same_end(train(job), uninterrupted)


def test_a_final_folder_that_cannot_be_filled_loses_nothing(
    tiny: Path, data: Path, uninterrupted: Trained, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    job = TrainingJob(tiny, data, output, recipe())

    def full_at_the_end(done: int, total: int, note: str) -> None:
        if done == total:
            (output / "model.safetensors").mkdir()
            (output / "model.safetensors" / "in the way").write_text("x")

    with pytest.raises(OSError, match=r"model\.safetensors"):
        train(job, full_at_the_end)
    assert not (output / "config.json").exists()
    for path in (output / "model.safetensors").iterdir():
        path.unlink()
    (output / "model.safetensors").rmdir()

    assert same_end(train(job), uninterrupted)


@pytest.mark.slow
def test_a_disk_that_is_really_full(tiny: Path, data: Path, uninterrupted: Trained, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        job = TrainingJob(tiny, data, disk / "out", recipe(), save_every=2)
        with pytest.raises(DataError, match="no room"):
            train(job)
        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
        assert same_end(train(job), uninterrupted)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow
def test_two_ranks_train_as_one_and_text_only_batches_hang_neither(tiny: Path, data: Path, tmp_path: Path) -> None:
    """Data parallelism with one row a micro-batch: a rank often has text alone, and none may skip the vision tower."""
    settings = ("micro_batch=4", "global_batch=4", "frozen=")
    one = train(TrainingJob(tiny, data, tmp_path / "one", changed(load_recipe("miniature"), settings)))
    sets = ("gpus=2", "micro_batch=1", "gradient_accumulation=2", "global_batch=4", "frozen=")
    words = [word for setting in sets for word in ("--set", setting)]
    launched = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m",
            "aloe_bench.cli.main", "train-sft", "--recipe", "miniature", *words,
            "--model", str(tiny), "--data", str(data), "--output", str(tmp_path / "two"), "--json",
        ],
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert launched.returncode == 0, launched.stderr[-3000:]
    losses = json.loads((tmp_path / "two" / ".training" / "summary.json").read_text())["losses"]

    assert len(losses) == 3
    assert losses == pytest.approx(one.losses, rel=1e-4)
