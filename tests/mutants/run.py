"""Break one line, run the one test that must notice, and say whether it did: `python -m tests.mutants.run [WORD ...]`.

With words, only mutants that have one of them in their file or in what they break. Exit code 1 if a mutant survives,
if its old line is not in the file exactly once, or if its test fails without it, is skipped, or cannot be run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("mutants.toml")
LIMIT_S = 240  # for one test; all together have ten times as long


@dataclass(frozen=True, slots=True)
class Mutant:
    """`old`, one line of `file` or a part of it that stands there once, becomes `new`; `test` must then fail."""

    file: str
    old: str
    new: str
    breaks: str
    test: str


def read_mutants() -> list[Mutant]:
    """Return the mutants of the table, in its order."""
    return [Mutant(**entry) for entry in tomllib.loads(TABLE.read_text(encoding="utf-8"))["mutant"]]


def fault(mutant: Mutant, root: Path = ROOT) -> str | None:
    """Return why `mutant` does not fit the files below `root`, None if it does."""
    path, _, name = mutant.test.partition("::")
    if not (root / mutant.file).is_file():
        return f"no file {mutant.file}"
    found = (root / mutant.file).read_text(encoding="utf-8").count(mutant.old)
    if found != 1:
        return f"the old line stands {found} times in {mutant.file}; expected once"
    if "\n" in mutant.old or mutant.old == mutant.new:
        return "the change is not one of a single line"
    if not (root / path).is_file() or f"def {name.partition('[')[0]}(" not in (root / path).read_text(encoding="utf-8"):
        return f"no test {mutant.test}"
    return None


def copy_tree(target: Path) -> None:
    """Copy what git knows or would take to `target`."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)


def run_tests(tree: Path, tests: Sequence[str]) -> tuple[int, str]:
    """Run `tests` in `tree` and return pytest's exit code, 124 where time ran out, and its output."""
    # A .pyc is told from its source by second and size, which a mutant may share with the line it replaces.
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_ADDOPTS": ""}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-rs",
        "-p",
        "no:cacheprovider",
        "-m",
        "not slow and not families",
        *tests,
    ]
    limit_s = LIMIT_S if len(tests) == 1 else 10 * LIMIT_S
    with tempfile.TemporaryDirectory() as scratch:
        command += ["--basetemp", f"{scratch}/pytest"]
        try:
            done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=limit_s)
        except subprocess.TimeoutExpired:
            return 124, "no end in time"
    return done.returncode, done.stdout + done.stderr


def verdict(mutant: Mutant, tree: Path) -> str:
    """Return "killed", or what is wrong with `mutant`; `tree` is afterwards as it was."""
    file = tree / mutant.file
    sound = file.read_text(encoding="utf-8")
    file.write_text(sound.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        code, output = run_tests(tree, [mutant.test])
    finally:
        file.write_text(sound, encoding="utf-8")
    if code == 1 and "error in " not in output.lower():
        return "killed"
    return "SURVIVED" if code == 0 else f"NOT RUN (pytest exit {code}): {output.strip().splitlines()[-1]}"


def sound_tests(mutants: Sequence[Mutant], tree: Path) -> str | None:
    """Return why the tests cannot judge: they fail, or are skipped, on code without a fault."""
    tests = sorted({mutant.test for mutant in mutants})
    code, output = run_tests(tree, tests)
    if code or "SKIPPED" in output:
        return f"The tests do not all pass without a mutant:\n{output}"
    return None


def main(words: Sequence[str]) -> int:
    """Print the table and return the exit code."""
    started = time.monotonic()
    chosen = [m for m in read_mutants() if not words or any(word in m.file + m.breaks for word in words)]
    faults = [f"{mutant.breaks}: {found}" for mutant in chosen if (found := fault(mutant))]
    if faults or not chosen:
        print("\n".join(faults) or f"No mutant has {' or '.join(words)}.")
        return 1
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    trees: SimpleQueue[Path] = SimpleQueue()

    def judge(mutant: Mutant) -> tuple[Mutant, str, float]:
        tree, begun = trees.get(), time.monotonic()
        try:
            return mutant, verdict(mutant, tree), time.monotonic() - begun
        finally:
            trees.put(tree)

    bad = 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        for n in range(workers):
            tree = Path(scratch, f"tree-{n}")
            copy_tree(tree)
            trees.put(tree)
        if unfit := sound_tests(chosen, Path(scratch, "tree-0")):
            print(unfit)
            return 1
        with ThreadPoolExecutor(workers) as pool:
            for mutant, said, seconds in pool.map(judge, chosen):
                bad += said != "killed"
                test = mutant.test.rpartition("::")[2]
                print(f"{said:9}{seconds:5.0f} s  {mutant.file.removeprefix('aloe_bench/')}: {mutant.breaks}  [{test}]")
                sys.stdout.flush()
    print(f"{len(chosen) - bad} of {len(chosen)} mutants killed in {time.monotonic() - started:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
