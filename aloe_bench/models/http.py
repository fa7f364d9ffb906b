"""A model behind any OpenAI-compatible endpoint: vLLM, transformers serve, or a hosted judge."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from aloe_bench.core import Decoding, Finish, ImageRef, Prediction, Request
from aloe_bench.errors import AloeError, ModelError
from aloe_bench.models.http_secrets import ScrubFilter, Secret, scrubber, split_url
from aloe_bench.models.sampling import sampling_seed

if TYPE_CHECKING:
    from openai import AsyncOpenAI

RETRY_AFTER_CAP_S = 60.0
BACKOFF_FIRST_S = 0.5
BACKOFF_CAP_S = 30.0
PREFLIGHT_ATTEMPTS = 3
ERROR_CHARS = 300
RETRIED_STATUS = frozenset({408, 409, 429})
PNG_MODES = frozenset({"1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA"})
LIKELIEST = 20  # the most first tokens that the protocol lets a server name
FINISHES: Mapping[str | None, Finish] = {"stop": "stop", None: "stop", "length": "length"}
REFUSED_STATUS = frozenset({400, 422})
log = logging.getLogger(__name__)
# Their debug records hold URLs, bodies and headers, where a server may echo the key.
CLIENT_LOGGERS = ("openai", "httpx2", "httpcore2", "httpx", "httpcore")


class OpenAIModel:
    """Answers over HTTP, many at once; what fails stays a counted absence.

    `concurrency` is the number of requests in flight at the endpoint, `timeout` the seconds that one
    attempt may last, `attempts` the most tries a request gets. `token_ids` asks a vLLM server for the tokens
    of its replies; `guided` lets it answer a choice question by an option's letter alone. User and password
    in `base_url` are sent as basic authentication where no `api_key` is given; its query goes with every request.
    No part of any of these is ever shown. Raises ModelError if the URL or the key cannot be used.
    """

    # A chat endpoint always puts the model's own template around what it is sent.
    chat_only = True

    def __init__(
        self,
        model: str,
        *,
        base_url: str,
        api_key: str = "EMPTY",
        concurrency: int = 16,
        timeout: float = 120.0,
        attempts: int = 6,
        token_ids: bool = False,
        guided: bool = False,
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
        self._takes_seeds = True
        self.base_url, login, query = split_url(base_url)
        headers: dict[str, str] = {}
        secrets = {*query.values(), *login} | ({key} if key != "EMPTY" else set())
        if any(login) and key == "EMPTY":
            token = base64.b64encode(":".join(login).encode()).decode()
            headers = {"Authorization": f"Basic {token}"}
            secrets.add(token)
        self._key, self._headers, self._query = Secret(key), Secret(headers), Secret(query)
        self._scrub = scrubber(secrets)
        # A reply is the measurement: only the key itself, too long to be a word of it, is taken out.
        self._scrub_reply = scrubber({key} if key != "EMPTY" and len(key) >= 8 else set())

    def __repr__(self) -> str:
        return f"OpenAIModel({self.model!r}, base_url={self.base_url!r})"

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the endpoint, without credentials and query, and of the model's name."""
        return hashlib.sha256(f"{self.base_url}\n{self.model}".encode()).hexdigest()

    def describe(self) -> Mapping[str, object]:
        """What a run's header records of this model; it holds no secret."""
        shown = ("model", "base_url", "concurrency", "timeout", "attempts")
        generation = {"guided_choice": True} if self.guided else None
        return {"backend": "openai", "generation": generation, **{field: getattr(self, field) for field in shown}}

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Prediction]:
        """Yield one Prediction a request, in the order they finish.

        Raises ModelError if the endpoint cannot be reached at the start, or refuses the key (401).
        Closing the iterator cancels what is in flight.
        """
        return self._ask(requests, decoding, scored=False)

    def option_logprobs(self, requests: Sequence[Request]) -> Iterator[Prediction]:
        """Yield one Prediction a request: the log-probability of each option as the first token of the reply.

        A server names its 20 likeliest first tokens; a request with an option that is none of these fails.
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
        from openai import AsyncOpenAI

        waiting = iter(requests)
        async with AsyncOpenAI(
            api_key=self._key.value,
            base_url=self.base_url,
            timeout=self.timeout,
            max_retries=0,
            default_headers=self._headers.value,
            default_query=self._query.value,
        ) as client:
            await self._preflight(client)

            # As many workers as the endpoint may have requests: they are its semaphore, and only
            # the pictures of requests in flight are ever in memory.
            async def worker() -> None:
                for request in waiting:
                    put(await self._answer(client, request, decoding, scored))

            async with asyncio.TaskGroup() as group:
                for _ in range(min(self.concurrency, len(requests))):
                    group.create_task(worker())

    async def _preflight(self, client: AsyncOpenAI) -> None:
        """Raise ModelError if nothing answers at the endpoint, or if it refuses the key.

        Any other status passes: not every server lists its models, and not every key may see them.
        """
        import openai

        problem = ""
        for attempt in range(1, PREFLIGHT_ATTEMPTS + 1):
            try:
                await client.models.with_raw_response.list()
                return
            except openai.APIStatusError as error:
                if error.status_code != 401:
                    return
                problem = f"{self.base_url} refuses the API key (HTTP 401). Check the key."
                break
            except openai.APIConnectionError as error:
                cause = error.__cause__ or error
                problem = self._scrub(
                    f"{self.base_url} cannot be reached ({type(cause).__name__}: {cause}). "
                    "Check that the server runs and that the URL is right; it usually ends in /v1."
                )
            if attempt < PREFLIGHT_ATTEMPTS:
                await asyncio.sleep(_backoff_s("preflight", attempt))
        raise ModelError(problem)

    async def _answer(self, client: AsyncOpenAI, request: Request, decoding: Decoding, scored: bool) -> Prediction:
        try:
            payload = await self._payload(request, decoding)
            if scored:
                payload |= {"logprobs": True, "top_logprobs": LIKELIEST}
        except _AttemptError as failure:
            return self._failed(request, str(failure), None)
        attempt = 1
        while True:
            start = time.perf_counter()
            try:
                reply = await self._attempt(client, request, payload)
                return replace(reply, seed=payload.get("seed"))
            except _AttemptError as failure:
                if self._refuses_seed(failure, payload):
                    del payload["seed"]
                    continue
                if not failure.retry or attempt == self.attempts:
                    tries = f" (attempt {attempt} of {self.attempts})"
                    return self._failed(request, f"{failure}{tries}", time.perf_counter() - start)
                delay = max(failure.retry_after_s, _backoff_s(request.id, attempt))
            await asyncio.sleep(delay)
            attempt += 1

    def _refuses_seed(self, failure: _AttemptError, payload: Mapping[str, Any]) -> bool:
        """Return whether the server's fault is the seed; it is then sent no more, which the records show."""
        refused = failure.status in REFUSED_STATUS and "seed" in payload and "seed" in str(failure).lower()
        if refused and self._takes_seeds:
            self._takes_seeds = False
            log.warning("%s takes no seed; its replies are sampled without one (%s)", self.name, failure)
        return refused

    async def _attempt(self, client: AsyncOpenAI, request: Request, payload: dict[str, Any]) -> Prediction:
        import openai

        start = time.perf_counter()
        try:
            # The client's own timeout is one per read; a server that trickles would never meet it.
            async with asyncio.timeout(self.timeout):
                raw = await client.chat.completions.with_raw_response.create(**payload)
                status, body = raw.status_code, raw.text
        except (TimeoutError, openai.APITimeoutError):
            raise _AttemptError(f"no answer within {self.timeout:g} s", retry=True) from None
        except openai.APIStatusError as error:
            status = error.status_code
            raise _AttemptError(
                self._short(f"HTTP {status}: {error.message}"),
                retry=status in RETRIED_STATUS or status >= 500,
                retry_after_s=_retry_after_s(error.response.headers.get("retry-after", "")),
                status=status,
            ) from None
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            # What cannot be encoded (a lone surrogate) will not be on the next try either.
            retry = not isinstance(cause, ValueError)
            raise _AttemptError(self._short(f"{type(cause).__name__}: {cause}"), retry=retry) from None
        except (openai.OpenAIError, ValueError, TypeError) as error:
            raise _AttemptError(self._short(f"{type(error).__name__}: {error}")) from None
        return self._read(request, status, body, time.perf_counter() - start, "logprobs" in payload)

    def _read(self, request: Request, status: int, body: str, seconds: float, scored: bool) -> Prediction:
        try:
            reply = json.loads(body)
            choice = reply["choices"][0]
            message, reason = choice["message"], choice.get("finish_reason")
            content = message.get("content")
            usage = reply.get("usage") or {}
            tokens = usage.get("prompt_tokens"), usage.get("completion_tokens")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            message = self._short(f"HTTP {status}: not a chat completion: {body}")
            raise _AttemptError(message, retry=True) from None
        if not isinstance(reason, str | None) or reason not in FINISHES:
            raise _AttemptError(self._short(f"HTTP {status}: finish_reason {reason!r}"))
        if content is None:
            # A refusal is a reply; null at the limit is a model that spent it all on its reasoning.
            content = message.get("refusal") or ("" if reason == "length" else None)
        if not isinstance(content, str):
            raise _AttemptError(f"HTTP {status}: the reply holds no text", retry=True)
        prompt_tokens, output_tokens = (n if isinstance(n, int) else None for n in tokens)
        scores = _first_token_scores(choice, request) if scored else ()
        return Prediction(
            id=request.id,
            text=request.options[scores.index(max(scores))] if scores else self._scrub_reply(content),
            finish="stop" if scores else FINISHES[reason],
            prompt_tokens=prompt_tokens,
            output_tokens=output_tokens,
            seconds=seconds,
            token_ids=tuple(choice.get("token_ids") or ()) if self.token_ids else (),
            option_logprobs=scores,
        )

    async def _payload(self, request: Request, decoding: Decoding) -> dict[str, Any]:
        if not request.chat:
            raise _AttemptError("chat=False: a chat endpoint always applies the model's own template")
        turns: list[dict[str, Any]] = [{"role": m.role, "content": m.text} for m in request.messages]
        if request.images:
            first = next((turn for turn in turns if turn["role"] == "user"), None)
            if first is None:
                raise _AttemptError("the request has images but no user turn to put them in")
            urls = [await asyncio.to_thread(_data_uri, image) for image in request.images]
            pictures: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
            first["content"] = [*pictures, {"type": "text", "text": first["content"]}]
        payload: dict[str, Any] = {
            "model": self.model,
            "messages": turns,
            "temperature": decoding.temperature,
            "max_tokens": decoding.max_new_tokens,
        }
        if self._takes_seeds and (seed := sampling_seed(decoding, request.id)) is not None:
            payload["seed"] = seed
        if request.json_schema is not None:
            schema = {"name": "answer", "schema": dict(request.json_schema), "strict": True}
            payload["response_format"] = {"type": "json_schema", "json_schema": schema}
        body: dict[str, Any] = {"return_token_ids": True} if self.token_ids else {}
        if self.guided and request.options:
            body["structured_outputs"] = {"choice": list(request.options)}
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


