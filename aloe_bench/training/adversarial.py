"""What the adversarial-robustness (AR) stage learns from: any HEART source, attacked, as conversations.

    OUTPUT/conversations.jsonl, manifest.json    as training/data/schema.py has it
    OUTPUT/heart/                                the attacked table the conversations were taken from
    OUTPUT/validation/                           the same of the held-out images, if any were held out

Of every item the clean question, the assistive and the adversarial row of each attack; the answer is always the
truth. The assistive rows are there so that "the cue is always wrong" is not what is learnt.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aloe_bench.core import LETTERS, AnswerForm, Sample, Task
from aloe_bench.errors import UsageError
from aloe_bench.files import NewFolder
from aloe_bench.heart.legibility import reading_sample
from aloe_bench.seeds import rng_for
from aloe_bench.tasks import formats
from aloe_bench.training.data.schema import MANIFEST, Conversation, asked_and_answered, write_folder
from aloe_bench.training.overlap import check_overlap, check_wordings, in_words

# Wordings that the shipped evaluation set does not use.
TEMPLATES = Path(__file__).parent / "templates" / "clinical-training.toml"
VARIANTS = (None, "assistive", "adversarial")
# Ends the id of a row that the control learns without its cue.
WITHOUT_CUE = "/without-cue"
Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class ArDataConfig:
    """What is made of `source`.

    `evaluation` are HEART folders or sources that must share nothing with it. `target_size` is a number of
    conversations. `clean_only` gives the control: every row without its cue, as many rows in the same order.
    `reading` adds, of each item and cue that is drawn into the picture, the question what it says: a small model
    that is only ever taught to ignore written words soon cannot read them.
    """

    source: Path
    evaluation: tuple[Path, ...] = ()
    attacks: str = "all"
    templates: str | Path = TEMPLATES
    seed: int = 0
    target_size: int | None = None
    validation_share: float = 0.0
    clean_only: bool = False
    reading: bool = False
    answer: AnswerForm = "letter"
    workers: int = 1


def write_adversarial_data(
    wanted: ArDataConfig, output: Path, report: Report = lambda done, total: None
) -> dict[str, Any]:
    """Write the conversations of `wanted` to the new folder `output` and return its manifest.

    Raises DataError if the source shares a picture or the dataset with an evaluation set, or wordings with it.
    """
    from aloe_bench.heart import make
    from aloe_bench.heart.attacks import parse_attacks
    from aloe_bench.heart.build import HeartRecipe
    from aloe_bench.heart.sources.source import load_source
    from aloe_bench.heart.task import open_task
    from aloe_bench.heart.wordings import load_templates

    if not 0 <= wanted.validation_share < 1:
        raise UsageError(f"a validation share of {wanted.validation_share}; expected 0 up to, not including, 1.")
    source = load_source(wanted.source)
    templates = load_templates(wanted.templates, parse_attacks(wanted.attacks, source.tasks))
    attacks = parse_attacks(wanted.attacks, source.tasks, templates)
    shared = check_overlap(source, wanted.evaluation)
    check_wordings(templates, wanted.evaluation)
    recipe = HeartRecipe(attacks, templates, wanted.seed)
    with NewFolder(output, overwrite=False, known_by=MANIFEST) as folder:
        work = make.plan_work([source], recipe, n_workers=wanted.workers)
        make.build([source], work, recipe, folder / "heart", n_workers=wanted.workers, report=report)
        task = open_task(str(folder / "heart"))
        rows = [s for s in task.load(folder) if (s.cue.variant if s.cue else None) in VARIANTS]
        if wanted.reading:
            rows += _reading_rows(rows, wanted.seed)
        training, validation = _split(rows, wanted, _kin(folder / "heart"))
        kept = cut(training, wanted.target_size, wanted.seed)
        facts = _facts(wanted, source, templates, shared)
        if validation:
            more = {"part": "validation", **_counts(validation, len(validation))}
            _write_validation(folder, task, validation, wanted, facts | more)
        return write_folder(folder, _conversations(task, kept, wanted), facts | _counts(kept, len(training)))


def _reading_rows(rows: Sequence[Sample], seed: int) -> list[Sample]:
    """Return one reading question an item and drawn cue, over a true cue as often as chance would have it."""
    by_cue: dict[tuple[str, str], dict[str, Sample]] = defaultdict(dict)
    for row in rows:
        asked = reading_sample(row)
        if row.cue and asked:
            by_cue[row.cue.base_id, row.cue.attack][row.cue.variant] = asked
    chosen = []
    for (base, attack), variants in by_cue.items():
        true = rng_for(seed, "ar reading", base, attack).random() < 1 / len(variants["assistive"].choices)
        chosen.append(variants["assistive" if true else "adversarial"])
    return chosen


def _kin(heart: Path) -> dict[str, str]:
    """Return cluster -> the first, by name, of all clusters that equal pictures tie to it; mostly itself."""
    import pyarrow.parquet as parquet

    parent: dict[str, str] = {}

    def first(cluster: str) -> str:
        while (above := parent.setdefault(cluster, cluster)) != cluster:
            cluster = above
        return cluster

    shown: dict[str, str] = {}
    for row in parquet.read_table(heart / "heart.parquet", columns=["cluster", "source_print"]).to_pylist():
        low, high = sorted((first(row["cluster"]), first(shown.setdefault(row["source_print"], row["cluster"]))))
        parent[high] = low
    return {cluster: first(cluster) for cluster in list(parent)}


def _split(rows: Sequence[Sample], wanted: ArDataConfig, kin: Mapping[str, str]) -> tuple[list[Sample], list[Sample]]:
    """Return training and held-out rows; an image, or patient where one is given, is never in both."""
    held = held_out(kin, wanted.validation_share, wanted.seed)
    return [row for row in rows if row.cluster not in held], [row for row in rows if row.cluster in held]


def held_out(kin: Mapping[str, str], share: float, seed: int) -> set[str]:
    """Return the clusters that are held out of training, each with probability `share` (0 to 1).

    `kin` maps each cluster to the name of its group, which is held out whole or not at all. Drawn from that name:
    more clusters change nothing for those that are there, and a larger share holds out all that a smaller one does.
    """
    return {cluster for cluster, group in kin.items() if rng_for(seed, "ar validation", group).random() < share}


def cut(rows: Sequence[Sample], size: int | None, seed: int) -> list[Sample]:
    """Return `size` of `rows` in their order, whole items as far as possible; all of them if there are no more.

    Items of the commonest class go first, down to the next commonest: on FracAtlas four images of five show no
    fracture, and answering so always would beat every attack. Then all classes shrink alike. Which items go is
    drawn from their ids.
    """
    items: dict[str, list[Sample]] = defaultdict(list)
    for row in rows:
        items[row.cue.base_id if row.cue else row.id].append(row)
    if size is None or len(rows) <= size:
        return list(rows)
    gone: set[str] = set()
    excess = len(rows) - size
    for base in _removal_order(items, seed):
        if excess <= 0:
            break
        leaving = sorted(items[base], key=lambda row: row.id, reverse=True)[:excess]
        gone.update(row.id for row in leaving)
        excess -= len(leaving)
    return [row for row in rows if row.id not in gone]


def _removal_order(items: dict[str, list[Sample]], seed: int) -> Iterator[str]:
    """Yield the items in the order in which they are given up."""
    strata: dict[tuple[str, str], list[str]] = defaultdict(list)
    for base, rows in items.items():
        first = rows[0]
        task = first.tags["task"]
        strata[task, _word(first) if task == "classification" else ""].append(base)
    for bases in strata.values():
        bases.sort(key=lambda base: rng_for(seed, "ar cut", base).random())
    classes = sorted((key for key in strata if key[0] == "classification"), key=lambda key: (-len(strata[key]), key))
    if len(classes) > 1:
        commonest = strata[classes[0]]
        while len(commonest) > len(strata[classes[1]]):
            yield commonest.pop()
    whole = {key: len(bases) for key, bases in strata.items()}
    while any(strata.values()):
        fullest = max(sorted(strata), key=lambda key: len(strata[key]) / max(1, whole[key]))
        yield strata[fullest].pop()


def _conversations(task: Task, rows: Iterable[Sample], wanted: ArDataConfig) -> Iterator[Conversation]:
    rows = list(rows)
    clean = {row.id: row for row in rows if row.cue is None}
    for row in rows:
        shown, name = row, row.id
        if wanted.clean_only and row.cue is not None:
            if row.cue.base_id not in clean:
                continue
            shown, name = clean[row.cue.base_id], f"{row.id}{WITHOUT_CUE}"
        request = replace(formats.request(shown, formats.asked(task, shown, wanted.answer), wanted.answer), id=name)
        yield asked_and_answered(
            request,
            row.target if wanted.answer == "letter" else _word(row),
            [_picture(image.sha256) for image in shown.images],
            source=task.name,
            cluster=row.cluster,
            tags={key: row.tags[key] for key in ("dataset", "modality", "task", "attack", "variant")},
        )


def _picture(sha256: str) -> str:
    return f"heart/images/{sha256}.png"


def _word(row: Sample) -> str:
    return row.choices[LETTERS.index(row.target)]


def _write_validation(
    folder: Path, task: Task, rows: Sequence[Sample], wanted: ArDataConfig, facts: dict[str, Any]
) -> None:
    """Write the held-out rows as a folder of its own, its pictures linked."""
    pictures = folder / "validation" / "heart" / "images"
    pictures.mkdir(parents=True)
    for sha256 in sorted({image.sha256 for row in rows for image in row.images}):
        old, new = folder / _picture(sha256), pictures / f"{sha256}.png"
        with suppress(OSError):
            os.link(old, new)
        if not new.exists():
            shutil.copyfile(old, new)
    write_folder(folder / "validation", _conversations(task, rows, wanted), facts)


def _counts(rows: Sequence[Sample], available: int) -> dict[str, Any]:
    """Return what the manifest says of the rows of its own folder; `available` were there before the cut."""
    counted = Counter(f"{r.tags['task']}/{r.tags['attack'] or 'clean'}/{r.tags['variant']}" for r in rows)
    return {
        "available": available,
        "rows": dict(sorted(counted.items())),
        "clusters_sha256": hashlib.sha256("\n".join(sorted({r.cluster for r in rows})).encode()).hexdigest(),
    }


def _facts(wanted: ArDataConfig, source: Any, templates: Any, shared: dict[str, Any]) -> dict[str, Any]:
    """Return what the manifest says of how the data was made."""
    from aloe_bench.heart.problems import sentences

    return {
        "made_by": "aloe-bench train-ar",
        "part": "training",
        "dataset": source.name,
        "modality": source.modality,
        "licence": source.licence,
        "source_sha256": source.sha256,
        "templates": templates.label,
        "templates_sha256": templates.sha256,
        "attacks": wanted.attacks,
        "clean_only": wanted.clean_only,
        "reading": wanted.reading,
        "answer": wanted.answer,
        "seed": wanted.seed,
        "target_size": wanted.target_size,
        "overlap": shared,
        "leakage": in_words(shared),
        **({"left_over": sentences(source.left_over)} if source.left_over else {}),
    }
