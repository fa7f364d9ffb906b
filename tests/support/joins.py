"""Every join of two lists in the package: small lists with one entry of either removed or renamed, and what is said.

A case is given the fixture `quick`, a folder and a change ("left removed", ...). It joins the changed lists as a user
would and returns what was said, what the command wrote, and the names that have to stand in all of it.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
from PIL import Image

from aloe_bench.bridges.vlmeval.kit import read_predictions
from aloe_bench.core import Prediction, Record, Verdict
from aloe_bench.errors import AloeError
from aloe_bench.evaluation.finish import finish
from aloe_bench.judges.experts.assign import PerItem
from aloe_bench.judges.experts.item import RatedItem
from aloe_bench.judges.experts.store import Store
from aloe_bench.judges.jury import panel
from tests.boards.test_leaderboard import record, run_folder
from tests.mixture import sources
from tests.mixture.test_sources import pool_of
from tests.support.jury import cases, judges_file, mock_table
from tests.support.jury import run_folder as open_run

SIDES = ("left", "right")
CHANGES = tuple(f"{side} {what}" for side in SIDES for what in ("removed", "renamed"))
NAMES = tuple(f"s{n}" for n in range(6))
Case = Callable[[Any, Path, str], "Said"]


@dataclass(frozen=True)
class Said:
    """What was said on the screen, and in the manifest and dropped.csv where a folder is written; and of whom."""

    output: str
    names: tuple[str, ...]
    written: tuple[str, ...] = ()


@dataclass(frozen=True)
class ListJoin:
    """One join: the functions that call the helper, how it is done, and the changes that its lists can have."""

    sites: tuple[str, ...]
    case: Case
    changes: tuple[str, ...] = CHANGES


def changed(names: Sequence[str], change: str, side: str, new: str) -> list[str]:
    """Return `names` with the fourth removed, or called `new`, if it is this side's change."""
    if not change.startswith(side):
        return list(names)
    rest = [*names[:3], *names[4:]]
    return rest if change.endswith("removed") else [*names[:3], new, *names[4:]]


def told(names: Sequence[str], change: str, new: str) -> tuple[str, ...]:
    """Return the names that a change has to bring up."""
    return (names[3],) if change.endswith("removed") else (names[3], new)


def both(done: Any) -> str:
    return f"{done.stdout}\n{done.stderr}"


def two_runs(folder: Path, change: str, arm: str = "", records: Sequence[Record] | None = None) -> list[Path]:
    """Write two finished runs whose items, or controls of one arm, are `NAMES` but for the change."""
    made = []
    for side in SIDES:
        kept = changed(NAMES, change, side, "s9")
        own = [named(i, name) for i, name in enumerate(kept)] if not arm else [named(i, f"s{i}") for i in range(10)]
        beside = [replace(named(10 + i, f"{name}#{arm}"), arm=arm) for i, name in enumerate(kept)] if arm else []
        run = run_folder(folder / side, side, "careqa_vision_mcq", [*own, *beside], n=len(own), parser="strict")
        made.append(run)
    return made


def named(index: int, name: str) -> Record:
    found = record(index, 1.0, question="Which?", options=("a", "b"))
    return replace(found, sample_id=name, prediction=Prediction(name, "A", "stop"))


def compare(quick: Any, folder: Path, change: str) -> Said:
    done = quick("compare", *two_runs(folder, change))
    assert done.returncode == 3
    return Said(done.stderr, told(NAMES, change, "s9"))


def controls(quick: Any, folder: Path, change: str) -> Said:
    done = quick("compare", *two_runs(folder, change, arm="blank"))
    assert done.returncode == 0, done.stderr
    return Said(both(done), told([f"{name}#blank" for name in NAMES], change, "s9#blank"))


def report(quick: Any, folder: Path, change: str) -> Said:
    done = quick("report", *two_runs(folder, change), "--output", folder / "r.html")
    assert done.returncode == 3 and not (folder / "r.html").exists()
    return Said(done.stderr, told(NAMES, change, "s9"))


