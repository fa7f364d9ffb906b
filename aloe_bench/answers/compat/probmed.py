"""The compat parser `probmed`: that benchmark's published rule, to reproduce its numbers, labelled wherever used."""

from __future__ import annotations

from aloe_bench.answers.strict.reading import Parsed

BOTH = "yes and no"


def parse_yes_no_probmed(reply: str) -> Parsed:
    """Return what ProbMed's eval/calculate_score.py accepts: compat, never to score new runs.

    Its faults are kept: "Yes" and "No" count inside words ("Normal", "None" and "Not" say no), a reply with both is
    right whatever the answer (`letter` is BOTH), and a lower-case "yes" or "no" with more than a full stop is unread.
    """
    alone = reply.strip().lower().removesuffix(".")
    yes = "Yes" in reply or alone == "yes"
    no = "No" in reply or alone == "no"
    if yes and no:
        return Parsed(BOTH, "probmed-both")
    if yes or no:
        return Parsed("yes" if yes else "no", "probmed-word")
    return Parsed(None, "probmed-none")
