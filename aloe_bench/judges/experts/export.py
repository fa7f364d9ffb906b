"""The ratings as a long CSV that `aloe-bench agreement` reads and a spreadsheet can open safely."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping

from aloe_bench.files import spreadsheet_safe
from aloe_bench.judges.experts.annotations import ANSWER, answer_digest
from aloe_bench.judges.experts.store import Rating

COLUMNS = ("item_id", "rater", "label", "comment", ANSWER)


def to_csv(ratings: Iterable[Rating], answers: Mapping[str, str]) -> str:
    """Return one line a rating under `COLUMNS`; a cell that looks like a formula gets a leading apostrophe.

    `answers` holds what was rated, by item; its digest lets `agreement` refuse another run's answers.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for rating in ratings:
        cells = (rating.item, rating.rater, rating.label, rating.comment, answer_digest(answers.get(rating.item, "")))
        writer.writerow([spreadsheet_safe(text) for text in cells])
    return file.getvalue()
