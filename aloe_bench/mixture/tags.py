"""Tags and a quality score of each sample, as a vision-language model gives them: prompt, strict reader, step.

Source: Aloe-Vision, appendix A. The vocabulary is taxonomy.toml. A reply that is not in the format is asked for once
more; what is still unread is counted as untagged, kept, and never guessed. A word that the vocabulary lacks becomes
"Other" and is counted.

    POOL/tag/replies-<model and prompt>.jsonl    one line a reply; a killed run resumes behind the last
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from aloe_bench.core import Decoding, Message, Model, Request
from aloe_bench.images import FileImage
from aloe_bench.mixture.asked import AskJob, KeptReplies, ask_jobs, contents, shown
from aloe_bench.mixture.coverage import taxonomy
from aloe_bench.mixture.evaluation import turns_of
from aloe_bench.mixture.pool import Pool, kept, text_sha256, with_columns
from aloe_bench.mixture.workplace import ModelSpread, with_model
from aloe_bench.training.data.schema import Conversation

BRACKETS = ("MOD", "MED", "ST", "SBP", "GBP")
QUALITY = "SQ"
ATTEMPTS = 2
CHUNK = 64
DECODING = Decoding(max_new_tokens=128)
_BRACKET = re.compile(r"\b(MOD|MED|ST|SBP|GBP|SQ)\[([^\[\]]*)\]")
_ALL = (*BRACKETS, QUALITY)
_IN_ORDER = re.compile(r"\s*".join(rf"\b{name}\[([^\[\]]*)\]" for name in _ALL))
_SCORES = {str(score): score for score in range(1, 6)}
_FORMAT = "MOD[...] MED[...] ST[...] SBP[...] GBP[...] SQ[...]"
_REMINDER = f"That was not in the format. Answer with these six brackets and nothing else: {_FORMAT}"
Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class SampleTags:
    """The tags of each bracket in priority order, the score of 1 to 5, and the words that became "Other"."""

    tags: Mapping[str, tuple[str, ...]]
    score: int
    unknown: tuple[str, ...] = ()


def read_tags(reply: str) -> SampleTags | None:
    """Return the tags of a reply; None unless each bracket is there, says one thing, and the score is 1 to 5.

    Several tags stand in one bracket, split by commas or semicolons, the most fitting first. Line breaks do not matter.
    """
    found = _brackets(reply.rpartition("</think>")[2] if "</think>" in reply else reply)
    if found is None:
        return None
    quality = found.pop(QUALITY, "").strip()
    if len(found) != len(BRACKETS) or quality not in _SCORES:
        return None
    tags: dict[str, tuple[str, ...]] = {}
    unknown: tuple[str, ...] = ()
    for name in BRACKETS:
        tags[name], odd = _chosen(name, found[name])
        unknown += odd
        if not tags[name]:
            return None
    return SampleTags(tags, _SCORES[quality], unknown)


def _brackets(text: str) -> dict[str, str] | None:
    """Return the words of each bracket; None if one stands there twice with different words."""
    if (usual := _IN_ORDER.search(text)) and text.count("[") == len(_ALL):
        return dict(zip(_ALL, usual.groups(), strict=True))
    found: dict[str, str] = {}
    for name, words in _BRACKET.findall(text):
        if " ".join(found.setdefault(name, words).split()) != " ".join(words.split()):
            return None
    return found


@lru_cache(maxsize=1 << 16)
def _chosen(bracket: str, words: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the tags that stand in a bracket, and the words among them that are in no vocabulary."""
    own, text = _vocabulary()[bracket], " ".join(words.split())
    if whole := own.get(text.casefold()):
        return (whole,), ()
    parts = [part.strip() for part in re.split(r"[,;]", text) if part.strip()]
    tags = [own.get(part.casefold(), "Other") for part in parts]
    return tuple(dict.fromkeys(tags)), tuple(part for part in parts if part.casefold() not in own)


@lru_cache(maxsize=1)
def _vocabulary() -> dict[str, dict[str, str]]:
    """Return each bracket's tags by all that they may be written as, without case."""
    found = {}
    for name in BRACKETS:
        table = taxonomy()[name]
        words = {str(tag): str(tag) for tag in table["tags"]} | dict(table.get("aliases", {}))
        found[name] = {written.casefold(): tag for written, tag in words.items()}
    return found


def prompt() -> str:
    """Return what the tagging model is told, vocabulary and all; our own words after appendix A.1."""
    lines = [
        "You sort medical training samples. A sample is a question and its answer, with or without images.",
        "For each of these brackets choose the tags of its list that fit best, the most fitting first, split by "
        "commas; use no other words. If none fits, use Other.",
    ]
    for name in BRACKETS:
        table = taxonomy()[name]
        lines.append(f"{name} ({table['name']}): {', '.join(table['tags'])}")
    lines.append(f"{QUALITY}: one digit from 1 to 5, how well image, question and answer belong together (5 is best).")
    lines.append(f"Answer in this format and with nothing else: {_FORMAT}")
    return "\n".join(lines)


