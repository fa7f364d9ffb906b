"""Where the weights lie and which attention is computed, through the public command, as far as a CPU shows it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Run, closed_rows

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:builtin type .* has no __module__ attribute:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from aloe_bench.miniature.checkpoint import build_tiny_checkpoint

    torch.set_num_threads(1)
    return build_tiny_checkpoint(tmp_path_factory.mktemp("placement") / "tiny")


def test_the_replies_are_the_same_wherever_the_weights_lie_and_the_header_says_which_attention(
    tiny: Path, quick: Run, closed: Callable[..., Path], tmp_path: Path
) -> None:
    data = closed(closed_rows(4))

    def run(*more: str) -> Any:
        command = ("run", "--model", tiny, "--tasks", "careqa_vision_mcq", "--data-root", data, "--allow-partial")
        return quick(*command, "--max-new-tokens", "4", "--output", "runs", *more)

    def profiles() -> dict[str, dict[str, Any]]:
        headers = sorted((tmp_path / "runs").glob("*/*/*/run.json"))
        return {str(path.parent): json.loads(path.read_text())["model"] for path in headers}

    assert run().returncode == 0
    (plain,) = profiles().values()
    assert plain["profile"]["attention"] == "sdpa"
    placed = run("--model-args", "device_map=auto")
    assert placed.returncode == 0 and "Already finished" in placed.stderr, "placement is no part of what a run is"

    assert run("--model-args", "device_map=auto", "--fresh").returncode == 0
    assert run("--model-args", "attn_implementation=eager").returncode == 0
    found = profiles()
    assert sorted(model["profile"]["attention"] for model in found.values()) == ["eager", "sdpa", "sdpa"]
    lines = {folder: Path(folder, "records.jsonl").read_text().splitlines() for folder in found}
    said = {folder: [json.loads(line)["prediction"]["token_ids"] for line in each] for folder, each in lines.items()}
    assert len({json.dumps(sorted(ids)) for ids in said.values()}) == 1

    refused = run("--model-args", "attn_implementation=flash_attention_9")
    assert refused.returncode == 3 and "flash_attention_9" in refused.stderr
    assert "Traceback" not in refused.stderr and len(profiles()) == 3
