"""Answers that can be read off the picture: aligned letter by letter, and found again where they were drawn."""

from __future__ import annotations

import importlib.util
import json
import random
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from aloe_bench.heart.draw import fonts
from aloe_bench.images import open_image
from aloe_bench.mixture.standing import ANYWHERE, ReadLine, standing
from aloe_bench.seeds import rng_for
from tests.conftest import Run
from tests.mixture import sources
from tests.mixture.test_sources import pool_of

OTHERS = Path(__file__).parents[3] / "shared" / "real" / "omnimedvqa_sample" / "sampled_vqa_500.json"
LIMIT, N_DRAWN = 0.8, 160
reads = pytest.mark.skipif(importlib.util.find_spec("rapidocr") is None, reason="RapidOCR is not installed")


def lines(*texts: str) -> list[ReadLine]:
    return [ReadLine(text, (0, 0, 1000, 1000)) for text in texts]


@pytest.mark.parametrize(
    ("answer", "picture", "share", "where"),
    [
        ("Pneumonia.", ["AP", "PNEUMONIA"], 1.0, (1,)),
        ("métastase", ["METASTASE"], 1.0, (0,)),  # OCR drops accents
        ("Left lower lobe opacity", ["AP", "Left lowerlobe", "opaclty", "12:30"], 0.95, (1, 2)),  # and spaces, and errs
        ("rib", ["fibrous tissue"], 0.0, ()),  # a short answer is no part of a word
        ("rib", ["left rib 4"], 1.0, (0,)),
        ("lung", ["long axis"], 0.75, (0,)),
        ("A large mass in the liver", ["large mass"], 0.45, (0,)),
        ("pneumonia", [], 0.0, ()),
    ],
)  # fmt: skip
def test_the_share_of_an_answer_that_stands_in_a_picture(
    answer: str, picture: list[str], share: float, where: tuple[int, ...]
) -> None:
    found = standing(answer, lines(*picture))
    assert found is not None and found.share == pytest.approx(share, abs=0.005) and found.lines == where


@pytest.mark.parametrize("answer", ["A", "B.", "No", "12", " ", "?!"])
def test_too_short_an_answer_says_nothing(answer: str) -> None:
    assert standing(answer, lines("A", "B.", "No", "12")) is None


def nearest_by_trying(answer: str, text: str) -> int:
    """Return the least edit distance of `answer` to any part of `text`, by the textbook's table for every beginning."""
    best = len(answer)
    for begin in range(len(text) + 1):
        row = list(range(len(answer) + 1))
        for letter in text[begin:]:
            new = [row[0] + 1]
            for i, own in enumerate(answer, 1):
                new.append(min(row[i - 1] + (own != letter), row[i] + 1, new[-1] + 1))
            row = new
            best = min(best, row[-1])
    return best


@given(st.text("abc", min_size=ANYWHERE, max_size=12), st.lists(st.text("abcd", min_size=1, max_size=9), max_size=4))
def test_the_alignment_is_the_best_there_is(answer: str, words: list[str]) -> None:
    found = standing(answer, lines(" ".join(words)))
    assert found is not None
    assert found.share == pytest.approx(1 - nearest_by_trying(answer, "".join(words)) / len(answer))


def answers() -> list[str]:
    """Return answers that others wrote where they are at hand, and those of the small CareQA."""
    small = json.loads((sources.PICTURES.parent / "CareQA-Vis_open.json").read_text())
    rows = json.loads(OTHERS.read_text()) if OTHERS.is_file() else []
    found = {row["answer"] for row in small} | {row["gt_answer"] for row in rows}
    return sorted(answer for answer in found if standing(answer, []) is not None)


def typefaces() -> dict[str, Callable[[int], Any]]:
    """Return what makes a font of a size in pixels: the one that we draw with, Pillow's own, and matplotlib's."""
    found: dict[str, Callable[[int], Any]] = {
        "sans": partial(ImageFont.truetype, str(Path(fonts.__file__).parent / "DejaVuSans.ttf")),
        "Pillow": ImageFont.load_default,
    }
    matplotlib = importlib.util.find_spec("matplotlib")
    folder = Path(matplotlib.origin).parent / "mpl-data" / "fonts" / "ttf" if matplotlib else Path()
    for name in ("DejaVuSerif", "DejaVuSansMono-Bold", "STIXGeneral", "STIXGeneralBolIta"):
        if (folder / f"{name}.ttf").is_file():
            found[name] = partial(ImageFont.truetype, str(folder / f"{name}.ttf"))
    return found


