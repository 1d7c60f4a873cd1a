"""Charts that fail, or whose texts would make others fail, in a real browser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from selenium import webdriver

from factorbox.report.blocks import Chart
from factorbox.report.charts import bar_chart, columns
from factorbox.report.matrix_charts import small_matrix_chart
from page_reader_support import NAMES_OF_JAVASCRIPT, Reader, bars, watched, write_charts


def test_a_chart_that_cannot_be_drawn_says_so_and_the_others_are_there(
    driver: webdriver.Chrome, tmp_path: Path
) -> None:
    reader = Reader(driver, write_charts(tmp_path / "page.html", Chart("broken", {"mark": "no such mark"}), bars("a")))
    reader.open()
    assert reader.read_through() == 2
    assert "could not be drawn" in str(reader.script("return charts[0].textContent"))
    assert reader.script("return charts[1].querySelectorAll('svg').length") == 1
    assert reader.complaints() != []
    reader.requests()


def test_titles_that_every_object_of_javascript_has_are_drawn_as_any_other(
    driver: webdriver.Chrome, tmp_path: Path
) -> None:
    data = columns(label=[*NAMES_OF_JAVASCRIPT, "Film"], value=np.arange(1.0, 7.0))
    order = {"field": "value", "op": "max", "order": "descending"}
    sorted_bars = bar_chart(data, label="label", value="value")
    sorted_bars["encoding"]["y"]["sort"] = order
    matrix = small_matrix_chart(
        np.arange(36, dtype=np.float32).reshape(6, 6),
        users=[*NAMES_OF_JAVASCRIPT, "u"],
        items=[*NAMES_OF_JAVASCRIPT, "i"],
        value_name="Rating",
        title="matrix",
        note="",
    )
    bars_in_order = Chart("bars", bar_chart(data, label="label", value="value"))
    path = write_charts(tmp_path / "page.html", bars_in_order, Chart("sorted", sorted_bars), matrix)
    for reader in watched(driver, path):
        reader.open()
        reader.read_through()
        marks = "return charts.map((c) => c.querySelectorAll('.mark-rect.role-mark path').length)"
        assert reader.script(marks) == [6, 6, 36]
        shown = str(reader.script("return charts[0].textContent"))
        assert [name for name in NAMES_OF_JAVASCRIPT if name not in shown] == []


def test_a_chart_that_fails_at_run_time_says_so_in_its_place(driver: webdriver.Chrome, tmp_path: Path) -> None:
    def failing(when: str) -> Chart:
        chart = bars("a")
        # A call of something that is no function, which only the data bring about.
        broken = {"calculate": f"{when} ? format(1, 'no such format') : 1", "as": "x"}
        params = [{"name": "chosen", "value": "no"}]
        return Chart("broken", {**chart.spec, "params": params, "transform": [broken]})

    path = write_charts(tmp_path / "page.html", failing("true"), failing("chosen === 'yes'"), bars("b"))
    reader = Reader(driver, path)
    reader.open()
    assert reader.read_through() == 3
    errors = "return charts.map((c) => c.querySelectorAll('.error').length)"
    assert reader.script(errors) == [1, 0, 0]
    reader.script("drawn.get(charts[1]).result.view.signal('chosen', 'yes').runAsync()")
    reader.until("return charts[1].querySelector('.error')")
    assert "could not be drawn" in str(reader.script("return charts[1].textContent"))
    assert reader.script(errors) == [1, 1, 0]
    assert reader.complaints() != []
    reader.requests()
