"""Evaluate a model that is a Python object: python examples/own_model.py TASK DATA_ROOT"""

import sys
from collections.abc import Iterator, Mapping, Sequence

from aloe_bench import Decoding, evaluate
from aloe_bench.core import Prediction, Request


class AlwaysB:
    """Answers B whatever it is asked."""

    name, fingerprint = "always-b", "b" * 64

    def describe(self) -> Mapping[str, object]:
        """Return what the run's header records of it."""
        return {"backend": "own"}

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Prediction]:
        """Yield one reply per request."""
        for request in requests:
            yield Prediction(request.id, "B", "stop")


task, data_root = sys.argv[1:]
print(evaluate(AlwaysB(), task, data_root=data_root, allow_partial=True).cells["overall"])
