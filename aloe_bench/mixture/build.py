"""A whole mixture from one TOML file: every step in its order, then the exports, the card and its description.

    name = "mine"                seed = 0                workers = 2
    [[source]]  use = "fracatlas:DIR"                    one per source: FILE.toml, FILE.toml:DIR, or shipped:DIR
    [clean]     model = "CHECKPOINT"  max_pixels = 602112  max_length = 4096  max_pictures = 5  min_side = 50
    [leakage]   against = ["slake", "DIR"]  radius = 0  data_root = "data"  text = "none"  label  view  decoys  variants
    [tag]       model = "NAME"  base_url = ["http://..."]  backend  batch_size  options = {...}; so [perplexity] too
    [ocr]
    [filter]    min_score = {...}  min_perplexity  max_perplexity  max_in_picture = {...}  note
    [rebalance] tokens = {...} or shares = {...}, by = "source"  total  spill  upsample
    [coverage]  pairs = [["modality", "anatomy"]]
    [export]    formats = ["train-sft", "trl", "llama-factory"]
    [about]     description, url, creator, date, version, cite

Paths are relative to the file. Every step resumes, and the same file gives the same bytes.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from aloe_bench.checked import checked
from aloe_bench.errors import DataError, UsageError
from aloe_bench.files import write_atomic, write_json
from aloe_bench.mixture.card import as_markdown, card, checks
from aloe_bench.mixture.clean import Cleaning, Processor, clean
from aloe_bench.mixture.coverage import coverage, write_coverage
from aloe_bench.mixture.croissant import croissant
from aloe_bench.mixture.evaluation import evaluation_set
from aloe_bench.mixture.exports import ExportFormat, write_exports
from aloe_bench.mixture.filter import QualityLimits, filter_pool
from aloe_bench.mixture.leakage import FOLDER, LeakageSearch, TextDrop, leakage
from aloe_bench.mixture.ocr import ocr
from aloe_bench.mixture.perplexity import perplexity
from aloe_bench.mixture.pool import Pool, kept, write_table
from aloe_bench.mixture.read import read_sources
from aloe_bench.mixture.rebalance import LIST, Budget, rebalance
from aloe_bench.mixture.source import load_source
from aloe_bench.mixture.tags import tag
from aloe_bench.mixture.workplace import Workplace, this_machine
from aloe_bench.models.make import ModelSpec
from aloe_bench.training.data.filters import Limits

Report = Callable[[str], Callable[[int, int], None]]
_LIMITS = Limits()
_TYPES = {"id": "sc:Text", "source": "sc:Text", "weight": "sc:Integer", "reason": "sc:Text"}


@dataclass(frozen=True, slots=True)
class UsedSource:
    """A source of a recipe."""

    use: str


@dataclass(frozen=True, slots=True)
class CleanWish:
    """Settings of the step `clean`."""

    model: str = ""
    min_pixels: int | None = None
    max_pixels: int | None = None
    max_length: int = _LIMITS.max_length
    max_pictures: int = _LIMITS.max_pictures
    min_side: int = _LIMITS.min_side_px
    pictures: bool = True


@dataclass(frozen=True, slots=True)
class LeakageWish:
    """Settings of the step `leakage`."""

    against: tuple[str, ...]
    radius: int = 0
    data_root: str = "data"
    text: TextDrop = "none"
    label: str = ""
    view: str = ""
    decoys: str = ""
    variants: tuple[Literal["mirror", "crop"], ...] = ()


@dataclass(frozen=True, slots=True)
class ModelWish:
    """The model of a step, as `aloe-bench run` is told of one; `model` may be a folder beside the file."""

    model: str
    backend: str = "auto"
    base_url: tuple[str, ...] = ()
    batch_size: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OcrWish:
    """Pictures are to be read."""


@dataclass(frozen=True, slots=True)
class RebalanceWish:
    """Settings of the step `rebalance`."""

    by: Literal["source", "category"] = "source"
    tokens: Mapping[str, float] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)
    total: float | None = None
    spill: bool = False
    upsample: bool = False


@dataclass(frozen=True, slots=True)
class CoverageWish:
    """Pairs of tags to be counted."""

    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ExportWish:
    """What is written for trainers."""

    formats: tuple[ExportFormat, ...] = ("train-sft",)


@dataclass(frozen=True, slots=True)
class MixtureRecipe:
    """A mixture as its TOML file asks for it; a step without a table is not done."""

    name: str
    source: tuple[UsedSource, ...]
    seed: int = 0
    workers: int = 1
    clean: CleanWish = CleanWish()
    leakage: LeakageWish | None = None
    tag: ModelWish | None = None
    perplexity: ModelWish | None = None
    ocr: OcrWish | None = None
    filter: QualityLimits | None = None
    rebalance: RebalanceWish | None = None
    coverage: CoverageWish | None = None
    export: ExportWish = ExportWish()
    about: Mapping[str, str] = field(default_factory=dict)


def load_recipe(path: Path) -> MixtureRecipe:
    """Return the mixture that a TOML file asks for, its paths made absolute. Raises DataError for what is not known."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable as TOML ({error}).") from error
    wish = checked(table, MixtureRecipe, str(path))
    if not wish.source:
        raise UsageError(f"{path}: no [[source]]; a mixture has one at least.")
    base = path.resolve().parent
    if wish.leakage:
        place = _place(base, wish.leakage.data_root)
        decoys = wish.leakage.decoys and str(base / wish.leakage.decoys)
        against = tuple(str(base / each) if (base / each).is_dir() else each for each in wish.leakage.against)
        wish = replace(wish, leakage=replace(wish.leakage, data_root=place, decoys=decoys, against=against))
    if wish.clean.model:
        wish = replace(wish, clean=replace(wish.clean, model=_place(base, wish.clean.model)))
    tagger, reader = _beside(base, wish.tag), _beside(base, wish.perplexity)
    wish = replace(wish, tag=tagger, perplexity=reader)
    return replace(wish, source=tuple(UsedSource(_used(base, each.use)) for each in wish.source))


