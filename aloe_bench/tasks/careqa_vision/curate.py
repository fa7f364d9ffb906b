"""From exam questions with pictures to drafts of CareQA-Vision: translated, made open, filtered, by any Model.

Source: Aloe-Vision, section 4. Each exam question has two forms, multiple choice and open; each form is a draft or has
exactly one reason why there is none. What stands in a draft is for reviewers to see: `curated.py` says what becomes of
it. The files are of the kind that `mcq:FILE` reads, with the columns year and category (Medicine or Nursing).

    FOLDER/curation.json      the exam's file, the model, the language, counts
    FOLDER/replies-*.jsonl    one line a reply, by model; a killed run resumes behind the last
    FOLDER/images/            the exam's pictures by their hash, as models are shown them
    FOLDER/drafts.jsonl       one line a form, with the exam's own words
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from aloe_bench.core import LETTERS, Absent, Decoding, ImageRef, Model, Request, Sample, batches
from aloe_bench.errors import DataError, RunMismatchError
from aloe_bench.files import LineWriter, safe_name, write_atomic, write_json
from aloe_bench.images import sendable
from aloe_bench.tables import fold
from aloe_bench.tasks.careqa_vision import wording
from aloe_bench.tasks.careqa_vision.wording import ExamWording
from aloe_bench.tasks.data.questions import read_questions

OPTIONS = 4  # as the exams of 2020 to 2024 have
CATEGORIES = ("Medicine", "Nursing")
ATTEMPTS = 2
CHUNK = 64
DECODING = Decoding(max_new_tokens=1024)
FILE, DRAFTS, IMAGES = "curation.json", "drafts.jsonl", "images"
Report = Callable[[int, int], None]
FormKind = Literal["choice", "open"]
Read = TypeVar("Read")
_ENDINGS = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp"}

NoDraft = Literal[
    "no picture", "picture missing", "no reply", "not translated", "answered without its picture",
    "blind reply unread", "needs its options", "not made open", "",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class ExamQuestion:
    """A question as the exam has it; `images` are files below the folder, `target` is the letter of the right option.

    `blind` counts how often the model chose the right option without the picture, of how many readable replies.
    """

    id: str
    wording: ExamWording
    target: str
    images: tuple[str, ...]
    year: str
    category: str
    blind: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class DraftForm:
    """One of both forms of an exam question, in English; `answer` is the right option's letter, or the open answer.

    `reason` says why there is none. `corrected` holds by field what a person has replaced.
    """

    exam: ExamQuestion
    kind: FormKind
    question: str = ""
    choices: tuple[str, ...] = ()
    answer: str = ""
    reason: NoDraft = ""
    corrected: Mapping[str, str] | None = None

    @property
    def id(self) -> str:
        """Return the name of the form: that of the exam's question, and its kind."""
        return f"{self.exam.id}-{'closed' if self.kind == 'choice' else 'open'}"


def read_exam(path: Path) -> list[Sample | Absent]:
    """Return the questions of an exam's file; raises DataError with every fault of it."""
    found = read_questions(path, "choice", "exam")
    found.stop_if_faulty()
    for sample in found.rows:
        if isinstance(sample, Sample):
            category, year, n = _tag(sample, "category"), _tag(sample, "year"), len(sample.choices)
            if n != OPTIONS:
                found.faults.append(f"{_name(sample)}: {n} options; expected {OPTIONS}, as the exams have")
            if category.capitalize() not in CATEGORIES:
                found.faults.append(f"{_name(sample)}: category {category!r}; expected {' or '.join(CATEGORIES)}")
            if not year:
                found.faults.append(f"{_name(sample)}: no year; expected a column year")
    found.stop_if_faulty()
    return found.rows


def curate(
    exam: Path,
    model: Model,
    folder: Path,
    language: str = "Spanish",
    report: Report = lambda done, total: None,
    chunk: int = CHUNK,
) -> list[DraftForm]:
    """Return both forms of every question of `exam`, drafted by `model`; in `folder` they are for reviewers to see.

    What was asked is not asked again. Raises RunMismatchError if the folder is of another exam or language.
    """
    rows = read_exam(exam)
    asked = {
        "exam": exam.name, "sha256": hashlib.sha256(exam.read_bytes()).hexdigest(), "language": language,
        "pictures": {_name(row): [image.sha256 for image in row.images] for row in rows if isinstance(row, Sample)},
    }  # fmt: skip
    _claim(folder, asked)
    facts = {"model": model.name, "fingerprint": model.fingerprint, "decoding": DECODING.to_json()}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    questions = [_question(row, folder) for row in rows]
    shown = {each.id: each for each in questions if isinstance(each, ExamQuestion)}
    with LineWriter(folder / f"replies-{digest}.jsonl") as writer:
        asker = _Asker(folder / f"replies-{digest}.jsonl", writer, model, chunk, report)
        forms = [form for each in _drafted(shown, asker, language).values() for form in each]
    forms += [form for each in questions if isinstance(each, tuple) for form in each]
    order = {_name(row): number for number, row in enumerate(rows)}
    forms.sort(key=lambda form: (order[form.exam.id], form.kind))
    _write(folder / DRAFTS, forms)
    write_json(folder / FILE, {**asked, **facts, "described": dict(model.describe()), "drafts": counts(forms)})
    return forms


