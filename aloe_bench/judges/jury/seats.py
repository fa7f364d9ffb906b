"""A jury: `judges.toml`, read strictly, the models made from it, and its sessions on the runs it grades."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any, get_type_hints

from aloe_bench.answers.score import gradable_answer, grade_open, graded_open
from aloe_bench.core import Decoding, Model, Record, Score
from aloe_bench.errors import AloeError, DataError, ModelError, RunMismatchError, UsageError, did_you_mean
from aloe_bench.evaluation import runlog
from aloe_bench.evaluation.leftover import FILE as LEFT_OVER
from aloe_bench.evaluation.leftover import VERDICT, Unmatched, keep_left_over
from aloe_bench.files import VERDICT_FILE, write_json
from aloe_bench.judges.jury.panel import Judge, Panel, Progress
from aloe_bench.judges.jury.rubric import Case, read_case, rubric_id
from aloe_bench.judges.jury.store import Reply, VerdictStore, case_key
from aloe_bench.models.make import ModelSpec, checked_options, file_facts, make_model

log = logging.getLogger(__name__)
JURY_SCHEMA = 1
STRANGE = f"in {VERDICT_FILE}, of an answer that the run does not hold or by another judge: no part in a grade"
DEFAULT_MAX_NEW_TOKENS = 256


@dataclass(frozen=True, slots=True)
class JudgeConfig:
    """One `[[judge]]` table. `api_key_env` names a variable; the key itself stands in no file.

    `options` are passed to the back end: concurrency, timeout, batch_size, or a mock's behaviour. `constrained`
    asks the back end to hold replies to the verdict's JSON schema; some servers refuse that.
    """

    name: str
    backend: str
    model: str
    revision: str = ""
    base_url: str = ""
    api_key_env: str = ""
    decoding: Decoding = field(default_factory=lambda: Decoding(max_new_tokens=DEFAULT_MAX_NEW_TOKENS))
    constrained: bool = True
    options: Mapping[str, Any] = field(default_factory=dict)

    def fingerprint(self, model_fingerprint: str, dtype: str = "") -> str:
        """Return the SHA-256 of who judges and how.

        A served model with a revision is known by that, and may move to another address; without one it is known
        by its address. Any other back end is known by its own fingerprint and `dtype`, wherever its files lie.
        """
        if self.backend != "openai":
            who = [model_fingerprint, dtype]
        elif self.revision:
            who = [self.model, self.revision]
        else:
            who = [self.model, self.revision, model_fingerprint]
        parts = [self.backend, who, self.decoding.temperature, self.decoding.max_new_tokens]
        parts += [] if self.constrained else ["unconstrained"]
        parts += [f"seed {self.decoding.seed}"] if self.decoding.seed else []
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def default_text() -> str:
    """Return the shipped `judges.toml`: the paper's three."""
    return resources.files("aloe_bench.judges.jury").joinpath("default_judges.toml").read_text(encoding="utf-8")


def read_judges(path: Path | None) -> list[JudgeConfig]:
    """Return the judges of a file, or of the shipped one; raises DataError naming table and key."""
    where = str(path or "default_judges.toml")
    try:
        text = path.read_text(encoding="utf-8") if path else default_text()
        document = tomllib.loads(text)
    except OSError as error:
        raise DataError(
            f"{where}: cannot read ({error.strerror}). `aloe-bench judge --show-default` prints one."
        ) from error
    except ValueError as error:
        raise DataError(f"{where}: not TOML ({error}).") from error
    _known(document, {"judge"}, where)
    tables = document.get("judge")
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise DataError(f"{where}: no [[judge]] table; expected one for each judge.")
    return [_judge(table, f"{where}: judge {number}") for number, table in enumerate(tables, 1)]


def _judge(table: Mapping[str, Any], where: str) -> JudgeConfig:
    kinds = get_type_hints(JudgeConfig)
    _known(table, set(kinds), where)
    values: dict[str, Any] = {}
    for key in ("name", "backend", "model"):
        if not str(table.get(key, "")).strip():
            raise DataError(f"{where}: no {key}.")
    for key, value in table.items():
        if kinds[key] is str and not isinstance(value, str):
            raise DataError(f"{where}: {key} {value!r} is not a text.")
        if kinds[key] is bool and not isinstance(value, bool):
            raise DataError(f"{where}: {key} {value!r} is neither true nor false.")
        values[key] = value
    if "decoding" in table:
        values["decoding"] = _decoding(table["decoding"], f"{where}: decoding")
    if table.get("revision") and table["backend"] != "openai":
        raise DataError(
            f"{where}: revision says what a server serves; back end {table['backend']} is known by its weights. "
            "Leave it out, and give the folder of that commit (hf download MODEL --revision COMMIT) as model."
        )
    if not isinstance(table.get("options", {}), dict):
        raise DataError(f"{where}: options must be a table, [judge.options].")
    if "api_key" in table.get("options", {}):
        raise DataError(f"{where}: an API key does not belong in a file; name its variable in api_key_env.")
    return JudgeConfig(**values)


