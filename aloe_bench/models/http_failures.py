"""What a failed attempt says: whether to ask again and when, in the server's words."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openai import APIStatusError

RETRY_AFTER_CAP_S = 60.0
BACKOFF_FIRST_S = 0.5
BACKOFF_CAP_S = 30.0
# After 429 without a word of when: limits are per minute, and five such waits are up to a minute.
RATE_FIRST_S = 2.0
# 424 is TGI's word for a generation that broke; any 5xx that is not below is retried as well, Anthropic's 529 too.
RETRIED_STATUS = frozenset({408, 409, 424, 425, 429})
NEVER_SERVED = frozenset({501, 505})
# OpenAI has one status for "too fast" and "not paid"; only the second never passes. DashScope says the second's code
# where its tokens a minute are used up.
_SPENT = re.compile(r"insufficient_quota")
_PER_MINUTE = re.compile(
    r"^(?!.*free allocated quota exceeded).*(?:allocated quota exceeded|aliyun|alibabacloud)", re.IGNORECASE | re.DOTALL
)
_LOADING = re.compile(
    r"\b(?:load(?:ing|ed)|warm(?:ing)?[ -]?up|start(?:ing)?[ -]?up|initiali[sz]ing|not (?:yet )?ready)\b", re.IGNORECASE
)
# Gemini's RetryInfo, and the sentences of OpenAI, Groq, Gemini and Azure.
_DELAY = re.compile(
    r'"retryDelay":\s*"(?P<info>[\d.]+)s"'
    r"|(?:try again|retry) (?:in|after) (?:(?P<minutes>\d+)m)?(?P<seconds>[\d.]+) ?s",
    re.IGNORECASE,
)


class AttemptError(Exception):
    """One attempt that gave no reply; the message is already free of secrets, `words` are the server's own and not.

    `final` says that the request would end so again, `loading` that the server has not read its model yet.
    """

    def __init__(
        self,
        message: str,
        *,
        retry: bool = False,
        final: bool = False,
        loading: bool = False,
        retry_after_s: float = 0.0,
        status: int | None = None,
        words: str = "",
    ) -> None:
        super().__init__(message)
        self.retry, self.final, self.loading = retry, final, loading
        self.status, self.words = status, words
        self.retry_after_s = retry_after_s


def refused(message: str, status: int, words: str, headers: Mapping[str, str]) -> AttemptError:
    """Return the failure of an attempt that ended in an error `status`, with `words` as the server's whole text."""
    passes = status in RETRIED_STATUS or (status >= 500 and status not in NEVER_SERVED)
    retry = passes and not (status == 429 and _SPENT.search(words) and not _PER_MINUTE.search(words))
    return AttemptError(
        message,
        retry=retry,
        final=not retry,
        loading=status == 503 and bool(_LOADING.search(words)),
        retry_after_s=retry_after_s(headers, words),
        status=status,
        words=words,
    )


def error_in_body(reply: object) -> tuple[int, str] | None:
    """Return status and words of an error that came with HTTP 200, as gateways send it when a provider fails."""
    table = reply if isinstance(reply, Mapping) else {}
    choices = table.get("choices")
    first = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], Mapping) else {}
    found = table.get("error") or first.get("error") or (table if table.get("object") == "error" else None)
    if not found:
        return None
    code = found.get("code") or found.get("status") if isinstance(found, Mapping) else None
    status = int(code) if isinstance(code, int | str) and re.fullmatch(r"[45]\d\d", str(code)) else 502
    return status, json.dumps(found, ensure_ascii=False)


def server_words(error: APIStatusError) -> str:
    """Return what the server said; the client's message leaves out bodies that are not JSON objects."""
    if error.message.strip() != f"Error code: {error.status_code}":
        return error.message
    return re.sub(r"<[^>]*>", " ", error.response.text) or error.message


def sizes(payload: Mapping[str, Any]) -> str:
    """Return how large a refused request was, for its message."""
    parts = [part for turn in payload["messages"] if isinstance(turn["content"], list) for part in turn["content"]]
    pictures = [len(part["image_url"]["url"]) for part in parts if part["type"] == "image_url"]
    whole = sum(pictures) + sum(len(part.get("text", "")) for part in parts)
    largest = f", its largest picture {max(pictures) / 1e6:.2f} MB" if pictures else ""
    return f" The request had {whole / 1e6:.2f} MB{largest}; --max-pixels N sends smaller pictures."


def redirected(response: Any) -> str:
    """Return where a server sent a request that arrived there without its question, for the message; "" if it did not.

    A client follows 301 and 302 with a GET; 307 and 308 carry the question along.
    """
    if not response.history or response.request.method == "POST":
        return ""
    url = response.url.copy_with(query=None, userinfo=b"")
    return f" It redirects to {str(url).removesuffix('/chat/completions')}; give that address as --base-url."


def backoff_s(key: str, attempt: int, first_s: float = BACKOFF_FIRST_S) -> float:
    """Return an exponential wait, spread over its upper half by who waits and not by a global draw."""
    longest = min(BACKOFF_CAP_S, first_s * 2.0 ** (attempt - 1))
    return longest * random.Random(f"{key}:{attempt}").uniform(0.5, 1.0)


def retry_after_s(headers: Mapping[str, str], words: str = "") -> float:
    """Return the seconds that a refusal asks to wait, in its headers or else in its words, in [0, 60]; 0 for none."""
    return min(_asked_s(headers, words), RETRY_AFTER_CAP_S)


def _asked_s(headers: Mapping[str, str], words: str) -> float:
    for name, unit in (("retry-after-ms", 1e-3), ("x-ms-retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        return seconds if seconds > 0 else 0.0
    try:
        return max(0.0, parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError, IndexError):
        found = _DELAY.search(words)
        try:
            return 60.0 * int(found["minutes"] or 0) + float(found["info"] or found["seconds"]) if found else 0.0
        except ValueError:
            return 0.0
