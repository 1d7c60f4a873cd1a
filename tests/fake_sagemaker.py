"""A SageMaker that runs nothing: jobs end at once, and leave in S3 what the test says. Requests are checked."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from botocore.exceptions import ClientError
from botocore.model import ServiceModel
from botocore.session import get_session
from botocore.validate import validate_parameters

BUCKET = "a-bucket"
WORK = f"s3://{BUCKET}/work"
TRAINING_LOG = ["rows=100; repeated_rows=3; pairs=97; users=10; items=20;", "epoch=1; train_loss=0.5;"]


def archive(files: Mapping[str, bytes]) -> bytes:
    """Pack files as tar.gz."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def manifest(**counts: int) -> dict[str, bytes]:
    """Return the files of a model with these counts."""
    return {"factors.bin": b"0" * 10_000, "manifest.json": json.dumps({"counts": counts}).encode()}


def answer_in_csv(request: Mapping[str, Any]) -> list[str]:
    """Recommend the items 1, 2, … as factorbox would."""
    return [f"{request['user_id']},{k},{1 / k}" for k in range(1, int(request["top_n"]) + 1)]


class FakeSageMaker:
    """Has the methods of the boto3 client that the pipeline calls.

    Attributes
    ----------
    training_ends, transform_ends
        The status in which jobs end, and the reason.
    metrics
        What is found in the log of the next training job; None for a container that logs none.
    model, output
        The files in the archives that training leaves; no output.tar.gz where there are none.
    interrupted_in
        The operation that is interrupted when it has made its thing, before it answers.
    """

    def __init__(self, s3: Any, logs: Any) -> None:
        self.s3, self.logs = s3, logs
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.deleted: list[str] = []
        self.training_ends: tuple[str, str] = ("Completed", "")
        self.transform_ends: tuple[str, str] = ("Completed", "")
        self.endless = False
        self.interrupted_in: str | None = None
        self.metrics: dict[str, float] | None = {"rows": 100.0, "users": 10.0, "items": 20.0}
        self.model = manifest(pairs=97, users=10, items=20)
        self.output = {"requests/part-0000.jsonl": b'{"user_id": "007", "top_n": "10"}\n{"user_id":"b","top_n":"10"}\n'}
        self.answer: Callable[[Mapping[str, Any]], list[str]] = answer_in_csv
        self._training: dict[str, dict[str, Any]] = {}
        self._transform: dict[str, dict[str, Any]] = {}
        self._models: dict[str, dict[str, Any]] = {}
        self.meta = s3.meta

    def request(self, operation: str) -> dict[str, Any]:
        """Return the only request of this kind."""
        (found,) = [request for name, request in self.requests if name == operation]
        return found

    def operations(self) -> list[str]:
        """Return the names of the calls that made something, in order."""
        return [name for name, _ in self.requests]

    def create_training_job(self, **request: Any) -> None:
        """Run a training job: at once, unless it is endless."""
        self._accept("CreateTrainingJob", request, name=request["TrainingJobName"], there=self._training)
        name, (status, reason) = request["TrainingJobName"], self.training_ends
        prefix = f"{request['OutputDataConfig']['S3OutputPath']}/{name}/output"
        description: dict[str, Any] = {**request, "TrainingJobStatus": "InProgress", "SecondaryStatusTransitions": []}
        self._training[name] = description
        self._interrupt("CreateTrainingJob")
        self._log("/aws/sagemaker/TrainingJobs", f"{name}/algo-1-1", TRAINING_LOG)
        if self.endless:
            return
        if self.output:
            self._put(f"{prefix}/output.tar.gz", archive(self.output))
        if status != "Failed":
            self._put(f"{prefix}/model.tar.gz", archive(self.model))
            description["ModelArtifacts"] = {"S3ModelArtifacts": f"{prefix}/model.tar.gz"}
        description["TrainingJobStatus"] = description["SecondaryStatus"] = status
        description["FailureReason"] = reason
        description["SecondaryStatusTransitions"] = [
            {"Status": "Starting", "StatusMessage": "Preparing the instances for training"},
            {"Status": status, "StatusMessage": f"Training job {status.lower()}"},
        ]
        if self.metrics is not None:
            description["FinalMetricDataList"] = [{"MetricName": k, "Value": v} for k, v in self.metrics.items()]

    def describe_training_job(self, *, TrainingJobName: str) -> dict[str, Any]:
        """Describe it."""
        if TrainingJobName not in self._training:
            raise refusal("DescribeTrainingJob", "Requested resource not found.")
        if self.endless and self._training[TrainingJobName]["TrainingJobStatus"] == "InProgress":
            raise KeyboardInterrupt
        return self._training[TrainingJobName]

    def stop_training_job(self, *, TrainingJobName: str) -> None:
        """Stop it at once."""
        self._training[TrainingJobName]["TrainingJobStatus"] = "Stopped"

    def create_model(self, **request: Any) -> None:
        """Create a model."""
        self._accept("CreateModel", request, name=request["ModelName"], there=self._models)
        self._models[request["ModelName"]] = request
        self._interrupt("CreateModel")

    def describe_model(self, *, ModelName: str) -> dict[str, Any]:
        """Describe it."""
        return self._models[ModelName]

    def delete_model(self, *, ModelName: str) -> None:
        """Delete it."""
        if ModelName not in self._models:
            raise refusal("DeleteModel", f'Could not find model "{ModelName}".')
        del self._models[ModelName]
        self.deleted.append(ModelName)

    def create_transform_job(self, **request: Any) -> None:
        """Answer every request, or fail."""
        self._accept("CreateTransformJob", request, name=request["TransformJobName"], there=self._transform)
        name, (status, reason) = request["TransformJobName"], self.transform_ends
        self._transform[name] = {**request, "TransformJobStatus": "InProgress"}
        self._interrupt("CreateTransformJob")
        self._transform[name] = {**request, "TransformJobStatus": status, "FailureReason": reason}
        if status != "Completed":
            return
        uri = request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        for entry in self.s3.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]:
            body = self.s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read().decode()
            rows = [row for line in body.splitlines() for row in self.answer(json.loads(line))]
            relative = entry["Key"].removeprefix(prefix) or entry["Key"].rpartition("/")[2]
            self._put(f"{request['TransformOutput']['S3OutputPath']}/{relative}.out", "\n".join([*rows, ""]).encode())

    def describe_transform_job(self, *, TransformJobName: str) -> dict[str, Any]:
        """Describe it."""
        if TransformJobName not in self._transform:
            raise refusal("DescribeTransformJob", f"Could not find requested job with name: {TransformJobName}")
        return self._transform[TransformJobName]

    def transform_model(self, name: str) -> str:
        """Return the name of the model that a transform job took."""
        return str(self._transform[name]["ModelName"])

    def stop_transform_job(self, *, TransformJobName: str) -> None:
        """Stop it at once."""
        self._transform[TransformJobName]["TransformJobStatus"] = "Stopped"

    def running(self) -> list[str]:
        """Return the names of the jobs that have not ended."""
        training = [name for name, job in self._training.items() if job["TrainingJobStatus"] == "InProgress"]
        return training + [name for name, job in self._transform.items() if job["TransformJobStatus"] == "InProgress"]

    def models(self) -> list[str]:
        """Return the names of the models."""
        return list(self._models)

    def _accept(self, operation: str, request: dict[str, Any], *, name: str, there: Mapping[str, Any]) -> None:
        validate_parameters(request, _service().operation_model(operation).input_shape)
        if name in there:
            raise refusal(operation, f"{name} exists already", code="ResourceInUse")
        self.requests.append((operation, request))

    def _interrupt(self, operation: str) -> None:
        if self.interrupted_in == operation:
            raise KeyboardInterrupt

    def _put(self, uri: str, body: bytes) -> None:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        self.s3.put_object(Bucket=bucket, Key=key, Body=body)

    def _log(self, group: str, stream: str, lines: list[str]) -> None:
        if not self.logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
            self.logs.create_log_group(logGroupName=group)
        self.logs.create_log_stream(logGroupName=group, logStreamName=stream)
        events = [{"timestamp": int(time.time() * 1000), "message": line} for line in lines]
        self.logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)


@cache
def _service() -> ServiceModel:
    return get_session().get_service_model("sagemaker")


def refusal(operation: str, message: str, *, code: str = "ValidationException") -> ClientError:
    """Make what boto3 raises where SageMaker refuses a request."""
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)
