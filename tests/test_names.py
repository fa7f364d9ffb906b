"""One name, one meaning: a reader who meets a class need not ask which of two it is."""

import ast
from collections import defaultdict
from pathlib import Path

import aloe_bench

ROOT = Path(aloe_bench.__file__).parent
# Version 2 of the strict parser is kept as it was, and with it the names of the two classes that version 3 has too.
ALLOWED = {
    "Item": {"answers/compat/strict2/options.py", "answers/strict/references.py"},
    "Parsed": {"answers/compat/strict2/reading.py", "answers/strict/reading.py"},
}


def test_no_public_class_name_is_defined_in_two_modules() -> None:
    places: dict[str, set[str]] = defaultdict(set)
    for path in ROOT.rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].add(path.relative_to(ROOT).as_posix())
    assert len(places) > 100, places  # the package was really read
    twice = {name: files for name, files in places.items() if len(files) > 1}
    assert twice == ALLOWED
