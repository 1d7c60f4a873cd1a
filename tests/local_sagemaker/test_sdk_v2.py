"""The SageMaker SDK v2 and a public notebook, unchanged but for environment variables, with factorbox's container."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from local_sagemaker import LocalSageMaker
from sdk_support import ECR_IMAGE, run_session, write_interactions


@pytest.fixture(scope="module")
def local() -> Iterator[LocalSageMaker]:
    with LocalSageMaker(runner="process", quiet=True) as local:
        yield local


def test_a_public_notebook_runs_cell_by_cell(local: LocalSageMaker, tmp_path: Path) -> None:
    write_interactions(tmp_path)
    run_session("notebook", local=local, image=ECR_IMAGE, folder=tmp_path)


def test_the_sdk_trains_transforms_deploys_and_attaches(local: LocalSageMaker, tmp_path: Path) -> None:
    write_interactions(tmp_path)
    printed = run_session("estimator", local=local, image=ECR_IMAGE, folder=tmp_path)
    # Log lines of both jobs, as the SDK fetches them while it waits.
    assert "epoch=2;" in printed
    assert "MaxConcurrentTransforms=" in printed
