"""How many files of the package one question's way passes: python -m benchmarks.files_entered [--list]

Counted are files in which a function ran (module and class bodies do not count), with the mock model, which stands for
one file of a back end. Four ways: a closed question, an attacked one, an open answer with a jury, a row of AR data.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "tests" / "data"
# As counted here before the rooms were named after steps.
BEFORE = {"closed question": 33, "attacked question": 39, "open answer": 34, "row of AR data": 45}
RUN = ("run", "--model", "mock", "--output", "runs", "--allow-partial")


def ways() -> dict[str, tuple[str, ...]]:
    """Return the command of each way; they run in a folder that holds `source` and `attacked`."""
    mini = ("--data-root", str(DATA / "careqa_mini"))
    return {
        "closed question": (*RUN, "--tasks", "careqa_vision_mcq", *mini),
        "attacked question": (*RUN, "--tasks", "heart:attacked"),
        "open answer": (*RUN, "--tasks", "careqa_vision_open", *mini, "--judges", str(DATA / "judges_mini.toml")),
        "row of AR data": ("train-ar", "--source", "source", "--output", "ar", "--data-only", "--recipe", "ar-7b"),
    }


def entered(words: tuple[str, ...]) -> list[str]:
    """Return the files of the package in which a function ran while the command did."""
    import aloe_bench
    from aloe_bench.cli.main import main

    package = str(Path(aloe_bench.__file__).parent)
    found: set[str] = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_flags & inspect.CO_OPTIMIZED and code.co_filename.startswith(package):
            found.add(code.co_filename)

    sys.argv = ["aloe-bench", *words]
    threading.setprofile(note)
    sys.setprofile(note)
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            main()
    except SystemExit as end:
        if end.code not in (0, None):
            raise RuntimeError(f"{words}: exit {end.code}: {said.getvalue()}") from end
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return sorted(os.path.relpath(path, package) for path in found)


def measure() -> dict[str, list[str]]:
    """Return the files of each way, each in a process of its own."""
    found: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for command in (
            ["-m", "aloe_bench.miniature.source", "source", "--modality", "xray", "--pictures", "4"],
            ["-m", "aloe_bench.cli.main", "attack", "--source", "source", "--output", "attacked", "--workers", "1"],
        ):
            subprocess.run([sys.executable, *command], cwd=folder, env=_environment(), check=True, capture_output=True)
        for name in ways():
            command = [sys.executable, "-m", "benchmarks.files_entered", "--way", name]
            done = subprocess.run(command, cwd=folder, env=_environment(), capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(done.stderr)
            found[name] = json.loads(done.stdout)
    return found


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}


if __name__ == "__main__":
    if "--way" in sys.argv:
        print(json.dumps(entered(ways()[sys.argv[sys.argv.index("--way") + 1]])))
    else:
        for way, files in measure().items():
            print(f"{way}: {len(files)} files (before: {BEFORE[way]})")
            if "--list" in sys.argv[1:]:
                print("  " + "\n  ".join(files))
