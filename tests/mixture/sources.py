"""Sources of every layout, made on the spot over the pictures that other tests use, with planted faults."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
from PIL import Image

PICTURES = Path(__file__).parents[1] / "data" / "careqa_mini" / "images"
NAMES = sorted(path.name for path in PICTURES.iterdir())


def llava(folder: Path, n: int = 12) -> Path:
    """A JSON list in LLaVA's layout: two turns, the mark of a picture in the words; row 3 names a picture twice."""
    rows = [
        {
            "id": f"l{i}",
            "image": NAMES[i % len(NAMES)],
            "modality": ("CT", "MRI")[i % 2],
            "conversations": [
                {"from": "human", "value": f"<image>\nWhat does picture {i} show?" + "<image>" * (i == 3)},
                {"from": "gpt", "value": f"Finding number {i} of the lung."},
            ],
        }
        for i in range(n)
    ]
    return _written(folder, "llava", {"llava.json": json.dumps(rows)}, "list", tags='[tags]\nmodality = "modality"\n')


def sharegpt(folder: Path, n: int = 8) -> Path:
    """JSON lines in ShareGPT's layout: text alone, several turns; line 2 is broken, and one id stands there twice."""
    lines = [
        json.dumps(
            {
                "id": f"s{min(i, n - 2)}",
                "conversations": [
                    {"from": "system", "value": "You are a physician."},
                    *(
                        turn
                        for k in range(1 + i % 2)
                        for turn in (
                            {"from": "human", "value": f"Question {i}.{k}: what lowers a fever?"},
                            {"from": "gpt", "value": f"Answer {i}.{k}: rest, fluids and paracetamol."},
                        )
                    ),
                ],
            }
        )
        for i in range(n)
    ]
    lines.insert(1, '{"id": "broken')
    return _written(folder, "sharegpt", {"talk.jsonl": "\n".join(lines)}, "list", modality="text", picture="")


def table(folder: Path, n: int = 6) -> Path:
    """Parquet with the pictures' bytes inside and a question and an answer in columns; row 4's answer is empty."""
    rows = [
        {
            "id": f"t{i}",
            "image": {"bytes": (PICTURES / NAMES[i % len(NAMES)]).read_bytes(), "path": None},
            "question": f"Is finding {i} there?",
            "answer": "" if i == 4 else ("yes", "no")[i % 2],
        }
        for i in range(n)
    ]
    place = _written(folder, "table", {}, "pair", files="rows.parquet")
    parquet.write_table(pa.Table.from_pylist(rows), place.parent / "rows.parquet")
    return place


def faulty(folder: Path) -> Path:
    """Question and answer in JSON lines; each row but the first has one thing wrong with its pictures."""
    place = folder / "faulty"
    (place / "pictures").mkdir(parents=True)
    Image.new("RGB", (49, 200)).save(place / "pictures" / "narrow.png")
    whole = (PICTURES / NAMES[0]).read_bytes()
    (place / "pictures" / "whole.png").write_bytes(whole)
    (place / "pictures" / "torn.png").write_bytes(whole[: len(whole) // 2])
    shown: dict[str, Any] = {
        "good": "whole.png", "six": ["whole.png"] * 6, "gone": "gone.png", "torn": "torn.png", "narrow": "narrow.png",
        "away": "../whole.png",
    }  # fmt: skip
    rows = [{"name": n, "image": p, "question": "What is it?", "answer": "A lung."} for n, p in shown.items()]
    return _written(folder, "faulty", {"rows.jsonl": "\n".join(map(json.dumps, rows))}, "pair", id_field="name")


def _written(
    folder: Path,
    name: str,
    content: dict[str, str],
    layout: str,
    *,
    modality: str = "multimodal",
    picture: str = "image",
    files: str = "",
    id_field: str = "id",
    tags: str = "",
) -> Path:
    place = folder / name
    place.mkdir(parents=True, exist_ok=True)
    for file, text in content.items():
        (place / file).write_text(text, encoding="utf-8")
    if modality == "multimodal" and not (place / "pictures").exists():
        shutil.copytree(PICTURES, place / "pictures")
    turns = (
        'layout = "list"\nturns = "conversations"\nrole = "from"\ntext = "value"'
        if layout == "list"
        else 'layout = "pair"\nquestion = "question"\nanswer = "answer"'
    )
    pictures = f'[pictures]\nfield = "{picture}"\nfolders = ["pictures"]\n' if picture else ""
    mapping = place / "mapping.toml"
    mapping.write_text(
        f'name = "{name}"\nfiles = ["{files or next(iter(content))}"]\nmodality = "{modality}"\n'
        f'domain = "medical"\nlicence = "CC0-1.0"\n\n'
        f'[fields]\nid = "{id_field}"\n\n[turns]\n{turns}\n\n{pictures}\n{tags}'
    )
    return mapping
