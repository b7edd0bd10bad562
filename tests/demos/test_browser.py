"""The page in a real browser."""

import json
import shutil
from pathlib import Path

import pytest
from gradio_client import Client
from PIL import Image
from selenium import webdriver
from selenium.common.exceptions import ElementClickInterceptedException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from visionrel.demos.reversion_desk import OWN
from visionrel.records import read_record


CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER),
    reason="needs chromium and chromedriver (Debian: apt install chromium chromium-driver)",
)
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run"),
    *("--disable-dev-shm-usage", "--window-size=1280,1000"),
)
SECONDS = 60


@pytest.fixture
def page(url, tmp_path):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    options.add_experimental_option(
        "prefs", {"download.default_directory": str(tmp_path / "downloads")}
    )
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    try:
        driver.get(url)
        yield driver
    finally:
        driver.quit()


def wait_for(page, condition):
    return WebDriverWait(page, SECONDS).until(lambda _: condition())


def find(page, selector: str):
    return page.find_elements(By.CSS_SELECTOR, selector)


def click(page, selector: str):
    """Clicks an element once it is there and holds still."""
    wait = WebDriverWait(page, SECONDS, ignored_exceptions=[ElementClickInterceptedException])
    (element,) = wait_for(page, lambda: find(page, selector))
    wait.until(lambda _: element.is_enabled() and (element.click() or True))


def ask_for_steps(page, count: int = 5000):
    """By default so many that learning does not end before it is stopped."""
    steps = wait_for(page, lambda: find(page, "#steps input"))[0]
    steps.clear()
    steps.send_keys(str(count))


def write_exemplars(folder: Path) -> list[Path]:
    """Two pictures and the file of their captions."""
    folder.mkdir()
    captions = {"red.png": ["cat {} stone"], "blue.png": ["a dog {} a box"]}
    for name in captions:
        Image.new("RGB", (40, 30), name.split(".")[0]).save(folder / name)
    (folder / "text.json").write_text(json.dumps(captions))
    return sorted(folder.iterdir())


def test_a_visitor_generates_and_sees_a_picture(page):
    click(page, "#generate")
    (picture, *_) = wait_for(page, lambda: find(page, "#drawn img"))
    wait_for(page, lambda: page.execute_script("return arguments[0].naturalWidth", picture) == 32)
    assert "pictures" in wait_for(page, lambda: find(page, "#verdict")[0].text)


def test_learn_shows_progress_and_stops(page):
    wait_for(page, lambda: find(page, "#generate"))
    (learn,), (stop,) = find(page, "#learn"), find(page, "#stop")
    assert not stop.is_enabled()
    ask_for_steps(page)
    click(page, "#learn")
    wait_for(page, lambda: "loss" in find(page, "#status")[0].text)
    click(page, "#stop")
    wait_for(page, lambda: "Stopped after step" in find(page, "#status")[0].text)
    wait_for(page, lambda: learn.is_enabled() and not stop.is_enabled())
    assert "{}" in find(page, "#prompt textarea")[0].get_attribute("value")


def test_own_pictures_are_learned_and_a_drawn_one_is_downloaded(page, tmp_path):
    click(page, f"#source input[value='{OWN}']")
    files = wait_for(page, lambda: find(page, "#exemplars input[type=file]"))[0]
    files.send_keys("\n".join(str(path) for path in write_exemplars(tmp_path / "exemplars")))
    wait_for(page, lambda: find(page, "#exemplars .file-preview"))
    ask_for_steps(page, 2)
    click(page, "#learn")
    learned = "Learned the relation of your pictures from 2 pictures. 2 steps"
    wait_for(page, lambda: learned in find(page, "#status")[0].text)
    prompt = find(page, "#prompt textarea")[0]
    wait_for(page, lambda: "{}" in prompt.get_attribute("value"))

    click(page, "#generate")
    wait_for(page, lambda: find(page, "#drawn .gallery-item"))
    click(page, "#drawn .gallery-item:first-child button")
    click(page, "#drawn .preview button[aria-label=Download]")
    (picture,) = wait_for(page, lambda: [*(tmp_path / "downloads").glob("*.png")])
    record = read_record(picture)
    assert record.prompt == prompt.get_attribute("value") and record.adapter
    assert picture.name.endswith(f"_seed{record.seed}.png")


def test_mistakes_are_shown_with_the_librarys_message(page):
    prompt = wait_for(page, lambda: find(page, "#prompt textarea"))[0]
    prompt.clear()
    prompt.send_keys("an owl <Q> a cat")
    click(page, "#generate")
    wait_for(page, lambda: "names <Q>, which is not loaded" in find(page, "body")[0].text)


def test_after_a_mistake_in_learning_one_can_try_again(page):
    click(page, f"#source input[value='{OWN}']")
    click(page, "#learn")
    wait_for(page, lambda: "No pictures were uploaded" in find(page, "body")[0].text)
    wait_for(page, lambda: find(page, "#learn")[0].is_enabled())
    assert not find(page, "#stop")[0].is_enabled()


def test_closing_the_page_ends_its_training(page, url):
    ask_for_steps(page)
    click(page, "#learn")
    wait_for(page, lambda: "loss" in find(page, "#status")[0].text)
    page.get("about:blank")
    # Jobs run one at a time: this one waits for the training's end.
    job = Client(url, verbose=False).submit("a cat", 1, 1, api_name="/generate")
    assert job.result(timeout=SECONDS)


def test_a_visitor_draws_a_clip_in_the_second_tab(page):
    (_, tab, *_) = wait_for(page, lambda: find(page, "button[role=tab]"))
    tab.click()
    click(page, "#film")
    (clip, *_) = wait_for(page, lambda: find(page, "#clips img"))
    wait_for(page, lambda: page.execute_script("return arguments[0].naturalWidth", clip) == 192)
    assert "laws of motion" in wait_for(page, lambda: find(page, "#motion-verdict")[0].text)


def test_a_visitor_looks_at_an_example_in_the_third_tab(page):
    (*_, tab) = wait_for(page, lambda: find(page, "button[role=tab]"))
    tab.click()
    click(page, "#example")
    wait_for(page, lambda: find(page, "#aerial img"))
    click(page, "#detect")
    (drawn, *_) = wait_for(page, lambda: find(page, "#found img"))
    wait_for(page, lambda: page.execute_script("return arguments[0].naturalWidth", drawn) == 320)
    assert wait_for(page, lambda: find(page, "#counts")[0].text)
