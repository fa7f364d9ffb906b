"""A back end in one file: aloe-bench run --backend longest.py:Longest --model rule --tasks TASK --data-root DATA"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence

from aloe_bench import Decoding
from aloe_bench.core import LETTERS, Prediction, Request


class Longest:
    """Answers with the letter of the longest option, or of the shortest; it cannot score options."""

    capabilities = frozenset({"generate"})

    def __init__(self, model: str, *, name: str = "", shortest: bool = False) -> None:
        self.name, self._model, self._sign = name or model, model, -1 if shortest else 1

    @property
    def fingerprint(self) -> str:
        """A hash of all that its replies depend on."""
        return hashlib.sha256(f"{self._model} {self._sign}".encode()).hexdigest()

    def describe(self) -> Mapping[str, object]:
        """Return what the header records."""
        return {"rule": "longest" if self._sign > 0 else "shortest"}

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Prediction]:
        """Yield one reply per request."""
        for request in requests:
            lengths = [self._sign * len(option) for option in request.options]
            yield Prediction(request.id, LETTERS[lengths.index(max(lengths))] if lengths else "", "stop")
