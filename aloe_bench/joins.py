"""Two lists joined by name: what belongs together, and what is left over on either side, told and never lost."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aloe_bench.errors import DataError, did_you_mean
from aloe_bench.files import spreadsheet_safe
from aloe_bench.tables import fold

FIRST = 10


@dataclass(frozen=True, slots=True)
class Joined:
    """What belongs together: left name to right name; and what has nothing on the other side, in its list's order.

    `respelled` are pairs whose names differ in case or composition; `unclear` are groups that could be joined in more
    than one way, left out of `pairs`.
    """

    pairs: dict[str, str]
    left_only: tuple[str, ...]
    right_only: tuple[str, ...]
    respelled: tuple[tuple[str, str], ...] = ()
    unclear: tuple[tuple[str, ...], ...] = ()

    def told(self, left: str, right: str) -> list[str]:
        """Return a sentence on what either list has alone, on names spelled otherwise, and on unclear ones: how many,
        and the first ten.

        `left` and `right` say what the lists are, in the plural, as in `refuse`.
        """
        said = []
        for names, ours, theirs in ((self.left_only, left, right), (self.right_only, right, left)):
            if names:
                said.append(f"{len(names)} of the {ours} not among the {theirs}: {first_ten(names)}")
        if self.respelled:
            said.append(f"{left} and {right}: {self.respelling()}")
        if self.unclear and (fault := self.fault(left, right)):
            said.append(fault)
        return said

    def respelling(self) -> str:
        """Return in words which names were taken as the same though they are spelled differently."""
        many = "1 name differs" if len(self.respelled) == 1 else f"{len(self.respelled)} names differ"
        return f"{many} in case or composition: {first_ten([f'{a} = {b}' for a, b in self.respelled])}"

    def refuse(self, left: str, right: str) -> None:
        """Raise DataError if a name is unclear, or if both lists hold something and nothing belongs together.

        `left` and `right` say what the lists are, as in "images of annotations.json".
        """
        if fault := self.fault(left, right):
            raise DataError(f"{fault}.")

    def fault(self, left: str, right: str) -> str | None:
        """Return in words what `refuse` refuses; None if there is nothing."""
        if self.unclear:
            groups = first_ten([" and ".join(map(repr, group)) for group in self.unclear])
            return f"{left} and {right}: names that differ in case alone can be joined in two ways: {groups}"
        if self.pairs or not (self.left_only and self.right_only):
            return None
        near = did_you_mean(self.left_only[0], self.right_only)
        return (
            f"none of the {len(self.left_only)} {left} is among the {len(self.right_only)} {right}: "
            f"{first_ten(self.left_only)} against {first_ten(self.right_only)}.{near} "
            "Names are compared whole, whatever their case"
        )


def join(left: Iterable[str], right: Iterable[str]) -> Joined:
    """Return which names of `left` and `right` are the same: composed (NFC) and in any case.

    Where names of one list differ in case alone, they are joined only if the other list has exactly the same ones.
    """
    ours, theirs = _groups(left), _groups(right)
    pairs: dict[str, str] = {}
    unclear: list[tuple[str, ...]] = []
    for key in ours.keys() & theirs.keys():
        mine, other = ours[key], theirs[key]
        if len(mine) == len(other) == 1:
            pairs[mine[0]] = other[0]
        elif sorted(mine) == sorted(other):
            pairs.update((name, name) for name in mine)
        else:
            unclear.append(tuple(dict.fromkeys((*mine, *other))))
    return Joined(
        pairs=pairs,
        left_only=tuple(name for key, names in ours.items() if key not in theirs for name in names),
        right_only=tuple(name for key, names in theirs.items() if key not in ours for name in names),
        respelled=tuple(sorted((a, b) for a, b in pairs.items() if a != b)),
        unclear=tuple(sorted(unclear)),
    )


def alike(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the groups of different `names` that are one name when case and composition are left aside."""
    return [tuple(group) for group in _groups(names).values() if len(group) > 1]


class FolderNames:
    """The names in folders, each of which is listed once."""

    def __init__(self) -> None:
        self._listed: dict[Path, dict[str, list[str]]] = {}

    def same(self, path: Path) -> str | None:
        """Return the name in the folder of `path` that is its name in another case or composition, None if none is.

        Raises DataError if it may be several.
        """
        if path.parent not in self._listed:
            names = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
            self._listed[path.parent] = _groups(names)
        joined = join([path.name], self._listed[path.parent].get(fold(path.name), []))
        if joined.unclear:
            several = first_ten([name for name in joined.unclear[0] if name != path.name])
            raise DataError(f"{path.name!r} may be each of {several}; write one as it stands")
        return joined.pairs.get(path.name)


def first_ten(names: Sequence[str]) -> str:
    """Return the first ten of `names`, and how many more there are."""
    more = f" and {len(names) - FIRST} more" if len(names) > FIRST else ""
    return ", ".join(names[:FIRST]) + more


def dropped_csv(entries: Iterable[Sequence[str]], columns: Sequence[str] = ("name", "reason")) -> str:
    """Return what was left over as a CSV that a spreadsheet can open safely: a header, and a line an entry."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([spreadsheet_safe(cell) for cell in entry] for entry in entries)
    return file.getvalue()


def _groups(names: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(names):
        found[fold(name)].append(name)
    return dict(found)
