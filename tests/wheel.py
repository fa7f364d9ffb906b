"""The wheel as a stranger gets it: `python -m tests.wheel` builds it, installs it elsewhere and uses it there.

One environment without extras; then each extra that needs no torch beside it. Nothing of the checkout can be imported,
as every command runs in a folder outside with PYTHONPATH unset.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Extra -> what is imported with it. The others bring torch or a harness, and have targets of their own.
LIGHT = {"annotate": "uvicorn", "report": "matplotlib", "dicom": "pydicom"}
# Files that are no code, and must be in the wheel all the same.
DATA = (
    "aloe_bench/py.typed",
    "aloe_bench/miniature/base/model.safetensors",
    "aloe_bench/miniature/templates/evaluation.toml",
    "aloe_bench/heart/draw/fonts/LICENSE_DEJAVU",
)


def ran(folder: Path, *words: object, code: int = 0) -> str:
    """Return what a command printed in `folder`; raises SystemExit if it ended otherwise than with `code`."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ALOE_"))}
    done = subprocess.run([str(word) for word in words], cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode != code:
        raise SystemExit(f"{' '.join(map(str, words))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def build(folder: Path) -> Path:
    """Return the wheel of this checkout, built into `folder`; raises SystemExit for what it lacks or has too much."""
    ran(ROOT, sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ".")
    (wheel,) = folder.glob("aloe_bench-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    if missing := [name for name in DATA if name not in names]:
        raise SystemExit(f"{wheel.name} lacks {missing}.")
    described = zipfile.ZipFile(wheel).read(next(name for name in names if name.endswith("METADATA"))).decode()
    if relative := re.findall(r"\]\((?!https?://)[^)]*\)", described):
        raise SystemExit(f"{wheel.name}: its description has links that an index does not resolve: {relative[:5]}.")
    if extra := [name for name in names if not name.startswith("aloe_bench")]:
        raise SystemExit(f"{wheel.name} brings {extra[:10]}, which is not the package.")
    return wheel


def main() -> None:
    """Build, install, use; print a line for each step that held."""
    with tempfile.TemporaryDirectory(prefix="aloe-wheel-") as place:
        folder = Path(place)
        wheel = build(folder)
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB")
        venv.create(folder / "env", with_pip=True)
        python, command = folder / "env" / "bin" / "python", folder / "env" / "bin" / "aloe-bench"
        pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        ran(folder, *pip, wheel)
        version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"].get("version")
        printed = ran(folder, command, "--version")
        expected = version or re.search(r'__version__ = "(.+)"', (ROOT / "aloe_bench/__init__.py").read_text())[1]
        if expected not in printed:
            raise SystemExit(f"--version prints {printed!r}, not {expected}.")
        words = folder / "env/lib" / f"python3.{sys.version_info.minor}" / "site-packages"
        templates = words / "aloe_bench/miniature/templates/evaluation.toml"
        ran(folder, python, "-m", "aloe_bench.miniature.source", "xray", "--pictures", 12)
        ran(folder, command, "attack", "--source", "xray", "--templates", templates, "--output", "attacked")
        ran(folder, command, "run", "--model", "mock", "--tasks", "heart:attacked", "--output", "runs")
        (run,) = (folder / "runs").glob("*/heart-*")
        print("no extra: attack and run pass")
        said = ran(
            folder, command, "run", "--model", ROOT / "aloe_bench/miniature/base", "--tasks", "heart:attacked", code=3
        )
        if "aloe-bench[hf]" not in said:
            raise SystemExit(f"without the extra hf, a checkpoint is refused in other words: {said}")
        for extra, module in LIGHT.items():
            ran(folder, *pip, f"{wheel}[{extra}]")
            ran(folder, python, "-c", f"import {module}")
            print(f"extra {extra}: installed")
        ran(folder, command, "report", run, "--output", "report.html")
        print(f"extra report: a page of {(folder / 'report.html').stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
