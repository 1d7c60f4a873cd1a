"""A local S3 in this process, and training jobs whose container is a few lines of Python."""

from __future__ import annotations

import io
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from moto.cloudwatch.models import cloudwatch_backends
from moto.logs.models import logs_backends
from moto.s3.models import s3_backends

from local_sagemaker.orphans import Session
from local_sagemaker.process_runner import ProcessRunner
from local_sagemaker.state import ACCOUNT, State
from local_sagemaker.storage import Storage, split_uri
from local_sagemaker.training_jobs import TrainingJobs

ROLE = f"arn:aws:iam::{ACCOUNT}:role/Trainer"
REGION = "us-east-1"
_WAIT_SECONDS = 60

_PRELUDE = f"""#!{sys.executable}
import json, os, signal, sys, time
from pathlib import Path
base = Path(os.environ["SAGEMAKER_BASE_DIR"])
"""


@contextmanager
def clean_moto() -> Iterator[None]:
    """Forget everything that moto keeps in this process, before and after."""
    backends = (s3_backends[ACCOUNT]["aws"], logs_backends[ACCOUNT][REGION], cloudwatch_backends[ACCOUNT][REGION])
    for backend in backends:
        backend.reset()
    yield
    for backend in backends:
        backend.reset()


def make_bucket(name: str = "bkt") -> None:
    s3_backends[ACCOUNT]["aws"].create_bucket(name, REGION)


def put(uri: str, content: bytes | str = b"x") -> None:
    bucket, key = split_uri(uri)
    s3_backends[ACCOUNT]["aws"].put_object(bucket, key, content.encode() if isinstance(content, str) else content)


def get(uri: str) -> bytes:
    with Storage().open(*split_uri(uri)) as source:
        return source.read()


def archive_content(uri: str) -> dict[str, bytes]:
    """Return the files of a .tar.gz in S3 by name."""
    with tarfile.open(fileobj=io.BytesIO(get(uri))) as archive:
        return {
            member.name: source.read()
            for member in archive
            if member.isfile() and (source := archive.extractfile(member))
        }


def log_lines(job: str) -> list[str]:
    """Return the lines of the one log stream of a training job."""
    group = logs_backends[ACCOUNT][REGION].groups["/aws/sagemaker/TrainingJobs"]
    (stream,) = [stream for name, stream in group.streams.items() if name.startswith(f"{job}/")]
    return [event.message for event in stream.events]


def channel(name: str, uri: str, **changes: Any) -> dict[str, Any]:
    """Return an entry of InputDataConfig; S3DataType and the like go where they belong."""
    source = {"S3DataType": "S3Prefix", "S3Uri": uri}
    of_source = {key: value for key, value in changes.items() if key.startswith("S3")}
    return {
        "ChannelName": name,
        "DataSource": {"S3DataSource": source | of_source},
        **{key: value for key, value in changes.items() if key not in of_source},
    }


class Trainer:
    """Training jobs over the process runner, with requests of which a test gives only what matters to it."""

    def __init__(self, folder: Path, *, session: Session, train: str, files: Mapping[str, str]) -> None:
        container = folder / "container"
        container.mkdir()
        for name, code in {"train": train, "serve": "", **files}.items():
            (container / name).write_text(_PRELUDE + code)
            (container / name).chmod(0o755)
        self.workspace = folder / "work"
        self.workspace.mkdir()
        self.state = State()
        self.jobs = TrainingJobs(
            state=self.state,
            runner=ProcessRunner(container=container, session=session),
            storage=Storage(),
            workspace=self.workspace,
            quiet=True,
        )

    def create(self, name: str = "job", **changes: Any) -> str:
        """Create a job and return its ARN; a field that is given replaces that of the smallest request."""
        request: dict[str, Any] = {
            "TrainingJobName": name,
            "RoleArn": ROLE,
            "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
            "OutputDataConfig": {"S3OutputPath": "s3://bkt/out"},
            "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
            **changes,
        }
        arn = self.jobs.create(request)["TrainingJobArn"]
        assert isinstance(arn, str)
        return arn

    def describe(self, name: str = "job") -> dict[str, Any]:
        return self.jobs.describe({"TrainingJobName": name})

    def finished(self, name: str = "job") -> dict[str, Any]:
        """Wait until a job is over, and describe it."""
        job = self.state.training_jobs[name]
        assert self.state.wait_for(lambda: job.is_over, timeout=_WAIT_SECONDS), f"{name} is {job.secondary_status}"
        return self.describe(name)

    def wait_for_line(self, line: str, name: str = "job") -> None:
        """Wait until a running job has logged a line."""
        end = time.monotonic() + _WAIT_SECONDS
        while line not in (lines := self._lines(name)):
            assert time.monotonic() < end, f"{line!r} is not in {lines}"
            time.sleep(0.02)

    def _lines(self, name: str) -> list[str]:
        try:
            return log_lines(name)
        except (KeyError, ValueError):
            return []
