"""What a report of a full attacked table costs: size, seconds to build, and how fast its page paints and filters.

    python benchmarks/report.py [SCALE] [FOLDER]

Makes a table of 24,311 questions or more times SCALE (default 1) with its own pictures, asks the mock model twice, puts
made-up sentences before its letters, and builds two reports: of one run with replies of up to 200 characters, and of
two with up to 1,500. FOLDER keeps the material for the next time. The page is timed in Chromium where that and selenium
are installed.
"""

from __future__ import annotations

import json
import os
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROWS = 24_311
# Questions that one picture of the miniature's kind gives, over plain ones and all cues.
ROWS_A_PICTURE = 11.5
CASES = (("one run, 200 characters", ("m200",), 18.0), ("two runs, 1,500 characters", ("m1500", "n1500"), 40.0))
GOAL_S, GOAL_PAINT_MS, GOAL_FILTER_MS = 40.0, 1000.0, 150.0
REPLIES = {"m200": 200, "m1500": 1500, "n1500": 1500}
DOCS = Path(__file__).parents[1] / "docs"


def material(folder: Path, scale: float) -> None:
    """Make the table and the runs in `folder`, unless they are there."""
    from aloe_bench import ModelSpec, attack, evaluate
    from aloe_bench.miniature.loop import EVALUATION
    from aloe_bench.miniature.source import write_source

    if (folder / "done").exists():
        return
    source = write_source(folder / "source", "xray", round(ROWS * scale / ROWS_A_PICTURE))
    attack(source, folder / "table", templates=str(EVALUATION), workers=os.cpu_count() or 1)
    words = re.findall(r"[a-z]{2,}", " ".join(path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md"))))
    task = f"heart:{folder / 'table'}"
    for name, follow in (("m", 0.7), ("n", 0.2)):
        options = {"accuracy": 0.8, "follow": follow}
        run = evaluate(ModelSpec("mock", options=options), task, name=name, output=folder / "asked", batch_size=512)
        for kept, longest in REPLIES.items():
            if kept.startswith(name):
                shutil.copytree(run.folder, folder / kept)
                worded(folder / kept / "records.jsonl", words, longest)
    (folder / "done").touch()


def worded(path: Path, words: list[str], longest: int) -> None:
    """Put sentences of up to `longest` characters before the letters that a run's replies are."""
    rng = random.Random(f"{path.parent.name}")
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        said = " ".join(rng.choices(words, k=longest // 6))[: rng.randint(longest // 4, longest - 12)]
        record["prediction"]["text"] = f"{said} Answer: {record['prediction']['text']}"
        lines.append(json.dumps(record))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def build(folder: Path, runs: tuple[str, ...], page: Path) -> tuple[float, float, float]:
    """Return wall and CPU seconds of `aloe-bench report` with its workers, and the peak of memory in MB."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    command = [sys.executable, "-m", "aloe_bench.cli.main", "report", *[str(folder / run) for run in runs],
               "--data", str(folder / "table"), "--output", str(page)]  # fmt: skip
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, cpu, after.ru_maxrss / 1000


MEASURE = """
const done = arguments[0];
const select = document.getElementById("variant"), values = [...select.options].map((option) => option.value);
const times = [];
const next = (at) => {
  if (at === 5) { done(times); return; }
  select.value = values[at % values.length];
  const start = performance.now();
  select.dispatchEvent(new Event("change"));
  requestAnimationFrame(() => setTimeout(() => { times.push(performance.now() - start); next(at + 1); }));
};
next(0);
"""
SEARCH = MEASURE.replace('getElementById("variant")', 'getElementById("search")').replace(
    "[...select.options].map((option) => option.value)", '["answer", "caption", "model", "zebra", "run"]'
).replace('dispatchEvent(new Event("change"))', "form.onsubmit = null, filter()")  # fmt: skip


def paced(page: Path, profile: Path) -> dict[str, float] | None:
    """Return milliseconds to the first paint, to the items, and of a filter and a search (medians of five)."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    try:
        from selenium import webdriver
    except ImportError:
        return None
    if not (chromium and driver):
        return None
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("headless", "no-sandbox", "disable-gpu", f"user-data-dir={profile}", "window-size=1366,900"):
        options.add_argument(f"--{flag}")
    browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        browser.get(page.as_uri())
        start, ready = time.monotonic(), "return document.body.dataset.ready && performance.now()"
        while not (items := browser.execute_script(ready)) and time.monotonic() < start + 60:
            time.sleep(0.05)
        paint = "return performance.getEntriesByName('first-contentful-paint')[0].startTime"
        return {
            "first paint": float(browser.execute_script(paint)),
            "items": float(items),
            "filter": statistics.median(browser.execute_async_script(MEASURE)),
            "search": statistics.median(browser.execute_async_script(SEARCH)),
        }
    finally:
        browser.quit()


def main(scale: float, folder: Path) -> None:
    material(folder, scale)
    rows = sum(1 for _ in (folder / "m200" / "records.jsonl").open(encoding="utf-8"))
    print(f"{rows} rows; goals at {ROWS}: {GOAL_S:g} s, paint {GOAL_PAINT_MS:g} ms, filter {GOAL_FILTER_MS:g} ms")
    for name, runs, goal_mb in CASES:
        page = folder / f"{runs[0]}.html"
        wall, cpu, peak_mb = build(folder, runs, page)
        size = page.stat().st_size / 1e6
        print(f"{name}: {size:.1f} MB (goal {goal_mb:g}), {wall:.1f} s, {cpu:.1f} CPU s, peak {peak_mb:.0f} MB")
        shown = paced(page, folder / "profile")
        print("  " + (", ".join(f"{key} {ms:.0f} ms" for key, ms in shown.items()) if shown else "no Chromium here"))
        shutil.rmtree(folder / "profile", ignore_errors=True)


if __name__ == "__main__":
    size = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    if len(sys.argv) > 2:
        Path(sys.argv[2]).mkdir(parents=True, exist_ok=True)
        main(size, Path(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as made:
            main(size, Path(made))
