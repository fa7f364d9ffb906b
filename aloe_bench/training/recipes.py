"""Recipes: every setting of a training run as data, with what its source gives and what is ours."""

from __future__ import annotations

import math
import tomllib
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from aloe_bench.errors import DataError, UsageError, did_you_mean

Precision = Literal["bf16", "fp32"]
Schedule = Literal["cosine", "linear", "constant"]
Optimizer = Literal["adamw", "adamw-8bit"]
_BUNDLED = Path(__file__).with_name("recipes.toml")


@dataclass(frozen=True, slots=True)
class Architecture:
    """What the memory arithmetic needs to know of a model."""

    parameters: int
    hidden_size: int
    layers: int
    vision_hidden_size: int
    vision_layers: int
    vocabulary: int


@dataclass(frozen=True, slots=True)
class Cluster:
    """The nodes of a computing centre."""

    title: str
    gpu: str
    gpus_a_node: int
    gpu_memory_gb: int
    cpus_a_node: int
    partition: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """One training run's settings. `ours` names those its source does not give ("all" for every one).

    A pixel limit of None is the base checkpoint's own. `samples`, `steps`, `loss_tokens` and
    `gpu_hours` are what the source says of its own run; a plan is checked against them.
    `frozen` are parts of parameter names; a parameter whose name holds one is not trained.
    """

    name: str
    title: str
    source: str
    base: str
    learning_rate: float
    global_batch: int
    gpus: int
    micro_batch: int
    gradient_accumulation: int
    ours: tuple[str, ...] = ()
    architecture: str | None = None
    precision: Precision = "bf16"
    max_length: int = 4096
    epochs: int = 1
    schedule: Schedule = "cosine"
    warmup_share: float = 0.03
    optimizer: Optimizer = "adamw"
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    gradient_checkpointing: bool = True
    zero_stage: int = 3
    min_pixels: int | None = None
    max_pixels: int | None = None
    frozen: tuple[str, ...] = ()
    seed: int = 0
    samples: int | None = None
    steps: int | None = None
    loss_tokens: int | None = None
    gpu_hours: int | None = None

    def __post_init__(self) -> None:
        for field, low in (("gpus", 1), ("micro_batch", 1), ("gradient_accumulation", 1), ("global_batch", 1),
                           ("epochs", 1), ("max_length", 8), ("seed", 0), ("weight_decay", 0), ("max_grad_norm", 0),
                           ("min_pixels", 1), ("max_pixels", self.min_pixels or 1)):  # fmt: skip
            value = getattr(self, field)
            if value is not None and not low <= value < math.inf:
                raise UsageError(f"recipe {self.name}: {field} is {value}; expected at least {low}.")
        if self.seed >= 2**32:
            raise UsageError(f"recipe {self.name}: seed is {self.seed}; expected one below {2**32}.")
        if not 0 < self.learning_rate < 1 or not 0 <= self.warmup_share < 1:
            raise UsageError(
                f"recipe {self.name}: learning_rate {self.learning_rate} and warmup_share {self.warmup_share}; "
                "expected a rate between 0 and 1 and a share from 0 to below 1."
            )
        if self.zero_stage not in (0, 3):
            raise UsageError(f"recipe {self.name}: zero_stage {self.zero_stage}; expected 3, or 0 for one process.")

    def as_json(self) -> dict[str, Any]:
        """Return every setting, for a header or a card."""
        return asdict(self)


def recipe_names() -> list[str]:
    """Return the names of the bundled recipes."""
    return list(_read(_BUNDLED)["recipes"])


def architectures() -> dict[str, Architecture]:
    """Return the models whose memory can be planned."""
    return {name: Architecture(**table) for name, table in _read(_BUNDLED)["architectures"].items()}


def clusters() -> dict[str, Cluster]:
    """Return the clusters that job files can be written for."""
    return {name: Cluster(**table) for name, table in _read(_BUNDLED)["clusters"].items()}


