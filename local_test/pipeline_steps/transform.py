"""The model, its requests, and the transform job that answers them."""

from __future__ import annotations

import json
import tarfile
import tempfile
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import IO, Any

from pipeline_steps import storage
from pipeline_steps.aws import Clients, role_arn
from pipeline_steps.errors import InputRefusedError
from pipeline_steps.made import Made
from pipeline_steps.options import Options
from pipeline_steps.progress import TRANSFORM, require_completed, say, wait
from pipeline_steps.training import Trained, tags, vpc

_REQUESTS = "requests"
_JSON_LINES = "application/jsonlines"


def create_model(clients: Clients, options: Options, trained: Trained, *, model_data: str, made: Made) -> str:
    """Create the SageMaker model of a model.tar.gz in S3 and return its name.

    Parameters
    ----------
    trained
        The training job or the model that it comes from; what the options leave open is as there.
    model_data
        The URI of model.tar.gz.
    """
    container = {**trained.like.get("PrimaryContainer", {}), "ModelDataUrl": model_data}
    container["Image"] = options.image or trained.image
    request: dict[str, Any] = {
        **trained.like,
        "ModelName": options.name,
        "PrimaryContainer": container,
        "EnableNetworkIsolation": options.network_isolation or trained.like.get("EnableNetworkIsolation", False),
        "Tags": tags(options),
    }
    if options.role:
        request["ExecutionRoleArn"] = role_arn(clients, options.role)
    if options.subnets:
        request["VpcConfig"] = vpc(options)
    say(f"Model {options.name}")
    with made.noting(made.models, options.name):
        clients.sagemaker.create_model(**request)
    made.resume = f"--from-model {options.name}"
    return options.name


def prepare_requests(clients: Clients, options: Options, *, output_data: str, work: str, made: Made) -> str:
    """Return the URI of the requests: as given, uploaded, or those for all users that training wrote."""
    if options.requests and storage.is_uri(options.requests):
        return options.requests
    uri = f"{work}/{options.name}/{_REQUESTS}/"
    if options.requests:
        say(f"Uploading {options.requests} to {uri}")
        storage.upload(clients.s3, Path(options.requests), uri, kms_key=options.kms_key, uploaded=made.objects)
        return uri
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        count = unpack_requests(clients.s3, output_data, folder, top_n=options.top_n)
        say(f"Uploading the requests for all users ({count} parts) to {uri}")
        storage.upload(clients.s3, folder, uri, kms_key=options.kms_key, uploaded=made.objects)
    return uri


def unpack_requests(s3: Any, output_data: str, folder: Path, *, top_n: int | None) -> int:
    """Unpack `requests/` of an output.tar.gz in S3 into a folder, and return how many files it holds.

    Parameters
    ----------
    top_n
        Written into each request; None to leave them as they are.

    Raises
    ------
    InputRefusedError
        Where there is no such archive, or no request in it.
    """
    bucket, key = storage.split_uri(output_data)
    if output_data not in storage.list_objects(s3, output_data):
        raise InputRefusedError(
            f"{output_data} does not exist, so there are no requests for all users: give --requests"
        )
    names = set()
    try:
        with (
            closing(s3.get_object(Bucket=bucket, Key=key)["Body"]) as body,
            tarfile.open(fileobj=body, mode="r|gz") as archive,
        ):
            for member in archive:
                path = PurePosixPath(member.name)
                # Only plain files right in the folder are taken, so that no name leads out of it.
                if member.isfile() and path.parts == (_REQUESTS, path.name):
                    content = archive.extractfile(member)
                    assert content is not None
                    with (folder / path.name).open("wb") as file:
                        _copy(content, file, top_n=top_n)
                    names.add(path.name)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise InputRefusedError(f"the requests in {output_data} cannot be read: {error}") from error
    if not names:
        raise InputRefusedError(f"{output_data} holds no {_REQUESTS}/: this image wrote none, so give --requests")
    return len(names)


def _copy(source: IO[bytes], target: IO[bytes], *, top_n: int | None) -> None:
    for line in source:
        if top_n is not None and line.strip():
            request = json.loads(line)
            if not isinstance(request, dict):
                raise ValueError(f"{line[:80]!r} is no JSON object that could take top_n")
            line = json.dumps({**request, "top_n": str(top_n)}, ensure_ascii=False).encode() + b"\n"
        target.write(line)


def transform(clients: Clients, options: Options, *, model: str, requests: str, work: str, made: Made) -> str:
    """Run the transform job and return the URI below which its answers are."""
    answers = f"{work}/{options.name}/recommendations/"
    say(f"Transform job {options.name}")
    request = transform_request(options, model=model, requests=requests, answers=answers)
    with made.noting(made.jobs, (TRANSFORM, options.name)), made.noting(made.folders, answers):
        clients.sagemaker.create_transform_job(**request)
    description = wait(clients, TRANSFORM, options.name)
    require_completed(TRANSFORM, options.name, description)
    return answers


def transform_request(options: Options, *, model: str, requests: str, answers: str) -> dict[str, Any]:
    """Write the request of the transform job; how many requests go at once, and how large, the container says."""
    output = {"S3OutputPath": answers.rstrip("/"), "Accept": options.accept, "AssembleWith": "Line"}
    resources: dict[str, Any] = {
        "InstanceType": options.transform_instance_type or options.instance_type,
        "InstanceCount": options.instance_count,
    }
    if options.kms_key:
        output["KmsKeyId"] = options.kms_key
        resources["VolumeKmsKeyId"] = options.kms_key
    return {
        "TransformJobName": options.name,
        "ModelName": model,
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": requests}},
            "ContentType": options.content_type or _content_type(options.requests or ""),
            "SplitType": "Line",
        },
        "TransformOutput": output,
        "TransformResources": resources,
        "BatchStrategy": "MultiRecord",
        "Environment": dict(options.environment),
        "Tags": tags(options),
    }


def _content_type(requests: str) -> str:
    return "text/csv" if requests.endswith(".csv") else _JSON_LINES
