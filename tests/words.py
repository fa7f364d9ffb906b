"""Names lines with words that read as translated: `python -m tests.words`; the list is words.toml."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_name("words.toml")
TEXTS = ("README.md", "CONTRIBUTING.md", "docs/**/*.md", "aloe_bench/**/*.py", "aloe_bench/**/*.html", "examples/*.py")


def texts() -> Iterator[Path]:
    """Yield what users and contributors read, frozen texts left out."""
    excepted = tuple(tomllib.loads(LIST.read_text(encoding="utf-8"))["except"]["paths"])
    for pattern in TEXTS:
        for path in sorted(ROOT.glob(pattern)):
            if not path.relative_to(ROOT).as_posix().startswith(excepted):
                yield path


def faults(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield (line, words found, what to write) for each word of the list in `text`."""
    words = tomllib.loads(LIST.read_text(encoding="utf-8"))["word"]
    patterns = [(re.compile(word["pattern"], re.IGNORECASE), word["write"]) for word in words]
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, write in patterns:
            if found := pattern.search(line):
                yield number, found.group(), write


def main() -> int:
    """Print each fault with its place; 1 if there is one."""
    found = 0
    for path in texts():
        for number, words, write in faults(path.read_text(encoding="utf-8")):
            found = 1
            print(f"{path.relative_to(ROOT)}:{number}: {words!r}; write: {write}")
    return found


if __name__ == "__main__":
    sys.exit(main())
