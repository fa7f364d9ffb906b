"""Exam questions with pictures to the files of CareQA-Vision: drafted by a model, reviewed by people, counted whole."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from aloe_bench.core import Decoding, Prediction, Request
from aloe_bench.errors import DataError, RunMismatchError, UsageError
from aloe_bench.images import file_image
from aloe_bench.models.mock import MockModel
from aloe_bench.tasks.careqa_vision import MCQ, OPEN
from aloe_bench.tasks.careqa_vision.curate import counts, curate
from aloe_bench.tasks.careqa_vision.curated import read_drafts, standing, write_curated
from aloe_bench.tasks.careqa_vision.wording import read_open, read_option, read_translation
from tests.conftest import MINI, Run
from tests.support.annotate_server import command, served_by

SPANISH = ("El tímpano", "El fondo de ojo", "La mucosa gástrica", "Las cuerdas vocales")
ENGLISH = ("The eardrum", "The ocular fundus", "The gastric mucosa", "The vocal cords")
ROWS = ("plain", "blind", "listed", "garbled", "bare", "gone", "late")


def exam(folder: Path, names: Sequence[str] = ROWS) -> Path:
    """Write a made-up exam whose right option is always B."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "retina.jpg").write_bytes((MINI / "images" / "retina.jpg").read_bytes())
    with (folder / "mir.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "question", "A", "B", "C", "D", "answer", "image", "year", "Category"])
        for n, name in enumerate(names):
            image = {"bare": "", "gone": "gone.jpg"}.get(name, "retina.jpg")
            question = f"¿Qué estructura muestra la imagen {n}?"
            writer.writerow([name, question, *SPANISH, "B", image, 2024, ("medicine", "Nursing")[n % 2]])
    return folder / "mir.csv"


def key(names: Sequence[str] = ROWS) -> dict[str, tuple[str, None]]:
    """Return what a perfect model says to each request: it translates, and says B blindly but for the row "blind"."""
    found = {}
    for n, name in enumerate(names):
        english = {"question": f"Which structure does image {n} show?", "options": ENGLISH}
        said = "no JSON at all" if name == "garbled" else json.dumps(english)
        found[f"{name}/translate"] = said
        for turn in range(4):
            found[f"{name}/blind-{turn}"] = json.dumps({"option": "BADC"[turn] if name == "blind" else "B"})
        free = {"answerable": True, "question": f"Name the structure in image {n}.", "answer": "The ocular fundus."}
        found[f"{name}/open"] = json.dumps(
            {"answerable": False, "question": "", "answer": ""} if name == "listed" else free
        )
    return {name: (text, None) for name, text in found.items()}


class Counting:
    """The mock model; it counts what it was asked, and its first replies to the row "late" are lost."""

    name, fingerprint = "mock", "1"

    def __init__(self, lost: int = 0) -> None:
        self.asked: list[Request] = []
        self.lost = lost

    def describe(self) -> Mapping[str, object]:
        return {"backend": "mock"}

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Prediction]:
        for request in requests:
            self.asked.append(request)
            if request.id.startswith("late/") and self.lost:
                self.lost -= 1
                yield Prediction(request.id, None, "error", error="overloaded")
            else:
                yield from MockModel(key()).generate([request], decoding)


