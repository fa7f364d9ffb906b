"""MultiMedQA and MMLU as tasks: rows from local files, prompts by lm-eval's own definitions.

The first import of lm_eval is inside `lm_tasks`, so listing tasks needs none.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from aloe_bench.bridges.lmeval import rows as lmeval_rows
from aloe_bench.bridges.lmeval.docs import Docs
from aloe_bench.bridges.lmeval.rows import RowSource, TextRow
from aloe_bench.core import LETTERS, Absent, DataSet, Sample
from aloe_bench.errors import DataError, DependencyError, MissingDataError
from aloe_bench.facts import CellSpec, Facts, Paper
from aloe_bench.tasks.benchmark import table_3
from aloe_bench.tasks.data.fetch import Fetch
from aloe_bench.tasks.data.fetched import refuse_changed

log = logging.getLogger(__name__)

DEFINITIONS = ("mmlu/default", "medmcqa", "medqa", "pubmedqa")
SHOT_SEED = 1234
MMLU_ROWS = {
    "abstract_algebra": 100, "anatomy": 135, "astronomy": 152, "business_ethics": 100, "clinical_knowledge": 265,
    "college_biology": 144, "college_chemistry": 100, "college_computer_science": 100, "college_mathematics": 100,
    "college_medicine": 173, "college_physics": 102, "computer_security": 100, "conceptual_physics": 235,
    "econometrics": 114, "electrical_engineering": 145, "elementary_mathematics": 378, "formal_logic": 126,
    "global_facts": 100, "high_school_biology": 310, "high_school_chemistry": 203,
    "high_school_computer_science": 100, "high_school_european_history": 165, "high_school_geography": 198,
    "high_school_government_and_politics": 193, "high_school_macroeconomics": 390, "high_school_mathematics": 270,
    "high_school_microeconomics": 238, "high_school_physics": 151, "high_school_psychology": 545,
    "high_school_statistics": 216, "high_school_us_history": 204, "high_school_world_history": 237,
    "human_aging": 223, "human_sexuality": 131, "international_law": 121, "jurisprudence": 108,
    "logical_fallacies": 163, "machine_learning": 112, "management": 103, "marketing": 234, "medical_genetics": 100,
    "miscellaneous": 783, "moral_disputes": 346, "moral_scenarios": 895, "nutrition": 306, "philosophy": 311,
    "prehistory": 324, "professional_accounting": 282, "professional_law": 1534, "professional_medicine": 272,
    "professional_psychology": 612, "public_relations": 110, "security_studies": 245, "sociology": 201,
    "us_foreign_policy": 100, "virology": 166, "world_religions": 171,
}  # fmt: skip
MULTIMEDQA_SUBJECTS = (
    "anatomy", "clinical_knowledge", "college_medicine", "medical_genetics", "professional_medicine", "college_biology",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LmEvalPart:
    """One of lm-eval's tasks: its name there, the category of its samples here, and the rows a whole copy has."""

    lm_task: str
    category: str
    source: RowSource
    rows: int
    split: str = "test"


@dataclass(frozen=True, slots=True)
class TextTask:
    """A benchmark without images that lm-eval asks and scores by log-likelihood; a Task.

    A sample's `question` is the whole prompt, as lm-eval's definition words it.
    """

    name: str
    parts: tuple[LmEvalPart, ...]
    licence: str
    source: str
    facts: Facts
    shots: int = 0
    version: int = 1
    revision: str = "main"
    about: str = ""

    @property
    def expected_rows(self) -> int:
        """Rows of all parts together."""
        return sum(part.rows for part in self.parts)

    @property
    def fetches(self) -> tuple[Fetch, ...]:
        """What `data fetch` brings: of each part's data set, the files of the first layout that is read."""
        files: dict[RowSource, list[str]] = {}
        for part in self.parts:
            files.setdefault(part.source, []).extend(
                part.source.files[0].format(part=part.category, split=split) for split in self._splits(part)
            )
        return tuple(Fetch(each.hub, "main", each.folder, tuple(dict.fromkeys(found))) for each, found in files.items())

    def data_sets(self, root: Path) -> tuple[DataSet, ...]:
        """Return the parts' data sets, each with every folder that one of its files is read from."""
        found: dict[DataSet, None] = {}
        for part in self.parts:
            for split in self._splits(part):
                for file in part.source.find(root, part.category, split):
                    folder = next(place for place in part.source.places(root) if file.is_relative_to(place))
                    found.setdefault(DataSet(part.source.hub, folder))
        return tuple(found)

    def _splits(self, part: LmEvalPart) -> tuple[str, ...]:
        return (part.split, "dev") if self.shots else (part.split,)

    def load(self, root: Path) -> Iterator[Sample | Absent]:
        """Yield the samples of the parts that `root` has, and the files it lacks; warn of parts of another size.

        Raises DataError if it has none, if a row is broken, or if the total only fits by chance.
        """
        found = self.find(root)
        odd = self._odd_parts(found)
        if odd and sum(map(len, found.values())) == self.expected_rows:
            raise DataError(f"{self.name}: parts of another size in {root}: {odd}. Download them again.")
        if odd:
            log.warning("%s: parts of another size in %s: %s", self.name, root, odd)
        tasks = lm_tasks(self, root, found)
        for part, part_rows in found.items():
            for row in part_rows:
                yield _sample(self, part, row, tasks[part.lm_task])
        for part in self.parts:
            if part not in found:
                yield Absent(f"{self.name}/{part.lm_task}", "files", f"that of {part.lm_task}")

    def prompt(self, sample: Sample) -> str:
        """Return the prompt, which `load` had lm-eval build."""
        return sample.question

    def find(self, root: Path) -> dict[LmEvalPart, list[TextRow]]:
        """Return the rows of each part that `root` has; raises DataError, with what to fetch, if it has none.

        It also raises for what is broken, or no longer as it was fetched.
        """
        found = {part: self.rows(part, root, part.split) for part in self.parts}
        there = {part: part_rows for part, part_rows in found.items() if part_rows is not None}
        if not there:
            wanted = [(part.source, part.category, part.split) for part in self.parts]
            raise MissingDataError(self.name, lmeval_rows.missing_message(self.name, wanted, root))
        return there

    def rows(self, part: LmEvalPart, root: Path, split: str) -> list[TextRow] | None:
        """Return the rows of one split of a part, None if it is not there."""
        try:
            refuse_changed(root / part.source.folder, self.revision)
            return lmeval_rows.read_rows(part.source, root, part.category, split)
        except DataError as error:
            raise DataError(f"{self.name}: {error}") from error

    def _odd_parts(self, found: Mapping[LmEvalPart, Sequence[TextRow]]) -> str:
        """Return the parts whose row count is not their own, the first ten by name; empty if there are none."""
        counts = [(part, len(found.get(part, ()))) for part in self.parts]
        odd = [f"{part.lm_task} {count} of {part.rows}" for part, count in counts if count != part.rows]
        return ", ".join(odd[:10]) + (f" and {len(odd) - 10} more" if len(odd) > 10 else "")


