"""What holds of every reply: a stated option is never a third one, whatever the words; no text ends in an exception."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from itertools import product

import pytest

from aloe_bench.answers.strict.choice import parse_choice, parse_yes_no
from aloe_bench.core import LETTERS
from tests.answers.test_real_replies import REPLIES, rows

# Language -> the options; nouns with and without article; what joins them to the answer; how others are remarked on.
WORDS = {
    "en": (
        ("aspirin", "heparin", "warfarin", "streptokinase"),
        ("the correct answer", "the answer to the question", "the most appropriate treatment", "correct option",
         "the most likely cause", "the best choice", "my answer", "the next step"),
        ("is", "would be", "is:", "is therefore", "must be"),
        ("less likely", "rarely used here", "not indicated in this case", "a common choice, but too slow"),
    ),
    "es": (
        ("aspirina", "heparina", "warfarina", "estreptoquinasa"),
        ("la respuesta correcta", "la opción correcta", "el tratamiento más adecuado", "respuesta",
         "la causa más probable", "la letra"),
        ("es", "sería", "es la", "es:"),
        ("menos probable", "no está indicada", "subestima la gravedad", "poco frecuente"),
    ),
    "pt": (
        ("aspirina", "heparina", "varfarina", "estatina"),
        ("a resposta correta", "a alternativa correta", "o tratamento mais adequado", "resposta",
         "a causa mais provável", "a letra"),
        ("é", "seria", "é a", "é:"),
        ("menos provável", "não indicada", "subestima a gravidade", "pouco frequente"),
    ),
    "fr": (
        ("aspirine", "héparine", "warfarine", "streptokinase"),
        ("la bonne réponse", "la réponse correcte", "le traitement le plus approprié", "réponse",
         "la cause la plus probable"),
        ("est", "serait", "est la", "est :"),
        ("moins probable", "n'est pas indiquée ici", "rarement utilisée", "sous-estime la gravité"),
    ),
    "de": (
        ("Aspirin", "Heparin", "Warfarin", "Streptokinase"),
        ("die richtige Antwort", "die korrekte Option", "die geeignetste Behandlung", "Antwort",
         "die wahrscheinlichste Ursache"),
        ("ist", "wäre", "lautet", "ist:"),
        ("weniger wahrscheinlich", "hier nicht angezeigt", "selten", "unterschätzt die Schwere"),
    ),
    "zh": (
        ("阿司匹林", "肝素", "华法林", "链激酶"),
        ("正确答案", "答案", "最合适的治疗", "正确选项", "最可能的原因"),
        ("是", "应该是", "为", "是："),
        ("可能性较小", "不适用于本例", "很少使用", "低估了严重程度"),
    ),
}  # fmt: skip
# How the option itself is written, and the line of a remark on another.
WRITTEN = (
    "{letter}",
    "**{letter}**",
    "({letter})",
    "{letter}. {text}",
    "**{letter}. {text}**",
    "**({letter}) {text}**",
)
REMARKS = (
    "* **{letter}. {text}**: {says}.",
    "- {letter}) {text} – {says}",
    "**{letter}. {text}** {says}.",
    "{letter}: {says}.",
)


def stated(language: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield option, reply and options: the reply states the option and remarks on one, two or three others."""
    options, nouns, verbs, says = WORDS[language]
    rng = random.Random(language)
    full_stop = "。" if language == "zh" else "."
    for noun, verb, written in product(nouns, verbs, WRITTEN):
        at = rng.randrange(4)
        said = written.format(letter=LETTERS[at], text=options[at])
        others = rng.sample([i for i in range(4) if i != at], rng.randint(1, 3))
        form = rng.choice(REMARKS)
        remarks = [form.format(letter=LETTERS[i], text=options[i], says=rng.choice(says)) for i in sorted(others)]
        space = "" if language == "zh" else " "
        sentence = f"{noun}{space}{verb}{space}{said}{full_stop}"
        yield LETTERS[at], f"{sentence[:1].upper()}{sentence[1:]}\n\n" + "\n".join(remarks), options


@pytest.mark.parametrize("language", WORDS)
def test_a_reply_that_states_an_option_and_remarks_on_others_is_that_option_or_unread(language):
    found: Counter[str] = Counter()
    third = []
    for letter, reply, options in stated(language):
        read = parse_choice(reply, options)
        found["right" if read.letter == letter else "unread" if read.letter is None else "third"] += 1
        if read.letter not in (letter, None):
            third.append((letter, read, reply))
    assert not third, third[:3]
    assert found["right"] >= 0.8 * found.total(), found


FORMS = ("{letter}", "{letter}. {text}", "({letter}) {text}", "The answer is {letter}. {text}", "**{letter}. {text}**")


@pytest.mark.skipif(not REPLIES.is_dir(), reason=f"no real replies in {REPLIES}")
@pytest.mark.slow
def test_every_real_option_is_read_in_the_five_usual_forms():
    every = {(choices, at) for row in rows() if (choices := tuple(row["choices"])) for at in range(len(choices))}
    asked = sorted(every)[::5]
    missed: list[tuple[str, str]] = []
    for choices, at in asked:
        for form in FORMS:
            reply = form.format(letter=LETTERS[at], text=choices[at])
            read = parse_choice(reply, choices).letter
            assert read in (LETTERS[at], None), (reply, read, choices)
            if read is None:
                missed.append((reply, " | ".join(choices)))
    # What is left names two options at once: options that are letters in another order, or the same words twice.
    assert len(asked) > 5_000 and len(missed) <= 0.001 * len(FORMS) * len(asked), (len(missed), missed[:5])


PIECES = (
    "A", "b", "(C)", "**D**", "Answer:", "the answer is", "not", "or", "\n", "\n\n", ". ", ", ", "<think>", "</think>",
    "<answer>", "</answer>", "\\boxed{", "}", "$", "\\text{", "heparin", "Aspirin", '{"answer": "B"}', "```", "USER:",
    "I cannot", "might be", "答案是", "。", "é a", "\u200f", "\ud800", "\x00", "None of the above", "~~", "| A |", "😀",
)  # fmt: skip


def fuzzed(n: int) -> Iterator[str]:
    rng = random.Random(12)
    for _ in range(n):
        yield rng.choice(("", " ")).join(rng.choices(PIECES, k=rng.randint(0, 40)))


@pytest.mark.parametrize("n", [1_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_no_fuzzed_reply_ends_in_an_exception_or_in_a_letter_that_there_is_not(n):
    options = ("aspirin", "heparin", "None of the above")
    for at, reply in enumerate(fuzzed(n)):
        finish = ("stop", "length")[at % 2]
        assert parse_choice(reply, options, finish=finish).letter in ("A", "B", "C", None)
        assert parse_yes_no(reply, "Is heparin indicated?", finish=finish).letter in ("yes", "no", None)
