"""CareQA-Vision: questions with images from the Spanish residency exams of 2020-2024.

Source: Aloe-Vision, section 4 and appendix E. Hub dataset HPAI-BSC/CareQA-Vision, Apache-2.0.
Closed: 42 nursing + 123 medicine; open: 28 + 108.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aloe_bench.core import LETTERS, Kind, Sample
from aloe_bench.errors import DataError
from aloe_bench.tasks import formats
from aloe_bench.tasks.careqa_vision.rows import images_of, read_rows, text_of


@dataclass(frozen=True, slots=True)
class CareQAVision:
    """One of the two CareQA-Vision tasks."""

    name: str
    kind: Kind
    file: str
    expected_rows: int
    version: int = 1
    source: str = "HPAI-BSC/CareQA-Vision"
    revision: str = "main"
    licence: str = "Apache-2.0"

    def load(self, root: Path) -> Iterator[Sample]:
        """Yield the samples of `root`; raises DataError naming file, row and what was expected."""
        path = self._find(root)
        seen: set[str] = set()
        for number, row in enumerate(read_rows(path), 1):
            where = f"{path}: row {number}"
            unique_id = text_of(row, "unique_id", where)
            if unique_id in seen:
                raise DataError(f"{where}: unique_id {unique_id!r} occurs twice; every question needs its own id.")
            seen.add(unique_id)
            yield self._sample(row, unique_id, where, path.parent)

    def prompt(self, sample: Sample) -> str:
        """Return the text of the user turn."""
        return formats.prompt(sample)

    def _find(self, root: Path) -> Path:
        places = [root / self.file, root / "careqa_vision" / self.file, root / "CareQA-Vision" / self.file]
        for place in places:
            if place.is_file():
                return place
        looked = ", ".join(str(place) for place in places)
        raise DataError(
            f"{self.name}: {self.file} not found; looked for {looked}. Fetch it with "
            f"`hf download {self.source} --repo-type dataset --local-dir DIR` and pass --data-root DIR."
        )

    def _sample(self, row: dict[str, Any], unique_id: str, where: str, folder: Path) -> Sample:
        images = images_of(row, where, folder)
        choices = tuple(text_of(row, f"op{i}", where) for i in range(1, 5)) if self.kind == "choice" else ()
        target = _letter(row, where, len(choices)) if choices else text_of(row, "answer", where)
        return Sample(
            id=f"careqa_vision/{unique_id}",
            kind=self.kind,
            question=text_of(row, "question", where),
            target=target,
            cluster=images[0].sha256,
            images=images,
            choices=choices,
            tags={"dataset": "careqa_vision", "category": _category(row, where), "year": str(row.get("year", ""))},
        )


def _letter(row: dict[str, Any], where: str, n: int) -> str:
    cop = row.get("cop")
    number = int(cop) if isinstance(cop, str) and cop.strip().isdecimal() else cop
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= n:
        raise DataError(f"{where}: cop {cop!r} is not one of 1-{n}; it counts the options from 1.")
    return LETTERS[number - 1]


def _category(row: dict[str, Any], where: str) -> str:
    category = text_of(row, "category", where).strip().capitalize()
    if category not in ("Medicine", "Nursing"):
        raise DataError(f"{where}: category {row['category']!r} is neither Medicine nor Nursing.")
    return category


MCQ = CareQAVision(name="careqa_vision_mcq", kind="choice", file="CareQA-Vis_close.json", expected_rows=165)
OPEN = CareQAVision(name="careqa_vision_open", kind="open", file="CareQA-Vis_open.json", expected_rows=136)
