"""Every number, mark and rank of a leaderboard's folder against what its letters give."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from itertools import combinations
from math import isclose
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from tests.boards.independent.formulas import Change, benjamini_hochberg, holm, numbered
from tests.boards.independent.graders import agreement
from tests.boards.independent.letters import (
    OUTCOMES,
    Answers,
    Column,
    Made,
    attacked_cells,
    estimate,
    joined_wordings,
    plain_cells,
    pooled_of,
    table_measures,
)
from tests.boards.independent.pages import check_pages

CLOSE = 1e-6


def check(folder: Path) -> list[str]:
    """Return what is not as docs/verifying.md has it, each by its place."""
    board = json.loads((folder / "leaderboard.json").read_text(encoding="utf-8"))
    found = list(_hashes(folder, board["files"]))
    answers: dict[str, Answers] = {}
    for path in sorted(folder.glob("results/*/*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        items = json.loads((folder / "items" / f"{result['outcomes']['items']}.json").read_text(encoding="utf-8"))
        answers[path.relative_to(folder).as_posix()] = Answers(path.name, result, items)
    cells: dict[str, dict[str, Made]] = {}
    for name, of in answers.items():
        if of.attacked:
            measured = list(table_measures(of))
            found += _heart(name, of, measured)
            cells[name] = attacked_cells(of, measured)
        else:
            cells[name] = plain_cells(of)
        found += _result(name, of, cells[name])
    found += _board(board, answers, cells)
    found += _comparisons(board, answers, cells)
    found += _agreement(board, answers)
    for file, key in (("leaderboard.csv", "cells"), ("comparisons.csv", "comparisons"), ("agreement.csv", "agreement")):
        found += _csv(folder / file, board[key])
    return found + check_pages(folder, board)


def _hashes(folder: Path, files: dict[str, str]) -> Iterator[str]:
    for name, digest in files.items():
        path = folder / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            yield f"{name}: not of the SHA-256 in leaderboard.json"


def _apart(place: str, given: Any, wanted: Any) -> Iterator[str]:
    """Yield where numbers, or pairs of them, are not alike."""
    if isinstance(wanted, tuple | list) and isinstance(given, tuple | list) and len(given) == len(wanted):
        for one, two in zip(given, wanted, strict=True):
            yield from _apart(place, one, two)
    elif isinstance(given, bool) or not isinstance(given, int | float) or not isinstance(wanted, int | float):
        if given != wanted:
            yield f"{place}: {given!r}, and the letters give {wanted!r}"
    elif not isclose(given, wanted, rel_tol=1e-4 if abs(wanted) < CLOSE else CLOSE, abs_tol=1e-12):
        yield f"{place}: {given!r}, and the letters give {wanted!r}"


def _heart(name: str, of: Answers, measured: list[tuple[str, str, str, dict[str, Column]]]) -> Iterator[str]:
    given = of.result["heart"]
    seen = {(t, a, m) for t, part in given.items() for a, ms in part["columns"].items() for m in ms}
    for extra in sorted(seen ^ {(t, a, m) for t, a, m, _ in measured}):
        yield f"{name}: measure {'.'.join(extra)} is on one side alone"
    families: defaultdict[tuple[str, str], list[tuple[dict[str, Any], dict[str, Any], str]]] = defaultdict(list)
    for task, attack, measure, columns in measured:
        entry = given[task]["columns"][attack][measure]
        pooled = pooled_of(measured, task)
        every = list(columns.values())
        levels: dict[str, dict[str, Any]] = {f"datasets.{d}": estimate([c], pooled) for d, c in columns.items()}
        levels["macro"] = estimate(every, pooled)
        levels["micro"] = estimate([_joined(every)], pooled)
        for level, numbers in levels.items():
            said = entry["datasets"][level[9:]] if level.startswith("datasets.") else entry[level]
            place = f"{name}: heart.{task}.{attack}.{measure}.{level}"
            for key in ("value", "interval", "n", "n_clusters", "p", "interval_wordings"):
                if key in numbers:
                    yield from _apart(f"{place}.{key}", said.get(key), numbers[key])
            if "change" in numbers:
                families[measure, level.partition(".")[0]].append((said, numbers, place))
    for (_, level), members in families.items():
        yield from _family(members, explored=level == "datasets")
    for task, blocks in of.blocks().items():
        chance = {d: float(np.mean(1 / of.tags["n_options"][at].astype(int))) for d, at in blocks.items()}
        yield from _apart(
            f"{name}: heart.{task}.chance", given[task]["chance"]["macro"], float(np.mean([*chance.values()]))
        )


def _joined(columns: list[Column]) -> Column:
    second = [c.second for c in columns if c.second is not None]
    return Column(
        np.concatenate([c.first for c in columns]),
        np.concatenate([c.clusters for c in columns]),
        np.concatenate(second) if second else None,
        tuple(np.concatenate(side) for side in zip(*(c.sides for c in columns), strict=True)),
        joined_wordings(columns),
    )


def _family(members: list[tuple[dict[str, Any], dict[str, Any], str]], explored: bool) -> Iterator[str]:
    known = [numbers["p"] for _, numbers, _ in members if numbers["p"] is not None]
    adjusted = iter(benjamini_hochberg(known) if explored else holm(known))
    for said, numbers, place in members:
        p = None if numbers["p"] is None else next(adjusted)
        yield from _apart(f"{place}.p_adjusted", said.get("p_adjusted"), p)
        change: Change | None = numbers["change"]
        if change is None:
            continue
        if not explored:
            wanted = change.interval(0.05 / max(1, len(known)))
            yield from _apart(f"{place}.interval_family", said.get("interval_family"), wanted)
        x, at = change.detectable(1 if explored else max(1, len(known)))
        for key, value in (("detectable", x), ("detectable_at", at)):
            if not (isinstance(said.get(key), float) and value is not None and abs(said[key] - value) < 2e-4):
                yield from _apart(f"{place}.{key}", said.get(key), value)


def _result(name: str, of: Answers, cells: dict[str, Made]) -> Iterator[str]:
    """Yield where the cells of a result are not those that its letters give."""
    given = of.result["cells"]
    left_out = {s["name"] for s in of.result["task"]["facts"]["cells"] if s["unit"] or s["weight"] or s["rule"]}
    for extra in sorted((given.keys() - left_out) ^ cells.keys()):
        yield f"{name}: the cell {extra!r} is on one side alone"
    for cell in given.keys() & cells.keys():
        said, made, place = given[cell], cells[cell], f"{name}: cells.{cell}"
        wanted = None if made.exact is None else f"{made.exact.numerator}/{made.exact.denominator}"
        yield from _apart(f"{place}.exact", said["exact"], wanted)
        yield from _apart(f"{place}.value", said["value"], None if made.exact is None else float(made.exact))
        yield from _apart(f"{place}.interval", said["interval"], made.interval)
        yield from _apart(f"{place}.n", (said["n"], said["n_clusters"]), (made.n, made.n_clusters))
        for outcome in OUTCOMES:
            yield from _apart(f"{place}.{outcome}", said[outcome], made.counts[outcome])


def percent(exact: Fraction, step: str) -> str:
    return str((Decimal(100 * exact.numerator) / Decimal(exact.denominator)).quantize(Decimal(step), ROUND_HALF_UP))


def _board(board: dict[str, Any], answers: dict[str, Answers], cells: dict[str, dict[str, Made]]) -> Iterator[str]:
    """Yield where a cell of leaderboard.json is not as its letters, or its result's header, have it."""
    near, apart = _near(answers, cells), _differ(answers)
    seen = set()
    for cell in board["cells"]:
        if cell["source"] != "run":
            continue
        of, name = answers[cell["result"]], cell["cell"]
        seen.add((cell["result"], name))
        place, said, made = (
            f"leaderboard.json: {cell['model']} {name}",
            of.result["cells"][name],
            cells[cell["result"]].get(name),
        )
        for key in ("exact", "n", "n_clusters", *OUTCOMES):
            yield from _apart(f"{place}.{key}", cell[key], said[key])
        yield from _apart(f"{place}.interval", (cell["low"], cell["high"]), said["interval"] or (None, None))
        exact = None if said["exact"] is None else Fraction(said["exact"])
        yield from _apart(f"{place}.percent", cell["percent"], None if exact is None else percent(exact, "0.01"))
        yield from _apart(f"{place}.marks", cell["marks"], marks_of(of, said, cell["marks"]))
        yield from _apart(f"{place}.miniature", cell["miniature"], is_miniature(of))
        yield from _apart(f"{place}.apart", bool(cell["apart"]), cell["result"] in apart)
        if (cell["result"], name) in near:
            yield from _apart(f"{place}.near_best", cell["near_best"], near[cell["result"], name])
        if made is not None and exact is not None and len(made.columns) == 1:
            k = exact * cell["n"]
            yield from _apart(f"{place}.points", cell["points"], str(k) if k.denominator == 1 else f"{float(k):.1f}")
        elif made is not None:
            yield from _apart(f"{place}.points", cell["points"], None)
        if made is not None and of.attacked and len(made.columns) > 1 and exact is not None:
            wanted = sorted((str(int(c.first.sum())), len(c.first)) for c in made.columns)
            yield from _apart(f"{place}.parts", sorted(map(tuple, cell["parts"].values())), wanted)
    for missing in sorted({(path, name) for path, of in answers.items() for name in of.result["cells"]} ^ seen):
        yield f"leaderboard.json: {missing} is on one side alone"


