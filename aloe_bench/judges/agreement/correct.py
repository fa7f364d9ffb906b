"""The experts' labels of a random part of a run's answers, kept in its folder so that its cells can be corrected."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path

from aloe_bench.errors import DataError, UsageError
from aloe_bench.evaluation import corrected, runlog
from aloe_bench.evaluation.corrected import Labels
from aloe_bench.evaluation.leftover import LABEL, Unmatched, keep_left_over
from aloe_bench.files import write_json
from aloe_bench.joins import first_ten, join
from aloe_bench.judges.agreement.study import Study
from aloe_bench.judges.experts.sample import read_draw

log = logging.getLogger(__name__)


def keep_labels(folder: Path, study: Study) -> Labels:
    """Write the labels of the drawn answers into a run's folder and return them.

    Labels of answers that were not drawn are left out, and drawn answers without a label counted; both are told.
    Raises DataError unless the run records its draw (`annotate --sample`) or every judged answer has a label.
    """
    if not set(study.values) <= {0.0, 0.5, 1.0}:
        raise UsageError("--correct needs the grades 0, 0.5 and 1, as scores are; leave --values out.")
    ids = {study.items[i]: name for i, name in enumerate(study.samples) if name is not None}
    experts = {
        rater: {ids[item]: float(grade) for item, grade in zip(study.items, row, strict=True)
                if item in ids and grade == grade}
        for rater, row in zip(study.raters, study.humans, strict=True)
    }  # fmt: skip
    labelled = {name for of in experts.values() for name in of}
    draw = read_draw(folder)
    judged = {record.sample_id for record in runlog.read_records(folder) if record.score.verdicts}
    if draw is None and (unlabelled := judged - labelled):
        raise DataError(
            f"{folder}: {len(unlabelled)} judged answers have no label, and no draw is recorded, so the labelled ones "
            "need not be a random part. Draw them first: `aloe-bench annotate RUN --sample N --seed S`."
        )
    drawn = set(draw.items) if draw else labelled
    joined = join(sorted(labelled), sorted(drawn))
    if outside := joined.left_only:
        told = first_ten(outside)
        log.warning("%d labelled answers were not drawn at random and are left out: %s", len(outside), told)
    if lacking := joined.right_only:
        told = first_ten(lacking)
        log.warning("%d of %d drawn answers have no label: taken as lost at random: %s", len(lacking), len(drawn), told)
    entries = [Unmatched(LABEL, name, "not of the draw: no part in the correction") for name in outside]
    entries += [Unmatched(LABEL, name, "drawn, and without a label: taken as lost at random") for name in lacking]
    keep_left_over(folder, (LABEL,), entries)
    labels = Labels({rater: {name: of[name] for name in sorted(of.keys() & drawn)} for rater, of in experts.items()})
    if not any(labels.experts.values()):
        raise DataError(f"{folder}: none of the {len(drawn)} drawn answers has a label.")
    write_json(folder / corrected.FILE, asdict(labels))
    return labels
