"""Metrics in log lines: the name that a line shows and the regular expression that finds its value there."""

from __future__ import annotations

import re

_NUMBER = r"([-+0-9.eE]+)"


def regex(name: str) -> str:
    """Return what finds the value of a metric in a line of `factorbox.contract.log_lines.line`.

    A name that is the end of another one, as `ndcg@10` is of `validation:ndcg@10`, does not match the other's value.

    >>> re.search(regex("validation:ndcg@10"), "epoch=3; validation:ndcg@10=0.1234; seconds=0.8;").group(1)
    '0.1234'
    """
    return rf"(?:^|\s){re.escape(name)}={_NUMBER};"


def definition(name: str) -> dict[str, str]:
    """Return an entry of `MetricDefinitions` in `create_training_job`."""
    return {"Name": name, "Regex": regex(name)}
