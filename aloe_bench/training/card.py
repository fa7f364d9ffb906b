"""The model card of a trained checkpoint: what it was made of, and what it was measured to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aloe_bench.files import write_atomic

if TYPE_CHECKING:
    from aloe_bench.training.sft import Trained

NOT_MEASURED = (
    "Not measured yet. `aloe-bench run` on this folder and on the base, then `aloe-bench compare`, "
    "or `train-ar --measure`, give the table.\n"
)


def write_card(trained: Trained, comparison: str = NOT_MEASURED) -> Path:
    """Write README.md into the checkpoint folder; `comparison` is the before-and-after table in Markdown."""
    path = trained.output / "README.md"
    write_atomic(path, card(trained, comparison))
    return path


def tables(compared: Mapping[str, Mapping[str, Any]]) -> str:
    """Return one Markdown table a comparison under its title; `p` is Holm's over rows of a kind."""
    pages = []
    for title, result in compared.items():
        rows = [_cells(row) for row in result["rows"]]
        lines = [f"| {' | '.join(row)} |" for row in (_HEAD, ("---",) * len(_HEAD), *rows)]
        cautions = [
            f"Caution: {_plain(text)}.\n"
            for text in dict.fromkeys(r["warning"] for r in result["rows"] if "warning" in r)
        ]
        cautions += [
            f"Caution, {when}: {_plain(text)}\n"
            for when, run in zip(("before", "after"), result["runs"], strict=True)
            for text in run["cautions"]
        ]
        pages.append("\n".join((f"### {_plain(title)}", "", *lines, "", *cautions)))
    return "\n".join(pages)


_HEAD = ("questions", "n", "before", "after", "change", "95 % interval", "p (family)")


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    change = f"{row['failed']} failed" if row["failed"] else row.get("withheld") or _points(row["value"], "+z.1f")
    span = _span(row["interval"]) + (f"; bounds {_span(row['bounds'])}" if row.get("bounds") else "")
    p = row["p_adjusted"]
    shown = "-" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
    return _plain(row["row"]), str(row["n"]), _points(row["first"]), _points(row["second"]), change, span, shown


def _span(ends: Sequence[float] | None) -> str:
    return " to ".join(_points(end, "+z.1f") for end in ends) if ends else "-"


def _points(value: float | None, form: str = ".1f") -> str:
    return "-" if value is None else f"{100 * value:{form}}"


def card(trained: Trained, comparison: str) -> str:
    """Return the card as Markdown."""
    header, planned, prepared = trained.header, trained.plan, trained.prepared
    recipe = header["recipe"]
    dropped = ", ".join(f"{n} {reason}" for reason, n in prepared.dropped.items()) or "none"
    facts = {
        "stage": header["stage"],
        "base": f"{header['base']['folder']}, SHA-256 {header['base']['sha256']}",
        "data": f"{_said(header['data'])}; SHA-256 {prepared.sha256}",
        "conversations": f"{prepared.n} kept, of which {planned.left_over} fill no whole step; left out: {dropped}",
        "tokens": f"{prepared.tokens} in all, {prepared.loss_tokens} with loss, {prepared.image_tokens} of pictures; "
        f"longest conversation {prepared.longest}",
        "steps": f"{planned.steps} of {recipe['global_batch']} conversations, warm-up {planned.warmup_steps}",
        "loss": f"{trained.losses[0]:.4f} at the first step, {trained.losses[-1]:.4f} at the last",
        "pixel limit": f"{header['processor']['size']['longest_edge']} a picture",
        "versions": ", ".join(f"{name} {version}" for name, version in header["versions"].items()),
    }
    front = "\n".join(("---", "library_name: transformers", "pipeline_tag: image-text-to-text",
                       "tags: [aloe-bench, medical]", "---"))  # fmt: skip
    return "\n".join((
        front, "", f"# {_plain(trained.output.name)}", "",
        "Trained by aloe-bench. Not a medical device; no score here is clinical evidence.", "",
        _table(("what", "value"), facts), "## Before and after", "", comparison,
        f"## Recipe {_plain(recipe['name'])}", "", f"Source: {_plain(recipe['source'])}.",
        f"Not given there, ours: {_plain(', '.join(recipe['ours']) or 'nothing')}.", "",
        _table(("setting", "value"), {key: value for key, value in recipe.items() if key not in _SAID}),
    ))  # fmt: skip


_SAID = (
    "name", "title", "source", "ours", "base", "architecture", "samples", "steps", "loss_tokens", "gpu_hours",
)  # fmt: skip


def _table(head: tuple[str, str], rows: dict[str, Any]) -> str:
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|"]
    return "\n".join((*lines, *(f"| {_plain(key)} | {_plain(value)} |" for key, value in rows.items()), ""))


def _said(facts: dict[str, Any]) -> str:
    """Return facts in words: "dataset x, seed 0, reading"; what is false or empty is left out."""
    told = (
        (key.replace("_", " "), value)
        for key, value in facts.items()
        if value is not False and value is not None and value not in ("", [], {})
    )
    return ", ".join(key if value is True else f"{key} {value}" for key, value in told)


def _plain(value: object) -> str:
    """Return `value` so that Markdown shows it as it is, on one line."""
    text = " ".join(str(value).split())
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>|#" else c for c in text)
