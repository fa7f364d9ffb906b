"""The same replies read by our strict parser and by VLMEvalKit's matcher: where they differ, and what it costs."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aloe_bench.answers.strict.choice import parse_choice
from aloe_bench.bridges.vlmeval.engine import child_environment, installed_version
from aloe_bench.core import LETTERS, Record
from aloe_bench.errors import DataError, ModelError

NO_MATCH = ("", "Z")  # upstream's two ways to say that no option was read


@dataclass(frozen=True, slots=True)
class Reading:
    """One reply as both read it; None is not an option."""

    sample_id: str
    target: str
    reply: str
    strict: str | None
    upstream: str | None
    rule: str


@dataclass(frozen=True, slots=True)
class Parity:
    """All readings of a run's choice questions, with upstream's version."""

    version: str
    readings: tuple[Reading, ...]

    @property
    def disagreements(self) -> list[Reading]:
        """Return the replies that the two read differently."""
        return [reading for reading in self.readings if reading.strict != reading.upstream]

    def accuracy(self, reader: str) -> float:
        """Return the accuracy in [0, 1] with `reader` "strict" or "upstream"."""
        right = [bool(getattr(reading, reader) == reading.target) for reading in self.readings]
        return sum(right) / len(right)


def compare(records: Sequence[Record], choices: Mapping[str, Sequence[str]]) -> Parity:
    """Return how both read the choice questions of a run; `choices` are the options by sample id.

    Upstream's own matcher runs in a child process, with VERBOSE unset, which would change what it reads.
    Raises DataError if the run has no reply to a choice question.
    """
    asked = [r for r in records if r.kind == "choice" and r.prediction.text is not None and r.sample_id in choices]
    if not asked:
        raise DataError("No reply to a choice question in this run; there is nothing to compare.")
    version = installed_version()
    pairs = [
        {"reply": r.prediction.text, "choices": dict(zip(LETTERS, choices[r.sample_id], strict=False))} for r in asked
    ]
    readings = []
    for record, theirs in zip(asked, _upstream_letters(pairs), strict=True):
        text = record.prediction.text or ""
        ours = parse_choice(text, choices[record.sample_id], finish=record.prediction.finish)
        upstream = None if theirs in NO_MATCH else theirs
        readings.append(Reading(record.sample_id, record.target, text, ours.letter, upstream, ours.rule))
    return Parity(version, tuple(readings))


def _upstream_letters(pairs: Sequence[Mapping[str, object]]) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="aloe-parity-") as name:
        work = Path(name)
        (work / "pairs.json").write_text(json.dumps(pairs), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "aloe_bench.bridges.vlmeval.child", "--match", str(work / "pairs.json")],
            cwd=work,
            env=child_environment(work),
            capture_output=True,
            text=True,
            check=False,
        )
        answer = work / "letters.json"
        if done.returncode or not answer.is_file():
            raise ModelError(f"VLMEvalKit's matcher ended with {done.returncode}: {done.stderr.strip()[-300:]}")
        letters: list[str] = json.loads(answer.read_text(encoding="utf-8"))
        return letters
