"""What servers do beside answering, as their documentation and their users' reports describe it; own emulators."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any, Literal

from tests.support.awkward_server import Behaviour, Gate, Reply, Wire, chat, openai_error

Ending = Literal["answered", "filtered", "cut", "unread", "failed", "stops"]
# The question that stumbles, where one does.
ODD_ONE = "question 3"


@dataclass(frozen=True)
class Habit:
    """A server and how its questions end.

    `ending` is that of every question, or with `alone` that of ODD_ONE, the others being answered; "stops" ends the
    run. `said` stands in what the user is told of it. `switched` are the parameters that it does not take.
    """

    behave: Behaviour
    ending: Ending = "answered"
    alone: bool = False
    said: str = ""
    switched: frozenset[str] = frozenset()
    gate: Gate = lambda path, headers: None
    address: Callable[[str], str] = lambda url: url
    settings: Mapping[str, Any] = field(default_factory=dict)
    scored: bool = False


def refusing(words: Mapping[str, Reply]) -> Behaviour:
    """Return a server that answers with the reply of the first parameter of `words` that it is sent."""

    def behave(body: Mapping[str, Any], count: int) -> Reply:
        return next((reply for parameter, reply in words.items() if parameter in body), chat("B"))

    return behave


def switches(*parameters: str, **words: Reply) -> Habit:
    """Return a server that refuses parameters in its own words; `parameters` are those that are then left out."""
    return Habit(refusing(words), switched=frozenset(parameters or words))


def always(reply: Reply, ending: Ending, said: str = "", **more: Any) -> Habit:
    """Return a server that has one reply."""
    return Habit(lambda *_: reply, ending, said=said, **more)


def alone(reply: Reply, ending: Ending, said: str = "") -> Habit:
    """Return a server that has this reply for one question."""
    return Habit(lambda body, _: reply if ODD_ONE in str(body["messages"]) else chat("B"), ending, True, said)


def stumbles(reply: Reply | Callable[[], Reply]) -> Habit:
    """Return a server that has this reply for one question the first time that it is asked."""
    asked: list[str] = []

    def behave(body: Mapping[str, Any], count: int) -> Reply:
        if ODD_ONE in str(body["messages"]) and not asked:
            asked.append(ODD_ONE)
            return reply() if callable(reply) else reply
        return chat("B")

    return Habit(behave)


def loading(reply: Reply, calls: int = 4) -> Habit:
    """Return a server that has this reply to its first calls; one attempt has to do for each question."""
    return Habit(lambda _, count: reply if count < calls else chat("B"), settings={"attempts": 1}, said="is loading")


def in_deployment(path: str, headers: Mapping[str, str]) -> Reply | None:
    """Refuse what Azure's addresses by deployment refuse: a call without version, or with its key elsewhere."""
    if "api-version=" not in path:
        return 404, {"error": {"code": "404", "message": "Resource not found"}}
    if not headers.get("api-key"):
        return 401, {"error": {"code": "401", "message": "Access denied due to missing subscription key"}}
    return None


def moved(status: int) -> Gate:
    """Return what sends a call from /v1 on to /new."""

    def gate(path: str, headers: Mapping[str, str]) -> Reply | None:
        return Wire(status, b"", {"Location": path.replace("/v1", "/new")}) if path.startswith("/v1") else None

    return gate


def at_azure(url: str) -> str:
    """Return the server's address as one of Azure's by deployment."""
    return url.replace("/v1", "/openai/deployments/m?api-version=2024-10-21")


def encoded(**choice: Any) -> bytes:
    """Return a completion's bytes, its one choice changed."""
    body = chat("B")[1]
    body["choices"][0].update(choice)
    return json.dumps(body).encode()