def _sample(task: TextTask, part: LmEvalPart, row: TextRow, lm_task: Any) -> Sample:
    return Sample(
        id=row.id,
        kind="choice",
        question=str(lm_task.fewshot_context(row.doc, num_fewshot=task.shots)),
        target=LETTERS[row.answer],
        cluster=row.id,
        choices=row.choices,
        tags={"dataset": task.name, "category": part.category, "modality": "text"},
    )


def lm_tasks(task: TextTask, root: Path, found: Mapping[LmEvalPart, Sequence[TextRow]]) -> dict[str, Any]:
    """Return lm-eval's task of each part over our rows, by its name there."""
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise DependencyError(
            f"{task.name} is asked through lm-eval, which is not here ({error}). "
            "Run `pip install 'aloe-bench[lm-eval]'`."
        ) from error
    # It warns of each task that has its rows handed over.
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    folder = Path(str(resources.files("lm_eval"))) / "tasks"
    manager = TaskManager(include_path=[folder / name for name in DEFINITIONS], include_defaults=False)
    members = [_member(task, part, part_rows, root) for part, part_rows in found.items()]
    tasks: dict[str, Any] = manager.load([{"group": task.name, "task": members}])["tasks"]
    for lm_task in tasks.values():
        lm_task.set_fewshot_seed(SHOT_SEED)
    return tasks


def _member(task: TextTask, part: LmEvalPart, part_rows: Sequence[TextRow], root: Path) -> dict[str, Any]:
    """Return what of lm-eval's definition is replaced: where the rows come from, and no more."""
    splits = {"test": Docs(dict(row.doc) for row in part_rows)}
    if task.shots:
        shown = task.rows(part, root, "dev")
        if shown is None:
            wanted = [(part.source, part.category, "dev")]
            raise MissingDataError(task.name, lmeval_rows.missing_message(task.name, wanted, root))
        splits["dev"] = Docs(dict(row.doc) for row in shown)

    def handed_over(**_: object) -> dict[str, Docs]:
        return splits

    return {
        "task": part.lm_task,
        "custom_dataset": handed_over,
        "training_split": None,
        "validation_split": None,
        "test_split": "test",
        "fewshot_split": "dev" if task.shots else None,
        "num_fewshot": task.shots,
    }


def _subject(name: str) -> LmEvalPart:
    return LmEvalPart(f"mmlu_{name}", name, lmeval_rows.MMLU, MMLU_ROWS[name])


_UNTOLD = Paper(told="not told by its digits")
MMLU = TextTask(
    "mmlu",
    tuple(map(_subject, MMLU_ROWS)),
    "MIT",
    "cais/mmlu",
    Facts(engine="lm-eval", places=(table_3("MMLU", "log-likelihood, micro-average", "14,042"),), paper=_UNTOLD),
    about="knowledge in 57 subjects, text alone, multiple choice",
)
MMLU_5SHOT = TextTask(
    "mmlu_5shot",
    MMLU.parts,
    "MIT",
    "cais/mmlu",
    Facts(engine="lm-eval"),
    shots=5,
    about=f"{MMLU.about}, five shown first",
)
MULTIMEDQA = TextTask(
    "multimedqa",
    (
        LmEvalPart("pubmedqa", "pubmedqa", lmeval_rows.PUBMEDQA, 500),
        LmEvalPart("medmcqa", "medmcqa", lmeval_rows.MEDMCQA, 4183, "validation"),
        LmEvalPart("medqa_4options", "medqa_4options", lmeval_rows.MEDQA, 1273),
        *map(_subject, MULTIMEDQA_SUBJECTS),
    ),
    "MIT, Apache-2.0 (MedMCQA), CC-BY-SA-4.0 (MedQA)",
    "qiaojin/PubMedQA, openlifescienceai/medmcqa, GBaker/MedQA-USMLE-4-options-hf, cais/mmlu",
    Facts(
        (
            CellSpec("overall"),
            # lm-eval weighs by size, which is `overall`.
            CellSpec("macro over parts", "macro", "category"),
            CellSpec("category: {}", "each", "category"),
        ),
        engine="lm-eval",
        places=(
            table_3(
                "MultiMedQA",
                "log-likelihood, micro-average over nine sets; the macro-average over these is in the notes",
                "7,045",
                ("macro over parts",),
            ),
        ),
        paper=_UNTOLD,
    ),
    about="medical exams and literature, text alone, multiple choice",
)
