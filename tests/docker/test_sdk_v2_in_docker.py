"""The public notebook on the image: the same code as on AWS and as with processes."""

from __future__ import annotations

from pathlib import Path

from local_sagemaker import LocalSageMaker
from sdk_support import ECR_IMAGE, run_session, write_interactions


def test_a_public_notebook_runs_cell_by_cell(image: str, tmp_path: Path) -> None:
    write_interactions(tmp_path)
    with LocalSageMaker(runner="docker", images={ECR_IMAGE: image}, quiet=True) as local:
        run_session("notebook", local=local, image=ECR_IMAGE, folder=tmp_path)
