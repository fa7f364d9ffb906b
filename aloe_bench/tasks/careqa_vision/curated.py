"""What becomes of CareQA-Vision's drafts: corrections by hand, what reviewers said, and the files of the benchmark.

    FOLDER/corrections.csv    id, field, text: what a person has put right in a draft; the reviewers see it

A form is in once two reviewers saw the words that it has now, unless two call it ambiguous (Aloe-Vision, appendix E.2)
or object in another way. What one of them wants corrected waits until it was.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from aloe_bench.core import LETTERS
from aloe_bench.errors import DataError, UsageError
from aloe_bench.files import NewFolder, write_atomic, write_json
from aloe_bench.tables import fold, read_table
from aloe_bench.tasks.careqa_vision.curate import DRAFTS, FILE, OPTIONS, DraftForm, ExamQuestion
from aloe_bench.tasks.careqa_vision.wording import ExamWording

CORRECTIONS, PROVENANCE = "corrections.csv", "provenance.jsonl"
CLOSED_FILE, OPEN_FILE = "CareQA-Vis_close.json", "CareQA-Vis_open.json"
REVIEWERS = 2
# What a reviewer may say of a form, and what it means; shown on the page.
REVIEW_LABELS = {
    "good": "It says what the exam says, in good English, and has to be answered with the picture.",
    "to correct": "The translation or the wording has a fault; say in the comment what is right. It waits until then.",
    "unfit": "It can be answered without the picture, or, asked openly, not without the options.",
    "ambiguous": "Several answers could be held right.",
}
Standing = Literal["", "ambiguous", "unfit", "to correct", "not reviewed by two"]
_FIELDS = {"choice": ("question", *(f"op{n}" for n in range(1, OPTIONS + 1))), "open": ("question", "answer")}
WAITING = ("no reply", "to correct", "not reviewed by two")


def read_drafts(folder: Path) -> list[DraftForm]:
    """Return both forms of every question of a curation, corrections by hand in place. Raises DataError."""
    path = folder / DRAFTS
    try:
        forms = [_form(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        raise DataError(f"{path}: no drafts. Make them: aloe-bench data curate EXAM --output {folder}") from None
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path}: not as `aloe-bench data curate` wrote it ({error}). Run that again.") from error
    return _corrected(forms, folder / CORRECTIONS)


def _form(line: dict[str, Any]) -> DraftForm:
    exam, words = line["exam"], line["exam"]["wording"]
    question = ExamQuestion(
        exam["id"], ExamWording(words["question"], tuple(words["choices"])), exam["target"], tuple(exam["images"]),
        exam["year"], exam["category"], tuple(exam["blind"]),
    )  # fmt: skip
    return DraftForm(question, line["kind"], line["question"], tuple(line["choices"]), line["answer"], line["reason"])


def _corrected(forms: Sequence[DraftForm], path: Path) -> list[DraftForm]:
    """Return the drafts with what the table at `path` puts right; raises DataError with every row that fits nothing."""
    if not path.is_file():
        return list(forms)
    table = read_table(path, needed=("id", "field", "text"), ids=("id",))
    by_id = {form.id: form for form in forms}
    faults = list(table.faults)
    for row in table.rows:
        name, field, text = (row.text(column) for column in ("id", "field", "text"))
        form = by_id.get(name)
        if form is None or form.reason:
            faults.append(f"{row.where}: {name!r} is not a draft")
        elif field not in _FIELDS[form.kind]:
            faults.append(f"{row.where}: field {field!r}; expected one of {', '.join(_FIELDS[form.kind])}")
        elif not text:
            faults.append(f"{row.where}: text is empty")
        elif field in (form.corrected or {}):
            faults.append(f"{row.where}: {field} of {name!r} is corrected above already")
        else:
            by_id[name] = _put_right(form, field, text)
    for form in by_id.values():
        if form.corrected and len({fold(text) for text in form.choices}) < len(form.choices):
            faults.append(f"{path}: {form.id!r} has an option twice")
    if faults:
        raise DataError("\n".join(faults))
    return [by_id[form.id] for form in forms]


def _put_right(form: DraftForm, field: str, text: str) -> DraftForm:
    noted = {**(form.corrected or {}), field: _field(form, field)}
    if field.startswith("op"):
        place = int(field[2:]) - 1
        return replace(form, choices=(*form.choices[:place], text, *form.choices[place + 1 :]), corrected=noted)
    if field == "answer":
        return replace(form, answer=text, corrected=noted)
    return replace(form, question=text, corrected=noted)


def _field(form: DraftForm, field: str) -> str:
    return form.choices[int(field[2:]) - 1] if field.startswith("op") else str(getattr(form, field))


def standing(labels: Sequence[str]) -> Standing:
    """Return why a form that reviewers gave `labels` is not in; "" if it is."""
    found = Counter(labels)
    if found["ambiguous"] >= REVIEWERS:
        return "ambiguous"
    if found["ambiguous"] + found["unfit"] >= REVIEWERS:
        return "unfit"
    if found["to correct"]:
        return "to correct"
    return "" if len(labels) >= REVIEWERS else "not reviewed by two"


def write_curated(
    folder: Path, forms: Sequence[DraftForm], labels: Mapping[str, Sequence[str]], output: Path, partial: bool = False
) -> dict[str, dict[str, int]]:
    """Write the reviewed forms as the benchmark's files to `output`; return by kind what became of all, which adds up.

    `labels` are what reviewers said of each form, by its id. Every form has a line in provenance.jsonl. Raises
    UsageError if a form waits for reviewers or a correction, unless `partial`; DataError if none is in.
    """
    stands: dict[str, str] = {form.id: form.reason or standing(labels.get(form.id, ())) for form in forms}
    counts = {
        name: dict(sorted(Counter(stands[f.id] or "in" for f in forms if f.kind == kind).items()))
        for name, kind in (("closed", "choice"), ("open", "open"))
    }
    waiting = [name for name, why in stands.items() if why in WAITING]
    if waiting and not partial:
        raise UsageError(
            f"{len(waiting)} forms wait for a reviewer, a correction or a reply, the first is {waiting[0]} "
            f"({stands[waiting[0]]}). Finish them, or write the others with --allow-partial."
        )
    chosen = [form for form in forms if not stands[form.id]]
    if not chosen:
        raise DataError(f"{folder}: no form is in: {json.dumps(counts)}. Nothing was written.")
    with NewFolder(output, overwrite=False, known_by=PROVENANCE) as temporary:
        for kind, file in (("choice", CLOSED_FILE), ("open", OPEN_FILE)):
            if rows := [_row(form) for form in chosen if form.kind == kind]:
                write_json(temporary / file, rows)
        for name in sorted({image for form in chosen for image in form.exam.images}):
            write_atomic(temporary / name, (folder / name).read_bytes())
        lines = [_provenance(form, stands[form.id], labels.get(form.id, ())) for form in forms]
        write_atomic(temporary / PROVENANCE, "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines))
        made_by = json.loads((folder / FILE).read_text(encoding="utf-8"))
        made_by.pop("pictures")
        write_json(temporary / FILE, {**made_by, "forms": counts, "partial": bool(waiting)})
    return counts


def _row(form: DraftForm) -> dict[str, Any]:
    """Return a form as the benchmark's files have it."""
    exam = form.exam
    row: dict[str, Any] = {"unique_id": form.id, "exam_id": exam.id, "question": form.question}
    if form.kind == "choice":
        row |= {f"op{n}": text for n, text in enumerate(form.choices, 1)}
        row["cop"] = str(LETTERS.index(form.answer) + 1)
    else:
        row["answer"] = form.answer
    image: Any = exam.images[0] if len(exam.images) == 1 else list(exam.images)
    return {**row, "year": exam.year, "category": exam.category, "image": image}


def _provenance(form: DraftForm, why: str, labels: Sequence[str]) -> dict[str, Any]:
    """Return where a form comes from and what became of it; of reviewers only how many said what."""
    exam = form.exam
    return {
        "id": form.id, "in": not why, "reason": why or None,
        "exam": {"id": exam.id, "year": exam.year, "category": exam.category, "question": exam.wording.question,
                 "options": list(exam.wording.choices), "answer": exam.target, "pictures": list(exam.images)},
        "right_without_picture": list(exam.blind), "corrected_from": dict(form.corrected or {}),
        "reviews": dict(sorted(Counter(labels).items())),
    }  # fmt: skip
