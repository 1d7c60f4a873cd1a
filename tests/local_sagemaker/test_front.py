"""The one door: which requests are answered, by whom, and which are refused."""

from __future__ import annotations

import http.client
import io
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local_sagemaker import LocalSageMaker
from local_sagemaker.front import ENVIRONMENT_PATH, Front
from local_sagemaker.job import Job
from local_sagemaker.state import State

BUCKET = "a-bucket"


@pytest.fixture(scope="module")
def local() -> Iterator[LocalSageMaker]:
    with LocalSageMaker(runner="process", bucket=BUCKET, quiet=True) as local:
        yield local


@pytest.fixture
def connection(local: LocalSageMaker) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", local.port, timeout=30)
    yield connection
    connection.close()


def _ask(connection: http.client.HTTPConnection, *, target: str, body: bytes = b"{}", **headers: str) -> Any:
    connection.request("POST", "/", body, {"X-Amz-Target": target, **headers})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def test_operations_that_are_not_built_are_refused_by_name(local: LocalSageMaker) -> None:
    with pytest.raises(ClientError) as caught:
        local.client("sagemaker").list_processing_jobs()
    error = caught.value.response["Error"]
    assert error["Code"] == "ValidationException"
    assert error["Message"] == "ListProcessingJobs is not supported by the local SageMaker"


def test_unknown_operations_and_broken_requests_are_client_errors(connection: http.client.HTTPConnection) -> None:
    status, error = _ask(connection, target="SageMaker.MakeCoffee")
    assert (status, error["__type"]) == (400, "UnknownOperationException")
    for body in (b"{", b"[]", b"\xff"):
        status, error = _ask(connection, target="SageMaker.DescribeModel", body=body)
        assert (status, error["__type"]) == (400, "SerializationException")
    # A member that is null counts as not given.
    status, error = _ask(connection, target="SageMaker.DescribeModel", body=b'{"ModelName": null}')
    assert "Value null at 'modelName'" in error["message"]


def test_services_that_are_not_here_are_refused_by_name(local: LocalSageMaker) -> None:
    with pytest.raises(ClientError, match="has no service sqs: it has sagemaker, s3"):
        local.client("sqs").list_queues()


def test_what_moto_does_not_know_is_no_server_error(local: LocalSageMaker) -> None:
    with pytest.raises(ClientError) as caught:
        local.client("logs").describe_configuration_templates()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501


def test_web_pages_are_refused(connection: http.client.HTTPConnection) -> None:
    status, error = _ask(connection, target="SageMaker.ListModels", Origin="http://example.com")
    assert (status, error["__type"]) == (403, "AccessDenied")


def test_nobody_wipes_what_jobs_work_on(connection: http.client.HTTPConnection, local: LocalSageMaker) -> None:
    connection.request("POST", "/moto-api/reset")
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 403
    assert BUCKET in [bucket["Name"] for bucket in local.client("s3").list_buckets()["Buckets"]]


def test_the_server_listens_on_this_machine_alone(local: LocalSageMaker) -> None:
    hexadecimal = f"{local.port:04X}"
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    assert [fields[1] for fields in listening if fields[1].endswith(hexadecimal) and fields[3] == "0A"] == [
        f"0100007F:{hexadecimal}"
    ]


def test_a_connection_is_kept_for_many_requests(connection: http.client.HTTPConnection) -> None:
    _ask(connection, target="SageMaker.ListModels")
    first = connection.sock
    # Refused before the body was read: the rest of it must not be taken for the next request.
    assert _ask(connection, target="SageMaker.MakeCoffee", body=b"x" * 300_000)[0] == 400
    assert _ask(connection, target="SageMaker.ListModels")[0] == 200
    connection.request("HEAD", f"/{BUCKET}")
    assert connection.getresponse().read() == b""
    connection.request("POST", "/", iter([b"{", b"}"]), {"X-Amz-Target": "SageMaker.ListModels"}, encode_chunked=True)
    assert json.loads(connection.getresponse().read()) == {"Models": []}
    assert connection.sock is first


def test_a_client_that_waits_for_leave_to_send_its_body_gets_it_first(local: LocalSageMaker) -> None:
    # Without it botocore waits a second before it sends: every upload took one.
    with socket.create_connection(("127.0.0.1", local.port), timeout=10) as client:
        head = (
            f"PUT /bucket/key HTTP/1.1\r\nHost: 127.0.0.1:{local.port}\r\nContent-Length: 1\r\nExpect: 100-continue\r\n"
        )
        client.sendall(head.encode() + b"\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
        client.sendall(b"x")
        assert client.recv(4096).startswith(b"HTTP/1.1 ")


def test_a_content_length_that_is_no_number_is_refused(connection: http.client.HTTPConnection) -> None:
    connection.putrequest("POST", "/", skip_accept_encoding=True)
    connection.putheader("Content-Length", "-5")
    connection.endheaders()
    assert connection.getresponse().status == 400


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("bytes=0-3", "bytes 0-3/10"),
        ("bytes=4-", "bytes 4-9/10"),
        ("bytes=8-99", "bytes 8-9/10"),
        ("bytes=-2", "bytes 8-9/10"),
    ],
)
def test_ranges_of_objects_are_exact(local: LocalSageMaker, asked: str, answered: str) -> None:
    s3, content = local.client("s3"), b"0123456789"
    etag = s3.put_object(Bucket=BUCKET, Key="é/a b+c", Body=content, Metadata={"a": "b"}, ContentType="text/x")["ETag"]
    part = s3.get_object(Bucket=BUCKET, Key="é/a b+c", Range=asked, IfMatch=etag)
    first, last = (int(number) for number in answered.removeprefix("bytes ").split("/")[0].split("-"))
    assert part["Body"].read() == content[first : last + 1]
    assert part["ContentRange"] == answered
    assert (part["ETag"], part["Metadata"], part["ContentType"]) == (etag, {"a": "b"}, "text/x")
    assert part["ResponseMetadata"]["HTTPStatusCode"] == 206


