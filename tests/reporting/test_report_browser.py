"""The report in a real headless Chromium, opened from disk as a reader would.

Screenshots are kept where ALOE_BENCH_SCREENSHOTS says, if it is set.
"""

import csv
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from aloe_bench import report
from aloe_bench.evaluation.runlog import read_records
from tests.reporting.conftest import Runs
from tests.support.annotate_server import ENVIRONMENT, command

pytest.importorskip("selenium", reason="install the extra dev")

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="Chromium is not installed: apt-get install chromium chromium-driver"
    ),
]
AXE = os.environ.get("ALOE_BENCH_AXE", "")
HOSTILE = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> [a](javascript:alert(1)) "
    '=HYPERLINK("http://x") \u202eevil\u202c \x00 </script> ```'
)


class Reader:
    """A browser with an empty profile, and the report open in it."""

    def __init__(self, folder: Path, address: str) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = str(CHROMIUM)
        for flag in (
            "headless", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking", "disable-sync",
            "disable-component-update", f"user-data-dir={folder / 'profile'}", "window-size=1366,900",
        ):  # fmt: skip
            options.add_argument(f"--{flag}")
        options.add_experimental_option("prefs", {"download.default_directory": str(folder)})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
        self.folder, self.address = folder, address
        self.open("")

    def open(self, fragment: str) -> None:
        self.driver.get(self.address + fragment)
        WebDriverWait(self.driver, 30).until(lambda d: d.execute_script("return document.body.dataset.ready"))

    def text(self, selector: str) -> str:
        # In one step: what the page replaces in between is no longer there to be asked.
        return str(self.driver.execute_script("return document.querySelector(arguments[0]).innerText", selector))

    def choose(self, id_: str, value: str) -> None:
        Select(self.driver.find_element(By.ID, id_)).select_by_value(value)

    def count(self) -> int:
        return int(self.text("#count").split()[0])

    def press(self, *keys: str) -> None:
        ActionChains(self.driver).send_keys(*keys).perform()

    def saved(self, name: str) -> Path:
        path = self.folder / name
        WebDriverWait(self.driver, 15).until(lambda _: path.exists())
        return path

    def requests(self) -> list[str]:
        """Return every address asked for by the page so far, but for its own."""
        found = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(str(entry["message"]))["message"]
            if message["method"] == "Network.requestWillBeSent":
                found.append(message["params"]["request"]["url"])
        inside = ("data:", "blob:", "chrome:", self.address.partition("#")[0])
        return [url for url in found if not url.startswith(inside)]

    def screenshot(self, name: str) -> None:
        if kept := os.environ.get("ALOE_BENCH_SCREENSHOTS"):
            Path(kept).mkdir(parents=True, exist_ok=True)
            self.driver.save_screenshot(str(Path(kept) / f"{name}.png"))


