"""Two lists joined by name: what belongs together, and what is left over on either side, told and never lost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aloe_bench.errors import DataError, did_you_mean
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


def first_ten(names: Sequence[str]) -> str:
    """Return the first ten of `names`, and how many more there are."""
    more = f" and {len(names) - FIRST} more" if len(names) > FIRST else ""
    return ", ".join(names[:FIRST]) + more


def _groups(names: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(names):
        found[fold(name)].append(name)
    return dict(found)
