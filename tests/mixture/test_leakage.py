"""Pictures and questions of evaluation sets in a pool are found, and the stated share of true hits is the true one."""

from __future__ import annotations

import csv
import io
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from aloe_bench.images import open_image
from aloe_bench.mixture.evaluation import HeldText, evaluation_set
from aloe_bench.mixture.leakage import LeakageSearch, leakage
from aloe_bench.mixture.pool import Pool
from aloe_bench.mixture.textual import TextIndex
from aloe_bench.mixture.verify import SAME, KnownPatients, decoy_precision, likeness, precision
from tests.conftest import Run
from tests.mixture import sources
from tests.mixture.test_sources import REAL, pool_of, real_files


def resaved(path: Path, target: Path, quality: int = 60) -> None:
    image = open_image(path)
    image.resize((image.width * 3 // 4, image.height * 3 // 4)).save(target, quality=quality)


@pytest.fixture
def pool(tmp_path: Path) -> Pool:
    """A pool of 11 samples over the shared pictures, and three that show a black picture."""
    mapping = sources.llava(tmp_path)
    rows = json.loads((mapping.parent / "llava.json").read_text())
    for i, side in enumerate((64, 64, 90)):
        Image.new("L", (side, side)).save(mapping.parent / "pictures" / f"black{i}.png")
        rows.append({**rows[0], "id": f"black{i}", "image": f"black{i}.png"})
    (mapping.parent / "llava.json").write_text(json.dumps(rows))
    return pool_of(tmp_path, mapping)


def test_copies_are_found_and_blank_pictures_only_by_their_pixels(pool: Pool, tmp_path: Path) -> None:
    held = tmp_path / "held"
    held.mkdir()
    resaved(sources.PICTURES / sources.NAMES[0], held / "copy.jpg")
    Image.new("L", (64, 64)).save(held / "black.png")

    found = leakage(pool, [evaluation_set(str(held), tmp_path)], LeakageSearch(radius=2))

    rows = {row["id"]: row for row in pool.table("leakage").to_pylist()}
    gone = {name for name, row in rows.items() if row["reason"] == "leaked picture"}
    shown = f"images/llava/pictures/{sources.NAMES[0]}"
    copies = {name for name, row in rows.items() if shown in row["pictures"] and row["reason"] != "malformed row"}
    assert gone == copies | {"llava/black0", "llava/black1"} and copies
    assert "copy.jpg of held" in rows[min(copies)]["detail"]
    counts = found["pictures"]["held"]
    assert counts["degenerate"] == 1 and counts["degenerate with equal pixels"] == 2
    assert counts["training at 2"] == counts["training at 4"] == 1 and counts["evaluation at 2"] == 1
    pairs = list(csv.DictReader((pool.folder / "leakage" / "pairs.csv").read_text().splitlines()))
    assert all(float(row["likeness"]) > SAME for row in pairs if row["picture"] == "copy.jpg")
    page = (pool.folder / "leakage" / "sheet.html").read_text()
    assert page.count("<figure>") == 3 and "http" not in page


def test_a_mirrored_picture_is_found_on_request(pool: Pool, tmp_path: Path) -> None:
    held = tmp_path / "held"
    held.mkdir()
    open_image(sources.PICTURES / sources.NAMES[1]).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(held / "m.png")
    plain = leakage(pool, [evaluation_set(str(held), tmp_path)], LeakageSearch())
    assert plain["counts"]["dropped"]["leaked picture"] == 0
    found = leakage(pool, [evaluation_set(str(held), tmp_path, ["mirror", "crop"])], LeakageSearch())
    assert found["counts"]["dropped"]["leaked picture"] > 0
    assert ",mirror," in (pool.folder / "leakage" / "hits.csv").read_text()


def test_all_planted_copies_of_questions_are_found_and_nothing_else() -> None:
    rng = random.Random(0)
    words = [f"word{i}" for i in range(400)]

    def question() -> str:
        return " ".join(rng.choices(words, k=rng.randint(3, 40)))

    held = [HeldText(f"q{i}", question(), f"answer {i}", False) for i in range(300)]
    index = TextIndex(held)
    for i, each in enumerate(held):
        long = each.question.split()
        assert [(h.held, h.copy) for h in index.hits("s", [(each.question.upper() + "?", "No.")])] == [(i, "question")]
        assert next(index.hits("s", [(each.question, each.answer)])).copy == "question and answer"
        if len(long) >= 24:  # two words changed leave more than half of the runs
            long[0], long[-1] = "other", "words"
            inside = f"{question()} {' '.join(long)}"
            assert i in [h.held for h in index.hits("s", [("Tell me.", inside)])]
    assert not [h for _ in range(300) for h in index.hits("s", [(question(), question())])]


def test_a_repeated_question_drops_a_sample_only_if_asked(pool: Pool, tmp_path: Path, quick: Run) -> None:
    mapping = sources.llava(tmp_path / "held", n=2)
    pool_of(tmp_path / "held", mapping)
    command = ("data", "leakage", pool.folder, "--against", tmp_path / "held" / "pool", "--json")
    found = json.loads(quick(*command).stdout)
    assert found["texts"]["pool"]["question and answer"] == {"samples": 5, "questions": 2}
    assert found["counts"]["dropped"]["leaked text"] == 0
    # Pictures come first: a sample has one reason, so those dropped for their picture are not counted again.
    found = json.loads(quick(*command, "--drop-text", "both").stdout)
    assert found["counts"]["dropped"]["leaked picture"] >= 2
    total = sum(found["counts"]["dropped"].values())
    assert found["counts"]["before"] - total == found["counts"]["after"]


def test_an_unknown_evaluation_set_is_a_usage_error(pool: Pool, quick: Run) -> None:
    done = quick("data", "leakage", pool.folder, "--against", "slak")
    assert done.returncode == 2 and "Did you mean slake?" in done.stderr


LABELS = ("a", "b", "c", "d")


WEIGHTS = {str(v): np.roll([0.7, 0.1, 0.1, 0.1], v % 4) for v in range(10)}


def known(rng: Any) -> list[tuple[str, str, str]]:
    """Return 2,000 pictures of known patients, two each; in each of 10 views one label has .7 and three have .1."""
    drawn = {view: rng.choice(4, 200, p=weights) for view, weights in WEIGHTS.items()}
    return [(v, LABELS[label], f"{v}/{k // 2}") for v, labels in drawn.items() for k, label in enumerate(labels)]


def planted(rng: Any, held: list[tuple[str, str, str]], share: float, n: int = 300) -> tuple[list[bool], list[Any]]:
    """Return of `n` hits, `share` of them true, whether labels agree, and the chance that false ones would."""
    patients = KnownPatients.of(held)
    other = {view: iter(rng.choice(4, n, p=weights)) for view, weights in WEIGHTS.items()}
    agrees, chance = [], []
    for i, (view, label, patient) in enumerate(held[k] for k in rng.integers(0, len(held), n)):
        agrees.append(i < round(share * n) or LABELS[next(other[view])] == label)
        chance.append(patients.chance(view, label, patient))
    return agrees, chance


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_precision_from_labels_is_unbiased_where_plain_agreement_is_far_off(share: float) -> None:
    rng = np.random.default_rng(int(10 * share))
    held = known(rng)
    found, plain, covered = [], [], 0
    for _ in range(40):
        agrees, chance = planted(rng, held, share)
        estimate = precision(4, "labels", agrees, chance)
        found.append(estimate.value)
        plain.append(sum(agrees) / len(agrees))
        covered += estimate.low <= share <= estimate.high
    assert abs(np.mean(found) - share) < 0.02
    assert np.std(found) < 0.05
    assert np.mean(plain) - share > 0.08  # .2 true hits read as .6
    assert covered >= 36


def patients(n_views: int, n: int) -> list[list[Image.Image]]:
    """Return pictures of `n` patients in each view: one outline a view, fine structure of the patient's own."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(n_views):
        coarse = Image.fromarray(rng.integers(0, 255, (6, 6), np.uint8)).resize((160, 160), Image.Resampling.BICUBIC)
        own = [rng.normal(0, 60, (160, 160)) for _ in range(n)]
        fine = [Image.fromarray(np.clip(128 + o, 0, 255).astype(np.uint8)) for o in own]
        found.append([Image.blend(coarse, f.filter(ImageFilter.GaussianBlur(1.5)), 0.3) for f in fine])
    return found


def test_precision_from_likeness_is_within_a_twentieth_of_the_truth() -> None:
    views = patients(10, 8)
    same, other = [], []
    for own in views:
        for i, image in enumerate(own):
            file = io.BytesIO()
            image.resize((120, 120)).save(file, "JPEG", quality=50)
            same.append(likeness(image, Image.open(file)))
            other.append(likeness(image, own[i - 1]))
    known_different = sum(v >= SAME for v in other[:40]) / 40
    rng = np.random.default_rng(1)
    for share in (0.2, 0.5, 0.8):
        n = round(300 * share)
        seen = [*rng.choice(same, n), *rng.choice(other[40:], 300 - n)]
        estimate = precision(2, "likeness", [v >= SAME for v in seen], [known_different] * 300)
        assert abs(estimate.value - share) < 0.05 and estimate.low <= share <= estimate.high


def test_without_known_patients_or_decoys_nothing_is_estimated() -> None:
    found = precision(0, "likeness", [True] * 30, [None] * 30)
    assert found.value is None and found.method == "not estimable" and "--decoys" in found.note
    assert precision(0, "labels", [True] * 30, [1.0] * 30).value is None
    assert KnownPatients.of([("ap", "a", f"p{i}") for i in range(19)]).chance("ap", "a", "other") is None


def test_decoys_say_how_many_hits_are_false() -> None:
    found = decoy_precision(4, hits=100, n=1000, decoy_hits=10, n_decoys=200)
    assert found.value == pytest.approx(0.5) and found.low < 0.5 < found.high
    assert decoy_precision(4, 100, 1000, 0, 10).method == "not estimable"


@real_files
def test_real_radiographs_are_found_again_and_different_ones_are_not_alike(tmp_path: Path) -> None:
    pool = pool_of(tmp_path, Path(f"fracatlas:{REAL / 'fracatlas_small'}"))
    files = sorted((REAL / "fracatlas_small" / "images").rglob("*.jpg"))
    cleaned = pool.report("clean")["counts"]
    assert cleaned["after"] == len(files) == 34 and cleaned["dropped"]["unreadable picture"] == 4083 - 34
    files = files[:6]
    (tmp_path / "held").mkdir()
    for path in files:
        resaved(path, tmp_path / "held" / path.name)
    found = leakage(pool, [evaluation_set(str(tmp_path / "held"), tmp_path)], LeakageSearch(radius=2))
    rows = pool.table("leakage").to_pylist()
    gone = {Path(row["pictures"][0]).name for row in rows if row["reason"] == "leaked picture"}
    assert {path.name for path in files} <= gone and len(gone) <= 10
    assert found["pictures"]["held"]["evaluation at 2"] == 6
    small = [open_image(path).resize((256, 256)) for path in files]
    assert max(likeness(a, b) for i, a in enumerate(small) for b in small[:i]) < SAME
