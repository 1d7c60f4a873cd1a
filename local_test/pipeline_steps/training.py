"""The training job: upload its data, start it, wait for it, or take up one that exists."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline_steps import storage
from pipeline_steps.arguments import JobOptions
from pipeline_steps.aws import Clients, role_arn
from pipeline_steps.errors import InputRefusedError, JobFailedError
from pipeline_steps.made import Made
from pipeline_steps.options import Options
from pipeline_steps.progress import TRAINING, require_completed, say, wait

_NUMBERS = {"rows": "[0-9]+", "users": "[0-9]+", "items": "[0-9]+", "train_loss": "[-+.0-9eE]+"}
_OWN_METRICS = {name: rf"(?:^|\s){re.escape(name)}=({number});" for name, number in _NUMBERS.items()}
"""What SageMaker is to find in the log in any case: `rows=100000;` at the begin of a line or after a space."""

_KEPT_OF_MODELS = ("ExecutionRoleArn", "VpcConfig", "EnableNetworkIsolation")
_KEPT_OF_CONTAINERS = ("Image", "Environment", "ImageConfig")


@dataclass(frozen=True)
class Trained:
    """What the later steps need of a training job.

    Attributes
    ----------
    model_data
        URI of model.tar.gz.
    metrics
        The last values that SageMaker found in the log, by name; none for a model alone.
    image
        What it ran.
    like
        Where a SageMaker model was taken up: how another one is made like it, as requests have that.
    """

    model_data: str
    metrics: Mapping[str, float]
    image: str | None = None
    like: Mapping[str, Any] = field(default_factory=dict)

    @property
    def output_data(self) -> str:
        """The URI of output.tar.gz, which a job leaves beside its model."""
        return output_data(self.model_data.rpartition("/")[0])

    @classmethod
    def of_job(cls, description: Mapping[str, Any]) -> Trained:
        """Read what a described job left.

        Raises
        ------
        JobFailedError
            Where it left no model.
        """
        name = description["TrainingJobName"]
        model_data = description.get("ModelArtifacts", {}).get("S3ModelArtifacts")
        if not model_data:
            raise JobFailedError(f"the training job {name} ({description['TrainingJobStatus']}) left no model")
        return cls(
            model_data=model_data,
            metrics={entry["MetricName"]: entry["Value"] for entry in description.get("FinalMetricDataList", [])},
            image=description["AlgorithmSpecification"].get("TrainingImage"),
        )


def output_data(folder_uri: str) -> str:
    """Return the URI of output.tar.gz in the folder of what a job leaves."""
    return f"{folder_uri}/output.tar.gz"


def train(clients: Clients, options: Options, *, work: str, made: Made) -> Trained:
    """Train as the options say; everything goes below `work/NAME/`."""
    assert options.training is not None and options.role is not None
    given = {"training": options.training, "items": options.items}
    channels = {
        name: in_s3(clients, options, path, folder_uri=f"{work}/{options.name}/{name}/", made=made)
        for name, path in given.items()
        if path
    }
    request = training_request(options, channels=channels, work=work, role=role_arn(clients, options.role))
    say(f"Training job {options.name}")
    with (
        made.noting(made.jobs, (TRAINING, options.name)),
        made.noting(made.folders, f"{work}/{options.name}/output/"),
    ):
        clients.sagemaker.create_training_job(**request)
    made.resume = f"--from-job {options.name}"
    description = wait(clients, TRAINING, options.name)
    if description["TrainingJobStatus"] == "Failed":
        made.resume = None
    require_completed(TRAINING, options.name, description)
    trained = Trained.of_job(description)
    say(f"   {description.get('TrainingTimeInSeconds', 0)} seconds; {trained.model_data}")
    return trained


def in_s3(clients: Clients, options: JobOptions, path: str, *, folder_uri: str, made: Made) -> str:
    """Return the URI of a channel's data, which are uploaded if they are not there."""
    if storage.is_uri(path):
        return path
    say(f"Uploading {path} to {folder_uri}")
    storage.upload(clients.s3, Path(path), folder_uri, kms_key=options.kms_key, uploaded=made.objects)
    return folder_uri


def of_model(clients: Clients, name: str) -> Trained:
    """Return what a SageMaker model that exists was made of.

    Raises
    ------
    InputRefusedError
        Where it has no model data.
    """
    description = clients.sagemaker.describe_model(ModelName=name)
    container = description.get("PrimaryContainer", {})
    if "ModelDataUrl" not in container:
        raise InputRefusedError(f"the model {name} has no ModelDataUrl: give a model of one container, or --from-job")
    return Trained(
        model_data=container["ModelDataUrl"],
        metrics={},
        image=container.get("Image"),
        like={
            "PrimaryContainer": {key: container[key] for key in _KEPT_OF_CONTAINERS if key in container},
            **{key: description[key] for key in _KEPT_OF_MODELS if key in description},
        },
    )


def take_up(clients: Clients, name: str) -> Trained:
    """Wait for a job that exists, and return what it left: a stopped one may have left a model too."""
    say(f"Training job {name}, as it is")
    description = wait(clients, TRAINING, name)
    if description["TrainingJobStatus"] == "Failed":
        require_completed(TRAINING, name, description)
    return Trained.of_job(description)


def training_request(options: JobOptions, *, channels: Mapping[str, str], work: str, role: str) -> dict[str, Any]:
    """Write the request of the training job, whose channels are given by name, each with its URI."""
    resources: dict[str, Any] = {
        "InstanceType": options.instance_type,
        "InstanceCount": 1,
        "VolumeSizeInGB": options.volume_size,
    }
    output = {"S3OutputPath": work}
    if options.kms_key:
        resources["VolumeKmsKeyId"] = options.kms_key
        output["KmsKeyId"] = options.kms_key
    limits = {"MaxRuntimeInSeconds": options.max_run}
    if options.spot:
        limits["MaxWaitTimeInSeconds"] = 2 * options.max_run
    request: dict[str, Any] = {
        "TrainingJobName": options.name,
        "RoleArn": role,
        "AlgorithmSpecification": {
            "TrainingImage": options.image,
            "TrainingInputMode": "File",
            "MetricDefinitions": [
                {"Name": name, "Regex": regex} for name, regex in {**_OWN_METRICS, **options.metric_definitions}.items()
            ],
        },
        "InputDataConfig": [
            {
                "ChannelName": name,
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": uri,
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
            }
            for name, uri in channels.items()
        ],
        "OutputDataConfig": output,
        "ResourceConfig": resources,
        "StoppingCondition": limits,
        "HyperParameters": dict(options.hyperparameters),
        "EnableNetworkIsolation": options.network_isolation,
        "EnableManagedSpotTraining": options.spot,
        "Tags": tags(options),
    }
    if options.subnets:
        request["VpcConfig"] = vpc(options)
    return request


def tags(options: JobOptions) -> list[dict[str, str]]:
    """Return the tags as requests have them."""
    return [{"Key": key, "Value": value} for key, value in options.tags.items()]


def vpc(options: JobOptions) -> dict[str, list[str]]:
    """Return the network as requests have it."""
    return {"Subnets": list(options.subnets), "SecurityGroupIds": list(options.security_groups)}
