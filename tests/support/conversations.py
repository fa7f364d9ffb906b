"""A folder of conversations over real pictures: one image, two images and two turns, text only."""

from __future__ import annotations

import shutil
from pathlib import Path

from aloe_bench.training.data.schema import Conversation, Part, Picture, Text, Turn, write_folder

PICTURES = Path(__file__).parents[1] / "data" / "careqa_mini" / "images"
QUESTIONS = ("What does this show?", "Is the lung normal?", "Which organ is this?", "What is the finding?")
ANSWERS = ("A chest radiograph.", "Yes, it is normal.", "The liver and the kidney.", "A nodule in the left lobe.")


def conversation(number: int) -> Conversation:
    """Return conversation `number`: every fourth is text only, every fifth has two images and two turns."""
    names = sorted(path.name for path in PICTURES.iterdir())
    shown: list[Part] = []
    if number % 4 != 3:
        shown = [Picture(f"images/{names[(number + k) % len(names)]}") for k in range(2 if number % 5 == 0 else 1)]
    turns = [
        Turn("user", (*shown, Text(QUESTIONS[number % 4]))),
        Turn("assistant", (Text(ANSWERS[number % 4]),)),
    ]
    if number % 5 == 0:
        turns += [
            Turn("user", (Text("Are you sure?"),)),
            Turn("assistant", (Text(f"Yes: {ANSWERS[(number + 1) % 4]}"),)),
        ]
    return Conversation(f"c{number:03}", tuple(turns), "test", f"patient {number}", {"kind": "made"})


def make_folder(folder: Path, n: int = 16) -> Path:
    """Write `n` conversations and their pictures; return `folder`."""
    shutil.copytree(PICTURES, folder / "images")
    write_folder(folder, map(conversation, range(n)), {"name": "test"})
    return folder
