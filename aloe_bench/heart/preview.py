"""A contact sheet."""

from pathlib import Path
from typing import Any


def write_sheet(items: Any, recipe: Any, n: int, output: Path) -> int:
    return 0
