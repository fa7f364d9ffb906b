"""What an endpoint is reached with and nobody may see: key, password, query."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from typing import Generic, TypeVar
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit, urlunsplit

from aloe_bench.errors import ModelError

T = TypeVar("T")


class Secret(Generic[T]):
    """A value that no repr, and so no traceback that lists the attributes, shows."""

    def __init__(self, value: T) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "[secret]"


class ScrubFilter(logging.Filter):
    """Takes secrets out of log records."""

    def __init__(self, scrub: Callable[[str], str]) -> None:
        super().__init__()
        self._scrub = scrub

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self._scrub(record.getMessage()), None
        if record.exc_info:
            record.exc_text = self._scrub(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        return True


def scrubber(secrets: set[str]) -> Callable[[str], str]:
    """Return a function that replaces `secrets`, plain or encoded, in a text."""
    forms = {form for s in secrets if s for form in (s, quote(s, safe=""), quote_plus(s), json.dumps(s)[1:-1])}
    if not forms:
        return lambda text: text
    pattern = re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)))
    return lambda text: pattern.sub("[secret]", text)


def split_url(url: str) -> tuple[str, tuple[str, str], dict[str, str]]:
    """Return the URL that may be shown, (user, password) and the query."""
    parts = urlsplit(url.strip())
    try:
        port = parts.port
    except ValueError:
        port = -1
    host = parts.hostname
    if parts.scheme not in ("http", "https") or not host or port == -1:
        raise ModelError("The endpoint's URL must look like http://host:8000/v1.")
    host = f"[{host}]" if ":" in host else host
    shown = urlunsplit((parts.scheme, host if port is None else f"{host}:{port}", parts.path.rstrip("/"), "", ""))
    return shown, (unquote(parts.username or ""), unquote(parts.password or "")), dict(parse_qsl(parts.query))