def counts(forms: Sequence[DraftForm]) -> dict[str, dict[str, int]]:
    """Return by kind how many forms there are, why some have no draft, and how many have one; they add up."""
    found: dict[str, dict[str, int]] = {}
    for kind in ("choice", "open"):
        own = [form for form in forms if form.kind == kind]
        out = Counter(form.reason for form in own if form.reason)
        found[kind] = {"questions": len(own), **dict(sorted(out.items())), "drafts": len(own) - sum(out.values())}
    return found


def _drafted(shown: Mapping[str, ExamQuestion], asker: _Asker, language: str) -> dict[str, tuple[DraftForm, DraftForm]]:
    """Return both forms of each question: asked stage by stage, each stage only of what is left."""
    english, failed = asker.ask(
        {n: wording.translation_request(f"{n}/translate", each.wording, language) for n, each in shown.items()},
        lambda reply: wording.read_translation(reply, OPTIONS),
    )
    done = {n: _neither(each, "no reply" if n in failed else "not translated") for n, each in shown.items()}
    seen = _blind({name: shown[name] for name in english}, english, asker)
    waiting = {name: each for name, each in seen.items() if each is not None and each.blind[0] < each.blind[1]}
    opened, failed = asker.ask(
        {n: wording.open_request(f"{n}/open", english[n], each.target) for n, each in waiting.items()},
        wording.read_open,
    )
    for name, question in seen.items():
        if question is None:
            done[name] = _neither(shown[name], "no reply")
        elif name not in waiting:
            whole = question.blind[1] == OPTIONS
            done[name] = _neither(question, "answered without its picture" if whole else "blind reply unread")
        else:
            closed = DraftForm(question, "choice", english[name].question, english[name].choices, question.target)
            made, free = opened.get(name), DraftForm(question, "open")
            if made is None:
                free = replace(free, reason="no reply" if name in failed else "not made open")
            elif made.needs_options:
                free = replace(free, reason="needs its options")
            else:
                free = replace(free, question=made.question, answer=made.answer)
            done[name] = closed, free
    return done


def _blind(
    shown: Mapping[str, ExamQuestion], english: Mapping[str, ExamWording], asker: _Asker
) -> dict[str, ExamQuestion | None]:
    """Return each question with how often it was answered without its picture; None where a call failed.

    It is asked once for every turn of its options, so that a guess by place is right once, and one by luck in 1 of 256.
    """
    places = {(name, turn): f"{name}/blind-{turn}" for name in shown for turn in range(OPTIONS)}
    letters, failed = asker.ask(
        {key: wording.blind_request(key, _turned(english[name], turn)) for (name, turn), key in places.items()},
        lambda reply: wording.read_option(reply, OPTIONS),
    )
    found: dict[str, ExamQuestion | None] = {}
    for name, question in shown.items():
        keys = {turn: places[name, turn] for turn in range(OPTIONS)}
        read = {turn: letters[key] for turn, key in keys.items() if key in letters}
        right = LETTERS.index(question.target)
        hits = sum(letter == LETTERS[(right - turn) % OPTIONS] for turn, letter in read.items())
        found[name] = None if failed & set(keys.values()) else replace(question, blind=(hits, len(read)))
    return found


def _turned(exam: ExamWording, by: int) -> ExamWording:
    """Return the question with its options moved `by` places up, the first ones to the end."""
    return ExamWording(exam.question, (*exam.choices[by:], *exam.choices[:by]))


def _neither(question: ExamQuestion, reason: NoDraft) -> tuple[DraftForm, DraftForm]:
    return DraftForm(question, "choice", reason=reason), DraftForm(question, "open", reason=reason)