def _decoding(table: object, where: str) -> Decoding:
    if not isinstance(table, dict):
        raise DataError(f"{where} must be a table, [judge.decoding].")
    _known(table, set(get_type_hints(Decoding)) - {"reasoning_tokens"}, where)
    temperature, tokens = table.get("temperature", 0.0), table.get("max_new_tokens", DEFAULT_MAX_NEW_TOKENS)
    if isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 0 <= temperature < 100:
        raise DataError(f"{where}: temperature {temperature!r} is not a number from 0.")
    if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 1:
        raise DataError(f"{where}: max_new_tokens {tokens!r} is not a whole number from 1.")
    seed = table.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise DataError(f"{where}: seed {seed!r} is not a whole number.")
    return Decoding(float(temperature), tokens, seed)


def _known(table: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise DataError(
                f"{where}: unknown key {key!r}.{did_you_mean(key, known)} Known: {', '.join(sorted(known))}."
            )


@dataclass(frozen=True, slots=True)
class JurySession:
    """What a jury did with a run: why a judge stopped early; its unreadable replies and its failed calls, by name.

    `unread` holds each judge's first reply that could not be read, where there is one. `left` counts the verdicts that
    another session would still ask for.
    """

    judged: int
    left: int
    down: Mapping[str, str]
    counts: Mapping[str, tuple[int, int]]
    unread: Mapping[str, Reply]


def jury_facts(panel: Panel, described: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what `judges.json` holds; `identity` is the same in whatever order the judges stand."""
    fingerprints = sorted([judge.name, judge.fingerprint] for judge in panel.judges)
    identity = hashlib.sha256(json.dumps([rubric_id(), fingerprints]).encode()).hexdigest()
    judges = [
        {"name": judge.name, "fingerprint": judge.fingerprint, **facts}
        for judge, facts in zip(panel.judges, described, strict=True)
    ]
    return {
        "schema": JURY_SCHEMA,
        "identity": identity,
        "rubric": rubric_id(),
        "rule": "median",
        "judges": sorted(judges, key=lambda judge: str(judge["name"])),
    }


def judge_run(
    folder: Path,
    panel: Panel,
    facts: Mapping[str, Any],
    fresh: bool = False,
    progress: Progress = lambda done, total: None,
) -> JurySession:
    """Grade the open answers of a finished run; what is graded stays, so that it can be interrupted and repeated.

    Raises RunMismatchError if another jury has begun, unless `fresh`, which sets that jury's verdicts aside.
    """
    header, records = runlog.read_run(folder)
    if len(records) < header["n"]:
        raise DataError(f"{folder}: {len(records)} of {header['n']} records; finish the run before it is graded.")
    cases = _cases(folder, records)
    with runlog.RecordWriter(folder) as writer:
        if fresh:
            writer.append(replace(r, score=_ungraded(r)) for r in records if r.score.verdicts)
        # In logs of before cut answers were told from whole ones, they wait for a grade, or have one.
        cut = [r for r in records if r.score.rule == "unjudged" and r.score != _ungraded(r)]
        cut += [r for r in records if r.score.verdicts and _ungraded(r).outcome == "cut"]
        writer.append(replace(r, score=_ungraded(r)) for r in cut)
        has_grades = any(verdict.grade is not None for record in records for verdict in record.score.verdicts)
        _seat(folder, header.get("judges"), facts, fresh, has_grades)
        with VerdictStore(folder) as store:
            ballot = panel.grade(cases, store, progress)
            counts = {judge.name: store.counts(judge.fingerprint) for judge in panel.judges}
            first = {judge.name: store.first_unread(judge.fingerprint) for judge in panel.judges}
            strange = store.foreign(
                [judge.fingerprint for judge in panel.judges], [case_key(case, rubric_id()) for case in cases]
            )
        if strange or (folder / LEFT_OVER).is_file():
            keep_left_over(folder, (VERDICT,), [Unmatched(VERDICT, name, STRANGE) for name in strange])
        graded = [
            (record, graded_open(record.prediction, ballot.scores[record.sample_id]))
            for record in runlog.read_records(folder)
            if record.sample_id in ballot.scores
        ]
        changed = [replace(record, score=score) for record, score in graded if record.score != score]
        writer.append(changed)
    log.info("%s: %d answers graded, %d scores changed", folder, len(cases), len(changed))
    return JurySession(len(cases), ballot.left, ballot.down, counts, {name: one for name, one in first.items() if one})


def _ungraded(record: Record) -> Score:
    return grade_open(record.prediction.text or "", record.prediction.finish)


def _cases(folder: Path, records: Sequence[Record]) -> list[Case]:
    cases = []
    for record in records:
        answer = gradable_answer(record.prediction) if record.kind == "open" else None
        if answer is None:
            continue
        if not record.question:
            raise DataError(f"{folder}: {record.sample_id} has no question in its record; run the model again.")
        cases.append(Case(record.sample_id, record.question, record.target, answer))
    return cases


def _seat(
    folder: Path, seated: Mapping[str, Any] | None, facts: Mapping[str, Any], fresh: bool, has_grades: bool
) -> None:
    """Write `judges.json`, unless it stands there; refuse another jury, or set its work aside.

    A jury that has said nothing yet, because no judge could be reached, makes room for the next.
    """
    said = folder / VERDICT_FILE
    if seated is not None and not has_grades and (not said.exists() or said.stat().st_size == 0):
        seated = None
    if seated is not None and seated.get("identity") != facts["identity"] and not fresh:
        raise RunMismatchError(
            f"{folder}: graded, wholly or in part, by another jury: {_jury_line(seated)}; asked for now: "
            f"{_jury_line(facts)}. Use the earlier judges, or --fresh-verdicts to set their verdicts aside."
        )
    if fresh and seated is not None:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
        for name in (runlog.JURY_FILE, VERDICT_FILE):
            path = folder / name
            if path.exists():
                os.replace(path, path.with_name(f"{path.stem}-until-{stamp}{path.suffix}"))
    if fresh or seated is None:
        write_json(folder / runlog.JURY_FILE, facts)


def _jury_line(facts: Mapping[str, Any]) -> str:
    judges = ", ".join(f"{judge['name']} ({judge['fingerprint'][:8]})" for judge in facts.get("judges", ()))
    return f"{judges} with rubric {facts.get('rubric')}"


@dataclass(slots=True)
class Jury:
    """A panel built from a file, with what is written about it and what became of its sessions."""

    panel: Panel
    facts: dict[str, Any]
    sessions: list[JurySession] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path | None, keys: Mapping[str, str]) -> Jury:
        """Return the jury of a `judges.toml`, or the shipped one; its models are loaded.

        `keys` are API keys by the names that the file gives them, such as the environment; none is ever recorded.
        """
        judges, described = [], []
        for config in read_judges(path):
            model = _model(config, keys)
            settings, file = dict(model.describe()), file_facts(config.backend)
            known_by = model.fingerprint + file.get("file_sha256", "")
            fingerprint = config.fingerprint(known_by, str(settings.get("dtype", "")))
            judges.append(Judge(config.name, model, config.decoding, fingerprint, config.constrained))
            described.append(
                {
                    "backend": file.get("file", config.backend),
                    **file,
                    "model": config.model,
                    "revision": config.revision,
                    "decoding": config.decoding.to_json(),
                    "constrained": config.constrained,
                    "settings": settings,
                }
            )
        panel = Panel(judges)
        return cls(panel, jury_facts(panel, described))

    def grade(self, folder: Path, progress: Progress = lambda done, total: None, fresh: bool = False) -> int:
        """Grade the open answers of the run in `folder`; return how many verdicts are still to be asked for."""
        self.sessions.append(judge_run(folder, self.panel, self.facts, fresh, progress))
        return self.sessions[-1].left

    def worst_share(self, summaries: Sequence[Mapping[str, Any]]) -> float:
        """Return the largest share of a run's open answers that a judge, or the jury, left ungraded."""
        worst = 0.0
        for tally in (summary["jury"] for summary in summaries if summary["jury"] is not None):
            missing = [tally["missing"], *(counts["missing"] for counts in tally["judges"].values())]
            worst = max(worst, max(missing) / tally["n"])
        return worst


def _model(config: JudgeConfig, keys: Mapping[str, str]) -> Model:
    """Return the judge's model."""
    try:
        spec = ModelSpec(
            config.model, config.backend, config.base_url or None, _key(config, keys), options=config.options,
            name=config.name,
        )  # fmt: skip
        return make_model(spec, _mock)
    except UsageError as error:
        raise UsageError(f"Judge {config.name}: {error}") from error
    except ModelError as error:
        raise AloeError(f"Judge {config.name}: {error}") from error


def _mock(name: str, options: Mapping[str, Any]) -> Model:
    from aloe_bench.models.mock_judge import JudgeBehaviour, MockJudge

    return MockJudge(read_case, JudgeBehaviour(**checked_options(JudgeBehaviour, options, "back end mock")), name=name)


def _key(config: JudgeConfig, keys: Mapping[str, str]) -> str:
    if not config.api_key_env:
        return "EMPTY"
    key = keys.get(config.api_key_env, "")
    if not key:
        raise UsageError(f"the environment has no {config.api_key_env}, which holds its API key.")
    return key
