"""A judge in one file, for the back end of a [[judge]] in judges.toml: it gives half a point to everything."""

from collections.abc import Iterator, Mapping, Sequence

from aloe_bench import Decoding
from aloe_bench.core import Prediction, Request


class Lenient:
    """Grades every answer 0.5."""

    fingerprint = "half"

    def __init__(self, model: str, *, name: str = "lenient") -> None:
        self.name = name

    def describe(self) -> Mapping[str, object]:
        """Return what the header records."""
        return {"rule": "half a point"}

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> Iterator[Prediction]:
        """Yield one grade per request."""
        for request in requests:
            yield Prediction(request.id, '{"grade": 0.5}', "stop")
