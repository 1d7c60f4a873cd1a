"""The local SageMaker as a whole: clients as their users have them, a tiny container run as processes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, WaiterError

from local_sagemaker import LocalSageMaker

CONTAINER = Path(__file__).parent / "containers" / "popularity"
BUCKET = "sagemaker-us-east-1-123456789012"
ROLE = "arn:aws:iam::123456789012:role/SageMakerRole"
CSV = b"user_id,item_id,total_interactions\n" + b"".join(b"u%d,i%d,1\n" % (n, n % 4 * (n % 2)) for n in range(40))
REQUESTS = b'{"user_id": "685", "top_n": "2"}\n{"user_id": "302", "top_n": "1"}'
ANSWERS = b"685,i0,20\n685,i1,10\n302,i0,20\n"


@pytest.fixture(scope="module")
def local() -> Iterator[LocalSageMaker]:
    with LocalSageMaker(runner="process", container=CONTAINER, bucket=BUCKET, quiet=True) as local:
        local.client("s3").put_object(Bucket=BUCKET, Key="data/train/interactions.csv", Body=CSV)
        yield local


@pytest.fixture
def pointed(local: LocalSageMaker, monkeypatch: pytest.MonkeyPatch) -> LocalSageMaker:
    """The environment of a user's program: it points at the local SageMaker, and clients have their defaults."""
    for name, value in local.environment().items():
        monkeypatch.setenv(name, value)
    # Without it the waiters are those of boto3, which sleep for 120 and 60 seconds.
    monkeypatch.delenv("AWS_DATA_PATH")
    boto3.DEFAULT_SESSION = None
    return local


def training_job(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "TrainingJobName": name,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": "recommender:1", "TrainingInputMode": "File"},
        "InputDataConfig": [
            {
                "ChannelName": "training",
                "ContentType": "application/csv",
                "CompressionType": "None",
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": f"s3://{BUCKET}/data/train",
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
            }
        ],
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/output"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 360000},
        **changes,
    }


def transform_job(name: str, *, model: str) -> dict[str, Any]:
    return {
        "TransformJobName": name,
        "ModelName": model,
        "BatchStrategy": "SingleRecord",
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/batch_input"}},
            "ContentType": "application/json",
            "CompressionType": "None",
            "SplitType": "Line",
        },
        "TransformOutput": {
            "S3OutputPath": f"s3://{BUCKET}/batch_output",
            "Accept": "text/csv",
            "AssembleWith": "Line",
        },
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
    }


def test_a_public_notebook_runs_as_written(pointed: LocalSageMaker, tmp_path: Path) -> None:
    s3, sagemaker = boto3.client("s3"), boto3.client("sagemaker")
    began = time.monotonic()

    sagemaker.create_training_job(**training_job("notebook"))
    assert sagemaker.describe_training_job(TrainingJobName="notebook")["TrainingJobStatus"] == "InProgress"
    sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName="notebook")
    described = sagemaker.describe_training_job(TrainingJobName="notebook")
    assert described["TrainingJobStatus"] == "Completed"
    artifact = described["ModelArtifacts"]["S3ModelArtifacts"]
    assert artifact == f"s3://{BUCKET}/output/notebook/output/model.tar.gz"

    sagemaker.create_model(
        ModelName="notebook",
        ExecutionRoleArn=ROLE,
        PrimaryContainer={"Image": "recommender:1", "ModelDataUrl": artifact},
    )
    requests = tmp_path / "recommendation.requests"
    requests.write_bytes(REQUESTS)
    s3.upload_file(str(requests), BUCKET, "batch_input/recommendation.requests")
    sagemaker.create_transform_job(**transform_job("notebook", model="notebook"))
    while (described := sagemaker.describe_transform_job(TransformJobName="notebook"))["TransformJobStatus"] not in (
        "Completed",
        "Failed",
    ):
        time.sleep(0.1)
    assert described["TransformJobStatus"] == "Completed", described.get("FailureReason")

    answers = tmp_path / "recommendation.requests.out"
    s3.download_file(BUCKET, "batch_output/recommendation.requests.out", str(answers))
    assert answers.read_bytes() == ANSWERS
    # The waiter alone would sleep for 120 seconds.
    assert time.monotonic() - began < 60


