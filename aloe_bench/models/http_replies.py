"""What a chat completion's message says, in the many ways in which servers say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aloe_bench.core import FILTERS, Finish

# TGI, SGLang, Together, Anthropic's and Gemini's words for the token limit; vLLM stops a loop with "repetition".
_LIMITS = frozenset(("length", "max_tokens", "max_length", "model_length", "max_output_tokens", "repetition"))
_BROKEN = frozenset(("error", "abort", "cancelled"))
_WHOLE = frozenset(("stop", "eos", "eos_token", "end_turn", "stop_sequence"))
_FILTER_CODES = ("content_filter", "ResponsibleAIPolicyViolation", "data_inspection_failed", "DataInspectionFailed")


@dataclass(frozen=True, slots=True)
class Said:
    """A reply's text, its reasoning where the server keeps that apart, and how it ended, also in the server's words."""

    text: str
    finish: Finish
    finish_reason: str | None
    reasoning: str | None


def read_message(message: Mapping[str, object], reason: object, tokens: int | None = None) -> Said | None:
    """Return what a message says; None if it holds no text and nothing says why, or if it broke off.

    An unknown reason with text is a whole reply. Content in parts is joined. A message that ended in its reasoning, or
    was filtered, is a reply without text; so is one whose model ended at once, which SGLang sends as null and `tokens`,
    the number that the server counted, tells from nothing.
    """
    word = reason.lower() if isinstance(reason, str) else ""
    text, thought = _joined(message.get("content"))
    reasoning = next(
        (r for key in ("reasoning_content", "reasoning") if isinstance(r := message.get(key), str)), thought
    )
    text = text or (refusal if isinstance(refusal := message.get("refusal"), str) else text)
    if word in _BROKEN:
        return None
    called = message.get("tool_calls") or message.get("function_call")
    ended = word in _WHOLE and bool(tokens) and not called
    if text is None and not (word in _LIMITS or word in FILTERS or reasoning or ended):
        return None
    finish: Finish = "length" if word in _LIMITS else "stop"
    return Said(text or "", finish, reason if isinstance(reason, str) else None, reasoning or None)


def filtered_by_policy(status: int, words: str) -> bool:
    """Return whether an error is a filter's: Azure's and DashScope's HTTP 400, OpenRouter's 403, by their codes."""
    if status == 403:
        return "flagged_input" in words
    return status == 400 and any(code in words for code in _FILTER_CODES)


def cut_in_reasoning(status: int, words: str) -> bool:
    """Return whether an error is a reply at its token limit: what OpenAI sends of a model that was still reasoning."""
    return status == 400 and "model output limit was reached" in words


def counted(usage: object, name: str) -> int | None:
    """Return a number of tokens that a server counted, None where it did not."""
    number = usage.get(name) if isinstance(usage, Mapping) else None
    return number if type(number) is int else None


def whole(text: str) -> str:
    """Return `text` without halves of characters, which a cut between two tokens leaves and no file can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _joined(content: object) -> tuple[str | None, str | None]:
    """Return text and reasoning of a content that is a string or a list of parts."""
    if isinstance(content, str):
        return content, None
    if isinstance(content, Mapping):
        content = [content]
    if not isinstance(content, list):
        return None, None
    parts = [part for part in content if isinstance(part, Mapping)]
    text = [str(part["text"]) for part in parts if part.get("type") in ("text", "output_text") and "text" in part]
    thoughts = [str(_thought(part)) for part in parts if part.get("type") in ("thinking", "reasoning")]
    return ("".join(text) if text else None), ("".join(thoughts) or None)


def _thought(part: Mapping[str, object]) -> str:
    inner = part.get("thinking") or part.get("reasoning") or part.get("text") or ""
    return _joined(inner)[0] or "" if isinstance(inner, list) else str(inner)
