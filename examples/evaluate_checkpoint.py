"""Evaluate a checkpoint: python examples/evaluate_checkpoint.py CHECKPOINT TASK DATA_ROOT"""

import sys

from aloe_bench import evaluate

checkpoint, task, data_root = sys.argv[1:]
run = evaluate(checkpoint, task, data_root=data_root, allow_partial=True)
for name, cell in run.cells.items():
    print(f"{name}: {cell.value:.4f} {cell.interval}, {cell.n} questions, {cell.unread} unread")
print(run.folder)
