"""The experts' page when it is not alone: other sites in the same browser, a second server on the same file."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.annotate_server import ENVIRONMENT, Served, command, make_run, request, served

pytest.importorskip("uvicorn", reason="install the extra annotate")

LABELS = ("correct", "partially correct", "incorrect", "ambiguous")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "runs")


def exported(run: Path) -> dict[tuple[str, str], str]:
    """Return (rater, item) -> label."""
    done = subprocess.run(command("annotate", run, "--export", "-"), env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = csv.DictReader(io.StringIO(done.stdout, newline=""))
    return {(row["rater"], row["item_id"]): row["label"] for row in rows}


def lists(server: Served, rater: str) -> list[str]:
    """Return the ids on a rater's list."""
    total = server.get(rater, "api/state").json["total"]
    return [server.get(rater, f"api/state?position={i}").json["item"]["id"] for i in range(1, total + 1)]


def test_under_another_hosts_name_nothing_is_seen_without_a_link_and_nothing_is_changed_with_one(run: Path):
    # What a page of another site can do whose name was made to point here (DNS rebinding), or that posts a form.
    evil = {"Host": "evil.example:8765", "Origin": "http://evil.example:8765"}
    with served(run, "--raters", "a,b") as server:
        base = server.links["a"].rsplit("/r/", 1)[0]
        for path in ("/", "/r/", "/r/a/", "/r/a/api/state", "/api/state", "/annotations.sqlite"):
            reply = request("GET", base + path, None, evil)
            assert reply.status == 404 and b"secret" not in reply.body
        assert not [name for name in reply.headers if name.startswith("access-control")]
        item = server.get("a", "api/state").json["item"]["id"]
        body = json.dumps({"item": item, "label": "correct", "comment": ""}).encode()
        for site in ("cross-site", "same-site", "none"):
            headers = {**evil, "Content-Type": "application/json", "Sec-Fetch-Site": site}
            assert server.send("POST", "a", "api/rate", body, headers).status == 403
        asked = {**evil, "Access-Control-Request-Method": "POST"}
        assert server.send("OPTIONS", "a", "api/rate", None, asked).status == 405
    assert exported(run) == {}


def test_two_servers_on_one_file_lose_nothing(run: Path):
    with served(run, "--raters", "a,b", "--per-item", 2) as one, served(run) as two:
        assert {name: link.rsplit("/r/")[1] for name, link in one.links.items()} == {
            name: link.rsplit("/r/")[1] for name, link in two.links.items()
        }
        wanted = {r: {item: LABELS[i % 4] for i, item in enumerate(lists(one, r))} for r in ("a", "b")}
        posts = [(r, {"item": i, "label": label}) for r, m in wanted.items() for i, label in m.items()]
        with ThreadPoolExecutor(8) as pool:
            replies = [
                pool.submit(server.post, rater, "api/rate", body) for rater, body in posts for server in (one, two, one)
            ]
        assert {reply.result().status for reply in replies} == {200}
    assert exported(run) == {(rater, item): label for rater, m in wanted.items() for item, label in m.items()}
