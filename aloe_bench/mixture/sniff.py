"""What a mapping of an unknown file could be: a proposal with its evidence, and what is left for a person to decide."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from aloe_bench.errors import DataError
from aloe_bench.files import safe_name
from aloe_bench.mixture.convert import Converter, value_at
from aloe_bench.mixture.readers import FORMATS, read_rows
from aloe_bench.mixture.source import MAPPINGS, UNDECIDED, SourceMapping, read_mapping
from aloe_bench.training.data.schema import Conversation

LOOKED_AT = 2_000
_PICTURE = re.compile(r"\.(png|jpe?g|gif|webp|bmp|tiff?|dcm)$", re.IGNORECASE)
_BOX = re.compile(r"\[\s*([\d.]+)\s*,\s*([\d.]+)\s*,\s*([\d.]+)\s*,\s*([\d.]+)\s*\]")
_BOX_PATTERN = r"\[\s*([\d.]+)\s*,\s*([\d.]+)\s*,\s*([\d.]+)\s*,\s*([\d.]+)\s*\]"
_ASKS = ("question", "query", "instruction", "prompt", "problem", "input")
_ANSWERS = ("answer", "gt_answer", "response", "output", "solution", "caption", "text", "report")
_IDS = ("id", "qid", "question_id", "unique_id", "sample_id", "uid", "image_id")
_CLUSTERS = ("patient_id", "patient", "subject_id", "study_id", "img_id", "image_id")
_TAGS = {
    "modality": ("modality", "modality_type", "imaging_modality"),
    "anatomy": ("anatomy", "body_part", "location", "organ", "region"),
    "specialty": ("specialty", "department", "medical_field"),
    "kind": ("content_type", "question_type", "answer_type", "task", "category"),
}
_ROLES, _WORDS = ("from", "role", "speaker"), ("value", "content", "text")
_KEYS = ("data", "rows", "annotations", "questions", "samples")


@dataclass(frozen=True, slots=True)
class Proposal:
    """A mapping as TOML, what it rests on, what a person has to decide, and a shipped mapping that fits."""

    toml: str
    evidence: tuple[str, ...]
    undecided: tuple[str, ...]
    shipped: str | None
    shipped_files: tuple[str, ...]
    n_rows: int


def sniff(path: Path) -> Proposal:
    """Return a mapping of the file `path` proposed from its first rows. Raises DataError for a file without rows."""
    key, rows = _first_rows(path)
    names = list(dict.fromkeys(name for row in rows for name in row))
    table: dict[str, Any] = {
        "name": safe_name(path.stem).lower(), "files": [path.name], "modality": "text", "domain": UNDECIDED,
        "licence": UNDECIDED, "seen_real_files": True,
    }  # fmt: skip
    if key:
        table["rows"] = key
    found: list[str] = [f"{FORMATS[path.suffix.lower()]}, {len(rows)} rows looked at; fields: {', '.join(names)}"]
    _identity(rows, names, table, found)
    _turns(rows, names, table, found)
    _pictures(path.parent, rows, names, table, found)
    _boxes(rows, names, table, found)
    found += _languages(rows, names)
    tags = {ours: name for ours, theirs in _TAGS.items() if (name := _named(names, theirs))}
    if tags:
        table["tags"] = tags
    undecided = [place for place, value in _flat(table) if value == UNDECIDED]
    fits = _shipped(rows)
    fits_name, files = (fits.name, fits.files) if fits else (None, ())
    return Proposal(as_toml(table), tuple(found), tuple(undecided), fits_name, files, len(rows))


def _languages(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> list[str]:
    found = []
    for name in names:
        values = sorted({str(row.get(name)) for row in rows})
        if "lang" in name.casefold() and 1 < len(values) <= 10:
            found.append(f'languages: {name} is {", ".join(values)}; to take one: [where] {name} = ["{values[0]}"]')
    return found


def try_mapping(mapping: SourceMapping, root: Path, path: Path) -> tuple[Conversation | None, int, dict[str, int]]:
    """Return the first conversation that `mapping` makes of `path`, how many of the first rows convert, and why not."""
    converter = Converter(mapping, root, lambda name, data: None)
    first, good, faults = None, 0, dict[str, int]()
    for number, row in islice(read_rows(path, mapping.rows), LOOKED_AT):
        if isinstance(row, dict) and not converter.selected(row):
            continue
        try:
            if isinstance(row, str):
                raise DataError(row)
            made = converter.conversation(row, converter.row_id(row, path.name, number))
        except DataError as error:
            faults[str(error)[:160]] = faults.get(str(error)[:160], 0) + 1
            continue
        first, good = first or made, good + 1
    return first, good, faults


def as_toml(table: Mapping[str, Any]) -> str:
    """Return a table of texts, numbers, lists and tables as TOML; undecided values carry a comment."""
    plain = [_line(key, value) for key, value in table.items() if not isinstance(value, dict)]
    inner = [
        "\n".join([f"\n[{name}]", *(_line(key, value) for key, value in below.items())])
        for name, below in table.items()
        if isinstance(below, dict)
    ]
    return "\n".join([*plain, *inner]) + "\n"


_HINTS = {
    "domain": "medical or general",
    "licence": "as the source states it, or unknown",
    "unit": "pixels, unit (0 to 1) or thousandths",
    "format": "xyxy, xywh or cxcywh",
    "ask": "the words that every picture is asked with",
    "answer": "the field that holds the answer",
    "folders": 'the folders that the pictures lie in, relative to the file: ["images"]',
}


def _line(key: str, value: Any) -> str:
    shown = f"[{', '.join(map(_quoted, value))}]" if isinstance(value, list | tuple) else _quoted(value)
    hint = _HINTS.get(key, "") if value in (UNDECIDED, [UNDECIDED]) else ""
    return f"{key} = {shown}{f'  # {hint}' if hint else ''}"


def _quoted(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    text = str(value)
    if "\\" in text and "'" not in text:
        return f"'{text}'"
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _first_rows(path: Path) -> tuple[str, list[dict[str, Any]]]:
    for key in ("", *_KEYS):
        try:
            rows = [row for _, row in islice(read_rows(path, key), LOOKED_AT) if isinstance(row, dict)]
        except DataError as error:
            if key == "" and path.suffix.lower() == ".json" and "Name its key" in str(error):
                continue
            if key:
                continue
            raise
        if not rows:
            raise DataError(f"{path}: no row could be read; expected objects. Is it the right file?")
        return key, rows
    raise DataError(f"{path}: no list of rows, nor one under {', '.join(_KEYS)}. Set `rows` in a mapping by hand.")


def _named(names: Sequence[str], wanted: Sequence[str]) -> str | None:
    by_case = {name.casefold(): name for name in reversed(names)}
    return next((by_case[name] for name in wanted if name in by_case), None)


def _identity(rows: Sequence[dict[str, Any]], names: Sequence[str], table: dict[str, Any], found: list[str]) -> None:
    fields: dict[str, str] = {}
    endings = [name for name in names if name.casefold().endswith("_id")]
    for name in dict.fromkeys([n for n in (_named(names, [each]) for each in _IDS) if n] + endings):
        values = [value_at(row, name) for row in rows]
        if len(set(map(str, values))) == len(rows) and None not in values:
            fields["id"] = name
            found.append(f"id: {name}, different in every row")
            break
    if "id" not in fields:
        found.append("id: no field differs in every row; samples are known by file and row number")
    if (cluster := _named(names, _CLUSTERS)) and cluster != fields.get("id"):
        fields["cluster"] = cluster
        found.append(f"cluster: {cluster}, {len({str(value_at(r, cluster)) for r in rows})} different")
    if fields:
        table["fields"] = fields


def _turns(rows: Sequence[dict[str, Any]], names: Sequence[str], table: dict[str, Any], found: list[str]) -> None:
    for name in names:
        lists = [row[name] for row in rows if isinstance(row.get(name), list) and row[name]]
        turn = lists[0][0] if lists and isinstance(lists[0][0], dict) else None
        if turn and (role := _named(list(turn), _ROLES)) and (text := _named(list(turn), _WORDS)):
            table["turns"] = {"layout": "list", "turns": name, "role": role, "text": text}
            said = sorted({str(each.get(role)) for one in lists for each in one if isinstance(each, dict)})
            found.append(f"turns: a list in {name}; {role} is {', '.join(said[:6])}")
            return
    question, answer = _named(names, _ASKS), _named(names, _ANSWERS)
    turns: dict[str, Any] = {"layout": "pair"}
    turns |= {"question": question} if question else {"ask": UNDECIDED}
    turns["answer"] = answer or UNDECIDED
    table["turns"] = turns
    found.append(
        f"turns: question {question or 'in no field'}, answer {answer or 'in no field that its name gives away'}"
    )
    if not answer:
        few = [n for n in names if 1 < len({str(row.get(n)) for row in rows}) <= 5]
        if few:
            found.append(f"answer: of few values each, so perhaps a label: {', '.join(few)}")


def _pictures(
    folder: Path, rows: Sequence[dict[str, Any]], names: Sequence[str], table: dict[str, Any], found: list[str]
) -> None:
    for name in names:
        values = [v for row in rows for v in (row[name] if isinstance(row.get(name), list) else [row.get(name)]) if v]
        inside = [v for v in values if isinstance(v, dict) and isinstance(v.get("bytes"), bytes)]
        paths = [v.get("path") if isinstance(v, dict) else v for v in values]
        texts = [p for p in paths if isinstance(p, str) and _PICTURE.search(p)]
        if inside:
            table["modality"], table["pictures"] = "multimodal", {"field": name}
            found.append(f"pictures: bytes inside {name}")
            return
        if values and len(texts) >= 0.9 * len(values):
            folders, there = _folders(folder, texts[:200])
            table["modality"] = "multimodal"
            table["pictures"] = {"field": name, "folders": folders or [UNDECIDED]}
            where = f"{there} are in {', '.join(folders)}" if folders else "none is below the file's folder"
            found.append(f"pictures: paths in {name}; of {len(texts[:200])} looked for, {where}")
            return
    found.append("pictures: no field names any")


def _folders(folder: Path, paths: Sequence[str]) -> tuple[list[str], int]:
    """Return the folders in which most of `paths` are, those with the most first, and how many they hold."""
    places = [folder, *(p for depth in ("*", "*/*", "*/*/*") for p in sorted(folder.glob(depth)) if p.is_dir())][:500]
    left, chosen, held = set(paths), list[str](), 0
    while left and len(chosen) < 4:
        best = max(places, key=lambda place: sum((place / path).is_file() for path in left))
        here = {path for path in left if (best / path).is_file()}
        if not here:
            break
        chosen.append(best.relative_to(folder).as_posix())
        held += len(here)
        left -= here
    return chosen, held


def _boxes(rows: Sequence[dict[str, Any]], names: Sequence[str], table: dict[str, Any], found: list[str]) -> None:
    for name in names:
        flat: list[list[float]] = []
        for row in rows:
            value = row.get(name)
            some = [value] if isinstance(value, list) and value and not isinstance(value[0], list) else value
            flat += (
                [b for b in some or [] if isinstance(b, list) and len(b) == 4 and all(_number(v) for v in b)]
                if isinstance(some, list)
                else []
            )
        if flat:
            table["boxes"] = {"field": name, **_box_form(flat)}
            found.append(f"boxes: {len(flat)} in {name}; put where <box> stands in the words")
            return
    words = "\n".join(str(row.get(n)) for row in rows[:300] for n in names)
    inline = [[float(v) for v in m] for m in _BOX.findall(words) if all(v.count(".") <= 1 and v != "." for v in m)]
    if inline:
        table["boxes"] = {"pattern": _BOX_PATTERN, **_box_form(inline)}
        found.append(f"boxes: {len(inline)} of four numbers in brackets, in the words")


def _box_form(boxes: Sequence[Sequence[float]]) -> dict[str, str]:
    """Return format and unit where the numbers prove them; corners that are out of order are none."""
    top = max(v for box in boxes for v in box)
    corners = all(b[2] > b[0] and b[3] > b[1] for b in boxes)
    unit = "unit" if top <= 1 else "pixels" if top > 1000 else UNDECIDED
    if not corners:
        return {"format": UNDECIDED, "unit": unit}
    # Boxes given by their size would mostly be smaller than their distance from the corner.
    return {"format": "xyxy" if len(boxes) >= 20 else UNDECIDED, "unit": unit}


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _flat(table: Mapping[str, Any], place: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in table.items():
        where = f"{place}{key}"
        if isinstance(value, dict):
            found += _flat(value, f"{where}.")
        else:
            found += [(where, each) for each in (value if isinstance(value, list) else [value])]
    return found


def _shipped(rows: Sequence[dict[str, Any]]) -> SourceMapping | None:
    """Return the shipped mapping whose fields all are in the rows and under which the first rows convert."""
    for file in sorted(MAPPINGS.glob("*.toml")):
        mapping = read_mapping(file)
        if not mapping.seen_real_files:
            continue
        rule = mapping.turns
        wanted = [
            rule.question,
            rule.answer,
            rule.turns,
            mapping.fields.id,
            mapping.pictures.field,
            *(t for t in mapping.tags.values() if not t.startswith("=")),
            *mapping.where,
        ]
        if all(any(value_at(row, name) is not None for row in rows) for name in wanted if name):
            return mapping
    return None
