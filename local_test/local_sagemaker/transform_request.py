"""What ``CreateTransformJob`` asks for: refused where it cannot be done, and with AWS's defaults filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local_sagemaker.data_processing import DEFAULTS, DataProcessing
from local_sagemaker.errors import invalid
from local_sagemaker.models import find_model
from local_sagemaker.splitting import Split
from local_sagemaker.state import State
from local_sagemaker.storage import S3Object, Storage, split_uri

_MOST_MB = 100
_HEADER = re.compile(r"[\t\x20-\x7e\xa0-\xff]*")
_SPLITS: Mapping[str, Split] = {"None": "None", "Line": "Line"}


@dataclass(frozen=True)
class TransformPlan:
    """What is done with every object of a job.

    Attributes
    ----------
    model
        The model as ``DescribeModel`` answers it, kept even if it is deleted meanwhile.
    objects
        The input in order.
    split, gzip
        How an object is read.
    headers
        ``Content-Type`` and ``Accept`` where the request gives them.
    newline_after_answers
        ``AssembleWith=Line``.
    processing
        ``DataProcessing``; ``None`` where it changes nothing.
    bucket, prefix, kms_key
        Where output goes.
    timeout_seconds, most_retries
        ``ModelClientConfig``.
    """

    model: Mapping[str, Any]
    objects: tuple[S3Object, ...]
    split: Split
    gzip: bool
    headers: Mapping[str, str]
    newline_after_answers: bool
    processing: DataProcessing | None
    bucket: str
    prefix: str
    kms_key: str
    timeout_seconds: float
    most_retries: int

    def output_key(self, entry: S3Object) -> str:
        """Return the key of an object's output."""
        return f"{self.prefix}/{entry.name}.out".lstrip("/")


def plan_transform(request: Mapping[str, Any], *, state: State, storage: Storage) -> TransformPlan:
    """Check a request against the models and objects that there are.

    Raises
    ------
    ServiceError
        ``ValidationException``, in AWS's words where they are known.
    """
    source, output = request["TransformInput"], request["TransformOutput"]
    model = find_model(request["ModelName"], state=state)
    payload_mb, concurrency = request.get("MaxPayloadInMB", 0), request.get("MaxConcurrentTransforms", 0)
    if payload_mb > _MOST_MB or payload_mb * concurrency > _MOST_MB:
        raise invalid(
            f"MaxPayloadInMB {payload_mb} and MaxConcurrentTransforms {concurrency}: neither MaxPayloadInMB nor the "
            f"product of both may be larger than {_MOST_MB}"
        )
    split = source.get("SplitType", "None")
    if split not in _SPLITS:
        raise invalid(f"SplitType {split} is not supported by the local SageMaker: use None or Line")
    processing = DataProcessing.of(request)
    bucket, prefix = split_uri(output["S3OutputPath"].rstrip("/"))
    if not storage.has_bucket(bucket):
        raise invalid(
            f'The bucket "{bucket}" of TransformOutput.S3OutputPath "{output["S3OutputPath"]}" does not exist: '
            "create it first"
        )
    headers = {"Content-Type": source.get("ContentType"), "Accept": output.get("Accept")}
    _check_header(headers["Content-Type"], field="TransformInput.ContentType")
    _check_header(headers["Accept"], field="TransformOutput.Accept")
    client = request.get("ModelClientConfig", {})
    return TransformPlan(
        model=model,
        objects=_find_objects(
            source["DataSource"]["S3DataSource"], state=state, storage=storage, role=model.get("ExecutionRoleArn", "")
        ),
        split=_SPLITS[split],
        gzip=source.get("CompressionType") == "Gzip",
        headers={name: value for name, value in headers.items() if value},
        newline_after_answers=output.get("AssembleWith") == "Line",
        processing=processing,
        bucket=bucket,
        prefix=prefix,
        kms_key=output.get("KmsKeyId", ""),
        timeout_seconds=client.get("InvocationsTimeoutInSeconds", 600),
        most_retries=client.get("InvocationsMaxRetries", 3),
    )


def described_request(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of ``DescribeTransformJob`` that repeats the request, with AWS's defaults filled in."""
    optional = (
        "MaxConcurrentTransforms",
        "ModelClientConfig",
        "MaxPayloadInMB",
        "BatchStrategy",
        "DataCaptureConfig",
        "ExperimentConfig",
    )
    return {
        "ModelName": request["ModelName"],
        **{field: request[field] for field in optional if field in request},
        "Environment": request.get("Environment", {}),
        "TransformInput": {"CompressionType": "None", "SplitType": "None"} | request["TransformInput"],
        "TransformOutput": {"AssembleWith": "None", "KmsKeyId": ""} | request["TransformOutput"],
        "TransformResources": request["TransformResources"],
        "DataProcessing": {**DEFAULTS, **request.get("DataProcessing", {})},
    }


def _check_header(value: str | None, *, field: str) -> None:
    if value and not _HEADER.fullmatch(value):
        raise invalid(f"{field} {value!a} is no value of an HTTP header: use printable characters of Latin-1")


def _find_objects(source: Mapping[str, Any], *, state: State, storage: Storage, role: str) -> tuple[S3Object, ...]:
    kind, uri = source["S3DataType"], source["S3Uri"]
    if kind == "S3Prefix":
        found = storage.require_objects(uri, region=state.region, role=role)
    elif kind == "ManifestFile":
        found = storage.manifest(uri)
    else:
        raise invalid(f"S3DataType {kind} is not supported by the local SageMaker: use S3Prefix or ManifestFile")
    objects = tuple(entry for entry in found if not entry.is_folder)
    if not objects:
        raise invalid(f'No S3 objects found under S3 URL "{uri}": there are only empty folders, or an empty manifest')
    names = [entry.name for entry in objects]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise invalid(f'"{uri}" stands for more than one object whose output would be "{twice}.out": name each once')
    return objects
