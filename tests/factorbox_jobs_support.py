"""Jobs of a local SageMaker that run factorbox itself."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from local_sagemaker import LocalSageMaker

BUCKET = "a-bucket"


def train(local: LocalSageMaker, name: str, *, channels: Sequence[str] = ("training",), **hyperparameters: str) -> None:
    """Train on what the bucket holds for each channel, below a key of its name, and create the model."""
    client = local.client("sagemaker")
    client.create_training_job(
        TrainingJobName=name,
        RoleArn=local.role,
        AlgorithmSpecification={"TrainingImage": "factorbox", "TrainingInputMode": "File"},
        HyperParameters={"epochs": "2", "embedding_dim": "4", **hyperparameters},
        InputDataConfig=[
            {
                "ChannelName": channel,
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{channel}/"}},
            }
            for channel in channels
        ],
        OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/output"},
        ResourceConfig={"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 5},
        StoppingCondition={"MaxRuntimeInSeconds": 600},
    )
    client.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName=name)
    job = client.describe_training_job(TrainingJobName=name)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    client.create_model(
        ModelName=name,
        ExecutionRoleArn=local.role,
        PrimaryContainer={"Image": "factorbox", "ModelDataUrl": job["ModelArtifacts"]["S3ModelArtifacts"]},
    )


def transform(
    local: LocalSageMaker,
    model: str,
    name: str,
    body: str,
    *,
    content_type: str = "application/jsonlines",
    accept: str = "application/jsonlines",
    **changes: Any,
) -> tuple[str, str]:
    """Run a transform job over one object; return its status and its output, which is empty where there is none."""
    client, s3 = local.client("sagemaker"), local.client("s3")
    s3.put_object(Bucket=BUCKET, Key=f"{name}/requests", Body=body.encode())
    client.create_transform_job(
        TransformJobName=name,
        ModelName=model,
        TransformInput={
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{name}/requests"}},
            "ContentType": content_type,
            "SplitType": "Line",
        },
        TransformOutput={
            "S3OutputPath": f"s3://{BUCKET}/{name}-out",
            "Accept": accept,
            "AssembleWith": "Line",
        },
        TransformResources={"InstanceType": "ml.m5.xlarge", "InstanceCount": 1},
        **changes,
    )
    while (status := str(client.describe_transform_job(TransformJobName=name)["TransformJobStatus"])) == "InProgress":
        time.sleep(0.1)
    listed = s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{name}-out/").get("Contents", [])
    return status, "".join(s3.get_object(Bucket=BUCKET, Key=o["Key"])["Body"].read().decode() for o in listed)
