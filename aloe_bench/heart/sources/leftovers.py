"""What a source holds that gives no item, or that is taken otherwise than it stands: every entry, with its reason."""

from __future__ import annotations

from dataclasses import dataclass, field

from aloe_bench.joins import Joined, first_ten


@dataclass(frozen=True, slots=True, order=True)
class LeftOver:
    """One entry: `what` kind it is ("picture", "box", "mask", ...), the `name` it goes by, and `reason`, what became
    of it."""

    what: str
    name: str
    reason: str
    task: str = ""
    class_name: str = ""


@dataclass(slots=True)
class Leftovers:
    """Collects left over entries, and notes on what was read in another spelling."""

    entries: list[LeftOver] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, what: str, name: str, reason: str, *, task: str = "", class_name: str = "") -> None:
        """Note one entry."""
        self.entries.append(LeftOver(what, name, reason, task, class_name))

    def respelled(self, joined: Joined, left: str, right: str) -> None:
        """Note names that were taken as the same though they are spelled differently."""
        if joined.respelled:
            pairs = first_ten([f"{a} = {b}" for a, b in joined.respelled])
            many = "1 name differs" if len(joined.respelled) == 1 else f"{len(joined.respelled)} names differ"
            self.notes.append(f"{left} and {right}: {many} in case or composition: {pairs}")


def sentences(entries: tuple[LeftOver, ...]) -> list[str]:
    """Return a sentence for each kind of entry and reason: how many, and the first ten."""
    groups: dict[tuple[str, str], list[str]] = {}
    for entry in sorted(entries):
        groups.setdefault((entry.what, entry.reason), []).append(entry.name)
    return [
        f"{_counted(len(names), what)}, {reason}: {first_ten(list(dict.fromkeys(names)))}"
        for (what, reason), names in groups.items()
    ]


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" + ("" if n == 1 else "es" if what.endswith(("x", "s")) else "s")
