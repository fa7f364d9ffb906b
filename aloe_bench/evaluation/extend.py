"""Cut replies given more room: asked again, from their own tokens where the back end can, else from the start."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from aloe_bench.answers.outcome import outcome_of_open
from aloe_bench.core import Model, Prediction, Record, ReplyExtender, Request
from aloe_bench.errors import RunMismatchError, UsageError
from aloe_bench.evaluation import runlog
from aloe_bench.evaluation.loop import Engine, Progress, record_of
from aloe_bench.evaluation.plan import Plan, Settings
from aloe_bench.tasks import formats

log = logging.getLogger(__name__)

# What a header and summary.json say longer replies began with; a reply kept without its tokens begins with the prompt.
OWN_TOKENS, ASKED_AGAIN, EITHER = "own tokens", "prompt", "own tokens, or the prompt where none were kept"


def check_extendable(plan: Plan, settings: Settings, engine: Engine | None) -> None:
    """Raise UsageError if cut replies of this run would not be the beginnings of the longer ones."""
    name = plan.task.name
    if settings.protocol != "generate":
        raise UsageError(f"{name}: --extend-cut is for generated replies; --protocol logprob cuts none.")
    if settings.decoding.temperature > 0:
        raise UsageError(
            f"{name}: --extend-cut needs --temperature 0: a sampled reply that is asked again is another one. "
            "Run with a larger --max-new-tokens."
        )
    if engine is not None:
        raise UsageError(f"{name}: --extend-cut works in our own loop alone; run with a larger --max-new-tokens.")


def is_cut(record: Record) -> bool:
    """Return whether a reply ended at its token limit before it answered; one that had answered is not asked again."""
    if record.prediction.finish != "length":
        return False
    if record.kind == "open":
        return outcome_of_open(record.prediction.text or "", "length") == "cut"
    return record.score.outcome == "cut"


def extend_cut(
    folder: Path, plan: Plan, model: Model, settings: Settings, progress: Progress = lambda done, total: None
) -> int:
    """Give the cut replies of a run `settings.extend_cut` tokens beyond its limit; return how many calls failed.

    Header and records say how many were granted; the run's identity keeps the first limit. A run that is being extended
    has no summary until it is finished again, and a reply whose call failed stays as it was.
    Raises RunMismatchError where more had been granted before.
    """
    more = settings.extend_cut or 0
    header, records = runlog.read_header(folder), runlog.read_lines(folder)
    granted = int(header.get("extended") or 0)
    if more < granted:
        raise RunMismatchError(f"{folder}: cut replies were extended by {granted} tokens; give --extend-cut {granted}.")
    todo = [record for record in records if is_cut(record) and record.prediction.extended < more]
    if more > granted:
        runlog.note(folder, "extended", more)
        runlog.note(folder, "extended_from", _began_with(todo, model))
    if todo:
        (folder / "summary.json").unlink(missing_ok=True)
    left = 0
    with runlog.RecordWriter(folder) as writer:
        for start in range(0, len(todo), settings.chunk):
            longer = _longer(todo[start : start + settings.chunk], plan, model, settings)
            left += sum(record.prediction.text is None for record in longer)
            # A call that failed takes nothing away from the reply that is there.
            writer.append(record for record in longer if record.prediction.text is not None)
            progress(min(start + settings.chunk, len(todo)), len(todo))
    if left:
        log.warning("%s: %d cut replies could not be extended, the calls failed; run again.", folder, left)
    return left


def _began_with(cut: Sequence[Record], model: Model) -> str:
    kept = {isinstance(model, ReplyExtender) and bool(record.prediction.token_ids) for record in cut}
    return EITHER if len(kept) > 1 else OWN_TOKENS if kept == {True} else ASKED_AGAIN


def _longer(cut: Sequence[Record], plan: Plan, model: Model, settings: Settings) -> list[Record]:
    """Return the records of `cut` with their longer replies, graded again."""
    wanted = {record.sample_id: record for record in cut}
    samples = {sample.id: sample for _, sample in plan.asked if sample.id in wanted}
    form = settings.answer
    requests = [formats.request(s, formats.asked(plan.task, s, form, settings.before), form) for s in samples.values()]
    sent = {request.id: request for request in requests}
    return [
        record_of(wanted[reply.id].index, samples[reply.id], reply, settings.parser, sent[reply.id])
        for reply in _replies(requests, wanted, model, settings)
    ]


def _replies(
    requests: Sequence[Request], cut: Mapping[str, Record], model: Model, settings: Settings
) -> Iterator[Prediction]:
    more = settings.extend_cut or 0
    own = [request for request in requests if isinstance(model, ReplyExtender) and cut[request.id].prediction.token_ids]
    if isinstance(model, ReplyExtender):
        for had in sorted({cut[request.id].prediction.extended for request in own}):
            alike = [request for request in own if cut[request.id].prediction.extended == had]
            replies = [cut[request.id].prediction for request in alike]
            for longer in model.extend(alike, replies, replace(settings.decoding, max_new_tokens=more - had)):
                yield replace(longer, extended=more)
    known = {request.id for request in own}
    fresh = [request for request in requests if request.id not in known]
    whole = replace(settings.decoding, max_new_tokens=settings.decoding.max_new_tokens + more)
    for longer in model.generate(fresh, whole) if fresh else ():
        yield replace(longer, extended=more)
