"""Tags as a model writes them: read strictly, asked for again once, never guessed; scores set the limit of a source."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from aloe_bench.core import Decoding, Prediction, Request
from aloe_bench.mixture.pool import Pool
from aloe_bench.mixture.tags import prompt, read_tags, tag
from tests.conftest import Run
from tests.mixture import sources
from tests.mixture.test_sources import pool_of

GOOD = "MOD[X-ray] MED[Orthopedics, Surgery] ST[Abnormality Detection] SBP[Bones]\nGBP[Upper\nlimbs] SQ[4]"


def test_the_papers_example_and_what_models_make_of_it_are_read() -> None:
    found = read_tags(GOOD)
    assert found and found.score == 4
    assert found.tags["MED"] == ("Orthopedics", "Surgery") and found.tags["GBP"] == ("Upper limbs",)
    alias = read_tags(
        f"<think>MOD[CT] maybe</think>Sure: {GOOD.replace('Orthopedics, Surgery', 'obstetrics & gynecology')}"
    )
    assert alias and alias.tags["MED"] == ("Obstetrics & Gyn.",) and not alias.unknown
    odd = read_tags(GOOD.replace("Bones", "Bones, Wing"))
    assert odd and odd.tags["SBP"] == ("Bones", "Other") and odd.unknown == ("Wing",)
    assert read_tags(f"{GOOD}\n{GOOD}") == found  # said twice, but the same


@pytest.mark.parametrize(
    "reply",
    [
        "", "I cannot say.",
        GOOD.replace("SQ[4]", ""), GOOD.replace("SQ[4]", "SQ[6]"), GOOD.replace("SQ[4]", "SQ[4/5]"),
        GOOD.replace("SQ[4]", "SQ[1-5]"), GOOD.replace("MOD[X-ray]", "MOD[]"), f"{GOOD} SQ[2]", GOOD.replace("[", "("),
    ],
)  # fmt: skip
def test_what_is_not_in_the_format_is_unread(reply: str) -> None:
    assert read_tags(reply) is None


def test_the_prompt_names_every_tag_of_the_vocabulary() -> None:
    assert all(word in prompt() for word in ("Dermatoscopy", "Obstetrics & Gyn.", "Severity Est.", "Upper limbs", "SQ"))


class Tagger:
    """A model that answers by the sample's number: 1 badly at first, 2 never readably, 3 with an error, others well."""

    name = "tagger"
    fingerprint = "0"

    def __init__(self, stop_after: int | None = None) -> None:
        self.asked: list[Request] = []
        self.stop_after = stop_after

    def describe(self) -> Mapping[str, object]:
        return {"name": self.name}

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Prediction]:
        if self.stop_after is not None and len(self.asked) >= self.stop_after:
            raise KeyboardInterrupt
        for request in requests:
            self.asked.append(request)
            number = request.id.removeprefix("llava/l")
            if number == "4":
                yield Prediction(request.id, None, "error", error="overloaded")
                continue
            first = len(request.messages) == 2
            bad = number == "2" or (number == "1" and first)
            score = 1 + int(number) % 5
            yield Prediction(request.id, "No idea." if bad else GOOD.replace("SQ[4]", f"SQ[{score}]"), "stop")


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    return pool_of(tmp_path, sources.llava(tmp_path))


def test_every_sample_is_tagged_or_counted_and_nothing_is_asked_twice(pool: Pool, quick: Run) -> None:
    model = Tagger()
    report = tag(pool, model)

    assert (report["tagged"], report["untagged"], report["failed"]) == (9, 1, 1)
    rows = {row["id"]: row for row in pool.table("tag").to_pylist()}
    assert rows["llava/l1"]["score"] == 2 and rows["llava/l2"]["score"] is None is rows["llava/l4"]["score"]
    tags = json.loads(rows["llava/l0"]["tags"])
    assert tags["modality"] == "X-ray" and tags["modality (source)"] == "CT" and tags["specialty also"] == "Surgery"
    assert all(len(request.images) == 1 for request in model.asked)
    second = next(r for r in model.asked if r.id == "llava/l1" and len(r.messages) > 2)
    assert second.messages[2].text == "No idea." and "six brackets" in second.messages[3].text
    assert sum(r.id == "llava/l2" for r in model.asked) == 2

    again = Tagger()
    assert tag(pool, again) == report and {r.id for r in again.asked} == {"llava/l4"}  # what failed, and nothing else

    assert quick("data", "filter", pool.folder, "--min-score", "llava=3", "--sheet").returncode == 0
    assert (pool.folder / "filter.html").read_text().count("<figure>") > 5
    done = quick("data", "filter", pool.folder, "--min-score", "llava=3")
    low = [row for row in rows.values() if row["score"] is not None and row["score"] < 3]
    assert f"llava: 11 - {len(low)} low score = {11 - len(low)}" in done.stdout
    assert "2 samples have no score and were kept" in done.stdout
    assert quick("data", "filter", pool.folder, "--min-score", "lava=3").returncode == 2
    assert quick("data", "filter", pool.folder, "--min-score", "llava=0").returncode == 2


def test_an_interrupted_run_keeps_its_replies(pool: Pool) -> None:
    first = Tagger(stop_after=8)
    with pytest.raises(KeyboardInterrupt):
        tag(pool, first, chunk=4)
    second = Tagger()
    report = tag(pool, second, chunk=4)
    assert report["tagged"] == 9
    read = {r.id for r in first.asked} - {"llava/l1", "llava/l2", "llava/l4"}
    assert len(first.asked) == 8 and not read & {r.id for r in second.asked}
