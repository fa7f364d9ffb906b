"""How strong a cue is: `--strength` as settings of attacks, for dose-response curves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aloe_bench.errors import DataError, UsageError, did_you_mean
from aloe_bench.heart import attacks
from aloe_bench.heart.attacks.attack import Combination, Setting
from aloe_bench.heart.draw.overlays import Rendering
from aloe_bench.heart.plan import Strength


def settings_of(used: Iterable[Combination] = ()) -> dict[str, Setting]:
    """Return the settings of the shipped attacks and of the attacks `used`, by "ATTACK.setting"."""
    every = [*attacks.shipped().values(), *(part for combination in used for part in combination.parts)]
    return {f"{attack.name}.{setting.name}": setting for attack in every for setting in attack.settings}


def parse_strength(words: Iterable[str], used: Iterable[Combination] = ()) -> Strength:
    """Return the strength that "caption.size=2,sycophancy.authority=high" asks for; raises UsageError.

    Settings are those of the shipped attacks and of the attacks `used`.
    """
    known = settings_of(used)
    given: dict[str, Any] = {}
    for word in (part.strip() for words_given in words for part in words_given.split(",") if part.strip()):
        key, equals, text = (part.strip() for part in word.partition("="))
        if key not in known or not equals:
            near, names = did_you_mean(key, known), ", ".join(known)
            raise UsageError(f"--strength {word!r}: expected SETTING=VALUE.{near} Settings: {names}.")
        if key in given:
            raise UsageError(f"--strength: {key} is given twice. One output folder holds one strength.")
        given[key] = _value(key, known[key], text)
    settings = {key: value for key, value in given.items() if known[key].usual != value}
    strength = Strength(settings, {known[key].look: value for key, value in settings.items() if known[key].look})
    try:
        strength.rendering(Rendering())
    except DataError as error:
        text = str(error)
        for key, setting in known.items():
            text = text.replace(f"{setting.look} is", f"{key} is") if setting.look else text
        raise UsageError(f"--strength: {text}") from error
    return strength


def _value(key: str, setting: Setting, text: str) -> Any:
    if setting.choices:
        if text not in setting.choices:
            raise UsageError(f"--strength {key}={text}: expected one of {', '.join(setting.choices)}.")
        return text
    whole = isinstance(setting.usual, int)
    try:
        number = int(text) if whole else float(text)
    except ValueError:
        number = -1
    if not number > 0 or number == float("inf"):
        kind = "whole number" if whole else "number"
        raise UsageError(f"--strength {key}={text}: expected a {kind} above 0.")
    return number