def request_of(conversation: Conversation, pictures: Mapping[str, FileImage | str], before: str | None) -> Request:
    """Return the question about a sample; one that was answered `before` says what was wrong with that."""
    asked = "\n\n".join(f"Question: {question}\nAnswer: {answer}" for question, answer in turns_of(conversation))
    messages = [Message("system", prompt()), Message("user", asked)]
    if before is not None:
        messages += [Message("assistant", before), Message("user", _REMINDER)]
    return Request(conversation.id, tuple(messages), shown(conversation, pictures))


def tag(
    pool: Pool,
    model: Model,
    report: Report = lambda done, total: None,
    chunk: int = CHUNK,
    spread: ModelSpread | None = None,
) -> dict[str, Any]:
    """Return the report of the step: every kept sample has tags and a score, or is counted as untagged.

    Replies are on disk after every `chunk` of them. `spread` has others than `model` itself answer.
    """
    settings = {
        "model": model.name, "fingerprint": model.fingerprint, "prompt": text_sha256(prompt()), "attempts": ATTEMPTS,
        "decoding": asdict(DECODING),
    }  # fmt: skip
    replies = pool.folder / "tag" / f"replies-{text_sha256(settings)[:16]}.jsonl"

    def make(table: Any) -> tuple[Any, dict[str, Any]]:
        rows = kept(table)
        with KeptReplies(replies, contents(pool, rows)) as said:
            _ask(pool, rows, spread or with_model(model), said, report, chunk)
            return _tagged(table, said)

    return pool.step("tag", settings, make)


def _ask(pool: Pool, table: Any, spread: ModelSpread, said: KeptReplies, report: Report, chunk: int) -> None:
    """Ask for every sample that has no readable reply and attempts left; replies are on disk batch by batch."""
    names = table["id"].to_pylist()
    for attempt in range(ATTEMPTS):
        waiting = [row for row, name in enumerate(names) if _open(said[name], attempt)]
        done = len(names) - len(waiting)
        places = [waiting[start : start + chunk] for start in range(0, len(waiting), chunk)]
        for lines in spread(ask_tags, ask_jobs(pool, table, places, lambda name: _last(said[name]))):
            said.write({**line, "attempt": attempt} for line in lines)
            done += len(lines)
            report(done, len(names))


def ask_tags(model: Model, job: AskJob) -> list[dict[str, Any]]:
    """Return what `model` says of the samples of `job`, one line each in their order."""
    requests = [request_of(each, job.pictures, job.before[each.id]) for each in job.conversations()]
    found = {each.id: each for each in model.generate(requests, DECODING)}
    replies = [found[each.id] for each in requests]
    return [{"id": p.id, "text": p.text, "finish": p.finish, "error": p.error} for p in replies]


def _open(replies: Sequence[Mapping[str, Any]], attempt: int) -> bool:
    """Return whether a sample is still to be asked in this attempt: it was not answered, or not readably."""
    answered = [reply for reply in replies if reply["finish"] != "error"]
    return len(answered) <= attempt and not any(read_tags(reply["text"]) for reply in answered)


def _last(replies: Sequence[Mapping[str, Any]]) -> str | None:
    return next((str(r["text"]) for r in reversed(replies) if r["finish"] != "error"), None)


def _tagged(table: Any, said: KeptReplies) -> tuple[Any, dict[str, Any]]:
    import pyarrow as pa

    names = {bracket: str(taxonomy()[bracket]["name"]) for bracket in BRACKETS}
    all_tags, scores, counts = list[str](), list[int | None](), Counter[str]()
    unknown: Counter[str] = Counter()
    for name, text, reason in zip(*(table[c].to_pylist() for c in ("id", "tags", "reason")), strict=True):
        answered = [reply for reply in said[name] if reply["finish"] != "error"]
        found = next((tags for tags in map(read_tags, (r["text"] for r in answered)) if tags), None)
        if reason is None:
            counts["tagged" if found else "untagged" if answered else "failed"] += 1
        if found is None:
            all_tags.append(text)
            scores.append(None)
            continue
        unknown.update(found.unknown)
        all_tags.append(json.dumps(_merged(json.loads(text), found, names), sort_keys=True, ensure_ascii=False))
        scores.append(found.score)
    after = with_columns(table, {"tags": pa.array(all_tags, pa.string()), "score": pa.array(scores, pa.int8())})
    facts = {name: counts[name] for name in ("tagged", "untagged", "failed")}
    return after, {**facts, "unknown_words": dict(sorted(unknown.most_common(50)))}


def _merged(tags: dict[str, str], found: SampleTags, names: Mapping[str, str]) -> dict[str, str]:
    """Return the sample's tags, the first of each bracket under its name; what the source said stands beside it."""
    merged = {f"{key} (source)" if key in names.values() else key: text for key, text in tags.items()}
    for bracket, chosen in found.tags.items():
        merged[names[bracket]] = chosen[0]
        if len(chosen) > 1:
            merged[f"{names[bracket]} also"] = ", ".join(chosen[1:])
    return merged
