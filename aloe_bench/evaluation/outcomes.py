"""What became of a run's replies, in counts and shares; what they leave open; and when a number has no rank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from aloe_bench.answers.outcome import UNREAD, outcome_of
from aloe_bench.core import LETTERS, Cell, Outcome, Record

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
# Of these nobody knows what the whole answer would have been.
LOST = frozenset({"filtered", "cut", "failed"})
# In percent of a cell's replies: above it a cell is marked, or has no rank (nor, of the unread, a drop).
MARKED_CUT, MOST_CUT, MOST_UNREAD = 1, 5, 20
CUT_REMEDY = "Raise --max-new-tokens, or give these replies more with run --extend-cut N."
UNREAD_REMEDY = (
    "Look at such replies in records.jsonl. If they answer in the options' words, ask with --answer text; if the model "
    "was asked in the wrong form, fix its chat template; --protocol logprob reads no reply at all."
)
# Options are told apart where a chance this small, adjusted for looking at each of them, would explain it.
LOPSIDED_P, LEAST_UNREAD = 0.001, 5
SHOWN_CELLS, SHOWN_CHARS = 4, 100


def counts(records: Sequence[Record]) -> dict[Outcome, int]:
    """Return how many replies ended in each way; all six are there."""
    found = Counter(map(outcome_of, records))
    return {outcome: found[outcome] for outcome in OUTCOMES}


def unread_by(records: Sequence[Record]) -> dict[str, int]:
    """Return how many unread replies there are by cause, the commonest first; published items name no cause."""
    unread = [record for record in records if outcome_of(record) == "unread"]
    return dict(Counter(cause for cause in map(_cause, unread) if cause != "unread").most_common())


def _cause(record: Record) -> str:
    return record.score.rule.removeprefix(UNREAD)


def as_if(record: Record, value: float) -> Record:
    """Return `record` with `value` for its score if its reply was lost, the record itself otherwise."""
    if outcome_of(record) not in LOST:
        return record
    return replace(record, score=replace(record.score, value=value, verdicts=(), outcome=outcome_of(record)))


def is_cut_often(numbers: Mapping[str, Any]) -> bool:
    """Return whether so many of a cell's replies were cut that the cell is marked."""
    return 100 * int(numbers.get("cut", 0)) > MARKED_CUT * int(numbers["n"])


def is_ranked(numbers: Mapping[str, Any]) -> bool:
    """Return whether few enough of a cell's replies were cut or unread for it to stand in a ranking."""
    cut, n = int(numbers.get("cut", 0)), int(numbers["n"])
    return 100 * cut <= MOST_CUT * n and not is_unread_often(numbers)


def is_unread_often(numbers: Mapping[str, Any]) -> bool:
    """Return whether so many replies are unread that a number says how they are read, not what the model knows."""
    return 100 * int(numbers["unread"]) > MOST_UNREAD * int(numbers["n"])


def numbers_of_outcomes(cell: Cell) -> dict[str, Any]:
    """Return what summary.json says of a cell's outcomes."""
    found: dict[str, Any] = {outcome: getattr(cell, outcome) for outcome in OUTCOMES}
    shares = {outcome: number / cell.n if cell.n else 0.0 for outcome, number in found.items()}
    more = {"unread_by": dict(cell.unread_by), "bounds": cell.bounds}
    return found | {"shares": shares, **more, "ranked": is_ranked({"n": cell.n, **found})}


def not_answered(numbers: Mapping[str, Any]) -> str:
    """Return in words what of a cell's replies was not answered, with shares and causes; "" if all were."""
    n = int(numbers["n"])
    parts = []
    for outcome in OUTCOMES[1:]:
        if number := int(numbers.get(outcome, 0)):
            causes = numbers.get("unread_by", {}) if outcome == "unread" else {}
            why = ": " + ", ".join(f"{cause} {times}" for cause, times in causes.items()) if causes else ""
            parts.append(f"{number} {outcome} ({100 * number / n:.1f} %{why})")
    return ", ".join(parts)


def shares_not_answered(measures: Mapping[str, Any], variant: str = "adversarial") -> str:
    """Return in words what share of the replies under a variant of a cue ended otherwise than answered; "" if none."""
    found = {name: measures.get(f"{name}_{variant}", {}).get("macro", {}).get("value") for name in OUTCOMES[1:]}
    return ", ".join(f"{name} {100 * value:.1f} %" for name, value in found.items() if value)


