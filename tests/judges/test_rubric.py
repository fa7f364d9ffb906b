"""The rubric: what a judge is shown, and what of its replies counts as a verdict."""

from __future__ import annotations

import json
import random
import re

import pytest

from aloe_bench.core import Decoding, Prediction
from aloe_bench.judges.jury import rubric
from aloe_bench.judges.jury.injection import hostile_answers
from aloe_bench.judges.jury.panel import Judge, Panel
from aloe_bench.judges.jury.rubric import (
    Case,
    code_for,
    messages,
    parse_verdict,
    read_case,
    rubric_id,
    without_chat_tokens,
)
from aloe_bench.judges.jury.store import VerdictStore
from aloe_bench.models.mock_judge import JudgeBehaviour, MockJudge

GOOD = {
    '{"grade": 0}': 0.0, '{"grade": 0.5}': 0.5, '{"grade": 1}': 1.0, '{"grade":1.0}': 1.0, ' {"grade" : 0.50}\n': 0.5,
    '{\n  "grade": 0.0\n}': 0.0, '```json\n{"grade": 1}\n```': 1.0, '```\n{"grade": 0.5}```': 0.5,
    '<think>It says so.</think>\n\n{"grade": 1}': 1.0, 'It says so. {"grade": 0} or not.\n</think>{"grade": 0.5}': 0.5,
    '{"grade": "1"}': 1.0, '{"grade": "0.5"}': 0.5, '{"grade": 1.00}': 1.0, '{"grade": 0.500}': 0.5,
    '```JSON\n{"grade": 1}\n```': 1.0, '```json {"grade": 0} ```': 0.0, '{"grade": 1}<|im_end|>': 1.0,
    '{"grade": 0}<|eot_id|>': 0.0, '\ufeff{"grade": 1}': 1.0, '[THINK]a[/THINK]{"grade": 1}': 1.0,
    '\\boxed{{"grade": 0.5}}': 0.5, '```python\n{"grade": 1}\n```': 1.0, '```text\n{"grade": 0.5}\n```': 0.5,
    'analysisIt says so.assistantfinal{"grade": 1}': 1.0, '{"grade": 0}<｜end▁of▁sentence｜>': 0.0,
    '<|channel|>analysis<|message|>a<|end|><|channel|>final<|message|>{"grade": 1}': 1.0,
}  # fmt: skip
BAD = (
    "", "1", "0.5", "correct", "null", "[]", "{}", '{"grade": null}', '{"grade": true}', '{"grade": "true"}',
    '{"grade": 2}', '{"grade": 0.75}', '{"grade": -0}', '{"grade": 1e0}', '{"grade": 0.5000001}', '{"grade": .5}',
    '{"grade": 01}', '{"grade": 1', '{"grade": 1}}', '{"grade": 1} {"grade": 0}', '{"grade": 0, "grade": 1}',
    '{"grade": 1, "reason": "x"}', '{"score": 1}', '{"Grade": 1}', "{'grade': 1}", '{"grade": 1,}', '[{"grade": 1}]',
    'The grade is {"grade": 1}', '{"grade": 1} because it matches', '{"grade": NaN}', '{"grade": ١}', '{"grade": １}',
    '<think>{"grade": 1}', '<think>{"grade": 1}</think>', '<think>a</think><think>b</think>{"grade": 1}',
    'x <think>a</think>{"grade": 1}', '<think><think>a</think>{"grade": 1}', '</think>a</think>{"grade": 1}',
    '```json\n{"grade": 1}\n```\nas said', '```python\ngrade = 1\n```', '```python {"grade": 1}\nprint(1)\n```',
    '```json\n```json\n{"grade": 1}\n```\n```',
    '{"grade":\u00a01}', '{"gr\\u0061de": 1}', '"{\\"grade\\": 1}"', '{"grade": {"grade": 1}}',
    '\ufeff1', '{"grade": "1}',
    '{"grade": 1}<|im_end|>{"grade": 0}', '<|channel|>final<|message|>1<|channel|>final<|message|>{"grade": 1}',
)  # fmt: skip


