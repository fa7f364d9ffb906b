"""`aloe-bench annotate` as a user starts it, in a process of its own, and a client for its address."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

MINI = Path(__file__).parents[1] / "data" / "careqa_mini"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "aloe_bench.cli.main", *map(str, words)]


def make_run(folder: Path, model_args: str = "accuracy=0.5", data_root: Path = MINI) -> Path:
    """Return the folder of a mock model's run over ten open questions."""
    words = ("run", "--model", "mock", "--name", "secret-model-7b", "--tasks", "careqa_vision_open", "--data-root")
    rest = ("--allow-partial", "--max-failed", 1, "--model-args", model_args, "--output", folder)
    subprocess.run(command(*words, data_root, *rest), env=ENVIRONMENT, check=True, capture_output=True)
    return next(folder.glob("*/*/*/run.json")).parent


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Served:
    """A running server: its process and the link it printed for each rater."""

    process: subprocess.Popen[str]
    links: dict[str, str]

    def get(self, rater: str, path: str = "", **headers: str) -> Reply:
        return self.send("GET", rater, path, None, headers)

    def post(self, rater: str, path: str, value: object) -> Reply:
        return self.send("POST", rater, path, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send(self, method: str, rater: str, path: str, body: bytes | None, headers: dict[str, str]) -> Reply:
        return request(method, self.links[rater] + path, body, headers)

    def rate(self, rater: str, label: str, comment: str = "") -> Any:
        """Rate what the rater is shown next and return what comes then."""
        item = self.get(rater, "api/state").json["item"]["id"]
        return self.post(rater, "api/rate", {"item": item, "label": label, "comment": comment}).json


def request(method: str, url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Reply:
    parts = urlsplit(url)
    assert parts.hostname
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    try:
        connection.request(method, parts.path + ("?" + parts.query if parts.query else ""), body, headers or {})
        reply = connection.getresponse()
        return Reply(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())
    finally:
        connection.close()


@contextmanager
def served(run: Path, *options: object, data_root: Path = MINI, port: int = 0) -> Iterator[Served]:
    """Serve `run` on a free port until the block ends; Ctrl-C must then end the server cleanly."""
    with served_by(command("annotate", run, "--data-root", data_root, "--port", port, *options)) as server:
        yield server


@contextmanager
def served_by(words: list[str]) -> Iterator[Served]:
    """Serve the page that the command line `words` serves, until the block ends."""
    process = subprocess.Popen(
        words, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )
    try:
        assert process.stdout
        links = {}
        for line in process.stdout:
            if found := re.search(r"^  (.+)  (http://\S+/r/\S+/)  ", line):
                links[found[1]] = found[2]
            if line.startswith("Ctrl-C"):
                break
        else:
            raise AssertionError(process.stderr.read() if process.stderr else "")
        wait_until_it_answers(next(iter(links.values())))
        yield Served(process, links)
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
            assert process.returncode == 0, err
            assert "Stopped" in out
            assert "Traceback" not in err, err
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_until_it_answers(url: str) -> None:
    # The port is bound before the links are printed, so the first request waits instead of failing.
    assert request("GET", url).status == 200
