"""Any Model as an lm-eval LM: one checkpoint in memory serves its tasks and ours. Importing this imports lm_eval."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, get_args

from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import normalize_gen_kwargs

from aloe_bench.core import Decoding, Message, Model, OptionScorer, Prediction, Request, Role, batches
from aloe_bench.errors import DataError, ModelError, UsageError
from aloe_bench.models.make import ModelSpec, make_model

if TYPE_CHECKING:
    from PIL import Image

log = logging.getLogger(__name__)

NAME = "aloe-bench"
IMAGE_MARK = "<image>"
DEFAULT_NEW_TOKENS = 256
OnPredictions = Callable[[Sequence[Request], Sequence[Prediction]], None]


class Turns(str):
    """A chat as JSON text: lm-eval carries it as a prompt, and the back end applies its own template to it."""


@dataclass(frozen=True, slots=True)
class HeldImage:
    """A decoded picture that lm-eval hands over; an ImageRef known by its pixels."""

    image: Image.Image
    sha256: str

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.size

    def open(self) -> Image.Image:
        """Return the picture itself."""
        return self.image


@register_model(NAME)
class AloeLM(LM):  # type: ignore[misc]
    """`--model aloe-bench --model_args pretrained=FOLDER[,backend=hf][,dtype=...]`, or AloeLM(model=MODEL).

    An item whose call failed has no answer, and lm-eval has no word for that: once all items were asked, ModelError
    names the failures (with `--use_cache` a second run asks only these). `on_predictions` sees every batch as it comes.
    """

    MULTIMODAL = True

    def __init__(
        self,
        pretrained: str | None = None,
        *,
        model: Model | None = None,
        backend: str = "hf",
        batch_size: int | str | None = 8,
        max_batch_size: int | None = None,
        device: str | None = None,
        chunk: int | None = None,
        on_predictions: OnPredictions | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        if (pretrained is None) == (model is None):
            raise UsageError(f"--model {NAME}: give the checkpoint with --model_args pretrained=FOLDER.")
        size = _batch_size(batch_size)
        # lm-eval always names a device, and "cuda:0" is what it says where the user said nothing.
        if device not in (None, "cuda:0"):
            options["device"] = device
        self.model = model or _folder_model(backend, str(pretrained), size, options)
        self._chunk = chunk or max(32, 4 * size)
        self._on_predictions = on_predictions

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Return (natural log-probability, whether greedy decoding would say it), one per request."""
        groups: dict[tuple[object, ...], list[int]] = {}
        for place, request in enumerate(requests):
            groups.setdefault((request.task_name, request.doc_id, str(request.args[0])), []).append(place)
        if not isinstance(self.model, OptionScorer):
            raise UsageError(f"{self.model.name}: this back end has no log-probabilities, which the task asks for.")
        _warn_of_raw_prompts(requests)
        names, asked, places_of = _Names(), [], {}
        for places in groups.values():
            context, options = _boundary(requests[places[0]].args[0], [requests[i].args[1] for i in places])
            asked.append(_request(requests[places[0]], context, names, tuple(options)))
            places_of[asked[-1].id] = places
        answers: list[tuple[float, bool]] = [(float("nan"), False)] * len(requests)
        for prediction in self._predicted(asked, self.model.option_logprobs):
            places = places_of[prediction.id]
            flags = _greedy(prediction, len(places))
            for place, value, greedy in zip(places, prediction.option_logprobs, flags, strict=True):
                answers[place] = (value, greedy)
                self.cache_hook.add_partial("loglikelihood", requests[place].args, answers[place])
        return answers

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Return the replies, each cut before the first of its stop sequences."""
        _warn_of_raw_prompts(requests)
        answers, names = [""] * len(requests), _Names()
        kinds: dict[Decoding, list[Request]] = {}
        place_of, stops = {}, {}
        for place, request in enumerate(requests):
            decoding, stop = _decoding(request.args[1], request.task_name)
            asked = _request(request, request.args[0], names, tuple(_ours(request).get("letters", ())))
            kinds.setdefault(decoding, []).append(asked)
            place_of[asked.id], stops[asked.id] = place, stop
        for decoding, wanted in kinds.items():
            for prediction in self._predicted(wanted, partial(self.model.generate, decoding=decoding)):
                place = place_of[prediction.id]
                answers[place] = _cut(prediction.text or "", stops[prediction.id])
                self.cache_hook.add_partial("generate_until", requests[place].args, answers[place])
        return answers

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        """Raise UsageError: perplexity of a whole text is not among what a Model answers."""
        raise UsageError(f"--model {NAME} has no rolling log-likelihood; run perplexity tasks with --model hf.")

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Return the turns as they are; the back end applies its template when it is asked."""
        if not add_generation_prompt:
            raise UsageError(f"--model {NAME} cannot continue a reply that the task begins (gen_prefix).")
        return Turns(json.dumps(chat_history, ensure_ascii=False))

    @property
    def tokenizer_name(self) -> str:
        """The model's fingerprint, so that cached requests are its own."""
        return self.model.fingerprint

    def get_model_info(self) -> dict[str, object]:
        """Return what lm-eval writes of the model into its results."""
        return {"model_name": self.model.name, "model_fingerprint": self.model.fingerprint, **self.model.describe()}

    def _predicted(
        self, requests: Iterable[Request], ask: Callable[[Sequence[Request]], Iterable[Prediction]]
    ) -> Iterator[Prediction]:
        """Yield the answered predictions; ModelError at the end if some failed and nobody keeps account of them."""
        count, failures = 0, list[Prediction]()
        for chunk in batches(requests, self._chunk):
            predictions = list(ask(chunk))
            if sorted(prediction.id for prediction in predictions) != sorted(request.id for request in chunk):
                raise ModelError(f"{self.model.name}: the back end did not answer each request once.")
            if self._on_predictions is not None:
                self._on_predictions(chunk, predictions)
            count += len(predictions)
            failures += [prediction for prediction in predictions if prediction.finish == "error"]
            yield from (prediction for prediction in predictions if prediction.finish != "error")
        if failures and self._on_predictions is None:
            raise ModelError(
                f"{self.model.name}: {len(failures)} of {count} requests failed, and lm-eval would count them as "
                f"answers; the first: {failures[0].id}: {failures[0].error}"
            )


