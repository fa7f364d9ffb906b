"""`aloe-bench view`: the page of a report from a server, its items as they are looked at."""

import http.client
import json
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from aloe_bench import UsageError, view
from aloe_bench.evaluation.runlog import read_records
from aloe_bench.reporting.served import MOST_ROWS, view_app
from tests.boards.test_leaderboard import record, run_folder
from tests.reporting.conftest import Runs
from tests.support.annotate_server import ENVIRONMENT, command

pytest.importorskip("starlette", reason="install the extra annotate")

from starlette.testclient import TestClient

TOKEN = "t0ken"


@pytest.fixture(scope="module")
def client(runs: Runs) -> Iterator[TestClient]:
    with TestClient(view_app([runs.base, runs.robust], TOKEN, [runs.table]), base_url="http://127.0.0.1") as opened:
        yield opened


def test_from_python_a_page_is_served_until_it_is_closed(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "r", "m", "careqa_vision_mcq", [record(i, float(i % 2)) for i in range(4)])
    with view(run) as page:
        assert 'data-served="true"' in urlopen(page.url).read().decode()
        (index,) = json.load(urlopen(f"{page.url}index.json"))["sets"]
        assert index["rows"]["id"] == ["s0", "s1", "s2", "s3"]
        with pytest.raises(UsageError, match=r"Cannot listen on 127\.0\.0\.1 port \d+ .* choose another port"):
            view(run, port=int(page.url.split(":")[2].split("/")[0]))
    with pytest.raises(URLError):
        urlopen(page.url)


def test_the_page_holds_no_item_and_rows_come_as_they_are_asked_for(client: TestClient, runs: Runs) -> None:
    page = client.get(f"/{TOKEN}/").text
    records = read_records(runs.base)
    assert 'data-served="true"' in page and records[0].sample_id not in page and "How often right, by cue" in page
    (index,) = client.get(f"/{TOKEN}/index.json").json()["sets"]
    assert index["rows"]["id"] == [record.sample_id for record in records] and "prompt" not in index["rows"]
    found = client.get(f"/{TOKEN}/rows/0?at=3,1").json()
    assert [len(index["runs"]), len(found["runs"])] == [2, 2]
    assert found["runs"][0]["text"] == [records[3].prediction.text, records[1].prediction.text]
    assert found["rows"]["target"] == [records[3].target, records[1].target]
    words = records[5].sample_id
    assert client.get(f"/{TOKEN}/search/0", params={"words": words.upper()}).json() == [
        i for i, record in enumerate(records) if words in record.sample_id
    ]


def test_a_row_has_its_picture_and_the_clean_one(client: TestClient, runs: Runs) -> None:
    records = read_records(runs.base)
    place = next(i for i, r in enumerate(records) if r.cue and r.cue.attack == "caption")
    text = client.get(f"/{TOKEN}/pictures/0/{place}").text
    entries = json.loads(text.partition("\n")[0])
    own = {part.image for part in records[place].prompt if part.image}
    assert own < entries.keys() and len(entries) == 2


@pytest.mark.parametrize(
    "path",
    ["/", "/t0ken", f"/{TOKEN}x/", "/../etc/passwd", f"/{TOKEN}/../run.json", f"/{TOKEN}/%2e%2e/%2e%2e/etc/passwd",
     f"/{TOKEN}/rows/..%2f..%2frun.json", f"/{TOKEN}/pictures/0/..%2f..%2f..%2fetc%2fpasswd", f"/{TOKEN}/rows/9?at=0",
     f"/{TOKEN}/rows/0?at=999999", f"/{TOKEN}/rows/0?at=../0", f"/{TOKEN}/rows/0?at=-1", f"/{TOKEN}//etc/passwd",
     f"/{TOKEN}/rows/0?at={','.join(['0'] * (MOST_ROWS + 1))}", f"/{TOKEN}/search/0?words=",
     f"/{TOKEN}/pictures/0/٣", f"/{TOKEN}/records.jsonl", f"/{TOKEN}/rows/-1?at=0"],
)  # fmt: skip
def test_no_address_leads_out_of_the_rows(client: TestClient, path: str) -> None:
    answer = client.get(path, follow_redirects=False)
    # Without its last slash the page's own address is sent to the one with it.
    assert answer.status_code in (400, 404) or (path == "/t0ken" and answer.status_code == 307)
    assert "root:" not in answer.text and "run_id" not in answer.text


def test_only_reading_is_allowed_and_only_under_this_machines_name(client: TestClient) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert client.request(method, f"/{TOKEN}/").status_code == 405
    assert client.get(f"/{TOKEN}/", headers={"Host": "evil.example"}).status_code == 400
    assert client.get(f"/{TOKEN}/rows/0?at=0").headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.slow
def test_the_command_prints_an_address_of_this_machine_that_answers_raw_traversal_with_nothing(runs: Runs) -> None:
    words = command("view", runs.base, "--data", runs.table, "--port", 0)
    before = {path: path.stat().st_mtime_ns for path in runs.base.iterdir()}
    with subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
        try:
            address = process.stdout.readline().strip()
            place, _, path = address.removeprefix("http://").partition("/")
            assert place.startswith("127.0.0.1:")
            for asked, status in ((f"/{path}", 200), (f"/{path}../../../../etc/passwd", 404), ("/etc/passwd", 404)):
                with closing(http.client.HTTPConnection(place, timeout=30)) as connection:
                    connection.request("GET", asked)
                    answer = connection.getresponse()
                    assert answer.status == status and b"root:" not in answer.read()
        finally:
            process.terminate()
    assert {path: path.stat().st_mtime_ns for path in runs.base.iterdir()} == before
