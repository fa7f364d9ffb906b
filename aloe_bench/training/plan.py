"""The arithmetic of a training run, done before anything is loaded: batches, steps, warm-up, memory."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from aloe_bench.errors import UsageError
from aloe_bench.training.recipes import Cluster, Recipe, architectures

# Bytes a parameter: BF16 weights and gradients, an FP32 copy, and AdamW's two moments (FP32, or 8-bit).
_STATE_BYTES = {("bf16", "adamw"): 16, ("bf16", "adamw-8bit"): 10, ("fp32", "adamw"): 16, ("fp32", "adamw-8bit"): 10}
# DeepSpeed's default of 1e9 gathered parameters, in BF16.
_GATHERED_BYTES = 2_000_000_000
# What a layer holds without its attention maps, in units of rows x length x width, in BF16.
# Source: Korthikanti et al. 2022, "Reducing activation recomputation in large transformer models", section 4.
_LAYER_BYTES = 34
# Four patches make an image token in Qwen2-VL.
_PATCHES_A_TOKEN = 4
_GB = 1e9


@dataclass(frozen=True, slots=True)
class Memory:
    """Gigabytes (1e9 bytes) a GPU, estimated; `vision` if every token of every row is of a picture.

    `recomputed` is the one layer that the backward pass works on.
    `logits_if_held` is not part of `total`: TRL takes the loss in tiles.
    """

    states: float
    gathered: float
    activations: float
    vision: float
    recomputed: float
    logits_if_held: float

    @property
    def total(self) -> float:
        """The sum of what is held at once, at full length."""
        return self.states + self.gathered + self.activations + self.vision + self.recomputed


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What a recipe comes to on `samples` rows. `left_over` rows fill no whole step and are not trained on."""

    recipe: Recipe
    samples: int
    steps: int
    left_over: int
    warmup_steps: int
    max_tokens_a_step: int
    memory: Memory | None

    def as_json(self) -> dict[str, Any]:
        """Return the plan for `--json` or a header."""
        memory = {**asdict(self.memory), "total": self.memory.total} if self.memory else None
        return {**asdict(self), "recipe": self.recipe.as_json(), "memory": memory}


def plan(recipe: Recipe, samples: int | None = None) -> TrainingPlan:
    """Return the plan of `recipe` on `samples` rows (None: the source's own number).

    Raises UsageError where numbers contradict each other, showing the arithmetic.
    """
    product = recipe.gpus * recipe.micro_batch * recipe.gradient_accumulation
    if product != recipe.global_batch:
        raise UsageError(
            f"recipe {recipe.name}: {recipe.gpus} GPUs x {recipe.micro_batch} rows x {recipe.gradient_accumulation} "
            f"accumulated = {product}, but global_batch is {recipe.global_batch}. {_mend(recipe)}"
        )
    n = samples if samples is not None else recipe.samples
    if n is None:
        raise UsageError(
            f"recipe {recipe.name} names no number of samples; give --set samples=N "
            "(train-sft --data FOLDER counts them)."
        )
    a_pass = n // recipe.global_batch
    if not a_pass:
        raise UsageError(
            f"{n} rows fill no step of {recipe.global_batch} (recipe {recipe.name}). "
            "Give more data, or a smaller batch with --set global_batch=... and --set micro_batch=..."
        )
    steps = a_pass * recipe.epochs
    # A source's steps are of its own number of samples.
    held_to = recipe.steps if samples is None or recipe.samples in (None, samples) else None
    if held_to is not None and held_to != steps:
        raise UsageError(
            f"recipe {recipe.name}: floor({n} / {recipe.global_batch}) x {recipe.epochs} epochs = {steps} steps, "
            f"but it says {recipe.steps}. Correct samples, global_batch or epochs; steps follow from them."
        )
    return TrainingPlan(
        recipe,
        n,
        steps,
        n - a_pass * recipe.global_batch,
        math.ceil(recipe.warmup_share * steps),
        recipe.global_batch * recipe.max_length,
        _memory(recipe),
    )


def check_fits(planned: TrainingPlan, cluster: Cluster) -> None:
    """Raise UsageError unless the plan fills whole nodes of `cluster` and fits the memory of its GPUs."""
    recipe, a_node = planned.recipe, cluster.gpus_a_node
    if recipe.gpus % a_node:
        raise UsageError(
            f"recipe {recipe.name}: {recipe.gpus} GPUs on nodes of {a_node} ({cluster.title}) leave "
            f"{recipe.gpus % a_node} over. Take a multiple of {a_node}, and change the batch with it."
        )
    if planned.memory and planned.memory.total > cluster.gpu_memory_gb:
        raise UsageError(
            f"recipe {recipe.name}: about {planned.memory.total:.1f} GB a GPU at full length, "
            f"{cluster.gpu_memory_gb} there ({cluster.title}). Take more GPUs, a smaller micro_batch with more "
            "gradient_accumulation, or a lower max_length."
        )


