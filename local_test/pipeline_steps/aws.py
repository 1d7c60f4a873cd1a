"""The clients of one run, and AWS's errors as sentences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
)

from pipeline_steps.errors import InputRefusedError

_REMEDIES = {
    NoCredentialsError: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile (any values do for a local"
    " SageMaker: python -m local_sagemaker env prints them)",
    NoRegionError: "give --region, or set AWS_DEFAULT_REGION",
    EndpointConnectionError: "is the local SageMaker running (python -m local_sagemaker start), or the network up?",
}


@dataclass(frozen=True)
class Clients:
    """boto3 clients of the services that the pipeline talks to."""

    sagemaker: Any
    s3: Any
    logs: Any
    iam: Any
    sts: Any

    @classmethod
    def connect(cls, *, endpoint_url: str | None, region: str | None) -> Clients:
        """Make the clients: of AWS, or of a local SageMaker where its URL is given."""
        session = boto3.Session(region_name=region)
        # Long waits meet short disturbances and throttling.
        config = Config(retries={"mode": "standard", "max_attempts": 5})
        with sentences():
            services = ("sagemaker", "s3", "logs", "iam", "sts")
            try:
                return cls(*(session.client(name, endpoint_url=endpoint_url, config=config) for name in services))
            except ValueError as error:
                raise InputRefusedError(f"--endpoint-url or --region is none: {error}") from error


@contextmanager
def sentences() -> Iterator[None]:
    """Turn what boto3 raises into `InputRefusedError`: the service's own words, with a remedy where there is one."""
    try:
        yield
    except ClientError as error:
        details = error.response.get("Error", {})
        code, message = details.get("Code", ""), details.get("Message") or str(error)
        if code == "NoSuchBucket":
            message += f": {details.get('BucketName', '')}; make it, or give another with --s3"
        raise InputRefusedError(f"{error.operation_name} was refused: {message} ({code})") from error
    except (BotoCoreError, Boto3Error) as error:
        remedy = next((text for kind, text in _REMEDIES.items() if isinstance(error, kind)), None)
        raise InputRefusedError(f"{error}; {remedy}" if remedy else str(error)) from error


def role_arn(clients: Clients, role: str) -> str:
    """Return the ARN of a role given by ARN or by name."""
    return role if role.startswith("arn:") else str(clients.iam.get_role(RoleName=role)["Role"]["Arn"])


def default_work_uri(clients: Clients) -> str:
    """Return the bucket that the SageMaker SDK would take."""
    account = clients.sts.get_caller_identity()["Account"]
    return f"s3://sagemaker-{clients.sagemaker.meta.region_name}-{account}"