def marks_of(of: Answers, said: dict[str, Any], given: str) -> str:
    """Return the marks; whether a task ships is not in the folder, so § is only refused where data are verified."""
    verified = (of.result.get("verified") or {}).get("by") == "hub"
    return "".join(
        mark
        for mark, has in (
            ("†", of.result["partial"]),
            ("§", not verified and "§" in given),
            ("◊", 100 * said["unread"] > 20 * said["n"]),
            ("¶", 100 * said["cut"] > 5 * said["n"]),
        )
        if has
    )


def is_miniature(of: Answers) -> bool:
    model, judges = of.result["model"], (of.result.get("judges") or {}).get("judges", [])
    return bool(model["miniature"]) or "mock" in (model["backend"], *(judge["backend"] for judge in judges))


def _label(of: Answers) -> str:
    keys = ("protocol", "answer", "defence", "extended")
    return json.dumps([*(of.result.get(key) for key in keys), of.result.get("switched", {}).get("temperature")])


def _differ(answers: dict[str, Answers]) -> set[str]:
    """Return the results that are marked as made otherwise than another of their column."""
    columns: defaultdict[tuple[Any, ...], list[str]] = defaultdict(list)
    for name, of in answers.items():
        task = of.result["task"]
        shared = not of.attacked and (task.get("places") or not task["name"].startswith("own"))
        columns[task["name"], is_miniature(of), None if shared else task["data_sha256"]].append(name)

    def said(of: Answers) -> list[tuple[Any, Any]]:
        result = of.result
        profile, decoding = result["model"].get("profile") or {}, dict(result.get("decoding") or {})
        if decoding.get("temperature"):
            decoding["seed"] = result.get("seed")
        data = (result["task"]["data_sha256"], result["task"]["version"])
        judges = sorted(judge["name"] for judge in (result.get("judges") or {}).get("judges", []))
        template = (profile.get("template"), profile.get("template_args"))
        return [
            ((), (data, profile.get("min_pixels"), profile.get("max_pixels"), judges)),
            (_label(of), (result.get("parser"), decoding, profile.get("reasoning_effort"))),
            ((_label(of), data), (result.get("prompt_sha256"), template)),
        ]

    found = set()
    for members in columns.values():
        for one, two in combinations(members, 2):
            for (alike, a), (also, b) in zip(said(answers[one]), said(answers[two]), strict=True):
                if alike == also and a != b:
                    found |= {one, two}
    return found


