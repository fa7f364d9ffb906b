"""How the provider of a model says that its replies are sampled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from aloe_bench.core import Decoding
from aloe_bench.errors import ModelError, UsageError
from aloe_bench.models.checkpoint_files import checkpoint_files
from aloe_bench.models.hf_folder import local_folder
from aloe_bench.models.known import known_model, known_models
from aloe_bench.models.make import LOCAL, ModelSpec

FILE = "generation_config.json"
# What is taken, with the value that changes nothing; the first four hold only where the provider samples.
SAMPLING: Mapping[str, float] = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0}
PENALTIES: Mapping[str, float] = {"repetition_penalty": 1.0, "presence_penalty": 0.0}
# What would change replies and is not taken, with the values that change nothing.
UNTAKEN: Mapping[str, tuple[object, ...]] = {
    "num_beams": (1,),
    "num_beam_groups": (1,),
    "penalty_alpha": (0,),
    "typical_p": (1,),
    "epsilon_cutoff": (0,),
    "eta_cutoff": (0,),
    "top_h": (),
    "no_repeat_ngram_size": (0,),
    "encoder_repetition_penalty": (1,),
    "encoder_no_repeat_ngram_size": (0,),
    "diversity_penalty": (0,),
    "exponential_decay_length_penalty": (),
    "guidance_scale": (1,),
    "min_length": (0,),
    "min_new_tokens": (0,),
    "bad_words_ids": (),
    "force_words_ids": (),
    "sequence_bias": (),
    "suppress_tokens": (),
    "begin_suppress_tokens": (),
    "watermarking_config": (),
    "stop_strings": (),
    "dola_layers": (),
    "forced_bos_token_id": (),
    "forced_eos_token_id": (),
    "frequency_penalty": (0,),
}


def provider_decoding(spec: ModelSpec, decoding: Decoding) -> Decoding:
    """Return `decoding` with the sampling that the provider of the model names, and where it does.

    For a folder that is its generation_config.json (what this leaves open changes nothing, and its limits of length
    are not taken), for a served model known_models.toml. Raises UsageError if a temperature is wanted too, ModelError
    if the provider names no sampling, or one that cannot be carried out here.
    """
    if decoding.temperature:
        raise UsageError("--decoding provider brings its own temperature; leave --temperature out.")
    if spec.kind in LOCAL:
        folder = checkpoint_files(local_folder(spec.model, spec.revision)).folder
        written, where, source = _read(folder / FILE), f"{folder / FILE}", FILE
    else:
        known = known_model(spec.model)
        if known is None or not known.decoding:
            names = ", ".join(model.name for model in known_models() if model.decoding)
            raise ModelError(
                f"--decoding provider: how the provider of {spec.model} samples is not known here; it is of {names}. "
                "Leave it out, or give --temperature."
            )
        written = {"do_sample": True} | dict(known.decoding)
        where = source = str(written.pop("source"))
    taken = _taken(written, where)
    if not taken:
        raise ModelError(f"{where}: names no sampling, so its provider's replies are greedy; leave --decoding out.")
    return replace(decoding, source=source, **taken)


def _read(path: Path) -> dict[str, Any]:
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"--decoding provider: {path} cannot be read ({error}); leave it out.") from error
    if not isinstance(written, dict):
        raise ModelError(f"--decoding provider: {path} holds no table of settings; leave it out.")
    return written


def _taken(written: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return what of a provider's settings changes replies; ModelError if it is more than is taken, or not a number."""
    for name, harmless in UNTAKEN.items():
        if written.get(name) not in (None, [], {}) and written[name] not in harmless:
            raise ModelError(f"{where}: {name} {written[name]!r} cannot be carried out here; leave --decoding out.")
    names = {**(SAMPLING if written.get("do_sample") else {}), **PENALTIES}
    taken: dict[str, Any] = {}
    for name, neutral in names.items():
        value = written.get(name, neutral) if written.get(name) is not None else neutral
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
            raise ModelError(f"{where}: {name} {value!r} is not a number from 0.")
        if (value == 0 and name in ("top_p", "repetition_penalty")) or (name == "top_k" and value != int(value)):
            raise ModelError(f"{where}: {name} {value!r} cannot be carried out here; leave --decoding out.")
        if name == "temperature" or value != neutral:
            taken[name] = value
    return taken
