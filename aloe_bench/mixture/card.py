"""The card of a mixture: Table 1, what every step took out, checks with verdicts, licences. No card without sums."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from aloe_bench.errors import DataError
from aloe_bench.mixture.evaluation import turns_of
from aloe_bench.mixture.pool import COUNTS, STEPS, Pool, kept
from aloe_bench.mixture.textual import words_of
from aloe_bench.training.data.schema import Conversation

CardVerdict = Literal["ok", "contradiction", "warning", "not checked"]
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class CardCheck:
    """Something that a mixture claims or should hold to, and whether it does."""

    what: str
    found: str
    verdict: CardVerdict


def table_1(table: Any) -> list[dict[str, Any]]:
    """Return one line a source of the kept samples, weighted: samples, tokens, modality, domain, boxes unknown."""
    import numpy as np

    rows = kept(table).combine_chunks()
    weight = rows["weight"].to_numpy() if "weight" in rows.schema.names else np.ones(len(rows), np.int64)
    counted = [name for name in COUNTS if name in rows.schema.names and not rows[name].null_count]
    found: dict[str, dict[str, Any]] = {}
    for row, (source, modality, domain) in enumerate(
        zip(*(rows[name].to_pylist() for name in ("source", "modality", "domain")), strict=True)
    ):
        line = found.setdefault(
            source, {"source": source, "modality": modality, "domain": domain, "samples": 0, "rows": []}
        )
        line["rows"].append(row)
    for line in found.values():
        own = np.array(line.pop("rows"))
        line["samples"] = int(weight[own].sum())
        for name in counted:
            line[name] = int((rows[name].to_numpy()[own].astype(np.int64) * weight[own]).sum())
    return sorted(found.values(), key=lambda line: str(line["source"]))


def checks(pool: Pool, conversations: Iterable[Conversation]) -> list[CardCheck]:
    """Return every check with its verdict. Raises DataError where counts of steps do not add up."""
    facts, reports = pool.facts(), {step: pool.report(step) or {} for step in pool.done()}
    table = pool.table()
    return [
        *_reconciled(reports, table),
        *_rows_read(facts, table),
        *_tokens(table),
        *_pictures(reports, table),
        *_sources(facts),
        *_leakage(facts, reports),
        *_balance(reports),
        *_agreement(pool, conversations),
    ]


def _reconciled(reports: Mapping[str, Any], table: Any) -> list[CardCheck]:
    after, words = len(table), []
    for step, report in reports.items():
        counts = report["counts"]
        if counts["before"] != after or counts["before"] - sum(counts["dropped"].values()) != counts["after"]:
            raise DataError(
                f"step {step} began with {counts['before']} samples where {after} were left, dropped "
                f"{sum(counts['dropped'].values())} and kept {counts['after']}: the counts do not add up, so there is "
                "no card. Remove the folder's tables and steps, and build again."
            )
        after = counts["after"]
        words.append(f"{step} {after:,}")
    if (n := len(kept(table))) != after:
        raise DataError(f"the steps leave {after} samples and the table {n}: no card. Build again.")
    ids = kept(table)["id"]
    twice = len(ids) - len(ids.unique())
    return [
        CardCheck(
            "every step's samples = kept + dropped, one reason each", f"{len(table):,} rows, {', '.join(words)}", "ok"
        ),
        CardCheck("no id twice among kept samples", f"{twice} repeats", "contradiction" if twice else "ok"),
    ]


def _rows_read(facts: Mapping[str, Any], table: Any) -> list[CardCheck]:
    counts = table.group_by("source").aggregate([("id", "count")]).to_pylist()
    found = []
    for line in sorted(counts, key=lambda line: str(line["source"])):
        wanted = facts["sources"][line["source"]]["mapping"].get("expected_rows")
        if wanted is not None:
            n = line["id_count"]
            verdict: CardVerdict = "ok" if n == wanted else "contradiction"
            found.append(CardCheck(f"{line['source']} has the rows it states", f"{n:,} of {wanted:,}", verdict))
    return found


def _tokens(table: Any) -> list[CardCheck]:
    import pyarrow.compute as pc

    rows = kept(table)
    if "tokens" not in rows.schema.names or rows["tokens"].null_count:
        return [CardCheck("tokens counted by the training processor", "none were counted", "not checked")]
    sums = {name: pc.sum(rows[name]).as_py() or 0 for name in COUNTS}
    parts = pc.add(rows["text_tokens"], rows["image_tokens"])
    odd = len(rows) - (pc.sum(pc.equal(parts, rows["tokens"])).as_py() or 0)
    odd += pc.sum(pc.greater(rows["loss_tokens"], rows["text_tokens"])).as_py() or 0
    words = ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in sums.items())
    return [
        CardCheck("tokens = text + image, loss within text, in every sample", words, "contradiction" if odd else "ok")
    ]


def _pictures(reports: Mapping[str, Any], table: Any) -> list[CardCheck]:
    if not reports.get("clean", {}).get("settings", {}).get("pictures"):
        return [CardCheck("every picture is there, whole and large enough", "pictures were not at hand", "not checked")]
    rows = kept(table)
    bare: dict[str, int] = defaultdict(int)
    for source, modality, paths in zip(
        rows["source"].to_pylist(), rows["modality"].to_pylist(), rows["pictures"].to_pylist(), strict=True
    ):
        bare[source] += (modality == "multimodal") != bool(paths)
    odd = {source: n for source, n in bare.items() if n}
    words = ", ".join(f"{source}: {n}" for source, n in sorted(odd.items())) or "all"
    return [
        CardCheck("every picture of a kept sample was decoded", f"{reports['clean']['pictures']:,} looked for", "ok"),
        CardCheck("samples show pictures where their source says multimodal", words, "contradiction" if odd else "ok"),
    ]


def _sources(facts: Mapping[str, Any]) -> list[CardCheck]:
    mappings = {name: each["mapping"] for name, each in facts["sources"].items()}
    unknown = sorted(name for name, m in mappings.items() if m["licence"] in ("", "unknown"))
    unseen = sorted(name for name, m in mappings.items() if not m["seen_real_files"])
    return [
        CardCheck("every source states a licence", ", ".join(unknown) or "all", "warning" if unknown else "ok"),
        CardCheck(
            "mappings were tried on real files", f"not said of {', '.join(unseen)}" if unseen else "all",
            "warning" if unseen else "ok",
        ),
    ]  # fmt: skip


def _leakage(facts: Mapping[str, Any], reports: Mapping[str, Any]) -> list[CardCheck]:
    report = reports.get("leakage")
    if report is None:
        return [CardCheck("no evaluation picture is shown", "not compared with any evaluation set", "not checked")]
    found = []
    for name, counts in report["pictures"].items():
        near = ", ".join(f"{counts[f'training at {r}']} at {r}" for r in (0, 2, 4))
        words = f"pictures near one, by bits: {near}; dropped up to {report['settings']['radius']}"
        even = min(4, report["settings"]["radius"] // 2 * 2)  # distances of ordinary hashes are even
        left = counts["training at 4"] > counts[f"training at {even}"]
        found.append(CardCheck(f"no picture of {name} is shown", words, "warning" if left else "ok"))
    for name, copies in report["texts"].items():
        n = sum(each["samples"] for each in copies.values())
        if copies and report["settings"]["text"] == "none":
            found.append(CardCheck(f"no question of {name} is asked", f"{n} repeats, none dropped", "warning"))
    for each in report["precision"]:
        if each["radius"] == report["settings"]["radius"]:
            known = each["value"] is not None
            words = (
                f"{each['value']:.2f} [{each['low']:.2f}, {each['high']:.2f}]"
                if known
                else f"not estimable: {each['note']}"
            )
            by = f", by {each['method']}" if known else ""
            verdict: CardVerdict = "ok" if known else "not checked"
            found.append(CardCheck(f"share of true hits at {each['radius']} bits{by}", words, verdict))
    for source, given in facts["sources"].items():
        split = str(given["mapping"].get("split_of") or "")
        for name in report["sources"]:
            if split and split.split("/")[0].casefold() in name.casefold():
                words = f"{source} is {split}"
                found.append(CardCheck(f"{name} is of another data set than the sources", words, "warning"))
    return found


def _balance(reports: Mapping[str, Any]) -> list[CardCheck]:
    report = reports.get("rebalance")
    if report is None:
        return [CardCheck("loss tokens are balanced", "no budget was given", "not checked")]
    found = []
    for each in report.get("sources_balanced", ()):
        words = f"{each['tokens']:,} of {each['wanted']:,.0f} loss tokens"
        found.append(
            CardCheck(f"{each['source']} reaches its budget", words, "warning" if each["short"] >= 1 else "ok")
        )
    return found


def _agreement(pool: Pool, conversations: Iterable[Conversation]) -> list[CardCheck]:
    """Return whether one picture and question have two answers, or one answer twice, among the kept samples.

    Pictures are one where their perceptual hashes are equal, blank ones where their pixels are.
    """
    from aloe_bench.mixture.pictures import picture_table

    prints: dict[str, Any] = {}
    for row in seen.to_pylist() if (seen := picture_table(pool.folder)) is not None else ():
        prints[row["path"]] = row["pixels"] or row["phash"]
    answers: dict[tuple[Any, ...], dict[tuple[str, ...], str]] = {}
    repeats, odd = list[str](), list[str]()
    for conversation in conversations:
        turns = list(turns_of(conversation))
        shown = tuple(prints.get(path, path) for path in conversation.pictures)
        if len(turns) != 1:
            continue
        question, answer = map(words_of, turns[0])
        others = answers.setdefault((shown, question), {})
        if answer in others:
            repeats.append(f"{conversation.id} = {others[answer]}")
        elif others:
            odd.append(f"{conversation.id} and {next(iter(others.values()))}")
        others.setdefault(answer, conversation.id)
    return [
        CardCheck("one picture and question have one answer", _some(odd, "pairs"), "contradiction" if odd else "ok"),
        CardCheck("no picture, question and answer twice", _some(repeats, "repeats"), "warning" if repeats else "ok"),
    ]


def _some(names: Sequence[str], what: str) -> str:
    more = f", ... ({len(names) - _SHOWN} more)" if len(names) > _SHOWN else ""
    return f"{len(names)} {what}" + (f": {', '.join(names[:_SHOWN])}{more}" if names else "")


def card(name: str, pool: Pool, found: Sequence[CardCheck], exports: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that the card says, as JSON has it."""
    reports = {step: pool.report(step) or {} for step in pool.done()}
    return {
        "name": name,
        "table_1": table_1(pool.table()),
        "steps": {step: {"settings": r["settings"], "counts": r["counts"]} for step, r in reports.items()},
        "checks": [asdict(check) for check in found],
        "sources": {
            source: {
                key: given["mapping"][key] for key in ("licence", "homepage", "split_of", "notes", "seen_real_files")
            }
            for source, given in pool.facts()["sources"].items()
        },
        "loss": (reports.get("rebalance") or {}).get("reduction"),
        "exports": dict(exports),
    }


