"""Metric names and the regular expressions that find their values in the log."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorbox.contract.log_lines import line
from factorbox.contract.metric_lines import definition, regex
from factorbox.evaluation.metrics import METRICS

NAMES = [name for metric in METRICS for name in (metric.log_name, metric.baseline_name)] + ["train_loss"]


@pytest.mark.parametrize("name", NAMES)
@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_a_value_is_found_in_the_line_that_shows_it(name: str, value: float) -> None:
    logged = line(epoch=3, **{other: 7.0 for other in NAMES if other != name}, **{name: value}, seconds=0.5)
    found = re.findall(regex(name), logged)
    assert len(found) == 1
    assert float(found[0]) == pytest.approx(value, rel=1e-3, abs=0.05)


@pytest.mark.parametrize("name", NAMES)
def test_the_value_of_no_other_metric_is_found(name: str) -> None:
    assert re.search(regex(name), line(**{other: 0.5 for other in NAMES if other != name})) is None


def test_a_value_is_found_at_the_beginning_of_a_line_and_after_the_time_that_a_log_puts_there() -> None:
    for before in ("", "2026-11-26T00:00:00Z ", "\t"):
        assert re.findall(regex("train_loss"), f"{before}train_loss=0.25;") == ["0.25"]


def test_a_definition_is_one_that_sagemaker_takes() -> None:
    assert len(NAMES) <= 40
    for name in NAMES:
        entry = definition(name)
        assert entry == {"Name": name, "Regex": regex(name)}
        assert len(entry["Regex"]) <= 500 and re.compile(entry["Regex"]).groups == 1
