"""Any Hugging Face folder, run in this process by transformers: image-text-to-text or text only."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aloe_bench.core import Decoding, Prediction, Request, batches
from aloe_bench.errors import ModelError
from aloe_bench.models.hf_folder import check_folder, fingerprint_folder, gguf_file, local_folder
from aloe_bench.models.hf_generate import answer_batch
from aloe_bench.models.hf_options import score_options
from aloe_bench.models.opening import failed, open_each
from aloe_bench.models.options import adds_special_tokens

__all__ = ["HFModel", "fingerprint_folder"]

log = logging.getLogger(__name__)


class HFModel:
    """A checkpoint folder (or hub id) as a Model and an OptionScorer.

    Replies do not depend on the checkpoint's own generation settings: of these only the ids of
    its special tokens are kept, so two models are compared under the same decoding.
    `dtype` "auto" is float32 on a CPU and the checkpoint's own elsewhere.
    `reuse=False` computes every prompt from scratch; it is there to check the shared paths.
    Raises ModelError if the folder is not a complete checkpoint.
    """

    batch_errors = (ValueError, RuntimeError)

    def __init__(
        self,
        path: str,
        *,
        batch_size: int = 8,
        dtype: str = "auto",
        device: str = "auto",
        trust_remote_code: bool = False,
        name: str | None = None,
        reuse: bool = True,
    ) -> None:
        if batch_size < 1:
            raise ModelError(f"batch size {batch_size} for {path}: it must be at least 1.")
        self.folder = local_folder(path)
        self.name = name or self.folder.resolve().name
        self.batch_size = batch_size
        self.reuse = reuse
        self._trust = trust_remote_code
        written = check_folder(self.folder)
        self._fingerprint: str | None = None
        self.device = _device(device)
        self.sees_images = _sees_images(self.folder, written, trust_remote_code)
        self._load(_dtype(dtype, self.device))

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the model files; computed on first use, as it reads all the weights."""
        if self._fingerprint is None:
            self._fingerprint = fingerprint_folder(self.folder)
        return self._fingerprint

    def describe(self) -> Mapping[str, object]:
        """Return what a run header records about this back end."""
        import torch
        import transformers

        return {
            "backend": "hf",
            "class": type(self.network).__name__,
            "dtype": str(self.network.dtype).removeprefix("torch."),
            "device": str(self.device),
            "batch_size": self.batch_size,
            "reuse": self.reuse,
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
        kinds: dict[tuple[bool, bool], list[Request]] = {}
        for request in requests:
            if (fault := self.refusal(request)) is not None:
                yield failed(request, fault)
            else:
                kinds.setdefault((request.chat, bool(request.images)), []).append(request)
        size = self.batch_size if decoding.temperature == 0 else 1
        for kind in kinds.values():
            for batch in batches(sorted(kind, key=_likeness), size):
                yield from self._answer(batch, decoding)

    def option_logprobs(self, requests: Sequence[Request]) -> Iterator[Prediction]:
        """Yield one Prediction a request, with the natural log-probability of each option."""
        return score_options(self, requests)

    def refusal(self, request: Request) -> str | None:
        """Return why this model cannot be asked `request`, or None."""
        if request.images and not self.sees_images:
            return f"{self.name} is a text-only model; the request has {len(request.images)} images"
        return None

    def render(self, request: Request) -> str:
        """Return the prompt as text, with one placeholder an image, ready to be tokenized."""
        if not request.chat:
            return self._image_mark * len(request.images) + "".join(m.text for m in request.messages)
        turns: list[dict[str, Any]] = []
        waiting = len(request.images)
        for message in request.messages:
            if not self.sees_images:
                turns.append({"role": message.role, "content": message.text})
                continue
            shown = waiting if message.role == "user" else 0
            waiting -= shown
            parts = [{"type": "image"}] * shown + [{"type": "text", "text": message.text}]
            turns.append({"role": message.role, "content": parts})
        if waiting:
            raise ValueError(f"{waiting} images but no user turn to show them in")
        source = self.processor if self.sees_images else self.tokenizer
        return str(source.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))

    def prepare(self, batch: Sequence[Request], images: Sequence[list[Any]]) -> dict[str, Any]:
        """Return the left-padded inputs of requests that agree in `chat` and in having images."""
        texts = [self.render(request) for request in batch]
        special = adds_special_tokens(self.tokenizer, batch[0], texts[0], processor=self.sees_images)
        options = {"padding": True, "return_tensors": "pt", "add_special_tokens": special}
        if any(images):
            for request, text in zip(batch, texts, strict=True):
                if text.count(self.image_token) != len(request.images):
                    raise ValueError(
                        f"the prompt holds {text.count(self.image_token)} image tokens for {len(request.images)} images"
                    )
            made = self.processor(text=texts, images=list(images), **options)
        else:
            made = self.tokenizer(texts, **options)
        inputs = dict(made.to(self.device))
        if not self.sees_images:
            inputs.pop("token_type_ids", None)
        for name, value in inputs.items():
            if value.is_floating_point():
                inputs[name] = value.to(self.network.dtype)
        return inputs

    def forget_positions(self) -> None:
        """Drop the image positions that Qwen2-VL keeps from its last call."""
        inner: Any = getattr(self.network, "model", None)
        if hasattr(inner, "rope_deltas"):
            inner.rope_deltas = None

    def may_split(self, error: Exception) -> bool:
        """Return whether a smaller batch may pass where `error` ended this one."""
        return isinstance(error, ValueError) or "out of memory" in str(error).lower()

    def _answer(self, batch: list[Request], decoding: Decoding) -> Iterator[Prediction]:
        opened, broken = open_each(batch)
        for request, fault in broken:
            yield failed(request, fault)
        if opened:
            yield from self._answer_opened(opened, decoding)

    def _answer_opened(self, opened: list[tuple[Request, list[Any]]], decoding: Decoding) -> Iterator[Prediction]:
        try:
            answered = answer_batch(self, opened, decoding)
        except self.batch_errors as error:
            if not self.may_split(error):
                raise
            if len(opened) == 1:
                yield failed(opened[0][0], f"{opened[0][0].id}: {error}")
                return
            message = str(error)
        else:
            yield from answered
            return
        log.info("batch of %d halved: %s", len(opened), message)
        _free_memory()
        half = len(opened) // 2
        yield from self._answer_opened(opened[:half], decoding)
        yield from self._answer_opened(opened[half:], decoding)

    def generation_config(self, decoding: Decoding) -> Any:
        """Return transformers' form of `decoding`, with nothing of the checkpoint's but its token ids."""
        from transformers import GenerationConfig

        sampling: dict[str, Any] = {"do_sample": False}
        if decoding.temperature > 0:
            sampling = {"do_sample": True, "temperature": decoding.temperature, "top_p": 1.0, "top_k": 0}
        return GenerationConfig(
            max_new_tokens=decoding.max_new_tokens,
            eos_token_id=list(self.eos) or None,
            pad_token_id=self.pad,
            bos_token_id=self._bos,
            **sampling,
        )

    def _load(self, dtype: Any) -> None:
        import transformers
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()

        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": self._trust}
        gguf = gguf_file(self.folder)
        if gguf is not None:
            options["gguf_file"] = gguf
        model_class = transformers.AutoModelForCausalLM
        if self.sees_images:
            model_class = transformers.AutoModelForImageTextToText
        try:
            if self.sees_images:
                self.processor = transformers.AutoProcessor.from_pretrained(self.folder, **options)
                self.tokenizer = self.processor.tokenizer
            else:
                self.tokenizer = transformers.AutoTokenizer.from_pretrained(self.folder, **options)
            network, info = model_class.from_pretrained(self.folder, dtype=dtype, output_loading_info=True, **options)
        # Whatever transformers, safetensors or a custom class raises here means one thing to the user.
        except Exception as error:
            raise ModelError(
                f"{self.folder}: transformers could not load it as {model_class.__name__}: "
                f"{type(error).__name__}: {' '.join(str(error).split())[:300]}. "
                "Check that the folder is complete and fits the installed transformers."
            ) from error
        missing = sorted(info["missing_keys"])
        if missing:
            raise ModelError(
                f"{self.folder}: the weights lack {len(missing)} tensors of {type(network).__name__}, first "
                f"{missing[0]}; they would be random. Download the weights again, or merge the adapter."
            )
        self.network = network.to(self.device).eval()
        self.config = network.config
        self._keep_token_ids(network.generation_config)
        self.image_token = str(getattr(self.processor, "image_token", "<image>")) if self.sees_images else ""
        self._image_mark = self.image_token
        if self.sees_images and "<|vision_start|>" in self.tokenizer.get_vocab():
            self._image_mark = f"<|vision_start|>{self.image_token}<|vision_end|>"

    def _keep_token_ids(self, written: Any) -> None:
        """Keep the special ids of the checkpoint's generation settings, and nothing else of them."""
        from transformers import GenerationConfig

        eos = written.eos_token_id if written.eos_token_id is not None else self.tokenizer.eos_token_id
        self.eos: tuple[int, ...] = () if eos is None else (eos,) if isinstance(eos, int) else tuple(eos)
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


