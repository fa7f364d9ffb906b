"""A model behind any OpenAI-compatible endpoint: vLLM, transformers serve, or a hosted judge."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aloe_bench.core import Decoding, Prediction, Request
from aloe_bench.errors import ModelError
from aloe_bench.models.http_dialect import SILENT_ROUNDS, WARM_UP_STEP_S, Dialect, Refusals, WarmUp
from aloe_bench.models.http_endpoint import endpoint, preflight
from aloe_bench.models.http_failures import (
    BACKOFF_FIRST_S,
    RATE_FIRST_S,
    AttemptError,
    backoff_s,
    error_in_body,
    redirected,
    refused,
    server_words,
    sizes,
)
from aloe_bench.models.http_pictures import PixelLimits
from aloe_bench.models.http_pictures import data_uri as _data_uri
from aloe_bench.models.http_replies import counted, cut_in_reasoning, filtered_by_policy, read_message, whole
from aloe_bench.models.http_secrets import ScrubFilter, scrubber
from aloe_bench.models.sampling import sampling_seed

if TYPE_CHECKING:
    from openai import AsyncOpenAI

ERROR_CHARS = 300
# What vLLM, SGLang and others take beside the parameters of OpenAI's protocol.
BEYOND_OPENAI = ("top_k", "min_p", "repetition_penalty")
LIKELIEST = 20  # the most first tokens that the protocol lets a server name
# Their debug records hold URLs, bodies and headers, where a server may echo the key.
CLIENT_LOGGERS = ("openai", "httpx2", "httpcore2", "httpx", "httpcore")


class OpenAIModel:
    """Answers over HTTP, many at once; what fails stays a counted absence.

    `base_url` is one address, or several that serve the same model and share its requests; user and password in it are
    sent as basic authentication where no `api_key` is given, its query goes with every request, and no part of any of
    these is ever shown. `concurrency` is the number of requests in flight at each, `timeout` the seconds that one
    attempt may last, `attempts` the most tries a request gets. `revision` says which commit is served: the model is
    then known by its name and that, wherever it stands. `token_ids` asks a vLLM server for the tokens of its replies;
    `guided` lets it answer a choice question by an option's letter alone; `reasoning_effort` and
    `chat_template_kwargs` are sent as they are. Pictures outside `min_pixels` and `max_pixels` are resized before they
    are sent. Raises ModelError if the URL or the key cannot be used.
    """

    # A chat endpoint always puts the model's own template around what it is sent.
    chat_only = True

    def __init__(
        self,
        model: str,
        *,
        base_url: str | Sequence[str],
        api_key: str = "EMPTY",
        concurrency: int = 16,
        timeout: float = 120.0,
        attempts: int = 6,
        token_ids: bool = False,
        guided: bool = False,
        reasoning_effort: str | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        min_pixels: int | None = None,
        max_pixels: int | None = None,
        revision: str | None = None,
        name: str | None = None,
    ) -> None:
        key = api_key.strip() or "EMPTY"
        if not (key.isascii() and key.isprintable()):
            raise ModelError("The API key holds characters that no HTTP header can carry; copy it again.")
        if concurrency < 1 or attempts < 1 or not timeout > 0:
            raise ModelError(
                f"concurrency {concurrency}, attempts {attempts} and timeout {timeout} must all be positive."
            )
        self.model = model
        self.name = name or model
        self.concurrency = concurrency
        self.timeout = timeout
        self.attempts = attempts
        self.token_ids, self.guided = token_ids, guided
        self.reasoning_effort, self.chat_template_kwargs = reasoning_effort, dict(chat_template_kwargs or {})
        self.pixels = PixelLimits(min_pixels, max_pixels)
        self.revision = revision
        urls = [base_url] if isinstance(base_url, str) else list(base_url)
        self._endpoints = [endpoint(url, key) for url in urls]
        self.base_url = ", ".join(place.url for place in self._endpoints)
        self._dialect, self._warm_up = Dialect(self.name), WarmUp(self.name)
        self._refusals = Refusals(SILENT_ROUNDS * concurrency * len(urls))
        self._scrub = scrubber({secret for place in self._endpoints for secret in place.secrets.value})
        # A reply is the measurement: only the key itself, too long to be a word of it, is taken out.
        self._scrub_reply = scrubber({key} if key != "EMPTY" and len(key) >= 8 else set())

    def __repr__(self) -> str:
        return f"OpenAIModel({self.model!r}, base_url={self.base_url!r})"

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the model's name with its revision or, without one, with its address (nothing secret)."""
        if self.revision:
            return hashlib.sha256(f"revision\n{self.model}\n{self.revision}".encode()).hexdigest()
        where = "\n".join(sorted(place.url for place in self._endpoints))
        return hashlib.sha256(f"{where}\n{self.model}".encode()).hexdigest()

    def describe(self) -> Mapping[str, object]:
        """What a run's header records of this model; it holds no secret."""
        shown = ("model", "revision", "base_url", "concurrency", "timeout", "attempts")
        return {
            "backend": "openai",
            "profile": {
                "loader": "api",
                "template_args": self.chat_template_kwargs,
                "reasoning_effort": self.reasoning_effort,
                "min_pixels": self.pixels.least,
                "max_pixels": self.pixels.most,
            },
            "generation": {"guided_choice": True} if self.guided else None,
            "switched": dict(self._dialect.switched),
            **{field: getattr(self, field) for field in shown},
        }

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Prediction]:
        """Yield one Prediction a request, in the order they finish.

        Raises ModelError if the endpoint cannot be reached at the start, or refuses the key (401).
        Closing the iterator cancels what is in flight.
        """
        return self._ask(requests, decoding, scored=False)

    def option_logprobs(self, requests: Sequence[Request]) -> Iterator[Prediction]:
        """Yield one Prediction a request: the log-probability of each option as the first token of the reply.

        A server names its 20 likeliest first tokens; a request with an option that is not one of these fails.
        """
        return self._ask(requests, Decoding(temperature=0.0, max_new_tokens=1), scored=True)

    def _ask(self, requests: Sequence[Request], decoding: Decoding, scored: bool) -> Iterator[Prediction]:
        if not requests:
            return
        results: queue.SimpleQueue[Prediction | BaseException | None] = queue.SimpleQueue()
        started = threading.Event()
        running: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = []

        async def main() -> None:
            task = asyncio.current_task()
            assert task is not None
            running.append((asyncio.get_running_loop(), task))
            started.set()
            await self._answer_all(requests, decoding, scored, results.put)

        def work() -> None:
            try:
                asyncio.run(main())
            except BaseException as error:  # noqa: BLE001 - the caller's thread raises it
                results.put(error)
            finally:
                started.set()
                results.put(None)

        with self._scrubbed_logs():
            thread = threading.Thread(target=work, name=f"OpenAIModel {self.name}", daemon=True)
            thread.start()
            try:
                while (result := results.get()) is not None:
                    if isinstance(result, BaseException):
                        raise result
                    yield result
            finally:
                started.wait()
                for loop, task in running:
                    with suppress(RuntimeError):  # a loop that has closed has nothing left to cancel
                        loop.call_soon_threadsafe(task.cancel)
                thread.join()

    async def _answer_all(
        self, requests: Sequence[Request], decoding: Decoding, scored: bool, put: Callable[[Prediction], None]
    ) -> None:
        waiting = iter(requests)
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(place.client(self.timeout)) for place in self._endpoints]
            for client, place in zip(clients, self._endpoints, strict=True):
                await preflight(client, place.url, self._scrub, backoff_s)

            # As many workers as the endpoints may have requests: they are their semaphore, and only
            # the pictures of requests in flight are ever in memory.
            async def worker(home: int) -> None:
                order = [*clients[home:], *clients[:home]]
                for request in waiting:
                    put(await self._answer(order, request, decoding, scored))

            try:
                async with asyncio.TaskGroup() as group:
                    for number in range(min(self.concurrency * len(clients), len(requests))):
                        group.create_task(worker(number % len(clients)))
            except* ModelError as stopped:
                raise stopped.exceptions[0] from None

    async def _answer(
        self, clients: Sequence[AsyncOpenAI], request: Request, decoding: Decoding, scored: bool
    ) -> Prediction:
        """Ask the first client, and the next one at each further attempt.

        Raises ModelError once the server has refused everything, from the first request on, in the same words.
        """
        try:
            payload = await self._payload(request, decoding)
            if scored:
                payload |= {"logprobs": True, "top_logprobs": LIKELIEST}
        except AttemptError as failure:
            return self._failed(request, str(failure), None)
        attempt, tries = 1, 0
        while True:
            start = time.perf_counter()
            sent = self._dialect.adapted(payload)
            try:
                reply = await self._attempt(clients[tries % len(clients)], request, sent)
                self._refusals.heard()
                return replace(reply, seed=sent.get("seed"))
            except AttemptError as failure:
                if self._dialect.learn(sent, failure.status, failure.words):
                    continue
                tries += 1
                if failure.loading and self._warm_up.waits():
                    delay = max(failure.retry_after_s, min(backoff_s(request.id, tries), WARM_UP_STEP_S))
                elif failure.retry and attempt < self.attempts:
                    untold = failure.status == 429 and not failure.retry_after_s
                    first_s = RATE_FIRST_S if untold else BACKOFF_FIRST_S
                    delay = max(failure.retry_after_s, backoff_s(request.id, attempt, first_s))
                    attempt += 1
                else:
                    server_said = failure.final or failure.retry
                    if server_said and (word := self._refusals.last_word(str(failure), failure.final)):
                        raise ModelError(
                            f"{self.base_url} {word}: {failure}. Nothing more is asked; check that the server runs, "
                            "the model's name, and what it can read, then give the same command again."
                        ) from None
                    said = f"{failure} (attempt {attempt} of {self.attempts})"
                    return self._failed(request, said, time.perf_counter() - start)
            await asyncio.sleep(delay)

    async def _attempt(self, client: AsyncOpenAI, request: Request, payload: dict[str, Any]) -> Prediction:
        import openai

        start = time.perf_counter()
        try:
            # The client's own timeout is one per read; a server that trickles would never meet it.
            async with asyncio.timeout(self.timeout):
                raw = await client.chat.completions.with_raw_response.create(**payload)
        except (TimeoutError, openai.APITimeoutError):
            raise AttemptError(f"no answer within {self.timeout:g} s", retry=True) from None
        except openai.APIStatusError as error:
            said, words = server_words(error), f"{error.message} {error.response.text}"
            said += redirected(error.response)
            return self._unanswered(request, payload, error.status_code, said, words, error.response.headers)
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            # What cannot be encoded (a lone surrogate) will not be on the next try either.
            retry = not isinstance(cause, ValueError)
            raise AttemptError(self._short(f"{type(cause).__name__}: {cause}"), retry=retry) from None
        except (openai.OpenAIError, ValueError, TypeError) as error:
            raise AttemptError(self._short(f"{type(error).__name__}: {error}")) from None
        return self._read(request, payload, raw.http_response, time.perf_counter() - start)

    def _unanswered(
        self,
        request: Request,
        payload: Mapping[str, Any],
        status: int,
        said: str,
        words: str,
        headers: Mapping[str, str],
    ) -> Prediction:
        """Return the reply that an error stands for, filtered or cut in its reasoning; any other is an AttemptError."""
        if filtered_by_policy(status, words):
            return Prediction(request.id, "", "stop", finish_reason="content_filter")
        if cut_in_reasoning(status, words) and "logprobs" not in payload:
            return Prediction(request.id, "", "length", finish_reason="length")
        size = sizes(payload) if status == 413 else ""
        raise refused(self._short(f"HTTP {status}: {said}") + size, status, words, headers)

    def _read(self, request: Request, payload: Mapping[str, Any], response: Any, seconds: float) -> Prediction:
        body = response.content.decode("utf-8-sig", errors="replace")  # JSON is UTF-8, whatever the header says
        try:
            reply = json.loads(body)
            if (found := error_in_body(reply)) is not None:
                return self._unanswered(request, payload, *found, body, response.headers)
            choice = reply["choices"][0]
            message, reason = choice.get("message") or {}, choice.get("finish_reason")
            if not message and choice.keys() & {"text", "delta"}:
                raise LookupError("a completion or a part of a stream: its text is not where a message's is")
            message.get("content")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            elsewhere = redirected(response)
            what = self._short(f"HTTP {response.status_code}: not a chat completion: {body}")
            raise AttemptError(what + elsewhere, retry=not elsewhere, final=bool(elsewhere)) from None
        usage = reply.get("usage")
        prompt_tokens, output_tokens = counted(usage, "prompt_tokens"), counted(usage, "completion_tokens")
        details = usage.get("prompt_tokens_details") if isinstance(usage, Mapping) else None
        said = read_message(message, reason, output_tokens)
        if said is None:
            calls = bool(message.get("tool_calls"))
            raise AttemptError(
                self._short(f"HTTP {response.status_code}: the reply holds no text; finish_reason {reason!r}"),
                retry=not calls,
                final=calls,
            )
        scores = _first_token_scores(choice, request) if "logprobs" in payload else ()
        return Prediction(
            id=request.id,
            text=request.options[scores.index(max(scores))] if scores else self._scrub_reply(whole(said.text)),
            finish="stop" if scores else said.finish,
            prompt_tokens=prompt_tokens,
            output_tokens=output_tokens,
            seconds=seconds,
            token_ids=tuple(choice.get("token_ids") or ()) if self.token_ids else (),
            option_logprobs=scores,
            finish_reason=said.finish_reason,
            reasoning=None if said.reasoning is None else self._scrub_reply(whole(said.reasoning)),
            image_tokens=counted(details, "image_tokens") if request.images else None,
        )

    async def _payload(self, request: Request, decoding: Decoding) -> dict[str, Any]:
        if not request.chat:
            raise AttemptError("chat=False: a chat endpoint always applies the model's own template")
        turns: list[dict[str, Any]] = [{"role": m.role, "content": m.text} for m in request.messages]
        if request.images:
            first = next((turn for turn in turns if turn["role"] == "user"), None)
            if first is None:
                raise AttemptError("the request has images but no user turn to put them in")
            try:
                urls = [await asyncio.to_thread(_data_uri, image, self.pixels) for image in request.images]
            except ValueError as error:
                raise AttemptError(str(error)) from None
            pictures: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
            first["content"] = [*pictures, {"type": "text", "text": first["content"]}]
        payload: dict[str, Any] = {
            "model": self.model,
            "messages": turns,
            "temperature": decoding.temperature,
            "max_tokens": decoding.max_new_tokens,
        }
        if (seed := sampling_seed(decoding, request.id)) is not None:
            payload["seed"] = seed
        if self.reasoning_effort is not None:
            payload["reasoning_effort"] = self.reasoning_effort
        own = {name: getattr(decoding, name) for name in ("top_p", "presence_penalty", *BEYOND_OPENAI)}
        own = {name: value for name, value in own.items() if value is not None}
        payload |= {name: own.pop(name) for name in list(own) if name not in BEYOND_OPENAI}
        if request.json_schema is not None:
            schema = {"name": "answer", "schema": dict(request.json_schema), "strict": True}
            payload["response_format"] = {"type": "json_schema", "json_schema": schema}
        body: dict[str, Any] = own | ({"return_token_ids": True} if self.token_ids else {})
        if self.guided and request.options:
            body["structured_outputs"] = {"choice": list(request.options)}
        if self.chat_template_kwargs:
            body["chat_template_kwargs"] = self.chat_template_kwargs
        return {**payload, "extra_body": body} if body else payload

    def _failed(self, request: Request, message: str, seconds: float | None) -> Prediction:
        return Prediction(request.id, None, "error", error=self._scrub(message), seconds=seconds)

    def _short(self, message: str) -> str:
        """Return `message` without secrets, then cut: a cut key would no longer be recognised."""
        clean = " ".join(self._scrub(message).split())
        return clean if len(clean) <= ERROR_CHARS else clean[: ERROR_CHARS - 1] + "…"

    @contextmanager
    def _scrubbed_logs(self) -> Iterator[None]:
        """Keep secrets out of what the HTTP client logs while a run is under way."""
        import openai  # noqa: F401 - the loggers below it, which need the filter themselves, come with it

        known = [name for name in logging.root.manager.loggerDict if name.split(".")[0] in CLIENT_LOGGERS]
        loggers = [logging.getLogger(name) for name in known]
        scrub = ScrubFilter(self._scrub)
        for logger in loggers:
            logger.addFilter(scrub)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeFilter(scrub)


def _first_token_scores(choice: Mapping[str, Any], request: Request) -> tuple[float, ...]:
    try:
        named = choice["logprobs"]["content"][0]["top_logprobs"]
        likeliest = {entry["token"]: float(entry["logprob"]) for entry in named}
    except (LookupError, TypeError, ValueError):
        likeliest = {}
    if not likeliest or any(math.isnan(score) for score in likeliest.values()):
        raise AttemptError("the server gave no top_logprobs for the first token", final=True) from None
    missing = [option for option in request.options if option not in likeliest]
    if missing or not request.options:
        raise AttemptError(f"options {missing!r} are not among the {len(likeliest)} likeliest first tokens")
    return tuple(likeliest[option] for option in request.options)
