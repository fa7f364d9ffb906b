"""One made-up question at load: what would fail every item of a run is one error with its cause."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aloe_bench.core import Decoding, Message, Request
from aloe_bench.errors import AloeError, ModelError
from aloe_bench.models.hf_load import SERVE_IT
from aloe_bench.models.hf_options import extended

if TYPE_CHECKING:
    from PIL import Image

    from aloe_bench.models.hf import HFModel
    from aloe_bench.models.profile import Content

WORDS = "Which letter?"


log = logging.getLogger(__name__)


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
    """Return the prompt of a made-up question after two steps of the model over it; ModelError says what failed.

    `generate` and a forward pass have to give the same next words. Where they do not once a token stands after the
    prompt, `model.unextendable` says so.
    """
    import torch

    request = Request("probe", (Message("user", WORDS),), (_Grey(),) if model.sees_images else ())
    try:
        text = model.render(request)
        inputs: dict[str, Any] = model.prepare([request], [[picture.open() for picture in request.images]])
        with torch.inference_mode():
            new, said = _two_steps(model, inputs)
            first = _last_logits(model, inputs)
    except AloeError:
        raise
    # What a family raises here it would raise at every item.
    except Exception as error:
        raise ModelError(
            f"{model.folder}: a made-up question failed before the run: {_words_of(error)}. Every item would; nothing "
            f"was asked.{_places_pictures_itself(model, request)}"
        ) from error
    if not bool(torch.isfinite(first).all()):
        raise ModelError(
            f"{model.folder}: its first step gives scores that are not numbers in {str(model.network.dtype)[6:]}. "
            "Try --model-args dtype=float32 or bfloat16; else the weights are broken."
        )
    if new is None or not _alike(model, said[0], first):
        raise ModelError(
            f"{model.folder}: over a made-up question the generate of {type(model.network).__name__} does not continue "
            f"the prompt with the words that its forward pass finds likeliest. Nothing was asked.{SERVE_IT}"
        )
    model.unextendable = _cannot_extend(model, inputs, new, said[1])
    model.one_by_one = model.one_by_one or not _batches(model, request, first)
    return text


def _two_steps(model: HFModel, inputs: dict[str, Any]) -> tuple[int | None, Any]:
    """Return the first token that `generate` gives, None if it does not follow the prompt, and both steps' logits."""
    model.forget_positions()
    config = model.generation_config(Decoding(max_new_tokens=2))
    config.min_new_tokens, config.output_logits, config.return_dict_in_generate = 2, True, True
    made = model.network.generate(**inputs, generation_config=config)
    prompt, row = inputs["input_ids"][0].tolist(), made.sequences[0].tolist()
    continued = len(row) == len(prompt) + 2 and row[:-2] == prompt
    return (row[-2] if continued else None), [step[0] for step in made.logits]


def _last_logits(model: HFModel, inputs: dict[str, Any]) -> Any:
    model.forget_positions()
    return model.network(**inputs, use_cache=False).logits[0, -1].float()


def _cannot_extend(model: HFModel, inputs: dict[str, Any], new: int, second: Any) -> str | None:
    """Return why a reply that has begun cannot be continued, nor an option of several tokens scored; None if it can."""
    import torch

    try:
        with torch.inference_mode():
            found = _last_logits(model, extended(model, inputs, [[new]]))
    # A family that needs more for each token than is known of may raise anything.
    except Exception as error:  # noqa: BLE001
        return _words_of(error)
    return None if _alike(model, second, found) else "its forward pass finds other next words than its generate"


def _batches(model: HFModel, request: Request, alone: Any) -> bool:
    """Return whether the prompt gets the same scores after a longer one over another picture as it does alone."""
    import torch

    pictures = tuple(_Grey("other", (252, 448)) for _ in request.images)
    pair = [Request("longer", (Message("user", f"{WORDS} {WORDS}"),), pictures), request]
    try:
        inputs = model.prepare(pair, [[picture.open() for picture in one.images] for one in pair])
        model.forget_positions()
        with torch.inference_mode():
            found = model.network(**inputs, use_cache=False).logits[1, -1].float()
    # Where a family takes no batch at all, each way to say so is its own.
    except Exception:  # noqa: BLE001
        found = torch.zeros_like(alone)
    if same := _alike(model, alone, found):
        return same
    log.warning("%s: a batch changes the scores of its prompts in transformers, so they are asked alone.", model.name)
    return same


def _alike(model: HFModel, one: Any, other: Any) -> bool:
    """Return whether two rows of logits are of one computation, rounding aside: probabilities that differ by little."""
    import torch

    apart = float((torch.softmax(one.float(), -1) - torch.softmax(other.float(), -1)).abs().sum()) / 2
    return apart < (1e-4 if model.network.dtype == torch.float32 else 0.25)


def _places_pictures_itself(model: HFModel, request: Request) -> str:
    """Return what to do, and whether the processor reads a prompt only if no mark in it stands for a picture."""
    pictures = [[picture.open() for picture in request.images]]
    try:
        ids = model.processor(text=[WORDS], images=pictures, return_tensors="pt")["input_ids"][0].tolist()
    # Most processors refuse that, each in its own way.
    except Exception:  # noqa: BLE001
        ids = []
    if model.tokenizer.convert_tokens_to_ids(model.image_token) not in ids:
        return SERVE_IT
    return f" Its processor puts the picture where it will; hf shows pictures where the prompt marks them.{SERVE_IT}"


def _words_of(error: Exception) -> str:
    return ": ".join(part for part in (type(error).__name__, " ".join(str(error).split())[:300]) if part)