@pytest.fixture(scope="module")
def hostile(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the robust run, one of whose replies tries everything."""
    folder = tmp_path_factory.mktemp("hostile") / "robust"
    shutil.copytree(runs.robust, folder)
    lines = (folder / "records.jsonl").read_text().splitlines()
    for i, line in enumerate(lines):
        record = json.loads(line)
        if record["index"] == 1:
            record["prediction"]["text"] = HOSTILE
            record["prediction"]["reasoning"] = HOSTILE
        lines[i] = json.dumps(record)
    (folder / "records.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def reader(runs: Runs, hostile: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    folder = tmp_path_factory.mktemp("reader")
    (page,) = report([runs.base, hostile], folder / "report.html", data=[runs.table])
    found = Reader(folder, page.as_uri())
    yield found
    found.driver.quit()


def test_filters_count_as_the_records_do(reader: Reader, runs: Runs) -> None:
    reader.open("")
    records = read_records(runs.base)
    assert reader.count() == len(records)
    reader.choose("attack", "caption")
    assert reader.count() == sum(bool(r.cue) and r.cue.attack == "caption" for r in records)
    reader.choose("variant", "adversarial")
    reader.choose("outcome0", "flipped")
    right = {r.sample_id for r in records if r.cue is None and r.score.value == 1}
    flipped = [r for r in records if r.cue and (r.cue.attack, r.cue.variant) == ("caption", "adversarial")
               and r.score.parsed == r.cue.suggests and r.cue.base_id in right]  # fmt: skip
    assert reader.count() == len(flipped) > 0
    reader.driver.find_element(By.ID, "clear").click()
    assert reader.count() == len(records)


def test_search_finds_words_of_replies_and_ids(reader: Reader, runs: Runs) -> None:
    reader.open("")
    record = read_records(runs.base)[5]
    reader.press("/")
    reader.press(record.sample_id)
    WebDriverWait(reader.driver, 5).until(lambda _: reader.count() < 20)
    assert record.sample_id in reader.text("#item .id")


def test_a_link_opens_its_row_and_keys_move_on(reader: Reader, runs: Runs) -> None:
    row = next(r for r in read_records(runs.base) if r.cue and r.cue.attack == "caption" and r.cue.variant == "neutral")
    reader.open(f"#item={quote(row.cue.base_id, safe='')}&attack=caption&variant=neutral")
    assert reader.text("#item .id") == row.sample_id
    assert row.options[0] in reader.text("#item .options")
    before = reader.driver.current_url
    reader.press("j")
    assert reader.text("#item .id") != row.sample_id and reader.driver.current_url != before
    reader.press("k")
    assert reader.text("#item .id") == row.sample_id


def test_the_cue_is_drawn_at_its_native_size_and_words_are_marked(reader: Reader, runs: Runs) -> None:
    row = next(r for r in read_records(runs.base) if r.cue and r.cue.attack == "caption")
    reader.open(f"#item={quote(row.cue.base_id, safe='')}&attack=caption&variant={row.cue.variant}")
    crop = reader.driver.find_element(By.CSS_SELECTOR, "#item .cue img")
    natural = reader.driver.execute_script("return [arguments[0].naturalWidth, arguments[0].naturalHeight]", crop)
    assert [crop.size["width"], crop.size["height"]] == natural and natural[0] > 50
    assert len(reader.driver.find_elements(By.CSS_SELECTOR, "#item .picture")) == 2
    assert len(reader.driver.find_elements(By.CSS_SELECTOR, "#item .reply")) == 2
    reader.screenshot("light-item")
    reader.driver.find_element(By.ID, "theme").click()
    reader.screenshot("dark-item")
    words = next(r for r in read_records(runs.base) if r.cue and r.cue.attack == "prompt")
    reader.open(f"#item={quote(words.cue.base_id, safe='')}&attack=prompt&variant={words.cue.variant}")
    added = reader.text("#item .text ins")
    assert added and added.split("\n")[0] in words.question


def test_hostile_replies_are_text(reader: Reader, hostile: Path) -> None:
    record = read_records(hostile)[1]
    query = f"&attack={record.cue.attack}&variant={record.cue.variant}" if record.cue else ""
    base = record.cue.base_id if record.cue else record.sample_id
    reader.open(f"#item={quote(base, safe='')}{query}")
    shown = reader.text("#item .reply:nth-child(2) > .text")
    assert "<script>document.title='owned'</script>" in shown and "⟦U+202E⟧" in shown and "⟦U+0000⟧" in shown
    assert reader.driver.title != "owned"


def test_what_is_filtered_can_be_taken_away(reader: Reader, hostile: Path) -> None:
    reader.open("")
    reader.press("/")
    reader.press("HYPERLINK")
    WebDriverWait(reader.driver, 5).until(lambda _: reader.count() == 1)
    reader.driver.find_element(By.ID, "csv").click()
    with reader.saved("rows.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert not any(cell.lstrip().startswith(("=", "+", "-", "@")) for cell in row.values())
    reader.driver.find_element(By.ID, "jsonl").click()
    (line,) = reader.saved("rows.jsonl").read_text(encoding="utf-8").splitlines()
    assert HOSTILE in json.loads(line).values()


def test_print_lists_the_rows_chosen_and_reasoning_is_folded(reader: Reader, hostile: Path) -> None:
    record = read_records(hostile)[1]
    reader.open(f"#item={quote(record.cue.base_id, safe='')}&attack={record.cue.attack}&variant={record.cue.variant}")
    folded = reader.driver.find_element(By.CSS_SELECTOR, "#item .reply:nth-child(2) details")
    assert folded.get_attribute("open") is None and "Reasoning" in folded.text
    reader.choose("attack", "caption")
    chosen = reader.count()
    reader.driver.execute_script("dispatchEvent(new Event('beforeprint'))")
    reader.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        rows = reader.driver.find_elements(By.CSS_SELECTOR, "#printed .printed")
        assert len(rows) == chosen > 0 and rows[0].is_displayed() and "Prompt" in rows[0].text
        assert not reader.driver.find_element(By.ID, "filters").is_displayed()
    finally:
        reader.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_a_phone_scrolls_one_way_only(reader: Reader) -> None:
    reader.open("")
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    reader.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        assert reader.driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        reader.screenshot("phone")
    finally:
        reader.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.skipif(not AXE, reason="ALOE_BENCH_AXE names no axe.min.js: npm install axe-core, and give its path")
@pytest.mark.parametrize("width", [1366, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_serious_violation(reader: Reader, runs: Runs, theme: str, width: int) -> None:
    row = next(r for r in read_records(runs.base) if r.cue and r.cue.attack == "caption")
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    reader.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        reader.open(f"#item={quote(row.cue.base_id, safe='')}&attack=caption&variant={row.cue.variant}")
        reader.driver.execute_script(
            "document.documentElement.dataset.theme = arguments[0];"
            "document.querySelectorAll('details').forEach((each) => { each.open = true; });",
            theme,
        )
        reader.screenshot(f"{theme}-{width}")
        reader.driver.execute_script(Path(AXE).read_text(encoding="utf-8"))
        found = reader.driver.execute_async_script("axe.run().then(arguments[0])")["violations"]
        serious = [
            f"{each['id']}: {node['target']} {node['failureSummary']}"
            for each in found
            if each["impact"] in ("serious", "critical")
            for node in each["nodes"]
        ]
        assert serious == []
    finally:
        reader.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_pictures_of_the_file_beside_are_shown_on_this_machine(runs: Runs, tmp_path: Path) -> None:
    kept = tmp_path / "run"
    shutil.copytree(runs.base, kept)
    header = json.loads((kept / "run.json").read_text())
    header["task"]["licence"] = "gated"
    (kept / "run.json").write_text(json.dumps(header))
    page, beside = report(kept, tmp_path / "report.html", data=[runs.table])
    reader = Reader(tmp_path, page.as_uri())
    try:
        assert "not in this file" in reader.text("#item figcaption")
        reader.driver.find_element(By.ID, "sidecar").send_keys(str(beside))
        WebDriverWait(reader.driver, 10).until(lambda _: "not in this file" not in reader.text("#item figcaption"))
        assert reader.driver.find_elements(By.CSS_SELECTOR, "#item .picture img")
    finally:
        reader.driver.quit()


@pytest.fixture(scope="module")
def viewed(runs: Runs, hostile: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """The same runs, served by `aloe-bench view`."""
    words = command("view", runs.base, hostile, "--data", runs.table, "--port", 0)
    with subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
        try:
            found = Reader(tmp_path_factory.mktemp("viewed"), process.stdout.readline().strip())
            yield found
            found.driver.quit()
        finally:
            process.terminate()


def test_view_loads_rows_and_pictures_as_they_are_looked_at(viewed: Reader, hostile: Path, runs: Runs) -> None:
    records = read_records(runs.base)
    row = next(r for r in records if r.cue and r.cue.attack == "caption")
    viewed.open(f"#item={quote(row.cue.base_id, safe='')}&attack=caption&variant={row.cue.variant}")
    wait = WebDriverWait(viewed.driver, 60)
    wait.until(lambda d: len(d.find_elements(By.CSS_SELECTOR, "#item .picture img")) >= 3)
    assert viewed.text("#item .id") == row.sample_id and row.prediction.text in viewed.text("#item .reply > .text")
    viewed.screenshot("view-item")
    viewed.choose("attack", "caption")
    assert viewed.count() == sum(bool(r.cue) and r.cue.attack == "caption" for r in records)
    viewed.driver.find_element(By.ID, "clear").click()
    viewed.press("/")
    viewed.press("HYPERLINK")
    wait.until(lambda _: viewed.count() == 1)
    wait.until(lambda _: "⟦U+202E⟧" in viewed.text("#item .reply:nth-child(2) > .text"))
    assert viewed.driver.title != "owned"
    viewed.driver.find_element(By.ID, "clear").click()
    viewed.choose("variant", "adversarial")
    viewed.driver.find_element(By.ID, "jsonl").click()
    lines = viewed.saved("rows.jsonl").read_text(encoding="utf-8").splitlines()
    replies = [r.prediction.text for r in read_records(hostile) if r.cue and r.cue.variant == "adversarial"]
    assert [next(v for k, v in json.loads(line).items() if k.startswith("2:") and k.endswith("reply"))
            for line in lines] == replies  # fmt: skip
    assert viewed.requests() == [] and [entry["message"] for entry in viewed.driver.get_log("browser")] == []


def test_nothing_was_asked_of_the_network_and_nothing_complained(reader: Reader) -> None:
    reader.open("")
    time.sleep(0.3)
    assert reader.requests() == []
    assert [entry["message"] for entry in reader.driver.get_log("browser")] == []
