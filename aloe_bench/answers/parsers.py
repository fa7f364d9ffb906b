"""The shipped parsers: ours, its version 2, and the published rules of others, kept with their faults.

A rule of others is there to reproduce a number or to say why one differs, never to score new runs; `says` names
whose it is. Where such a rule would draw a letter by lot, nothing is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from aloe_bench.answers.compat.letters import parse_exact, parse_first_letter
from aloe_bench.answers.compat.lmeval import parse_choice_lmeval
from aloe_bench.answers.compat.mmmu import parse_choice_mmmu
from aloe_bench.answers.compat.probmed import parse_yes_no_probmed
from aloe_bench.answers.compat.vlmeval import parse_choice_vlmeval
from aloe_bench.answers.strict.choice import VERSION, Parsed, parse_choice, parse_yes_no
from aloe_bench.core import LETTERS, Kind


@dataclass(frozen=True, slots=True)
class Asked:
    """What a parser may know beside the reply: the question, its options, and how the reply ended."""

    question: str
    choices: Sequence[str]
    finish: str


Reader = Callable[[str, Asked], Parsed]


@dataclass(frozen=True, slots=True)
class Parser:
    """How each kind of question is read that this parser reads at all; `id` stands in the headers of runs."""

    id: str
    says: str
    reads: Mapping[Kind, Reader]


def _strict2(kind: Kind) -> Reader:
    """Return version 2 of the strict parser, which knew neither the question nor how the reply ended."""

    def read(reply: str, asked: Asked) -> Parsed:
        from aloe_bench.answers.compat.strict2.choice import parse_choice, parse_yes_no

        found = parse_choice(reply, asked.choices) if kind == "choice" else parse_yes_no(reply)
        return Parsed(found.letter, found.rule)

    return read


def _letters(asked: Asked) -> str:
    return LETTERS[: len(asked.choices)]


STRICT = Parser(
    f"strict-{VERSION}",
    "ours: what the reply claims, or nothing; the default",
    {
        "choice": lambda reply, asked: parse_choice(reply, asked.choices, finish=asked.finish),
        "yes_no": lambda reply, asked: parse_yes_no(reply, asked.question, finish=asked.finish),
    },
)
STRICT2 = Parser(
    "strict2-2",
    "ours before: version 2 of the strict parser",
    {"choice": _strict2("choice"), "yes_no": _strict2("yes_no")},
)
VLMEVAL = Parser(
    f"vlmeval-{VERSION}",
    "VLMEvalKit's can_infer (utils/matching_util.py), without the judge that it asks next",
    {"choice": lambda reply, asked: parse_choice_vlmeval(reply, asked.choices)},
)
PROBMED = Parser(
    f"probmed-{VERSION}",
    "ProbMed's get_score_binary (eval/calculate_score.py)",
    {"yes_no": lambda reply, asked: parse_yes_no_probmed(reply)},
)
MMMU = Parser(
    f"mmmu-{VERSION}",
    "MMMU's parse_multi_choice_response (eval script), without its draw by lot where nothing is found",
    {"choice": lambda reply, asked: parse_choice_mmmu(reply, asked.choices)},
)
LMEVAL = Parser(
    f"lm-eval-{VERSION}",
    "lm-evaluation-harness's multi_choice_regex as mmlu_flan_cot sets it (flexible-extract)",
    {"choice": lambda reply, asked: parse_choice_lmeval(reply, asked.choices)},
)
FIRST_LETTER = Parser(
    f"first-letter-{VERSION}",
    "MMStar's exact_match: the first character, or that after '(', 'option ' or 'the answer is '",
    {"choice": lambda reply, asked: parse_first_letter(reply, _letters(asked))},
)
EXACT_MATCH = Parser(
    f"exact-match-{VERSION}",
    "lm-evaluation-harness's mmlu_generative: the first line is the answer but for case and punctuation",
    {
        "choice": lambda reply, asked: parse_exact(reply, _letters(asked)),
        "yes_no": lambda reply, asked: parse_exact(reply, ("yes", "no")),
    },
)
