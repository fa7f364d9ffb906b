"""The HEART table: the 24 published columns first, ours after, as parquet that `datasets` reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aloe_bench.core import LETTERS, Variant
from aloe_bench.heart.attacks.attack import Combination, RenderedItem
from aloe_bench.heart.draw.overlays import PixelBox
from aloe_bench.heart.measure.geometry import ItemBoxes
from aloe_bench.heart.plan import ItemPlan, NamedBox
from aloe_bench.heart.wordings import CueTable

GENERATED_CLASS = 99  # what the published table writes for a box without an annotation
ROW_GROUP = 512
# Names and types of the published table, in its order.
PUBLISHED = {
    "dataset": "string", "task": "string", "approach": "string", "sample_type": "string", "source_id": "string",
    "true_class": "int64", "index": "int64", "question": "string", "A": "string", "B": "string", "C": "string",
    "D": "string", "answer": "string", "fake_option": "string", "true_bbox": "string", "true_class_name": "string",
    "fake_bboxes": "string", "fake_bboxes_classes": "string", "fake_class": "float64", "fake_class_name": "string",
    "caption": "string", "syco_trigger": "string", "answer_color": "string", "image_path": "image",
}  # fmt: skip
OURS = {
    "item_id": "string", "cluster": "string", "variant": "string", "attack": "string", "n_options": "int64",
    "box_labels": "string", "cue_target": "string", "image_sha256": "string", "template_set": "string",
    "question_template": "string", "trigger_template": "string", "caption_template": "string", "strength": "string",
    "seed": "int64", "generator_version": "string", "box_info": "string", "font_px": "int64",
    "source_print": "string", "cue_names": "string", "authority": "string", "bias": "string", "box_kind": "string",
}  # fmt: skip
COLUMNS = (*PUBLISHED, *OURS)
# Of a table with a question of more than four options: those from E on, as a JSON list. Others have no such column.
MORE_OPTIONS = "more_options"


def row(
    plan: ItemPlan,
    attack: Combination | None,
    variant: Variant | None,
    shown: RenderedItem,
    sha256: str,
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """Return one row without `index`; `attack` and `variant` are None for the baseline.

    `sha256` is that of the PNG shown, `facts` what rows share: template_set, strength, seed, generator_version,
    source_print, and the columns of `box_cells`.
    """
    kind = variant or "baseline"
    cells: dict[str, Any] = dict.fromkeys(COLUMNS)
    cells |= {
        "dataset": plan.key.dataset,
        "task": plan.key.task,
        "approach": attack.approach if attack else f"baseline_{plan.key.task}",
        "sample_type": kind,
        "source_id": plan.key.source_id,
        "true_class": plan.key.true_class,
        "question": shown.question,
        **dict(zip("ABCD", plan.options, strict=False)),
        MORE_OPTIONS: _json(plan.options[4:]) if len(plan.options) > 4 else None,
        "answer": LETTERS[plan.answer],
        "true_class_name": plan.classes.names[plan.key.true_class],
        "caption": shown.caption,
        "syco_trigger": shown.trigger,
        "answer_color": shown.colour,
        "image_path": f"images/{sha256}.png",
        "item_id": plan.key.item_id,
        "cluster": plan.cluster,
        "variant": kind,
        "attack": attack.name if attack else "",
        "n_options": len(plan.options),
        "cue_target": plan.letter(variant) if variant else None,
        "image_sha256": sha256,
        "question_template": plan.question.id,
        "trigger_template": shown.trigger_template,
        "caption_template": shown.caption_template,
        "font_px": shown.font_px,
        "cue_names": plan.letter_named(variant) if variant else None,
        **_speaker(plan, attack),
        **facts,
    }
    if variant == "adversarial":
        cells |= _fake(plan)
    return cells


def _speaker(plan: ItemPlan, attack: Combination | None) -> dict[str, Any]:
    """Return who speaks in a cue, as far as its wordings say so."""
    tables = [part.wordings.name for part in attack.parts if isinstance(part.wordings, CueTable)] if attack else []
    said = [wording for table in tables for wording in plan.cues[table]]
    return {
        "authority": next((wording.authority for wording in said if wording.authority), None),
        "bias": next((wording.bias for wording in said if wording.bias), None),
    }


def _fake(plan: ItemPlan) -> dict[str, Any]:
    """Return the columns of what an adversarial cue claims; class 99 has no name, as published."""
    index = plan.option_classes[plan.target]
    return {
        "fake_option": LETTERS[plan.target],
        "fake_class": float(GENERATED_CLASS if index is None else index),
        "fake_class_name": None if index is None else plan.classes.names[index],
    }


def box_cells(plan: ItemPlan, size: tuple[int, int]) -> dict[str, Any]:
    """Return the columns about an item's boxes, empty if it has none: python-repr ones as published, JSON ones of ours.

    `size` is the source picture's (width, height).
    """
    if not plan.boxes:
        return {}
    true = plan.named_box(plan.answer)
    others = [box for box in plan.boxes if box is not true]
    classes = [GENERATED_CLASS if b.slot.class_index is None else b.slot.class_index for b in others]
    return {
        "true_bbox": repr(_corners(true, size)),
        "fake_bboxes": repr([_corners(box, size) for box in others]),
        "fake_bboxes_classes": repr(classes),
        "box_labels": _json({box.name: list(thousandths(box.slot.box, size)) for box in plan.boxes}),
        "box_info": _json({box.name: _info(box) for box in plan.boxes}),
        "box_kind": plan.named_box(plan.target).slot.kind,
    }


def _info(box: NamedBox) -> dict[str, Any]:
    slot = box.slot
    info: dict[str, Any] = {"kind": slot.kind, "colour": box.colour, "pixels": list(slot.box)}
    if slot.class_index is not None:
        info["class"] = slot.class_index
    if slot.grey is not None:
        info["grey"] = slot.grey
    if slot.distractor is not None:
        info |= slot.distractor.facts
    return info


def item_boxes(cells: Mapping[str, Any]) -> ItemBoxes:
    """Return the boxes of a baseline row of ours."""
    infos, labels = json.loads(cells["box_info"]), json.loads(cells["box_labels"])
    true = cells[cells["answer"]]
    names = [true, *(name for name in labels if name != true)]
    greys = tuple(infos[name]["grey"] for name in names if "grey" in infos[name])
    return ItemBoxes(
        cluster=cells["cluster"],
        dataset=cells["dataset"],
        class_index=cells["true_class"],
        boxes=tuple(tuple(side / 1000 for side in labels[name]) for name in names),
        greys=greys if len(greys) == len(names) else None,
        generated=all(infos[name]["kind"] == "generated" for name in names[1:]),
    )


def thousandths(box: PixelBox, size: tuple[int, int]) -> PixelBox:
    """Return `box` on the published scale: whole thousandths of width and height, cut off, 0 to 1000."""
    (x1, y1, x2, y2), (width, height) = box, size
    return x1 * 1000 // width, y1 * 1000 // height, x2 * 1000 // width, y2 * 1000 // height


def _corners(box: NamedBox, size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    x1, y1, x2, y2 = thousandths(box.slot.box, size)
    return (x1, y1), (x2, y2)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


class TableWriter:
    """Writes rows to one parquet file, a row group at a time; `index` is given in the order of writing."""

    def __init__(self, path: Path, *, images: Path | None = None, many_options: bool = False) -> None:
        """`images` is the folder whose pictures are embedded in the table; None writes their paths."""
        import pyarrow.parquet as parquet

        self._images, self._waiting = images, list[dict[str, Any]]()
        self._schema = schema(embed=images is not None, many_options=many_options)
        self._file = parquet.ParquetWriter(path, self._schema, compression="zstd")
        self.rows = 0

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add `rows`, in order."""
        for cells in rows:
            self._waiting.append({**cells, "index": self.rows})
            self.rows += 1
            if len(self._waiting) == ROW_GROUP:
                self._flush()

    def close(self) -> None:
        """Write what is waiting and the file's end."""
        if self._waiting:
            self._flush()
        self._file.close()

    def _flush(self) -> None:
        import pyarrow

        rows: Sequence[Mapping[str, Any]] = self._waiting
        if self._images is not None:
            rows = [{**cells, "image_path": self._picture(cells["image_path"])} for cells in rows]
        self._file.write_table(pyarrow.Table.from_pylist(list(rows), schema=self._schema))
        self._waiting = []

    def _picture(self, path: str) -> dict[str, Any]:
        name = path.removeprefix("images/")
        assert self._images is not None
        return {"bytes": (self._images / name).read_bytes(), "path": name}


def schema(*, embed: bool, many_options: bool = False) -> Any:
    """Return the pyarrow schema; with `embed` the hub's feature description is in it, so that `datasets` decodes."""
    import pyarrow

    types = {"string": pyarrow.string(), "int64": pyarrow.int64(), "float64": pyarrow.float64()}
    picture = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    types["image"] = picture if embed else types["string"]
    columns = {**PUBLISHED, **OURS, **({MORE_OPTIONS: "string"} if many_options else {})}
    fields = [pyarrow.field(name, types[kind]) for name, kind in columns.items()]
    if not embed:
        return pyarrow.schema(fields)
    features = {
        name: {"_type": "Image"} if kind == "image" else {"dtype": kind, "_type": "Value"}
        for name, kind in columns.items()
    }
    return pyarrow.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})