def explain(quick: Any, folder: Path, change: str) -> Said:
    done = quick("compare", "--explain", *two_runs(folder, change))
    assert done.returncode == 0, done.stderr
    return Said(" ".join(done.stdout.replace("│", " ").split()), told(NAMES, change, "s9"))


def merge(quick: Any, folder: Path, change: str) -> Said:
    given = [n for n in (1, 2, 3) if n != 2 or change == "right renamed"]
    shards = []
    for n in given:
        text = f"{7 if n == 2 else n}/3"
        facts = {"shard": text, "n_total": 4, "n": 1}
        shards.append(run_folder(folder / str(n), "m", "careqa_vision_mcq", [named(n, f"s{n}")], **facts))
    done = quick("merge", *shards, "--output", folder / "whole")
    assert done.returncode == 3
    return Said(done.stderr, ("2/3",) if change == "right removed" else ("2/3", "7/3"))


def verdicts(quick: Any, folder: Path, change: str) -> Said:
    run = open_run(folder / "run", cases(3))
    words = ("judge", run, "--judges", judges_file(folder / "j.toml", *map(mock_table, "abc")))
    assert quick(*words).returncode == 0
    if change == "left renamed":  # the answer is another now, as after --extend-cut
        path = run / "records.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        found = {line["sample_id"]: line for line in lines}["s1"]
        found["prediction"]["text"] += " and more"
        path.write_text(path.read_text() + json.dumps(found) + "\n")
    else:
        path = run / "verdicts.jsonl"
        text = [json.loads(line) for line in path.read_text().splitlines()]
        for line in text:
            line["key"] = "0" * 64 if line["sample_id"] == "s1" else line["key"]
        path.write_text("".join(json.dumps(line) + "\n" for line in text))
    done = quick(*words)
    assert done.returncode == 0, done.stderr
    return Said(both(done), ("s1 by a", "s1 by b"), read(run / "summary.json", run / "dropped.csv"))


def options(quick: Any, folder: Path, change: str) -> Said:
    """Logs of before hold no options, which are read from the data again."""
    from tests.conftest import MINI

    words = ("run", "--model", "mock", "--tasks", "careqa_vision_mcq", "--allow-partial", "--data-root", MINI)
    assert quick(*words).returncode == 0
    (path,) = folder.rglob("records.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line.pop("options")
    lines[3]["sample_id"] = "careqa_vision/other"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = quick("rescore", path.parent, "--parser", "vlmeval", "--data-root", MINI)
    assert done.returncode == 3
    return Said(done.stderr, ("careqa_vision/other",))


def predictions(quick: Any, folder: Path, change: str) -> Said:
    rows = {str(n): {"id": name, "index": str(n)} for n, name in enumerate(changed(NAMES, change, "right", "s9"))}
    answers = enumerate(changed(NAMES, change, "left", "s9"))
    path = folder / "p.tsv"
    path.write_text("index\tid\tprediction\n" + "".join(f"{n}\t{name}\tA\n" for n, name in answers))
    try:
        read_predictions(path, rows)
    except AloeError as error:
        return Said(str(error), told(NAMES, change, "s9"))
    raise AssertionError("nothing was said")


def ratings(quick: Any, folder: Path, change: str) -> Said:
    """What experts rated on the page, and the run when it is exported."""
    run = run_folder(folder / "run", "m", "careqa_vision_open", judged(changed(NAMES, change, "right", "s9")))
    header = json.loads((run / "run.json").read_text())
    store = Store(run / "annotations.sqlite")
    items = [RatedItem(name, "Q?", (), "yes", "words") for name in NAMES]
    study = {"run": header["run_id"], "data": header["task"]["data_sha256"]}
    store.set_up(study, items, ["ana"], PerItem(1, 1), 0)
    for name in NAMES:
        store.rate(store.raters()[0], name, "correct", "")
    store.close()
    done = quick("annotate", run, "--export", folder / "ratings.csv")
    assert done.returncode == 0, done.stderr
    return Said(done.stderr, (NAMES[3],))


def judged(names: Sequence[str], grade: float = 1.0) -> list[Record]:
    verdicts = panel.score([Verdict("", f"j{k}", grade, "{}") for k in range(3)])
    return [replace(named(i, name), kind="open", score=verdicts) for i, name in enumerate(names)]


def labels_file(path: Path, names: Sequence[str]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("item_id", "ana", "bo"), *((name, n % 2, 1 - n % 2) for n, name in enumerate(names))])
    return path


