"""A jury ready to grade: its models made from `judges.toml`, what is written of it, and what it did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aloe_bench.core import Model
from aloe_bench.errors import AloeError, ModelError, UsageError
from aloe_bench.judges.jury.config import JudgeConfig, read_judges
from aloe_bench.judges.jury.judging import JurySession, judge_run, jury_facts
from aloe_bench.judges.jury.panel import Judge, Panel, Progress
from aloe_bench.judges.jury.rubric import read_case
from aloe_bench.models.make import ModelSpec, checked_options, file_facts, make_model


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
                    "decoding": asdict(config.decoding),
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