TOKENS = openai_error(
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
    "max_tokens",
    "unsupported_parameter",
)
ONLY_DEFAULT = openai_error(
    "Unsupported value: 'temperature' does not support 0.0 with this model. Only the default (1) value is supported.",
    "temperature",
    "unsupported_value",
)
NO_TEMPERATURE = openai_error("Unsupported parameter: 'temperature' is not supported with this model.")
EXTRA = {"type": "extra_forbidden", "msg": "Extra inputs are not permitted", "input": 7}
UNKNOWN_SEED = [{"error": {"message": 'Invalid JSON payload received. Unknown name "seed": Cannot find field.'}}]
THOUGHT = [{"type": "thinking", "thinking": [{"type": "text", "text": "A?"}]}, {"type": "text", "text": "B"}]
CALL = {"id": "c", "type": "function", "function": {"name": "answer", "arguments": '{"letter": "B"}'}}
TWO_CHOICES = {"choices": [chat(letter)[1]["choices"][0] for letter in "BC"]}
GEMINI_FAST = {
    "code": 429,
    "message": "You exceeded your current quota, please check your plan and billing details.",
    "status": "RESOURCE_EXHAUSTED",
    "details": [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaValue": "25"}]},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.3s"},
    ],
}
# DashScope's code for tokens a minute is OpenAI's for an account without money.
DASHSCOPE_FAST = {
    "message": "Allocated quota exceeded, please increase your quota limit.",
    "code": "insufficient_quota",
}
DASHSCOPE_FLAGGED = "<400> InternalError.Algo.DataInspectionFailed: Input text data may contain inappropriate content."
AZURE_FAST = (
    "Requests have exceeded token rate limit of your current AIServices S0 pricing tier. Please retry after 1 seconds."
)
FLAGGED = {"code": 403, "message": "Input was flagged", "metadata": {"reasons": ["violence"], "flagged_input": "..."}}
SPENT = {"message": "You exceeded your current quota", "type": "insufficient_quota", "code": "insufficient_quota"}
# With a help link, as DashScope's errors have.
FREE_SPENT = SPENT | {"message": "Free allocated quota exceeded. See https://www.alibabacloud.com/help/"}
UNFINISHED = "Could not finish the message because max_tokens or model output limit was reached. Please try again."
BAD_KEY = {"error": {"message": "Incorrect API key provided", "code": "invalid_api_key"}}
BROKE_OFF = {"error": {"code": 502, "message": "Provider disconnected"}, "finish_reason": "error"}
CONTEXT = {"message": "This model's maximum context length is 16 tokens. You requested 917 tokens"}
BOTH_NAMES = openai_error("max_tokens and max_completion_tokens are not supported")
OLD = {"max_completion_tokens": openai_error("Unrecognized request argument supplied: max_completion_tokens")}

