"""`aloe-bench report`: what the file says and holds, read without a browser."""

import base64
import gzip
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aloe_bench import DataError, UsageError, compare, report
from aloe_bench.evaluation.runlog import read_records
from aloe_bench.heart.task import open_task
from aloe_bench.reporting.pictures import album, hashes
from aloe_bench.reporting.read import question_sets
from aloe_bench.reporting.sharing import may_share
from tests.reporting.conftest import Runs


def block(page: str, name: str) -> str:
    return re.search(rf'<script type="text/plain" id="{name}">(.*?)</script>', page, re.DOTALL)[1]


def data_of(page: str) -> dict:
    """Return what the page unpacks: its index, with the parts of rows and replies put in."""
    index, *parts = block(page, "data").split("\n")
    data = unpacked(index)
    for part in parts:
        number, first, text = part.split(" ")
        found, into = unpacked(text), data["sets"][int(number)]
        for columns, kept in zip([found["rows"], *found["runs"]], [into["rows"], *into["runs"]], strict=True):
            for name, column in columns.items():
                rows = column.items() if isinstance(column, dict) else enumerate(column)
                kept.setdefault(name, {}).update({int(first) + int(at): value for at, value in rows})
    for each in data["sets"]:
        for columns in (each["rows"], *each["runs"]):
            for name in ("prompt", "text", "parsed"):
                columns |= {name: [*columns[name].values()]} if name in columns else {}
    return data


def unpacked(text: str) -> dict:
    return json.loads(gzip.decompress(base64.b64decode(text)))


