"""What a training job leaves: the model, its other output, its checkpoints and the reason of its failure.

Links are never followed, nor is one in place of a folder of the contract, which counts as empty: a container could
point one at any file of this machine.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from local_sagemaker.archives import pack
from local_sagemaker.runners import KILLED
from local_sagemaker.storage import Storage, split_uri

# FailureReason holds 1,024 characters: leaves room for what stands around the text of the failure file.
_LONGEST_FAILURE = 980

_log = logging.getLogger(__name__)


def upload_model(base: Path, *, job: str, output: Mapping[str, Any], storage: Storage, scratch: Path) -> str:
    """Store the model and return ``S3ModelArtifacts``; nothing is stored of an empty folder, as on AWS.

    Parameters
    ----------
    base
        The folder that was /opt/ml.
    job
        The job's name.
    output
        ``OutputDataConfig`` of the request.
    storage
        The S3 to store in.
    scratch
        A folder for the archive.
    """
    bucket, place = _place(output, job=job)
    key = output.get("KmsKeyId", "")
    if output.get("CompressionType") == "NONE":
        for path in _files(base, "model"):
            name = path.relative_to(base).as_posix()
            storage.upload(path, bucket, f"{place}/{name}", kms_key=key)
        return f"s3://{bucket}/{place}/model/"
    archive = scratch / "model.tar.gz"
    if not _is_linked(base, "model") and pack(base / "model", archive):
        storage.upload(archive, bucket, f"{place}/model.tar.gz", kms_key=key)
    return f"s3://{bucket}/{place}/model.tar.gz"


def upload_data(base: Path, *, job: str, output: Mapping[str, Any], storage: Storage, scratch: Path) -> None:
    """Store the content of /opt/ml/output/data as ``output.tar.gz``, where there is any; see ``upload_model``."""
    bucket, place = _place(output, job=job)
    archive = scratch / "output.tar.gz"
    if not _is_linked(base, "output", "data") and pack(base / "output" / "data", archive):
        storage.upload(archive, bucket, f"{place}/output.tar.gz", kms_key=output.get("KmsKeyId", ""))


def upload_checkpoints(folder: Path, uri: str, *, storage: Storage) -> None:
    """Store every file of the folder below the URI, uncompressed.

    AWS copies while the container runs, so that a job on spot instances can go on elsewhere; nothing is interrupted
    here, and so they are copied when it has ended.
    """
    bucket, prefix = split_uri(uri.rstrip("/") + "/")
    for path in _files(folder.parent, folder.name):
        storage.upload(path, bucket, f"{prefix}{path.relative_to(folder).as_posix()}")


def failure_reason(base: Path, *, code: int | None) -> str:
    """Return ``FailureReason`` of a container that ended with this exit code, from its failure file if there is one."""
    path = base / "output" / "failure"
    text = ""
    if path.is_file() and not _is_linked(base, "output", "failure"):
        with path.open(encoding="utf-8", errors="replace") as source:
            text = source.read(_LONGEST_FAILURE).strip()
    if not text and code == KILLED:
        text = "The container was killed by SIGKILL, which is what happens when memory runs out"
    return f"AlgorithmError: {text}, exit code: {code}"


def _place(output: Mapping[str, Any], *, job: str) -> tuple[str, str]:
    bucket, prefix = split_uri(output["S3OutputPath"].rstrip("/"))
    return bucket, f"{prefix}/{job}/output".lstrip("/")


def _is_linked(base: Path, *names: str) -> bool:
    """Whether a symbolic link is on the way from the base folder to what is below it, which is then logged."""
    for count in range(len(names) + 1):
        if (path := base.joinpath(*names[:count])).is_symlink():
            _log.warning("%s is a symbolic link: it is not followed, and nothing is stored of it", path)
            return True
    return False


def _files(base: Path, name: str) -> Iterator[Path]:
    if _is_linked(base, name):
        return
    for parent, folders, names in os.walk(base / name):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            if path.is_file() and not path.is_symlink():
                yield path
