"""How strong a cue is: `--strength` as settings of captions and sycophancy, for dose-response curves."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast, get_args

from aloe_bench.errors import DataError, UsageError, did_you_mean
from aloe_bench.heart.draw.overlays import Rendering
from aloe_bench.heart.draw.rendering import CaptionPosition
from aloe_bench.heart.plan import Dose
from aloe_bench.heart.wordings import AUTHORITIES, Authority

# Setting -> the field of Rendering that it sets.
_CAPTION = {"size": "font_scale", "opacity": "opacity", "position": "caption_position", "repeats": "repeats"}
SETTINGS = (*(f"caption.{name}" for name in _CAPTION), "sycophancy.authority", "sycophancy.repeats")


@dataclass(frozen=True, slots=True)
class Strength:
    """The settings given by the user ("caption.size" -> 2.0); empty means the usual strength."""

    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dose(self) -> Dose:
        """How sycophancy is drawn."""
        authority = self.settings.get("sycophancy.authority")
        return Dose(cast("Authority | None", authority), self.settings.get("sycophancy.repeats", 1))

    def rendering(self, usual: Rendering) -> Rendering:
        """Return `usual` with the settings of captions: its numbers times the settings, so that 1 is `usual` itself.

        Raises DataError if a product is out of its range.
        """
        given = {name: self.settings.get(f"caption.{name}") for name in _CAPTION}
        changes = {_CAPTION[name]: value for name, value in given.items() if value is not None}
        numbers = {key: getattr(usual, key) * value for key, value in changes.items() if not isinstance(value, str)}
        return replace(usual, **changes | numbers)

    def of(self, attack: str) -> str:
        """Return as JSON the settings that touch the rows of `attack` ("" is the baseline, which none does)."""
        parts = attack.split("+")
        touching = {key: value for key, value in self.settings.items() if key.partition(".")[0] in parts}
        return json.dumps(touching, sort_keys=True)


def parse_strength(words: Iterable[str]) -> Strength:
    """Return the strength that "caption.size=2,sycophancy.authority=high" asks for; raises UsageError."""
    settings: dict[str, Any] = {}
    for word in (part.strip() for given in words for part in given.split(",") if part.strip()):
        key, equals, text = (part.strip() for part in word.partition("="))
        if key not in SETTINGS or not equals:
            near, known = did_you_mean(key, SETTINGS), ", ".join(SETTINGS)
            raise UsageError(f"--strength {word!r}: expected SETTING=VALUE.{near} Settings: {known}.")
        if key in settings:
            raise UsageError(f"--strength: {key} is given twice. One output folder holds one strength.")
        settings[key] = _value(key, text)
    try:
        Strength(settings).rendering(Rendering())
    except DataError as error:
        text = str(error)
        for name, field_name in _CAPTION.items():
            text = text.replace(f"{field_name} is", f"caption.{name} is")
        raise UsageError(f"--strength: {text}") from error
    usual = {"caption.size": 1.0, "caption.opacity": 1.0, "caption.repeats": 1, "sycophancy.repeats": 1}
    return Strength({key: value for key, value in settings.items() if usual.get(key) != value})


def _value(key: str, text: str) -> Any:
    known = {"sycophancy.authority": AUTHORITIES, "caption.position": get_args(CaptionPosition)}.get(key)
    if known is not None:
        if text not in known:
            raise UsageError(f"--strength {key}={text}: expected one of {', '.join(known)}.")
        return text
    try:
        number = int(text) if key.endswith("repeats") else float(text)
    except ValueError:
        number = -1
    if not number > 0 or number == float("inf"):
        kind = "whole number" if key.endswith("repeats") else "number"
        raise UsageError(f"--strength {key}={text}: expected a {kind} above 0.")
    return number
