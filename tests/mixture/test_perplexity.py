"""How surprised a model is by answers: its own loss, the same after an interruption, and limits on it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from aloe_bench.core import AnswerLikelihood, Request
from aloe_bench.images import open_image
from aloe_bench.mixture.perplexity import perplexity
from aloe_bench.mixture.pool import Pool
from tests.conftest import Run
from tests.mixture import sources
from tests.mixture.test_sources import pool_of

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
from aloe_bench.miniature.checkpoint import build_tiny_checkpoint  # noqa: E402 (after the skips)
from aloe_bench.models.hf import HFModel  # noqa: E402 (after the skips)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> HFModel:
    return HFModel(str(build_tiny_checkpoint(tmp_path_factory.mktemp("model") / "tiny")), device="cpu")


class Interrupted:
    """A model that is interrupted at its n-th chunk, like a run whose machine goes away."""

    def __init__(self, model: HFModel, chunks: int) -> None:
        self.model, self.left, self.name, self.fingerprint = model, chunks, model.name, model.fingerprint

    def answer_logprobs(self, requests: Sequence[Request]) -> Iterator[AnswerLikelihood]:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return self.model.answer_logprobs(requests)


def loss_of(model: HFModel, pool: Pool, turns: Sequence[tuple[str, str]], picture: str | None) -> tuple[float, int]:
    """Return the summed loss that the network itself gives the answers, in plain forward passes, and their tokens."""
    total, count, said = 0.0, 0, list[dict[str, Any]]()
    for number, (role, words) in enumerate(turns):
        shown = [{"type": "image"}] if picture and role == "user" and number == 0 else []
        if role == "assistant":
            text = model.processor.apply_chat_template(said, add_generation_prompt=True)
            ids = model.tokenizer(words, add_special_tokens=False)["input_ids"]
            images = [open_image(pool.folder / picture)] if picture else None
            inputs = model.processor(text=[text + words], images=images, return_tensors="pt")
            labels = torch.full_like(inputs["input_ids"], -100)
            labels[0, -len(ids) :] = inputs["input_ids"][0, -len(ids) :]
            model.forget_positions()
            with torch.inference_mode():
                total += float(model.network(**inputs, labels=labels).loss) * len(ids)
            count += len(ids)
        said.append({"role": role, "content": [*shown, {"type": "text", "text": words}]})
    return total, count


def test_it_is_the_models_own_loss_whatever_is_shared_and_whenever_it_was_interrupted(
    tmp_path: Path, model: HFModel, quick: Run
) -> None:
    pool = pool_of(tmp_path, sources.llava(tmp_path), sources.sharegpt(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        perplexity(pool, Interrupted(model, 2), chunk=4)
    resumed = perplexity(pool, model, chunk=4)
    table = pool.table("perplexity")
    rows = {row["id"]: row for row in table.to_pylist() if row["reason"] is None}
    assert resumed["measured"] == 11 + 7 and resumed["failed"] == 0
    for conversation in pool.conversations(table.filter(table["reason"].is_null())):
        words = [" ".join(p.text for p in turn.parts if hasattr(p, "text")).strip() for turn in conversation.turns]
        turns = list(zip((turn.role for turn in conversation.turns), words, strict=True))
        total, count = loss_of(model, pool, turns, next(iter(conversation.pictures), None))
        row = rows[conversation.id]
        assert row["answer_tokens"] == count
        assert math.log(row["perplexity"]) == pytest.approx(total / count, rel=1e-4), conversation.id

    straight = pool_of(tmp_path / "again", sources.llava(tmp_path / "again"), sources.sharegpt(tmp_path / "again"))
    assert perplexity(straight, model, chunk=4)["sha256"] == resumed["sha256"]

    # The answers of one source are limited on both sides; the other source stays as it is.
    values = sorted(row["perplexity"] for row in rows.values() if row["perplexity"] and row["source"] == "llava")
    low, high = values[2], values[-3]
    ends = ("--min-perplexity", f"llava={low!r}", "--max-perplexity", f"llava={high!r}")
    assert quick("data", "filter", pool.folder, *ends, "--sheet").returncode == 0
    assert (pool.folder / "filter.html").read_text().count("nearest under") >= 4
    done = quick("data", "filter", pool.folder, *ends, "--note", "two of each end, for a test")
    assert "llava: 11 - 4 perplexity = 7" in done.stdout and "sharegpt: 7 - 0 = 7" in done.stdout, done.stderr
    report = pool.report("filter")
    assert report["by_limit"] == {"perplexity too low": 2, "perplexity too high": 2}
    assert report["settings"]["note"] == "two of each end, for a test"
    out = [row for row in pool.table("filter").to_pylist() if row["reason"] == "perplexity"]
    assert all("perplexity" in row["detail"] and "at " in row["detail"] for row in out)


def test_a_sample_whose_picture_was_changed_is_asked_again_and_no_other(tmp_path: Path, model: HFModel) -> None:
    mapping = sources.llava(tmp_path)
    pool = pool_of(tmp_path, mapping)
    perplexity(pool, model)
    shown = mapping.parent / "pictures" / sources.NAMES[1]
    shown.write_bytes((mapping.parent / "pictures" / sources.NAMES[2]).read_bytes())
    pool = pool_of(tmp_path, mapping)
    asked = Counted(model)
    assert perplexity(pool, asked, chunk=1)["measured"] == 11
    assert {name.partition(" ")[2] for name in asked.names} == {"llava/l1", "llava/l10"}


class Counted(Interrupted):
    """A model that remembers what it was asked."""

    def __init__(self, model: HFModel) -> None:
        super().__init__(model, -1)
        self.names: list[str] = []

    def answer_logprobs(self, requests: Sequence[Request]) -> Iterator[AnswerLikelihood]:
        self.names += [request.id for request in requests]
        return super().answer_logprobs(requests)


def test_a_server_is_refused_with_what_can(tmp_path: Path, quick: Run) -> None:
    pool = pool_of(tmp_path, sources.sharegpt(tmp_path))
    done = quick("data", "perplexity", pool.folder, "--model", "m", "--base-url", "http://127.0.0.1:9/v1")
    assert done.returncode == 2 and "Use --backend hf or vllm" in done.stderr
    none = quick("data", "filter", pool.folder, "--max-perplexity", "sharegpt=20")
    assert none.returncode == 2 and "Run `aloe-bench data perplexity` first" in none.stderr
