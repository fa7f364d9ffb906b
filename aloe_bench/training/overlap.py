"""That what is trained on is not what is measured with: no shared dataset, picture or wording."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from aloe_bench.errors import DataError
from aloe_bench.images import open_image, picture_print
from aloe_bench.prints import PrintTable, matches, parsed_print

if TYPE_CHECKING:
    from aloe_bench.heart.sources.source import Source
    from aloe_bench.heart.wordings import TemplateSet

# A cue sentence with fewer letters of its own, such as "$bbox: $class_name", is not told from others.
_LEAST_LETTERS = 3


def check_overlap(source: Source, evaluation: Sequence[Path]) -> dict[str, Any]:
    """Return what was compared, and which modalities are shared; every picture of `source` is decoded.

    Equal perceptual hashes (64-bit pHash, distance 0) are one picture. An evaluation folder that `attack` wrote is
    known by its clean rows and by what its table keeps of the source pictures; a source folder by its pictures.
    Raises DataError naming the dataset or the pictures that both hold.
    """
    refuse_same_dataset(source, evaluation)
    images = source.images if evaluation else ()
    mine = [parsed_print(picture_print(open_image(i.path, window=source.window))) for i in images]
    compared, shared, unknown = 0, False, []
    for place in evaluation:
        _, modalities = _facts(place)
        theirs = list(evaluation_prints(place))
        compared += len(theirs)
        hits = matches(PrintTable.of(mine), PrintTable.of([parsed_print(text) for _, text in theirs]), radius=0)
        found = {
            images[i].image_id: theirs[j][0] for rows, columns, _ in hits for i, j in zip(rows, columns, strict=True)
        }
        if found:
            some = ", ".join(f"{a} = {b}" for a, b in sorted(found.items())[:5])
            raise DataError(
                f"{source.root}: {len(found)} of its pictures are in the evaluation set {place} too: {some}"
                f"{', ...' if len(found) > 5 else ''}. Take them out of labels.csv: a score on them would be memory."
            )
        shared = shared or _plain(source.modality) in map(_plain, modalities)
        if not modalities:
            unknown.append(place.name)
    return {
        "evaluation": [place.name for place in evaluation],
        "pictures": len(set(mine)),
        "compared_with": compared,
        "shared_pictures": 0,
        "shared_modality": [source.modality] if shared else [],
        "modality_not_stated": unknown,
        "rule": "64-bit pHash, distance 0; pixels too where the hash has not 32 bits set",
    }


def refuse_same_dataset(source: Source, evaluation: Sequence[Path]) -> None:
    """Raise DataError if an evaluation set says that it holds the dataset of `source`; no picture is opened."""
    for place in evaluation:
        if _plain(source.name) in map(_plain, _facts(place)[0]):
            raise DataError(
                f"{place}: the evaluation set holds the dataset {source.name!r} itself. Train on another one, or "
                "evaluate without it."
            )


def in_words(overlap: dict[str, Any]) -> str:
    """Return what `check_overlap` found as one sentence."""
    if not overlap["evaluation"]:
        return "compared with no evaluation set: give each one with --evaluation"
    said = [f"none of {overlap['pictures']} pictures is in {', '.join(overlap['evaluation'])}"]
    if overlap["shared_modality"]:
        said.append(f"the modality {', '.join(overlap['shared_modality'])} is in both")
    if overlap["modality_not_stated"]:
        said.append(f"{', '.join(overlap['modality_not_stated'])} states no modality")
    return "; ".join(said)


def check_wordings(templates: TemplateSet, evaluation: Sequence[Path]) -> None:
    """Raise DataError if an evaluation table was made with a cue sentence of `templates`, so that none is memorised."""
    patterns = dict(_patterns(templates))
    for place in evaluation:
        if (place / "dataset.toml").is_file():
            continue
        if templates.label in _distinct(place, "template_set"):
            raise DataError(
                f"{place}: made with the template set {templates.label}, which is to be trained on too. Give other "
                "sentences with --templates, so that a gain is not a memory of a sentence."
            )
        for text in sorted(_distinct(place, "caption") | _distinct(place, "syco_trigger")):
            for sentence, pattern in patterns.items():
                if pattern.fullmatch(_one_line(text)):
                    raise DataError(
                        f"{place}: says {text!r}, which is {sentence!r} of the template set {templates.label} that is "
                        "to be trained on. Give other sentences with --templates, so that a gain is not a memory of a "
                        "sentence."
                    )


def evaluation_sha256(place: Path) -> str:
    """Return the hash of a HEART source, or of the table at `place`."""
    if (place / "dataset.toml").is_file():
        from aloe_bench.heart.sources.source import load_source

        return load_source(place).sha256
    from aloe_bench.heart.table.read import table_files

    whole = hashlib.sha256()
    for path in table_files(place):
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def _patterns(templates: TemplateSet) -> Iterator[tuple[str, re.Pattern[str]]]:
    """Yield each cue sentence of `templates` and what it becomes when its placeholders are filled."""
    for cue in chain.from_iterable(templates.cues.values()):
        for sentence in cue.sentences:
            text, at, pattern, letters = _one_line(sentence), 0, "", 0
            for hole in Template.pattern.finditer(text):
                name = hole["named"] or hole["braced"]
                pattern += re.escape(text[at : hole.start()])
                letters += sum(map(str.isalpha, text[at : hole.start()]))
                pattern += {"number": r"\d+", None: r"\$"}.get(name, ".+")
                at = hole.end()
            if letters + sum(map(str.isalpha, text[at:])) >= _LEAST_LETTERS:
                yield sentence, re.compile(pattern + re.escape(text[at:]), re.IGNORECASE)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _plain(name: str) -> str:
    """Return `name` as it compares: "X-ray" is "xray"."""
    return "".join(filter(str.isalnum, name.casefold()))


def _facts(place: Path) -> tuple[set[str], set[str]]:
    """Return dataset names and modalities of a HEART source, or of a folder that `attack` wrote."""
    settings = place / "dataset.toml"
    if settings.is_file():
        table = tomllib.loads(settings.read_text(encoding="utf-8"))
        modality = str(table.get("modality", ""))
        return {str(table.get("name", ""))}, {modality} if modality else set()
    from aloe_bench.heart.task import open_task

    task = open_task(str(place))
    # A table of several sources names all their modalities.
    return _distinct(place, "dataset"), {name.strip() for name in task.modality.split(",") if name.strip()}


def evaluation_prints(place: Path) -> Iterator[tuple[str, str]]:
    """Yield name and print of the pictures of a HEART source, or of a folder that `attack` wrote, before any attack."""
    if (place / "dataset.toml").is_file():
        from aloe_bench.heart.sources.source import load_source

        source = load_source(place)
        for image in source.images:
            yield image.image_id, picture_print(open_image(image.path, window=source.window))
        return
    # What `attack` keeps of the source's pictures; a published table has its clean rows' pictures alone.
    yield from ((f"a picture of {place.name}", print_) for print_ in sorted(_distinct(place, "source_print")))
    from aloe_bench.heart.task import open_task

    seen: set[str] = set()
    for sample in open_task(str(place)).load(place):
        shown = sample.images[0]
        if sample.cue is None and shown.sha256 not in seen:
            seen.add(shown.sha256)
            yield sample.cluster, picture_print(shown.open().convert("RGB"))


def _distinct(place: Path, name: str) -> set[str]:
    """Return the values of a column of the table at `place`; none if it has no such column."""
    import pyarrow.parquet as parquet

    from aloe_bench.heart.table.read import read_rows, table_files

    found: set[object] = set()
    for path in table_files(place):
        if path.suffix.lower() == ".tsv":
            found.update(row.optional(name) for row in read_rows([path]))
        elif name in parquet.read_schema(path).names:
            found.update(parquet.read_table(path, columns=[name])[name].unique().to_pylist())
    return {str(value) for value in found if value is not None}
