"""What two runs do not share: items, image controls and further replies of one of them alone, by name."""

from __future__ import annotations

from collections.abc import Sequence

from aloe_bench.core import Record
from aloe_bench.joins import join


def other_items(first: Sequence[Record], second: Sequence[Record]) -> list[str]:
    """Return a sentence on the items of each run that the other lacks; empty if both have the same."""
    return join(_ids(first), _ids(second)).told("items of the first", "items of the second")


def other_replies(first: Sequence[Record], second: Sequence[Record]) -> list[str]:
    """Return a sentence on the image controls and further replies of each run that the other lacks."""
    what = "image controls and further replies of the"
    said = join(_ids(first), _ids(second)).told(f"{what} first", f"{what} second")
    return [f"{sentence}. They have no part in the comparison." for sentence in said]


def _ids(records: Sequence[Record]) -> list[str]:
    return [record.sample_id for record in records]
