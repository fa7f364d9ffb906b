"""`aloe-bench doctor`: what is installed and what each extra would add."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import platform

import click

from aloe_bench.errors import EXTRAS


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
def doctor(as_json: bool) -> None:
    """Show what is installed and what each extra would add."""
    missing = {
        extra: [name for name in names if importlib.util.find_spec(name) is None] for extra, names in EXTRAS.items()
    }
    facts = {
        "aloe-bench": importlib.metadata.version("aloe-bench"),
        "python": platform.python_version(),
        "missing": {extra: names for extra, names in missing.items() if names},
    }
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    click.echo(f"aloe-bench {facts['aloe-bench']}, Python {facts['python']}")
    for extra, names in missing.items():
        state = f"missing {', '.join(names)}: pip install 'aloe-bench[{extra}]'" if names else "ready"
        click.echo(f"  {extra:<8} {state}")