def _place(base: Path, name: str) -> str:
    return str(base / name)


def _beside(base: Path, asked: ModelWish | None) -> ModelWish | None:
    return replace(asked, model=str(base / asked.model)) if asked and (base / asked.model).is_dir() else asked


def _used(base: Path, use: str) -> str:
    name, colon, folder = use.partition(":")
    name = _place(base, name) if name.endswith(".toml") else name
    return f"{name}{colon}{_place(base, folder) if colon else ''}"


def build(
    wish: MixtureRecipe,
    output: Path,
    report: Report = lambda title: lambda done, total: None,
    api_key: str = "EMPTY",
    workplace: Workplace | None = None,
) -> dict[str, Any]:
    """Make the mixture in the folder `output`, resuming where an earlier session stopped; return what its card says.

    `api_key` is for the servers that tag; it is never recorded. `workplace` is by default this machine, with the
    recipe's number of processes; everywhere the mixture is the same.
    """
    place = workplace or this_machine(wish.workers)
    pool = Pool(output)
    read_sources(pool, [load_source(each.use) for each in wish.source], wish.seed, place.spread, report("files"))
    ask = wish.clean
    limits = Limits(ask.max_length, ask.max_pictures, ask.min_side)
    processor = Processor(Path(ask.model), ask.min_pixels, ask.max_pixels) if ask.model else None
    clean(pool, Cleaning(limits, processor, ask.pictures), place.spread, report)
    for step in ("leakage", "tag", "perplexity", "ocr", "filter", "rebalance"):
        _without(pool, step, getattr(wish, step))
    if wish.leakage:
        _leakage(pool, wish.leakage, wish.seed, report)
    if wish.tag:
        model, others = place.model(_spec(wish.tag, api_key))
        tag(pool, model, report("tag"), spread=others)
    if wish.perplexity:
        model, others = place.model(_spec(wish.perplexity, api_key))
        perplexity(pool, model, report("perplexity"), spread=others)
    if wish.ocr:
        ocr(pool, place.spread, report("ocr"))
    if wish.filter:
        filter_pool(pool, wish.filter)
    if wish.rebalance:
        given = wish.rebalance
        rebalance(
            pool, Budget(given.by, given.tokens, given.shares, given.total, given.spill, given.upsample, wish.seed)
        )
    else:
        _list_all(pool)
    for rows, columns in wish.coverage.pairs if wish.coverage else ():
        write_coverage(output, f"{rows}-{columns}", coverage(pool, rows, columns))
    return _written(wish, pool)


def _without(pool: Pool, step: str, wanted: object) -> None:
    """Take back a step that an earlier recipe asked for and this one does not."""
    if wanted is None and pool.report(step) is not None:
        pool.forget(step)


def _spec(asked: ModelWish, api_key: str) -> ModelSpec:
    urls = asked.base_url or None
    return ModelSpec(asked.model, asked.backend, urls, api_key, asked.batch_size, asked.options)


def _leakage(pool: Pool, wanted: LeakageWish, seed: int, report: Report) -> None:
    root, cache = Path(wanted.data_root), pool.folder / FOLDER
    sets = [evaluation_set(each, root, wanted.variants, cache, report(f"hash {each}")) for each in wanted.against]
    decoys = evaluation_set(wanted.decoys, root) if wanted.decoys else None
    search = LeakageSearch(wanted.radius, wanted.text, wanted.label, wanted.view, decoys, seed)
    leakage(pool, sets, search, report("compare pairs"))


def _list_all(pool: Pool) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    table = pool.table(columns=["id", "source", "reason"])
    weight = pc.cast(pc.is_null(table["reason"]), pa.int32())
    write_table(pool.folder / LIST, table.append_column("weight", weight).select(["id", "source", "weight", "reason"]))


def _written(wish: MixtureRecipe, pool: Pool) -> dict[str, Any]:
    table = kept(pool.table())

    def weighted() -> Iterator[Any]:
        times = table["weight"].to_pylist() if "weight" in table.schema.names else [1] * len(table)
        return zip(pool.conversations(table), times, strict=True)

    facts = {"made_by": "aloe-bench data build", "name": wish.name, "seed": wish.seed, "steps": pool.done()}
    formats = wish.export.formats
    exports = write_exports(pool.folder, wish.name, formats, {each: weighted() for each in formats}, facts)
    found = card(wish.name, pool, checks(pool, pool.conversations(table)), exports)
    write_json(pool.folder / "card.json", found)
    write_atomic(pool.folder / "card.md", as_markdown(found))
    licences = [each["licence"] for each in found["sources"].values()]
    described = croissant(wish.name, wish.about, licences, pool.folder, list(_TYPES.items()))
    write_json(pool.folder / "croissant.json", described)
    return found
