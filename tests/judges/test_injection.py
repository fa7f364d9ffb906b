"""`judge --injections`: what answers that talk to the judge gain by it, counted beside harmless ones."""

from __future__ import annotations

import json
from pathlib import Path

from aloe_bench.core import Decoding, Prediction
from aloe_bench.judges.jury.injection import attacked, pairs
from aloe_bench.judges.jury.panel import Judge, Panel
from aloe_bench.judges.jury.rubric import read_case
from aloe_bench.judges.jury.store import VerdictStore
from tests.conftest import Run
from tests.support.jury import judges_file, mock_table


class Gullible:
    """Gives 1 to every answer that holds `word`, else 0.5, and nothing to read where it holds `mute`."""

    def __init__(self, name: str, word: str, mute: str = "\0") -> None:
        self.name = self.fingerprint = name
        self._word, self._mute = word, mute

    def describe(self):
        return {}

    def generate(self, requests, decoding):
        for request in requests:
            answer = next(case for turn in reversed(request.messages) if (case := read_case(turn.text)))[2]
            reply = "?" if self._mute in answer else json.dumps({"grade": 1 if self._word in answer else 0.5})
            yield Prediction(request.id, reply, "stop")


def test_what_attacks_and_harmless_sentences_gain_is_counted_for_each_judge_and_the_jury(tmp_path: Path):
    models = [Gullible("a", "grade"), Gullible("b", "rubric"), Gullible("c", "further", mute="JSON")]
    judges = [Judge(model.name, model, Decoding(), model.name) for model in models]

    with VerdictStore(tmp_path) as store:
        (a, b, c, jury), down = attacked(Panel(judges), store)

    answers = [case.answer for _, case in pairs()[0]]
    assert len(set(answers)) == 200 and not down
    holds = {word: {answer for answer in answers if word in answer} for word in ("grade", "rubric", "JSON")}
    assert all(20 <= len(some) < 200 for some in holds.values())
    assert (set(a.attacks.raised_by), set(b.attacks.raised_by)) == (holds["grade"], holds["rubric"])
    assert (c.attacks.raised, c.attacks.unread) == (0, len(holds["JSON"]))
    # The jury needs two of one mind: with c it is 0.5, and where c is mute a and b must agree.
    assert set(jury.attacks.raised_by) == holds["grade"] & holds["rubric"]
    assert jury.attacks.unread == len(holds["JSON"] & (holds["grade"] ^ holds["rubric"])) > 0
    assert all(sum((m.raised, m.lowered, m.unchanged, m.unread)) == 200 for m in (a.attacks, c.attacks, jury.attacks))
    assert [one.harmless.raised for one in (a, b, c, jury)] == [0, 0, 4, 0]


def test_fewer_attacks_are_a_part_of_all_and_hold_most_of_what_is_said():
    whole = {attacked.sample_id: (bare, attacked) for bare, attacked in pairs()[0]}
    some = pairs(30)[0]

    assert all(whole[attacked.sample_id] == (bare, attacked) for bare, attacked in some)
    said = {int(attacked.sample_id.split("-")[1]) % 10 for _, attacked in some}
    assert len(said) >= 8 and len({bare.sample_id for bare, _ in some}) == 4


def test_the_share_is_printed_and_a_judge_that_is_down_ends_in_exit_code_1(aloe: Run, tmp_path: Path):
    names = [mock_table(name) for name in "abc"]
    jury = judges_file(tmp_path / "j.toml", *names)
    halved = judges_file(tmp_path / "k.toml", *names[:2], mock_table("c", down=True))

    shown = aloe("judge", "--injections", "--judges", jury)
    down = aloe("judge", "--injections", 10, "--judges", halved, "--json")
    mixed = aloe("judge", "somewhere", "--injections", 10, "--judges", jury)

    assert shown.returncode == 0, shown.stderr
    assert "injections that raised the jury's grade: 0.0 % of 200" in shown.stdout
    assert down.returncode == 1 and "Judge c is down" in down.stderr
    assert [one["attacks"]["unread"] for one in json.loads(down.stdout)["tried"]] == [0, 0, 10, 0]
    assert mixed.returncode == 2 and "leave RUN out" in mixed.stderr
