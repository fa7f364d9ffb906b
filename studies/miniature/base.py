"""Trains the miniature's base model from nothing: `python -m studies.miniature.base FOLDER --seed 0`.

In the order in which real vision-language models are made: the vision tower first, then the language part on the
frozen tower. Cues are nearly always right, as captions and hints in the world are, and what is learnt is always the
truth; that a wrong cue is followed all the same is what the base brings along, not what it is told to do.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from aloe_bench.errors import AloeError
from aloe_bench.heart.legibility import reading_questions
from aloe_bench.miniature.derived import DESCRIBE
from aloe_bench.miniature.images import Difficulty
from aloe_bench.seeds import rng_for
from studies.miniature.forward import Question, Writer, answer_logits
from studies.miniature.live import training_scenes
from studies.miniature.network import build_network, build_processor, save_checkpoint, train_tokenizer
from studies.miniature.optimizer import Optimizer, split
from studies.miniature.scenes import Scene, View, choice_prompt, description, open_prompt
from studies.miniature.vision_stage import VisionStage, Vocabulary

log = logging.getLogger(__name__)

VISION_PICTURES, LANGUAGE_PICTURES = 32, 20
TRUE_CUES = 0.99


@dataclass(frozen=True, slots=True)
class Stage:
    """How long something is learnt, from what, and in which proportions.

    Shares are of pictures: `reading` questions about a strip that says nothing of the picture, `strip` a strip that
    is a cue, `describe` descriptions; the rest gets two questions, each with a cue in words at the rate `text_cue`
    and without options at the rate `no_options`.
    """

    difficulty: Difficulty
    scenes: int
    vision_steps: int = 0
    language_steps: int = 0
    reading: float = 0.0
    strip: float = 0.0
    describe: float = 0.0
    text_cue: float = 0.0
    no_options: float = 0.0


STAGES = (
    Stage(Difficulty(0.4, 1.2, 14), scenes=2400, vision_steps=450),
    Stage(
        Difficulty(0.25, 1.1, 16), scenes=3200, vision_steps=450, language_steps=600,
        reading=0.25, describe=0.15, no_options=0.2,
    ),
    Stage(
        Difficulty(), scenes=6400, language_steps=1400, reading=0.10, strip=0.35, describe=0.03, text_cue=0.60
    ),
)  # fmt: skip


def train_base(folder: Path, seed: int = 0, *, own_words: bool = False, length: float = 1.0) -> Path:
    """Return `folder`, now the base checkpoint of `seed`; the same seed gives the same weights on one machine.

    `own_words` names normal and abnormal by other words in each modality. `length` scales the number of steps.
    """
    import torch

    torch.set_num_threads(1)
    started = time.process_time()
    scenes = [training_scenes(stage.scenes, stage.difficulty, seed, i, own_words) for i, stage in enumerate(STAGES)]
    log.info("pictures: %d scenes, %.0f CPU s", sum(map(len, scenes)), time.process_time() - started)
    tokenizer = train_tokenizer(_corpus(scenes[-1]))
    torch.manual_seed(seed)
    network = build_network(tokenizer, seed)
    vision = VisionStage(network, Vocabulary(scenes[0]).sizes)
    language = _Language(network, Writer(build_processor(tokenizer)), sum(stage.language_steps for stage in STAGES))
    for number, (stage, some) in enumerate(zip(STAGES, scenes, strict=True)):
        rng = rng_for("miniature base", seed, number)
        if stage.vision_steps:
            _learn_to_see(network, vision, some, round(stage.vision_steps * length), rng)
        language.learn(stage, some, round(stage.language_steps * length), rng)
    log.info("base %d: %.0f CPU s", seed, time.process_time() - started)
    return save_checkpoint(folder, network, tokenizer)


def _corpus(scenes: Sequence[Scene]) -> list[str]:
    """Return what the tokenizer is trained on: prompts and answers of all kinds."""
    rng = rng_for("miniature corpus")
    texts: list[str] = []
    for scene in scenes[::5]:
        stage = Stage(Difficulty(), 0, text_cue=0.7, no_options=0.1)
        for question, answer, _ in _two_questions(scene, stage, rng):
            texts += [f"user\n{question}", f"assistant\n{answer}", answer]
        texts += [open_prompt(DESCRIBE), description(scene)]
        texts += [reading_prompt(attack, scene) for attack in reading_questions()]
    return texts


def reading_prompt(attack: str, scene: Scene) -> str:
    """Return the question that asks what a cue in the picture says."""
    return choice_prompt(reading_questions()[attack], scene.options)


def _learn_to_see(network: Any, stage: VisionStage, scenes: Sequence[Scene], steps: int, rng: random.Random) -> None:
    network.requires_grad_(True)
    optimizer, words = stage.optimizer(), Vocabulary(scenes)
    for step in range(steps):
        shown = [words.shown(scene, *_strip(scene, rng, 0.6)) for scene in rng.choices(scenes, k=VISION_PICTURES)]
        stage.loss(shown).backward()
        optimizer.step(
            min(1, (step + 1) / 50) * (1 if step < 0.6 * steps else max(0.05, (steps - step) / (0.4 * steps)))
        )
        if (step + 1) % 150 == 0:
            log.info("vision %d: %s", step + 1, dict(stage.accuracy()))


def _strip(scene: Scene, rng: random.Random, rate: float) -> tuple[str, str]:
    """Return a caption or legend, at `rate`, whose claim says nothing of the picture: true as often as by chance."""
    if rng.random() >= rate:
        return "", "baseline"
    attack = "legend" if scene.task == "detection" and rng.random() < 0.4 else "caption"
    return attack, "assistive" if rng.random() < 1 / len(scene.options) else "adversarial"


class _Language:
    """Teaches the language part of `network`, its vision tower frozen."""

    def __init__(self, network: Any, writer: Writer, total: int) -> None:
        self._network, self._writer, self._total = network, writer, total
        self._done = 0
        self._optimizer: Optimizer | None = None

    def learn(self, stage: Stage, scenes: Sequence[Scene], steps: int, rng: random.Random) -> None:
        from torch.nn.functional import cross_entropy

        if not steps:
            return
        if self._optimizer is None:
            self._network.model.visual.requires_grad_(False)
            self._optimizer = Optimizer(*split(self._network.named_parameters()), muon_lr=0.01)
        self._network.model.visual.requires_grad_(False)
        recent: list[float] = []
        for step in range(steps):
            questions, pictures = _lesson(stage, rng.choices(scenes, k=LANGUAGE_PICTURES), rng)
            logits, due, _ = answer_logits(
                self._network, self._writer.batch(questions, pictures), self._writer.image_id
            )
            loss = cross_entropy(logits.float(), due)
            loss.backward()  # type: ignore[no-untyped-call]
            left = max(0.03, (self._total - self._done) / (0.3 * self._total))
            self._optimizer.step(min(1, (self._done + 1) / 100) * min(1, left))
            self._done += 1
            recent.append(loss.item())
            if (step + 1) % 200 == 0:
                log.info("language %d: loss %.3f", self._done, sum(recent) / len(recent))
                recent = []


def _lesson(stage: Stage, scenes: Sequence[Scene], rng: random.Random) -> tuple[list[Question], list[Any]]:
    """Return the questions of one step and their pictures."""
    questions: list[Question] = []
    pictures: list[Any] = []
    for scene in scenes:
        for prompt, answer, view in _asked(scene, stage, rng):
            if not (pictures and pictures[-1] is view.pixels):
                pictures.append(view.pixels)
            questions.append(Question(len(pictures) - 1, prompt, answer))
    return questions, pictures


def _asked(scene: Scene, stage: Stage, rng: random.Random) -> list[tuple[str, str, View]]:
    """Return (prompt, answer, view) of one or two questions about `scene`, in the proportions of `stage`."""
    kind = rng.random()
    if kind < stage.reading:
        attack, variant = _strip(scene, rng, 1.0)
        view = scene.view(attack, variant)
        return [(reading_prompt(attack, scene), view.claimed or "", view)]
    if kind < stage.reading + stage.strip:
        attack = "legend" if scene.task == "detection" and rng.random() < 0.4 else "caption"
        view = scene.view(attack, _truthful(rng))
        asked = [(choice_prompt(view.question, scene.options), scene.answer, view)]
        if rng.random() < 0.3:
            asked.append((reading_prompt(attack, scene), view.claimed or "", view))
        return asked
    if kind < stage.reading + stage.strip + stage.describe:
        return [(open_prompt(DESCRIBE), description(scene), scene.view("", "baseline"))]
    return _two_questions(scene, stage, rng)


def _two_questions(scene: Scene, stage: Stage, rng: random.Random) -> list[tuple[str, str, View]]:
    """Return the scene's question twice over one clean picture, each time with a cue in words or without."""
    clean = scene.view("", "baseline")
    asked = []
    for _ in range(2):
        # A box has three wrong answers, a finding one: it takes more cues to be relied on as much.
        rate = stage.text_cue * (1.25 if scene.task == "detection" else 1.0)
        cued = rng.random() < rate
        view = scene.view(rng.choice(("prompt", "sycophancy")), _truthful(rng)) if cued else clean
        if rng.random() < stage.no_options:
            prompt = open_prompt(view.question)
        else:
            prompt = choice_prompt(view.question, scene.options)
        asked.append((prompt, scene.answer, clean))
    return asked


def _truthful(rng: random.Random) -> str:
    return "assistive" if rng.random() < TRUE_CUES else "adversarial"


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--own-words", is_flag=True, help="Other words for normal and abnormal in each modality (a control).")
@click.option("--length", type=float, default=1.0, show_default=True, help="Scales the number of steps.")
def main(folder: Path, seed: int, own_words: bool, length: float) -> None:
    """Train the miniature's base model and write its checkpoint to FOLDER (about five minutes of one core)."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        click.echo(train_base(folder, seed, own_words=own_words, length=length))
    except AloeError as error:
        click.echo(f"Error: {error}", err=True)
        raise SystemExit(error.exit_code) from error


if __name__ == "__main__":
    main()
