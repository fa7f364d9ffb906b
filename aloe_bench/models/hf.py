"""Any Hugging Face folder, run in this process by transformers: with images or text only."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from aloe_bench.core import AnswerLikelihood, Decoding, Prediction, Request, batches
from aloe_bench.errors import AloeError, ModelError
from aloe_bench.models.checkpoint_files import (
    CheckpointFiles,
    adapter_facts,
    checkpoint_files,
    fingerprint_folder,
    model_name,
)
from aloe_bench.models.hf_folder import check_folder, end_tokens, local_folder
from aloe_bench.models.hf_generate import answer_batch
from aloe_bench.models.hf_load import Loaded, Setup, cast, load, loader_of, picture_mark, pixel_limits, quantization_of
from aloe_bench.models.hf_options import score_options
from aloe_bench.models.hf_prefix import shareable_tokens
from aloe_bench.models.hf_probe import content_form, probe
from aloe_bench.models.opening import NOTHING, Begun, failed, open_each
from aloe_bench.models.options import adds_special_tokens, answer_likelihoods
from aloe_bench.models.profile import (
    Content,
    Profile,
    Thinking,
    check_template_args,
    digest,
    paper_pixels,
    read_template,
)
from aloe_bench.models.reasoning import ReasoningTags, bounded, opened_by, tags_of

log = logging.getLogger(__name__)
# Families of which transformers (5.19) gives other scores in a batch, by less than the probe can tell in bfloat16.
ONE_BY_ONE = frozenset({"phi4_multimodal", "hunyuan_vl", "minimax_m3_vl"})


class HFModel:
    """A checkpoint folder (or hub id), or a LoRA adapter's, as a Model and an OptionScorer.

    Replies do not depend on the checkpoint's own generation settings: of these only the ids of
    its special tokens are kept, so two models are compared under the same decoding.
    `dtype` "auto" is float32 on a CPU and the checkpoint's own elsewhere. `device_map` "auto" spreads the weights over
    all GPUs. `min_pixels` and `max_pixels` (width times height) bound how large pictures are shown, `resolution`
    "paper" as the paper's were. `chat_template` is a file, or "raw" for none; `enable_thinking` and
    `chat_template_kwargs` are its keywords. `reuse=False` computes every prompt from scratch; it is there to check the
    shared paths. Raises ModelError if the folder is not a complete checkpoint or fails a made-up question.
    """

    def __init__(
        self,
        path: str,
        *,
        batch_size: int = 8,
        dtype: str = "auto",
        device: str = "auto",
        device_map: str | None = None,
        attn_implementation: str | None = None,
        trust_remote_code: bool = False,
        min_pixels: int | None = None,
        max_pixels: int | None = None,
        resolution: str | None = None,
        chat_template: str | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        enable_thinking: bool | None = None,
        revision: str | None = None,
        name: str | None = None,
        reuse: bool = True,
    ) -> None:
        if batch_size < 1:
            raise ModelError(f"batch size {batch_size} for {path}: it must be at least 1.")
        self.folder = local_folder(path, revision)
        self.name = name or model_name(self.folder)
        self.batch_size = batch_size
        self.reuse = reuse
        written = self._read_config()
        self._fingerprint: str | None = None
        files = checkpoint_files(self.folder)
        self._loader = loader_of(files.folder, written, trust_remote_code)
        self.sees_images = self._loader != "causal"
        if resolution == "paper":
            min_pixels, max_pixels = paper_pixels(written.get("model_type"))
        self._adapters = adapter_facts(files)
        self._quantization = quantization_of(written)
        self._template_args = dict(chat_template_kwargs or {})
        if enable_thinking is not None:
            self._template_args["enable_thinking"] = enable_thinking
        setup = Setup(dtype, device, device_map, attn_implementation, trust_remote_code, min_pixels, max_pixels)
        self._take(self._load(files, setup))
        self._take_template(chat_template)
        self.unextendable: str | None = None
        self.one_by_one = False
        text = self._probe() if self.template is not None or self.template_label == "raw" else ""
        opened = opened_by(text)
        self.reasoning_tags = opened or tags_of(self.tokenizer.get_vocab())
        self._thinking: Thinking = "opened" if opened else "tags" if self.reasoning_tags else "none"

    def _read_config(self) -> dict[str, object]:
        return check_folder(self.folder)

    def _load(self, files: CheckpointFiles, setup: Setup) -> Loaded:
        return load(files, self._loader, setup)

    def _probe(self) -> str:
        return probe(self)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the model files; computed on first use, as it reads all the weights."""
        if self._fingerprint is None:
            self._fingerprint = fingerprint_folder(self.folder)
        return self._fingerprint

    @property
    def profile(self) -> Profile:
        """How the model is loaded, prompted, shown pictures and ended."""
        least, most = pixel_limits(self.processor)
        return Profile(
            loader=self._loader,
            content=self.content,
            template=self.template_label,
            template_sha256=digest(self.template) if self.template else None,
            template_args=self._template_args,
            thinking=self._thinking,
            ends=self.eos,
            min_pixels=least,
            max_pixels=most,
            attention=getattr(self.config, "_attn_implementation", None),
            quantization=self._quantization,
            dtype=str(self.network.dtype).removeprefix("torch."),
            adapters=tuple(self._adapters),
        )

    def describe(self) -> Mapping[str, object]:
        """Return what a run header records about this back end."""
        import torch
        import transformers

        return {
            "backend": "hf",
            "profile": self.profile.to_json(),
            "class": type(self.network).__name__,
            "dtype": str(self.network.dtype).removeprefix("torch."),
            "device": str(self.device),
            "batch_size": self.batch_size,
            "reuse": self.reuse,
            **({"one_by_one": True} if self.one_by_one or self.config.model_type in ONE_BY_ONE else {}),
            **({"logprob_closes_reasoning": True} if self._thinking == "opened" else {}),
            "generation": {
                "eos_token_id": list(self.eos),
                "pad_token_id": self.pad,
                "bos_token_id": self._bos,
                "greedy_at_temperature_0": True,
                "repetition_penalty": 1.0,
                "no_repeat_ngram_size": 0,
                "top_p": 1.0,
                "top_k": 0,
                "inherited_from_checkpoint": ["eos_token_id", "pad_token_id", "bos_token_id"],
            },
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Prediction]:
        """Yield one Prediction a request, in batches of similar requests.

        At a temperature above 0 requests run one by one, each seeded from the decoding's seed and its id.
        """
        if decoding.reasoning_tokens is None or self.reasoning_tags is None:
            yield from self._generate(requests, decoding)
            return
        thinks = replace(decoding, max_new_tokens=decoding.reasoning_tokens, temperature=0.0)
        end = self.tokenizer(self.reasoning_tags.end, add_special_tokens=False)["input_ids"]
        first = list(self._generate(requests, thinks))
        yield from bounded(self, first, requests, decoding, (self.reasoning_tags, end))

    def _generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Prediction]:
        kinds: dict[tuple[bool, bool], list[Request]] = {}
        for request in requests:
            if (fault := self.refusal(request)) is not None:
                yield failed(request, fault)
            else:
                kinds.setdefault((request.chat, bool(request.images)), []).append(request)
        for (_, shown), kind in kinds.items():
            for batch in batches(sorted(kind, key=_likeness), self._batch(decoding, shown)):
                yield from self._answer(batch, decoding)

    def _batch(self, decoding: Decoding, shown: bool) -> int:
        """Return how many requests may be asked together, with pictures `shown` or not."""
        # A penalty counts a batch's padding among the tokens said; alone a prompt has none.
        alone = not decoding.likeliest or self.one_by_one or (shown and self.config.model_type in ONE_BY_ONE)
        return 1 if alone else self.batch_size

    def extend(
        self, requests: Sequence[Request], replies: Sequence[Prediction], decoding: Decoding
    ) -> Iterator[Prediction]:
        """Yield one whole reply a request: the tokens of `replies` and greedily up to `max_new_tokens` more."""
        self._refuse_unextendable()
        begun = {reply.id: reply for reply in replies}
        kinds: dict[tuple[bool, bool, int], list[Request]] = {}
        for request in requests:
            kinds.setdefault((request.chat, bool(request.images), len(begun[request.id].token_ids)), []).append(request)
        for kind in kinds.values():
            for batch in batches(sorted(kind, key=_likeness), self._batch(decoding, bool(kind[0].images))):
                yield from self._answer(batch, replace(decoding, temperature=0.0), begun)

    def option_logprobs(self, requests: Sequence[Request]) -> Iterator[Prediction]:
        """Yield one Prediction a request, with the natural log-probability of each option.

        Where the prompt opens reasoning, that is closed first: an option is not a thought.
        """
        self._refuse_unextendable()
        tags = [self.opened(request) for request in requests]
        closed = [
            replace(request, begun=opened.end) if opened else request
            for request, opened in zip(requests, tags, strict=True)
        ]
        return score_options(self, closed)

    def answer_logprobs(self, requests: Sequence[Request]) -> Iterator[AnswerLikelihood]:
        """Yield how likely the model finds the one option of each request, over all its tokens."""
        return answer_likelihoods(self, self.tokenizer, self.render, requests)

    def _refuse_unextendable(self) -> None:
        if self.unextendable is not None:
            raise ModelError(
                f"{self.name}: what follows a prompt of this model cannot be given to it ({self.unextendable}), so no "
                "option is scored and no reply continued. --protocol generate asks it."
            )

    def opened(self, request: Request) -> ReasoningTags | None:
        """Return the tags of the reasoning that this request's prompt leaves open, None for most."""
        if self._thinking != "opened" or self.refusal(request) is not None:
            return None
        return opened_by(self.render(request))

    def refusal(self, request: Request) -> str | None:
        """Return why this model cannot be asked `request`, or None."""
        if request.images and not self.sees_images:
            return f"{self.name} is a text-only model; the request has {len(request.images)} images"
        return None

    def render(self, request: Request) -> str:
        """Return the prompt as text, with one placeholder an image, ready to be tokenized."""
        if not request.chat or self.template_label == "raw":
            return self._image_mark * len(request.images) + "".join(m.text for m in request.messages) + request.begun
        if self.template is None:
            raise ModelError(
                f"{self.folder}: no chat template, so it cannot be asked as a chat model. Give one with "
                "--model-args chat_template=FILE, or send bare prompts with chat_template=raw."
            )
        return self.rendered(request, self.content) + request.begun

    def rendered(self, request: Request, content: Content) -> str:
        """Return the request in the chat template, a turn's content being a list of parts or a string."""
        turns: list[dict[str, Any]] = []
        waiting = len(request.images)
        for message in request.messages:
            shown = waiting if message.role == "user" else 0
            waiting -= shown
            said: Any = self._image_mark * shown + message.text
            if content == "list":
                said = [{"type": "image"}] * shown + [{"type": "text", "text": message.text}]
            turns.append({"role": message.role, "content": said})
        if waiting:
            raise ValueError(f"{waiting} images but no user turn to show them in")
        source = self.processor if self.processor is not None else self.tokenizer
        return str(
            source.apply_chat_template(
                turns,
                chat_template=self.template,
                tokenize=False,
                add_generation_prompt=True,
                **self._template_args,
            )
        )

    def prepare(self, batch: Sequence[Request], images: Sequence[list[Any]]) -> dict[str, Any]:
        """Return the left-padded inputs of requests that agree in `chat` and in having images."""
        return self.placed(self.read(batch, images, self.processor))

    def read(self, batch: Sequence[Request], images: Sequence[list[Any]], processor: Any) -> Any:
        """Return what the processor, or the tokenizer if there are no images, makes of requests: on the CPU."""
        texts = [self.render(request) for request in batch]
        special = adds_special_tokens(self.tokenizer, batch[0], texts[0], processor=self.sees_images)
        options = {"padding": True, "return_tensors": "pt", "add_special_tokens": special}
        if not any(images):
            # A processor may write more than the template did: Chameleon's ends each prompt with a token of its own.
            asked = self.processor if self.sees_images and batch[0].chat else self.tokenizer
            made = asked(text=texts, **options)
            made.pop("token_type_ids", None)
            return made
        for request, text in zip(batch, texts, strict=True):
            if text.count(self.image_token) != len(request.images):
                raise ValueError(
                    f"the prompt holds {text.count(self.image_token)} image tokens for {len(request.images)} images"
                )
        made = processor(text=texts, images=list(images), **options)
        made.pop("labels", None)  # of training, which PaliGemma's processor gives too
        return made

    def placed(self, made: Any) -> dict[str, Any]:
        """Return the network's inputs of what was read: on its device, in its precision."""
        return {name: cast(value, self.network.dtype) for name, value in made.to(self.device).items()}

    @property
    def shares(self) -> bool:
        """Whether prompts over the same pictures may have their beginning computed once."""
        return self.reuse and self.shareable > 0

    def image_tokens(self, ids: Any) -> int | None:
        """Return how many of a prompt's tokens stand for its pictures; None where no token does, as in Mllama."""
        mark = getattr(self.config, "image_token_id", None)
        return None if mark is None or self.config.model_type == "mllama" else list(ids).count(mark)

    def forget_positions(self) -> None:
        """Drop the image positions that Qwen2-VL and its kin keep from their last call."""
        parts: tuple[Any, ...] = (self.network, getattr(self.network, "model", None))
        for part in parts:
            if hasattr(part, "rope_deltas"):
                part.rope_deltas = None

    def raise_fatal(self, error: Exception) -> None:
        """Raise ModelError if `error` is one after which the device answers nothing more."""
        if "CUDA error" in str(error) and "out of memory" not in str(error).lower():
            raise ModelError(f"{self.name}: {str(error).splitlines()[0]} What was answered is kept.") from error

    def _answer(self, batch: list[Request], decoding: Decoding, begun: Begun = NOTHING) -> Iterator[Prediction]:
        opened, broken = open_each(batch)
        for request, fault in broken:
            yield failed(request, fault)
        if opened:
            yield from self._answer_opened(opened, decoding, begun)

    def _answer_opened(
        self, opened: list[tuple[Request, list[Any]]], decoding: Decoding, begun: Begun
    ) -> Iterator[Prediction]:
        try:
            answered = answer_batch(self, opened, decoding, begun)
        except AloeError:
            raise
        # A family may raise anything for one odd item: it fails, and the others are asked.
        except Exception as error:  # noqa: BLE001
            self.raise_fatal(error)
            message = fault_of(error)
        else:
            yield from answered
            return
        if len(opened) == 1:
            yield failed(opened[0][0], f"{opened[0][0].id}: {message}")
            return
        log.info("batch of %d halved: %s", len(opened), message)
        _free_memory()
        half = len(opened) // 2
        yield from self._answer_opened(opened[:half], decoding, begun)
        yield from self._answer_opened(opened[half:], decoding, begun)

    def generation_config(self, decoding: Decoding) -> Any:
        """Return transformers' form of `decoding`, with nothing of the checkpoint's but its token ids."""
        from transformers import GenerationConfig

        if decoding.presence_penalty:
            raise ModelError(f"{self.name}: back end hf has no presence penalty ({decoding.source}); serve the model.")
        sampling: dict[str, Any] = {"do_sample": False}
        if decoding.temperature > 0:
            sampling = {
                "do_sample": True,
                "temperature": decoding.temperature,
                "top_p": decoding.top_p or 1.0,
                "top_k": decoding.top_k or 0,
                "min_p": decoding.min_p,
            }
        if decoding.repetition_penalty:
            sampling["repetition_penalty"] = decoding.repetition_penalty
        return GenerationConfig(
            max_new_tokens=decoding.max_new_tokens,
            eos_token_id=list(self.eos) or None,
            pad_token_id=self.pad,
            bos_token_id=self._bos,
            **sampling,
        )

    def _take(self, loaded: Any) -> None:
        from transformers import GenerationConfig

        self.network, self.tokenizer, self.processor = loaded.network, loaded.tokenizer, loaded.processor
        self.device, self.config = loaded.device, loaded.network.config
        # Code of a folder's own may bear the name of a tested family.
        own_code = not type(self.network).__module__.startswith("transformers.")
        self.shareable = 0 if own_code else shareable_tokens(self.config)
        # Of the checkpoint's generation settings only the special ids are kept.
        written = self.network.generation_config
        self.eos = end_tokens(written.eos_token_id, self.tokenizer.eos_token_id)
        pads = (written.pad_token_id, self.tokenizer.pad_token_id, *self.eos, 0)
        self.pad = int(next(pad for pad in pads if pad is not None))
        self._bos = written.bos_token_id
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.convert_ids_to_tokens(self.pad)
        self.tokenizer.padding_side = "left"
        # generate() fills what a call leaves open from here, so this too must be bare.
        self.network.generation_config = GenerationConfig(
            eos_token_id=list(self.eos) or None, pad_token_id=self.pad, bos_token_id=self._bos
        )

    def _take_template(self, spec: str | None) -> None:
        """Set template, its form of content and the marks of a picture; check the template's keywords."""
        from transformers.utils.chat_template_utils import _get_template_variables

        source = self.processor if self.processor is not None else self.tokenizer
        own = getattr(source, "chat_template", None) or self.tokenizer.chat_template
        if isinstance(own, dict):
            own = own.get("default")
        self.template_label, self.template = read_template(spec, own)
        self.image_token = picture_mark(self.processor) if self.sees_images else ""
        self._image_mark = self.image_token
        if self.sees_images and "<|vision_start|>" in self.tokenizer.get_vocab():
            self._image_mark = f"<|vision_start|>{self.image_token}<|vision_end|>"
        self.content: Content = "string"
        if self.template is None:
            if self.sees_images and self.template_label == "own":
                raise ModelError(
                    f"{self.folder}: a {self.config.model_type} without chat template: a base model, or one that is "
                    "asked in task words. Give a template with --model-args chat_template=FILE, or send bare prompts "
                    "with chat_template=raw."
                )
            return
        check_template_args(self._template_args, self.template, _get_template_variables(self.template))
        self.content = content_form(self)


def fault_of(error: Exception) -> str:
    """Return what went wrong with one item, in a line."""
    kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    return f"{kind}{' '.join(str(error).split())[:400]}"


def _likeness(request: Request) -> tuple[object, ...]:
    """Sort requests over the same images together, then by length: less padding, warm caches."""
    length = sum(len(message.text) for message in request.messages)
    return (len(request.images), tuple(image.sha256 for image in request.images), length, request.id)


def _free_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
