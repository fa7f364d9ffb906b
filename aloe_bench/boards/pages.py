"""The pages of the leaderboard: which result stands on which, and why one stands on none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aloe_bench import registry
from aloe_bench.boards.ablations import ablations_page
from aloe_bench.boards.apart import apart
from aloe_bench.boards.careqa import CAREQA
from aloe_bench.boards.controls import controls_blocks
from aloe_bench.boards.graders import GradedRun, agreement_blocks, agreement_page, graded_runs
from aloe_bench.boards.heart import heart_page
from aloe_bench.boards.medical import MEDICAL
from aloe_bench.boards.miniature import Part, miniature_page, titled
from aloe_bench.boards.near import near_best
from aloe_bench.boards.published import Published
from aloe_bench.boards.shapes import Entry, PageText, Shape, generic
from aloe_bench.boards.tables import GENERATED, NEAR, RANKED, is_miniature, page
from aloe_bench.boards.versus import Versus, versus, versus_blocks, versus_page
from aloe_bench.facts import Place, facts_of
from aloe_bench.files import safe_name

Result = Mapping[str, Any]

# Pages with a text of their own. A task may name any other page, which then is made of the places that name it.
TEXTS = {"careqa_vision": CAREQA, "medical": MEDICAL}
# Pages that are made otherwise: no task has a column there.
RESERVED = ("ablations", "agreement", "comparisons", "heart", "miniature", "other")
OWN = (
    "Score in %. Best in **bold**, second <u>underlined</u>, within a size group, by the printed digits. "
    f"{NEAR} Under a number: its 95 % interval, k/n (of other means n) and, where replies were filtered, cut or "
    f"failed, the score had they all been wrong, and right. {RANKED}"
)
OTHER = f"Tasks that have no page of their own. {OWN} Runs on other data have a table of their own."


@dataclass(frozen=True, slots=True)
class Board:
    """File name -> text of each page, the comparisons and the agreement shown there, and what a user must know:
    which result stands not where its task asked.
    """

    pages: Mapping[str, str]
    remarks: tuple[str, ...]
    versus: tuple[Versus, ...]
    graded: tuple[GradedRun, ...]


def board(published: Sequence[Published]) -> Board:
    """Return every page made of these results; each stands on one at least, or a remark says why not."""
    near = near_best(published)
    other = apart([one.result for one in published])
    results = [
        {**one.result, "near": cells, "apart": texts} for one, cells, texts in zip(published, near, other, strict=True)
    ]
    remarks: list[str] = []
    places: dict[str, dict[str, Entry]] = {name: {} for name in TEXTS}
    for name in registry.TASKS:
        facts = facts_of(registry.task(name))
        for place in facts.places:
            places.setdefault(place.page, {})[name] = Entry(place, facts.paper.told)
    placed: set[int] = {id(result) for result in results if "heart" in result}
    for result in results:
        task = str(result["task"]["name"])
        if not result["cells"]:
            remarks.append(f"run {result['run']} of {task}: it has no cell, so no page shows it.")
            continue
        for place in _own_places(result):
            problem = _problem(place, result)
            if problem:
                remarks.append(f"run {result['run']} of {task}: {problem}")
                continue
            if task not in registry.TASKS:
                places.setdefault(place.page, {})[task] = Entry(place, shipped=False)
            placed.add(id(result))
    shapes = {
        name: Shape(TEXTS.get(name) or _own_text(name), entries)
        for name, entries in sorted(places.items(), key=lambda each: (each[0] not in TEXTS, each[0]))
    }
    rest = [result for result in results if id(result) not in placed and result["cells"]]
    own = [result for result in results if not is_miniature(result)]
    small = [result for result in results if is_miniature(result)]
    made = {f"{name}.md": _with_controls(page(shape, own), shape, own) for name, shape in shapes.items()}
    pairs, graded = versus(published), graded_runs(published)
    made["ablations.md"] = ablations_page()
    made["agreement.md"] = agreement_page(results, graded)
    made["comparisons.md"] = versus_page(results, pairs)
    made["heart.md"] = heart_page(results)
    made["miniature.md"] = miniature_page(
        list(shapes.values()), small, _others([result for result in rest if is_miniature(result)]), [
            *versus_blocks(results, [row for row in pairs if is_miniature(results[row.first])]),
            *agreement_blocks(results, [run for run in graded if is_miniature(results[run.place])]),
        ]
    )  # fmt: skip
    made["other.md"] = _other_page([result for result in rest if not is_miniature(result)])
    return Board(dict(sorted(made.items())), tuple(dict.fromkeys(remarks)), tuple(pairs), tuple(graded))


def _with_controls(text: str, shape: Shape, results: Sequence[Result]) -> str:
    """Return a page with the image controls of the runs that stand on it."""
    blocks = controls_blocks([result for result in results if result["task"]["name"] in shape.entries])
    return "\n\n".join([text.rstrip("\n"), *blocks]) + "\n" if blocks else text


def _own_places(result: Result) -> tuple[Place, ...]:
    """Return where a task stands: as this version says of one that ships, else as it said when it was run."""
    name = result["task"]["name"]
    if name in registry.TASKS:
        return facts_of(registry.task(name)).places
    return tuple(result["task"].get("places", ()))


def _problem(place: Place, result: Result) -> str:
    """Return in words why a result cannot stand at `place`, "" if it can."""
    if not place.columns:
        return f"its place on page {place.page!r} has no column; its row is on other.md."
    if place.page in RESERVED or safe_name(place.page) != place.page:
        return f"{place.page!r} cannot be the name of a page of columns; its row is on other.md."
    same = [name for name in TEXTS if name != place.page and name.casefold() == place.page.casefold()]
    if same:
        return f"page {place.page!r} would be written over {same[0]!r}; its row is on other.md."
    if not any(column.cell in result["cells"] for column in place.columns):
        wanted = ", ".join(repr(column.cell) for column in place.columns)
        there = ", ".join(map(repr, result["cells"]))
        return f"page {place.page!r} shows its cells {wanted}, and it has {there}; its row is on other.md."
    return ""


def _own_text(name: str) -> PageText:
    title = name.replace("_", " ").replace("-", " ")
    return PageText(title[:1].upper() + title[1:], lambda shape: (OWN,))


def _others(results: Sequence[Result]) -> list[Part]:
    """Return a part for each task and data that no other page shows."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((str(result["task"]["name"]), str(result["task"]["data_sha256"])), []).append(result)
    names = [name for name, _ in groups]
    parts = []
    for (name, data), members in sorted(groups.items()):
        title = name if names.count(name) == 1 else f"{name}, data {data[:8]}"
        shape = Shape(PageText(title, lambda shape: ()), {name: Entry(generic(name, members))})
        parts.append((shape, members))
    return parts


def _other_page(results: Sequence[Result]) -> str:
    parts = [block for shape, members in _others(results) for block in titled(shape, members)]
    parts += controls_blocks(results)
    return "\n\n".join([GENERATED, "# Other tasks", OTHER, *(parts or ["No results yet."])]) + "\n"
