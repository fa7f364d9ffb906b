"""The attacks by name: those of the package, and those that a user brings."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from functools import cache

from aloe_bench import registry
from aloe_bench.errors import DataError, UsageError
from aloe_bench.heart.attacks.attack import Attack, Combination
from aloe_bench.heart.wordings import CueTable, TemplateSet


@cache
def shipped() -> Mapping[str, Attack]:
    """Return the attacks of the package by name, in the order in which names are written ("caption+sycophancy")."""
    return {name: registry.resolve("attack", registry.ATTACKS, name) for name in registry.ATTACKS}


def parse_attacks(
    text: str, tasks: Collection[str] | None = None, templates: TemplateSet | None = None, *, published: bool = False
) -> tuple[Combination, ...]:
    """Return what `--type` asks for, each once: "all", or names and combinations with commas between.

    "all" means all that fit one of `tasks`, where these are given, and that `templates` has words for (`unfit` names
    the others); without a template set, those that every set has words for. `published` leaves out our own attacks.
    A name is that of a shipped or installed attack, or FILE.py:NAME. The parts of a combination are put in the order
    of the names, so that "sycophancy+caption" is "caption+sycophancy".
    """
    known: dict[str, Attack] = dict(shipped())
    found: dict[tuple[str, ...], None] = {}
    for word in (part.strip() for part in text.split(",")):
        if word == "all":
            left = {*(unfit(tasks) if tasks is not None else ()), *unworded(templates)}
            names = [name for name, attack in shipped().items() if attack.published or not published]
            found |= {(name,): None for name in names if name not in left}
            continue
        parts = [_named(part.strip(), known) for part in word.split("+")]
        if len(set(parts)) < len(parts):
            raise UsageError(f"--type: {word!r} names an attack twice; use --strength for more of one.")
        found[tuple(sorted(parts, key=[*known].index))] = None
    ordered = sorted(found, key=lambda names: (len(names), [[*known].index(name) for name in names]))
    return tuple(Combination(tuple(known[name] for name in names)) for names in ordered)


def unfit(tasks: Collection[str]) -> list[str]:
    """Return the shipped attacks that fit none of `tasks`."""
    return [name for name, attack in shipped().items() if not any(map(Combination((attack,)).fits, tasks))]


def unworded(templates: TemplateSet | None) -> list[str]:
    """Return the shipped attacks that `templates` has no words for; without a set, those that a set may lack."""
    tables = {name: attack.wordings for name, attack in shipped().items()}
    optional = {name: table.name for name, table in tables.items() if isinstance(table, CueTable) and table.optional}
    return [name for name, table in optional.items() if templates is None or not templates.cues.get(table)]


def _named(word: str, known: dict[str, Attack]) -> str:
    """Return the name of the attack that `word` asks for, which is in `known` then."""
    if word in known:
        return word
    attack = registry.resolve("attack", registry.ATTACKS, word)
    if not isinstance(attack, Attack):
        raise DataError(f"{word}: {type(attack).__name__}; expected an Attack (aloe_bench.heart.attacks.attack).")
    if attack.name in known and known[attack.name].act is not attack.act:
        raise UsageError(f"{word}: there is an attack {attack.name!r} already; give yours another name.")
    known[attack.name] = replace(attack, origin=registry.origin(attack))
    return attack.name


def needs_boxes(name: str) -> bool:
    """Return whether the attack that a row names has a part that needs boxes, as far as it is a shipped one."""
    return any(part in shipped() and shipped()[part].needs_boxes for part in name.split("+"))


def in_order(names: Iterable[str]) -> list[str]:
    """Return `names` of attacks in the order of Table 4, all others sorted after them."""
    names = set(names)
    return [*(name for name in registry.ATTACKS if name in names), *sorted(names - set(registry.ATTACKS))]
