"""Evaluate a model behind a server: python examples/evaluate_server.py MODEL BASE_URL TASK DATA_ROOT"""

import os
import sys

from aloe_bench import ModelSpec, evaluate

model, base_url, task, data_root = sys.argv[1:]
spec = ModelSpec(model, base_url=base_url, api_key=os.environ.get("OPENAI_API_KEY", "EMPTY"))
run = evaluate(spec, task, data_root=data_root, temperature=0.7, seed=1, allow_partial=True)
for record in run.records()[:3]:
    print(record.question, "->", record.prediction.text, record.score.value)
