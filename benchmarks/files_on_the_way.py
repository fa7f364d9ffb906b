"""Which files of the package an item goes through: `python benchmarks/files_on_the_way.py [--list]`.

Counts the files in which a function ran (sys.setprofile), for four commands with the mock model. Each command runs
twice and is counted the second time, so that nothing which merely runs at import is counted.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import aloe_bench
from aloe_bench.cli.main import main

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(aloe_bench.__file__).parent
MINI = ROOT / "tests" / "data" / "careqa_mini"
SHORT = PACKAGE / "miniature" / "templates" / "evaluation.toml"
WORDINGS = PACKAGE / "miniature" / "templates" / "training.toml"
JUDGES = ROOT / "tests" / "data" / "judges_mini.toml"
# At most, so that the way of an item stays one that can be read: as many as when the rooms were made. What an item does
# not need (a control, another kind of file, a second reply) has no file on its way.
MOST = {"MCQ item": 33, "attacked item": 38, "open answer": 34, "AR row": 41}


def ended(words: Sequence[object]) -> None:
    """Run the command `words` in this process, silently; raise SystemExit with what it said if it fails."""
    sys.argv = ["aloe-bench", *map(str, words)]
    said = io.StringIO()
    code: object = 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main()
        except SystemExit as end:
            code = end.code
    if code:
        raise SystemExit(f"{' '.join(sys.argv)} ended with {code}:\n{said.getvalue()}")


def files_of(output: Path, *words: object) -> set[str]:
    """Return the files of the package that the command `words` enters, as paths below it."""
    found: set[str] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            found.add(frame.f_code.co_filename)

    ended([*words, "--output", output / "first"])  # imports all that it needs
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        ended([*words, "--output", output / "second"])
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    return {str(Path(name).relative_to(PACKAGE)) for name in found if name.startswith(f"{PACKAGE}{os.sep}")}


def ways(folder: Path) -> dict[str, set[str]]:
    """Return the files on each way; what the commands write goes to `folder`."""
    from aloe_bench.miniature.source import write_source

    write_source(folder / "source", "xray", 4)
    ended(["attack", "--source", folder / "source", "--output", folder / "heart", "--templates", SHORT, "--workers", 1])
    write_source(folder / "learnt", "xray", 4, 555, split="train")
    run = "run", "--model", "mock", "--allow-partial", "--data-root", MINI
    data = "train-ar", "--data-only", "--source", folder / "learnt", "--templates", WORDINGS, "--held-out", 0
    return {
        "MCQ item": files_of(folder / "mcq", *run, "--tasks", "careqa_vision_mcq"),
        "attacked item": files_of(folder / "attacked", *run, "--tasks", f"heart:{folder / 'heart'}"),
        "open answer": files_of(folder / "open", *run, "--tasks", "careqa_vision_open", "--judges", JUDGES),
        "AR row": files_of(folder / "ar", *data),
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        found = ways(Path(scratch))
    for way, files in found.items():
        print(f"{way:14} {len(files):3} files (at most {MOST[way]})")
        if "--list" in sys.argv[1:] or len(files) > MOST[way]:
            print("".join(f"    {name}\n" for name in sorted(files)), end="")
    sys.exit(any(len(files) > MOST[way] for way, files in found.items()))