def _likeness(request: Request) -> tuple[object, ...]:
    """Sort requests over the same images together, then by length: less padding, warm caches."""
    length = sum(len(message.text) for message in request.messages)
    return (len(request.images), tuple(image.sha256 for image in request.images), length, request.id)


def _sees_images(folder: Path, config: Mapping[str, object], trust_remote_code: bool) -> bool:
    """Return whether the folder is an image-text-to-text model; raise ModelError if it is no chat model."""
    from transformers.models.auto import modeling_auto

    if not config:
        return False
    named = config.get("architectures")
    architectures = named if isinstance(named, list) else []
    if set(architectures) & _names(modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES):
        return True
    if set(architectures) & _names(modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
        return False
    own = config.get("auto_map")
    if isinstance(own, dict) and trust_remote_code:
        return "AutoModelForImageTextToText" in own
    hint = " It brings its own code: allow it with trust_remote_code." if own else ""
    raise ModelError(
        f"{folder / 'config.json'}: architectures {architectures} name no image-text-to-text or causal language "
        f"model that transformers knows.{hint or ' Check the path, or update transformers.'}"
    )


def _names(mapping: Mapping[str, Any]) -> set[str]:
    return {name for value in mapping.values() for name in ((value,) if isinstance(value, str) else value)}


def _device(name: str) -> Any:
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ModelError(f"device {name!r}: torch knows no such device; try auto, cpu or cuda.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ModelError(f"device {name!r}: torch sees no GPU here. Use auto or cpu, or check the driver.")
    return device


def _dtype(name: str, device: Any) -> Any:
    import torch

    if name == "auto":
        return torch.float32 if device.type == "cpu" else "auto"
    known = ("float32", "bfloat16", "float16")
    if name not in known:
        raise ModelError(f"dtype {name!r} is not one of auto, {', '.join(known)}.")
    return getattr(torch, name)


def _free_memory() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
