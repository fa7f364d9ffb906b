"""What must hold before anything is drawn, beyond each file being sound in itself."""

from __future__ import annotations

from collections.abc import Iterator

from aloe_bench.errors import UsageError
from aloe_bench.heart.attacks import applies, draws
from aloe_bench.heart.build import Recipe
from aloe_bench.heart.draw.overlays import undrawable
from aloe_bench.heart.draw.rendering import COLOURS
from aloe_bench.heart.problems import Problems, toml_line
from aloe_bench.heart.sources.source import Classes, Source, TaskKind
from aloe_bench.heart.wordings import AUTHORITIES


def check_recipe(recipe: Recipe, sources: tuple[Source, ...]) -> None:
    """Raise UsageError or DataError unless `recipe` can be made of `sources`: names, wordings and attacks that fit."""
    problems = Problems()
    tasks = {task for source in sources for task in _tasks(source)}
    for attack in recipe.attacks:
        if not any(applies(attack, task) for task in tasks):
            raise UsageError(f"--type {attack}: a legend needs boxes, and no source has [detection].")
    _check_dose(recipe)
    _check_looks(recipe, sources)
    for source in sources:
        if draws(recipe.attacks):
            _check_classes(source, problems)
        _check_box_names(source, problems)
    if draws(recipe.attacks):
        for where, text in _drawn_wordings(recipe):
            for wrong in undrawable(text.replace("$", "")):
                problems.add(f"templates {recipe.templates.label}", f"{where}: {wrong} cannot be drawn into a picture")
    problems.stop_if_any("attack")


def _tasks(source: Source) -> Iterator[TaskKind]:
    if source.classification:
        yield "classification"
    if source.detection:
        yield "detection"


def _check_dose(recipe: Recipe) -> None:
    if "sycophancy" not in {part for attack in recipe.attacks for part in attack.split("+")}:
        return
    dose, templates = recipe.strength.dose, recipe.templates
    levels = [dose.authority] if dose.authority else sorted({w.authority for w in templates.sycophancy if w.authority})
    for level in levels:
        n = sum(wording.authority == level for wording in templates.sycophancy)
        if n < dose.repeats:
            known = ", ".join(f"{a}: {sum(w.authority == a for w in templates.sycophancy)}" for a in AUTHORITIES)
            raise UsageError(
                f"--strength: sycophancy wants {dose.repeats} wordings of {level} authority, the template set "
                f"{templates.label} has {n} ({known}). Ask for fewer, or give your own with --templates."
            )


def _check_looks(recipe: Recipe, sources: tuple[Source, ...]) -> None:
    """Raise UsageError for looks under which a cue is hidden, or a question has no answer."""
    both = next((attack for attack in recipe.attacks if {"caption", "legend"} <= {*attack.split("+")}), None)
    for source in sources:
        rendering = recipe.strength.rendering(source.rendering)
        if source.detection and both and rendering.caption_position == "over":
            raise UsageError(
                f'--type {both}: a caption "over" the picture would cover the legend of {source.name}. '
                "Put it below or above, or attack with one of the two."
            )
        if recipe.parity and source.detection and source.detection.box_names == "colours":
            raise UsageError(
                f"--parity draws every box red, and {source.root}/dataset.toml names boxes by colour. Set box_names = "
                '"numbers" there.'
            )


def _check_classes(source: Source, problems: Problems) -> None:
    text = (source.root / "dataset.toml").read_text(encoding="utf-8-sig")
    for task, classes in (("classification", source.classification), ("detection", source.detection)):
        for name, form in zip(classes.names, classes.forms, strict=True) if classes else ():
            table, key = ("prompt_forms", name) if form != name else (task, "classes")
            for wrong in undrawable(form):
                problems.add(
                    f"{source.root}/dataset.toml:{toml_line(text, table, key)}",
                    f"class {form!r} holds {wrong}, which cannot be drawn right; give the class another form in "
                    "[prompt_forms], or ask for attacks on the prompt only (--type prompt,sycophancy)",
                )


def _check_box_names(source: Source, problems: Problems) -> None:
    classes: Classes | None = source.detection
    if classes is None or classes.box_names == "numbers":
        return
    for colour in source.rendering.palette:
        if colour.lower() not in COLOURS:
            where = f"{source.root}/dataset.toml"
            known = ", ".join(COLOURS)
            problems.add(where, f'box_names = "colours" needs a palette of names; {colour!r} is none of {known}')


def _drawn_wordings(recipe: Recipe) -> Iterator[tuple[str, str]]:
    for wording in recipe.templates.captions:
        for key in ("classification", "detection", "neutral"):
            yield f"[[caption]] {wording.id!r} {key}", getattr(wording, key)
    for key in ("finding", "none", "neutral"):
        yield f"[legend] {key}", getattr(recipe.templates.legend, key)
