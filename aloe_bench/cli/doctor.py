"""`aloe-bench doctor`: what is installed, what this machine has, and what a checkpoint folder would do on it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from aloe_bench.cli.common import FiniteRange
from aloe_bench.cli.verb import Verb
from aloe_bench.errors import PACKAGE, extras, need


@click.command(
    cls=Verb,
    examples=(
        "aloe-bench doctor",
        "aloe-bench doctor --model PATH --gpu-memory 40",
        "aloe-bench doctor --judges judges.toml",
    ),
)
@click.option(
    "--model", help="A checkpoint folder: its prompt, tokens per picture, memory and commands; nothing is run."
)
@click.option("--model-args", default="", help="k=v,... as for `run`.")
@click.option("--gpu-memory", type=FiniteRange(1), default=80.0, show_default=True, help="Of one GPU, in GB.")
@click.option("--judges", type=click.Path(path_type=Path), help="judges.toml to look at, in place of the shipped one.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
def doctor(model: str | None, model_args: str, gpu_memory: float, judges: Path | None, as_json: bool) -> None:
    """Show what is installed, what this machine has and which judges answer; with --model, what that checkpoint needs.

    Judges behind a server are looked for at their address; nothing is asked of them.
    """
    if model is None:
        _machine(judges, as_json)
        return
    from aloe_bench.cli.run import model_args as parsed

    need("transformers")
    from aloe_bench.models.checkup import checkup

    found = checkup(model, parsed(model_args), int(gpu_memory * 1e9))
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        _show(found, gpu_memory)


def _machine(judges: Path | None, as_json: bool) -> None:
    missing = _missing()
    facts: dict[str, Any] = {
        PACKAGE: importlib.metadata.version(PACKAGE),
        "python": platform.python_version(),
        "missing": {extra: names for extra, names in missing.items() if names},
        "devices": _devices(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "disk_free_gb": round(shutil.disk_usage(Path.cwd()).free / 1e9, 1),
        "hub": _hub(),
        "judges": _judges(judges),
    }
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    click.echo(f"{PACKAGE} {facts[PACKAGE]}, Python {facts['python']}")
    click.echo(f"  devices   {', '.join(facts['devices'])}")
    click.echo(f"  memory    {facts['memory_gb']} GB, {facts['disk_free_gb']} GB of disk free here")
    click.echo(f"  hub       {facts['hub']}")
    click.echo("Extras:")
    for extra, names in missing.items():
        state = f"missing {', '.join(names)}: pip install '{PACKAGE}[{extra}]'" if names else "ready"
        click.echo(f"  {extra:<9} {state}")
    click.echo(f"Judges ({judges or 'the shipped ones; --judges FILE for yours'}):")
    width = max(map(len, facts["judges"]))
    for name, state in facts["judges"].items():
        click.echo(f"  {name:<{width}} {state}")


def _judges(file: Path | None) -> dict[str, str]:
    """Return by judge its model, and whether it can be asked: is its key set, does something listen at its address."""
    from aloe_bench.judges.jury.seats import read_judges

    found = {}
    for judge in read_judges(file):
        state = f"{judge.backend}, in this process"
        if judge.api_key_env and not os.environ.get(judge.api_key_env):
            state = f"its key is not set: {judge.api_key_env}"
        elif judge.base_url:
            state = f"{judge.base_url} {'is reachable' if _listens(judge.base_url) else 'does not answer'}"
        found[judge.name] = f"{judge.model}: {state}"
    return found


def _listens(address: str) -> bool:
    """Return whether something accepts connections at an address, within two seconds; nothing is sent."""
    import socket
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(address)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        with socket.create_connection((parts.hostname or "", port), timeout=2):
            return True
    except (OSError, ValueError):
        return False


def _missing() -> dict[str, list[str]]:
    """Return by extra the packages that are not installed, by the names to install."""
    return {
        extra: [name for module, name in brought.items() if not _is_there(module, name)]
        for extra, brought in extras().items()
    }


def _is_there(module: str, name: str) -> bool:
    """Return whether `module` can be imported, as of a fork under another name, or `name` brings only a command."""
    if importlib.util.find_spec(module) is not None:
        return True
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _devices() -> list[str]:
    cpus = f"{os.cpu_count()} CPU cores"
    if importlib.util.find_spec("torch") is None:
        return [f"{cpus}; GPUs unknown: torch is not installed"]
    import torch

    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return [cpus, *(f"{gpu.name} ({gpu.total_memory / 1e9:.0f} GB)" for gpu in gpus)] if gpus else [cpus, "no GPU"]


def _hub() -> str:
    from huggingface_hub import constants, get_token

    state = "offline (HF_HUB_OFFLINE)" if constants.HF_HUB_OFFLINE else "online"
    return f"{state}, {'a token is set' if get_token() else 'no token'}, cache {constants.HF_HUB_CACHE}"


def _show(found: Mapping[str, Any], gpu_memory: float) -> None:
    from aloe_bench.models.checkup import LENGTH, SEQUENCES

    profile = found["profile"]
    click.echo(
        f"{found['path']}: {found['family']} ({found['class']}), {found['parameters'] / 1e9:.2f} billion parameters"
    )
    if found["weights"]:
        click.echo(f"  weights   {found['weights']}")
    click.echo(f"  template  {profile['template']}, content as a {profile['content']}, reasoning {profile['thinking']}")
    click.echo("  prompt    " + json.dumps(found["prompt"], ensure_ascii=False))
    for size, tokens in found["picture_tokens"].items():
        click.echo(f"  picture   {size} pixels: {tokens} tokens")
    click.echo(
        f"Memory per GPU, with keys and values of {SEQUENCES} prompts of {LENGTH} tokens "
        f"({found['cache_bytes_a_token'] / 1000:.0f} kB per token) and 2 GB to work in:"
    )
    for devices, memory in found["memory"].items():
        whole, packed = memory["bf16"] / 1e9, memory["4 bit"] / 1e9
        click.echo(f"  {devices:<9} {whole:.1f} GB at bfloat16, {packed:.1f} GB at 4 bit")
    for name, why in found["backends"].items():
        click.echo(f"  {name:<9} {why or 'knows this class'}")
    for where, command in found["commands"].items():
        click.echo(f"On {where} of {gpu_memory:.0f} GB: {command}")