def describe(planned: TrainingPlan) -> list[tuple[str, str]]:
    """Return the plan as (what, figure) pairs in the order in which it is read."""
    recipe = planned.recipe
    lines = [
        ("recipe", f"{recipe.name}: {recipe.title}"),
        ("source", recipe.source),
        ("ours, not the source's", ", ".join(recipe.ours) or "nothing"),
        ("base", recipe.base),
        ("world size", f"{recipe.gpus} GPUs"),
        ("global batch", f"{recipe.gpus} x {recipe.micro_batch} x {recipe.gradient_accumulation} = "
                         f"{recipe.global_batch} (GPUs x micro-batch x accumulation)"),
        ("steps", f"floor({planned.samples:,} / {recipe.global_batch}) x {recipe.epochs} = {planned.steps:,}; "
                  f"{planned.left_over} rows left over"),
        ("warm-up", f"{recipe.warmup_share:.0%} = {planned.warmup_steps} steps, then {recipe.schedule}"),
        ("learning rate", f"{recipe.learning_rate:g}, {recipe.optimizer}, {recipe.precision}"),
        ("tokens", f"at most {planned.max_tokens_a_step:,} a step ({recipe.max_length} a row)"
                   + (f"; {recipe.loss_tokens:,} carry loss" if recipe.loss_tokens else "")),
        ("pixel limit", "the base's own" if recipe.max_pixels is None else f"{recipe.max_pixels:,} a picture "
                        f"({recipe.max_pixels // 784:,} tokens)"),
    ]  # fmt: skip
    if memory := planned.memory:
        lines.append(("memory a GPU", _memory_line(memory)))
    if recipe.gpu_hours:
        hours = recipe.gpu_hours / recipe.gpus
        lines.append(("time", f"{recipe.gpu_hours} GPU-hours published = {hours:.1f} h, "
                              f"{3600 * hours / planned.steps:.1f} s a step"))  # fmt: skip
    return lines


def _memory_line(memory: Memory) -> str:
    return (
        f"about {memory.total:.1f} GB at full length: {memory.states:.1f} weights and optimizer, "
        f"{memory.gathered:.1f} gathered, {memory.activations:.1f} activations, up to {memory.vision:.1f} vision "
        f"tower, {memory.recomputed:.1f} recomputed. Logits would take {memory.logits_if_held:.1f} more; "
        "they are never held whole."
    )


def _mend(recipe: Recipe) -> str:
    rows = recipe.gpus * recipe.micro_batch
    if recipe.global_batch % rows == 0:
        return f"With gradient_accumulation={recipe.global_batch // rows} it fits."
    return "Change one of the four so that they agree."


def _memory(recipe: Recipe) -> Memory | None:
    """Return the estimate, or None for a recipe whose architecture is not in the table."""
    if recipe.architecture is None:
        return None
    known = architectures()
    if recipe.architecture not in known:
        raise UsageError(f"recipe {recipe.name}: architecture {recipe.architecture!r}; known: {', '.join(known)}.")
    shape = known[recipe.architecture]
    tokens = recipe.micro_batch * recipe.max_length
    width = 2 if recipe.precision == "bf16" else 4
    shards = recipe.gpus if recipe.zero_stage == 3 else 1
    # With checkpointing each layer keeps its input alone.
    kept = width if recipe.gradient_checkpointing else _LAYER_BYTES * width // 2
    widest = max(shape.hidden_size, _PATCHES_A_TOKEN * shape.vision_hidden_size)
    return Memory(
        states=shape.parameters * _STATE_BYTES[recipe.precision, recipe.optimizer] / shards / _GB,
        gathered=_GATHERED_BYTES / _GB if recipe.zero_stage == 3 else 0.0,
        activations=tokens * shape.hidden_size * shape.layers * kept / _GB,
        vision=tokens * _PATCHES_A_TOKEN * shape.vision_hidden_size * shape.vision_layers * kept / _GB,
        recomputed=tokens * widest * _LAYER_BYTES * width / 2 / _GB if recipe.gradient_checkpointing else 0.0,
        logits_if_held=tokens * shape.vocabulary * 4 / _GB,
    )
