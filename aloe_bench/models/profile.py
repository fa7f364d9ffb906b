"""How a model is loaded, prompted, shown pictures and ended: what two runs must share to be one measurement."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from aloe_bench.errors import ModelError, UsageError, did_you_mean

Loader = Literal["image-text-to-text", "multimodal-lm", "causal", "causal-own-code", "api"]
Content = Literal["list", "string"]
Thinking = Literal["none", "tags", "opened"]

# The limits at which VLMEvalKit shows pictures to these families (vlmeval/config.py), and so the paper.
PAPER_PIXELS = {"qwen2_vl": (1280 * 28 * 28, 16384 * 28 * 28), "qwen2_5_vl": (1280 * 28 * 28, 16384 * 28 * 28)}


@dataclass(frozen=True, slots=True)
class Profile:
    """The part of a model's settings that belongs to the identity of a run; written whole into its header.

    `template` is "own", "raw" or a file's name with eight digits of its hash; `thinking` is "opened" where the prompt
    ends in an open reasoning tag, "tags" where the vocabulary has one, else "none". Pixels are width times height.
    """

    loader: Loader
    content: Content | None = None
    template: str = "own"
    template_sha256: str | None = None
    template_args: Mapping[str, Any] = field(default_factory=dict)
    thinking: Thinking = "none"
    ends: tuple[int, ...] = ()
    min_pixels: int | None = None
    max_pixels: int | None = None
    attention: str | None = None
    quantization: str | None = None
    dtype: str | None = None
    adapters: tuple[Mapping[str, str], ...] = ()
    reasoning_effort: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as the header holds it: what is not set is left out."""
        written = asdict(self) | {"ends": list(self.ends), "adapters": [dict(one) for one in self.adapters]}
        return {key: value for key, value in written.items() if value not in (None, [], {})}


def paper_pixels(model_type: object) -> tuple[int, int]:
    """Return the least and most pixels at which the paper shows pictures to a family; UsageError if it is unknown."""
    if model_type not in PAPER_PIXELS:
        raise UsageError(
            f"--resolution paper: the paper's limits are known for {', '.join(PAPER_PIXELS)}, not for {model_type}. "
            "Use --min-pixels and --max-pixels, or leave the folder's own."
        )
    return PAPER_PIXELS[str(model_type)]


def read_template(spec: str | None, own: str | None) -> tuple[str, str | None]:
    """Return label and text of the chat template that `spec` asks for: None for the folder's own, "raw", or a file."""
    if spec is None:
        return "own", own
    if spec == "raw":
        return "raw", None
    path = Path(spec).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"chat_template={spec}: cannot be read ({error}); expected a Jinja file, or raw.") from error
    return f"{path.name}-{digest(text)[:8]}", text


def digest(text: str) -> str:
    """Return the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def check_template_args(args: Mapping[str, Any], template: str | None, known: Iterable[str]) -> None:
    """Raise UsageError for a keyword that the template does not look at; `known` are those that it does."""
    known = sorted(set(known) - {"messages", "tools", "documents", "add_generation_prompt", "bos_token", "eos_token"})
    for name in args:
        if name not in known:
            has = f"it knows {', '.join(known)}" if known else "it knows none"
            raise UsageError(f"{name}: the chat template has no such keyword; {has}.{did_you_mean(name, known)}")
