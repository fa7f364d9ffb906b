"""`data fetch` against a stand-in hub on this machine: pinned, resumed, checked, refused."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator

import pytest

from tests.support import suite_data as made
from tests.support.hub_server import Hub, serving

PINNED = "a9083ce6" + "0" * 32
LATER = "b" * 40
FETCH = ("data", "fetch", "slake", "--data-root", "data")


def pictures(size: int = 0) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("imgs/xmlab0/source.jpg", made.png(1))
        archive.writestr("padding", os.urandom(size))
    return file.getvalue()


def files(size: int = 0) -> dict[str, bytes]:
    rows = [made.slake_row(i, img_name="xmlab0/source.jpg") for i in range(3)]
    return {"test.json": json.dumps(rows).encode(), "imgs.zip": pictures(size), "train.json": b"[]"}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving(Hub("BoKelvin/SLAKE", {PINNED: files()}, large={"imgs.zip"})) as served:
        yield served


def online(hub: Hub) -> dict[str, str]:
    return {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


def test_a_task_is_fetched_at_its_commit_checked_and_runs(aloe, hub, tmp_path):
    done = aloe(*FETCH, **online(hub))

    assert done.returncode == 0, done.stderr
    assert f"slake: 2 files, 0.0 MB, BoKelvin/SLAKE at {PINNED}, in data/slake" in done.stdout
    manifest = json.loads((tmp_path / "data/slake/aloe-fetch.json").read_text())
    assert manifest["revision"] == PINNED
    assert manifest["files"]["test.json"]["sha256"] == hashlib.sha256(files()["test.json"]).hexdigest()
    assert not (tmp_path / "data/slake/train.json").exists()
    asked = aloe("run", "--model", "mock", "--tasks", "slake", "--allow-partial", "--data-root", "data")
    assert asked.returncode == 0, asked.stderr
    (header,) = (tmp_path / "runs").rglob("run.json")
    assert json.loads(header.read_text())["task"]["commits"] == {"BoKelvin/SLAKE": PINNED}


def test_what_is_there_is_not_fetched_again(aloe, hub, tmp_path):
    assert aloe(*FETCH, **online(hub)).returncode == 0
    before = dict(hub.served)

    again = aloe(*FETCH, **online(hub))
    assert again.returncode == 0
    assert hub.served == before

    (tmp_path / "data/slake/test.json").unlink()
    assert aloe(*FETCH, **online(hub)).returncode == 0
    assert hub.served["test.json"] == 2 * before["test.json"]
    assert hub.served["imgs.zip"] == before["imgs.zip"]


def test_a_download_that_was_killed_goes_on_where_it_was(aloe, tmp_path):
    whole = files(size=3_000_000)
    with serving(Hub("BoKelvin/SLAKE", {PINNED: whole}, large={"imgs.zip"}, stall_after=2_000_000)) as hub:
        child = subprocess.Popen(
            [sys.executable, "-m", "aloe_bench.cli.main", *FETCH], cwd=tmp_path, env={**os.environ, **online(hub)},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 120

        def arrived() -> int:
            return sum(path.stat().st_size for path in (tmp_path / "data/slake").rglob("*.part"))

        while arrived() < 1_000_000 and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        child.send_signal(signal.SIGKILL)
        child.wait()
        partly = arrived()
        assert partly >= 1_000_000
        hub.stall_after = None
        hub.served.clear()

        done = aloe(*FETCH, **online(hub))

        assert done.returncode == 0, done.stderr
        assert hub.served["imgs.zip"] == len(whole["imgs.zip"]) - partly
        assert f"imgs.zip bytes={partly}-" in hub.ranges
        assert (tmp_path / "data/slake/imgs.zip").read_bytes() == whole["imgs.zip"]


def test_ctrl_c_ends_a_long_download_and_keeps_what_came(tmp_path):
    whole = files(size=60_000_000)  # a minute at the server's pace
    with serving(Hub("BoKelvin/SLAKE", {PINNED: whole}, large={"imgs.zip"}, slow=True)) as hub:
        child = subprocess.Popen(
            [sys.executable, "-m", "aloe_bench.cli.main", *FETCH], cwd=tmp_path, env={**os.environ, **online(hub)},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        deadline = time.monotonic() + 120

        def part() -> int:
            return sum(path.stat().st_size for path in (tmp_path / "data/slake").rglob("*.part"))

        while not part() and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        child.send_signal(signal.SIGINT)

        assert child.wait(timeout=120) == 130
        assert 0 < part() < 30_000_000


@pytest.mark.parametrize("name", ["imgs.zip", "test.json"])
def test_bytes_that_are_not_what_the_hub_lists_are_deleted_and_named(aloe, hub, tmp_path, name):
    hub.corrupt.add(name)

    done = aloe(*FETCH, **online(hub))

    assert done.returncode == 3
    assert f"data/slake/{name}: checksum" in done.stderr
    assert not (tmp_path / "data/slake" / name).exists()
    assert not (tmp_path / "data/slake/aloe-fetch.json").exists()
    hub.corrupt.clear()
    assert aloe(*FETCH, **online(hub)).returncode == 0


def test_a_pinned_commit_that_is_gone_is_one_message_and_another_can_be_taken(aloe, tmp_path):
    with serving(Hub("BoKelvin/SLAKE", {LATER: files()}, large={"imgs.zip"})) as hub:
        gone = aloe(*FETCH, **online(hub))
        assert gone.returncode == 3
        assert "BoKelvin/SLAKE: no commit a9083ce6 any more" in gone.stderr
        assert "--revision main" in gone.stderr
        assert not (tmp_path / "data/slake/test.json").exists()

        assert aloe(*FETCH, "--revision", "main", **online(hub)).returncode == 0

    asked = aloe("run", "--model", "mock", "--tasks", "slake", "--allow-partial", "--data-root", "data")
    assert asked.returncode == 3
    assert f"slake: data/slake: holds revision {LATER} of BoKelvin/SLAKE, expected a9083ce6." in asked.stderr
    assert "or delete aloe-fetch.json in it" in asked.stderr
    (tmp_path / "data/slake/aloe-fetch.json").unlink()
    own = aloe("run", "--model", "mock", "--tasks", "slake", "--allow-partial", "--data-root", "data")
    assert own.returncode == 0, own.stderr


def test_a_data_set_that_moved_on_leaves_the_folder_as_it_is(aloe, tmp_path):
    words = ("data", "fetch", "gmai_mmbench", "--data-root", "data")
    table = made.gmai(tmp_path / "made", [made.gmai_row(0)]).read_bytes()
    hub = Hub("OpenGVLab/GMAI-MMBench", {PINNED: {"GMAI_mm_bench_VAL.tsv": table}})
    with serving(hub):
        assert aloe(*words, **online(hub)).returncode == 0
        hub.commits = {LATER: {"GMAI_mm_bench_VAL.tsv": table + b"\n"}, **hub.commits}

        moved = aloe(*words, **online(hub))
        kept = aloe(*words, "--revision", PINNED, **online(hub))

    assert moved.returncode == 3
    assert f"holds revision {PINNED}" in moved.stderr
    assert f"the hub now gives {LATER}" in moved.stderr
    assert f"--revision {PINNED}" in moved.stderr
    assert kept.returncode == 0, kept.stderr
    assert (tmp_path / "data/gmai_mmbench/GMAI_mm_bench_VAL.tsv").read_bytes() == table


def test_a_fetched_file_that_changed_since_is_named_before_anything_runs(aloe, hub, tmp_path):
    assert aloe(*FETCH, **online(hub)).returncode == 0
    path = tmp_path / "data/slake/imgs.zip"
    path.write_bytes(path.read_bytes()[:-5])

    asked = aloe("run", "--model", "mock", "--tasks", "slake", "--allow-partial", "--data-root", "data")

    assert asked.returncode == 3
    assert "slake: data/slake/imgs.zip: has " in asked.stderr
    assert "Fetch it again" in asked.stderr
    assert aloe(*FETCH, **online(hub)).returncode == 0
    assert path.read_bytes() == hub.commits[PINNED]["imgs.zip"]


def test_a_data_root_that_cannot_be_written_is_one_message(aloe, hub, tmp_path):
    (tmp_path / "data").write_text("")

    done = aloe(*FETCH, **online(hub))

    assert done.returncode == 3
    assert "slake: data/slake: cannot be written (Not a directory). Choose another --data-root." in done.stderr


def test_a_file_of_one_s_own_is_not_overwritten(aloe, hub, tmp_path):
    own = made.write(tmp_path / "data/slake/test.json", [made.slake_row(0)])
    before = own.read_bytes()

    done = aloe(*FETCH, **online(hub))

    assert done.returncode == 3
    assert "data/slake/test.json: is not the hub's file" in done.stderr
    assert "Nothing was changed" in done.stderr
    assert own.read_bytes() == before
    assert hub.served == {}


def test_a_gated_set_an_absent_hub_and_offline_mode_are_one_line_each(aloe, hub, tmp_path):
    hub.gated = True
    gated = aloe(*FETCH, **online(hub))
    away = aloe(*FETCH, **{**online(hub), "HF_ENDPOINT": "http://127.0.0.1:9"})
    offline = aloe(*FETCH, **{**online(hub), "HF_HUB_OFFLINE": "1"})

    assert [done.returncode for done in (gated, away, offline)] == [3, 3, 3]
    assert all("Error: slake: BoKelvin/SLAKE: " in done.stderr for done in (gated, away, offline))
    assert "gated. Accept its terms" in gated.stderr
    assert "cannot be fetched" in away.stderr
    assert "HF_HUB_OFFLINE is set; unset it." in offline.stderr
    assert not any("Traceback" in done.stderr for done in (gated, away, offline))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("data", "fetch", "slak"), "Did you mean slake?"),
        (("data", "fetch", "slake", "mmmu", "--revision", "main"), "fetch the tasks one by one"),
        (("data", "fetch", "medical-images", "--revision", "main"), "fetch the tasks one by one"),
        (("data", "fetch"), "Missing argument"),
    ],
)
def test_a_mistake_is_a_usage_error(aloe, words, said):
    done = aloe(*words)

    assert done.returncode == 2
    assert said in done.stderr