def test_both_waiters_end_with_the_job(pointed: LocalSageMaker) -> None:
    s3, sagemaker = boto3.client("s3"), boto3.client("sagemaker")
    sagemaker.create_training_job(**training_job("waited", HyperParameters={"seconds": "1"}))
    began = time.monotonic()
    sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName="waited")
    artifact = sagemaker.describe_training_job(TrainingJobName="waited")["ModelArtifacts"]["S3ModelArtifacts"]
    sagemaker.create_model(ModelName="waited", PrimaryContainer={"Image": "x", "ModelDataUrl": artifact})
    s3.put_object(Bucket=BUCKET, Key="batch_input/recommendation.requests", Body=REQUESTS)
    sagemaker.create_transform_job(**transform_job("waited", model="waited"))
    sagemaker.get_waiter("transform_job_completed_or_stopped").wait(TransformJobName="waited")
    assert time.monotonic() - began < 60


def test_a_failed_job_tells_its_reason_and_ends_the_waiter(pointed: LocalSageMaker) -> None:
    sagemaker = boto3.client("sagemaker")
    sagemaker.create_training_job(**training_job("failing", HyperParameters={"fail": "the data is odd"}))
    with pytest.raises(WaiterError, match="Failed"):
        sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName="failing")
    assert "the data is odd" in sagemaker.describe_training_job(TrainingJobName="failing")["FailureReason"]


def test_an_endpoint_answers_through_the_runtime(local: LocalSageMaker) -> None:
    sagemaker, s3 = local.client("sagemaker"), local.client("s3")
    model = io.BytesIO()
    with tarfile.open(fileobj=model, mode="w:gz") as archive:
        content = json.dumps([["i9", 3]]).encode()
        member = tarfile.TarInfo("counts.json")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    s3.put_object(Bucket=BUCKET, Key="models/one.tar.gz", Body=model.getvalue())
    sagemaker.create_model(
        ModelName="live",
        PrimaryContainer={"Image": "x", "ModelDataUrl": f"s3://{BUCKET}/models/one.tar.gz"},
    )
    variant = {"VariantName": "all", "ModelName": "live", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName="live", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="live", EndpointConfigName="live")
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="live")

    runtime = local.client("sagemaker-runtime")
    answer = runtime.invoke_endpoint(EndpointName="live", ContentType="application/json", Body=REQUESTS)
    assert answer["Body"].read() == b"685,i9,3\n302,i9,3"
    with pytest.raises(ClientError, match="bad record") as caught:
        runtime.invoke_endpoint(EndpointName="live", ContentType="application/json", Body=b"{}")
    assert caught.value.response["Error"]["Code"] == "ModelError"
    assert caught.value.response["OriginalStatusCode"] == 400

    sagemaker.delete_endpoint(EndpointName="live")
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="live")
    with pytest.raises(ClientError, match="not found"):
        runtime.invoke_endpoint(EndpointName="live", Body=b"{}")


def test_ten_jobs_run_side_by_side(pointed: LocalSageMaker) -> None:
    sagemaker = boto3.client("sagemaker")
    names = [f"many-{number}" for number in range(10)]
    for name in names:
        sagemaker.create_training_job(**training_job(name, HyperParameters={"seconds": "3"}))
    running = sagemaker.list_training_jobs(NameContains="many-", StatusEquals="InProgress")["TrainingJobSummaries"]
    assert [summary["TrainingJobName"] for summary in running] == names

    def wait(name: str) -> None:
        sagemaker.get_waiter("training_job_completed_or_stopped").wait(TrainingJobName=name)

    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(wait, names))
    for name in names:
        job = sagemaker.describe_training_job(TrainingJobName=name)
        assert job["TrainingJobStatus"] == "Completed"
        log = boto3.client("logs").describe_log_streams(
            logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix=f"{name}/"
        )["logStreams"]
        assert len(log) == 1


