"""Reading pages of charts in Chromium."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from selenium import webdriver
from selenium.webdriver.support.wait import WebDriverWait

from factorbox.report import vega
from factorbox.report.blocks import Chart, Section, Table
from factorbox.report.charts import bar_chart, columns
from factorbox.report.page import Opening, page

HOSTILE_TITLE = (
    "</script><script>owned = 1</script><img src=x onerror='owned = 1'> \"&amp;\" {{title}} שלום " + "w" * 90
)
NAMES_OF_JAVASCRIPT = ["constructor", "__proto__", "toString", "valueOf", "hasOwnProperty"]
PATIENCE = 120.0
DESKTOP, PHONE = 1280, 390


class Reader:
    """A window of Chromium with a file in it, and what it has complained about."""

    def __init__(self, driver: webdriver.Chrome, path: Path) -> None:
        self.driver = driver
        self.path = path

    def open(self, *, width: int = DESKTOP, dark: bool = False) -> None:
        """Load the file anew in a window of a width, for somebody who likes it light or dark."""
        self.driver.get("about:blank")
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [theme]})
        self.driver.get(self.path.as_uri())

    def script(self, code: str, *arguments: object) -> object:
        result: object = self.driver.execute_script(code, *arguments)
        return result

    def until(self, code: str, *arguments: object) -> None:
        """Wait until a condition of the page holds."""
        WebDriverWait(self.driver, PATIENCE, poll_frequency=0.05).until(lambda _: self.script(code, *arguments))

    def read_through(self) -> int:
        """Scroll to each chart, wait until it is drawn, and return how many there are."""
        charts = int(str(self.script("return charts.length")))
        for position in range(charts):
            self.script("charts[arguments[0]].scrollIntoView({ behavior: 'instant' })", position)
            self.until("const c = charts[arguments[0]]; return c.querySelector('svg, canvas, .error')", position)
        return charts

    def pdf(self) -> bytes:
        """Print the page."""
        printed = self.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True, "preferCSSPageSize": True})
        return base64.b64decode(printed["data"])

    def complaints(self) -> list[dict[str, str]]:
        return list(self.driver.get_log("browser"))  # type: ignore[no-untyped-call]

    def requests(self) -> set[str]:
        """Return what has been asked for since the last call."""
        logged = self.driver.get_log("performance")  # type: ignore[no-untyped-call]
        events = [json.loads(entry["message"])["message"] for entry in logged]
        return {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}


def watched(driver: webdriver.Chrome, path: Path) -> Iterator[Reader]:
    """Give the page; it may neither complain nor ask anybody for anything, nor run what a text says."""
    reader = Reader(driver, path)
    reader.complaints()
    reader.requests()
    yield reader
    assert reader.script("return window.owned") is None
    assert reader.complaints() == []
    assert {url for url in reader.requests() if not url.startswith(("data:", "about:"))} <= {path.as_uri()}


def write_charts(path: Path, *charts: Chart | Table) -> Path:
    """Write a page of these blocks."""
    section = Section("charts", "Charts", "", charts)
    path.write_text(page(Opening("", "Charts", ""), sections=[section], vega=vega.bundle()))
    return path


def bars(title: str, *, color: str | None = None) -> Chart:
    data = columns(label=[HOSTILE_TITLE, "b", "c"], value=[3.0, -1.0, np.nan])
    return Chart(title, bar_chart(data, label="label", value="value", color={"value": color or "@accent"}))
