"""The attacks by name, and how several act on one item."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from aloe_bench.core import Variant
from aloe_bench.errors import UsageError, did_you_mean
from aloe_bench.heart.attacks.caption import caption
from aloe_bench.heart.attacks.legend import legend
from aloe_bench.heart.attacks.prompt import prompt
from aloe_bench.heart.attacks.sycophancy import sycophancy
from aloe_bench.heart.draw.overlays import Rendering
from aloe_bench.heart.plan import ItemPlan
from aloe_bench.heart.shown import Attack, Shown

# In the order in which they act: a legend is part of the figure, its caption goes below both, text comes last.
ATTACKS: dict[str, Attack] = {"legend": legend, "caption": caption, "sycophancy": sycophancy, "prompt": prompt}
# In the order in which names are written ("caption+sycophancy").
NAMES = ("caption", "prompt", "sycophancy", "legend")
DRAWN = ("caption", "legend")


def attack_names(text: str) -> tuple[str, ...]:
    """Return the attacks that `--type` asks for, each once: "all", or names and compositions with commas between.

    The parts of a composition are put in the order of NAMES, so that "sycophancy+caption" is "caption+sycophancy".
    """
    found: list[str] = []
    for word in (part.strip() for part in text.split(",")):
        if word == "all":
            found.extend(NAMES)
            continue
        parts = [part.strip() for part in word.split("+")]
        for part in parts:
            if part not in NAMES:
                near = did_you_mean(part, NAMES)
                known = ", ".join(NAMES)
                raise UsageError(f"--type: {part!r} is no attack.{near} Known: {known}, all; join with + or ,.")
        if len(set(parts)) < len(parts):
            raise UsageError(f"--type: {word!r} names an attack twice; use --strength for more of one.")
        found.append("+".join(name for name in NAMES if name in parts))
    return tuple(sorted(dict.fromkeys(found), key=_place))


def _place(attack: str) -> tuple[int, tuple[int, ...]]:
    parts = attack.split("+")
    return len(parts), tuple(NAMES.index(part) for part in parts)


def applies(attack: str, task: str) -> bool:
    """Return whether `attack` can be made on an item of `task`; a legend needs boxes."""
    return task == "detection" or "legend" not in attack.split("+")


def apply(
    attack: str,
    plan: ItemPlan,
    variant: Variant,
    shown: Shown,
    rendering: Rendering,
    *,
    instead: Mapping[str, Attack] = MappingProxyType({}),
) -> Shown:
    """Return `shown` with every part of `attack` in `variant`; `instead` replaces attacks by name."""
    parts = attack.split("+")
    for name, usual in ATTACKS.items():
        if name in parts:
            act = instead.get(name, usual)
            shown = act(plan, variant, shown, rendering)
    return shown


def draws(attacks: Iterable[str]) -> bool:
    """Return whether any of `attacks` writes words into a picture."""
    return any(part in DRAWN for attack in attacks for part in attack.split("+"))
