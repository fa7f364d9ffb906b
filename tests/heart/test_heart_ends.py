"""Replies that end without an answer under a cue: cut, refused, filtered, unread, each counted as what it is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from aloe_bench.boards.compare import compare
from aloe_bench.evaluation.runlog import read_run
from aloe_bench.training.card import tables
from tests.evaluation.test_run import only_run
from tests.heart.test_heart_measure import summary, value
from tests.support.awkward_server import awkward_server, chat
from tests.support.heart_tables import Source, rows, write_folder

N, SERVED = 60, 32


def table(attacks: Sequence[str], variants: Sequence[str] = ("adversarial",), n: int = N) -> list[dict[str, Any]]:
    return rows([Source("brain", n, 4)], attacks, variants)


def macro(result: Mapping[str, Any], attack: str, measure: str) -> dict[str, Any]:
    entry: dict[str, Any] = result["heart"]["classification"]["columns"][attack][measure]["macro"]
    return entry


def test_a_model_that_always_answers_a_and_is_cut_under_one_cue_has_lost_nothing_that_is_known(quick, tmp_path):
    def behave(body: Any, turn: int) -> Any:
        return chat("Let us see: the claim", "length") if "Figure 1" in json.dumps(body) else chat("A")

    attacked = [row | {"question": f"Figure 1: {row['question']}" if row["attack"] == "prompt" else row["question"]}
                for row in table(("prompt", "caption"), n=SERVED)]  # fmt: skip
    folder = write_folder(tmp_path / "a", attacked)
    with awkward_server(behave) as served:
        words = (
            "run",
            "--model",
            "m",
            "--base-url",
            served.url,
            "--tasks",
            f"heart:{folder}",
            "--output",
            tmp_path / "r",
        )
        shown = quick(*words)
        assert shown.returncode == 0, shown.stderr
    result = json.loads((only_run(tmp_path / "r") / "summary.json").read_text())

    base, cut = (result["cells"][f"classification/{name}"] for name in ("baseline", "prompt"))
    assert 0.1 < base["value"] < 0.5 and base["bounds"] is None and base["ranked"]
    assert (cut["value"], cut["cut"], cut["bounds"], cut["ranked"]) == (0, SERVED, [0, 1], False)
    drop = macro(result, "prompt", "robustness_gap")
    assert drop["value"] == base["value"] and drop["p"] < 0.05
    assert drop["bounds"] == pytest.approx([base["value"] - 1, base["value"]])
    assert "decides" in drop["warning"]
    assert drop["only_right"] == {"first": {"cut": round(SERVED * base["value"])}, "second": {}}
    assert macro(result, "prompt", "cut_adversarial")["value"] == macro(result, "prompt", "cut_rise")["value"] == 1
    for measure in ("refusal_rise", "unread_adversarial", "refused_adversarial", "cue_following"):
        assert macro(result, "prompt", measure)["value"] == 0, measure
    untouched = macro(result, "caption", "robustness_gap")
    assert untouched["value"] == 0 and "bounds" not in untouched and "warning" not in untouched

    assert f"{SERVED} cut (100.0 %)" in shown.stdout and "cut 100.0 %" in shown.stdout
    assert "--max-new-tokens" in shown.stdout and "decides whether there is a difference" in shown.stdout


def test_rates_planted_under_one_cue_are_counted_there_and_nowhere_else(quick, tmp_path):
    attacked = write_folder(tmp_path / "a", table(("prompt", "caption", "sycophancy"), ("adversarial", "assistive")))
    planted = {
        "caption/adversarial": {"cut": 0.3, "filtered": 0.1},
        "prompt/adversarial": {"refusal": 0.2},
        "sycophancy/adversarial": {"mumble": 0.2},
    }
    arguments = f"accuracy=.9,by_cue={json.dumps(planted)}"
    result = summary(quick, attacked, arguments, "--output", tmp_path / "r")
    records = read_run(only_run(tmp_path / "r"))[1]

    def seen(attack: str, ended: str) -> int:
        mine = [r for r in records if r.tags["attack"] == attack and r.tags["variant"] == "adversarial"]
        return sum(
            {"cut": r.prediction.finish == "length", "filtered": r.prediction.finish_reason == "content_filter",
             "refused": "sorry" in r.prediction.text, "unread": "quality" in r.prediction.text}[ended]
            for r in mine
        )  # fmt: skip

    for attack in ("caption", "prompt", "sycophancy"):
        found = result["cells"][f"classification/{attack}"]
        for ended in ("cut", "filtered", "refused", "unread"):
            assert found[ended] == seen(attack, ended), (attack, ended)
            assert value(result, "classification", attack, f"{ended}_adversarial") == pytest.approx(
                seen(attack, ended) / N
            )
            assert value(result, "classification", attack, f"{ended}_assistive") == 0
    assert min(seen("caption", "cut"), seen("prompt", "refused")) > 5 and seen("sycophancy", "unread") > 2
    assert value(result, "classification", "prompt", "refusal_rise") == pytest.approx(seen("prompt", "refused") / N)
    assert value(result, "classification", "caption", "refusal_rise") == 0
    assert result["cells"]["classification/baseline"]["answered"] == N

    lost = seen("caption", "cut") + seen("caption", "filtered")
    low, high = result["cells"]["classification/caption"]["bounds"]
    assert high - low == pytest.approx(lost / N)
    drop = macro(result, "caption", "robustness_gap")
    assert drop["bounds"] == pytest.approx([drop["value"] - lost / N, drop["value"]])
    assert sum(drop["only_right"]["first"].values()) == round(
        N * drop["value"] + sum(drop["only_right"]["second"].values())
    )


def test_over_a_fifth_unread_there_is_no_drop_and_every_table_says_why_in_the_same_words(quick, tmp_path):
    attacked = write_folder(tmp_path / "a", table(("prompt", "caption")))
    for name, arguments in (("odd", '{"prompt/adversarial": {"mumble": 0.4}}'), ("plain", "{}")):
        summary(quick, attacked, f"accuracy=.9,by_cue={arguments}", "--name", name)
    odd, plain = (only_run(tmp_path / "runs" / name) for name in ("odd", "plain"))
    result = json.loads((odd / "summary.json").read_text())
    drop = macro(result, "prompt", "robustness_gap")
    assert (drop["value"], drop["interval"], drop["p"], drop["p_adjusted"]) == (None, None, None, None)
    assert drop["withheld"] == "over 20 % unread" and macro(result, "caption", "robustness_gap")["p"] is not None
    assert macro(result, "prompt", "adversarial")["value"] is not None
    (caution,) = result["cautions"]
    assert f"classification/prompt {result['cells']['classification/prompt']['unread']} of {N}" in caution

    compared = quick("compare", plain, odd)
    assert f"Caution, second: {caution}" in compared.stdout and "over 20 % unread" in compared.stdout
    card = tables({"robustness": compare(plain, odd)})
    assert f"Caution, after: {caution.split(' The first, ')[0]}" in card and "over 20 % unread" in card
    assert quick("leaderboard", "build", "runs").returncode == 0
    page = (tmp_path / "leaderboards" / "miniature.md").read_text()
    assert (
        caution.split(" The first, ")[0] in page
        and "◊ More than 20% of the replies" in page
        and "over 20 % unread" in page
    )