class _Names:
    """Gives each request the id of its sample, and a number after it where a sample is asked more than once."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def of(self, request: Any) -> str:
        name = str(_ours(request).get("sample_id") or f"{request.task_name}/{request.doc_id}")
        self._seen[name] = self._seen.get(name, 0) + 1
        return name if self._seen[name] == 1 else f"{name}#{self._seen[name]}"


def _ours(request: Any) -> dict[str, Any]:
    """Return the document behind a request if it is one that our tasks made, else an empty one."""
    doc = request.doc
    return doc if isinstance(doc, dict) and "sample_id" in doc else {}


def _warn_of_raw_prompts(requests: Sequence[Any]) -> None:
    """Say so once if tasks that `aloe-bench run` asks in a chat are asked without one: that is another prompt."""
    raw = {request.task_name for request in requests if "prompt" in _ours(request)} if requests else set()
    if raw and not isinstance(requests[0].args[0], Turns):
        log.warning(
            "%s: asked without the model's chat template, which `aloe-bench run` applies; "
            "for its numbers add --apply_chat_template.",
            ", ".join(sorted(raw)),
        )


def _folder_model(backend: str, folder: str, batch_size: int, options: Mapping[str, Any]) -> Model:
    try:
        return make_model(ModelSpec(folder, backend, batch_size=batch_size, options=options), _no_mock)
    except UsageError as error:
        raise UsageError(f"--model_args: {error}") from error


def _no_mock(name: str, options: Mapping[str, Any]) -> Model:
    raise UsageError("back end mock answers from a task's own key, which lm-eval does not give it.")


def _batch_size(value: int | str | None) -> int:
    if value is None:
        return 8
    if not str(value).isdecimal() or int(value) < 1:
        raise UsageError(f"--batch_size {value!r}: --model {NAME} takes a number from 1; it halves a batch itself.")
    return int(value)


def _request(instance: Any, context: str, names: _Names, options: tuple[str, ...] = ()) -> Request:
    aux = instance.args[2] if len(instance.args) > 2 else {}
    images = tuple(_held(image) for image in aux.get("visual") or ())
    if set(aux) - {"visual"}:
        raise UsageError(f"{instance.task_name}: --model {NAME} takes text and images, not {', '.join(aux)}.")
    if not context:
        raise UsageError(f"{instance.task_name}: --model {NAME} cannot score a text without a prompt before it.")
    turns = _turns(context)
    first = next((i for i, turn in enumerate(turns) if turn.role == "user"), None)
    if images and first is not None:
        turns[first] = replace(turns[first], text=turns[first].text.removeprefix(IMAGE_MARK * len(images)))
    if images and any(IMAGE_MARK in turn.text for turn in turns):
        raise UsageError(
            f"{instance.task_name}: the prompt places {len(images)} images inside its text; --model {NAME} shows "
            "them before it, which is another prompt. Use --model hf-multimodal."
        )
    return Request(names.of(instance), tuple(turns), images, options, chat=isinstance(context, Turns))


def _turns(context: str) -> list[Message]:
    if not isinstance(context, Turns):
        return [Message("user", context)]
    turns = json.loads(context)
    for turn in turns:
        if turn["role"] not in get_args(Role):
            raise DataError(f"a turn of role {turn['role']!r}; expected {', '.join(get_args(Role))}.")
    return [Message(turn["role"], turn["content"]) for turn in turns]


def _held(image: Image.Image) -> HeldImage:
    whole = hashlib.sha256(f"{image.mode} {image.size}".encode() + image.tobytes())
    return HeldImage(image, whole.hexdigest())


def _boundary(context: str, options: list[str]) -> tuple[str, list[str]]:
    """Move the spaces at the end of a raw prompt to the options, where tokenizers expect them (as lm-eval does)."""
    if isinstance(context, Turns):
        return context, options
    bare = context.rstrip()
    spaces = context[len(bare) :]
    return bare, [spaces + option for option in options]


def _greedy(prediction: Prediction, count: int) -> Sequence[bool]:
    """Return for each option whether greedy decoding would say it; a lone option must know, as it is the score."""
    if not prediction.option_greedy and count == 1:
        raise UsageError(f"{prediction.id}: this back end does not say whether an option is the greedy one.")
    return prediction.option_greedy or [False] * count


def _decoding(asked: dict[str, Any], task: str) -> tuple[Decoding, list[str]]:
    """Return how a reply is decoded and where it is cut; raises UsageError for what a Model cannot be told."""
    wanted = dict(normalize_gen_kwargs(asked, DEFAULT_NEW_TOKENS))
    sample, tokens = wanted.pop("do_sample"), wanted.pop("max_gen_toks")
    temperature, until = wanted.pop("temperature", 0.0), wanted.pop("until")
    if wanted:
        raise UsageError(
            f"{task}: --model {NAME} decodes with temperature and max_gen_toks alone; "
            f"it knows no {', '.join(sorted(wanted))}."
        )
    return Decoding(temperature if sample else 0.0, tokens), [stop for stop in until if stop]


def _cut(text: str, stops: Sequence[str]) -> str:
    for stop in stops:
        text = text.split(stop)[0]
    return text
