"""The report in a real browser: that of a training job, and pages of charts made for a purpose."""

from __future__ import annotations

import csv
import io
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from selenium import webdriver

from factorbox.report.blocks import Chart, Table
from factorbox.report.charts import columns
from page_reader_support import DESKTOP, HOSTILE_TITLE, NAMES_OF_JAVASCRIPT, PHONE, Reader, bars, watched, write_charts
from support import clustered_ratings, make_base, run_train


@pytest.fixture(scope="module", params=["als", "explicit"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a job on ratings of items with titles, one of which is hostile."""
    data = clustered_ratings(np.random.default_rng(1))
    users = np.repeat(np.arange(data.n_users), np.diff(data.indptr))
    user_ids, item_ids = data.user_ids.to_list(), data.item_ids.to_list()
    # Users of these names are among the busiest.
    for name, user in zip(NAMES_OF_JAVASCRIPT, np.argsort(-np.diff(data.indptr), kind="stable"), strict=False):
        user_ids[user] = name
    rows: list[list[object]] = [
        [user_ids[user], item_ids[item], f"{weight:g}", 1_500_000_000 + 40_000 * place]
        for place, (user, item, weight) in enumerate(zip(users, data.item_indices, data.weights, strict=True))
    ]
    titles: list[list[object]] = [
        [item, HOSTILE_TITLE if place < 6 else f"Film {place}"] for place, item in enumerate(item_ids)
    ]
    for name, title in zip(NAMES_OF_JAVASCRIPT, titles[6:], strict=False):
        title[1] = name
    base = make_base(
        tmp_path_factory.mktemp("report"),
        files={"ratings.csv": _table([["user", "item", "rating", "timestamp"], *rows])},
        items={"items.csv": _table([["item_id", "title"], *titles])},
        hyperparameters={"algorithm": request.param, "embedding_dim": "8", "epochs": "4", "validation": "stratified"},
    )
    done = run_train(base)
    assert done.returncode == 0, done.stdout + done.stderr
    return base / "output/data/report.html"


def _table(rows: list[list[object]]) -> str:
    written = io.StringIO()
    csv.writer(written).writerows(rows)
    return written.getvalue()


@pytest.fixture
def reader(driver: webdriver.Chrome, report: Path) -> Iterator[Reader]:
    yield from watched(driver, report)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [DESKTOP, PHONE, 360])
def test_the_report_of_a_job_is_drawn_whole_and_never_wider_than_the_window(
    reader: Reader, width: int, dark: bool
) -> None:
    reader.open(width=width, dark=dark)
    assert reader.read_through() >= 8
    assert reader.script("return document.querySelectorAll('.chart .error').length") == 0
    assert reader.script("return document.querySelectorAll('main > section h2').length") == 6
    assert int(str(reader.script("return document.documentElement.scrollWidth"))) <= width


def test_no_section_of_the_report_of_a_job_has_failed(report: Path) -> None:
    numbers = json.loads(report.with_name("report.json").read_text())
    assert [key for key, part in numbers.items() if isinstance(part, dict) and "error" in part] == []


def test_the_report_of_a_job_can_be_printed(reader: Reader) -> None:
    reader.open()
    reader.script("addEventListener('afterprint', () => { window.printed = charts.map((c) => c.dataset.drawn); })")
    assert reader.pdf().startswith(b"%PDF")
    assert set(list_of(reader.script("return window.printed"))) == {"print"}


def list_of(value: object) -> list[str]:
    assert isinstance(value, list)
    return value


def test_twenty_charts_are_not_drawn_before_they_come_near(driver: webdriver.Chrome, tmp_path: Path) -> None:
    path = write_charts(tmp_path / "page.html", *(bars(f"Chart {number}") for number in range(20)))
    for reader in watched(driver, path):
        reader.open()
        reader.until("return charts[0].querySelector('svg')")
        assert reader.script("return charts[19].childElementCount") == 0
        assert reader.read_through() == 20


def test_every_chart_is_on_paper_in_light_colours_though_none_was_near(
    driver: webdriver.Chrome, tmp_path: Path
) -> None:
    # A colour of its own for each chart, and one of the theme at the end.
    colours = [f"#{number:02x}4080" for number in range(20, 220, 10)]
    charts = [*(bars("Own colour", color=colour) for colour in colours), bars("Theme", color="@against")]
    path = write_charts(tmp_path / "page.html", *charts)
    for reader in watched(driver, path):
        reader.open(dark=True)
        dark = str(reader.script("return getComputedStyle(document.documentElement).getPropertyValue('--against')"))
        fills = filled_in(reader.pdf())
        light = re.search(r"--against: (#\w{6})", path.read_text())
        assert light
        assert [colour for colour in (*colours, light[1]) if rgb(colour) not in fills] == []
        assert rgb(dark.strip()) not in fills
        # And on the screen all is as it was.
        reader.until("return document.documentElement.dataset.theme === 'dark' && !document.querySelector('.printing')")


def filled_in(pdf: bytes) -> set[tuple[int, ...]]:
    """Return the colours that anything is filled with in a PDF as Chromium writes it."""
    operators = b""
    for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL):
        try:
            operators += zlib.decompress(stream)
        except zlib.error:
            continue  # A font or picture that is packed otherwise.
    shares = re.findall(rb"([\d.]+) ([\d.]+) ([\d.]+) rg\b", operators)
    return {tuple(round(255 * float(share)) for share in colour) for colour in shares}


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour.removeprefix("#")))


def test_the_switch_turns_the_page_and_its_charts(driver: webdriver.Chrome, tmp_path: Path) -> None:
    path = write_charts(tmp_path / "page.html", bars("a"), Table("b", ["x"], [["1"]]))
    for reader in watched(driver, path):
        reader.open()
        reader.read_through()
        fill = "document.querySelector('.chart .mark-rect path')?.getAttribute('fill')"
        paper = "getComputedStyle(document.body).backgroundColor"
        light = (reader.script(f"return {fill}"), reader.script(f"return {paper}"))
        reader.script("document.getElementById('theme').click()")
        reader.until(f"return {fill} && {fill} !== arguments[0]", light[0])
        assert reader.script(f"return {paper}") != light[1]
        reader.script("document.getElementById('theme').click()")
        reader.until(f"return {fill} === arguments[0] && {paper} === arguments[1]", *light)


def test_a_chart_follows_the_width_of_the_window(driver: webdriver.Chrome, tmp_path: Path) -> None:
    square = Chart(
        "square",
        {
            "data": columns(x=[1, 2, 1, 2], y=[1, 1, 2, 2], value=[1.0, 2.0, 3.0, 4.0]),
            "width": "container",
            "usermeta": {"aspect": 1.0},
            "mark": "rect",
            "encoding": {
                "x": {"field": "x", "type": "ordinal"},
                "y": {"field": "y", "type": "ordinal"},
                "color": {"field": "value", "type": "quantitative"},
            },
        },
    )
    path = write_charts(tmp_path / "page.html", bars("a"), square)
    for reader in watched(driver, path):
        reader.open()
        reader.read_through()
        width = "charts[0].querySelector('svg').clientWidth"
        assert reader.script(f"return {width} === charts[0].clientWidth")
        size = {"width": PHONE, "height": 900, "deviceScaleFactor": 1, "mobile": True}
        reader.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        reader.until(f"return {width} < {PHONE} && {width} === charts[0].clientWidth")
        reader.read_through()
        reader.until(f"return charts[1].querySelector('svg').clientWidth < {PHONE}")
        view = "drawn.get(charts[1]).result.view"
        assert reader.script(f"return Math.abs({view}.signal('width') - {view}.height())") == pytest.approx(0, abs=1)


def test_a_tooltip_shows_a_title_as_text(driver: webdriver.Chrome, tmp_path: Path) -> None:
    path = write_charts(tmp_path / "page.html", bars("a"))
    for reader in watched(driver, path):
        reader.open()
        reader.read_through()
        bar = reader.driver.find_element("css selector", ".chart .mark-rect path")
        webdriver.ActionChains(reader.driver).move_to_element(bar).perform()
        reader.until("return document.querySelector('#vg-tooltip-element.visible')")
        shown = str(reader.script("return document.getElementById('vg-tooltip-element').textContent"))
        assert "<script>owned = 1</script>" in shown


def test_some_tables_are_folded_on_a_phone_and_open_on_a_desktop(driver: webdriver.Chrome, tmp_path: Path) -> None:
    path = write_charts(tmp_path / "page.html", Table("a", ["x"], [["1"]], folded_on_phones=True))
    for reader in watched(driver, path):
        for width, is_open in ((DESKTOP, True), (PHONE, False)):
            reader.open(width=width)
            assert reader.script("return document.querySelector('details').open") is is_open


def test_without_javascript_tables_are_there_and_it_says_what_is_not(driver: webdriver.Chrome, tmp_path: Path) -> None:
    path = write_charts(tmp_path / "page.html", bars("a"), Table("b", ["x"], [["in the table"]]))
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        driver.get(path.as_uri())
        text = driver.find_element("css selector", "main").text
    finally:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert "in the table" in text
    assert "The charts need JavaScript" in text