class _Asker:
    """Asks a model and keeps its replies; one that cannot be read is asked for once more, and never guessed."""

    def __init__(self, path: Path, writer: LineWriter, model: Model, chunk: int, report: Report) -> None:
        self._writer, self._model, self._chunk, self._report = writer, model, chunk, report
        self._said: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for line in path.read_bytes().split(b"\n")[:-1]:
            self._keep(json.loads(line))

    def _keep(self, line: dict[str, Any]) -> None:
        self._said.setdefault((line["id"], line["asked"]), []).append(line)

    def ask(
        self, requests: Mapping[str, Request], read: Callable[[str], Read | None]
    ) -> tuple[dict[str, Read], set[str]]:
        """Return by key what was read of the reply to each request, and the keys of those that got no reply.

        Running again asks the latter again. What is in neither was answered, and could not be read.
        """
        asked = {key: (request.id, _digest(request)) for key, request in requests.items()}
        for _ in range(ATTEMPTS):
            todo = []
            for key, request in requests.items():
                answered = self._answered(asked[key])
                if len(answered) < ATTEMPTS and _first(answered, read) is None:
                    todo.append((asked[key], wording.reminded(request, answered[-1]) if answered else request))
            for done, batch in enumerate(batches((request for _, request in todo), self._chunk), 1):
                self._reply(batch, {name: (name, digest) for (name, digest), _ in todo})
                self._report(min(len(todo), done * self._chunk), len(todo))
        read_of = {key: _first(self._answered(place), read) for key, place in asked.items()}
        found = {key: made for key, made in read_of.items() if made is not None}
        failed = {key for key in requests if key not in found and self._said[asked[key]][-1]["finish"] == "error"}
        return found, failed

    def _answered(self, place: tuple[str, str]) -> list[str]:
        return [each["text"] for each in self._said.get(place, ()) if each["finish"] != "error"]

    def _reply(self, batch: Sequence[Request], places: Mapping[str, tuple[str, str]]) -> None:
        lines = [
            {"id": p.id, "asked": places[p.id][1], "text": p.text, "finish": p.finish, "error": p.error}
            for p in self._model.generate(batch, DECODING)
        ]
        self._writer.write(lines)
        for line in lines:
            self._keep(line)


def _first(replies: Sequence[str], read: Callable[[str], Read | None]) -> Read | None:
    """Return what the first readable one of `replies` says."""
    return next((made for made in map(read, replies) if made is not None), None)


def _digest(request: Request) -> str:
    """Return the hash of what a request says: other words are another question."""
    said = [[message.role, message.text] for message in request.messages]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


def _claim(folder: Path, asked: Mapping[str, Any]) -> None:
    """Write curation.json, or compare it with the one that is there."""
    path = folder / FILE
    if not path.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise DataError(f"{folder} is not empty, and no curation. Choose another --output.")
        write_json(path, asked)
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    for key, value in asked.items():
        if before.get(key) != value:
            raise RunMismatchError(
                f"{folder}: drafts of {key} {str(before.get(key))[:60]}, but this is {str(value)[:60]}. Choose another "
                "--output."
            )


def _name(row: Sample | Absent) -> str:
    return row.id.removeprefix("exam/")


def _tag(sample: Sample, name: str) -> str:
    return next((text.strip() for tag, text in sample.tags.items() if fold(tag) == name), "")


def _question(row: Sample | Absent, folder: Path) -> ExamQuestion | tuple[DraftForm, DraftForm]:
    """Return a row as a question whose pictures are in the folder, or its forms with the reason why there is none."""
    if not isinstance(row, Sample):
        return _neither(ExamQuestion(_name(row), ExamWording(row.what, ()), "", (), "", ""), "picture missing")
    words, year, category = ExamWording(row.question, row.choices), _tag(row, "year"), _tag(row, "category")
    images = tuple(_kept(image, folder) for image in row.images)
    question = ExamQuestion(_name(row), words, row.target, images, year, category.capitalize())
    return question if images else _neither(question, "no picture")


def _kept(image: ImageRef, folder: Path) -> str:
    """Return where below the folder a picture is: its own bytes where they show what models are shown, else a PNG."""
    import io

    plain = sendable(image)
    ending = _ENDINGS[plain[0]] if plain else "png"
    path = folder / IMAGES / f"{safe_name(image.sha256)}.{ending}"
    if not path.is_file():
        if plain is None:
            file = io.BytesIO()
            image.open().save(file, "PNG")
        write_atomic(path, plain[1] if plain else file.getvalue())
    return path.relative_to(folder).as_posix()


def _write(path: Path, forms: Sequence[DraftForm]) -> None:
    lines = [json.dumps({"id": form.id, **asdict(form)}, ensure_ascii=False, sort_keys=True) for form in forms]
    write_atomic(path, "".join(f"{line}\n" for line in lines))
