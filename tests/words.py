"""Names lines with words that read as translated, and prose that is too wide or too long: `python -m tests.words`.

The list of words is words.toml. Prose of docs has at most 100 columns per line and 80 words per paragraph, so that a
page can be read on a phone and a change in a diff; code, tables and generated pages are excepted.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_name("words.toml")
MOST_COLUMNS, MOST_WORDS = 100, 80
GENERATED = ("miniature-study.md", "models.md", "tasks.md")
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


def prose(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line, what is wrong) for prose of over 100 columns or over 80 words; code and tables are not prose."""
    code, begun, words = False, 0, 0
    for number, line in enumerate([*text.splitlines(), ""], 1):
        stripped = line.strip()
        fence = stripped.startswith("```")
        apart = code or fence or not stripped or stripped.startswith(("|", "#", "<", "!", ":::", ">"))
        if apart or re.match(r"([-*]|\d+\.)\s", stripped):
            if words > MOST_WORDS:
                yield begun, f"a paragraph of {words} words, more than {MOST_WORDS}"
            begun, words = number, 0
        if not apart:
            begun, words = begun if words else number, words + len(stripped.split())
            if len(line) > MOST_COLUMNS:
                yield number, f"{len(line)} columns, more than {MOST_COLUMNS}"
        code ^= fence


def main() -> int:
    """Print each fault with its place; 1 if there is one."""
    found = 0
    for path in texts():
        for number, words, write in faults(path.read_text(encoding="utf-8")):
            found = 1
            print(f"{path.relative_to(ROOT)}:{number}: {words!r}; write: {write}")
        if path.suffix == ".md" and path.name not in GENERATED:
            for number, fault in prose(path.read_text(encoding="utf-8")):
                found = 1
                print(f"{path.relative_to(ROOT)}:{number}: {fault}")
    return found


if __name__ == "__main__":
    sys.exit(main())