def load_recipe(name: str) -> Recipe:
    """Return the bundled recipe `name`, or the one recipe of the TOML file at that path.

    Raises UsageError with the closest name, or naming the file's wrong key.
    """
    if name.endswith(".toml"):
        return _from_file(Path(name))
    tables = _read(_BUNDLED)["recipes"]
    wanted = name.lower().replace("_", "-")
    if wanted not in tables:
        raise UsageError(f"Unknown recipe {name!r}.{did_you_mean(wanted, tables)} Known: {', '.join(tables)}.")
    return _recipe(wanted, tables[wanted], f"recipe {wanted}")


def changed(recipe: Recipe, settings: tuple[str, ...]) -> Recipe:
    """Return `recipe` with `key=value` settings in place of its own.

    What is changed counts as ours. Raises UsageError for a key or value that does not fit.
    """
    values: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        key = key.strip().replace("-", "_")
        if not equals:
            raise UsageError(f"--set {setting}: expected key=value, such as --set learning_rate=1e-5.")
        values[key] = _from_text(key, text.strip())
    if not values:
        return recipe
    ours = tuple(dict.fromkeys((*recipe.ours, *values)))
    # A plan with other numbers is no longer held to what the source says of its own run.
    claims = dict.fromkeys(("samples", "steps", "loss_tokens", "gpu_hours"))
    return replace(recipe, **{**claims, **values}, ours=ours)


def _from_file(path: Path) -> Recipe:
    table = _read(path)
    if "recipes" in table:
        raise UsageError(f"{path}: expected the keys of one recipe at the top, not a [recipes] table.")
    return _recipe(path.stem, {"title": path.stem, "source": str(path.name), "ours": ["all"]} | table, str(path))


def _recipe(name: str, table: dict[str, Any], where: str) -> Recipe:
    known = {field.name for field in fields(Recipe)} - {"name"}
    for key, value in table.items():
        if key not in known:
            raise UsageError(f"{where}: no setting {key!r}.{did_you_mean(key, known)}")
        _check_kind(key, value, where)
    needed = ("base", "learning_rate", "global_batch", "gpus", "micro_batch", "gradient_accumulation")
    if missing := [key for key in needed if key not in table]:
        raise UsageError(f"{where}: {', '.join(missing)} not given. Compare `aloe-bench ls recipes`.")
    for key in ("ours", "frozen"):
        table = table | {key: tuple(table.get(key, ()))}
    return Recipe(name=name, **table)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable as TOML ({error}).") from error


def _kinds(key: str) -> tuple[Any, ...]:
    """Return the types or the literals that setting `key` takes."""
    hint = get_type_hints(Recipe)[key]
    return get_args(hint) or (hint,)


def _check_kind(key: str, value: object, where: str) -> None:
    kinds = _kinds(key)
    if key in ("ours", "frozen"):
        fits = isinstance(value, list) and all(isinstance(part, str) for part in value)
    elif isinstance(kinds[0], str):
        fits = value in kinds
    elif bool in kinds or isinstance(value, bool):
        fits = isinstance(value, bool) and bool in kinds
    else:
        fits = isinstance(value, tuple(kinds)) or (isinstance(value, int) and float in kinds)
    if not fits:
        names = ", ".join(kind if isinstance(kind, str) else getattr(kind, "__name__", str(kind)) for kind in kinds)
        raise UsageError(f"{where}: {key} is {value!r}; expected {names}.")


def _from_text(key: str, text: str) -> object:
    known = {field.name for field in fields(Recipe)} - {"name", "ours", "title", "source"}
    if key not in known:
        raise UsageError(f"--set {key}: no such setting.{did_you_mean(key, known)} Known: {', '.join(sorted(known))}.")
    if key == "frozen":
        return tuple(part for part in text.split(",") if part)
    kinds = _kinds(key)
    value: object = text
    if bool in kinds and text.lower() in ("true", "false"):
        value = text.lower() == "true"
    elif int in kinds or float in kinds:
        try:
            value = float(text) if float in kinds else int(text.replace("_", ""))
        except ValueError:
            value = text
    _check_kind(key, value, "--set")
    return value
