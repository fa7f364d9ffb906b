"""What is known of the models that the paper evaluates: leaderboard group, licence, and how they answer."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Literal

Role = Literal["model", "judge"]


@dataclass(frozen=True, slots=True)
class KnownModel:
    """One model; the fields are explained at the head of known_models.toml."""

    role: Role
    name: str
    hub_id: str
    size_group: str
    domain: str
    licence: str
    code: str
    markers: tuple[str, ...]
    note: str
    decoding: Mapping[str, Any] = field(default_factory=dict)


@cache
def known_models() -> tuple[KnownModel, ...]:
    """Return the models of the paper's Table 3 in its order, then its judges."""
    text = resources.files("aloe_bench.models").joinpath("known_models.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    return tuple(_model("model", entry) for entry in tables["model"]) + tuple(
        _model("judge", entry) for entry in tables["judge"]
    )


def _model(role: Role, entry: Mapping[str, Any]) -> KnownModel:
    return KnownModel(role=role, **{**entry, "markers": tuple(entry["markers"])})


def known_model(place: str) -> KnownModel | None:
    """Return the model that a hub id, a checkpoint folder or a served name stands for; None if it is not one of them.

    The last part of the path has to be its name, or a part of it the hub cache's models--ORG--NAME; case is free.
    """
    parts = [part.lower() for part in place.replace("\\", "/").split("/") if part]
    for model in known_models():
        org, _, base = model.hub_id.lower().rpartition("/")
        if parts and (parts[-1] in (model.name.lower(), base or None) or f"models--{org}--{base}" in parts):
            return model
    return None
