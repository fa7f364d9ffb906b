"""`verdicts.jsonl`: every reply of every judge, on disk as it comes, so that none is asked twice."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from aloe_bench.errors import DataError
from aloe_bench.files import VERDICT_FILE, LineWriter
from aloe_bench.judges.jury.rubric import GRADES, Case


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply of one judge. `attempt` counts its unreadable replies before this one.

    `text` is None exactly where the call failed and `error` says how; such a reply is asked for again.
    """

    key: str
    judge: str
    fingerprint: str
    rubric: str
    sample_id: str
    attempt: int
    grade: float | None
    text: str | None
    finish: str
    error: str | None = None
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    seconds: float | None = None


def case_key(case: Case, rubric: str) -> str:
    """Return the SHA-256 of all that a judge is shown; equal answers to equal questions share it."""
    parts = [rubric, case.question, case.reference, case.answer]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class VerdictStore:
    """The replies of a run, by judge fingerprint and case; open it to add to them. Threads may share it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / VERDICT_FILE
        self._writer = LineWriter(self._path)
        self._lock = threading.Lock()
        self._replies: dict[tuple[str, str], list[Reply]] = defaultdict(list)

    def __enter__(self) -> VerdictStore:
        self._writer.__enter__()
        try:
            self._replies.clear()
            for reply in read_replies(self._path):
                self._replies[reply.fingerprint, reply.key].append(reply)
        except BaseException:
            self._writer.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:  # a judge that is writing finishes its line
            self._writer.__exit__(None, None, None)

    def add(self, reply: Reply) -> None:
        """Put `reply` on disk; it is there when this returns."""
        with self._lock:
            self._writer.write([asdict(reply)])
            self._replies[reply.fingerprint, reply.key].append(reply)

    def replies(self, fingerprint: str, key: str) -> list[Reply]:
        """Return what this judge has said of this case, oldest first."""
        with self._lock:
            return list(self._replies.get((fingerprint, key), ()))

    def foreign(self, fingerprints: Iterable[str], keys: Iterable[str]) -> list[str]:
        """Return the samples of replies by no judge of `fingerprints`, or on no case of `keys`: they have no part."""
        judges, cases = set(fingerprints), set(keys)
        with self._lock:
            strange = [
                r for (by, key), some in self._replies.items() if by not in judges or key not in cases for r in some
            ]
        return sorted({f"{reply.sample_id} by {reply.judge}" for reply in strange})

    def counts(self, fingerprint: str) -> tuple[int, int]:
        """Return how many of a judge's replies could not be read, and how many of its calls failed."""
        with self._lock:
            replies = [r for (judge, _), some in self._replies.items() if judge == fingerprint for r in some]
        failed = sum(reply.text is None for reply in replies)
        return sum(reply.grade is None for reply in replies) - failed, failed

    def first_unread(self, fingerprint: str) -> Reply | None:
        """Return the first reply of a judge that could not be read, None if all could."""
        with self._lock:
            replies = [r for (judge, _), some in self._replies.items() if judge == fingerprint for r in some]
        return next((reply for reply in replies if reply.grade is None and reply.text is not None), None)


def read_replies(path: Path) -> Iterable[Reply]:
    """Yield the replies of a `verdicts.jsonl`; a torn last line is left out."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                reply = Reply(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise DataError(
                    f"{path}:{number}: not a verdict ({error}); start again with --fresh-verdicts."
                ) from error
            if reply.grade is not None and reply.grade not in GRADES:
                raise DataError(
                    f"{path}:{number}: grade {reply.grade!r} is not one of 0, 0.5, 1; use --fresh-verdicts."
                )
            yield reply
