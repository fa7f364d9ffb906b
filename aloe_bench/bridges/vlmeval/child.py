"""VLMEvalKit in a process of its own: its runner on one exported table (`job.json`), or its matcher (`--match`)."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from aloe_bench.bridges.vlmeval.kit import MODEL_NAME, imported, model_class, register
from aloe_bench.core import Decoding, Model
from aloe_bench.errors import AloeError, ModelError, did_you_mean


def main(job_file: str) -> None:
    """Run the job; ends with 3 and one line if it cannot begin."""
    job = json.loads(Path(job_file).read_text(encoding="utf-8"))
    try:
        register(Path(job["data"]), {})
        import vlmeval.config

        vlmeval.config.supported_VLM[MODEL_NAME] = _model(job, vlmeval.config.supported_VLM)
        with imported():
            from vlmeval.run import main as run
    except AloeError as error:
        sys.exit(f"Error: {error}")
    sys.argv = [
        "run.py", "--data", job["dataset"], "--model", MODEL_NAME, "--work-dir", job["work"],
        "--judge", "exact_matching",
    ]  # fmt: skip
    run()


def _model(job: dict[str, Any], upstream: dict[str, Any]) -> Any:
    if job["path"] is None:
        if job["model"] not in upstream:
            hint = did_you_mean(job["model"], upstream)
            raise ModelError(f"{job['model']}: neither a folder here nor a model of VLMEvalKit.{hint}")
        return upstream[job["model"]]

    def make() -> Model:
        from aloe_bench.models.hf import HFModel

        return HFModel(job["path"], batch_size=1, **job["model_args"])

    return model_class(make, Decoding(**job["decoding"]), Path(job["receipts"]))


def match(pairs_file: Path) -> None:
    """Write beside `pairs_file` what upstream's matcher reads in each reply: a letter, "Z" or ""."""
    with imported():
        from vlmeval.utils.matching_util import can_infer
    pairs = json.loads(pairs_file.read_text(encoding="utf-8"))
    letters = [can_infer(pair["reply"], pair["choices"]) or "" for pair in pairs]
    pairs_file.with_name("letters.json").write_text(json.dumps(letters), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "--match":
        match(Path(sys.argv[2]))
    else:
        main(sys.argv[1])