def test_each_form_is_a_draft_or_has_one_reason_and_nothing_is_asked_twice(tmp_path: Path) -> None:
    path, folder, model = exam(tmp_path / "exam"), tmp_path / "curation", Counting(lost=2)
    found = counts(curate(path, model, folder))

    assert found["choice"] == {
        "questions": 7, "answered without its picture": 1, "no picture": 1, "no reply": 1, "not translated": 1,
        "picture missing": 1, "drafts": 2,
    }  # fmt: skip
    assert found["open"] == {**found["choice"], "needs its options": 1, "drafts": 1}
    assert not any(request.images for request in model.asked)  # the picture is not needed to translate
    garbled = [request for request in model.asked if request.id == "garbled/translate"]
    assert [len(request.messages) for request in garbled] == [2, 4] and "JSON" in garbled[1].messages[3].text
    sent = next(request for request in model.asked if request.id == "plain/translate")
    assert "El fondo de ojo" in sent.messages[1].text and "Spanish" in sent.messages[0].text

    again = Counting()
    forms = curate(path, again, folder)
    assert counts(forms)["choice"]["drafts"] == 3 and "no reply" not in counts(forms)["choice"]
    assert {request.id.split("/")[0] for request in again.asked} == {"late"}  # what was lost, and nothing else
    late = next(form for form in forms if form.id == "late-closed")
    assert late.exam.blind == (1, 4)  # it says B at every turn, and is right at one
    assert read_drafts(folder) == forms

    with pytest.raises(RunMismatchError, match="language"):
        curate(path, again, folder, "Catalan")


def test_a_question_whose_blind_replies_cannot_be_read_does_not_pass_for_one_that_needs_its_picture(
    tmp_path: Path,
) -> None:
    said = key(("plain", "late"))
    said |= {f"plain/blind-{turn}": ("I would have to see it", None) for turn in range(4)}
    found = counts(curate(exam(tmp_path / "exam", ("plain", "late")), MockModel(said), tmp_path / "curation"))
    assert found["choice"] == {"questions": 2, "blind reply unread": 1, "drafts": 1}


def test_failed_calls_and_a_correction_that_makes_two_options_one_keep_files_from_being_whole(tmp_path: Path) -> None:
    folder = tmp_path / "curation"
    forms = curate(exam(tmp_path / "exam", ("late",)), Counting(lost=2), folder)
    with pytest.raises(UsageError, match="a reply, the first is late-closed"):
        write_curated(folder, forms, {}, tmp_path / "out")
    forms = curate(exam(tmp_path / "exam", ("late",)), Counting(), folder)
    (folder / "corrections.csv").write_text(f"id,field,text\nlate-closed,op1,{ENGLISH[1].upper()}\n")
    with pytest.raises(DataError, match="late-closed' has an option twice"):
        write_curated(folder, read_drafts(folder), {}, tmp_path / "out", partial=True)


def test_what_reviewers_say_decides_and_corrections_are_reviewed_anew(tmp_path: Path, quick: Run) -> None:
    folder, names = tmp_path / "curation", ("plain", "late", "listed")
    curate(exam(tmp_path / "exam", names), MockModel(key(names)), folder)
    with pytest.raises(UsageError, match="wait for a reviewer"):
        write_curated(folder, read_drafts(folder), {}, tmp_path / "out")

    page = served_by(command("data", "review", folder, "--raters", "ana,bo", "--port", 0))
    with page as server:
        html = server.get("ana").body.decode()
        assert "<h1>Review questions</h1>" in html and 'data-label="to correct"' in html and "Ambiguous" in html
        shown = {}
        for rater in ("ana", "bo"):
            while item := server.get(rater, "api/state").json["item"]:
                shown[item["id"]] = item
                form = item["id"].split("@")[0]
                wrong = form == "late-closed" and rater == "bo"
                label = "ambiguous" if form == "late-open" else "to correct" if wrong else "good"
                server.post(rater, "api/rate", {"item": item["id"], "label": label})
    closed = next(item for name, item in shown.items() if name.startswith("plain-closed@"))
    assert "B. El fondo de ojo  ✓" in closed["reference"] and "B. The ocular fundus  ✓" in closed["answer"]
    assert len(shown) == 5 and len(closed["images"]) == 1

    early = quick("data", "review", folder, "--write", "early")
    assert early.returncode == 2 and "late-closed (to correct)" in early.stderr
    (folder / "corrections.csv").write_text("id,field,text\nlate-closed,question,Which part of the eye is shown?\n")
    changed = quick("data", "review", folder, "--write", "early")
    assert changed.returncode == 2 and "late-closed (not reviewed by two)" in changed.stderr
    done = quick("data", "review", folder, "--write", "careqa", "--allow-partial")
    assert "closed: 2 in, 1 not reviewed by two" in done.stdout and "open: 1 ambiguous, 1 in, 1 needs" in done.stdout

    out = tmp_path / "careqa"
    rows = [*MCQ.load(out), *OPEN.load(out)]
    assert [row.id.split("/")[1] for row in rows] == ["plain-closed", "listed-closed", "plain-open"]
    assert rows[0].target == "B" and rows[0].choices == ENGLISH
    assert rows[0].images[0].sha256 == file_image(MINI / "images" / "retina.jpg").sha256
    assert rows[2].target == "The ocular fundus." and rows[2].tags["year"] == "2024"
    story = {line["id"]: line for line in map(json.loads, (out / "provenance.jsonl").read_text().splitlines())}
    assert len(story) == 6 and story["late-open"]["reviews"] == {"ambiguous": 2} and not story["late-open"]["in"]
    assert story["plain-open"]["exam"]["options"] == list(SPANISH)
    assert story["late-closed"]["corrected_from"] == {"question": "Which structure does image 1 show?"}
    assert "ana" not in (out / "provenance.jsonl").read_text()


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        (("good", "good"), ""), (("good", "ambiguous"), ""), (("good", "good", "ambiguous", "ambiguous"), "ambiguous"),
        (("unfit", "ambiguous"), "unfit"), (("good", "good", "to correct"), "to correct"),
        (("good",), "not reviewed by two"), ((), "not reviewed by two"),
    ],
)  # fmt: skip
def test_two_reviewers_who_object_remove_a_form(labels: Sequence[str], why: str) -> None:
    assert standing(labels) == why


