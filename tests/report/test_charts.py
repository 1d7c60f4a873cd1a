from __future__ import annotations

import json

import numpy as np
import pytest

from factorbox.report.charts import bar_chart, columns, count, decimal, duration, percent, rounded, safe_text, size


def test_columns_hold_json_values_only() -> None:
    data = columns(value=np.array([1 / 3, np.nan, -np.inf], np.float32), index=np.arange(3), other=[1, None, 2.5])
    assert data == {"columns": {"value": [0.33333, None, None], "index": [0, 1, 2], "other": [1, None, 2.5]}}
    json.dumps(data, allow_nan=False)


def test_texts_that_repeat_are_written_once() -> None:
    data = columns(part=["train", "held out", "train", "train"], title=["a", "b", "c", "a"])["columns"]
    assert data["part"] == {"texts": ["train", "held out"], "codes": [0, 1, 0, 0]}
    assert data["title"] == ["a", "b", "c", "a"]


def test_names_that_every_object_of_javascript_has_are_made_safe_and_look_the_same() -> None:
    data = columns(title=["constructor", "a"], kind=["__proto__", "__proto__"])["columns"]
    assert data == {
        "title": ["\u2060constructor", "a"],
        "kind": {"texts": ["\u2060__proto__"], "codes": [0, 0]},
    }
    assert [safe_text(text) for text in ("toString", "to String")] == ["\u2060toString", "to String"]


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="'b': 3"):
        columns(a=[1, 2], b=["x", "x", "x"])


def test_no_rows_are_columns_too() -> None:
    assert columns(a=[], b=np.zeros(0)) == {"columns": {"a": [], "b": []}}


@pytest.mark.parametrize(
    ("value", "shown"), [(123456.7, 123460.0), (-0.0123456, -0.012346), (0.0, 0.0), (float("inf"), None)]
)
def test_rounding_keeps_significant_digits(value: float, shown: float | None) -> None:
    assert rounded(value) == shown


def test_charts_name_no_colour_and_no_theme() -> None:
    data = columns(label=["a", "b"], value=[1.0, 2.0])
    chart = bar_chart(data, label="label", value="value")
    assert "#" not in json.dumps(chart)
    assert not chart.keys() & {"$schema", "config", "background", "title", "autosize"}
    assert chart["width"] == "container"


def test_counts_and_decimals() -> None:
    assert count(1234567) == "1,234,567"
    assert decimal(-0.12345) == "−0.123"
    assert decimal(1234.5, 1) == "1,234.5"
    assert decimal(None) == decimal(float("nan")) == "\N{EN DASH}"


@pytest.mark.parametrize(
    ("share", "shown"), [(0.1234, "12.3%"), (1.0, "100.0%"), (0.0, "0.0%"), (0.00012, "0.01%"), (1e-9, "< 0.0001%")]
)
def test_a_share_is_never_written_as_nothing(share: float, shown: str) -> None:
    assert percent(share) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.42, "0.42 s"), (12.34, "12.3 s"), (83, "1 min 23 s"), (7500, "2 h 5 min")]
)
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(("value", "shown"), [(999, "999 bytes"), (1000, "1 kB"), (1_234_567, "1.23 MB")])
def test_sizes(value: int, shown: str) -> None:
    assert size(value) == shown