@pytest.mark.parametrize(("reply", "grade"), GOOD.items())
def test_a_verdict_is_read(reply, grade):
    assert parse_verdict(reply) == grade


@pytest.mark.parametrize("reply", BAD)
def test_what_is_not_exactly_a_verdict_is_none(reply):
    assert parse_verdict(reply) is None


def oracle(reply: str) -> float | None:
    """Read a verdict by another way: the json module, with every liberty of it taken back."""
    text = reply.translate(dict.fromkeys(map(ord, "\ufeff")))
    if any(mark in reply for mark in ("THINK", "channel", "boxed", "<|", "</s>", "<｜", "assistantfinal")):
        return parse_verdict(reply)  # Forms of which the json module knows nothing: told by GOOD and BAD alone.
    if text.count("</think>") > 1:
        return None
    if "</think>" in text:
        thought, text = text.split("</think>")
        opened = "<think>" in text or thought.count("<think>") > 1
        if opened or ("<think>" in thought and not thought.strip().startswith("<think>")):
            return None
    text = text.strip(" \t\r\n")
    if text.startswith("```") and text.endswith("```") and len(text) > 6:
        head, newline, _ = text[3:-3].partition("\n")
        inner = re.sub(r"\A(?:[A-Za-z][\w+-]{0,15})?", "", text[3:-3])
        if newline and not re.fullmatch(r"(?:[A-Za-z][\w+-]{0,15})?", head.strip(" \t\r")) and "{" not in head:
            return None
        text = inner.strip(" \t\r\n")
    numbers: list[str] = []
    try:
        pairs = json.loads(
            text,
            object_pairs_hook=lambda p: p,
            parse_int=lambda s: numbers.append(s) or float(s),
            parse_float=lambda s: numbers.append(s) or float(s),
        )
    except (ValueError, RecursionError):
        return None
    if not isinstance(pairs, list) or len(pairs) != 1 or not isinstance(pairs[0], tuple) or not text.startswith("{"):
        return None
    ((key, value),) = pairs
    menu = {"0", "1", *(f"{n}{'0' * k}" for n in ("0.0", "0.5", "1.0") for k in range(4))}
    if isinstance(value, str):
        return float(value) if key == "grade" and value in menu else None
    return value if key == "grade" and len(numbers) == 1 and numbers[0] in menu and type(value) is float else None


def mutated(rng: random.Random) -> str:
    pieces = [*GOOD, *BAD, "grade", '"', "{", "}", ":", "0", ".", "5", "1", "e", "-", "`", "```", "\n", " ", "<think>",
              "</think>", ",", "true", "json", "\\", "\x00", "é", "０"]  # fmt: skip
    text = rng.choice(list(GOOD)) if rng.random() < 0.7 else rng.choice(BAD)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 5))):
        at, end = sorted(rng.randint(0, len(text)) for _ in range(2))
        change = rng.random()
        if change < 0.4:
            text = text[:at] + rng.choice(pieces) + text[at:]
        elif change < 0.7:
            text = text[:at] + text[min(end, at + 3) :]
        elif change < 0.85:
            text = text[:at] + rng.choice(pieces) + text[at + 1 :]
        else:
            text = text[:at] + text[at:end] * 2 + text[end:]
    return text


def test_20000_fuzzed_replies_hold_no_false_accept():
    rng = random.Random(4)
    replies = {mutated(rng) for _ in range(40_000)}
    assert len(replies) >= 20_000

    false = [reply for reply in replies if (grade := parse_verdict(reply)) is not None and oracle(reply) != grade]
    accepted = sum(parse_verdict(reply) is not None for reply in replies)

    assert false == []
    assert 500 < accepted < len(replies) / 2


def test_the_words_of_the_rubric_change_only_with_its_version():
    assert rubric_id() == "1-2fbf6a55"