def expert_labels(quick: Any, folder: Path, change: str) -> Said:
    run = run_folder(folder / "run", "m", "careqa_vision_open", judged(changed(NAMES, change, "right", "s9")))
    labels = labels_file(folder / "l.csv", changed(NAMES, change, "left", "s9"))
    words = ("agreement", "--annotations", labels, "--run", run, "--resamples", 100, "--report", folder / "trust")
    done = quick(*words)
    assert done.returncode == 0, done.stderr
    return Said(
        both(done), told(NAMES, change, "s9"), read(folder / "trust/dropped.csv", folder / "trust/agreement.md")
    )


def drawn_labels(quick: Any, folder: Path, change: str) -> Said:
    every = [*NAMES, "s9", "s10", "s11"]
    run = run_folder(folder / "run", "m", "careqa_vision_open", judged(every), shard=None)
    finish(run)
    draw = changed(NAMES, change, "right", "s9")
    (run / "sample.json").write_text(json.dumps({"seed": 0, "n_answers": len(every), "items": draw}))
    labels = labels_file(folder / "l.csv", changed(NAMES, change, "left", "s9"))
    done = quick("agreement", "--annotations", labels, "--run", run, "--resamples", 100, "--correct")
    assert done.returncode == 0, done.stderr
    return Said(both(done), told(NAMES, change, "s9"), read(run / "dropped.csv", run / "summary.json"))


def leaked(quick: Any, folder: Path, change: str) -> Said:
    """The pictures that leaked into a pool, and a run on the evaluation set."""
    pool = folder / "pool"
    for place in ("tables", "steps", "leakage"):
        (pool / place).mkdir(parents=True)
    parquet.write_table(pa.table({"id": ["x"]}), pool / "tables/leakage.parquet")
    (pool / "steps/leakage.json").write_text(json.dumps({"pictures": {"careqa_vision_mcq": {}}}))
    hits = [*NAMES[:4], "s9"] if change == "left renamed" else NAMES[:4]
    lines = [f"careqa_vision_mcq,{name},,0,1,1,1,p\n" for name in hits]
    (pool / "leakage/hits.csv").write_text("set,picture,variant,phash,at 0,at 2,at 4,nearest\n" + "".join(lines))
    kept = changed(NAMES, change, "right", "s8")
    run = run_folder(folder / "run", "m", "careqa_vision_mcq", [named(i, name) for i, name in enumerate(kept)])
    done = quick("data", "leaked", pool, run, "--radius", "0")
    assert done.returncode == 0, done.stderr
    return Said(both(done), ("s9",) if change == "left renamed" else (NAMES[3],))


def listed(quick: Any, folder: Path, change: str) -> Said:
    """A list of ids with weights, and the pool that it is applied to."""
    pool = pool_of(folder, sources.sharegpt(folder))
    ids = sorted(set(pool.table("clean")["id"].to_pylist()))
    kept = changed(ids, change, "left", "sharegpt/new")
    parquet.write_table(pa.table({"id": kept, "weight": [1] * len(kept)}), folder / "l.parquet")
    done = quick("data", "rebalance", pool.folder, "--apply", folder / "l.parquet")
    assert done.returncode == 0, done.stderr
    written = [read(pool.folder / "steps/rebalance.json")[0]]
    if change == "left renamed":
        written += [read(pool.folder / "dropped.csv")[0] + ids[3]]  # the samples of the pool stand in its table
    rows = {row["id"]: row["detail"] for row in pool.table().to_pylist() if row["reason"] == "over budget"}
    assert rows == {ids[3]: "not in l.parquet"}
    return Said(both(done), told(ids, change, "sharegpt/new"), tuple(written))


