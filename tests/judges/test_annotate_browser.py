"""The annotation page in a real headless Chromium, clicked and typed through as two raters would.

Screenshots are kept where ALOE_BENCH_SCREENSHOTS says, if it is set.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.annotate_server import ENVIRONMENT, MINI, command, make_run, served

pytest.importorskip("uvicorn", reason="install the extra annotate")
pytest.importorskip("selenium", reason="install the extra dev")

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="Chromium is not installed: apt-get install chromium chromium-driver"
)
Open = Callable[..., "Page"]
GUARD_S = 0.45  # page.js ignores ratings this soon after a new item
LABELS = {"1": "correct", "2": "partially correct", "3": "incorrect", "0": "ambiguous"}


class Page:
    """One browser window, driven by what a person sees and does."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        self.driver.get(url)
        self.settle()

    def settle(self) -> None:
        """Wait until the page has answered, and past the moment in which it takes no rating."""
        idle = "return document.body.getAttribute('aria-busy') === 'false' && document.readyState === 'complete'"
        self.wait(lambda: self.driver.execute_script(idle))
        time.sleep(GUARD_S)

    def wait(self, condition: Callable[[], Any]) -> None:
        WebDriverWait(self.driver, 15, 0.02).until(lambda _: condition())

    def text(self, id_: str) -> str:
        return self.driver.find_element(By.ID, id_).text

    def press(self, *keys: str) -> None:
        ActionChains(self.driver).send_keys(*keys).perform()
        self.settle()

    def click(self, selector: str) -> None:
        self.driver.find_element(By.CSS_SELECTOR, selector).click()
        self.settle()

    def label(self, name: str) -> None:
        self.click(f'.label[data-label="{name}"]')

    def chosen(self) -> list[str]:
        pressed = self.driver.find_elements(By.CSS_SELECTOR, '.label[aria-pressed="true"]')
        return [str(button.get_attribute("data-label")) for button in pressed]

    def comment(self) -> str:
        return str(self.driver.find_element(By.ID, "comment").get_property("value"))

    def offline(self, now: bool) -> None:
        self.driver.set_network_conditions(offline=now, latency=0, throughput=10**8)

    def screenshot(self, name: str) -> None:
        if folder := os.environ.get("ALOE_BENCH_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.driver.save_screenshot(str(Path(folder) / f"{name}.png"))

    def complaints(self) -> list[str]:
        """Return what the console holds: script errors, refused resources."""
        return [str(entry["message"]) for entry in self.driver.get_log("browser")]


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Open]:
    """Return a function that opens a new browser with an empty profile."""
    opened: list[webdriver.Chrome] = []

    def start(width: int = 1366, height: int = 860, phone: bool = False) -> Page:
        options = webdriver.ChromeOptions()
        options.binary_location = str(CHROMIUM)
        profile = tmp_path / f"profile-{len(opened)}"
        profile.mkdir()
        for flag in (
            "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
            "disable-component-update", "disable-sync", f"user-data-dir={profile}", f"window-size={width},{height}",
        ):  # fmt: skip
            options.add_argument(f"--{flag}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        if phone:
            metrics = {"width": width, "height": height, "pixelRatio": 2.0, "touch": True}
            options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
        driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
        opened.append(driver)
        return Page(driver)

    yield start
    for driver in opened:
        driver.quit()


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("browser"), "accuracy=0.5")


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def exported(run: Path, file: Path) -> dict[tuple[str, str], tuple[str, str]]:
    """Return (rater, item) -> (label, comment)."""
    words = command("annotate", run, "--export", file)
    subprocess.run(words, env=ENVIRONMENT, check=True, capture_output=True)
    with file.open(newline="", encoding="utf-8") as lines:
        return {(r["rater"], r["item_id"]): (r["label"], r["comment"]) for r in csv.DictReader(lines)}


def ids_by_question() -> dict[str, str]:
    rows = json.loads((MINI / "CareQA-Vis_open.json").read_text())
    return {row["question"]: f"careqa_vision/{row['unique_id']}" for row in rows}