GROUNDS = ("outlined on the picture", "on a dark box", "on a light box")


def drawn(picture: Image.Image, text: str, rng: random.Random) -> tuple[Image.Image, str, str]:
    """Return a picture with `text` somewhere on it as reports and screens have it, the typeface, and the ground."""
    picture = picture.resize((512, round(512 / picture.width * picture.height))).convert("RGB")
    size, (face, make) = rng.choice((13, 16, 20, 26, 32)), rng.choice(sorted(typefaces().items()))
    font, ground = make(size), rng.choice(GROUNDS)
    words = textwrap.fill(text.upper() if rng.random() < 0.3 else text, max(12, int(440 / (0.65 * size))))
    brush = ImageDraw.Draw(picture)
    left, top, right, bottom = brush.multiline_textbbox((0, 0), words, font)
    x, y = rng.uniform(5, max(6, 505 - right)), rng.uniform(5, max(6, picture.height - 5 - bottom))
    if ground == GROUNDS[0]:
        colour = rng.choice(("white", "yellow", "cyan"))
        brush.multiline_text((x, y), words, colour, font, stroke_width=1, stroke_fill="black")
    else:
        dark = ground == GROUNDS[1]
        brush.rectangle((x + left - 4, y + top - 4, x + right + 4, y + bottom + 4), "#101828" if dark else "#f0f0e8")
        colours = ("white", "#ffd34d", "#8fe3ff") if dark else ("black", "#1a2a6c", "#7a1020")
        brush.multiline_text((x, y), words, rng.choice(colours), font)
    return picture, face, ground


@pytest.mark.slow
@reads
def test_drawn_answers_are_found_and_others_are_not(
    tmp_path: Path, quick: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    mapping = sources.table(tmp_path, 1)
    (place := mapping.parent / "drawn").mkdir()
    some, rows = answers(), []
    shots = [open_image(sources.PICTURES / name) for name in sources.NAMES]
    looks: dict[str, tuple[str, str]] = {}
    for i in range(N_DRAWN):
        rng = rng_for("drawn answers", i)
        answer, other = rng.sample(some, 2)
        shown = answer if i % 2 else other
        if i % 10:
            picture, *look = drawn(shots[i % len(shots)], shown, rng)
            picture.save(place / f"{i}.jpg", quality=80)
            looks[f"table/r{i}"] = (look[0], look[1])
        else:
            shots[i % len(shots)].convert("RGB").save(place / f"{i}.jpg", quality=80)  # nothing was added
        rows.append({"id": f"r{i}", "image": f"drawn/{i}.jpg", "question": "What is it?", "answer": answer})
    (mapping.parent / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    text = (
        mapping.read_text().replace("rows.parquet", "rows.jsonl").replace('folders = ["pictures"]', 'folders = ["."]')
    )
    mapping.write_text(text)
    pool = pool_of(tmp_path, mapping)

    done = quick("data", "ocr", pool.folder)

    assert f"{N_DRAWN} samples measured" in done.stdout, done.stderr
    found = {row["id"]: row for row in pool.table("ocr").to_pylist()}
    leaks = {f"table/r{i}" for i in range(N_DRAWN) if i % 2}
    said = {name for name, row in found.items() if row["in_picture"] >= LIMIT}
    recall, precision = len(said & leaks) / len(leaks), len(said & leaks) / len(said)
    missed = [rows[int(name.removeprefix("table/r"))]["answer"] for name in sorted(leaks - said)]
    wrongly = [rows[int(name.removeprefix("table/r"))]["answer"] for name in sorted(said - leaks)]
    with capsys.disabled():
        print(f"recall {recall:.3f}, precision {precision:.3f} at {LIMIT}; missed {missed}, wrongly said {wrongly}")
        for kind in (0, 1):
            for look in sorted({looks[name][kind] for name in leaks}):
                own = {name for name in leaks if looks[name][kind] == look}
                print(f"  {look}: {len(own & said)} of {len(own)} found")
    assert recall >= 0.95 and precision >= 0.9
    place_of = json.loads(found[sorted(said & leaks)[0]]["in_picture_at"])
    assert place_of["picture"].startswith("images/table/drawn/") and len(place_of["boxes"][0]) == 4

    limited = quick("data", "filter", pool.folder, "--max-in-picture", f"table={LIMIT}")
    assert f"- {sum(row['in_picture'] > LIMIT for row in found.values())} answer in picture" in limited.stdout
