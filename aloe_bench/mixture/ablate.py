"""Variants of a mixture, each with one thing taken away, and how often each is to be passed for as many updates.

After Aloe-Vision, appendix D: a modality or a domain left out, leakage kept, the filter or the balance skipped.

    OUTPUT/full/, OUTPUT/without-text/, ...   each variant, built
    OUTPUT/without-text.toml, ...             what each was built from
    OUTPUT/ablation.json                      rows, epochs and updates of each
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from aloe_bench.errors import DataError, UsageError
from aloe_bench.files import write_atomic, write_json
from aloe_bench.mixture.build import MixtureRecipe, Report, build
from aloe_bench.mixture.pool import Pool
from aloe_bench.mixture.read import read_sources
from aloe_bench.mixture.source import SourceMapping, load_source
from aloe_bench.mixture.workplace import this_machine

Match = Literal["full", "largest"]
FULL = "full"
TABLE = "ablation.json"
# What a model said of samples, which holds whatever mixture they are in.
_SAID = ("tag", "perplexity")


@dataclass(frozen=True, slots=True)
class AblationVariant:
    """A variant as built: its rows, and how many epochs it is to be trained for, with its updates."""

    name: str
    what: str
    rows: int
    epochs: int
    updates: int


def variants(recipe: MixtureRecipe) -> dict[str, tuple[str, MixtureRecipe]]:
    """Return each variant's name, what it leaves out in words, and its recipe; the full mixture first.

    A modality or domain is left out where the sources have two of them, a step where the recipe has it.
    """
    mappings = [(each, load_source(each.use)[0]) for each in recipe.source]
    found = {FULL: ("nothing", recipe)}
    for what in ("modality", "domain"):
        values = sorted({getattr(mapping, what) for _, mapping in mappings})
        for value in values if len(values) > 1 else ():
            left = [(use, mapping) for use, mapping in mappings if getattr(mapping, what) != value]
            smaller = replace(recipe, source=tuple(use for use, _ in left))
            found[f"without-{value}"] = f"{what} {value}", _of_sources(smaller, [m for _, m in left])
    if recipe.leakage:
        found["with-leakage"] = "the step leakage", replace(recipe, leakage=None)
    if recipe.filter:
        found["unfiltered"] = "the step filter", replace(recipe, filter=None)
    if recipe.rebalance:
        found["unbalanced"] = "the step rebalance", replace(recipe, rebalance=None)
    if recipe.filter and recipe.rebalance:
        found["raw"] = "the steps filter and rebalance", replace(recipe, filter=None, rebalance=None)
    return found


def _of_sources(recipe: MixtureRecipe, left: list[SourceMapping]) -> MixtureRecipe:
    """Return `recipe` without the limits and budgets of sources and categories that are not `left`."""
    names = {mapping.name for mapping in left} | {f"{mapping.modality}/{mapping.domain}" for mapping in left}

    def some(given: Mapping[str, float]) -> dict[str, float]:
        return {name: number for name, number in given.items() if name in names}

    if recipe.filter:
        given = recipe.filter
        limits = replace(
            given,
            min_score=some(given.min_score),
            min_perplexity=some(given.min_perplexity),
            max_perplexity=some(given.max_perplexity),
            max_in_picture=some(given.max_in_picture),
        )
        recipe = replace(recipe, filter=limits)
    if recipe.rebalance:
        tokens, shares = some(recipe.rebalance.tokens), some(recipe.rebalance.shares)
        kept = replace(recipe.rebalance, tokens=tokens, shares=shares) if tokens or shares else None
        recipe = replace(recipe, rebalance=kept)
    return recipe


def ablate(
    recipe: MixtureRecipe, output: Path, epochs: int, batch: int, match: Match = "full",
    report: Report = lambda title: lambda done, total: None, api_key: str = "EMPTY",
) -> list[AblationVariant]:  # fmt: skip
    """Return every variant, built below `output`; the same call resumes.

    `epochs` and `batch` are what the full mixture is trained with: floor(rows / batch) x epochs updates, as train-sft
    counts. With `match` "full" a smaller variant is passed so often that it has at least as many, as in the paper, and
    a larger one has more; with "largest" all have at least those of the largest variant.
    Raises UsageError for a mixture with nothing to leave out, DataError if one variant has fewer rows than a batch.
    """
    asked = variants(recipe)
    if len(asked) == 1:
        raise UsageError(
            f"{recipe.name}: one modality and domain, no leakage, filter or rebalance: nothing to leave out."
        )
    rows: dict[str, int] = {}
    for name, (_, variant) in asked.items():
        write_atomic(output / f"{name}.toml", as_toml(variant))
        if name != FULL:
            _begin(variant, output / FULL, output / name, same_sources=variant.source == recipe.source)
        card = build(variant, output / name, _named(report, name), api_key)
        rows[name] = sum(int(line["samples"]) for line in card["table_1"])
        if rows[name] < batch:
            raise DataError(f"{name}: {rows[name]} rows are fewer than a batch of {batch}; give a smaller --batch.")
    wanted = epochs * ((rows[FULL] if match == "full" else max(rows.values())) // batch)
    found = []
    for name, (what, _) in asked.items():
        a_pass = rows[name] // batch
        times = max(epochs, math.ceil(wanted / a_pass))
        found.append(AblationVariant(name, what, rows[name], times, a_pass * times))
    settings = {"epochs": epochs, "batch": batch, "match": match}
    write_json(output / TABLE, {**settings, "variants": [asdict(each) for each in found]})
    return found


def _named(report: Report, name: str) -> Report:
    return lambda title: report(f"{name}: {title}")


def _begin(variant: MixtureRecipe, full: Path, folder: Path, *, same_sources: bool) -> None:
    """Give a variant what holds for it too: all of the full pool, or with fewer sources what models said."""
    if same_sources:
        # Files are replaced and never written into, but for what models said, which is appended to.
        _copied(full, folder, _linked)
        return
    sources = [load_source(each.use) for each in variant.source]
    read_sources(Pool(folder), sources, variant.seed, this_machine(variant.workers).spread)
    for part in _SAID:
        if (full / part).is_dir():
            _copied(full / part, folder / part, shutil.copy2)


def _copied(source: Path, target: Path, copy: Callable[[str, str], object]) -> None:
    """Copy a folder unless it is there, whole or not at all."""
    if target.exists():
        return
    temporary = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(source, temporary, symlinks=True, copy_function=copy)
    os.replace(temporary, target)


def _linked(source: str, target: str) -> str:
    if source.endswith(".jsonl") and Path(source).parent.name in _SAID:
        return str(shutil.copy2(source, target))
    os.link(source, target)
    return target


def as_toml(recipe: MixtureRecipe) -> str:
    """Return a recipe as the TOML file that `load_recipe` reads; what is not set is left out."""
    values = {name: value for name, value in asdict(recipe).items() if value is not None}
    sources = values.pop("source")
    tables = {name: values.pop(name) for name in list(values) if isinstance(values[name], dict)}
    lines = _lines(values)
    for source in sources:
        lines += ["", "[[source]]", *_lines(source)]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *_lines(table)]
    return "\n".join(lines) + "\n"


def _lines(table: Mapping[str, Any]) -> list[str]:
    return [f"{_text(name)} = {_value(value)}" for name, value in table.items() if value not in (None, "", {}, ())]


def _text(text: str) -> str:
    # DEL has to be escaped in TOML, and is not in JSON.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_text(name)} = {_value(each)}" for name, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    return _text(value) if isinstance(value, str) else json.dumps(value)
