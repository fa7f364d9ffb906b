"""The AR stage around its training: data made once and held to what was asked, and both checkpoints asked the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aloe_bench.boards.compare import compare
from aloe_bench.core import AnswerForm, Decoding
from aloe_bench.errors import RunMismatchError, UsageError
from aloe_bench.evaluation.finish import finish
from aloe_bench.evaluation.loop import run_plan
from aloe_bench.evaluation.plan import Plan, Settings, load_plan
from aloe_bench.files import write_json
from aloe_bench.models.hf_folder import check_folder
from aloe_bench.models.make import ModelSpec, is_miniature, make_model, model_facts
from aloe_bench.training.adversarial import WITHOUT_CUE, ArDataConfig, held_out, write_adversarial_data
from aloe_bench.training.data.schema import MANIFEST, read_folder
from aloe_bench.training.overlap import evaluation_sha256, refuse_same_dataset
from aloe_bench.training.reading import TITLE as READING
from aloe_bench.training.reading import reading_plan

DATA, ASKED, RUNS = "data", "asked.json", "runs"
_BATCH = 32
Progress = Callable[[str], Callable[[int, int], None]]


@dataclass(frozen=True, slots=True)
class Probe:
    """Questions that the base and the trained checkpoint are both asked."""

    title: str
    plan: Plan


def recipe_name(model: Path) -> str:
    """Return the AR recipe for a base of this size."""
    config = check_folder(model)
    text: Any = config.get("text_config") or config
    if is_miniature(model):
        return "miniature"
    return "ar-72b" if int(text.get("hidden_size", 0)) >= 8192 else "ar-7b"


def ensure_data(wanted: ArDataConfig, state: Path, report: Callable[[int, int], None]) -> Path:
    """Return the folder of conversations below `state`, made now or by an earlier session of the same wish.

    Raises RunMismatchError, naming the difference, if it was made of something else.
    """
    now, path = _asked(wanted), state / ASKED
    if not (state / DATA / MANIFEST).is_file():
        write_json(path, now)
        write_adversarial_data(wanted, state / DATA, report)
        return state / DATA
    before = json.loads(path.read_text(encoding="utf-8"))
    if key := next((key for key in now if before.get(key) != now[key]), None):
        raise RunMismatchError(
            f"{state.parent}: the conversations were made with another {key}: was {before.get(key)!r}, is "
            f"{now[key]!r}. Give what they were made with, choose another --output, or --fresh to start over."
        )
    return state / DATA


def _asked(wanted: ArDataConfig) -> dict[str, Any]:
    from aloe_bench.heart.sources.source import load_source
    from aloe_bench.heart.wordings import load_templates

    return {
        "source": load_source(wanted.source).sha256,
        "evaluation": sorted(f"{folder.name} {evaluation_sha256(folder)[:16]}" for folder in wanted.evaluation),
        "attacks": wanted.attacks,
        "templates": load_templates(wanted.templates).sha256,
        "seed": wanted.seed,
        "target_size": wanted.target_size,
        "held_out": wanted.validation_share,
        "clean_only": wanted.clean_only,
        "reading": wanted.reading,
        "answer": wanted.answer,
    }


def check_measurable(wanted: ArDataConfig) -> None:
    """Raise, before anything is drawn, for what could not be measured at the end.

    That is an evaluation folder that no questions can be asked of, such as a source (DataError), or no picture to ask
    of at all (UsageError).
    """
    from aloe_bench.heart.build import cluster_of
    from aloe_bench.heart.sources.source import load_source
    from aloe_bench.heart.task import open_task

    for folder in wanted.evaluation:
        open_task(str(folder))
    source = load_source(wanted.source)
    refuse_same_dataset(source, wanted.evaluation)
    clusters = {cluster_of(source, image) for image in source.images}
    kin = {cluster: cluster for cluster in clusters}
    if not wanted.evaluation and not held_out(kin, wanted.validation_share, wanted.seed):
        raise UsageError(
            f"--measure: --held-out {wanted.validation_share:g} leaves none of {len(clusters)} pictures or patients; "
            "raise it, or give --evaluation FOLDER."
        )


def probes(wanted: ArDataConfig, data: Path) -> list[Probe]:
    """Return the evaluation tables (wordings AR never saw) and the held-out pictures (its own wordings).

    After each, where a cue is drawn, stand the questions what is written there.
    """
    from aloe_bench.heart.task import open_task

    settings = _settings(wanted.answer, Path())
    found = []
    tasks = [open_task(str(folder)) for folder in wanted.evaluation]
    names = [task.name for task in tasks]
    for number, (folder, task) in enumerate(zip(wanted.evaluation, tasks, strict=True), 1):
        which = task.name if names.count(task.name) == 1 else f"{task.name}, evaluation {number} ({folder.name})"
        plan = load_plan(task, folder, settings)
        found.append(Probe(f"{which}: wordings that AR never saw", plan))
        if read := reading_plan(plan, wanted.answer):
            found.append(Probe(f"{which}: {READING}", read))
    if (data / "validation").is_dir():
        # The control is asked the same questions, cues and all.
        held = {conversation.id.removesuffix(WITHOUT_CUE) for conversation in read_folder(data / "validation")}
        plan = load_plan(open_task(str(data / "heart")), data, settings)
        kept = tuple((i, sample) for i, sample in plan.samples if sample.id in held)
        title = f"{plan.task.name}: held-out pictures, wordings of the training"
        found.append(Probe(title, replace(plan, samples=kept, n_total=len(kept), partial=True)))
        if read := reading_plan(found[-1].plan, wanted.answer):
            found.append(Probe(f"{plan.task.name}, held-out pictures: {READING}", read))
    if not found:
        raise UsageError(
            "--measure: the held-out share leaves no picture; raise --held-out or give --evaluation FOLDER."
        )
    return found


def ask(
    folder: Path, name: str, asked: Sequence[Probe], state: Path, answer: AnswerForm, progress: Progress
) -> dict[str, Path]:
    """Return the checkpoint's run of every probe, by title; earlier runs are resumed, or taken as they are."""
    if not asked:
        return {}
    spec = ModelSpec(str(folder), "hf", batch_size=_BATCH, name=name)
    model = make_model(spec)
    facts = model_facts(spec, model.fingerprint, name)
    found = {}
    for number, probe in enumerate(asked):
        settings = _settings(answer, state / RUNS / str(number))
        run = run_plan(probe.plan, model, settings, facts, progress=progress(f"{name}: {probe.plan.task.name}"))
        finish(run)
        found[probe.title] = run
    return found


def compared(before: Mapping[str, Path], after: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """Return the paired comparison of each probe's two runs, by title."""
    return {title: compare(run, after[title]) for title, run in before.items()}


def _settings(answer: AnswerForm, output: Path) -> Settings:
    return Settings(
        output=output, decoding=Decoding(max_new_tokens=64), answer=answer, chunk=4 * _BATCH,
        allow_partial=True,
    )  # fmt: skip