def test_two_raters_go_through_their_lists(run: Path, browser: Open, tmp_path: Path):
    ids, said = ids_by_question(), {}
    with served(run, "--raters", "Ana,Bo", "--per-item", 2) as server:
        ana, bo = browser(), browser()
        ana.open(server.links["Ana"])
        bo.open(server.links["Bo"])
        assert "Ana" in ana.driver.find_element(By.TAG_NAME, "header").text
        ana.screenshot("desktop-first")
        first_questions = []
        for turn in range(10):
            for page, rater in ((ana, "Ana"), (bo, "Bo")):
                question = page.text("question")
                assert page.text("place") == f"Answer {turn + 1} of 10"
                assert page.text("count") == f"{turn} of 10 rated"
                assert page.text("reference") and page.text("answer")
                shown = page.driver.find_element(By.CSS_SELECTOR, ".image img")
                page.wait(lambda shown=shown: int(str(shown.get_property("naturalWidth"))) > 0)
                key = "1230"[(turn + (rater == "Bo")) % 4]
                said[rater, ids[question]] = (LABELS[key], "")
                first_questions.append((rater, question))
                if rater == "Ana":
                    page.press(key)
                else:
                    page.label(LABELS[key])
        assert ana.text("finished-title") == "All done" and bo.text("finished-title") == "All done"
        ana.screenshot("desktop-done")
        assert [q for r, q in first_questions if r == "Ana"] == [q for r, q in first_questions if r == "Bo"][::-1]
        assert not ana.complaints() + bo.complaints()
    assert exported(run, tmp_path / "labels.csv") == said


def test_undo_back_and_comment(run: Path, browser: Open, tmp_path: Path):
    ids = ids_by_question()
    with served(run, "--raters", "Ana,Bo", "--per-item", 2) as server:
        page = browser()
        page.open(server.links["Ana"])
        assert not page.driver.find_element(By.ID, "undo").is_enabled()
        first = page.text("question")
        # Digits typed into the comment are text, not ratings.
        page.press("c")
        page.press("grade 2, see <b>page</b> 10", Keys.ESCAPE)
        assert page.text("question") == first
        page.press("2")
        second = page.text("question")
        assert second != first and page.comment() == ""
        page.label("incorrect")

        page.press("u")
        assert (page.text("question"), page.chosen(), page.text("count")) == (second, [], "1 of 10 rated")
        page.click("#undo")
        assert (page.text("question"), page.chosen(), page.text("count")) == (first, [], "0 of 10 rated")
        page.press("c")
        page.press("grade 2, see <b>page</b> 10", Keys.ESCAPE, "2")
        page.press("1")

        page.press(Keys.ARROW_LEFT)
        page.click("#back")
        assert (page.text("question"), page.chosen()) == (first, ["partially correct"])
        assert page.comment() == "grade 2, see <b>page</b> 10"
        page.screenshot("desktop-back")
        page.label("ambiguous")  # a changed mind; the page goes on with the first unrated answer
        assert page.text("place") == "Answer 3 of 10" and page.text("count") == "2 of 10 rated"
        assert not page.complaints()
    assert exported(run, tmp_path / "labels.csv") == {
        ("Ana", ids[first]): ("ambiguous", "grade 2, see <b>page</b> 10"),
        ("Ana", ids[second]): ("correct", ""),
    }


def test_closing_the_browser_and_the_server_loses_nothing(run: Path, browser: Open):
    with served(run, "--raters", "Ana,Bo", "--per-item", 2) as server:
        page = browser()
        page.open(server.links["Ana"])
        page.press("1")
        page.press("3")
        third = page.text("question")
        page.press("c")
        page.press("half a tho")
        page.driver.refresh()
        page.settle()
        assert page.text("question") == third and page.comment() == "half a tho"
        page.driver.quit()
    with served(run) as server:
        page = browser()
        page.open(server.links["Ana"])
        assert (page.text("question"), page.text("count")) == (third, "2 of 10 rated")


