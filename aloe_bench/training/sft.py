"""Supervised fine-tuning, both stages: a base folder and conversations in, a checkpoint folder out.

    OUTPUT/                  the trained checkpoint: weights, processor, chat template, README.md (the model card)
    OUTPUT/tensorboard/      loss, learning rate, gradient norm, a step
    OUTPUT/.training/        run.json (what was asked), rows/, checkpoints/, summary.json once finished

The same command resumes from the newest checkpoint, to the same weights, bit for bit on one machine.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aloe_bench.errors import DataError, DependencyError, RunMismatchError, UsageError
from aloe_bench.files import write_json
from aloe_bench.models.checkpoint_files import fingerprint_folder
from aloe_bench.models.hf_folder import check_folder
from aloe_bench.seeds import rng_for
from aloe_bench.training.collate import Collator, Encoder, load_processor
from aloe_bench.training.data.filters import Limits
from aloe_bench.training.data.prepare import ROWS, Prepared, prepare
from aloe_bench.training.data.schema import read_manifest
from aloe_bench.training.plan import TrainingPlan, plan
from aloe_bench.training.recipes import Recipe

log = logging.getLogger(__name__)

STATE_FOLDER = ".training"
# (steps done, steps in all, a note such as "loss 1.20, 5,300 tokens/s")
Report = Callable[[int, int, str], None]
# What must be equal for two sessions to be one training run; keys of run.json.
IDENTITY = ("stage", "base", "data_sha256", "recipe", "processor", "versions")
_NEVER = 10**9
_PACKAGES = ("aloe-bench", "torch", "transformers", "trl", "accelerate", "deepspeed", "bitsandbytes")


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """What to train, on what, and where to.

    `save_every` (steps), `stop_after` (minutes) and `workers` do not change the result.
    """

    model: Path
    data: Path
    output: Path
    recipe: Recipe
    stage: str = "sft"
    fresh: bool = False
    save_every: int = 500
    stop_after: float | None = None
    workers: int = 0


@dataclass(frozen=True, slots=True)
class _Ready:
    """All that training needs once the data is counted; `arguments` is TRL's configuration."""

    job: TrainingJob
    encoder: Encoder
    plan: TrainingPlan
    prepared: Prepared
    header: dict[str, Any]
    arguments: Any

    @property
    def state(self) -> Path:
        return self.job.output / STATE_FOLDER

    def trained(self, losses: Sequence[float], resumed_from: int) -> Trained:
        return Trained(self.job.output, self.plan, self.prepared, self.header, tuple(losses), resumed_from)


@dataclass(frozen=True, slots=True)
class Trained:
    """What came of a job; `losses` are one per step. `resumed_from` is the step it resumed from, or 0."""

    output: Path
    plan: TrainingPlan
    prepared: Prepared
    header: dict[str, Any]
    losses: tuple[float, ...]
    resumed_from: int


class Stopped(Exception):  # noqa: N818
    """Training was asked to stop and has saved its state; `step` is where it will resume."""

    def __init__(self, step: int, steps: int, folder: Path) -> None:
        super().__init__(step, steps, folder)  # all of them: it may come from another process
        self.step = step

    def __str__(self) -> str:
        return "stopped at step {} of {}; saved in {}".format(*self.args)


def train(job: TrainingJob, report: Report = lambda done, total, note: None) -> Trained:
    """Train `job` to its end and return what came of it, resuming from the newest checkpoint if there is one.

    Raises Stopped after SIGINT, SIGTERM or `stop_after`, with the state saved; AloeError for what the user can fix.
    """
    encoder = check_before(job, world=None)
    arguments = _arguments(job)
    _check_world(job.recipe, arguments.world_size)
    with arguments.main_process_first(desc="check the conversations"):
        prepared = prepare_rows(job, encoder)
    ready = _Ready(job, encoder, plan(job.recipe, prepared.n), prepared, _header(job, prepared, encoder), arguments)
    _start_or_resume(ready.state, ready.header, write=arguments.should_save)
    return _finished(ready) or _train(ready, report)


def check_before(job: TrainingJob, world: int | None = 1) -> Encoder:
    """Return how the base writes conversations, once all that can be checked without data is; the output is ours.

    `world` is the number of processes, None where it is checked later.
    """
    need_packages(job.recipe)
    encoder = check_base(job)
    if world is not None:
        _check_world(job.recipe, world)
    claim_output(job)
    return encoder


