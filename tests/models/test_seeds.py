"""`--seed`: two seeds sample differently, the same seed repeats, and neither order nor batch plays a part."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from aloe_bench.core import Decoding, Message, Request
from aloe_bench.evaluation import runlog
from aloe_bench.models.http import OpenAIModel
from tests.conftest import MINI
from tests.support.faulty_server import Plan, faulty_server

SAMPLED = Decoding(temperature=1.0, max_new_tokens=12, seed=3)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    pytest.importorskip("torch")
    from aloe_bench.miniature.checkpoint import build_tiny_checkpoint

    return build_tiny_checkpoint(tmp_path_factory.mktemp("base") / "tiny")


def _texts(run: Path) -> dict[str, str | None]:
    return {record.sample_id: record.prediction.text for record in runlog.read_records(run)}


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning")
def test_the_seed_of_a_run_seeds_its_replies(checkpoint, quick, tmp_path):
    def run(*more: object) -> tuple[dict[str, object], dict[str, str | None]]:
        words = ("--model", checkpoint, "--tasks", "careqa_vision_mcq", "--data-root", MINI, "--allow-partial",
                 "--max-new-tokens", "6", "--limit", "6", "--fresh", "--json")  # fmt: skip
        done = quick("run", *words, *more)
        assert done.returncode == 0, done.stderr
        folder = tmp_path / json.loads(done.stdout)[0]["run"]
        return json.loads((folder / "run.json").read_text()), _texts(folder)

    header, one = run("--temperature", "1", "--seed", "1")
    _, again = run("--temperature", "1", "--seed", "1", "--batch-size", "3")
    _, other = run("--temperature", "1", "--seed", "2")
    greedy_header, greedy = run("--seed", "1")
    _, greedy_other = run("--seed", "2")

    assert one == again  # by id, so that the batch plays no part
    assert sum(one[name] != other[name] for name in one) >= 5
    assert greedy == greedy_other
    assert header["seed"] == 1 and "seeds the item's reply" in str(header["seed_use"])
    assert "seed" not in header["decoding"]  # type: ignore[operator]
    assert "unused" in str(greedy_header["seed_use"])


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning")
def test_order_and_batch_play_no_part_in_a_sampled_reply(checkpoint):
    from aloe_bench.models.hf import HFModel

    model = HFModel(str(checkpoint), device="cpu")
    requests = [Request(f"q{i}", (Message("user", f"What is number {i}?"),)) for i in range(5)]

    forward = {reply.id: reply for reply in model.generate(requests, SAMPLED)}
    backward = {reply.id: reply for one in reversed(requests) for reply in model.generate([one], SAMPLED)}

    assert {name: reply.token_ids for name, reply in forward.items()} == {n: r.token_ids for n, r in backward.items()}
    seeds = {reply.seed for reply in forward.values()}
    assert len(seeds) == 5 and None not in seeds
    assert all(reply.seed is None for reply in model.generate(requests, Decoding(max_new_tokens=2)))


def test_a_server_is_sent_the_seed_of_each_reply(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    requests = [Request(f"id {i}", (Message("user", f"q{i}"),)) for i in range(4)]
    with faulty_server(Plan()) as server:
        model = OpenAIModel("m", base_url=server.url)
        sampled = {reply.id: reply.seed for reply in model.generate(requests, SAMPLED)}
        sent = {f"id {i}": server.stats()["seen"][f"q{i}"]["seed"] for i in range(4)}
        again = {reply.id: reply.seed for reply in model.generate(requests[::-1], SAMPLED)}
        other = {r.id: r.seed for r in model.generate(requests, Decoding(temperature=1.0, seed=4))}
        list(model.generate(requests, Decoding()))
        greedy = server.stats()["seen"]["q0"]

    assert sampled == sent == again
    assert len({*sampled.values(), *other.values()}) == 8
    assert "seed" not in greedy


def test_a_server_that_refuses_seeds_is_asked_without_and_the_records_say_so(quick, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with faulty_server(Plan(refused=("seed",))) as server:
        done = quick("run", "--model", "m", "--base-url", server.url, "--tasks", "careqa_vision_mcq", "--data-root",
                     MINI, "--allow-partial", "--temperature", "1", "--json")  # fmt: skip

    (summary,) = json.loads(done.stdout)
    assert summary["failed"] == 0 and summary["unseeded"] == summary["n"] == 16
    records = runlog.read_records(tmp_path / summary["run"])
    assert len(records) == 16 and all(record.prediction.seed is None for record in records)
