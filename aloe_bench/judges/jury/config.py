"""`judges.toml`: who sits on the jury, read strictly. The models themselves are built by the command line."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, get_type_hints

from aloe_bench.core import Decoding
from aloe_bench.errors import DataError, did_you_mean

DEFAULT_MAX_NEW_TOKENS = 256


@dataclass(frozen=True, slots=True)
class JudgeConfig:
    """One `[[judge]]` table. `api_key_env` names a variable; the key itself stands in no file.

    `options` are passed to the back end: concurrency, timeout, batch_size, or a mock's behaviour. `constrained`
    asks the back end to hold replies to the verdict's JSON schema; some servers refuse that.
    """

    name: str
    backend: str
    model: str
    revision: str = ""
    base_url: str = ""
    api_key_env: str = ""
    decoding: Decoding = field(default_factory=lambda: Decoding(max_new_tokens=DEFAULT_MAX_NEW_TOKENS))
    constrained: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)

    def fingerprint(self, model_fingerprint: str, dtype: str = "") -> str:
        """Return the SHA-256 of who judges and how.

        A served model with a revision is known by that, and may move to another address; without one it is known
        by its address. Any other back end is known by its own fingerprint and `dtype`, wherever its files lie.
        """
        if self.backend != "openai":
            who = [model_fingerprint, dtype]
        elif self.revision:
            who = [self.model, self.revision]
        else:
            who = [self.model, self.revision, model_fingerprint]
        parts = [self.backend, who, self.decoding.temperature, self.decoding.max_new_tokens]
        parts += [] if self.constrained else ["unconstrained"]
        parts += [f"seed {self.decoding.seed}"] if self.decoding.seed else []
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def default_text() -> str:
    """Return the shipped `judges.toml`: the paper's three."""
    return resources.files("aloe_bench.judges.jury").joinpath("default_judges.toml").read_text(encoding="utf-8")


def read_judges(path: Path | None) -> list[JudgeConfig]:
    """Return the judges of a file, or of the shipped one; raises DataError naming table and key."""
    where = str(path or "default_judges.toml")
    try:
        text = path.read_text(encoding="utf-8") if path else default_text()
        document = tomllib.loads(text)
    except OSError as error:
        raise DataError(
            f"{where}: cannot read ({error.strerror}). `aloe-bench judge --show-default` prints one."
        ) from error
    except ValueError as error:
        raise DataError(f"{where}: not TOML ({error}).") from error
    _known(document, {"judge"}, where)
    tables = document.get("judge")
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise DataError(f"{where}: no [[judge]] table; expected one for each judge.")
    return [_judge(table, f"{where}: judge {number}") for number, table in enumerate(tables, 1)]


def _judge(table: Mapping[str, Any], where: str) -> JudgeConfig:
    kinds = get_type_hints(JudgeConfig)
    _known(table, set(kinds), where)
    values: dict[str, Any] = {}
    for key in ("name", "backend", "model"):
        if not str(table.get(key, "")).strip():
            raise DataError(f"{where}: no {key}.")
    for key, value in table.items():
        if kinds[key] is str and not isinstance(value, str):
            raise DataError(f"{where}: {key} {value!r} is not a text.")
        if kinds[key] is bool and not isinstance(value, bool):
            raise DataError(f"{where}: {key} {value!r} is neither true nor false.")
        values[key] = value
    if "decoding" in table:
        values["decoding"] = _decoding(table["decoding"], f"{where}: decoding")
    if table.get("revision") and table["backend"] != "openai":
        raise DataError(
            f"{where}: revision says what a server serves; back end {table['backend']} is known by its weights. "
            "Leave it out, and give the folder of that commit (hf download MODEL --revision COMMIT) as model."
        )
    if not isinstance(table.get("options", {}), dict):
        raise DataError(f"{where}: options must be a table, [judge.options].")
    if "api_key" in table.get("options", {}):
        raise DataError(f"{where}: an API key does not belong in a file; name its variable in api_key_env.")
    return JudgeConfig(**values)


def _decoding(table: object, where: str) -> Decoding:
    if not isinstance(table, dict):
        raise DataError(f"{where} must be a table, [judge.decoding].")
    _known(table, set(get_type_hints(Decoding)), where)
    temperature, tokens = table.get("temperature", 0.0), table.get("max_new_tokens", DEFAULT_MAX_NEW_TOKENS)
    if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 0 <= temperature < 100:
        raise DataError(f"{where}: temperature {temperature!r} is not a number from 0.")
    if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 1:
        raise DataError(f"{where}: max_new_tokens {tokens!r} is not a whole number from 1.")
    seed = table.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise DataError(f"{where}: seed {seed!r} is not a whole number.")
    return Decoding(float(temperature), tokens, seed)


def _known(table: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise DataError(
                f"{where}: unknown key {key!r}.{did_you_mean(key, known)} Known: {', '.join(sorted(known))}."
            )