def need_packages(recipe: Recipe) -> None:
    """Raise DependencyError unless what `recipe` trains with is installed; keep the libraries quiet."""
    from importlib.util import find_spec

    wanted = {"trl": "train", "datasets": "train", "tensorboard": "train"}
    if recipe.optimizer == "adamw-8bit":
        wanted["bitsandbytes"] = "cluster"
    for package, extra in wanted.items():
        if find_spec(package) is None:
            raise DependencyError(f"training needs {package}: pip install 'aloe-bench[{extra}]'")
    from datasets import disable_progress_bars
    from transformers.utils import logging as transformers_logging

    # Says at every import that a kernel for 4-bit inference on CPUs is missing.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    disable_progress_bars()
    transformers_logging.disable_progress_bar()


def check_base(job: TrainingJob) -> Encoder:
    """Return how the base model writes conversations. Raises ModelError for a folder that cannot be trained."""
    check_folder(job.model)
    if job.model.resolve() == job.output.resolve():
        raise UsageError(f"{job.output}: the output is the base model's own folder. Choose another --output.")
    return Encoder(load_processor(job.model, job.recipe.min_pixels, job.recipe.max_pixels))


def prepare_rows(job: TrainingJob, encoder: Encoder) -> Prepared:
    """Return what the conversations of `job` come to once those that do not fit are left out."""
    limits = Limits(max_length=job.recipe.max_length, spare=encoder.dummy_tokens)
    return prepare(job.data, job.output / STATE_FOLDER / "rows", encoder, limits, encoder.settings())


def claim_output(job: TrainingJob) -> None:
    """Make the output folder ours, or raise UsageError if it is somebody else's. Clears it if `fresh`."""
    output = job.output
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output}: a file, not a folder. Choose another --output.")
    ours = (output / STATE_FOLDER).is_dir()
    if output.is_dir() and not ours and any(output.iterdir()):
        raise UsageError(f"{output}: the folder is not empty and no training of ours. Choose another --output.")
    if job.fresh and ours:
        shutil.rmtree(output)
    try:
        (output / STATE_FOLDER).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{output}: cannot create ({error.strerror}). Choose another --output.") from error


def _check_world(recipe: Recipe, world: int) -> None:
    if world != recipe.gpus:
        raise UsageError(
            f"recipe {recipe.name} is for {recipe.gpus} processes, this is {world}. Start it with the files of "
            "--write-cluster, or adapt it: --set gpus=1 --set micro_batch=... --set gradient_accumulation=..."
        )


def _header(job: TrainingJob, prepared: Prepared, encoder: Encoder) -> dict[str, Any]:
    return {
        "schema": 1,
        "stage": job.stage,
        "base": {"folder": job.model.name, "sha256": fingerprint_folder(job.model)},
        "data": {"folder": job.data.name, **_manifest_facts(job.data)},
        "data_sha256": prepared.sha256,
        "recipe": job.recipe.as_json(),
        "processor": encoder.settings(),
        "versions": _versions(),
    }


def _manifest_facts(data: Path) -> dict[str, Any]:
    """Return what the data folder's manifest says of itself in single facts, such as its dataset and licence."""
    facts = read_manifest(data).items()
    return {key: value for key, value in facts if isinstance(value, str | int | float) and not key.endswith("sha256")}


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _start_or_resume(state: Path, header: dict[str, Any], write: bool) -> None:
    """Write the header, or compare it with the one that is there; raises RunMismatchError naming a difference."""
    path = state / "run.json"
    if not path.exists():
        if write:
            write_json(path, header)
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    now = json.loads(json.dumps(header))
    for key in IDENTITY:
        if before.get(key) != now[key]:
            raise RunMismatchError(
                f"{state.parent}: was begun with another {key}: {_difference(before.get(key), now[key])}. "
                "Give what it was begun with, choose another --output, or --fresh to start over."
            )


def _difference(before: Any, now: Any) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        name = next(key for key in {**before, **now} if before.get(key) != now.get(key))
        return f"{name} was {before.get(name)!r}, is {now.get(name)!r}"
    return f"was {before!r}, is {now!r}"


def _finished(ready: _Ready) -> Trained | None:
    path = ready.state / "summary.json"
    if not path.exists():
        return None
    losses = json.loads(path.read_text(encoding="utf-8"))["losses"]
    return ready.trained(losses, ready.plan.steps)


