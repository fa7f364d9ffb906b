"""What is wrong with files, every mistake at once with its place, and what in them gives no item, with its reason."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from aloe_bench.errors import DataError
from aloe_bench.joins import Joined, first_ten

MAX_FILE_BYTES = 1_000_000_000


@dataclass(slots=True)
class Problems:
    """Collects what is wrong; `stop_if_any` raises it as one DataError, a line each."""

    lines: list[str] = field(default_factory=list)

    def add(self, where: str, message: str) -> None:
        """Note `message` about `where` ("labels.csv:3")."""
        self.lines.append(f"{where}: {message}")

    def stop_if_any(self, what: str) -> None:
        """Raise DataError with every line noted so far; do nothing if there is none."""
        if not self.lines:
            return
        many = "1 problem" if len(self.lines) == 1 else f"{len(self.lines)} problems"
        shown = "\n".join(f"  {line}" for line in self.lines)
        raise DataError(f"{what}: {many}; nothing was written. Correct and run again.\n{shown}")


def read_text(path: Path, what: str) -> str:
    """Return the UTF-8 text of `path`; raises DataError that says `what` was expected there."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DataError(f"{path}: larger than {MAX_FILE_BYTES} bytes; expected {what}.")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file; expected {what}.") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(f"{path}:{line}: not UTF-8 text ({error.reason}); save the file as UTF-8.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); expected {what}.") from error


def toml_line(text: str, table: str, key: str | None = None, nth: int = 0) -> int:
    """Return the line of `key` in the `nth` [table] or [[table]] of TOML `text`; the table's, or 1, if not found."""
    header = re.compile(rf"\s*\[{{1,2}}\s*{re.escape(table)}\s*\]{{1,2}}\s*(#.*)?$") if table else None
    wanted = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=") if key else None
    seen, inside, found = -1, header is None, 1
    for number, line in enumerate(text.splitlines(), start=1):
        if header and header.match(line):
            seen += 1
            inside = seen == nth
            found = number if inside else found
            if inside and wanted is None:
                return number
        elif re.match(r"\s*\[{1,2}[^\[\]=]+\]{1,2}\s*(#.*)?$", line):
            inside = False
        elif inside and wanted and wanted.match(line):
            return number
    return found


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
            self.notes.append(f"{left} and {right}: {joined.respelling()}")


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