def _near(answers: dict[str, Answers], cells: dict[str, dict[str, Made]]) -> dict[tuple[str, str], bool]:
    """Return of each compared cell whether it is marked ≈; without those that another draw could decide otherwise."""
    groups: defaultdict[tuple[Any, ...], list[str]] = defaultdict(list)
    for name, of in answers.items():
        if not of.result["partial"] and (of.attacked or (of.result.get("verified") or {}).get("by") == "hub"):
            group = None if of.attacked else of.result["model"]["size_group"]
            groups[of.outcomes["items"], group].append(name)
    found: dict[tuple[str, str], bool] = {}
    for members in groups.values():
        for cell in {cell for name in members for cell in cells[name]}:
            ranked = [n for n in members if cell in cells[n] and cells[n][cell].exact is not None
                      and not set("◊¶") & set(marks_of(answers[n], answers[n].result["cells"][cell], ""))]  # fmt: skip
            if len(ranked) > 1:
                found |= {(name, cell): near for name, near in _set_of_best(ranked, cell, cells).items()}
    return found


def _set_of_best(names: list[str], cell: str, cells: dict[str, dict[str, Made]]) -> dict[str, bool]:
    exact = {name: cells[name][cell].exact or Fraction(0) for name in names}
    left = sorted(names, key=lambda name: (-exact[name], names.index(name)))
    columns = {name: cells[name][cell].columns for name in names}
    sums = {
        name: np.concatenate(
            [np.bincount(numbered(c.clusters), weights=c.first - c.first.mean()) / len(c.first) for c in columns[name]]
        )
        for name in names
    }
    covariance = np.array([[float(sums[a] @ sums[b]) for b in left] for a in left])
    rng = np.random.default_rng(1)
    draws = dict(
        zip(left, rng.multivariate_normal(np.zeros(len(left)), covariance, 40_000, method="eigh").T, strict=True)
    )
    leader, unsure = left[0], set[str]()
    while len(left) > 1:
        scores = {name: _score(columns[leader], columns[name]) for name in left[1:]}
        last = max(left[1:], key=scores.__getitem__)
        pairs = [(a, b, float(((sums[a] - sums[b]) ** 2).sum()) ** 0.5) for a, b in combinations(left, 2)]
        largest = [abs(draws[a] - draws[b]) / sd for a, b, sd in pairs if sd > 1e-12]
        critical = float(np.quantile(np.max(largest, axis=0), 0.95)) if largest else np.inf
        if abs(scores[last] - critical) < 0.05 * critical:
            unsure |= set(left)
        if scores[last] <= critical:
            break
        left.remove(last)
    return {name: name in left and exact[name] < max(exact.values()) for name in names if name not in unsure}