@pytest.fixture(scope="module")
def page(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> str:
    output = tmp_path_factory.mktemp("page") / "report.html"
    assert report([runs.base, runs.robust], output, data=[runs.table]) == [output]
    return output.read_text(encoding="utf-8")


def test_every_reply_of_both_runs_is_in_the_file(page: str, runs: Runs) -> None:
    (found,) = data_of(page)["sets"]
    for run, folder in zip(found["runs"], (runs.base, runs.robust), strict=True):
        records = read_records(folder)
        assert found["rows"]["id"] == [record.sample_id for record in records]
        assert run["text"] == [record.prediction.text for record in records]
        assert run["parsed"] == [record.score.parsed for record in records]


def test_outcomes_agree_with_targeted_success(page: str, runs: Runs) -> None:
    """`flipped` over the answers right at the baseline is the published measure, counted another way."""
    (found,) = data_of(page)["sets"]
    records = read_records(runs.base)
    right = {r.sample_id for r in records if r.cue is None and r.score.value == 1}
    of = [i for i, r in enumerate(records) if r.cue and r.cue.variant == "adversarial" and r.cue.base_id in right]
    flipped = sum(found["runs"][0]["change"][i] == "flipped" for i in of)
    assert flipped == sum(records[i].score.parsed == records[i].cue.suggests for i in of) > 0
    assert f"of {len(of)} answers that were right without a cue, a false cue turned {flipped} to the option" in page
    assert {"refused", "held"} <= set(found["runs"][1]["change"])


def test_paired_figure_holds_the_digits_of_compare(page: str, runs: Runs) -> None:
    for row in compare(runs.base, runs.robust)["rows"]:
        if row["row"] == "classification/caption":
            low, high = (100 * end for end in row["interval"])
            assert f"{100 * row['value']:.1f}" in page and f"{low:.1f} to {high:.1f}" in page
            return
    raise AssertionError("no such row")


def test_a_cue_stands_at_native_size_where_it_was_drawn(page: str, runs: Runs) -> None:
    """What the page composes over the thumbnail is the attacked picture wherever that differs from the clean one."""
    lines = block(page, "pictures").splitlines()
    entries, blobs = json.loads(lines[0]), lines[1:]
    samples = {sample.id: sample for sample in open_task(str(runs.table)).load(Path("."))}
    checked = 0
    for sample in samples.values():
        if sample.cue is None or sample.cue.attack not in ("caption", "legend"):
            continue
        clean = np.asarray(samples[sample.cue.base_id].images[0].open())
        shown = np.asarray(sample.images[0].open())
        entry = entries[sample.images[0].sha256]
        x, y, width, height = entry["at"]
        assert entry["size"] == [shown.shape[1], shown.shape[0]] and clean.shape[:2] == (height, width)
        left = np.ones(shown.shape[:2], dtype=bool)
        left[y : y + height, x : x + width] = (shown[y : y + height, x : x + width] != clean).any(axis=2)
        assert left.any()
        for px, py, w, h, blob in entry["pieces"]:
            piece = np.asarray(Image.open(io.BytesIO(base64.b64decode(blobs[blob]))).convert("RGB"), dtype=int)
            there = shown[py : py + h, px : px + w].astype(int)
            # Few levels of grey or colour: as it was to the eye.
            assert np.abs(piece - there).max() <= 64 and np.corrcoef(piece.ravel(), there.ravel())[0, 1] > 0.97
            left[py : py + h, px : px + w] = False
        assert not left.any()
        checked += 1
    assert checked > 20


@pytest.mark.slow
def test_same_runs_give_the_same_bytes(page: str, runs: Runs, tmp_path: Path) -> None:
    (again,) = report([runs.base, runs.robust], tmp_path / "report.html", data=[runs.table])
    assert again.read_text(encoding="utf-8") == page


def test_the_file_names_nothing_to_load(page: str) -> None:
    outside = page.replace(block(page, "data"), "").replace(block(page, "pictures"), "")
    addresses = set(re.findall(r'https?://[^"\s<)]+', outside))
    namespaces = ("http://www.w3.org/", "https://www.w3.org/", "http://purl.org/", "http://creativecommons.org/ns#")
    assert {address for address in addresses if not address.startswith(namespaces)} <= {"https://matplotlib.org/"}
    assert "default-src &#39;none&#39;" in page and "src=" not in re.sub(
        r"<script.*?</script>", "", page, flags=re.DOTALL
    )


def test_pictures_that_may_not_be_shared_stay_beside_the_file(runs: Runs, tmp_path: Path) -> None:
    kept = tmp_path / "run"
    shutil.copytree(runs.base, kept)
    header = json.loads((kept / "run.json").read_text())
    header["task"]["licence"] = "gated, by source; no redistribution"
    (kept / "run.json").write_text(json.dumps(header))
    with pytest.raises(UsageError, match=r"--share: the pictures of heart-miniature-xray .gated.*--pictures 0"):
        report(kept, tmp_path / "a.html", data=[runs.table], share=True)
    written = report(kept, tmp_path / "b.html", data=[runs.table])
    assert [path.name for path in written] == ["b.html", "b.pictures.txt"]
    assert block(written[0].read_text(), "pictures") == "{}" and len(written[1].read_text()) > 10_000


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("prompt_sha256",), "0" * 64, "prompt_sha256"), (("parser",), "vlmeval", "parser"),
        (("model", "profile"), {"max_pixels": 1}, "max_pixels"),
    ],
)  # fmt: skip
def test_a_run_asked_otherwise_than_the_one_beside_it_is_marked_wherever_it_is_named(
    runs: Runs, tmp_path: Path, place: tuple[str, ...], value: object, said: str
) -> None:
    other = tmp_path / "other"
    shutil.copytree(runs.base, other)
    header = json.loads((other / "run.json").read_text())
    part = header
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    header["run_id"] = "other"
    (other / "run.json").write_text(json.dumps(header))
    ((first, second),) = [each.runs for each in question_sets([runs.base, other])]
    assert "‡" not in first.name + first.label and second.name.endswith("‡") and second.label.endswith("‡")
    assert any(said in name for name in second.otherwise)


def test_share_asks_every_run_of_a_task_for_its_licence(runs: Runs, tmp_path: Path) -> None:
    kept = tmp_path / "run"
    shutil.copytree(runs.robust, kept)
    header = json.loads((kept / "run.json").read_text())
    header["task"]["facts"] = (header["task"].get("facts") or {}) | {"pictures": "keep"}
    (kept / "run.json").write_text(json.dumps(header))
    with pytest.raises(UsageError, match=r"--share: the pictures of heart-miniature-xray"):
        report([runs.base, kept], tmp_path / "a.html", data=[runs.table], share=True)


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [("CC0-1.0", True), ("cc-by-4.0", True), ("CC BY 4.0", True), ("CC BY-NC-SA 4.0", True), ("Apache-2.0", True),
     ("MIT", True), ("", False), ("CC BY-ND 4.0", False), ("by source; none on its card", False),
     ("MIT on its card; images of MedICaT and ChestX-ray14", False), ("unknown", False), ("proprietary", False)],
)  # fmt: skip
def test_a_licence_decides_unless_the_task_says_so_itself(licence: str, allowed: bool) -> None:
    assert may_share({"licence": licence}) is allowed
    assert may_share({"licence": licence, "facts": {"pictures": "share"}})
    assert not may_share({"licence": licence, "facts": {"pictures": "keep"}})


