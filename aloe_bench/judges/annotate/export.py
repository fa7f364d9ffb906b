"""The ratings as a long CSV that `aloe-bench agreement` reads and a spreadsheet can open safely."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from aloe_bench.judges.annotate.store import Rating

COLUMNS = ("item_id", "rater", "label", "comment")
# What spreadsheets take for the start of a formula (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def to_csv(ratings: Iterable[Rating]) -> str:
    """Return one line a rating under `COLUMNS`; a cell that looks like a formula gets a leading apostrophe."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for rating in ratings:
        writer.writerow([_inert(text) for text in (rating.item, rating.rater, rating.label, rating.comment)])
    return file.getvalue()


def _inert(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) or text.lstrip().startswith(_FORMULA) else text
