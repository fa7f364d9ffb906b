"""What an attacked picture costs beside decoding and encoding it, beside matplotlib, and in memory.

Nine real pictures (tests/data/careqa_mini) at 512x512. "bare" opens a file and writes it as an RGB PNG, level 1;
"matplotlib" draws four labelled boxes, saves the figure at 100 dpi, opens and saves the result again (the path of the
public generator); the others are ours, file to file. All in one process, taking turns; the CPU's time.
"""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from PIL import Image

from aloe_bench.heart.draw.overlays import Rendering, caption, content_name, legend, numbered_boxes, png_bytes
from aloe_bench.images import open_image

PICTURES = Path(__file__).parent.parent / "tests" / "data" / "careqa_mini" / "images"
SIDE, ROUNDS = 512, 5
GOAL_RATE, GOAL_GAIN, GOAL_SHARE = 100.0, 5.0, 1.5
LOOKS = Rendering()
BOXES = [(30, 40, 130, 120), (340, 60, 450, 170), (180, 230, 270, 330), (60, 390, 170, 480)]
NAMES = [f"Box {n}" for n in range(1, 5)]
SENTENCE = "Figure 3: Photograph showing a moderately differentiated adenocarcinoma of the colon."


def write(png: bytes, folder: Path) -> None:
    (folder / content_name(png)).write_bytes(png)


def bare(path: Path, folder: Path) -> None:
    file = io.BytesIO()
    open_image(path).save(file, "PNG", compress_level=1)
    write(file.getvalue(), folder)


def with_caption(image: Image.Image) -> bytes:
    return png_bytes(caption(image, SENTENCE, LOOKS).image, LOOKS)


def with_boxes(image: Image.Image) -> bytes:
    return png_bytes(numbered_boxes(image, BOXES, NAMES, LOOKS.palette, LOOKS).image, LOOKS)


def with_boxes_and_caption(image: Image.Image) -> bytes:
    return with_caption(numbered_boxes(image, BOXES, NAMES, LOOKS.palette, LOOKS).image)


def with_boxes_and_legend(image: Image.Image) -> bytes:
    image = numbered_boxes(image, BOXES, NAMES, LOOKS.palette, LOOKS).image
    entries = [(colour, f"{name}: adenocarcinoma") for colour, name in zip(LOOKS.palette, NAMES, strict=True)]
    return png_bytes(legend(image, entries, LOOKS).image, LOOKS)


OURS = (with_caption, with_boxes, with_boxes_and_caption, with_boxes_and_legend)


def with_matplotlib(path: Path, folder: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import patches, patheffects
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(10, 10))
    axes.imshow(open_image(path))
    axes.axis("off")
    for (left, top, right, bottom), name in zip(BOXES, NAMES, strict=True):
        frame = patches.Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor="red", linewidth=3)
        axes.add_patch(frame)
        words = axes.text(left, top - 10, name, color="white", fontsize=11, fontweight="bold")
        words.set_path_effects([patheffects.withStroke(linewidth=2, foreground="black")])
    first = folder / "first.png"
    figure.savefig(first, dpi=100, bbox_inches="tight", pad_inches=0)
    plt.close(figure)
    file = io.BytesIO()
    Image.open(first).convert("RGB").save(file, "PNG")
    write(file.getvalue(), folder)


def sources(folder: Path) -> list[Path]:
    """Return the pictures as 512x512 PNGs in `folder`."""
    paths = []
    for path in sorted(PICTURES.iterdir()):
        paths.append(folder / f"{path.stem}.png")
        open_image(path).resize((SIDE, SIDE)).save(paths[-1])
    return paths


def file_to_file(make: Callable[[Image.Image], bytes]) -> Callable[[Path, Path], None]:
    return lambda path, folder: write(make(open_image(path)), folder)


def cost_ms(paths: list[Path], folder: Path) -> dict[str, float]:
    """Return milliseconds of CPU a picture, by way: of several rounds the fastest, as neighbours slow the rest."""
    ways = {"bare": bare, "matplotlib": with_matplotlib, **{make.__name__: file_to_file(make) for make in OURS}}
    rounds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS + 1):  # the first one warms up
        for name, way in ways.items():
            start = time.process_time()
            for path in paths:
                way(path, folder)
            rounds[name].append(time.process_time() - start)
    return {name: min(seconds[1:]) / len(paths) * 1e3 for name, seconds in rounds.items()}


def attack(path: Path, folder: Path) -> float:
    """Write all four pictures of one source picture, opened once, as the generator does; return seconds of CPU."""
    start = time.process_time()
    image = open_image(path)
    for make in OURS:
        write(make(image), folder)
    return time.process_time() - start


def rates(paths: list[Path], folder: Path) -> tuple[float, float]:
    """Return pictures a second of two processes: by the CPU time they used, and by the clock."""
    jobs = paths * 12
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(attack, paths, [folder] * len(paths)))
        start = time.perf_counter()
        cpu = sum(pool.map(attack, jobs, [folder] * len(jobs), chunksize=4))
        n = len(jobs) * len(OURS)
        return 2 * n / cpu, n / (time.perf_counter() - start)


def peak_mb(n: int) -> float:
    """Return the peak memory of this process after `n` attacked pictures."""
    with tempfile.TemporaryDirectory() as name:
        paths = sources(Path(name))
        for i in range(n):
            write(with_boxes_and_caption(open_image(paths[i % len(paths)])), Path(name))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux gives KiB


def met(goal: bool) -> str:
    return "met" if goal else "NOT met"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        paths = sources(Path(name))
        cost = cost_ms(paths, Path(name))
        by_cpu, by_clock = rates(paths, Path(name))
    for way, ms in cost.items():
        print(f"{way:23} {ms:6.1f} ms CPU, {ms / cost['bare']:5.2f} times bare")
    slowest = max(cost[make.__name__] for make in OURS)
    gain, share = cost["matplotlib"] / slowest, slowest / cost["bare"]
    print(f"matplotlib against the slowest of ours: {gain:.1f} times (goal {GOAL_GAIN:g}: {met(gain >= GOAL_GAIN)})")
    print(f"slowest of ours against bare: {share:.2f} (goal at most {GOAL_SHARE:g}: {met(share <= GOAL_SHARE)})")
    print(f"two processes: {by_cpu:.0f} a second by CPU time (goal {GOAL_RATE:g}: {met(by_cpu >= GOAL_RATE)})")
    print(f"               {by_clock:.0f} a second by the clock (load {os.getloadavg()[0]:.1f})")
    for n in (100, 1000):
        command = [sys.executable, __file__, str(n)]
        done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, stdout=subprocess.PIPE)
        print(f"peak memory after {n} pictures: {json.loads(done.stdout):.1f} MB")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(peak_mb(int(sys.argv[1]))))
    else:
        main()
