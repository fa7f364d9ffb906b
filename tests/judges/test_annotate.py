"""The annotation server over real HTTP, and what it leaves on disk."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from aloe_bench.evaluation.runlog import read_records
from tests.support.annotate_server import ENVIRONMENT, MINI, Served, command, make_run, request, served

pytest.importorskip("uvicorn", reason="install the extra annotate")

LABELS = ("correct", "partially correct", "incorrect", "ambiguous")


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("annotate"), "accuracy=0.5,failure=0.1")


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def annotate(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command("annotate", *words), env=ENVIRONMENT, capture_output=True, text=True, timeout=60)


def exported(run: Path) -> list[dict[str, str]]:
    done = annotate(run, "--export", "-")
    assert done.returncode == 0, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout, newline="")))


def lists(server: Served, rater: str) -> list[str]:
    """Return the ids on a rater's list, in order."""
    total = server.get(rater, "api/state").json["total"]
    return [server.get(rater, f"api/state?position={i}").json["item"]["id"] for i in range(1, total + 1)]


# What is served


def test_an_expert_sees_question_answers_and_image_but_no_model_and_no_verdict(run: Path):
    records = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    failed = [r for r in records if r["prediction"]["finish"] == "error"]
    assert failed
    rows = {f"careqa_vision/{r['unique_id']}": r for r in json.loads((MINI / "CareQA-Vis_open.json").read_text())}
    answers = {r["sample_id"]: r["prediction"]["text"] for r in records}
    for record in records:
        record["score"]["verdicts"] = [
            {"sample_id": record["sample_id"], "judge": "judge-x", "grade": 0.5, "reply": "VERDICT"}
        ]
    (run / "records.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))

    with served(run, "--raters", "a,b") as server:
        seen = {}
        for position in range(1, len(records) - len(failed) + 1):
            reply = server.get("a", f"api/state?position={position}")
            assert not any(word in reply.body for word in (b"secret-model", b"judge-x", b"VERDICT", b"0.5"))
            item = reply.json["item"]
            assert set(item) == {"id", "question", "reference", "answer", "images"}
            seen[item["id"]] = item
            picture = server.get("a", item["images"][0]["page"])
            image = Image.open(io.BytesIO(picture.body))
            assert image.format == "PNG" and image.size == (item["images"][0]["width"], item["images"][0]["height"])
        assert b"secret-model" not in server.get("a").body

    assert set(seen) == set(answers) - {r["sample_id"] for r in failed}
    for id_, item in seen.items():
        row = rows[id_]
        assert (item["question"], item["reference"], item["answer"]) == (row["question"], row["answer"], answers[id_])


def test_an_expert_reads_what_the_judges_read_without_reasoning_and_no_empty_cut_or_filtered_reply(run: Path):
    records = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    answered = [record for record in records if record["prediction"]["finish"] != "error"]
    replies = ("<think>The liver?</think>\n The spleen. ", "  ", "<think>no end")
    for record, text in zip(answered, replies, strict=False):
        record["prediction"]["text"] = text
    answered[3]["prediction"] |= {"text": "The picture shows that the", "finish": "length"}
    answered[4]["prediction"] |= {"text": "I am", "finish_reason": "content_filter"}
    (run / "records.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))

    with served(run, "--raters", "a,b", "--per-item", 2) as server:
        total = server.get("a", "api/state").json["total"]
        shown = [server.get("a", f"api/state?position={n}").json["item"] for n in range(1, total + 1)]

    assert {item["id"] for item in shown} == {r["sample_id"] for r in (answered[0], *answered[5:])}
    assert [item["answer"] for item in shown if item["id"] == answered[0]["sample_id"]] == ["The spleen."]


def test_pages_carry_strict_headers_and_name_nothing_on_other_hosts(run: Path):
    with served(run, "--raters", "<b onload=x>,=Bo&\"'") as server:
        link = server.links["<b onload=x>"]
        static = link.rsplit("/r/", 1)[0] + "/static/page.js"
        for url in (link, link + "api/state", static, link + "image/none/page.png", link + "nowhere", link[:-4]):
            reply = request("GET", url)
            policy = reply.headers["content-security-policy"]
            assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
            assert reply.headers["x-content-type-options"] == "nosniff"
            assert reply.headers["referrer-policy"] == "no-referrer"
            assert "server" not in reply.headers and "set-cookie" not in reply.headers
        page = server.get("<b onload=x>")
        assert page.headers["cache-control"] == "no-store"
        assert b"&lt;b onload=x&gt;" in page.body and b"<b onload" not in page.body
        assert b"http://" not in page.body and b"https://" not in page.body and b" style=" not in page.body


def test_a_wrong_link_is_not_found_and_nobody_sees_the_list_of_another(run: Path):
    with served(run, "--raters", "a,b,c", "--per-item", 1) as server:
        base, token = server.links["a"].rsplit("/r/", 1)
        assert len(token) > 30
        for wrong in ("x", token[:-2] + "A/", token.upper(), "%00/", "é/".encode().hex(), "%F0%9F%92%A9/", "../r/"):
            reply = request("GET", f"{base}/r/{wrong}")
            assert reply.status in (404, 308), wrong
            assert request("GET", f"{base}/r/{wrong.rstrip('/')}/api/state").status == 404
        for path in ("/", "/r/", "/static/", "/static/../app.py", "/static/%2e%2e/store.py", "/annotations.sqlite"):
            assert request("GET", base + path).status == 404, path
        mine, theirs = lists(server, "a"), lists(server, "b")
        assert not set(mine) & set(theirs)
        assert server.post("a", "api/rate", {"item": theirs[0], "label": "correct"}).status == 404
        images = server.get("b", "api/state").json["item"]["images"]
        shared = {i["page"] for n in range(len(mine)) for i in _images(server, "a", n + 1)}
        if images[0]["page"] not in shared:
            assert server.get("a", images[0]["page"]).status == 404
    assert exported(run) == []


def _images(server: Served, rater: str, position: int) -> list[dict[str, str]]:
    found: list[dict[str, str]] = server.get(rater, f"api/state?position={position}").json["item"]["images"]
    return found


def test_only_json_from_the_page_itself_is_taken(run: Path):
    with served(run, "--raters", "a,b") as server:
        item = server.get("a", "api/state").json["item"]["id"]
        good = json.dumps({"item": item, "label": "correct", "comment": ""}).encode()
        json_type = {"Content-Type": "application/json"}

        def status(body: bytes, headers: dict[str, str], path: str = "api/rate") -> int:
            return server.send("POST", "a", path, body, headers).status

        assert status(good, {"Content-Type": "text/plain"}) == 415
        assert status(good, {"Content-Type": "application/x-www-form-urlencoded"}) == 415
        assert status(good, {}) == 415
        assert status(good, {**json_type, "Sec-Fetch-Site": "cross-site"}) == 403
        assert status(b" " * 70000, json_type) == 413
        for bad in (b"", b"{", b"[]", b"[" * 50000, b"\xff", b"null", b'{"item": 3, "label": "correct"}', b"{}"):
            assert status(bad, json_type) == 400, bad
        for label in ("Correct", "maybe", "", 1, None, ["correct"], {"a": 1}):
            assert server.post("a", "api/rate", {"item": item, "label": label}).status == 400
        assert server.post("a", "api/rate", {"item": item, "label": "correct", "comment": "x" * 4001}).status == 400
        assert server.post("a", "api/rate", {"item": "nothing\ud800", "label": "correct"}).status == 404
        for event in (0, -1, True, "1", None, 2**70):
            assert server.post("a", "api/undo", {"event": event}).status == 400
        assert server.post("a", "api/undo", {"event": 1}).status == 404
        for position in ("0", "-1", "99", "x", "1e3", "9" * 5000, "²"):
            assert (
                server.get("a", f"api/state?position={position.encode().hex() if position == '²' else position}").status
                == 404
            )
        assert server.get("a", "api/rate").status == 405
        assert exported(run) == []
        assert status(good, {**json_type, "Sec-Fetch-Site": "same-origin"}) == 200
        assert len(exported(run)) == 1


def test_the_same_rating_twice_counts_once_and_skips_nothing(run: Path):
    with served(run, "--raters", "a,b") as server:
        order = lists(server, "a")
        body = {"item": order[0], "label": "correct", "comment": "sure"}

        first, second = (server.post("a", "api/rate", body).json for _ in range(2))

        assert first == second
        assert first["done"] == 1 and first["item"]["id"] == order[1]
        changed = server.post("a", "api/rate", {**body, "label": "incorrect"}).json
        assert changed["done"] == 1
        assert changed["item"]["id"] == order[1]
        # Undoing the change brings the first rating back, undoing that leaves none; again does nothing more.
        undone = server.post("a", "api/undo", {"event": changed["last_event"]}).json
        assert (undone["item"]["id"], undone["label"], undone["comment"]) == (order[0], "correct", "sure")
        assert server.post("a", "api/undo", {"event": changed["last_event"]}).json == undone
        assert server.post("a", "api/undo", {"event": undone["last_event"]}).json["done"] == 0
        assert server.post("b", "api/undo", {"event": changed["last_event"]}).status == 404


def test_ratings_and_links_outlive_a_kill_and_the_list_goes_on_where_it_stopped(run: Path):
    with served(run, "--raters", "Ana,Bo,Cy") as server:
        links, order = server.links, lists(server, "Ana")
        server.rate("Ana", "correct")
        server.rate("Ana", "partially correct", 'says "half",\nnot all')
        server.process.kill()
        server.process.wait()
    assert stat.S_IMODE(os.stat(run / "annotations.sqlite").st_mode) == 0o600

    with served(run) as server:
        assert {name: url.rsplit("/r/")[1] for name, url in server.links.items()} == {
            name: url.rsplit("/r/")[1] for name, url in links.items()
        }
        assert lists(server, "Ana") == order
        state = server.get("Ana", "api/state").json
        assert state["done"] == 2 and state["item"]["id"] == order[2]

    rows = exported(run)
    assert sorted((r["item_id"], r["rater"], r["label"], r["comment"]) for r in rows) == sorted(
        [(order[0], "Ana", "correct", ""), (order[1], "Ana", "partially correct", 'says "half",\nnot all')]
    )


def test_a_whole_study_ends_in_a_file_that_agreement_reads(run: Path, tmp_path: Path):
    raters = ("a", "b", "c", "d")
    expected = {}
    with served(run, "--raters", ",".join(raters), "--per-item", 3) as server:
        for rater in raters:
            state = server.get(rater, "api/state").json
            while state["item"]:
                item = state["item"]["id"]
                expected[item, rater] = LABELS[int(item[-1], 16) % 3]
                state = server.rate(rater, expected[item, rater])
            assert state["done"] == state["total"] == state["position"] - 1
    file = tmp_path / "out" / "labels.csv"
    done = annotate(run, "--export", file)
    assert done.returncode == 0 and f"{len(expected)} ratings of 9 items by 4 raters" in done.stdout
    rows = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"), newline="")))
    assert {(r["item_id"], r["rater"]): r["label"] for r in rows} == expected
    answers = {r.sample_id: r.prediction.text for r in read_records(run)}
    assert {r["answer_sha256"] for r in rows if r["item_id"] == rows[0]["item_id"]} == {
        "sha256:" + hashlib.sha256(str(answers[rows[0]["item_id"]]).encode()).hexdigest()[:16]
    }

    result = subprocess.run(
        command("agreement", "--annotations", file, "--json"), env=ENVIRONMENT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "1.0" in result.stdout


def test_what_looks_like_a_formula_is_inert_in_the_export(run: Path):
    hostile = ["=1+1", "+1", "-1", "@x", "  =cmd|' /C calc'!A0", "＝1", 'a"b,=1', "\x00\x07bell\ud800"]
    with served(run, "--raters", "=a,b") as server:
        for comment in hostile:
            server.rate("=a", "ambiguous", comment)
    rows = exported(run)
    assert {row["rater"] for row in rows} == {"'=a"}
    comments = {row["comment"] for row in rows}
    assert comments == {"'=1+1", "'+1", "'-1", "'@x", "'=cmd|' /C calc'!A0", "'＝1", 'a"b,=1', "bell?"}


def test_many_requests_at_once_lose_nothing(run: Path):
    from concurrent.futures import ThreadPoolExecutor

    with served(run, "--raters", "a,b", "--per-item", 2) as server:
        wanted = {r: {item: LABELS[i % 4] for i, item in enumerate(lists(server, r))} for r in ("a", "b")}
        posts = [(r, {"item": i, "label": label}) for r, m in wanted.items() for i, label in m.items()] * 3
        with ThreadPoolExecutor(12) as pool:
            replies = list(pool.map(lambda post: server.post(post[0], "api/rate", post[1]).status, posts))
        assert set(replies) == {200}
    assert {(r["rater"], r["item_id"]): r["label"] for r in exported(run)} == {
        (rater, item): label for rater, m in wanted.items() for item, label in m.items()
    }


# What is refused


def test_a_file_of_ratings_is_never_mixed_with_another_run_data_or_answer(run: Path, tmp_path: Path):
    with served(run, "--raters", "a,b") as server:
        rated = server.get("a", "api/state").json["item"]["id"]
        server.rate("a", "correct")

    changed = Path(shutil.copytree(run, tmp_path / "changed"))
    lines = [json.loads(line) for line in (changed / "records.jsonl").read_text().splitlines()]
    for line in lines:
        if line["sample_id"] == rated:
            line["prediction"]["text"] = "something else"
    (changed / "records.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = annotate(changed, "--data-root", MINI)
    assert done.returncode == 3 and rated in done.stderr and "something else" in done.stderr

    header = json.loads((run / "run.json").read_text())
    (changed / "run.json").write_text(json.dumps({**header, "run_id": "another"}))
    for words in (("--data-root", MINI), ("--export", "-")):
        done = annotate(changed, *words)
        assert done.returncode == 3 and "another" in done.stderr and not done.stdout

    data = Path(shutil.copytree(MINI, tmp_path / "data"))
    text = (data / "CareQA-Vis_open.json").read_text()
    (data / "CareQA-Vis_open.json").write_text(text.replace("The retina", "A retina"))
    done = annotate(run, "--data-root", data)
    assert done.returncode == 3 and "data_sha256" in done.stderr and "--data-root" in done.stderr


def test_mistakes_end_in_one_line(run: Path, tmp_path: Path):
    cases: list[tuple[tuple[object, ...], int, str]] = [
        ((tmp_path / "none", "--data-root", MINI), 3, "run.json"),
        ((run, "--data-root", tmp_path), 3, "CareQA-Vis_open.json"),
        ((run, "--data-root", MINI, "--per-item", "4-2"), 2, "2-4"),
        ((run, "--data-root", MINI, "--per-item", "x"), 2, "2-4"),
        ((run, "--data-root", MINI, "--raters", "a,a"), 2, "twice"),
        ((run, "--data-root", MINI, "--raters", "a", "--per-item", "2"), 2, "2 raters"),
        ((run, "--data-root", MINI, "--raters", "a\x07"), 2, "printable"),
        ((run, "--data-root", MINI, "--host", "192.0.2.1"), 2, "--host"),
        ((tmp_path, "--export", "-"), 3, "run.json"),
    ]
    for words, code, said in cases:
        done = annotate(*words)
        assert done.returncode == code and said in done.stderr and "Traceback" not in done.stderr, done.stderr
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = annotate(run, "--data-root", MINI, "--port", taken.getsockname()[1])
        assert done.returncode == 2 and "--port" in done.stderr


def test_a_damaged_or_newer_ratings_file_is_named(run: Path):
    file = run / "annotations.sqlite"
    for spoil in (_as_text, _as_newer):
        for leftover in run.glob("annotations.sqlite*"):
            leftover.unlink()
        spoil(file)
        before = file.read_bytes()
        done = annotate(run, "--data-root", MINI)
        assert done.returncode == 3 and "annotations.sqlite" in done.stderr and "Traceback" not in done.stderr
        assert file.read_bytes() == before


def _as_text(file: Path) -> None:
    file.write_text("not a database " * 500)


def _as_newer(file: Path) -> None:
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def test_a_missing_extra_is_named(run: Path):
    hide = "import sys; sys.modules[{!r}] = None; from aloe_bench.cli.main import main; sys.argv[1:] = {!r}; main()"
    for package in ("starlette", "uvicorn"):
        code = hide.format(package, ["annotate", str(run), "--data-root", str(MINI)])
        done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True)
        assert done.returncode == 3 and package in done.stderr and "aloe-bench[annotate]" in done.stderr


def test_a_rater_who_comes_later_gets_a_link_and_work(run: Path):
    with served(run, "--raters", "a,b", "--per-item", 2) as server:
        links = server.links
    full = annotate(run, "--data-root", MINI, "--raters", "c", "--per-item", 2)
    assert full.returncode == 3 and "--per-item 3" in full.stderr
    with served(run, "--raters", "c", "--per-item", 3) as server:
        assert set(server.links) == {"a", "b", "c"}
        assert server.links["a"].rsplit("/")[-2] == links["a"].rsplit("/")[-2]
        assert len(lists(server, "c")) == 9


def test_it_listens_on_loopback_and_warns_when_told_otherwise(run: Path, tmp_path: Path):
    with served(run, "--raters", "a,b") as server:
        assert server.links["a"].startswith("http://127.0.0.1:")
    words = command("annotate", run, "--data-root", MINI, "--port", 0, "--host", "0.0.0.0")
    process = subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr and any("not encrypted" in process.stderr.readline() for _ in range(2))
    finally:
        process.kill()
        process.communicate()


def test_started_again_without_options_it_gives_nobody_more_to_do(run: Path):
    def totals(server: Served) -> list[int]:
        return [server.get(rater, "api/state").json["total"] for rater in ("a", "b", "c")]

    with served(run, "--raters", "a,b,c", "--per-item", 1) as server:
        first = totals(server)
    with served(run) as server:
        assert totals(server) == first and sum(first) == 9
    with served(run, "--per-item", 2) as server:
        assert sum(totals(server)) == 18
