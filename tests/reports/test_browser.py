"""Reports in a real browser: widths, dark mode, sorting, details, print; no error and nothing loaded from outside."""

import base64
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest

from tests.reports.test_page import explained, spoiled, write
from ugcvqa.display.text_tables import Cell, Table
from ugcvqa.display.text_tables import Section as Lines
from ugcvqa.media.encode import write_video
from ugcvqa.scoring.result import Score
from ugcvqa.studies.page import Page, Section

WIDTHS = (360, 768, 1440)


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium drives the browser; it is not installed")
    chrome, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not (chrome and driver):
        pytest.skip("needs chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chrome
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--allow-file-access-from-files"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options, webdriver.ChromeService(driver)) as browser:
        yield browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A page of each kind."""
    folder = tmp_path_factory.mktemp("pages")
    ramp = np.tile(np.linspace(0, 255, 160, dtype=np.uint8)[None, :, None], (120, 1, 3))
    for name, crf in (("light.mp4", "12"), ("heavy.mp4", "45")):
        frames = (np.roll(ramp, 7 * k, 1) for k in range(30))
        write_video(folder / name, frames, 10, options={"crf": crf})
    one = explained(folder / "light.mp4", 3.4, [3.0, 2.5, 4.0])
    one = replace(one, explanation=replace(one.explanation, artefacts=spoiled()))
    two = explained(folder / "heavy.mp4", 2.1, [2.0, 2.5, 2.2])
    names = [f"{'long_name_' * 12}{k}.mp4" for k in range(30)]
    many = [Score(f"clips/{name}", 1 + (7 * k % 30) / 8, 1.0, low=1.0, high=4.9) for k, name in enumerate(names)]
    many[3] = Score(f"clips/{names[3]}", math.nan, math.nan, f"clips/{names[3]}: decoded 3 of 9 frames")
    rows = tuple((Cell(name), Cell(f"{k / 7:.4f}")) for k, name in enumerate(names))
    table = Table("Numbers", ("video", "cosine"), (Lines("", rows),), (), ())
    study = Page("Saliency study", ("RANDOM WEIGHTS",), {"Why?": ("so",)}, (Section("Part", (table,), ()),), ("made",))
    (folder / "study.html").write_text(study.html(folder))
    return {
        "one": write(folder / "one.html", [one]),
        "versions": write(folder / "versions.html", [one, two]),
        "folder": write(folder / "folder.html", many),
        "study": folder / "study.html",
    }


@pytest.fixture(params=["one", "versions", "folder", "study"])
def page(request, browser, pages):
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    browser.get(pages[request.param].as_uri())
    return browser


def resize(browser, width):
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def test_no_errors_and_nothing_from_outside(page):
    assert page.get_log("browser") == []
    loaded = page.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert all(name.startswith("data:") for name in loaded)


@pytest.mark.parametrize("width", WIDTHS)
def test_page_fits_the_window(page, width):
    resize(page, width)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width


def test_dark_mode_turns_the_colours_round(page):
    def lightness(selector, name):
        script = f"return getComputedStyle(document.querySelector('{selector}')).{name}.match(/\\d+/g).map(Number)"
        return sum(page.execute_script(script)[:3]) / 765

    for scheme, is_dark in (("light", False), ("dark", True)):
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        paper, ink = lightness("section", "backgroundColor"), lightness("body", "color")
        assert (paper < 0.3 < 0.7 < ink) if is_dark else (ink < 0.3 < 0.7 < paper)


def test_page_prints(page):
    printed = base64.b64decode(page.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert printed.startswith(b"%PDF")


def test_details_of_each_version_are_printed(browser, pages):
    browser.get(pages["versions"].as_uri())
    is_visible = "return document.querySelector('details.version h2').checkVisibility()"
    assert not browser.execute_script(is_visible)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    is_printed = browser.execute_script(is_visible)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert is_printed


def test_headings_sort_and_names_are_filtered(browser, pages):
    browser.get(pages["folder"].as_uri())
    script = "return [...document.querySelectorAll('table.sortable tbody tr')].map((r) => r.cells[1].textContent)"
    for click, direction in (("first", 1), ("second", -1)):
        browser.find_element("css selector", "table.sortable th:nth-child(2) button").click()
        shown = browser.execute_script(script)
        assert shown[-1] == "–", click  # no score: last either way
        numbers = [float(text) for text in shown[:-1]]
        assert numbers == sorted(numbers)[::direction]
    browser.find_element("css selector", "input[type=search]").send_keys("_7.mp4")
    visible = "return [...document.querySelectorAll('table.sortable tbody tr')].filter((row) => !row.hidden).length"
    assert browser.execute_script(visible) == 1


def test_details_open(browser, pages):
    browser.get(pages["versions"].as_uri())
    browser.find_element("css selector", "details.version > summary").click()
    assert browser.find_element("css selector", "details.version h2").is_displayed()