def _arguments(job: TrainingJob) -> Any:
    """Return TRL's configuration, all but the steps, which depend on the rows."""
    import torch
    from trl import SFTConfig

    recipe = job.recipe
    on_gpu = torch.cuda.is_available()
    return SFTConfig(
        output_dir=str(job.output / STATE_FOLDER / "checkpoints"),
        per_device_train_batch_size=recipe.micro_batch,
        gradient_accumulation_steps=recipe.gradient_accumulation,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="constant_with_warmup" if recipe.schedule == "constant" else recipe.schedule,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        optim="adamw_bnb_8bit" if recipe.optimizer == "adamw-8bit" else "adamw_torch",
        bf16=recipe.precision == "bf16",
        gradient_checkpointing=recipe.gradient_checkpointing,
        seed=recipe.seed,
        data_seed=recipe.seed,
        use_cpu=not on_gpu,
        # Nothing is cut: rows that are too long were left out, and the collator refuses them.
        max_length=None,
        # Our collator reads columns that the model does not know.
        remove_unused_columns=False,
        dataloader_drop_last=True,
        dataloader_num_workers=job.workers,
        dataloader_pin_memory=on_gpu,
        logging_steps=1,
        # A loss that is not a number must be seen, not replaced by the mean of the earlier ones.
        logging_nan_inf_filter=False,
        # `watch` saves in between; this saves at the end.
        save_strategy="steps",
        save_steps=_NEVER,
        report_to="none",
        disable_tqdm=True,
        # Every rank's vision tower takes part in every step: see the collator's dummy picture.
        ddp_find_unused_parameters=False,
    )


def _train(ready: _Ready, report: Report) -> Trained:
    from aloe_bench.training import finish, trainer, watch

    job, arguments = ready.job, ready.arguments
    arguments.max_steps, arguments.warmup_steps = ready.plan.steps, ready.plan.warmup_steps
    folder = Path(arguments.output_dir)
    if arguments.should_save:
        trainer.clear_leftovers(folder)
    made = trainer.checkpoints(folder)
    coach = trainer.StrictTrainer(
        model=_network(job, arguments),
        args=arguments,
        data_collator=Collator(ready.encoder, job.data, job.recipe.max_length),
        train_dataset=_rows(ready),
        processing_class=ready.encoder.processor,
    )
    stop = watch.StopRequest(None if job.stop_after is None else 60 * job.stop_after)
    watch.attach(coach, stop, job.save_every, report, job.output / "tensorboard")
    with stop.listening():
        coach.train(resume_from_checkpoint=str(made[-1]) if made else None)
    step = coach.state.global_step
    if step < ready.plan.steps:
        raise Stopped(step, ready.plan.steps, folder)
    losses = [entry["loss"] for entry in coach.state.log_history if "loss" in entry]
    trained = ready.trained(losses, _step(made[-1]) if made else 0)
    finish.write_final(coach, job.model, trained, ready.state)
    return trained


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))


def _network(job: TrainingJob, arguments: Any) -> Any:
    """Return the base model, its frozen parts frozen. Raises ModelError unless every weight was found."""
    import torch
    from transformers import AutoModelForImageTextToText

    from aloe_bench.training.trainer import read_strictly

    # DeepSpeed keeps its own FP32 copy; without it the weights themselves must be FP32 to learn small steps.
    half = job.recipe.precision == "bf16" and arguments.deepspeed_plugin is not None
    network = read_strictly(AutoModelForImageTextToText, job.model, torch.bfloat16 if half else torch.float32)
    names = [name for name, _ in network.named_parameters()]
    for part in job.recipe.frozen:
        if not any(part in name for name in names):
            raise UsageError(f"recipe {job.recipe.name}: frozen part {part!r} is in no parameter's name.")
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(not any(part in name for part in job.recipe.frozen))
    return network


def _rows(ready: _Ready) -> Any:
    """Return the rows in an order that depends on their ids and the seed, without those that fill no step."""
    from datasets import Dataset

    rows = Dataset.from_file(str(ready.state / "rows" / ROWS))
    ids, seed = rows["id"], ready.job.recipe.seed
    order = sorted(range(len(rows)), key=lambda i: rng_for(seed, "training order", ids[i]).random())
    return rows.select(order[: ready.plan.samples - ready.plan.left_over])
