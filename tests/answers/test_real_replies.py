"""The strict parser on real replies of real models; their texts lie beside the project and are never copied into it."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from aloe_bench.answers.score import grade
from aloe_bench.answers.strict.choice import Parsed, parse_choice, parse_yes_no
from aloe_bench.core import Prediction, Sample

ROOT = Path(__file__).parents[2]
REPLIES = ROOT.parent / "shared" / "replies"
DISCLAIMER = (
    "\n\nPlease note that I am an AI and cannot provide medical advice. Consult a qualified healthcare professional."
)

pytestmark = pytest.mark.skipif(not REPLIES.is_dir(), reason=f"no real replies in {REPLIES}")


def rows() -> list[dict[str, Any]]:
    texts = (gzip.decompress(path.read_bytes()).decode() for path in sorted(REPLIES.glob("replies_*.gz")))
    return [json.loads(line) for text in texts for line in text.split("\n") if line]


def labels(name: str) -> dict[str, dict[str, Any]]:
    lines = (ROOT / "tests" / "data" / name).read_text().splitlines()
    return {row["sha"]: row for row in map(json.loads, lines)}


def sha(reply: str, context: object) -> str:
    return hashlib.sha256(json.dumps([reply, context], ensure_ascii=False).encode()).hexdigest()[:20]


def verdict(label: str, read: Parsed) -> str:
    if label == "?":
        return "contradictory"
    if label == "-":
        return "invented" if read.letter else "right"
    return "right" if read.letter == label else "wrong" if read.letter else "missed"


def test_hand_labels_no_wrong_letter_at_most_one_invented_and_four_missed():
    lines = (REPLIES / "hand_labels.jsonl").read_text(encoding="utf-8").splitlines()
    hand = [json.loads(line) for line in lines]
    found = Counter(verdict(row["human"], parse_choice(row["reply"], row["choices"])) for row in hand)
    assert found["wrong"] == 0 and found["invented"] <= 1 and found["missed"] <= 4, found


def test_our_own_labels_of_unread_replies_and_the_share_of_all_replies_that_is_missed():
    mine = labels("labels_of_real_replies.jsonl")
    everything = rows()
    found: Counter[str] = Counter()
    missed, size = Counter[str](), Counter(row["source"] for row in everything)
    for row in everything:
        label = mine.pop(sha(row["reply"], row["choices"]), None)
        if label:
            what = verdict(label["label"], parse_choice(row["reply"], row["choices"]))
            found[what] += 1
            missed[row["source"]] += label["stands_for"] * (what == "missed")
    assert found["wrong"] == 0 and found["invented"] <= 1 and found["missed"] <= 6, found
    for source in ("worldmedqa-v", "mmlu-pro", "kav-OmniVQA", "kav-PMC-VQA", "medmnist", "mmmu"):
        assert missed[source] <= 0.01 * size[source], (source, missed[source], size[source])


def test_fresh_labels_no_letter_wrong_or_invented_and_few_missed():
    # Drawn by hash and labelled before any reading was seen; what each draw showed then is in docs/replies.md.
    mine = labels("labels_of_real_replies_fresh.jsonl")
    found: Counter[tuple[str, bool]] = Counter()
    for row in rows():
        if label := mine.pop(sha(row["reply"], row["choices"]), None):
            found[verdict(label["label"], parse_choice(row["reply"], row["choices"])), label["draw"] == 3] += 1
    assert not mine and found.total() == 254
    assert not {what for what, _ in found} & {"wrong", "invented"}
    assert found["missed", False] <= 8 and found["missed", True] <= 4, found


def test_what_is_called_refused_refuses():
    sorted_by_hand = labels("refusals_of_real_replies.jsonl")
    hand = [json.loads(line) for line in (REPLIES / "hand_labels.jsonl").read_text(encoding="utf-8").splitlines()]
    found: Counter[tuple[bool, bool]] = Counter()
    for row in [*hand, *rows()]:
        if told := sorted_by_hand.pop(sha(row["reply"], row["choices"]), None):
            sample = Sample(id="1", kind="choice", question="", target="A", choices=tuple(row["choices"]), cluster="1")
            score = grade(sample, Prediction(id="1", text=row["reply"], finish="stop"))
            found[score.outcome == "refused", told["refuses"] is not None] += 1
    assert not sorted_by_hand and found.total() == 208
    called = found[True, True] + found[True, False]
    assert found[True, True] >= 0.95 * called and called >= 0.95 * (found[True, True] + found[False, True]), found


def test_our_own_labels_of_yes_no_replies():
    mine = labels("labels_of_real_yes_no.jsonl")
    lines = (REPLIES / "replies_yes_no.jsonl").read_text(encoding="utf-8").splitlines()
    seen = [(mine.get(sha(row["reply"], row["question"])), row) for row in map(json.loads, lines)]
    found = Counter(verdict(one["label"], parse_yes_no(row["reply"], row["question"])) for one, row in seen if one)
    assert found["right"] >= 100 and not found["wrong"] + found["invented"] + found["missed"], found


def test_an_appended_disclaimer_leaves_what_was_read_read():
    sample = rows()[::9]
    read = [(row, letter) for row in sample if (letter := parse_choice(row["reply"], row["choices"]).letter)]
    again = [parse_choice(row["reply"] + DISCLAIMER, row["choices"]).letter for row, _ in read]
    assert not [1 for (_, letter), now in zip(read, again, strict=True) if now not in (letter, None)]
    assert again.count(None) <= 0.005 * len(read)


def test_a_remark_on_another_option_never_gives_a_third_letter():
    for row in rows()[::9]:
        letter = parse_choice(row["reply"], row["choices"]).letter
        other = next((one for one in "CAB" if one != letter and ord(one) - 65 < len(row["choices"])), None)
        if letter and other:
            remark = f"\n\n* **{other}. {row['choices'][ord(other) - 65]}**: less likely here."
            assert parse_choice(row["reply"] + remark, row["choices"]).letter in (letter, None), row["reply"][-300:]


def test_a_reply_cut_anywhere_gives_its_own_letter_or_none():
    third = []
    for row in rows()[::23]:
        letter = parse_choice(row["reply"], row["choices"]).letter
        for share in (0.3, 0.6, 0.9):
            cut = row["reply"][: int(share * len(row["reply"]))]
            now = parse_choice(cut, row["choices"], finish="length")
            # What the reply itself called the likeliest option, and then overruled, is no tail: one reply in 700.
            if letter and now.letter not in (letter, None) and now.rule != "called-best":
                third.append((letter, now, cut[-200:]))
    assert not third, third


@pytest.mark.parametrize(("reply", "letter"), [
    ("Let's look at the options:\n\nA. Glioma, which is", None),
    ("選択肢を見てみましょう：\n\nA. Glioma - これは", None),
    ("m", None), ("b", None), ("B", "B"),
    ("The answer is B. Meningi", "B"),
    ("It enhances evenly. The answer is:\n\nB. Meningi", "B"),
])  # fmt: skip
def test_the_tail_of_a_cut_reply_is_no_answer(reply, letter):
    options = ["Glioma", "Meningioma", "Basophil", "No tumor"]
    assert parse_choice(reply, options, finish="length").letter == letter