def test_ranges_that_cannot_be_answered_are_errors(local: LocalSageMaker) -> None:
    s3 = local.client("s3")
    s3.put_object(Bucket=BUCKET, Key="ten", Body=b"0123456789")
    for wanted, code in (
        ({"Key": "ten", "Range": "bytes=10-"}, "InvalidRange"),
        ({"Key": "ten", "Range": "bytes=0-1", "IfMatch": '"other"'}, "PreconditionFailed"),
        ({"Key": "none", "Range": "bytes=0-1"}, "NoSuchKey"),
    ):
        with pytest.raises(ClientError) as caught:
            s3.get_object(Bucket=BUCKET, **wanted)
        assert caught.value.response["Error"]["Code"] == code


def test_an_object_of_many_parts_comes_back_whole(local: LocalSageMaker, tmp_path: Path) -> None:
    s3, there, back = local.client("s3"), tmp_path / "there", tmp_path / "back"
    there.write_bytes(os.urandom(20 * 1024 * 1024 + 1))
    s3.upload_file(str(there), BUCKET, "large")
    s3.download_file(BUCKET, "large", str(back))
    assert back.read_bytes() == there.read_bytes()


def test_every_role_exists_and_may_do_everything(local: LocalSageMaker) -> None:
    iam = local.client("iam")
    role = iam.get_role(RoleName="MyRole")["Role"]
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": "sagemaker.amazonaws.com"}
    assert iam.get_role(RoleName="MyRole")["Role"]["RoleId"] == role["RoleId"]
    results = iam.simulate_principal_policy(PolicySourceArn=role["Arn"], ActionNames=["s3:GetObject", "a&b:C"])
    decisions = {result["EvalActionName"]: result["EvalDecision"] for result in results["EvaluationResults"]}
    assert decisions == {"s3:GetObject": "allowed", "a&b:C": "allowed"}


def test_the_other_services_answer(local: LocalSageMaker) -> None:
    assert local.client("sts").get_caller_identity()["Account"] == "123456789012"
    assert local.client("ecr").get_authorization_token()["authorizationData"]
    local.client("logs").create_log_group(logGroupName="group")
    dimensions = [{"Name": "TrainingJobName", "Value": "job"}]
    local.client("cloudwatch").put_metric_data(
        Namespace="space", MetricData=[{"MetricName": "metric", "Value": 1.5, "Dimensions": dimensions}]
    )
    metrics = local.client("cloudwatch").list_metrics(Namespace="space")["Metrics"]
    assert metrics[0]["MetricName"] == "metric"


def test_the_environment_points_every_client_here(
    local: LocalSageMaker, connection: http.client.HTTPConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.request("GET", ENVIRONMENT_PATH)
    environment = json.loads(connection.getresponse().read())
    assert environment == local.environment()
    config = Path(environment["SAGEMAKER_USER_CONFIG_OVERRIDE"]).read_text()
    assert f"DefaultS3Bucket: {BUCKET}" in config and local.role in config
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    sagemaker = boto3.session.Session().client("sagemaker")
    assert sagemaker.list_models()["Models"] == []
    # The waiters that come with it do not sleep for two minutes, and wait as long as it takes.
    for name in sagemaker.waiter_names:
        assert sagemaker.get_waiter(name).config.delay == 1


def _front(state: State) -> Front:
    def describe(request: dict[str, Any]) -> dict[str, Any]:
        return {"TrainingJobStatus": state.training_jobs[request["TrainingJobName"]].status}

    def nothing(*_: object) -> Any:
        raise AssertionError("not asked for here")

    return Front(
        state=state,
        operations={"DescribeTrainingJob": describe},
        invoke=nothing,
        moto_app=nothing,
        environment=dict,
    )


@pytest.mark.parametrize(
    ("agent", "held"),
    [
        ("Boto3/1.44.5 md/Botocore#1.44.5 m/Z,b,B,D,N,g cfg/retry-mode#legacy", True),
        ("aws-cli/1.45.11 m/B", True),
        ("Boto3/1.44.5 md/Botocore#1.44.5 m/Z,b,D,N,g cfg/retry-mode#legacy", False),
        ("", False),
    ],
)
def test_a_waiters_question_is_held_until_the_job_is_over(agent: str, held: bool) -> None:
    state = State()
    state.training_jobs["a"] = job = Job("a", kind="training", request={}, state=state)
    answers: list[str] = []
    body = b'{"TrainingJobName": "a"}'

    def ask() -> None:
        answer = b"".join(_front(state)(_environ(body, agent), lambda *_: lambda _: None))
        answers.append(json.loads(answer)["TrainingJobStatus"])

    thread = threading.Thread(target=ask)
    thread.start()
    if not held:
        thread.join(timeout=30)
    job.advance("Training", "Training in progress.")
    assert answers == ([] if held else ["InProgress"])
    job.finish("Completed")
    thread.join(timeout=30)
    assert answers == (["Completed"] if held else ["InProgress"])


def _environ(body: bytes, agent: str) -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "HTTP_X_AMZ_TARGET": "SageMaker.DescribeTrainingJob",
        "HTTP_USER_AGENT": agent,
        "wsgi.input": io.BytesIO(body),
    }


def test_a_second_one_in_a_process_is_refused(local: LocalSageMaker) -> None:
    with pytest.raises(RuntimeError, match="one local SageMaker at a time"), LocalSageMaker():
        pass
    assert local.client("sagemaker").list_models()["Models"] == []
