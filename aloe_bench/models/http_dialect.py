"""What a server takes: the parameters it refuses are switched once, and one that refuses everything is left alone."""

from __future__ import annotations

import logging
import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

log = logging.getLogger(__name__)

REFUSED_STATUS = frozenset({400, 422})
# So many equal refusals, and no answer before them, are the server's last word on the run.
LAST_WORD = 8
# So often may all requests that are in flight use up their attempts, and none be answered in between.
SILENT_ROUNDS = 4
# A server that says that it is loading its model is waited for: so long in all, and asked again so often.
WARM_UP_S = 600.0
WARM_UP_STEP_S = 10.0
# Parameter -> the one that says the same to other servers; None: it is left out, and the server's default holds.
SWITCHES: Mapping[str, str | None] = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
    "temperature": None,
    "seed": None,
}
# How servers say that they do not know a parameter, or do not take its value ...
_UNKNOWN = re.compile(
    r"n[o']t (be )?(support|permit|allow|accept|recogni[sz]|available|a valid|compatible)|unsupported|unrecogni[sz]ed"
    r"|unknown|unexpected|extra (inputs|fields|parameter)|extra_forbidden|deprecated|only the default|no longer"
    r"|(?:cannot|can't|may not) be (?:set|used|given|specified|passed)|invalid (parameter|argument|field)|use '?max_",
    re.IGNORECASE,
)
# ... and how they say that they know it well and the number is wrong.
_RANGE = re.compile(
    r"too (large|big|long|high|small)|exceed|context|at (most|least)|less than|greater than", re.IGNORECASE
)


@dataclass(slots=True)
class Dialect:
    """The parameters that one server takes, as its refusals tell. `switched` says what was done, for the header."""

    name: str
    switched: dict[str, str] = field(default_factory=dict)

    def adapted(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Return `payload` in the parameters that the server takes."""
        spoken: dict[str, Any] = {}
        for key, value in payload.items():
            word = SWITCHES[key] if key in self.switched else key
            if word is not None:
                spoken[word] = value
        return spoken

    def learn(self, sent: Mapping[str, Any], status: int | None, words: str) -> bool:
        """Return whether the refusal `words` of what was `sent` are about a parameter that can be switched; do so."""
        if status not in REFUSED_STATUS:
            return False
        refused = _refused(sent, words)
        if refused is None:
            return False
        instead = SWITCHES[refused]
        if refused in self.switched:
            return True  # learnt from another request while this one was on its way
        if instead in self.switched:
            return False  # neither name is taken
        self.switched[refused] = f"sent as {instead}" if instead else "not sent; the server's default holds"
        log.warning("%s refuses %s: it is %s.", self.name, refused, self.switched[refused])
        return True


def _refused(sent: Mapping[str, Any], words: str) -> str | None:
    """Return the switchable parameter that `words` refuse, the first named if there are several."""
    named = {key: re.search(rf"(?<!\w){key}(?!\w)", words) for key in SWITCHES if key in sent}
    for key, found in sorted(named.items(), key=lambda pair: pair[1].start() if pair[1] else 0):
        if found is None:
            continue
        if key == "temperature" and sent[key] == 0:
            return key  # some servers take only numbers above 0, and are greedy without one
        if _UNKNOWN.search(words) and not _RANGE.search(words):
            return key
    return None


@dataclass(slots=True)
class Refusals:
    """Knows when a server will not answer: it refuses its first requests alike, or has fallen silent.

    `patience` is how many requests in a row may use up their attempts once it has answered.
    """

    patience: int
    counts: Counter[str] = field(default_factory=Counter)
    answered: bool = False
    silent: int = 0

    def heard(self) -> None:
        """Note that the server has answered."""
        self.answered, self.silent = True, 0

    def last_word(self, words: str, final: bool) -> str | None:
        """Return what to say of the server if this refusal is one too many, else None.

        `final`: it would refuse the request again; else its attempts are used up. Numbers and ids in `words` do not
        make two refusals differ.
        """
        if self.answered:
            self.silent += not final
            return f"answered none of its last {self.silent} requests" if self.silent >= self.patience else None
        alike = re.sub(r"[0-9a-f]{8}[0-9a-f-]*|\w*\d\w*", "#", words)
        self.counts[alike] += 1
        enough = self.counts[alike] >= LAST_WORD
        return f"refused the first {LAST_WORD} requests alike and answered none" if enough else None


@dataclass(slots=True)
class WarmUp:
    """How long the server called `name` may say that it is loading its model."""

    name: str
    until: float | None = None

    def waits(self) -> bool:
        """Return whether to ask again; the first time says that a server is waited for."""
        if self.until is None:
            self.until = time.monotonic() + WARM_UP_S
            log.warning("%s is loading its model; it is waited for, at most %d s.", self.name, WARM_UP_S)
        return time.monotonic() < self.until