def test_the_aws_command_does_the_same(local: LocalSageMaker, tmp_path: Path) -> None:
    aws = os.environ.get("FACTORBOX_AWS")
    if not aws:
        pytest.skip("FACTORBOX_AWS names no aws command")
    environment = {**_shell(), **local.environment()}

    def run(*words: str) -> str:
        done = subprocess.run([aws, *words], env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    job, transform = tmp_path / "job.json", tmp_path / "transform.json"
    job.write_text(json.dumps(training_job("by-command")))
    transform.write_text(json.dumps(transform_job("by-command", model="by-command")))
    requests = tmp_path / "recommendation.requests"
    requests.write_bytes(REQUESTS)
    run("s3", "cp", str(requests), f"s3://{BUCKET}/batch_input/recommendation.requests")
    run("sagemaker", "create-training-job", "--cli-input-json", f"file://{job}")
    run("sagemaker", "wait", "training-job-completed-or-stopped", "--training-job-name", "by-command")
    described = json.loads(run("sagemaker", "describe-training-job", "--training-job-name", "by-command"))
    container = {"Image": "x", "ModelDataUrl": described["ModelArtifacts"]["S3ModelArtifacts"]}
    run("sagemaker", "create-model", "--model-name", "by-command", "--primary-container", json.dumps(container))
    run("sagemaker", "create-transform-job", "--cli-input-json", f"file://{transform}")
    run("sagemaker", "wait", "transform-job-completed-or-stopped", "--transform-job-name", "by-command")
    assert run("s3", "cp", f"s3://{BUCKET}/batch_output/recommendation.requests.out", "-") == ANSWERS.decode()


def test_after_kill_9_the_next_start_ends_orphans_and_begins_empty(tmp_path: Path) -> None:
    environment = {**_shell(), "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2] / "local_test")}
    with _started(environment) as (process, variables):
        clients = {name: _client(name, variables) for name in ("s3", "sagemaker")}
        clients["s3"].put_object(Bucket=BUCKET, Key="data/train/interactions.csv", Body=CSV)
        clients["sagemaker"].create_training_job(**training_job("orphan", HyperParameters={"seconds": "600"}))
        _until(lambda: _processes_in(tmp_path), "the training process")
        process.kill()
        process.wait(timeout=30)
    assert _processes_in(tmp_path)

    with _started(environment) as (process, variables):
        assert not _processes_in(tmp_path)
        assert _client("sagemaker", variables).list_training_jobs()["TrainingJobSummaries"] == []
        assert _client("s3", variables).list_objects_v2(Bucket=BUCKET)["KeyCount"] == 0
        process.terminate()
        assert process.wait(timeout=60) == 0
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size] == []


@contextmanager
def _started(environment: Mapping[str, str]) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """Run ``start`` on a free port, and yield it with what ``env`` exports for it."""
    module = [sys.executable, "-m", "local_sagemaker"]
    options = ["--port", "0", "--runner", "process", "--container", str(CONTAINER), "--bucket", BUCKET]
    with subprocess.Popen([*module, "start", *options], env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            assert "answers at http://127.0.0.1:" in first
            port = first.split("127.0.0.1:")[1].split()[0]
            printed = subprocess.run(
                [*module, "env", "--port", port], env=environment, capture_output=True, text=True, check=True
            ).stdout
            exports = [line.removeprefix("export ") for line in printed.splitlines() if line.startswith("export ")]
            yield process, dict(line.split("=", 1) for line in exports)
        finally:
            process.kill()


def _client(service: str, variables: Mapping[str, str]) -> Any:
    return boto3.client(
        service,
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        region_name=variables["AWS_REGION"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    )


def _shell() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}


def _processes_in(folder: Path) -> list[int]:
    """Return the processes that work in a folder: their environment names it as the base folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                variables = (entry / "environ").read_bytes()
            except OSError:  # it ended, or belongs to somebody else
                continue
            if f"SAGEMAKER_BASE_DIR={folder}".encode() in variables:
                found.append(int(entry.name))
    return found


def _until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.05)