HABITS: dict[str, Habit] = {
    # A parameter is refused.
    "openai: reasoning models": switches(max_tokens=TOKENS, temperature=ONLY_DEFAULT),
    "openai: tokens alone": switches(max_tokens=TOKENS),
    "azure: temperature": switches(temperature=NO_TEMPERATURE),
    "anthropic: temperature": switches(
        temperature=(400, {"error": {"message": "`temperature` is deprecated for this model."}})
    ),
    "gemini: seed": switches(seed=(400, UNKNOWN_SEED)),
    "tgi: temperature": switches(
        temperature=(422, {"error": "Input validation error: `temperature` must be strictly positive"})
    ),
    "pydantic: tokens": switches(max_tokens=(422, {"detail": [{"loc": ["body", "max_tokens"], **EXTRA}]})),
    "pydantic: seed": switches(seed=(422, {"detail": [{"loc": ["body", "seed"], **EXTRA}]})),
    "an older server": Habit(refusing(OLD)),
    "mistral: seed": switches(seed=(400, {"message": "seed is not a valid parameter", "code": 400})),
    "a gateway in French": switches(temperature=(400, {"message": "temperature: valeur refusée (0)"})),
    "a gateway in plain text": switches(max_tokens=(400, "max_tokens may not be used; use max_completion_tokens")),
    # Nothing will ever be answered.
    "vllm: no such model": always(
        (404, {"object": "error", "message": "The model `m` does not exist."}), "stops", "exist"
    ),
    "vllm: text only": always(
        (400, {"object": "error", "message": "m is not a multimodal model"}), "stops", "multimodal"
    ),
    "ollama: not pulled": always(
        (404, {"error": {"message": 'model "m" not found, try pulling it first'}}), "stops", "try pulling"
    ),
    "openai: no access": always(
        (403, {"error": {"message": "Project proj_01 has no access to m"}}), "stops", "no access"
    ),
    "openai: key refused by chat alone": always((401, BAD_KEY), "stops", "Incorrect API key"),
    "openai: quota spent": always((429, {"error": SPENT}), "stops", "exceeded your current quota"),
    "dashscope: free quota spent": always((429, {"error": FREE_SPENT}), "stops", "Free allocated quota exceeded"),
    "deepseek: no balance": always(
        (402, {"error": {"message": "Insufficient Balance"}}), "stops", "Insufficient Balance"
    ),
    "openai: range of tokens": always(
        openai_error("'max_tokens' is too large: 33.", "max_tokens"), "stops", "too large"
    ),
    "both names refused": always(BOTH_NAMES, "stops", "not supported", switched=frozenset({"max_tokens"})),
    "a gateway that only streams": always(openai_error("This model only supports stream=true"), "stops", "stream"),
    "fastapi: another path": always((405, {"detail": "Method Not Allowed"}), "stops", "Method Not Allowed"),
    "openai: retired": always((410, {"error": {"message": "This model was retired"}}), "stops", "retired"),
    "nginx: 404": always((404, "<html><body>nginx: not found</body></html>"), "stops", "nginx"),
    "not implemented": always((501, {"error": {"message": "vision is not implemented"}}), "stops", "vision"),
    "a context of 16": always((400, CONTEXT), "stops", "context length"),
    "a portal's page instead of an answer": always(
        (200, "<html>Please log in</html>"), "stops", "Please log in", settings={"attempts": 2}
    ),
    "a completion where a chat was asked": always(
        (200, {"choices": [{"text": "B", "finish_reason": "stop"}], "usage": {"completion_tokens": 1}}),
        "stops",
        "not a chat completion",
        settings={"attempts": 2},
    ),
    "a part of a stream": always(
        (200, {"choices": [{"delta": {"content": "B"}, "finish_reason": "stop"}], "usage": {"completion_tokens": 1}}),
        "stops",
        "not a chat completion",
        settings={"attempts": 2},
    ),
    "openrouter: 400 in a 200": always(
        (200, {"error": {"code": 400, "message": "image input is not supported"}}), "stops", "image input"
    ),
    "tool calls instead of an answer": always(chat(None, "tool_calls", tool_calls=[CALL, CALL]), "stops", "tool_calls"),
    "http to https by 301": Habit(lambda *_: chat("B"), "stops", gate=moved(301), said="redirects to"),
    "a server that dies": Habit(
        lambda _, count: (503, {"error": "shutting down"}) if count else chat("B"),
        "stops",
        said="answered none of its last 8 requests",
        settings={"attempts": 1, "concurrency": 2},
    ),
    "openai: no logprobs": always(
        (403, {"error": {"message": "You are not allowed to request logprobs from this model"}}),
        "stops",
        "request logprobs",
        scored=True,
    ),
    "vllm: five logprobs": always(
        (400, {"message": "Requested sample logprobs of 20, which is greater than max allowed: 5"}),
        "stops",
        "max allowed",
        scored=True,
    ),
    "anthropic: logprobs ignored": always(chat("B"), "stops", "no top_logprobs", scored=True),
    # One question is refused.
    "vllm: one picture a request": alone(
        (400, {"message": "At most 1 image(s) may be provided"}), "failed", "At most 1"
    ),
    "vllm: one too long": alone((400, CONTEXT), "failed", "context length"),
    "nginx: 413": alone((413, "<html><h1>413 Request Entity Too Large</h1></html>"), "failed", "--max-pixels"),
    "azure: content filter": alone(openai_error("The response was filtered", "prompt", "content_filter"), "filtered"),
    "azure: reply filtered": alone(chat(None, "content_filter"), "filtered"),
    "dashscope: inspection": alone(openai_error(DASHSCOPE_FLAGGED, None, "data_inspection_failed"), "filtered"),
    "openrouter: moderation": alone((403, {"error": FLAGGED}), "filtered"),
    "gemini: safety": alone(chat(None, "SAFETY"), "filtered"),
    "openai: cut in its reasoning": alone(openai_error(UNFINISHED), "cut"),
    "gemini: cut in its reasoning": alone(Wire(200, encoded(message=None, finish_reason="length")), "cut"),
    "vllm: cut in its reasoning": alone(chat(None, "length", reasoning_content="Either B or"), "cut"),
    "ollama: cut in its reasoning": alone(chat("", "length", reasoning="Either B or"), "cut"),
    "sglang: an empty reply is null": alone(chat(None, "stop"), "unread"),
    "a body that never ends": Habit(
        lambda body, _: Wire(manner="never ends") if ODD_ONE in str(body["messages"]) else chat("B"),
        "failed",
        True,
        "no answer within",
        settings={"timeout": 2.0, "attempts": 1},
    ),
    # It answers when asked again.
    "openai: 429 with seconds": stumbles(Wire(429, {"error": {"message": "Rate limit"}}, {"Retry-After": "1"})),
    "azure: 429 with milliseconds": stumbles(Wire(429, {"error": {}}, {"retry-after-ms": "600"})),
    "a proxy: 429 with a date": stumbles(
        lambda: Wire(429, "", {"Retry-After": formatdate(time.time() + 2, usegmt=True)})
    ),
    "gemini: 429 with a delay in its words": stumbles((429, [{"error": GEMINI_FAST}])),
    "azure: 429 with seconds in its words": stumbles((429, {"error": {"code": "429", "message": AZURE_FAST}})),
    "dashscope: tokens a minute": stumbles(
        (429, {"error": DASHSCOPE_FAST | {"type": "insufficient_quota", "code": "insufficient_quota"}})
    ),
    "cloudflare: 1015": stumbles((429, "error code: 1015")),
    "anthropic: 529": stumbles(
        (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
    ),
    "cloudflare: 524": stumbles((524, "<html>A timeout occurred</html>")),
    "tgi: overloaded": stumbles((429, {"error": "Model is overloaded", "error_type": "overloaded"})),
    "tgi: generation broke": stumbles((424, {"error": "Request failed during generation", "error_type": "generation"})),
    "openrouter: 502 in a 200": stumbles((200, {"error": {"code": 502, "message": "Provider returned error"}})),
    "openrouter: broke off": stumbles(Wire(200, encoded(**BROKE_OFF))),
    "sglang: aborted": stumbles(chat("The answer", "abort")),
    "empty choices": stumbles((200, {"choices": []})),
    "truncated json": stumbles(Wire(200, b'{"choices": [{"message": {"content": "half an ans')),
    "half of the body": stumbles(Wire(200, encoded(), manner="half")),
    "a dropped connection": stumbles(Wire(manner="dropped")),
    "not gzip, though it says so": stumbles(Wire(200, encoded(), {"Content-Encoding": "gzip"})),
    "llama.cpp: loading": loading(
        (503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}})
    ),
    "hugging face: loading": loading((503, {"error": "Model m is currently loading", "estimated_time": 20.0})),
    # It answers in a way of its own.
    "keep-alive that is not kept": always(Wire(200, encoded(), manner="hangs up"), "answered"),
    "no length": always(Wire(200, encoded(), manner="unmeasured"), "answered"),
    "deepseek: blank lines while it works": always(Wire(200, encoded(), manner="trickles"), "answered"),
    "gzip": always(Wire(200, gzip.compress(encoded()), {"Content-Encoding": "gzip"}), "answered"),
    "a byte order mark": always(Wire(200, b"\xef\xbb\xbf" + encoded()), "answered"),
    "another content type": always(Wire(200, encoded(), {"Content-Type": "text/plain; charset=latin-1"}), "answered"),
    "half a character at the cut": alone(chat("B\ud83d"), "unread"),
    "a 308 to another path": Habit(lambda *_: chat("B"), gate=moved(308)),
    "azure: version and key of a deployment": Habit(
        lambda *_: chat("B"), gate=in_deployment, address=at_azure, settings={"api_key": "k-0123456789"}
    ),
    "mistral: content in parts": always(chat(THOUGHT), "answered"),
    "vllm: reasoning apart": always(chat("B", reasoning_content="A? No."), "answered"),
    "openrouter: reasoning apart": always(chat("B", reasoning="A? No.", reasoning_details=[{}]), "answered"),
    "tool calls, twice, beside an answer": always(chat("B", tool_calls=[CALL, CALL]), "answered"),
    "two choices": always((200, TWO_CHOICES), "answered"),
    "azure: no finish reason": always(chat("B", None), "answered"),
    "sglang: an empty finish reason": always(chat("B", ""), "answered"),
    "an unknown finish reason": always(chat("B", "done_thinking"), "answered"),
    "no usage": always((200, chat("B")[1] | {"usage": None}), "answered"),
}