@pytest.mark.slow
def test_a_file_too_large_is_refused_and_not_written(runs: Runs, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"would be 0\.\d MB, more than --max-mb 0\.05.*`aloe-bench view RUN"):
        report(runs.base, tmp_path / "report.html", data=[runs.table], max_mb=0.05)
    assert not (tmp_path / "report.html").exists()


def test_items_beyond_the_limit_are_counted_and_chosen_by_id(runs: Runs) -> None:
    records = read_records(runs.base)
    found = {s.images[0].sha256: s.images[0] for s in open_task(str(runs.table)).load(Path("."))}
    made = album(records, found, most_items=3, budget_chars=10**6)
    assert (made.n_items, made.n_left_out) == (3, 5)
    plain = {record.sample_id: hashes(record) for record in records if record.cue is None}
    assert sum(set(pictures) <= made.entries.keys() for pictures in plain.values()) == 3
    assert album(records[::-1], found, most_items=3, budget_chars=10**6).entries.keys() == made.entries.keys()


def test_a_small_budget_makes_smaller_thumbnails_and_leaves_cues_at_native_size(runs: Runs) -> None:
    records = read_records(runs.base)
    found = {s.images[0].sha256: s.images[0] for s in open_task(str(runs.table)).load(Path("."))}
    large, small = (album(records, found, most_items=8, budget_chars=size) for size in (10**6, 50_000))
    assert small.side_px <= large.side_px and small.n_items >= 1
    some = next(iter(small.entries))
    assert [piece[:4] for piece in small.entries[some]["pieces"]] == [p[:4] for p in large.entries[some]["pieces"]]


def test_hostile_names_stay_text_and_runs_asked_otherwise_are_marked(runs: Runs, tmp_path: Path) -> None:
    hostile = "</script><script>alert(1)</script>\"'<img src=x onerror=alert(1)>$\\frac{}$\x00\u202e"
    other = tmp_path / "other"
    shutil.copytree(runs.robust, other)
    header = json.loads((other / "run.json").read_text())
    header["model"]["name"] = hostile
    header["decoding"]["max_new_tokens"] = 8
    header["task"]["licence"] = "gated"
    (other / "run.json").write_text(json.dumps(header))
    (written,) = report([other, runs.base], tmp_path / "report.html", share=True, pictures=0)
    text = written.read_text()
    assert "<script>alert" not in text and "<img src=x" not in text
    assert "\0" not in text and "\u202e" not in text
    assert "the runs differ in decoding" in text
    assert "base (miniature, random or mock) ‡: not as" in text and "in decoding." in text
    (found,) = data_of(text)["sets"]
    assert [run["label"].endswith("‡") for run in found["runs"]] == [False, True]
    assert block(text, "pictures") == "{}"


def test_an_unfinished_run_is_refused(runs: Runs, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(runs.base, broken)
    lines = (broken / "records.jsonl").read_text().splitlines(keepends=True)
    (broken / "records.jsonl").write_text("".join(lines[:-3]))
    with pytest.raises(DataError, match=r"Resume the run, then report"):
        report(broken, tmp_path / "report.html")


def test_the_command_says_what_it_wrote_and_what_it_did_not_find(runs: Runs, quick, tmp_path: Path) -> None:
    done = quick("report", runs.base, "--data", tmp_path / "nowhere", "--output", tmp_path / "r.html", "--workers", 1)
    assert done.returncode == 0 and re.search(r"r\.html: \d\.\d MB", done.stdout), done.stderr
    text = (tmp_path / "r.html").read_text()
    assert re.search(r"heart-miniature-xray: (\d+) of \1 pictures were not found", text)
    assert str(tmp_path) not in text
