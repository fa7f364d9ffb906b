"""What is known of the published table HPAI-BSC/HEART, and its words for ours."""

from __future__ import annotations

SOURCE = "HPAI-BSC/HEART"
LICENCE = "cc-by-4.0"
# 1,250 classification and 1,729 detection items; each with a baseline and two rows an attack, of which
# legends are for detection only.
ROWS = 24_311
IMAGE_COLUMNS = ("image_path", "image")
# All but the picture's column, which is `image_path` on the hub and `image` in the generator's own TSV.
COLUMNS = (
    "dataset", "task", "approach", "sample_type", "source_id", "true_class", "index", "question", "A", "B", "C", "D",
    "answer", "fake_option", "true_bbox", "true_class_name", "fake_bboxes", "fake_bboxes_classes", "fake_class",
    "fake_class_name", "caption", "syco_trigger", "answer_color",
)  # fmt: skip
ATTACK_OF_APPROACH = {"captions": "caption", "captions_text": "prompt", "sycophancy": "sycophancy", "legends": "legend"}
BASELINE = "baseline"
VARIANTS = ("assistive", "adversarial", "neutral")
TASKS = ("classification", "detection")


def attack_of(approach: str) -> str | None:
    """Return our name of a published approach ("" for a baseline; composed ones joined by +), None if unknown."""
    if approach.partition("_")[0] == BASELINE:
        return ""
    parts = [ATTACK_OF_APPROACH.get(part, part) for part in approach.split("+")]
    return "+".join(parts) if all(part in ATTACK_OF_APPROACH.values() for part in parts) else None
