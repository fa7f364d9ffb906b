"""What a reader gives back."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Parsed:
    """What was read: a letter (or "yes"/"no"), `None` if unread, and the rule that decided it."""

    letter: str | None
    rule: str
