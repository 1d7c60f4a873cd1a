from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from moto.cloudwatch.models import MetricDatum, cloudwatch_backends

from local_sagemaker.errors import ServiceError
from local_sagemaker.metrics import NAMESPACE, MetricSearch
from local_sagemaker.state import ACCOUNT, State
from training_job_support import REGION, clean_moto


@pytest.fixture(autouse=True)
def fresh_moto() -> Iterator[None]:
    with clean_moto():
        yield


def search(*definitions: tuple[str, str]) -> MetricSearch:
    named = [{"Name": name, "Regex": regex} for name, regex in definitions]
    return MetricSearch(named, job="job-1", state=State())


def published(name: str) -> list[float]:
    return [
        metric.value
        for metric in cloudwatch_backends[ACCOUNT][REGION].metric_data
        if isinstance(metric, MetricDatum) and metric.name == name and metric.namespace == NAMESPACE
    ]


def test_every_value_is_published_and_the_last_is_final() -> None:
    metrics = search(("ndcg", r"ndcg@10=(.*?);"), ("loss", r"train_loss=(\S+?);"), ("never", "absent=(.*)"))
    for line in ("epoch=1; train_loss=0.5; ndcg@10=0.1;", "something else", "epoch=2; train_loss=2.5e-1; ndcg@10=0.3;"):
        metrics.search(line)
    assert published("ndcg") == [0.1, 0.3]
    assert published("loss") == [0.5, 0.25]
    assert [(entry["MetricName"], entry["Value"]) for entry in metrics.final()] == [("ndcg", 0.3), ("loss", 0.25)]


def test_values_are_found_under_the_name_of_the_job() -> None:
    search(("p@k(10)", r"p@k\(10\)=(.*);")).search("p@k(10)=0.125;")
    now = datetime.now(UTC).replace(tzinfo=None)
    found = cloudwatch_backends[ACCOUNT][REGION].get_metric_statistics(
        NAMESPACE,
        "p@k(10)",
        now - timedelta(minutes=5),
        now + timedelta(minutes=5),
        60,
        ["Average"],
        [{"Name": "TrainingJobName", "Value": "job-1"}],
    )
    assert [point.average for point in found] == [0.125]


def test_what_is_no_finite_number_is_passed_over() -> None:
    metrics = search(("loss", "loss=(.*)"), ("optional", "a(b)?"))
    for line in ("loss=nan", "loss=inf", "loss=about 3", "a"):
        metrics.search(line)
    assert metrics.final() == []
    assert published("loss") == []


def test_an_expression_without_a_group_gives_its_whole_match() -> None:
    metrics = search(("number", r"\d+\.\d+"))
    metrics.search("loss 0.75 at the end")
    assert [entry["Value"] for entry in metrics.final()] == [0.75]


def test_what_is_no_regular_expression_is_refused_by_name() -> None:
    with pytest.raises(ServiceError, match=r'The Regex "\(" of the metric "loss" is no regular expression'):
        search(("loss", "("))