def as_markdown(found: Mapping[str, Any]) -> str:
    """Return the card as a page."""
    lines = [f"# {found['name']}", "", "## Composition", ""]
    counted = [
        name
        for name in ("loss_tokens", "tokens", "text_tokens", "image_tokens")
        if all(name in each for each in found["table_1"])
    ]
    total = {name: sum(each[name] for each in found["table_1"]) for name in ("samples", *counted)}
    head = ["source", "modality", "domain", "samples", *(name.replace("_", " ") for name in counted)]
    head += ["share of loss tokens"] if counted else []
    body = [
        [
            each["source"],
            each["modality"],
            each["domain"],
            f"{each['samples']:,}",
            *(f"{each[name]:,}" for name in counted),
        ]
        + ([f"{each['loss_tokens'] / max(1, total['loss_tokens']):.1%}"] if counted else [])
        for each in found["table_1"]
    ]
    body.append(["total", "", "", *(f"{n:,}" for n in total.values()), *([""] if counted else [])])
    lines += [*_table(head, body), "", "## What was left out", ""]
    rows = [
        [step, source, reason, str(n)]
        for step in STEPS
        for source, each in found["steps"].get(step, {}).get("counts", {}).get("sources", {}).items()
        for reason, n in each.items()
        if reason not in ("before", "after") and n
    ]
    lines += [*_table(["step", "source", "reason", "samples"], rows), "", "## Checks", ""]
    lines += [*_table(["check", "found", "verdict"], [[c["what"], c["found"], c["verdict"]] for c in found["checks"]])]
    sources = [[name, each["licence"], each["homepage"], each["notes"]] for name, each in found["sources"].items()]
    lines += ["", "## Licences", "", *_table(["source", "licence", "homepage", "notes"], sources), "", "## Exports", ""]
    lines += _table(
        ["for", "rows", "loss"], [[name, str(e["rows"]), e["loss"]] for name, e in found["exports"].items()]
    )
    lines += ["", found["loss"] or "Loss tokens were not balanced.", ""]
    lines += [
        "## Settings",
        "",
        "```json",
        json.dumps({s: r["settings"] for s, r in found["steps"].items()}, indent=1),
        "```",
    ]
    return "\n".join(lines) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    escaped = [[cell.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;") for cell in row] for row in rows]
    return ["| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *escaped)]
