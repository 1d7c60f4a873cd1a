"""What ``CreateTrainingJob`` asks for: refused where it cannot be done here, and with AWS's defaults filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from local_sagemaker.errors import invalid
from local_sagemaker.storage import Storage, split_uri

CHECKPOINT_PATH = "/opt/ml/checkpoints"

_DEFAULT_MAX_RUNTIME = 24 * 60 * 60
_DEFAULT_VOLUME_SIZE = 30

# What would change what the job does or leaves behind; the rest is kept and shown by Describe.
_NOT_SUPPORTED = {
    "ServerlessJobConfig": "give AlgorithmSpecification and ResourceConfig",
    "MlflowConfig": "leave it out",
    "ModelPackageConfig": "leave it out, and create a model from the artifacts",
    "TensorBoardOutputConfig": "leave it out, and write event files to /opt/ml/output/data",
}
_NOT_SUPPORTED_RESOURCES = {
    "InstanceGroups": "give InstanceType and InstanceCount",
    "InstancePreferences": "give InstanceType and InstanceCount",
    "TrainingPlanArn": "leave it out",
}


def check_request(request: Mapping[str, Any], *, storage: Storage) -> None:
    """Refuse what AWS would refuse, or what is not done here.

    Raises
    ------
    ServiceError
        ``ValidationException`` that names the field.
    """
    for field, remedy in _NOT_SUPPORTED.items():
        if request.get(field):
            raise _unsupported(field, remedy)
    if request.get("RemoteDebugConfig", {}).get("EnableRemoteDebug"):
        raise _unsupported("RemoteDebugConfig.EnableRemoteDebug", "leave it out")
    _check_algorithm(request.get("AlgorithmSpecification", {}))
    _check_resources(request.get("ResourceConfig", {}))
    _check_stopping(request)
    if "CheckpointConfig" in request:
        _check_checkpoints(request["CheckpointConfig"], storage=storage)
    _check_bucket(request["OutputDataConfig"]["S3OutputPath"], field="OutputDataConfig.S3OutputPath", storage=storage)
    names = [channel["ChannelName"] for channel in request.get("InputDataConfig", [])]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise invalid(f'InputDataConfig has the channel "{twice[0]}" more than once: channel names must be unique')


def described_request(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of ``DescribeTrainingJob`` that repeats the request, with AWS's defaults filled in."""
    answer = {
        field: request[field]
        for field in (
            "HyperParameters",
            "VpcConfig",
            "CheckpointConfig",
            "DebugHookConfig",
            "DebugRuleConfigurations",
            "ExperimentConfig",
            "ProfilerConfig",
            "ProfilerRuleConfigurations",
            "Environment",
            "RetryStrategy",
            "RemoteDebugConfig",
            "InfraCheckConfig",
        )
        if field in request
    }
    answer |= {
        field: request.get(field, False)
        for field in (
            "EnableNetworkIsolation",
            "EnableInterContainerTrafficEncryption",
            "EnableManagedSpotTraining",
        )
    }
    return answer | {
        "RoleArn": request["RoleArn"],
        "AlgorithmSpecification": {"EnableSageMakerMetricsTimeSeries": False} | request["AlgorithmSpecification"],
        "InputDataConfig": [
            {"CompressionType": "None", "RecordWrapperType": "None"} | channel
            for channel in request.get("InputDataConfig", [])
        ],
        # The SDK's attach() fails without these three.
        "OutputDataConfig": {"KmsKeyId": ""} | request["OutputDataConfig"],
        "ResourceConfig": {"VolumeSizeInGB": _DEFAULT_VOLUME_SIZE} | request["ResourceConfig"],
        "StoppingCondition": request.get("StoppingCondition", {}) | {"MaxRuntimeInSeconds": max_runtime(request)},
    }


def max_runtime(request: Mapping[str, Any]) -> int:
    """Return the seconds after which a job is stopped; AWS's default is a day."""
    return int(request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", _DEFAULT_MAX_RUNTIME))


def _check_algorithm(algorithm: Mapping[str, Any]) -> None:
    if algorithm.get("AlgorithmName"):
        raise _unsupported("AlgorithmSpecification.AlgorithmName", "name a TrainingImage")
    if not algorithm.get("TrainingImage"):
        raise invalid("AlgorithmSpecification.TrainingImage is missing: name the image to run")


def _check_resources(resources: Mapping[str, Any]) -> None:
    for field, remedy in _NOT_SUPPORTED_RESOURCES.items():
        if resources.get(field):
            raise _unsupported(f"ResourceConfig.{field}", remedy)
    for field in ("InstanceType", "InstanceCount"):
        if field not in resources:
            raise invalid(f"ResourceConfig.{field} is missing")
    if (count := resources["InstanceCount"]) < 1:
        raise invalid(f"ResourceConfig.InstanceCount {count}: a training job needs an instance; set it to 1")
    if count > 1:
        raise _unsupported(
            f"ResourceConfig.InstanceCount {count}", "a training job runs on one instance here; set it to 1"
        )


def _check_stopping(request: Mapping[str, Any]) -> None:
    longest_wait = request.get("StoppingCondition", {}).get("MaxWaitTimeInSeconds")
    if not request.get("EnableManagedSpotTraining"):
        return
    if longest_wait is None:
        raise invalid("StoppingCondition.MaxWaitTimeInSeconds is missing: EnableManagedSpotTraining needs it")
    if longest_wait < max_runtime(request):
        raise invalid(
            f"StoppingCondition.MaxWaitTimeInSeconds {longest_wait} is below MaxRuntimeInSeconds "
            f"{max_runtime(request)}: it has to be at least as long"
        )


def _check_checkpoints(config: Mapping[str, Any], *, storage: Storage) -> None:
    path = config.get("LocalPath", CHECKPOINT_PATH)
    if path.rstrip("/") != CHECKPOINT_PATH:
        raise _unsupported(f'CheckpointConfig.LocalPath "{path}"', f"use {CHECKPOINT_PATH}")
    _check_bucket(config["S3Uri"], field="CheckpointConfig.S3Uri", storage=storage)


def _check_bucket(uri: str, *, field: str, storage: Storage) -> None:
    bucket, _ = split_uri(uri)
    if not storage.has_bucket(bucket):
        raise invalid(f'The bucket "{bucket}" of {field} "{uri}" does not exist: create it first')


def _unsupported(what: str, remedy: str) -> Exception:
    return invalid(f"{what} is not supported by the local SageMaker: {remedy}")
