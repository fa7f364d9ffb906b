"""The strict parser against labelled replies by two people, and the compat parser against observed behaviour."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aloe_bench.answers.compat.vlmeval import parse_choice_vlmeval
from aloe_bench.answers.score import grade, parser_id
from aloe_bench.answers.strict.choice import Parsed, parse_choice, parse_yes_no
from aloe_bench.core import LETTERS, Prediction, Sample
from aloe_bench.tasks.formats import CHOICE_REQUEST, YES_NO_REQUEST

DATA = Path(__file__).parents[1] / "data"
SETS = ("replies_author.jsonl", "replies_blind.jsonl", "replies_blind2.jsonl", "replies_blind3.jsonl")
BRAIN = ["Glioma", "Meningioma", "Pituitary tumor", "No tumor"]


def labelled() -> list[dict[str, Any]]:
    """Return all labelled replies; all blind sets but the third were used to mend the rules."""
    rows = []
    for name in SETS:
        lines = (DATA / name).read_text(encoding="utf-8").splitlines()
        rows += [{**json.loads(line), "at": f"{name}:{n}"} for n, line in enumerate(lines, 1) if line.strip()]
    return rows


def read(row: dict[str, Any]) -> Parsed:
    return parse_yes_no(row["reply"]) if row.get("yes_no") else parse_choice(row["reply"], row["choices"])


def test_no_labelled_reply_gets_a_wrong_letter_and_few_are_missed():
    rows = labelled()
    got = [(row, read(row)) for row in rows]

    wrong = [(row["at"], row["reply"][:80], p) for row, p in got if p.letter not in (None, row["expected"])]
    missed = [(row["at"], row["reply"][:80], p) for row, p in got if p.letter is None and row["expected"]]

    assert len(rows) >= 1150
    assert wrong == []
    for name in SETS:
        here = [one for one in missed if one[0].startswith(f"{name}:")]
        assert len(here) <= 0.06 * sum(row["at"].startswith(f"{name}:") for row in rows), here


def echoed(row: dict[str, Any]) -> str:
    if row.get("yes_no"):
        return f"Is it there?\n{YES_NO_REQUEST}\n"
    options = "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, row["choices"], strict=False))
    return f"What is it?\n{options}\n{CHOICE_REQUEST}\n"


WRAPPED: dict[str, Callable[[dict[str, Any]], str]] = {
    "role": lambda row: f"Assistant: {row['reply']}",
    "bold": lambda row: f"<b>{row['reply']}</b>",
    "echo": lambda row: echoed(row) + row["reply"],
    "user": lambda row: f"USER: Which? ASSISTANT: {row['reply']}",
    "json": lambda row: json.dumps({"selected_option": row["reply"]}, ensure_ascii=False),
    "before": lambda row: f"The film is of adequate quality.\n\n{row['reply']}",
    "after": lambda row: f"{row['reply']}\n\nThe film is of adequate quality for this purpose.",
    "so": lambda row: f"So, {row['reply']}",
    "likely": lambda row: f"Most likely {row['reply']}",
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_no_labelled_reply_gets_a_wrong_letter_in_other_words_around_it(wrap):
    got = [(row, read({**row, "reply": wrap(row)})) for row in labelled()]

    assert [(wrap(row)[:120], p) for row, p in got if p.letter not in (None, row["expected"])] == []


def test_no_labelled_answer_stands_when_it_is_taken_back():
    rows = [row for row in labelled() if row["expected"] and not re.search(r"\n(?:Question|User):", row["reply"])]
    got = [(row, read({**row, "reply": f"{row['reply']} Wait, that is not right."})) for row in rows]

    assert [(row["reply"][:120], p) for row, p in got if p.letter] == []


PIECES = st.sampled_from(
    [
        "<think>",
        "</think>",
        "◁think▷",
        "<answer>",
        "</answer>",
        "\\boxed{",
        "}",
        "B",
        "a",
        " ",
        "\n",
        "(",
        ")",
        "not",
        "the answer is",
        "final answer:",
        "Option",
        "glioma",
        "No",
        "yes",
        ".",
        ",",
        '{"answer": "B"}',
        "<|begin_of_box|>",
        "İ",
        "\ud800",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.lists(PIECES).map(" ".join)), st.lists(st.text(max_size=12), max_size=30))
def test_any_reply_gives_a_letter_of_the_item_or_none(reply, choices):
    letters = [*"ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(choices)], None]

    assert parse_choice(reply, choices).letter in letters
    assert parse_choice_vlmeval(reply, choices).letter in letters
    assert parse_yes_no(reply).letter in ("yes", "no", None)
    assert parse_choice(reply, choices) == parse_choice(reply, choices)


@pytest.mark.alone
@pytest.mark.parametrize(
    "unit",
    [
        "<think>",
        "</think>",
        "<answer>",
        "\\boxed{",
        "the answer is ",
        "B ",
        " ",
        "\n",
        "(",
        "not ",
        "glioma ",
        "A. ",
        "'answer': '",
        "a",
        "\nA",
        "wait, ",
        "so A ",
        "the answer is glioma ",
        "USER: ",
        "\nQuestion: x",
        "Answer with the letter of the correct option only.\nB ",
        "<unused94>",
        "~~a",
        "是的，",
        "option B is also ",
    ],
)
def test_long_replies_take_linear_time(unit):
    reply = (unit * 100_000)[:100_000]
    start = time.process_time()

    parse_choice(reply, BRAIN)
    parse_yes_no(reply)

    # A quadratic reading takes minutes; a busy machine five times as long as an idle one.
    assert time.process_time() - start < 25.0


@pytest.mark.parametrize(
    ("reply", "letter", "rule"),
    [
        ("B", "B", "letter-alone"),
        ("\\boxed{B}", "B", "boxed:letter-alone"),
        ("### The final answer is: B", "B", "final-answer"),
        ("The answer is B because A is wrong", "B", "announced"),
        ("<think>B", None, "open-reasoning"),
        ("B. Glioma", None, "letter-and-text-differ"),
    ],
)
def test_the_rule_that_fired_is_kept(reply, letter, rule):
    assert parse_choice(reply, BRAIN) == Parsed(letter, rule)


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        ("Is there a nodule? No", "no"),
        ("Q: Is there a nodule? A: No.", "no"),
        ("The lungs are clear.\n**No**", "no"),
        ("Is there a nodule? Yes", "yes"),
        ("There is no nodule.", None),
        ("Are there any? No nodules are seen", None),
        ("Grade: no. 3", None),
        ("Yes or no? No", None),
    ],
)
def test_a_sentence_of_the_one_word_answers_a_yes_no_question(reply, word):
    assert parse_yes_no(reply).letter == word


HEDGING = ["Glioma", "Either ovary", "May-Thurner syndrome", "None of the above"]


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("D. None of the above", "D"),
        ("(D) None of the above.", "D"),
        ("Option D: None of the above", "D"),
        ("D. None of the above. There is no mass.", "D"),
        ("B) Either ovary", "B"),
        ("C. May-Thurner syndrome", "C"),
        ("C. May-Thurner syndrome, maybe", None),
        ("D. None of the above, but I cannot determine it.", None),
        ("D. None of the above options fit, sorry", None),
        ("A. None of the above", None),
    ],
)
def test_an_options_own_words_beside_its_letter_are_no_hedge(reply, letter):
    assert parse_choice(reply, HEDGING).letter == letter


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        ("A. Glioma B. Meningioma C. Pituitary tumor D. No tumor", None),
        ("(A) Glioma; (B) Meningioma", None),
        ("B. Meningioma or A. Glioma", None),
        ("B) Meningioma/C) Pituitary tumor", None),
        ("B. Meningioma or C", None),
        ("The answer is B. Meningioma or A. Glioma", None),
        ("Option B: Meningioma and A. Glioma", None),
        ("B. Meningioma, a tumour of the meninges", "B"),
        ("B. Meningioma. A. Glioma would lie inside the brain.", "B"),
        ("B. Meningioma. A. Glioma is less likely", "B"),
        ("The answer is B. Meningioma. A is wrong", "B"),
    ],
)
def test_a_second_option_after_the_first_ones_text_leaves_the_reply_unread(reply, letter):
    assert parse_choice(reply, BRAIN).letter == letter


@pytest.mark.parametrize(
    ("reply", "letter"),
    [
        *(
            (r, "B")
            for r in (
                "B",
                "B.",
                "(B)",
                "**B**",
                "B. Meningioma",
                "Answer: B",
                "\\boxed{B}",
                "### The final answer is: B",
            )
        ),
        ("The answer is a benign tumour of the meninges.", "A"),
        ("<think>It may be A or B</think><answer>B</answer>", "A"),
        ("<think>A ring lesion. Option C is unlikely.</think> B", None),
        ("<|begin_of_box|>B<|end_of_box|>", None),
        *((r, None) for r in ("b", "b)", "Answer: b", "Meningioma, not glioma")),
        ("I think it is option B because the mass is extra-axial and enhances", None),
    ],
)
def test_vlmeval_compat_reads_what_can_infer_was_seen_to_read(reply, letter):
    assert parse_choice_vlmeval(reply, BRAIN).letter == letter


@pytest.mark.parametrize(
    ("reply", "letter"), [("normal", "B"), ("No, there is none", None), ("Yes, there is no doubt", None)]
)
def test_vlmeval_compat_finds_no_inside_normal(reply, letter):
    assert parse_choice_vlmeval(reply, ["yes", "no"]).letter == letter


def test_vlmeval_compat_knows_a_to_d_only_in_verbose_replies():
    reply = "The correct answer is **E**. Here is why: option A shows a mass in the left lobe of the liver."

    assert parse_choice_vlmeval(reply, [*BRAIN, "Abscess"]).letter is None


def test_version_2_of_the_parser_still_reads_as_it_did() -> None:
    question = Sample("q", "choice", "?", "B", "q", choices=("Glioma", "Meningioma", "Pituitary tumor", "No tumor"))
    reply = Prediction("q", "Meningioma, not glioma", "stop")
    now, then = grade(question, reply), grade(question, reply, "strict2")
    assert (now.parsed, now.value) == ("B", 1.0)
    assert (then.parsed, then.value, then.rule) == (None, 0.0, "unread: negated-text")
    assert parser_id("strict2") == "strict2-2" and parser_id("strict") == "strict-3"
