"""docs/models.md, from the table of tested families and the list of known models: `python -m tests.families.page`."""

from __future__ import annotations

from pathlib import Path

from aloe_bench.models.known import KnownModel, known_models
from tests.families.bare import REFUSED
from tests.families.table import FAMILIES, NO_REUSE

PAGE = Path(__file__).parents[2] / "docs" / "models.md"
HERE = {
    "built-in": "hf, vllm",
    "remote code": "hf with `--model-args trust_remote_code=true`, after you have read its code",
    "LLaVA code": "not in this process; serve it with its own code and give `--base-url`",
    "API": "by `--base-url`",
}
_HEAD = """\
# Which models run where

<!-- Written by `python -m tests.families.page`; do not edit by hand. -->

No full-size model was at hand while aloe-bench was written: the table says how each is expected to load, by the
classes that its configuration names. `aloe-bench doctor --model FOLDER` says it of the folder that you have, and what
it needs.

## The paper's models and judges

| model | hub id | runs | note |
|---|---|---|---|
"""
_FAMILIES = """
## Families that are tested

`make test-families` builds a tiny checkpoint of each with random weights and checks it against transformers' own
processor and `generate`: prompt ids are equal, greedy replies are equal in every batch, option scores are those of
forced decoding, and another picture changes the scores. "Prefix reuse" says whether prompts over the same pictures have
these and their common beginning computed once: then tokens are equal to those of `--model-args reuse=false`, and
log-probabilities within 1e-4, in float32. A model with a sliding window (Gemma, Aya Vision, Llama 4, some Mistral)
reuses where the longest prompt and reply of a batch, with their padding, fit in it; elsewhere each prompt takes its own
pass. So does a model that is not listed here.

| family | prefix reuse |
|---|---|
"""
_REFUSED = """
PaliGemma, which has no chat template, is exact with `--model-args chat_template=raw`. Models that write with a decoder
of their own instead of continuing the prompt (Florence-2, TrOCR, T5Gemma 2, BLIP-2 with T5), and those whose processor
puts the picture where it will (BLIP-2, InstructBLIP, Kosmos-2, GIT, Fuyu, the first Idefics), are refused in one line
before a question is asked. Tested: """


def page() -> str:
    """Return the page."""
    rows = "".join(map(_row, known_models()))
    families = "".join(f"| {name} | {_reuse(name)} |\n" for name in FAMILIES)
    return f"{_HEAD}{rows}{_FAMILIES}{families}{_REFUSED}{'; '.join(REFUSED)}.\n"


def _reuse(family: str) -> str:
    return f"no: {NO_REUSE[family]}" if family in NO_REUSE else "yes"


def _row(model: KnownModel) -> str:
    return f"| {model.name} | {f'`{model.hub_id}`' if model.hub_id else '-'} | {HERE[model.code]} | {model.note} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