class _AttemptError(Exception):
    """One attempt that gave no reply; the message is already free of secrets."""

    def __init__(
        self, message: str, *, retry: bool = False, retry_after_s: float = 0.0, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.retry, self.status = retry, status
        self.retry_after_s = retry_after_s


def _first_token_scores(choice: Mapping[str, Any], request: Request) -> tuple[float, ...]:
    try:
        named = choice["logprobs"]["content"][0]["top_logprobs"]
        likeliest = {entry["token"]: float(entry["logprob"]) for entry in named}
    except (LookupError, TypeError, ValueError):
        raise _AttemptError("the server gave no top_logprobs for the first token") from None
    missing = [option for option in request.options if option not in likeliest]
    if missing or not request.options:
        raise _AttemptError(f"options {missing!r} are not among the {len(likeliest)} likeliest first tokens")
    return tuple(likeliest[option] for option in request.options)


def _backoff_s(key: str, attempt: int) -> float:
    """Return an exponential wait, spread over its upper half by who waits and not by a global draw."""
    longest = min(BACKOFF_CAP_S, BACKOFF_FIRST_S * 2.0 ** (attempt - 1))
    return longest * random.Random(f"{key}:{attempt}").uniform(0.5, 1.0)


def _retry_after_s(header: str) -> float:
    """Return the seconds that a Retry-After header asks for, in [0, 60]; 0 if it cannot be read."""
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return 0.0
    return min(seconds, RETRY_AFTER_CAP_S) if seconds > 0 else 0.0


def _data_uri(image: ImageRef) -> str:
    from PIL import Image

    try:
        picture = image.open()
        if picture.mode not in PNG_MODES:
            picture = picture.convert("RGB")
        png = io.BytesIO()
        picture.save(png, format="PNG")
    except (OSError, ValueError, LookupError, SyntaxError, Image.DecompressionBombError, AloeError) as error:
        raise _AttemptError(f"image {image.sha256[:12]} does not open: {type(error).__name__}: {error}") from None
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode("ascii")
