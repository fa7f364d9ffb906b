"""Questions of an evaluation set that stand in training texts: word for word, or in long runs of equal words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from aloe_bench.mixture.evaluation import HeldText

# Runs of this many words count; shorter questions are compared whole.
WORDS = 8
# A question of which this share of runs stands in one training text is a copy of it, but for a few words.
SHARE = 0.5
_WORD = re.compile(r"[^\W_]+")

Copy = Literal["question and answer", "question", "runs of words"]


@dataclass(frozen=True, slots=True)
class TextHit:
    """An evaluation question that a training sample repeats; `share` is that of its runs found there."""

    sample: str
    held: int
    copy: Copy
    share: float


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of `text` as they compare: letters and digits, without case."""
    return tuple(_WORD.findall(text.casefold()))


class TextIndex:
    """Evaluation questions, found again in training texts one by one."""

    def __init__(self, held: Sequence[HeldText], n: int = WORDS) -> None:
        self.n = n
        self._asked: dict[tuple[str, ...], list[int]] = {}
        self._runs: dict[int, list[int]] = {}
        self._n_runs: list[int] = []
        self._answers = [words_of(each.answer) for each in held]
        for i, each in enumerate(held):
            words = words_of(each.question)
            if words:
                self._asked.setdefault(words, []).append(i)
            runs = set(_runs(words, n))
            self._n_runs.append(len(runs))
            for run in runs:
                self._runs.setdefault(run, []).append(i)

    def hits(self, sample: str, turns: Iterable[tuple[str, str]]) -> Iterator[TextHit]:
        """Yield what `sample`, given as questions with answers, repeats; each evaluation question at most once."""
        seen: set[int] = set()
        counts: dict[int, set[int]] = {}
        for question, answer in turns:
            asked, answered = words_of(question), words_of(answer)
            for i in self._asked.get(asked, ()):
                if i not in seen:
                    seen.add(i)
                    both = self._answers[i] == answered
                    yield TextHit(sample, i, "question and answer" if both else "question", 1.0)
            for run in _runs(asked + answered, self.n):
                for i in self._runs.get(run, ()):
                    counts.setdefault(i, set()).add(run)
        for i, runs in counts.items():
            share = len(runs) / self._n_runs[i]
            if i not in seen and share >= SHARE:
                yield TextHit(sample, i, "runs of words", share)


def _runs(words: Sequence[str], n: int) -> Iterator[int]:
    """Yield a hash of every run of `n` words; within one process alone, for it is Python's own."""
    for start in range(len(words) - n + 1):
        yield hash(tuple(words[start : start + n]))
