"""Every algorithm in the image, through training and transform jobs of a local SageMaker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from every_kind_support import check_csv, check_json_lines_joined, put_data, trained_model
from factorbox.models import ALGORITHMS
from factorbox_jobs_support import BUCKET
from local_sagemaker import LocalSageMaker


@pytest.fixture(scope="module")
def local(image: str) -> Iterator[LocalSageMaker]:
    with LocalSageMaker(runner="docker", images={"factorbox": image}, bucket=BUCKET, quiet=True) as running:
        put_data(running)
        yield running


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_trains_and_answers_every_kind_of_request(local: LocalSageMaker, algorithm: str) -> None:
    model = trained_model(local, algorithm)
    check_json_lines_joined(local, model, algorithm)
    check_csv(local, model)
