"""A defence: words that stand before every prompt of a run, such as a warning of false captions."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from aloe_bench.errors import DataError, UsageError, did_you_mean

MOST_CHARS = 4000


@dataclass(frozen=True, slots=True)
class Defence:
    """Words before the prompt, and what they are called; the header holds both, and a run's identity rests on them."""

    name: str
    text: str

    @property
    def sha256(self) -> str:
        """The hash of the words."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def shipped() -> tuple[str, ...]:
    """Return the names of the defences in this package."""
    folder = resources.files("aloe_bench.evaluation") / "defences"
    return tuple(sorted(entry.name.removesuffix(".txt") for entry in folder.iterdir() if entry.name.endswith(".txt")))


def load_defence(name_or_path: str) -> Defence:
    """Return a shipped defence by name, or the words in a text file of the user's; raises UsageError or DataError."""
    path, known = Path(name_or_path), shipped()
    if name_or_path in known:
        text = (resources.files("aloe_bench.evaluation") / "defences" / f"{name_or_path}.txt").read_text("utf-8")
        return Defence(name_or_path, text.strip())
    if not path.suffix and not path.exists():
        raise UsageError(
            f"--defence {name_or_path!r}: neither a file nor one of {', '.join(known)}."
            f"{did_you_mean(name_or_path, known)}"
        )
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--defence {path}: not readable as UTF-8 text ({error}). Give a text file.") from error
    if not text or len(text) > MOST_CHARS:
        raise DataError(f"--defence {path}: {len(text)} characters; expected 1 to {MOST_CHARS}, words for the prompt.")
    return Defence(path.stem, text)
