"""Attacked tables out of sources, and leaderboard pages and comparisons out of runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aloe_bench.api.runs import Run
from aloe_bench.errors import UsageError

if TYPE_CHECKING:
    from aloe_bench.heart.build import HeartRecipe

Report = Callable[[int, int], None]
Folder = Run | Path | str


def recipe(
    attacks: str = "all",
    templates: str | None = None,
    seed: int = 0,
    strength: Sequence[str] = (),
    parity: bool = False,
    tasks: Collection[str] | None = None,
) -> HeartRecipe:
    """Return what is made of every item: `attacks` as on the command line, "all", "a,b" or "a+b".

    "all" means all that fit one of `tasks`, where these are given, and that the templates have words for; with
    `parity` all published ones. The usual templates are "clinical".
    """
    from aloe_bench.heart.attacks import parse_attacks
    from aloe_bench.heart.build import HeartRecipe
    from aloe_bench.heart.strength import parse_strength
    from aloe_bench.heart.wordings import DEFAULT_SET, load_templates

    words = load_templates(templates or DEFAULT_SET, parse_attacks(attacks, tasks))
    made = parse_attacks(attacks, tasks, words, published=parity)
    return HeartRecipe(made, words, seed, parse_strength(tuple(strength), made), parity)


def attack(
    sources: Path | str | Sequence[Path | str],
    output: Path | str,
    *,
    attacks: str = "all",
    templates: str | None = None,
    seed: int = 0,
    strength: Sequence[str] = (),
    parity: bool = False,
    limit: int | None = None,
    places: Path | str | None = None,
    workers: int = 1,
    overwrite: bool = False,
    progress: Report = lambda done, total: None,
) -> Mapping[str, Any]:
    """Return the manifest of the attacked table made of `sources` in `output`, which appears whole or not at all.

    A source is a folder, or "mcq:FILE", questions of one's own; the usual `templates` are "clinical", or "answers".

    Ask it as task "heart:OUTPUT". `places` is the table of a larger part of the same sources, for the same wrong boxes
    as there. `workers` processes give the same bytes as one. Raises DataError, naming every
    fault of a source, before anything is written.
    """
    from aloe_bench.files import NewFolder
    from aloe_bench.heart.make import build, check_pictures, plan_work
    from aloe_bench.heart.sources.questions import TEMPLATES, is_questions, opened
    from aloe_bench.heart.survey import read_places

    named = [sources] if isinstance(sources, Path | str) else list(sources)
    own = any(map(is_questions, named))
    if own and not all(map(is_questions, named)):
        raise UsageError("sources: either folders, or files of questions; not both in one table.")
    wordings = templates or (TEMPLATES if own else None)
    known = None if places is None else read_places(Path(places))
    place = Path(output)
    with opened(named) as loaded:
        tasks = {task for source in loaded for task in source.tasks}
        made = recipe(attacks, wordings, seed, strength, parity, tasks)
        work = plan_work(loaded, made, limit=limit, places=known, n_workers=workers)
        NewFolder(place, overwrite=overwrite, known_by="manifest.json").check()
        check_pictures(work, workers, lambda done, total: None)
        return build(loaded, work, made, place, n_workers=workers, overwrite=overwrite, limit=limit, report=progress)


def compare(first: Folder, second: Folder, *, by: str | None = None, margin: float | None = None) -> Mapping[str, Any]:
    """Return the rows of a paired comparison of two runs on the same questions: `second` minus `first`.

    `by` adds a row for each value of a tag, `margin` in (0, 1] tests of "no worse than that" and "equal within that".
    Raises RunMismatchError for other questions.
    """
    from aloe_bench.boards.compare import compare as rows

    return rows(_folder(first), _folder(second), by=by, margin=margin)


def leaderboard(runs: Folder | Sequence[Folder], output: Path | str = "leaderboards") -> list[Path]:
    """Return the evidence and pages written below `output` from finished runs, or folders that hold some.

    Raises DataError if there is none, or a partial run would take the place of a complete one.
    """
    from aloe_bench.boards.build import build
    from aloe_bench.boards.collect import finished_runs

    given: Sequence[Folder] = [runs] if isinstance(runs, Run | Path | str) else runs
    found, _ = finished_runs([_folder(run) for run in given])
    return build(found, Path(output))


def _folder(run: Folder) -> Path:
    return run.folder if isinstance(run, Run) else Path(run)
