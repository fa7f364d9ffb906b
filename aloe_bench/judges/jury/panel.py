"""The jury: judges asked side by side, and the rule that makes one grade of theirs."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from aloe_bench.core import Decoding, Model, Request, Score, Verdict
from aloe_bench.errors import ModelError, UsageError
from aloe_bench.evaluation.cells import vote
from aloe_bench.judges.jury import rubric
from aloe_bench.judges.jury.store import Reply, VerdictStore, case_key

log = logging.getLogger(__name__)

# What the tables call the panel's own grade.
JURY = "jury"
RE_ASKS = 2
# Large enough to keep an endpoint busy, small enough that one that has died is noticed soon.
CHUNK = 64
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Judge:
    """A Model in the judge's seat; `fingerprint` covers the model, its revision and its decoding.

    `constrained` asks its back end to hold the reply to the verdict's JSON schema.
    """

    name: str
    model: Model
    decoding: Decoding
    fingerprint: str
    constrained: bool = True


def score(verdicts: Sequence[Verdict]) -> Score:
    """Return the jury's score; the verdicts stand in the order of the judges' names."""
    ordered = tuple(sorted(verdicts, key=lambda verdict: verdict.judge))
    result = vote([verdict.grade for verdict in ordered])
    rule = "jury: missing" if result.value is None else "jury: split" if result.split else "jury"
    return Score(result.value, None, rule, ordered)


@dataclass(frozen=True, slots=True)
class Ballot:
    """What a session of the panel gave: the score of each sample, and why a judge stopped early.

    `left` counts the verdicts that another session would still ask for: calls that failed or were never made.
    """

    scores: Mapping[str, Score]
    down: Mapping[str, str]
    left: int


class Panel:
    """An odd number of judges with different names."""

    def __init__(self, judges: Sequence[Judge]) -> None:
        if len(judges) % 2 == 0:
            raise UsageError(f"A jury of {len(judges)} judges: name an odd number, so that the median is a grade.")
        for what in ("name", "fingerprint"):
            (value, count), *_ = Counter(getattr(judge, what) for judge in judges).most_common(1)
            if count > 1:
                same = [judge.name for judge in judges if getattr(judge, what) == value]
                raise UsageError(f"Judges {', '.join(same)} have the same {what}: each judge has one vote.")
        if any(judge.name == JURY for judge in judges):
            raise UsageError(f"A judge is named {JURY!r}, which stands for the whole panel; give it another name.")
        self.judges = tuple(judges)

    def grade(
        self, cases: Sequence[rubric.Case], store: VerdictStore, progress: Progress = lambda done, total: None
    ) -> Ballot:
        """Ask every judge for what is not in `store` yet, all judges at once, and return the scores.

        A judge whose endpoint is down is missing; an unforeseen fault in one is raised once the others are done.
        """
        rubric_id = rubric.rubric_id()
        keys = {case.sample_id: case_key(case, rubric_id) for case in cases}
        distinct = {keys[case.sample_id]: case for case in cases}
        counter = _Counter(len(distinct) * len(self.judges), progress)
        threads = [_JudgeThread(judge, distinct, rubric_id, store, counter) for judge in self.judges]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.2)
        except BaseException:
            for thread in threads:
                thread.leave.set()
            raise
        for thread in threads:
            if thread.fault is not None:
                raise thread.fault
        scores = {
            sample_id: score(
                [_verdict(judge, sample_id, store.replies(judge.fingerprint, key)) for judge in self.judges]
            )
            for sample_id, key in keys.items()
        }
        left = sum(len(thread.waiting()) for thread in threads)
        return Ballot(scores, {s.judge.name: s.down for s in threads if s.down is not None}, left)


def _verdict(judge: Judge, sample_id: str, replies: Sequence[Reply]) -> Verdict:
    last = next((reply for reply in reversed(replies) if reply.text is not None), None)
    if last is None:
        return Verdict(sample_id, judge.name, None, "")
    return Verdict(sample_id, judge.name, last.grade, last.text or "")


class _Counter:
    """Counts the cases that a judge is done with, over all judges."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._done, self._total, self._progress, self._lock = 0, total, progress, threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count
            self._progress(self._done, self._total)


class _JudgeThread(threading.Thread):
    """One judge at work. A daemon, so that an interrupted command does not wait for a slow endpoint."""

    def __init__(
        self, judge: Judge, cases: Mapping[str, rubric.Case], rubric_id: str, store: VerdictStore, counter: _Counter
    ) -> None:
        super().__init__(name=f"judge {judge.name}", daemon=True)
        self.judge = judge
        self.leave = threading.Event()
        self.down: str | None = None
        self.fault: BaseException | None = None
        self._cases, self._rubric_id, self._store, self._counter = cases, rubric_id, store, counter

    def run(self) -> None:
        try:
            self._work()
        except ModelError as error:
            self.down = str(error)
            log.info("judge %s is down: %s", self.judge.name, error)
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            self.fault = error

    def waiting(self) -> list[str]:
        """Return the cases on which this judge has still to be asked."""
        return [key for key in self._cases if self._bad_replies(key) is not None]

    def _work(self) -> None:
        waiting = self.waiting()
        self._counter.add(len(self._cases) - len(waiting))
        for start in range(0, len(waiting), CHUNK):
            chunk = waiting[start : start + CHUNK]
            for _ in range(1 + RE_ASKS):
                self._ask(chunk)
            self._counter.add(len(chunk))
            if self.leave.is_set():
                return

    def _bad_replies(self, key: str) -> list[str] | None:
        """Return this judge's unreadable replies on the case; None if it need not be asked any more."""
        replies = self._store.replies(self.judge.fingerprint, key)
        bad = [reply.text for reply in replies if reply.text is not None]
        return None if len(bad) > RE_ASKS or any(reply.grade is not None for reply in replies) else bad

    def _ask(self, keys: Sequence[str]) -> None:
        open_cases = {key: bad for key in keys if (bad := self._bad_replies(key)) is not None}
        schema = rubric.JSON_SCHEMA if self.judge.constrained else None
        requests = [
            Request(key, rubric.messages(self._cases[key], bad), json_schema=schema) for key, bad in open_cases.items()
        ]
        if requests and not self.leave.is_set():
            for reply in self._replies(requests, open_cases):
                self._store.add(reply)
                if self.leave.is_set():
                    return

    def _replies(self, requests: Sequence[Request], bad: Mapping[str, list[str]]) -> Iterator[Reply]:
        for prediction in self.judge.model.generate(requests, self.judge.decoding):
            if prediction.id not in bad:
                raise ModelError(f"judge {self.judge.name} answered {prediction.id!r}, which it was not asked.")
            text = prediction.text if prediction.finish != "error" else None
            yield Reply(
                key=prediction.id,
                judge=self.judge.name,
                fingerprint=self.judge.fingerprint,
                rubric=self._rubric_id,
                sample_id=self._cases[prediction.id].sample_id,
                attempt=len(bad[prediction.id]),
                grade=None if text is None else rubric.parse_verdict(text),
                text=text,
                finish=prediction.finish,
                error=prediction.error,
                prompt_tokens=prediction.prompt_tokens,
                output_tokens=prediction.output_tokens,
                seconds=prediction.seconds,
            )