def pool_pictures(quick: Any, folder: Path, change: str) -> Said:
    """The rows of a training source, and its folder of pictures."""
    mapping = sources.llava(folder, 6)
    path = mapping.parent / "llava.json"
    rows = json.loads(path.read_text())
    for n, row in enumerate(rows):
        row["image"] = f"p{n}.png"
        Image.effect_noise((80, 70), 60 + n).save(mapping.parent / "pictures" / row["image"])
    for old in sources.NAMES:
        (mapping.parent / "pictures" / old).unlink()
    rows = [row for n, row in enumerate(rows) if n != 4 or change != "left removed"]
    if change == "left renamed":
        rows[4]["image"] = "new.png"
    path.write_text(json.dumps(rows))
    picture = mapping.parent / "pictures" / "p4.png"
    if change == "right removed":
        picture.unlink()
    if change == "right renamed":
        picture.rename(picture.with_name("new.png"))
    done = quick("data", "clean", mapping, "--output", folder / "pool")
    assert done.returncode == 0, done.stderr
    names = ("p4.png",) if change.endswith("removed") else ("p4.png", "new.png")
    return Said(both(done), names, read(folder / "pool/steps/clean.json", folder / "pool/dropped.csv"))


def own_pictures(quick: Any, folder: Path, change: str) -> Said:
    """The rows of one's own questions, and the pictures beside them."""
    (folder / "images").mkdir()
    for n in range(6):
        Image.effect_noise((20, 20), 60 + n).save(folder / f"images/p{n}.png")
    named = changed([f"p{n}" for n in range(6)], change, "left", "new")
    if change.startswith("right"):
        picture = folder / "images/p3.png"
        picture.unlink() if change.endswith("removed") else picture.rename(folder / "images/new.png")
    rows = "".join(f"q{n},What {n}?,a,b,A,images/{name}.png\n" for n, name in enumerate(named))
    (folder / "q.csv").write_text("id,question,A,B,answer,image\n" + rows)
    done = quick("run", "--model", "mock", "--tasks", "mcq:q.csv", "--allow-partial")
    assert done.returncode == 0, done.stderr
    (run,) = (path.parent for path in (folder / "runs").rglob("run.json"))
    return Said(both(done), told([f"p{n}.png" for n in range(6)], change, "new.png"),
                read(run / "summary.json", run / "dropped.csv"))  # fmt: skip


def read(*paths: Path) -> tuple[str, ...]:
    return tuple(path.read_text() for path in paths)


JOINS = {
    "compare": ListJoin(("boards.unshared.other_items",), compare),
    "controls of two runs": ListJoin(("boards.unshared.other_replies",), controls),
    "report": ListJoin(("boards.unshared.other_items",), report),
    "compare --explain": ListJoin(("boards.explain.explain",), explain),
    "merge": ListJoin(("evaluation.runlog._lacking_shards",), merge, ("right removed", "right renamed")),
    "judge": ListJoin((), verdicts, ("left renamed", "right renamed")),
    "rescore": ListJoin(("evaluation.rescore.with_options",), options, ("left renamed",)),
    "vlmeval": ListJoin(("bridges.vlmeval.kit.read_predictions",), predictions),
    "annotate --export": ListJoin(("cli.annotate._export",), ratings, ("right removed", "right renamed")),
    "agreement": ListJoin(("judges.agreement.study._match",), expert_labels),
    "agreement --correct": ListJoin(("judges.agreement.correct.keep_labels",), drawn_labels),
    "data leaked": ListJoin(("mixture.leaked.leaked_scores",), leaked, CHANGES[1:]),
    "data rebalance --apply": ListJoin(("mixture.rebalance._joined",), listed, CHANGES[:2]),
    "data clean": ListJoin(("mixture.unmatched._of_source", "mixture.convert.Converter"), pool_pictures),
    "own questions": ListJoin(("tasks.data.questions._QuestionReader.__init__",), own_pictures),
}
