"""Our tasks as VLMEvalKit data sets and our models as its models. Imports it, so only in a process of its own.

Importing vlmeval switches off TLS verification, raises Pillow's image limit and reads a `.env` file into the
environment: `imported` undoes all three.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aloe_bench.answers.score import grade
from aloe_bench.bridges.lmeval.docs import judged
from aloe_bench.bridges.vlmeval.table import TsvTable, read_rows, read_tables, sample_of
from aloe_bench.core import Decoding, Message, Model, Prediction, Record, Request, Score
from aloe_bench.errors import DataError, DependencyError
from aloe_bench.images import file_image
from aloe_bench.joins import join

if TYPE_CHECKING:
    from aloe_bench.judges.jury.panel import Panel

MODEL_NAME = "aloe"  # what the runner is told that our or its model is called
FAIL_MARK = "Failed to obtain answer"
# Grades open answers: records without a score in, their scores by sample id out.
Judge = Callable[[Sequence[Record]], Mapping[str, Score]]


@contextmanager
def imported() -> Iterator[None]:
    """Undo what importing vlmeval within the block does to the rest of the process."""
    from PIL import Image, ImageFile

    context, pixels = ssl._create_default_https_context, Image.MAX_IMAGE_PIXELS
    truncated, environment = ImageFile.LOAD_TRUNCATED_IMAGES, dict(os.environ)
    try:
        yield
    finally:
        ssl._create_default_https_context = context
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = pixels, truncated
        for name in set(os.environ) - set(environment):
            del os.environ[name]
        os.environ.update(environment)


def register(folder: Path, models: Mapping[str, Callable[[], Any]] | None = None, judge: Judge | None = None) -> None:
    """Make the tables of `folder` known to VLMEvalKit as data sets, and `models` as its models.

    Its runner then takes their names: `--data CareQA_Vision_MCQ --model NAME`. Every model is asked our prompt,
    and our scorer grades, with `judge` for open answers (without one they stay unscored).
    Raises DependencyError if VLMEvalKit is not installed, DataError if a table was changed.
    """
    tables = read_tables(folder)
    with imported():
        try:
            import vlmeval.config
            import vlmeval.dataset
        except ImportError as error:
            raise DependencyError(
                f"VLMEvalKit cannot be imported ({error}). Run: pip install 'aloe-bench[vlmeval]', in an environment "
                "of its own if yours must stay as it is."
            ) from error
        for table in tables:
            made = _dataset_class(table, judge)
            vlmeval.dataset.DATASET_CLASSES.insert(0, made)
            setattr(vlmeval.dataset, made.__name__, made)
        vlmeval.config.supported_VLM.update(models or {})


def jury_of(panel: Panel, folder: Path) -> Judge:
    """Return the `judge` of `register` that has `panel` grade inside upstream; verdicts are kept in `folder`."""

    def judge(records: Sequence[Record]) -> dict[str, Score]:
        asked = [r for r in records if r.kind == "open" and r.prediction.text is not None]
        docs = [{"sample_id": r.sample_id, "question": r.question, "target": r.target} for r in asked]
        folder.mkdir(parents=True, exist_ok=True)
        scores = judged([r.prediction.text or "" for r in asked], docs, panel, folder)
        return dict(zip([r.sample_id for r in asked], scores, strict=True))

    return judge


def _dataset_class(table: TsvTable, judge: Judge | None) -> Any:
    from vlmeval.dataset.image_base import ImageBaseDataset

    rows = read_rows(table.path)
    by_index = {row["index"]: row for row in rows}

    class AloeTable(ImageBaseDataset):  # type: ignore[misc]
        """One exported table."""

        TYPE = "VQA" if any(row["kind"] == "open" for row in rows) else "MCQ"
        DATASET_URL: Mapping[str, str] = {table.name: ""}
        DATASET_MD5: Mapping[str, str] = {}
        force_use_dataset_prompt = True
        img_root: str

        def __init__(self, *words: Any, **named: Any) -> None:
            super().__init__(*words, **named)
            # Upstream names a decoded picture by its row alone, and keeps one that an earlier table left there.
            self.img_root = f"{self.img_root}-{table.facts['sha256'][:12]}"

        def load_data(self, dataset: str) -> Any:
            import pandas

            # Not through upstream's reader, for which an option "None" or "NA" is not an option.
            return pandas.DataFrame(rows)

        def build_prompt(self, line: Any) -> list[dict[str, str]]:
            line = self.data.iloc[line] if isinstance(line, int) else line
            pictures = [{"type": "image", "value": path} for path in self.dump_image(line)]
            return [*pictures, {"type": "text", "value": line["prompt"]}]

        def evaluate(self, eval_file: str, **judge_kwargs: Any) -> Any:
            import pandas

            predictions = read_predictions(Path(eval_file), by_index)
            records = [record_of_row(by_index[index], text) for index, text in predictions.items()]
            judged = judge(records) if judge else {}
            scores = {r.sample_id: judged.get(r.sample_id, r.score) for r in records}
            _write_scores(Path(eval_file), records, scores)
            values = [score.value for score in scores.values()]
            known = [value for value in values if value is not None]
            overall = sum(known) / len(known) if known and len(known) == len(values) else None
            return pandas.DataFrame([{"split": "none", "Overall": overall}])

    AloeTable.__name__ = table.name
    return AloeTable


def read_predictions(path: Path, by_index: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return index -> reply of a prediction file; raises DataError unless it answers just these rows, once each."""
    found: dict[str, str] = {}
    rows = read_rows(path)
    joined = join([f"{row.get('index')} ({row.get('id')})" for row in rows],
                  [f"{index} ({row['id']})" for index, row in by_index.items()])  # fmt: skip
    if told := joined.told("answered rows", "rows of the table"):
        raise DataError(f"{path}: {len(joined.pairs)} of {len(by_index)} rows answered: {'; '.join(told)}.")
    for row in rows:
        known = by_index.get(row.get("index", ""))
        if known is None or row.get("id") != known["id"] or row["index"] in found or "prediction" not in row:
            raise DataError(f"{path}: row {row.get('index')!r} ({row.get('id')!r}) answers no row of the table once.")
        found[row["index"]] = row["prediction"]
    return found


