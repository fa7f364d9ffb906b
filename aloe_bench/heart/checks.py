"""What must hold before anything is drawn, beyond each file being sound in itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from aloe_bench.errors import UsageError
from aloe_bench.heart.attacks.attack import Attack
from aloe_bench.heart.build import HeartRecipe
from aloe_bench.heart.draw.overlays import undrawable
from aloe_bench.heart.draw.rendering import COLOURS, plain_name
from aloe_bench.heart.problems import Problems, toml_line
from aloe_bench.heart.sources.source import Classes, Source
from aloe_bench.heart.wordings import AUTHORITIES, CUE_NEEDS, TESTIMONY, CueTable


def check_recipe(recipe: HeartRecipe, sources: tuple[Source, ...]) -> None:
    """Raise UsageError or DataError unless `recipe` can be made of `sources`: names, wordings and attacks that fit."""
    problems = Problems()
    tasks = {task for source in sources for task in source.tasks}
    for attack in recipe.attacks:
        if not any(map(attack.fits, tasks)):
            boxed = next(part.name for part in attack.parts if part.needs_boxes)
            raise UsageError(f"--type {attack.name}: a {boxed} needs boxes, and no source has [detection].")
    for part in _parts(recipe):
        if isinstance(part.wordings, CueTable) and not recipe.templates.cues[part.wordings.name]:
            table, label = part.wordings.name, recipe.templates.label
            raise UsageError(
                f"--type {part.name}: the template set {label} has no [[{table}]]; write some, or leave it."
            )
    _check_dose(recipe)
    _check_looks(recipe, sources)
    drawn = [part for part in _parts(recipe) if part.draws]
    for source in sources:
        if drawn:
            _check_classes(source, problems)
        _check_box_names(source, problems)
    for where, text in _drawn_wordings(recipe, drawn):
        for wrong in undrawable(text.replace("$", "")):
            problems.add(f"templates {recipe.templates.label}", f"{where}: {wrong} cannot be drawn into a picture")
    problems.stop_if_any("attack")


def _parts(recipe: HeartRecipe) -> list[Attack]:
    """Return every attack of `recipe` once, those in combinations too."""
    return [*{part.name: part for attack in recipe.attacks for part in attack.parts}.values()]


def _check_dose(recipe: HeartRecipe) -> None:
    """Raise UsageError if the template set has too few wordings of an authority that may be drawn."""
    dose, templates = recipe.strength.dose, recipe.templates
    tables = [part.wordings for part in _parts(recipe) if isinstance(part.wordings, CueTable) and part.wordings.graded]
    for table in tables:
        bias, repeats = dose.bias(table.name), dose.repeats(table.name)
        wordings = [one for one in templates.cues[table.name] if (one.bias == bias if bias else one.bias != TESTIMONY)]
        counts: dict[str, int] = {
            level: sum(wording.authority == level for wording in wordings) for level in AUTHORITIES
        }
        asked = dose.authority(table.name)
        for level in [asked] if asked else sorted(level for level in AUTHORITIES if counts[level]):
            if counts[level] < repeats:
                known = ", ".join(f"{level}: {n}" for level, n in counts.items())
                raise UsageError(
                    f"--strength: {table.name} wants {repeats} wordings of {level} authority, the template set "
                    f"{templates.label} has {counts[level]} ({known}). Ask for fewer, or give your own with "
                    "--templates."
                )


def _check_looks(recipe: HeartRecipe, sources: tuple[Source, ...]) -> None:
    """Raise UsageError for looks under which a cue is hidden, or a question has no answer."""
    both = next((a.name for a in recipe.attacks if {"figure", "page"} <= {part.stage for part in a.parts}), None)
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
    if any(image.asked for image in source.images):
        for name in dict.fromkeys(text for image in source.images if image.asked for text in image.asked.options):
            for wrong in undrawable(name):
                why = "which cannot be drawn right; ask for attacks on the prompt only (--type prompt,sycophancy)"
                problems.add(source.name, f"option {name!r} holds {wrong}, {why}")
        return
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
    called = Counter(plain_name(colour) for colour in source.rendering.palette)
    for name in (name for name, n in called.items() if n > 1):
        problems.add(f"{source.root}/dataset.toml", f"two colours of the palette are both called {name!r}; keep one")
    for colour in source.rendering.palette:
        if colour.lower() not in COLOURS:
            where = f"{source.root}/dataset.toml"
            known = ", ".join(COLOURS)
            problems.add(where, f'box_names = "colours" needs a palette of names; {colour!r} is not one of {known}')


def _drawn_wordings(recipe: HeartRecipe, drawn: list[Attack]) -> Iterator[tuple[str, str]]:
    """Yield the place and the text of everything that may be written into a picture."""
    tables = {part.wordings.name: part.wordings for part in drawn if part.wordings}
    for name, table in tables.items():
        if isinstance(table, CueTable):
            for wording in recipe.templates.cues[name]:
                for key in (*CUE_NEEDS, "neutral_detection"):
                    yield f"[[{name}]] {wording.id!r} {key}", getattr(wording, key)
        else:
            for phrases in recipe.templates.phrases[name]:
                for key, text in phrases.items():
                    yield f"[{name}] {key}", text