def test_a_double_click_a_held_key_and_a_lost_connection_skip_nothing(run: Path, browser: Open, tmp_path: Path):
    ids = ids_by_question()
    with served(run, "--raters", "Ana,Bo", "--per-item", 2) as server:
        page = browser()
        page.open(server.links["Ana"])
        button = page.driver.find_element(By.CSS_SELECTOR, '.label[data-key="1"]')
        first = page.text("question")
        ActionChains(page.driver).double_click(button).perform()
        page.settle()
        second = page.text("question")
        assert page.text("count") == "1 of 10 rated"

        page.press("2", "2", "2")
        third = page.text("question")
        assert page.text("count") == "2 of 10 rated"
        for kind in ("keyDown", "keyDown", "keyDown"):  # the second and third come from a key held down
            event = {"type": kind, "key": "3", "text": "3", "code": "Digit3", "autoRepeat": kind != "keyDown"}
            page.driver.execute_cdp_cmd("Input.dispatchKeyEvent", event)
        page.settle()
        for _ in range(5):
            event = {"type": "keyDown", "key": "3", "text": "3", "code": "Digit3", "autoRepeat": True}
            page.driver.execute_cdp_cmd("Input.dispatchKeyEvent", event)
            time.sleep(0.2)
        assert page.text("count") == "3 of 10 rated"
        fourth = page.text("question")

        page.offline(True)
        page.press("0")
        assert "may not be saved" in page.text("problem") and page.text("question") == fourth
        page.screenshot("desktop-offline")
        page.offline(False)
        page.click("#retry")
        assert not page.driver.find_element(By.ID, "problem").is_displayed()
        assert page.text("count") == "4 of 10 rated" and page.text("place") == "Answer 5 of 10"
    assert exported(run, tmp_path / "labels.csv") == {
        ("Ana", ids[question]): (label, "")
        for question, label in zip((first, second, third, fourth), LABELS.values(), strict=True)
    }


def test_on_a_phone_everything_fits_and_can_be_tapped(run: Path, browser: Open):
    with served(run, "--raters", "Ana,Bo", "--per-item", 2) as server:
        page = browser(390, 780, phone=True)
        page.open(server.links["Bo"])
        page.screenshot("phone-first")
        width = "return [document.documentElement.scrollWidth, window.innerWidth]"
        assert page.driver.execute_script(width) == [390, 390]
        for button in page.driver.find_elements(By.CSS_SELECTOR, ".label, .moves button"):
            box = button.rect
            assert box["height"] >= 44 and box["x"] >= 0 and box["x"] + box["width"] <= 390
            bottom = page.driver.execute_script("return arguments[0].getBoundingClientRect().bottom", button)
            assert bottom <= 780
        page.label("partially correct")
        assert page.text("count") == "1 of 10 rated"
        page.driver.execute_script("window.scrollTo(0, document.body.scrollHeight)")
        page.screenshot("phone-scrolled")
        assert not page.complaints()


def test_the_image_can_be_enlarged_and_keys_rate_nothing_meanwhile(run: Path, browser: Open):
    with served(run, "--raters", "Ana,Bo", "--per-item", 2) as server:
        page = browser()
        page.open(server.links["Ana"])
        page.click(".image")
        large = page.driver.find_element(By.ID, "large")
        assert large.is_displayed() and large.size["height"] > 600
        page.screenshot("desktop-enlarged")
        page.press("1")
        page.click("#actual")
        natural = int(str(large.get_property("naturalWidth")))
        assert large.size["width"] == natural
        page.press(Keys.ESCAPE)
        assert not large.is_displayed() and page.text("count") == "0 of 10 rated"
        page.press("e")
        page.click("#close")
        assert not large.is_displayed()


def test_every_control_has_a_name_and_text_stands_out(run: Path, browser: Open):
    with served(run, "--raters", "Ana,Bo", "--per-item", 2) as server:
        page = browser()
        page.open(server.links["Ana"])
        tree = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        roles = {"button", "textbox", "image", "progressbar"}
        named = [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in tree if not n["ignored"]]
        assert not [role for role, name in named if role in roles and not name.strip()]
        assert "Compared with the exam’s answer, this answer is" in [name for role, name in named if role == "group"]
        assert {"Correct", "Partially correct", "Incorrect", "Ambiguous"} <= {n for r, n in named if r == "button"}
        assert page.driver.execute_script(CONTRAST) >= 4.5
        # By keyboard alone: Tab reaches the image first, then on to the buttons, with a visible outline.
        page.press(Keys.TAB)
        focused = page.driver.switch_to.active_element
        assert focused.get_attribute("class") == "image" or focused.get_attribute("id") == "comment"
        assert focused.value_of_css_property("outline-style") == "solid"


# The least contrast of any text on the page with the background behind it (WCAG 2.2, 1.4.3).
CONTRAST = """
const rgb = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
const light = (c) => c.slice(0, 3).map((v) => v / 255)
  .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const behind = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
  if (c.length === 3 || c[3] > 0.7) return c; } return [255, 255, 255]; };
let least = 21;
for (const e of document.querySelectorAll("body *")) {
  const text = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  if (!text || !e.getClientRects().length || e.disabled) continue;
  const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))];
  least = Math.min(least, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
}
return least;
"""
