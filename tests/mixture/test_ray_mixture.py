"""A mixture made on a Ray cluster of this machine: the same bytes as here, model steps and all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.mixture import sources
from tests.mixture.test_build import GRADER, MEASURED, RECIPE, content

pytest.importorskip("ray", reason="needs the ray extra")
pytestmark = pytest.mark.slow


def recipe_in(folder: Path, n: int) -> Path:
    folder.mkdir()
    sources.llava(folder, n)
    sources.sharegpt(folder, n // 2)
    sources.table(folder, n // 4)
    sources.faulty(folder)
    (folder / "held").mkdir()
    shutil.copy(sources.PICTURES / sources.NAMES[0], folder / "held")
    (folder / "grader.py").write_text(GRADER)
    recipe = folder / "mixture.toml"
    recipe.write_text(RECIPE.replace("[export]", f"{MEASURED.format(folder=folder)}[export]"))
    return recipe


def test_a_mixture_built_on_ray_has_the_same_bytes(aloe: Run, tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path / "in", 600)
    here = aloe("data", "build", recipe, "--output", "here")
    assert here.returncode == 0, here.stderr

    there = aloe("data", "build", recipe, "--output", "there", "--ray", "--replicas", 2)

    assert there.returncode == 0, there.stderr
    assert there.stdout.replace("there/", "here/") == here.stdout
    mine, theirs = content(tmp_path / "here"), content(tmp_path / "there")
    assert sorted(mine) == sorted(theirs)
    assert [name for name in mine if mine[name] != theirs[name]] == []
    assert any(name.startswith("tag/replies") for name in mine)


def test_steps_on_ray_resume_what_was_begun_here_and_tell_a_model_that_cannot(aloe: Run, tmp_path: Path) -> None:
    recipe_in(tmp_path / "in", 40)
    mapping, grader = tmp_path / "in" / "llava" / "mapping.toml", f"{tmp_path / 'in' / 'grader.py'}:Grader"
    assert aloe("data", "clean", mapping, "--output", "pool", "--ray").returncode == 0
    asked = ("pool", "--model", "grader", "--backend", grader)
    assert "0 without any reply" in aloe("data", "tag", *asked).stdout
    said = next((tmp_path / "pool" / "tag").glob("*.jsonl")).read_bytes()
    again = aloe("data", "tag", *asked, "--ray")
    assert again.returncode == 0 and next((tmp_path / "pool" / "tag").glob("*.jsonl")).read_bytes() == said
    measured = aloe("data", "perplexity", *asked, "--ray", "--replicas", 1)
    assert "39 measured, 0 failed" in measured.stdout, measured.stderr
    broken = aloe("data", "tag", "pool", "--model", "nowhere", "--backend", "hf", "--ray")
    assert broken.returncode == 3 and "A replica cannot be made" in broken.stderr and "Traceback" not in broken.stderr
    both = aloe("data", "clean", mapping, "--output", "other", "--ray", "--workers", 2)
    assert both.returncode == 2 and "--replicas" in both.stderr
