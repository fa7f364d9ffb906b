"""One checkpoint asked by the real `run`, and its answers as the cells of a before-and-after table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from aloe_bench.core import AnswerProtocol, Decoding, Model, Record, Task
from aloe_bench.errors import DataError
from aloe_bench.evaluation import runlog
from aloe_bench.evaluation.loop import run_plan
from aloe_bench.evaluation.plan import Settings, load_plan
from aloe_bench.heart.attacks import shipped
from aloe_bench.heart.attacks.attack import Combination
from aloe_bench.models.make import ModelSpec, make_model
from aloe_bench.stats.intervals import Share, clustered_share
from aloe_bench.stats.paired import Difference, paired_difference

# Those of the paper.
_PAPER = [attack for attack in shipped().values() if attack.published]
ATTACKS = {
    task: tuple(attack.name for attack in _PAPER if Combination((attack,)).fits(task))
    for task in ("classification", "detection")
}
IMAGE_BORNE = tuple(attack.name for attack in _PAPER if attack.draws)
CLEAN = ""
# Below this share a cell of an image-borne cue is "not read", and never "robust".
READABLE = 0.90
_DECODING = Decoding(max_new_tokens=12)
Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Asker:
    """How checkpoints are asked: the back end loaded once, answers in words, every run resumed where it stopped."""

    model: Model
    name: str
    output: Path

    def ask(self, task: Task, protocol: AnswerProtocol = "generate", report: Report = lambda a, b: None) -> Path:
        """Return the folder of the run of `task`, every item of it answered."""
        settings = Settings(
            output=self.output / protocol, decoding=_DECODING, protocol=protocol, answer="text", chunk=128
        )
        plan = load_plan(task, Path("."), settings)
        facts = {"name": self.name, "backend": "hf", "miniature": True, "size_group": None, "domain": None}
        return run_plan(plan, self.model, settings, facts, progress=report)


def asker(checkpoint: Path, name: str, output: Path) -> Asker:
    """Return an Asker of the folder `checkpoint`, whose runs go below `output`."""
    return Asker(make_model(ModelSpec(str(checkpoint), "hf", batch_size=32, name=name)), name, output)


@dataclass(frozen=True, slots=True)
class CellItems:
    """One cell's items in order of their ids: what was right, followed the cue, named no option; 0 or 1 each.

    Each item has a picture of its own. `items` is a digest of their ids: two arms of equal items can be paired.
    """

    items: str
    right: str
    followed: str
    off: str


@dataclass(frozen=True, slots=True)
class Answers:
    """A checkpoint's answers to one HEART table, by (task, attack, variant).

    `scored` holds what is right by option score, of a part of the items, `matched` the generated answers to that
    part; `reading` the reading questions' answers.
    """

    arms: Mapping[tuple[str, str, str], CellItems]
    scored: Mapping[tuple[str, str, str], CellItems]
    matched: Mapping[tuple[str, str, str], CellItems]
    reading: Mapping[tuple[str, str], CellItems]

    def accuracy(self, task: str, attack: str, variant: str = "adversarial") -> Share:
        """Return the share of right answers, as the strict parser reads them."""
        arm = self._arm(task, attack, variant)
        return _share(arm.right)

    def restricted(self, task: str, attack: str, variant: str = "adversarial") -> Share:
        """Return the share of the scored items whose right option is the likeliest of those offered."""
        arm = self.scored.get((task, attack, variant if attack else "baseline"))
        return _share(arm.right) if arm else Share(None, None, 0, 0)

    def exact_beside(self, task: str, attack: str, variant: str = "adversarial") -> Share:
        """Return the accuracy on the scored items, to be held beside `restricted`."""
        arm = self.matched.get((task, attack, variant if attack else "baseline"))
        return _share(arm.right) if arm else Share(None, None, 0, 0)

    def followed(self, task: str, attack: str) -> Share:
        """Return the share of adversarial items answered with the option that the cue argues for."""
        arm = self._arm(task, attack, "adversarial")
        return _share(arm.followed)

    def off_option(self, task: str, attack: str, variant: str = "adversarial") -> Share:
        """Return the share of replies that name none of the options."""
        arm = self._arm(task, attack, variant)
        return _share(arm.off)

    def read(self, task: str, attack: str) -> Share | None:
        """Return how often the claim drawn into the picture is read; None for cues that are not drawn."""
        arm = self.reading.get((task, attack))
        return _share(arm.right) if arm else None

    def is_read(self, task: str, attack: str) -> bool:
        """Return whether a cell of this cue may be called anything but "not read"."""
        read = self.read(task, attack)
        return read is None or (read.value or 0.0) >= READABLE

    def gain_over(self, other: Answers, task: str, attack: str, variant: str = "adversarial") -> Difference:
        """Return this checkpoint's accuracy minus that of `other`, on the same items, with interval and test."""
        mine, theirs = self._arm(task, attack, variant), other._arm(task, attack, variant)
        if mine.items != theirs.items:
            raise ValueError(f"{task}/{attack}: the two checkpoints were asked different items")
        return paired_difference(_bits(mine.right), _bits(theirs.right), range(len(mine.right)))

    def drop(self, task: str, attack: str) -> float:
        """Return the clean accuracy minus that under attack."""
        clean, attacked = self.accuracy(task, CLEAN).value, self.accuracy(task, attack).value
        return (clean or 0.0) - (attacked or 0.0)

    def _arm(self, task: str, attack: str, variant: str) -> CellItems:
        return self.arms[task, attack, variant if attack else "baseline"]

    def to_json(self) -> dict[str, Any]:
        """Return all of it for a file."""
        parts = {"arms": self.arms, "scored": self.scored, "matched": self.matched, "reading": self.reading}
        return {
            name: {"/".join(key): asdict(arm) for key, arm in sorted(part.items())}  # type: ignore[attr-defined]
            for name, part in parts.items()
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Answers:
        """Return what `to_json` wrote."""
        arms, scored, matched = (
            {_three(key): CellItems(**arm) for key, arm in value[part].items()}
            for part in ("arms", "scored", "matched")
        )
        reading = {_three(key + "/")[:2]: CellItems(**arm) for key, arm in value["reading"].items()}
        return cls(arms, scored, matched, reading)

    @classmethod
    def from_runs(cls, generated: Path, restricted: Path | None = None, reading: Path | None = None) -> Answers:
        """Return the answers in three run folders: generated, by option score, and of the reading questions."""
        read = {(task, attack): arm for (task, attack, _), arm in _arms(reading, ("task", "attack")).items()}
        ids = {record.sample_id for record in runlog.read_run(restricted)[1]} if restricted else set()
        return cls(_arms(generated), _arms(restricted), _arms(generated, ids=ids), read)


def _three(key: str) -> tuple[str, str, str]:
    task, attack, variant = key.split("/")
    return task, attack, variant


def _arms(
    run: Path | None, by: tuple[str, ...] = ("task", "attack", "variant"), ids: set[str] | None = None
) -> dict[tuple[str, str, str], CellItems]:
    """Return the cells of a run folder by its records' tags, the last of which may be left out (and is "" then).

    `ids` leaves out all other records.
    """
    rows: dict[tuple[str, str, str], list[Record]] = {}
    for record in runlog.read_run(run)[1] if run else ():
        if ids is not None and record.sample_id not in ids:
            continue
        key = [record.tags[tag] for tag in by] + [""]
        rows.setdefault((key[0], key[1], key[2]), []).append(record)
    return {key: _arm_of(records) for key, records in rows.items()}


def _arm_of(records: Sequence[Record]) -> CellItems:
    ordered = sorted(records, key=lambda record: record.sample_id)
    bases = [record.cue.base_id if record.cue else record.sample_id for record in ordered]
    if len(set(bases)) < len(bases):
        raise DataError(f"{ordered[0].sample_id}: an item occurs twice in one cell; expected one row each.")
    return CellItems(
        items=sha256("\n".join(bases).encode()).hexdigest()[:16],
        right="".join(map(_right, ordered)),
        followed="".join(map(_follows, ordered)),
        off="".join(str(int(record.score.parsed is None)) for record in ordered),
    )


def mean_share(shares: Sequence[Share]) -> float:
    """Return the plain mean of several seeds' shares."""
    return sum(share.value or 0.0 for share in shares) / len(shares)


def _right(record: Record) -> str:
    if record.score.value is None:
        raise DataError(f"{record.sample_id}: not answered ({record.prediction.error}). Run the same command again.")
    return str(int(record.score.value))


def _follows(record: Record) -> str:
    return str(int(record.cue is not None and record.score.parsed == record.cue.suggests))


def _bits(text: str) -> list[float]:
    return [float(bit) for bit in text]


def _share(bits: str) -> Share:
    return clustered_share(_bits(bits), [1.0] * len(bits), range(len(bits)))
