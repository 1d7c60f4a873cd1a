"""One file that mixes all kinds of requests, through two batch transform jobs: joined JSON Lines, and CSV."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from every_kind_support import check_csv, check_json_lines_joined, put_data, trained_model
from factorbox_jobs_support import BUCKET
from local_sagemaker import LocalSageMaker


@pytest.fixture(scope="module")
def local() -> Iterator[LocalSageMaker]:
    with LocalSageMaker(runner="process", bucket=BUCKET, quiet=True) as running:
        put_data(running)
        yield running


# One of each kind: an own system of fold-in, a stand-in for it, ratings, non-negative ones, and a network. In the image
# (tests/docker) all algorithms do the same.
@pytest.mark.parametrize("algorithm", ["als", "bpr", "explicit", "nmf", "mlp"])
def test_every_kind_is_answered_as_json_lines_joined_with_its_request_and_as_csv(
    local: LocalSageMaker, algorithm: str
) -> None:
    model = trained_model(local, algorithm)
    check_json_lines_joined(local, model, algorithm)
    check_csv(local, model)