FOUR = '["a", "b", "c", "d"]'


@pytest.mark.parametrize(
    "reply",
    [
        "", "Which one?", "[]", "null", '"x"', "[" * 9999,
        '{"question": "Which?", "options": ["a", "b", "c"]}',
        '{"question": "Which?", "options": ["a", "b", "c", " A "]}',
        f'{{"question": " ", "options": {FOUR}}}', f'{{"question": "Which?", "options": {FOUR}, "note": "x"}}',
        '{"question": "Which?", "options": "abcd"}', '{"question": "Which?", "options": ["a", "b", "c", 4]}',
        f'Here it is: {{"question": "Which?", "options": {FOUR}}}',
    ],
)  # fmt: skip
def test_a_translation_in_another_form_is_unread(reply: str) -> None:
    assert read_translation(reply, 4) is None


def test_replies_are_read_behind_reasoning_and_in_a_code_block() -> None:
    said = '<think>{"option": "A"}</think>\n```json\n{"option": "C"}\n```'
    assert read_option(said, 4) == "C"
    assert all(read_option(json.dumps({"option": o}), 4) is None for o in ("E", "AB", "", "a", None, 1, ["A"]))
    assert read_open('{"answerable": true, "question": "Q?", "answer": ""}') is None
    assert read_open('{"answerable": "yes", "question": "Q?", "answer": "A"}') is None
    found = read_open('{"answerable": false, "question": "Q?", "answer": "A"}')
    assert found is not None and found.needs_options


def test_an_exam_that_is_no_such_exam_is_refused_row_by_row(tmp_path: Path, quick: Run) -> None:
    path = exam(tmp_path / "exam", ("plain",))
    text = path.read_text()
    path.write_text(text.replace("medicine", "Dentistry").replace(",2024,", ",,"))
    done = quick("data", "curate", path, "--model", "x", "--output", "curation")
    assert done.returncode == 3 and "category 'Dentistry'" in done.stderr and "no year" in done.stderr
    path.write_text(text.replace("Las cuerdas vocales", ""))
    done = quick("data", "curate", path, "--model", "x", "--output", "curation")
    assert done.returncode == 3 and "3 options; expected 4" in done.stderr
    assert not (tmp_path / "curation").exists()
