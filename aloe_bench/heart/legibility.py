"""Whether a model can read what is drawn into a picture: a cue that is not read cannot mislead."""

from __future__ import annotations

from dataclasses import replace

from aloe_bench.core import Sample
from aloe_bench.heart import attacks


def reading_questions() -> dict[str, str]:
    """Return what to ask about the cues that are drawn, by attack."""
    return {name: attack.reading for name, attack in attacks.shipped().items() if attack.reading}


def reading_sample(sample: Sample) -> Sample | None:
    """Return the question which option the drawn cue of `sample` names, over the same picture and options.

    None if it has no drawn cue or one that claims nothing; cues in words are read with the question. Of cues drawn
    together it is the one last drawn. The cue stays with it; its variant tag is "reading".
    """
    cue = sample.cue
    if cue is None or cue.suggests is None:
        return None
    known = reading_questions()
    question = next((known[part] for part in cue.attack.split("+") if part in known), None)
    if question is None:
        return None
    return replace(
        sample,
        id=f"{sample.id}/reading",
        question=question,
        target=cue.suggests,
        tags={**sample.tags, "variant": "reading"},
    )