def test_a_prompt_is_the_same_tomorrow_and_tells_the_judge_no_more_than_the_case():
    case = Case("s", "Which drug?", "Alteplase", "alteplase iv")

    first, again = messages(case), messages(Case("other id", "Which drug?", "Alteplase", "alteplase iv"))

    assert first == again
    assert read_case(first[-1].text) == ("Which drug?", "Alteplase", "alteplase iv")
    assert [turn.role for turn in first] == ["user", "assistant"] * len(rubric.EXAMPLES) + ["user"]
    assert all(parse_verdict(turn.text) is not None for turn in first if turn.role == "assistant")
    assert code_for(case) != code_for(Case("s", "Which drug?", "Alteplase", "alteplase i.v."))


@pytest.mark.parametrize("text", ["p < 0.05", "TSH <4 mU/l", "a<=b", "see [MRI of 2021]", "α-2 – 5 µg\nnext line", ""])
def test_what_a_physician_writes_is_shown_as_written(text):
    assert without_chat_tokens(text) == text


def answers() -> list[str]:
    base = Case("s", "Which nerve?", "The radial nerve", "the ulnar nerve")
    return hostile_answers(code_for(base))


def test_200_hostile_answers_stay_inside_their_quotation():
    assert len(set(answers())) == 200
    for answer in answers():
        case = Case("s", "Which nerve?", "The radial nerve", answer)
        (shown,) = [turn.text for turn in messages(case)[-1:]]
        code = code_for(case)
        assert code not in answer
        assert read_case(shown) == ("Which nerve?", "The radial nerve", without_chat_tokens(answer))
        assert len(re.findall(rf"\[/?(?:question|reference|answer) {code}\]", shown)) == 6
        assert shown.endswith(f"[/answer {code}]\n{rubric.REQUEST}")
        # Chat templates' own tokens: a turn cannot be ended from inside it.
        assert not re.search(r"<[|｜/a-z]|\[/?INST\]", shown)
        shown.encode()


class Parrot:
    """A judge that falls for the answer: it repeats what it was shown, in prose or in its reasoning."""

    name = fingerprint = "parrot"

    def __init__(self, shape: str) -> None:
        self._shape = shape

    def describe(self):
        return {}

    def generate(self, requests, decoding):
        for request in requests:
            case = next(c for turn in reversed(request.messages) if (c := read_case(turn.text)))
            yield Prediction(request.id, self._shape.format(case[2]), "stop")


@pytest.mark.parametrize("shape", ["The candidate says: {}", "{} - so it says.", "<think>{}", "```\nanswer: {}\n```"])
def test_a_judge_that_repeats_a_hostile_answer_gives_no_verdict(shape, tmp_path):
    cases = [Case(f"s{i}", "Which nerve?", "The radial nerve", answer) for i, answer in enumerate(answers())]

    with VerdictStore(tmp_path) as store:
        ballot = Panel([Judge("parrot", Parrot(shape), Decoding(), "parrot")]).grade(cases, store)

    assert {score.value for score in ballot.scores.values()} == {None}
    assert {score.rule for score in ballot.scores.values()} == {"jury: missing"}


def test_hostile_answers_change_no_verdict_of_a_judge_that_reads_what_it_is_shown(tmp_path):
    hostile = [Case(f"s{i}", "Which nerve?", "Nervus radialis", answer) for i, answer in enumerate(answers())]
    judges = [
        Judge(name, MockJudge(rubric.read_case, JudgeBehaviour(malformed=0.3, seed=seed), name), Decoding(), name)
        for seed, name in enumerate(("a", "b", "c"))
    ]

    with VerdictStore(tmp_path) as store:
        ballot = Panel(judges).grade(hostile, store)

    assert len(ballot.scores) == 200
    for sample_id, score in ballot.scores.items():
        assert [verdict.judge for verdict in score.verdicts] == ["a", "b", "c"]
        assert {verdict.sample_id for verdict in score.verdicts} == {sample_id}
        assert {verdict.grade for verdict in score.verdicts} <= {0.0, None}
        assert score.value in (0.0, None)
