"""How surprised a model is by each answer: perplexity given the picture and the question, from log-probabilities.

exp(-mean log-probability) over the tokens of all answers of a sample, each read behind the turns before it, by the
same path that scores options. The tokens that end a turn do not count, pictures stand before the first question.
Source: Aloe-Vision, section 3: very low where the answer is trivial, very high where it is noisy.

    POOL/perplexity/scores-<model>.jsonl    one line a sample; a killed run resumes behind the last whole chunk
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from aloe_bench.core import AnswerLikelihood, AnswerScorer, Message, Model, Request
from aloe_bench.errors import UsageError
from aloe_bench.images import FileImage
from aloe_bench.mixture.asked import AskJob, KeptReplies, ask_jobs, contents, shown
from aloe_bench.mixture.pool import Pool, kept, text_sha256, with_columns
from aloe_bench.mixture.workplace import ModelSpread, with_model
from aloe_bench.training.data.schema import Conversation, Text

CHUNK = 32
QUANTILES = (0.01, 0.05, 0.5, 0.95, 0.99)
Report = Callable[[int, int], None]


def requests_of(conversation: Conversation, images: Sequence[FileImage]) -> Iterator[Request]:
    """Yield one request an answer of a sample that says anything: the turns before it, and the answer as the option."""
    before: list[Message] = []
    for number, turn in enumerate(conversation.turns):
        words = " ".join(part.text for part in turn.parts if isinstance(part, Text)).strip()
        if turn.role == "assistant" and words:
            yield Request(f"{number} {conversation.id}", tuple(before), tuple(images), (words,))
        before.append(Message(turn.role, words))


def perplexity(
    pool: Pool,
    model: Model,
    report: Report = lambda done, total: None,
    chunk: int = CHUNK,
    spread: ModelSpread | None = None,
) -> dict[str, Any]:
    """Return the report of the step: every kept sample has a perplexity, or is counted as failed.

    Samples of one picture are asked together, so that a model that can computes the picture once. A chunk is on disk
    as a whole or asked again as a whole, so that a killed run ends in the same numbers. `spread` has others than
    `model` itself answer.
    Raises UsageError for a model that cannot read whole answers.
    """
    if not isinstance(model, AnswerScorer):
        raise UsageError(
            f"{model.name}: this back end says nothing of the log-probability of a whole answer. Use --backend hf or "
            "vllm with a checkpoint."
        )
    settings = {"model": model.name, "fingerprint": model.fingerprint}
    path = pool.folder / "perplexity" / f"scores-{text_sha256(settings)[:16]}.jsonl"

    def make(table: Any) -> tuple[Any, dict[str, Any]]:
        rows = kept(table)
        with KeptReplies(path, contents(pool, rows)) as said:
            _ask(pool, rows, spread or with_model(model), said, report, chunk)
            return _measured(table, said)

    return pool.step("perplexity", settings, make)


def _ask(pool: Pool, rows: Any, spread: ModelSpread, said: KeptReplies, report: Report, chunk: int) -> None:
    """Ask for every chunk in which a sample has no number yet."""
    names, paths = rows["id"].to_pylist(), rows["pictures"].to_pylist()
    alike = sorted(range(len(names)), key=lambda i: (paths[i], names[i]))
    places = [alike[start : start + chunk] for start in range(0, len(alike), chunk)]
    waiting = [some for some in places if not all(said[names[i]] and said[names[i]][-1]["error"] is None for i in some)]
    done = len(names) - sum(map(len, waiting))
    report(done, len(names))
    for lines in spread(read_answers, ask_jobs(pool, rows, waiting)):
        said.write(lines)
        done += len(lines)
        report(done, len(names))


def read_answers(model: Model, job: AskJob) -> list[dict[str, Any]]:
    """Return how likely `model` finds the answers of the samples of `job`, one line each in their order."""
    if not isinstance(model, AnswerScorer):
        raise UsageError(f"{model.name}: this back end says nothing of the log-probability of a whole answer.")
    asked = {each.id: list(requests_of(each, shown(each, job.pictures))) for each in job.conversations()}
    found = {each.id: each for each in model.answer_logprobs([r for each in asked.values() for r in each])}
    return [_line(name, [_finite(found[request.id]) for request in each]) for name, each in asked.items()]


def _finite(answer: AnswerLikelihood) -> AnswerLikelihood:
    if answer.logprob is None or math.isfinite(answer.logprob):
        return answer
    return replace(answer, logprob=None, error="its log-probability is not a finite number")


def _line(name: str, answers: Sequence[AnswerLikelihood]) -> dict[str, Any]:
    error = next((each.error for each in answers if each.logprob is None), None if answers else "it has no answer")
    total = sum(each.logprob for each in answers if each.logprob is not None)
    return {
        "id": name, "logprob": None if error else round(total, 4), "tokens": sum(each.tokens for each in answers),
        "error": error,
    }  # fmt: skip


def _measured(table: Any, said: KeptReplies) -> tuple[Any, dict[str, Any]]:
    import numpy as np
    import pyarrow as pa

    values, tokens = list[float | None](), list[int | None]()
    sources: dict[str, list[float]] = {}
    faults = list[str]()
    for name, source, reason in zip(*(table[c].to_pylist() for c in ("id", "source", "reason")), strict=True):
        line = said[name][-1] if reason is None and said[name] else None
        measured = line is not None and line["error"] is None
        values.append(math.exp(min(-line["logprob"] / line["tokens"], 700.0)) if line and measured else None)
        tokens.append(line["tokens"] if line and measured else None)
        if line and measured:
            sources.setdefault(source, []).append(values[-1] or 0.0)
        elif line:
            faults.append(f"{name}: {line['error']}")
    after = with_columns(
        table, {"perplexity": pa.array(values, pa.float64()), "answer_tokens": pa.array(tokens, pa.int32())}
    )
    shares = {
        source: {f"{q:g}": float(np.quantile(own, q)) for q in QUANTILES} for source, own in sorted(sources.items())
    }
    n = sum(map(len, sources.values()))
    return after, {"measured": n, "failed": len(faults), "first_faults": faults[:5], "quantiles": shares}
