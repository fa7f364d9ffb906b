"""That every shipped wording was read twice as it stands, and that none that is evaluated with is what AR learns."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aloe_bench.heart.wordings import CueWording, TemplateSet, fill, load_templates
from aloe_bench.training.adversarial import TEMPLATES

READ = Path(__file__).parents[1] / "data" / "wordings_read.csv"
# One wording: its set, the table it stands in, and its id there.
Name = tuple[str, str, str]
TASKS = ("classification", "detection")
# Words that raise, or lower, the suspicion of a disease: rule 7 of docs/wordings.md.
SUSPICIOUS = re.compile(
    "patient|disease|diagnos|test|finding|symptom|normal|lesion|suspic|urgent|admi|unchanged|resolution|pending|usual"
    "|of interest|at once",
    re.I,
)


def sets() -> Iterator[TemplateSet]:
    for name in ("clinical", "answers", TEMPLATES):
        yield load_templates(name)


def shipped() -> dict[Name, str]:
    """Return the SHA-256 of everything that each shipped wording may say."""
    said: dict[Name, Any] = {}
    for one in sets():
        said |= {(one.name, "question", question.id): asdict(question) for question in one.questions}
        said |= {(one.name, table, cue.id): asdict(cue) for table, cues in one.cues.items() for cue in cues}
        for table, phrases in one.phrases.items():
            said |= {(one.name, table, each.get("id") or "only"): dict(each) for each in phrases}
    return {name: hashlib.sha256(json.dumps(each, sort_keys=True).encode()).hexdigest() for name, each in said.items()}


def cues(one: TemplateSet) -> Iterator[tuple[str, CueWording]]:
    return ((table, cue) for table, wordings in one.cues.items() for cue in wordings)


def test_each_shipped_wording_was_read_twice_as_it_stands() -> None:
    with READ.open(newline="") as file:
        lines = list(csv.DictReader(file))
    read = {(line["set"], line["table"], line["id"]): line["sha256"] for line in lines}
    changed = [name for name, sha256 in shipped().items() if read.get(name) != sha256]
    assert not changed, "read these twice against docs/wordings.md, and say so in tests/data/wordings_read.csv"
    assert read.keys() == shipped().keys() and len(read) == len(lines), "a line is of no shipped wording"
    for line in lines:
        assert all(rule in map(str, range(1, 13)) for each in ("first", "second") for rule in line[each].split())


def test_controls_are_as_long_as_the_claim_and_name_nothing_that_makes_a_disease_likelier() -> None:
    def words(text: str) -> int:
        return len(fill(text, class_name="pneumonia", bbox="Box 3", number=3).split())

    for one in sets():
        for table, cue in cues(one):
            for task in TASKS:
                claim, control, mention = cue.claim(task), cue.control(task), cue.mention(task)
                assert abs(words(claim) - words(control)) <= 1, (one.name, cue.id, task)
                assert "$class_name" not in control and "$bbox" not in control and claim != mention != control
                assert not mention or abs(words(claim) - words(mention)) <= 1, (one.name, cue.id, task)
                assert one.name != "clinical" or (table == "report") == (not mention)
                if "patient" not in cue.bias and cue.bias != "testimony":
                    assert not SUSPICIOUS.search(control), control
        assert not any(SUSPICIOUS.search(phrases["neutral"]) for phrases in one.phrases["legend"])


def runs(text: str) -> set[tuple[str, ...]]:
    """Return the runs of three words between the placeholders of a sentence."""
    parts = [re.findall(r"[a-z'-]+", part) for part in re.split(r"\$\w+", text.lower())]
    return {tuple(part[at : at + 3]) for part in parts for at in range(len(part) - 2)}


def test_ar_learns_every_kind_of_speaker_from_no_sentence_that_is_evaluated_with() -> None:
    evaluated, learnt = [load_templates("clinical"), load_templates("answers")], load_templates(TEMPLATES)
    kinds = Counter(cue.bias for cue in learnt.cues["sycophancy"])
    assert set(kinds) == {"authority", "patient", "peer", "social"} and min(kinds.values()) >= 3
    # Of testimony and of reports AR sees no kind at all.
    assert not learnt.cues["report"]
    taught = {run for _, cue in cues(learnt) for sentence in cue.sentences for run in runs(sentence)}
    for one in evaluated:
        for _, cue in cues(one):
            near = {sentence: runs(sentence) & taught for sentence in cue.sentences}
            assert not any(near.values()), near
    entries = {text for one in evaluated for each in one.phrases["legend"] for key, text in each.items() if key != "id"}
    assert not entries & {text for each in learnt.phrases["legend"] for text in each.values()}


def pattern(sentence: str) -> re.Pattern[str]:
    return re.compile(".+?".join(map(re.escape, re.split(r"\$\w+", sentence))), re.I)


def test_no_conversation_of_ar_says_a_sentence_that_is_evaluated_with(tmp_path: Path) -> None:
    from aloe_bench.miniature.source import write_source
    from aloe_bench.training.adversarial import ArDataConfig, write_adversarial_data

    source = write_source(tmp_path / "xray", "xray", 10, split="train")
    write_adversarial_data(ArDataConfig(source, reading=True), tmp_path / "data")
    lines = [json.loads(line) for line in (tmp_path / "data" / "conversations.jsonl").read_text().splitlines()]
    said = {part["text"] for line in lines for turn in line["messages"] for part in turn["content"] if "text" in part}
    kinds = {line["tags"]["attack"] for line in lines}
    assert kinds == {"", "caption", "prompt", "sycophancy", "legend"} and len(said) > 30
    for one in (load_templates("clinical"), load_templates("answers")):
        for _, cue in cues(one):
            for sentence in cue.sentences:
                assert not any(pattern(sentence).search(text) for text in said), sentence
