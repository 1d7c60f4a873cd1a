"""Running tests/local_sagemaker/sdk_v2_session.py with the python that FACTORBOX_SDK names."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from local_sagemaker import LocalSageMaker
from local_sagemaker.notebook import METADATA, notebook_role

ECR_IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/recommender:1"
"""An image as notebooks name it."""

_SCRIPT = Path(__file__).parent / "local_sagemaker" / "sdk_v2_session.py"


def write_interactions(folder: Path) -> None:
    """Write interactions.csv: 40 users of two tastes, with the columns of the public notebook."""
    rows = [f"u{user},i{(user % 2) * 10 + (user + k) % 10},{k + 1}" for user in range(40) for k in range(4)]
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id,total_interactions", *rows, ""]))


def run_session(program: str, *, local: LocalSageMaker, image: str, folder: Path) -> str:
    """Run a part of the script against a local SageMaker, and return what it printed."""
    python = os.environ.get("FACTORBOX_SDK")
    if not python:
        pytest.skip("FACTORBOX_SDK names no python that has the SageMaker SDK v2")
    shell = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    command = [python, str(_SCRIPT), program, "--image", image, "--folder", str(folder)]
    with notebook_role(local.role):
        # Not every user may write there.
        if not METADATA.exists():
            command += ["--role", local.role]
        done = subprocess.run(
            command,
            env={**shell, **local.environment()},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
    assert done.returncode == 0, done.stdout
    return done.stdout
