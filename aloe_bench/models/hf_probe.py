"""One made-up question at load: what would fail every item of a run is one error with its cause."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aloe_bench.core import Message, Request
from aloe_bench.errors import AloeError, ModelError

if TYPE_CHECKING:
    from PIL import Image

    from aloe_bench.models.hf import HFModel
    from aloe_bench.models.profile import Content

WORDS = "Which letter?"


@dataclass(frozen=True, slots=True)
class _Grey:
    """A grey picture of a size that no family refuses."""

    sha256: str = "probe"
    size: tuple[int, int] = (336, 252)

    def open(self) -> Image.Image:
        from PIL import Image

        return Image.linear_gradient("L").resize(self.size).convert("RGB")


def content_form(model: HFModel) -> Content:
    """Return whether the chat template takes a turn's content as a list of parts or as a string.

    Raises ModelError in the template's words if it takes neither, or does not show the picture and the words.
    """
    if not model.sees_images:
        return "string"
    request = Request("probe", (Message("user", WORDS),), (_Grey(),))
    faults: list[str] = []
    forms: tuple[Content, ...] = ("list", "string")
    for form in forms:
        try:
            text = model.rendered(request, form)
        # A template is a program of the checkpoint's: it may raise anything.
        except Exception as error:  # noqa: BLE001
            faults.append(f"{form}: {type(error).__name__}: {' '.join(str(error).split())[:160]}")
            continue
        shown = text.count(model.image_token)
        if shown == 1 and WORDS in text:
            return form
        faults.append(f"{form}: one picture and a question become {shown} {model.image_token!r} in {text[:120]!r}")
    raise ModelError(
        f"{model.folder}: its chat template takes neither a list nor a string as content ({'; '.join(faults)}). "
        "Give another with --model-args chat_template=FILE, or send bare prompts with chat_template=raw."
    )


def probe(model: HFModel) -> str:
    """Return the prompt of a made-up question after one step of the model over it; ModelError says what failed."""
    import torch

    request = Request("probe", (Message("user", WORDS),), (_Grey(),) if model.sees_images else ())
    try:
        text = model.render(request)
        inputs: dict[str, Any] = model.prepare([request], [[picture.open() for picture in request.images]])
        model.forget_positions()
        with torch.inference_mode():
            logits = model.network(**inputs, use_cache=False).logits[0, -1]
    except AloeError:
        raise
    # What a family raises here it would raise at every item.
    except Exception as error:
        raise ModelError(
            f"{model.folder}: a made-up question failed before the run: {type(error).__name__}: "
            f"{' '.join(str(error).split())[:300]}. Every item would; nothing was asked."
        ) from error
    if not bool(torch.isfinite(logits.float()).all()):
        raise ModelError(
            f"{model.folder}: its first step gives scores that are not numbers in {str(model.network.dtype)[6:]}. "
            "Try --model-args dtype=float32 or bfloat16; else the weights are broken."
        )
    return text
