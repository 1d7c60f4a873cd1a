"""A real browser with the page of a served model in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from docker_support import free_port
from support import CONTAINER

PATIENCE = 120.0


@contextmanager
def serving(base: Path, **environment: str) -> Iterator[str]:
    """Serve a model, and give the address of the page."""
    port = free_port()
    surroundings = {"SAGEMAKER_BASE_DIR": str(base), "SAGEMAKER_BIND_TO_PORT": str(port), "MODEL_SERVER_WORKERS": "1"}
    process = subprocess.Popen(
        [sys.executable, str(CONTAINER / "serve")], env={**os.environ, **surroundings, **environment}
    )
    address = f"http://127.0.0.1:{port}/"
    try:
        deadline = time.monotonic() + PATIENCE
        while not is_healthy(address):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(PATIENCE)


def is_healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(address + "ping", timeout=PATIENCE) as answer:
            return bool(answer.status == 200)
    except urllib.error.URLError:
        return False


class Browser:
    """A window of Chromium with the page in it."""

    def __init__(self, driver: webdriver.Chrome, address: str) -> None:
        self.driver = driver
        self.address = address

    def open(self, fragment: str = "", *, address: str | None = None) -> None:
        """Load the page anew and wait for its content."""
        self.driver.get("about:blank")
        self.driver.get((address or self.address) + fragment)
        self.until(lambda: self.all("main[aria-busy=false] h2"))

    def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is so."""
        WebDriverWait(self.driver, PATIENCE, poll_frequency=0.05).until(lambda _: condition())

    def wait_for(self, heading: str) -> None:
        """Wait until the page is about something."""
        self.until(lambda: self.texts("main[aria-busy=false] h2") == [heading])

    def wait_found(self, *names: str) -> None:
        """Wait until a search shows these users and items, in order."""
        self.until(lambda: self.texts("#found .name") == list(names))

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return self.one(selector).text

    def click(self, selector: str) -> None:
        """Click on the first such element, which may just be drawn anew."""

        def clicked(_: object) -> bool:
            self.one(selector).click()
            return True

        WebDriverWait(self.driver, PATIENCE, ignored_exceptions=[StaleElementReferenceException]).until(clicked)

    def texts(self, selector: str) -> list[str]:
        # In one call: elements may be replaced meanwhile.
        found = "return [...document.querySelectorAll(arguments[0])].map((node) => node.textContent)"
        return list(self.driver.execute_script(found, selector))

    def script(self, code: str) -> object:
        result: object = self.driver.execute_script(code)
        return result

    def type(self, text: str) -> None:
        """Type into the search, instead of what stands there."""
        box = self.one("#text")
        box.clear()
        box.send_keys(text)

    def press(self, *keys: str) -> None:
        """Press keys where the focus is."""
        self.driver.switch_to.active_element.send_keys(*keys)

    def focused(self) -> str:
        return str(self.script("return document.activeElement.textContent || document.activeElement.id"))

    def width(self, width: int) -> None:
        """Be a window of this width, as on a telephone."""
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": True}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def log(self, kind: str) -> list[dict[str, str]]:
        """Return the lines of a log since the last call."""
        return list(self.driver.get_log(kind))  # type: ignore[no-untyped-call]

    def requests(self) -> list[str]:
        """Return what was requested since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]


@contextmanager
def chromium(profile: Path) -> Iterator[webdriver.Chrome]:
    """Start a window with an empty profile; a test that needs one is skipped where there is no Chromium."""
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if not all(programs):
        reason = "there is no chromium and chromedriver: apt-get install chromium chromium-driver"
        assert os.environ.get("FACTORBOX_REQUIRE_BROWSER") != "1", reason
        pytest.skip(reason)
    options = webdriver.ChromeOptions()
    options.binary_location = str(programs[0])
    for argument in (
        "--headless=new",
        # Its sandbox refuses to run as root, and containers have little shared memory.
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--disable-background-networking",
        f"--user-data-dir={profile}",
        "--window-size=1200,900",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(service=Service(str(programs[1])), options=options)
    try:
        yield driver
    finally:
        driver.quit()


@contextmanager
def watched(driver: webdriver.Chrome, address: str) -> Iterator[Browser]:
    """Give the page; nothing that is done with it may leave an error, or ask anybody but the server."""
    browser = Browser(driver, address)
    browser.requests()
    browser.log("browser")
    yield browser
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert browser.script("return window.owned") is None
    assert browser.log("browser") == []
    elsewhere = [url for url in browser.requests() if not url.startswith(("http://127.0.0.1:", "data:", "about:"))]
    assert elsewhere == []