def _score(leader: list[Column], other: list[Column]) -> float:
    change = Change([(a.first, b.first, a.clusters) for a, b in zip(leader, other, strict=True)], None)
    if not change.testable or not change.value:
        return 0.0
    return float(-special.ndtri(max(change.p(), 1e-300) / 2)) * (1 if change.value > 0 else -1)


def _comparisons(
    board: dict[str, Any], answers: dict[str, Answers], cells: dict[str, dict[str, Made]]
) -> Iterator[str]:
    """Yield where the comparisons are not those of the letters."""
    groups: defaultdict[tuple[Any, ...], list[str]] = defaultdict(list)
    for name, of in answers.items():
        groups[of.outcomes["items"], json.dumps(of.result["task"]["facts"], sort_keys=True), is_miniature(of)].append(
            name
        )
    said = {(row["first_result"], row["second_result"], row["cell"]): row for row in board["comparisons"]}
    left = set(said)
    for members in groups.values():
        keys = [key for key in said if key[0] in members]
        found = []
        for one, two, cell in keys:
            if two not in members or cell not in answers[one].result["cells"]:
                continue  # stays in `left`, and is named
            left.discard((one, two, cell))
            if cell not in cells[one] or cell not in cells[two]:
                continue
            pairs = list(zip(cells[one][cell].columns, cells[two][cell].columns, strict=True))
            change = Change([(b.first, a.first, a.clusters) for a, b in pairs], None)
            found.append((said[one, two, cell], change, pairs, f"leaderboard.json: {cell} of {one} and {two}"))
        adjusted = holm([change.p() for _, change, _, _ in found])
        for (row, change, pairs, place), p in zip(found, adjusted, strict=True):
            family = change.interval(0.05 / row["family"])
            wanted = {"value": change.value, "n": change.n, "n_clusters": change.clusters, "p": change.p(),
                      "gained": sum(int((b.first > a.first).sum()) for a, b in pairs),
                      "lost": sum(int((b.first < a.first).sum()) for a, b in pairs),
                      "p_adjusted": p, "family": len(found)}  # fmt: skip
            wanted["family_low"], wanted["family_high"] = family
            wanted["low"], wanted["high"] = change.interval()
            for key, value in wanted.items():
                if not (isinstance(value, float) and isclose(row[key], value, rel_tol=2e-5, abs_tol=1e-9)):
                    yield from _apart(f"{place}.{key}", row[key], value)
        compared = {(row["first_result"], row["second_result"], row["cell"]) for row, *_ in found}
        for one, two in combinations(sorted(members), 2):
            for cell in _shown(answers[one]) & cells[one].keys() & cells[two].keys():
                known = all(cells[name][cell].exact is not None for name in (one, two))
                if known and (one, two, cell) not in compared:
                    yield f"leaderboard.json: no comparison of {cell} of {one} and {two}"
    for key in sorted(left):
        yield f"leaderboard.json: a comparison of {key} without such results"


