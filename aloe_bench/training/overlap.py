"""That what is trained on is not what is measured with: no shared dataset, picture or wording."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aloe_bench.errors import DataError
from aloe_bench.images import open_image, picture_print

if TYPE_CHECKING:
    from aloe_bench.heart.source import Source
    from aloe_bench.heart.wordings import TemplateSet


def check_overlap(source: Source, evaluation: Sequence[Path]) -> dict[str, Any]:
    """Return what was compared, and which modalities are shared; every picture of `source` is decoded.

    Equal perceptual hashes (64-bit pHash, distance 0) are one picture. An evaluation folder that `attack` wrote is
    known by its clean rows and by what its table keeps of the source pictures; a source folder by its pictures.
    Raises DataError naming the dataset or the pictures that both hold.
    """
    mine: dict[str, str] = {}
    if evaluation:
        mine = {picture_print(open_image(i.path, window=source.window)): i.image_id for i in source.images}
    compared, shared = 0, []
    for place in evaluation:
        names, modalities = _facts(place)
        if source.name in names:
            raise DataError(
                f"{place}: the evaluation set holds the dataset {source.name!r} itself. Train on another one, or "
                "evaluate without it."
            )
        found: dict[str, str] = {}
        for name, print_ in _prints(place):
            compared += 1
            if print_ in mine:
                found[mine[print_]] = name
        if found:
            some = ", ".join(f"{a} = {b}" for a, b in sorted(found.items())[:5])
            raise DataError(
                f"{source.root}: {len(found)} of its pictures are in the evaluation set {place} too: {some}"
                f"{', ...' if len(found) > 5 else ''}. Take them out of labels.csv: a score on them would be memory."
            )
        shared += [m for m in modalities if m and m == source.modality]
    return {
        "evaluation": [place.name for place in evaluation],
        "pictures": len(mine),
        "compared_with": compared,
        "shared_pictures": 0,
        "shared_modality": sorted(set(shared)),
        "rule": "64-bit pHash, distance 0; pixels too where the hash has not 32 bits set",
    }


def check_wordings(templates: TemplateSet, evaluation: Sequence[Path]) -> None:
    """Raise DataError if an evaluation table was made with a cue sentence of `templates`, so that none is memorised."""
    for place in evaluation:
        if not (place / "heart.parquet").is_file():
            continue
        ids = _template_ids(place)
        if templates.label in ids:
            raise DataError(
                f"{place}: made with the template set {templates.label}, which is to be trained on too. Give other "
                "sentences with --templates, so that a gain is no memory of a sentence."
            )


def _facts(place: Path) -> tuple[set[str], set[str]]:
    """Return dataset names and modalities of a HEART source, or of a folder that `attack` wrote."""
    settings = place / "dataset.toml"
    if settings.is_file():
        table = tomllib.loads(settings.read_text(encoding="utf-8"))
        return {str(table.get("name", ""))}, {str(table.get("modality", ""))}
    from aloe_bench.heart.task import open_task

    task = open_task(str(place))
    # A table of several sources names all their modalities.
    return set(_column(place, "dataset")), {name.strip() for name in task.modality.split(",")}


def _prints(place: Path) -> Iterator[tuple[str, str]]:
    if (place / "dataset.toml").is_file():
        from aloe_bench.heart.source import load_source

        source = load_source(place)
        for image in source.images:
            yield image.image_id, picture_print(open_image(image.path, window=source.window))
        return
    # What `attack` keeps of the source's pictures; a published table has its clean rows' pictures alone.
    yield from ((f"a picture of {place.name}", print_) for print_ in _column(place, "source_print"))
    from aloe_bench.heart.task import open_task

    seen: set[str] = set()
    for sample in open_task(str(place)).load(place):
        shown = sample.images[0]
        if sample.cue is None and shown.sha256 not in seen:
            seen.add(shown.sha256)
            yield sample.cluster, picture_print(shown.open().convert("RGB"))


def _column(place: Path, name: str) -> list[str]:
    import pyarrow.parquet as parquet

    path = place / "heart.parquet" if place.is_dir() else place
    if name not in parquet.read_schema(path).names:
        return []
    return [str(value) for value in parquet.read_table(path, columns=[name])[name].unique().to_pylist()]


def _template_ids(place: Path) -> set[str]:
    return set(_column(place, "template_set"))