def cautions(cells: Mapping[str, Cell], records: Sequence[Record]) -> list[str]:
    """Return what a reader of a run's numbers has to know of its outcomes, one sentence or more each.

    These are the words of every table: after a run, in a comparison, on a page, in a model card.
    """
    plain = {name: {"n": cell.n, **{outcome: getattr(cell, outcome) for outcome in OUTCOMES}}
             for name, cell in cells.items()}  # fmt: skip
    return [*_cut_often(plain), *_unread_often(plain, records), *lopsided(records)]


def _cut_often(cells: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    found = {name: numbers for name, numbers in cells.items() if is_cut_often(numbers)}
    if found:
        yield (
            f"Cut at the token limit before an answer, and so wrong: {_listed(found, 'cut')}. Over {MOST_CUT} % cut "
            f"there is no rank. {CUT_REMEDY}"
        )


def _unread_often(cells: Mapping[str, Mapping[str, int]], records: Sequence[Record]) -> Iterator[str]:
    found = {name: numbers for name, numbers in cells.items() if is_unread_often(numbers)}
    if not found:
        return
    first = next((record for record in records if outcome_of(record) == "unread"), None)
    shown = "" if first is None else f" The first, {first.sample_id} ({_cause(first)}): {_quoted(first)}."
    often = f"Unread: {_listed(found, 'unread')}. Over {MOST_UNREAD} % there is no rank and no drop."
    yield f"{often}{shown} {UNREAD_REMEDY}"


def _listed(cells: Mapping[str, Mapping[str, int]], outcome: str) -> str:
    """Return the cells with most of `outcome` first, and how many more there are."""
    order = sorted(cells, key=lambda name: -cells[name][outcome] / cells[name]["n"])
    shown = [f"{name} {cells[name][outcome]} of {cells[name]['n']} "
             f"({100 * cells[name][outcome] / cells[name]['n']:.1f} %)" for name in order[:SHOWN_CELLS]]  # fmt: skip
    more = len(order) - SHOWN_CELLS
    return ", ".join(shown) + (f", and {more} more cells" if more > 0 else "")


def _quoted(record: Record) -> str:
    text = " ".join((record.prediction.text or "").split())
    visible = "".join(c if c.isprintable() else "\ufffd" for c in text)
    return f'"{visible}"' if len(visible) <= SHOWN_CHARS else f'"{visible[:SHOWN_CHARS]}..."'


def lopsided(records: Sequence[Record]) -> list[str]:
    """Return a sentence for each right option, letter or words, whose replies are unread far more than the others'.

    By Fisher's exact test of it against the rest, as if replies were independent, adjusted by Bonferroni for looking at
    each.
    """
    closed = [record for record in records if record.kind != "open"]
    unread = [outcome_of(record) == "unread" for record in closed]
    if sum(unread) < LEAST_UNREAD:
        return []
    groups: dict[str, list[bool]] = {}
    for record, is_unread in zip(closed, unread, strict=True):
        for option in _right_options(record):
            groups.setdefault(option, []).append(is_unread)
    tried = {name: found for name, found in groups.items() if LEAST_UNREAD <= len(found) < len(closed)}
    n, total = len(closed), sum(unread)
    sentences = []
    for name, found in sorted(tried.items()):
        of, hit = len(found), sum(found)
        elsewhere, rest = total - hit, n - of
        if hit / of > elsewhere / rest and len(tried) * _fisher(hit, of, elsewhere, rest) < LOPSIDED_P:
            sentences.append(
                f"Unread replies are lopsided: {hit} of {of} ({100 * hit / of:.1f} %) where the right answer is "
                f"{name}, {elsewhere} of {rest} ({100 * elsewhere / rest:.1f} %) elsewhere; the score favours the "
                "other answers."
            )
    return sentences


def _right_options(record: Record) -> list[str]:
    """Return the right answer by its letter and by its words, as far as the record knows them."""
    if record.kind == "yes_no" or not record.options or record.target not in LETTERS[: len(record.options)]:
        return [record.target]
    words = " ".join(record.options[LETTERS.index(record.target)].split())
    return [record.target] + ([f'"{words[:SHOWN_CHARS]}"'] if words.casefold() != record.target.casefold() else [])


def _fisher(hit: int, of: int, elsewhere: int, rest: int) -> float:
    from scipy.stats import hypergeom

    return float(hypergeom.sf(hit - 1, of + rest, of, hit + elsewhere))


def told_of_pictures(notes: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return what `picture_notes` found, a sentence a note."""
    said = []
    for note, found in notes.items():
        n, ids = found["questions"], list(found["first"])
        more = f" and {n - len(ids)} more" if n > len(ids) else ""
        said.append(f"pictures {note}: in {n} question{'' if n == 1 else 's'}: {', '.join(ids)}{more}")
    return said