def _shown(of: Answers) -> set[str]:
    """Return the cells that are compared: all of an attacked table, else those that a page has a column for."""
    if of.attacked:
        return set(of.result["cells"])
    return {column["cell"] for place in of.result["task"].get("places", ()) for column in place["columns"]}


def _agreement(board: dict[str, Any], answers: dict[str, Answers]) -> Iterator[str]:
    """Yield where the agreement of graders is not that of their letters; differences of alphas have no rule here."""
    said = {(line["result"], line["of"]): line for line in board["agreement"] if line["of"] != "difference"}
    made = {(name, of): numbers for name, one in answers.items() for of, numbers in agreement(one)}
    for extra in sorted(said.keys() ^ made.keys()):
        yield f"leaderboard.json: agreement of {extra} is on one side alone"
    for key in said.keys() & made.keys():
        for name, value in made[key].items():
            given = said[key][name]
            both = isinstance(value, float) and isinstance(given, float)
            if not (both and isclose(given, value, rel_tol=2e-5, abs_tol=1e-9)):
                yield from _apart(f"leaderboard.json: agreement of {key}.{name}", given, value)


def _csv(path: Path, lines: list[dict[str, Any]]) -> Iterator[str]:
    with path.open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    if len(found) != len(lines):
        yield f"{path.name}: {len(found)} lines, and leaderboard.json has {len(lines)}"
    for number, (one, two) in enumerate(zip(found, lines, strict=False), 2):
        for key, text in one.items():
            wanted = "" if two[key] is None else str(two[key])
            if text not in (wanted, f"'{wanted}"):
                yield f"{path.name}, line {number}: {key} is {text!r}, and leaderboard.json has {wanted!r}"
