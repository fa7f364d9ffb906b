"""The ratings as a long CSV that `aloe-bench agreement` reads and a spreadsheet can open safely."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from aloe_bench.judges.annotate.store import Rating
from aloe_bench.runlog import inert

COLUMNS = ("item_id", "rater", "label", "comment")


def to_csv(ratings: Iterable[Rating]) -> str:
    """Return one line a rating under `COLUMNS`; a cell that looks like a formula gets a leading apostrophe."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for rating in ratings:
        writer.writerow([inert(text) for text in (rating.item, rating.rater, rating.label, rating.comment)])
    return file.getvalue()
