"""The picture files of a source's folder, joined with the ids of its labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from aloe_bench.errors import did_you_mean
from aloe_bench.heart.problems import Problems
from aloe_bench.heart.sources.leftovers import Leftovers
from aloe_bench.images import PICTURE_ENDINGS
from aloe_bench.joins import join
from aloe_bench.tables import fold
from aloe_bench.volumes import what_else

# What operating systems leave in folders.
_LITTER = ("thumbs.db", "desktop.ini", "icon\r", "__macosx")


class PictureFiles:
    """The files of `folder` by the id of the label they belong to.

    Those that belong to none go to `left`, as `what`; so does, with `asked`, each of these ids that has no file where
    others have one. `fault` says why the two cannot be joined, "" if they can.
    """

    def __init__(
        self, folder: Path, known: Sequence[str], what: str, left: Leftovers, asked: Sequence[str] = ()
    ) -> None:
        self._folder = folder
        self._paths, self._others = _by_stem(folder)
        joined = join(self._paths, known)
        self._of_id = {image_id: self._paths[stem] for stem, image_id in joined.pairs.items()}
        self.fault = joined.fault(f"files in {folder.name}/", "image_ids of the labels") if joined.unclear else ""
        if asked and self._paths and not joined.pairs:
            self.fault = joined.fault(f"files in {folder.name}/", "image_ids of the labels")
        left.respelled(joined, f"{folder.name}/", "the labels")
        for stem in joined.left_only:
            for path in self._paths[stem]:
                left.add(what, f"{folder.name}/{path.name}", "not in the labels: left out")
        for image_id in joined.right_only if self._paths else ():
            if image_id in asked:
                left.add("image", image_id, f"no {what} in {folder.name}/", task="detection")
        ids = {fold(image_id) for image_id in known}
        for path in self._others:
            if fold(_first_part(path.name)) not in ids:
                left.add("file", f"{folder.name}/{path.name}", "no picture: left out")

    def first(self, image_id: str) -> Path | None:
        """Return the first file of an image, None if it has none."""
        return next(iter(self._of_id.get(image_id, ())), None)

    def only(self, image_id: str, where: str, problems: Problems) -> Path | None:
        """Return the one file of an image; if there is none, or several, that goes to `problems`."""
        paths = self._of_id.get(image_id, [])
        if len(paths) == 1:
            return paths[0]
        if paths:
            problems.add(where, f"{' and '.join(p.name for p in paths)} are both in {self._folder.name}/; keep one")
            return None
        other = next((p for p in self._others if fold(_first_part(p.name)) == fold(image_id)), None)
        if other is not None:
            problems.add(where, f"{self._folder.name}/{other.name} is {_kind_of(other)}")
            return None
        stem = image_id.rpartition(".")[0]
        hint = f" images/{image_id} is there: write the id as {stem!r}." if stem in self._paths else ""
        near = "" if hint else did_you_mean(image_id, self._paths)
        expected = f"images/{image_id}.png, .jpg, .dcm or another known ending"
        problems.add(where, f"no picture of {image_id!r}; expected {expected}.{hint or near}")
        return None


def _kind_of(path: Path) -> str:
    """Return in words what a file is that has none of the endings of pictures."""
    if path.is_dir():
        return "a folder; expected one picture file"
    with path.open("rb") as file:
        head = file.read(4096)
    if head[128:132] == b"DICM":
        return f"DICOM without its ending; call it {path.name}.dcm"
    other = what_else(head, path.name)
    return other or f"no picture by its ending; expected {', '.join(PICTURE_ENDINGS)}"


def _by_stem(folder: Path) -> tuple[dict[str, list[Path]], list[Path]]:
    """Return the picture files of `folder` by their name without ending, and what else lies there."""
    found: dict[str, list[Path]] = {}
    others: list[Path] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith(".") or path.name.lower() in _LITTER:
            continue
        if path.suffix.lower() in PICTURE_ENDINGS and not path.is_dir():
            found.setdefault(path.name[: -len(path.suffix)], []).append(path)
        else:
            others.append(path)
    return found, others


def _first_part(name: str) -> str:
    """Return a file name without its ending, of two such as .nii.gz too."""
    stem = name.removesuffix(".gz")
    return stem.rpartition(".")[0] or stem
