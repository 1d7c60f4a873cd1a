"""Metrics that a training job prints: found by its metric definitions, published to CloudWatch."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from moto.cloudwatch.models import CloudWatchBackend, cloudwatch_backends

from local_sagemaker.errors import invalid
from local_sagemaker.state import State, utc_now

NAMESPACE = "/aws/sagemaker/TrainingJobs"


class MetricSearch:
    """Looks for the metrics of one training job in each line of its log.

    Parameters
    ----------
    definitions
        ``MetricDefinitions`` of the request: ``Name`` and ``Regex``. The number is the expression's first group, or
        the whole match where it has no group.
    job
        The job's name, the dimension under which the values are published.
    state
        The region and the account.

    Raises
    ------
    ServiceError
        ``ValidationException`` where an expression is none.
    """

    def __init__(self, definitions: Sequence[Mapping[str, str]], *, job: str, state: State) -> None:
        self._patterns = [(entry["Name"], _compile(entry)) for entry in definitions]
        self._dimensions = [{"Name": "TrainingJobName", "Value": job}]
        self._backend: CloudWatchBackend = cloudwatch_backends[state.account][state.region]
        self._last: dict[str, tuple[float, datetime]] = {}
        self._lock = threading.Lock()

    def search(self, line: str) -> None:
        """Publish every metric that a line states; what is no finite number is passed over, as CloudWatch would."""
        for name, pattern in self._patterns:
            if (match := pattern.search(line)) and (value := _number(match)) is not None:
                with self._lock:
                    self._last[name] = value, utc_now()
                self._backend.put_metric_data(
                    NAMESPACE, [{"MetricName": name, "Value": value, "Dimensions": self._dimensions}]
                )

    def final(self) -> list[dict[str, Any]]:
        """Return ``FinalMetricDataList``: the last value of each metric so far, in the order of the definitions."""
        with self._lock:
            return [
                {"MetricName": name, "Value": value, "Timestamp": time}
                for name, _ in self._patterns
                if name in self._last
                for value, time in [self._last[name]]
            ]


def _compile(definition: Mapping[str, str]) -> re.Pattern[str]:
    try:
        return re.compile(definition["Regex"])
    except re.error as error:
        raise invalid(
            f'The Regex "{definition["Regex"]}" of the metric "{definition["Name"]}" is no regular expression: {error}'
        ) from None


def _number(match: re.Match[str]) -> float | None:
    try:
        value = float(match[1] if match.re.groups else match[0])
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None
