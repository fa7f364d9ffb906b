"""A mixture described as Croissant 1.0 (MLCommons): its files by hash, its fields, its licences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aloe_bench.mixture.pool import file_sha256

# Of the specification, https://docs.mlcommons.org/croissant/docs/croissant-spec.html, appendix "JSON-LD context".
_TERMS = (
    "citeAs", "column", "extract", "field", "fileProperty", "fileObject", "fileSet", "format", "includes",
    "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex", "repeated",
    "replace", "separator", "source", "subField", "transform",
    "samplingRate", "equivalentProperty",
)  # fmt: skip
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "sc": "https://schema.org/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    **{term: f"cr:{term}" for term in _TERMS},
}
_SPDX = "https://spdx.org/licenses/"


def croissant(
    name: str, about: Mapping[str, str], licences: Sequence[str], folder: Path, fields: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """Return the description of mixture.parquet and of the conversations in `folder`, as JSON-LD.

    `fields` are columns of mixture.parquet with their schema.org type. What `about` does not say (url, creator, date)
    is not made up.
    """
    listed = "mixture.parquet"
    files = [_file(listed, folder / listed, "application/x-parquet")]
    lines = folder / "mixture" / "conversations.jsonl"
    if lines.is_file():
        files.append(_file("mixture/conversations.jsonl", lines, "application/jsonlines"))
    described = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": name,
        "description": about.get("description") or f"Training mixture {name}: ids with weight, and conversations.",
        "license": [_SPDX + each if each != "unknown" and " " not in each else each for each in sorted(set(licences))],
        "version": about.get("version", "1.0.0"),
        "distribution": files,
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "samples",
                "name": "samples",
                "key": {"@id": "samples/id"},
                "field": [_field(column, kind, listed) for column, kind in fields],
            }
        ],
    }
    for ours, theirs in (("url", "url"), ("date", "datePublished"), ("cite", "citeAs")):
        if about.get(ours):
            described[theirs] = about[ours]
    if about.get("creator"):
        described["creator"] = {"@type": "sc:Organization", "name": about["creator"]}
    return described


def _file(name: str, path: Path, kind: str) -> dict[str, str]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": kind,
        "sha256": file_sha256(path),
    }


def _field(column: str, kind: str, file: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"samples/{column}",
        "name": column,
        "dataType": kind,
        "source": {"fileObject": {"@id": file}, "extract": {"column": column}},
    }