def record_of_row(row: Mapping[str, str], text: str) -> Record:
    """Return the record of one reply, graded as far as it can be without a jury."""
    sample = sample_of(dict(row))
    prediction = Prediction(sample.id, text, "stop")
    if FAIL_MARK in text:
        prediction = Prediction(sample.id, None, "error", text)
    return Record(
        int(row["index"]), sample.id, sample.kind, sample.target, sample.cluster, {}, None,
        prediction, grade(sample, prediction), sample.question,
    )  # fmt: skip


def _write_scores(eval_file: Path, records: Sequence[Record], scores: Mapping[str, Score]) -> None:
    with eval_file.with_name(f"{eval_file.stem}_aloe_scores.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "score", "parsed", "rule"])
        for record in records:
            score = scores[record.sample_id]
            writer.writerow([record.sample_id, "" if score.value is None else score.value, score.parsed, score.rule])


def model_class(make: Callable[[], Model], decoding: Decoding, receipts: Path) -> Any:
    """Return a VLMEvalKit model class around one of ours; each reply leaves a line in `receipts`.

    A request that our model cannot answer raises, so that upstream marks the data set as failed.
    """
    from vlmeval.vlm.base import BaseModel

    class AloeModel(BaseModel):  # type: ignore[misc]
        """One of our back ends, asked one prompt at a time, as upstream does."""

        INTERLEAVE = True

        def __init__(self, **kwargs: Any) -> None:
            super().__init__()
            self.model = make()

        def generate_inner(self, message: list[dict[str, str]], dataset: str | None = None) -> str:
            images = tuple(file_image(Path(part["value"])) for part in message if part["type"] == "image")
            text = "\n".join(part["value"] for part in message if part["type"] == "text")
            # A sampled reply is seeded by the request's id, and upstream does not tell which question this is.
            which = digest("+".join([text, *(image.sha256 for image in images)]))[:12]
            request = Request(f"prompt {which}", (Message("user", text),), images)
            (prediction,) = self.model.generate([request], decoding)
            if prediction.text is None:
                raise DataError(f"{self.model.name}: {prediction.error}")
            with receipts.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"prompt": digest(text), "reply": digest(prediction.text)}) + "\n")
            return prediction.text

    return AloeModel


def digest(text: str) -> str:
    """Return the SHA-256 of a text, as receipts hold it."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
