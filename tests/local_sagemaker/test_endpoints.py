from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local_sagemaker import LocalSageMaker, live_endpoint

CONTAINER = Path(__file__).parent / "containers" / "runner_probe"
VARIANT = {"VariantName": "AllTraffic", "ModelName": "m", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}

pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utc:DeprecationWarning")
Make = Callable[..., None]


@pytest.fixture(scope="module")
def server() -> Iterator[LocalSageMaker]:
    with LocalSageMaker(runner="process", container=CONTAINER, bucket="bucket", quiet=True) as server:
        yield server


@pytest.fixture
def local(server: LocalSageMaker) -> Iterator[LocalSageMaker]:
    """The server, emptied again after each test."""
    yield server
    for endpoint in list(server.state.endpoints.values()):
        endpoint.delete()
        endpoint.join()
    server.state.endpoint_configs.clear()
    server.state.models.clear()


@pytest.fixture
def sagemaker(local: LocalSageMaker) -> Any:
    return local.client("sagemaker")


@pytest.fixture
def runtime(local: LocalSageMaker) -> Any:
    return local.client("sagemaker-runtime")


@pytest.fixture
def make(local: LocalSageMaker, sagemaker: Any) -> Make:
    """Create a model, a configuration and an endpoint, all called ``m``."""

    def make(*, member: str = "factors", behaviour: str = "", isolated: bool = False, **variant: Any) -> None:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            archive.addfile(tarfile.TarInfo(member))
        local.client("s3").put_object(Bucket="bucket", Key="m/model.tar.gz", Body=buffer.getvalue())
        container = {
            "Image": "image:1",
            "ModelDataUrl": "s3://bucket/m/model.tar.gz",
            "Environment": {"BEHAVIOUR": behaviour},
        }
        sagemaker.create_model(ModelName="m", PrimaryContainer=container, ExecutionRoleArn=local.role)
        sagemaker.create_endpoint_config(EndpointConfigName="m", ProductionVariants=[{**VARIANT, **variant}])
        sagemaker.create_endpoint(EndpointName="m", EndpointConfigName="m", Tags=[{"Key": "k", "Value": "v"}])

    return make


def wait_until_settled(local: LocalSageMaker, name: str = "m") -> Any:
    assert local.state.wait_for(lambda: local.state.endpoints[name].status != "Creating", timeout=60)
    return local.client("sagemaker").describe_endpoint(EndpointName=name)


def test_an_endpoint_answers_with_its_model_and_forwards_what_sagemaker_forwards(
    local: LocalSageMaker, sagemaker: Any, runtime: Any, make: Make
) -> None:
    make()
    sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="m")
    answer = runtime.invoke_endpoint(
        EndpointName="m",
        Body=b"body",
        ContentType="text/csv",
        Accept="a/b",
        CustomAttributes="c",
        TargetVariant="AllTraffic",
    )
    seen = json.loads(answer["Body"].read())
    assert (seen["body"], seen["files"]) == ("body", ["factors"])
    headers = {name.lower(): value for name, value in seen["headers"].items()}
    assert (headers["content-type"], headers["accept"]) == ("text/csv", "a/b")
    assert headers["x-amzn-sagemaker-custom-attributes"] == "c"
    assert not {"authorization", "user-agent", "x-amzn-sagemaker-target-variant"} & set(headers)
    assert answer["ContentType"] == "application/json"
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    assert answer["CustomAttributes"] == "from the container"


def test_describe_and_list_show_it(local: LocalSageMaker, sagemaker: Any, make: Make) -> None:
    make()
    seen = wait_until_settled(local)
    assert seen["EndpointStatus"] == "InService"
    assert seen["EndpointArn"] == "arn:aws:sagemaker:us-east-1:123456789012:endpoint/m"
    assert seen["ProductionVariants"][0]["CurrentInstanceCount"] == 1
    assert "FailureReason" not in seen
    config = sagemaker.describe_endpoint_config(EndpointConfigName="m")
    assert config["ProductionVariants"] == [{**VARIANT, "InitialVariantWeight": 1.0}]
    assert [row["EndpointStatus"] for row in sagemaker.list_endpoints()["Endpoints"]] == ["InService"]
    assert sagemaker.list_endpoints(StatusEquals="Failed")["Endpoints"] == []
    assert [row["EndpointConfigName"] for row in sagemaker.list_endpoint_configs()["EndpointConfigs"]] == ["m"]
    assert sagemaker.list_tags(ResourceArn=seen["EndpointArn"])["Tags"] == [{"Key": "k", "Value": "v"}]


def test_what_the_container_refuses_is_a_model_error(local: LocalSageMaker, runtime: Any, make: Make) -> None:
    make()
    wait_until_settled(local)
    with pytest.raises(runtime.exceptions.ModelError, match="Received client error \\(400\\) from primary") as caught:
        runtime.invoke_endpoint(EndpointName="m", Body=b"status 400")
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["OriginalStatusCode"] == 400
    assert response["OriginalMessage"] == "line 1: user_id is missing"
    assert ":log-group:/aws/sagemaker/Endpoints/m:log-stream:AllTraffic/i-" in response["LogStreamArn"]


@pytest.mark.parametrize(("body", "match"), [(b"status 503", "server error \\(503\\)"), (b"large", "more than the")])
def test_what_the_container_gets_wrong_is_a_model_error(
    local: LocalSageMaker, runtime: Any, make: Make, body: bytes, match: str
) -> None:
    make()
    wait_until_settled(local)
    with pytest.raises(runtime.exceptions.ModelError, match=match):
        runtime.invoke_endpoint(EndpointName="m", Body=body)


def test_a_container_that_dies_fails_the_endpoint(local: LocalSageMaker, runtime: Any, make: Make) -> None:
    make()
    wait_until_settled(local)
    with pytest.raises(runtime.exceptions.ModelError, match="without a whole answer"):
        runtime.invoke_endpoint(EndpointName="m", Body=b"die")
    assert local.state.wait_for(lambda: local.state.endpoints["m"].status == "Failed", timeout=60)
    assert "ended. It ended with exit code 9" in (local.state.endpoints["m"].failure_reason or "")
    with pytest.raises(runtime.exceptions.ValidationError, match="is Failed, not InService: The primary container"):
        runtime.invoke_endpoint(EndpointName="m", Body=b"x")


@pytest.mark.parametrize("headers", [{"TargetModel": "a"}, {"TargetVariant": "other"}, {"InferenceComponentName": "c"}])
def test_requests_to_parts_that_it_has_not_are_refused(
    local: LocalSageMaker, runtime: Any, make: Make, headers: dict[str, str]
) -> None:
    make()
    wait_until_settled(local)
    with pytest.raises(runtime.exceptions.ValidationError):
        runtime.invoke_endpoint(EndpointName="m", Body=b"x", **headers)


def test_a_request_that_is_too_large_never_reaches_the_container(
    local: LocalSageMaker, runtime: Any, make: Make
) -> None:
    make()
    wait_until_settled(local)
    with pytest.raises(runtime.exceptions.ClientError, match="HTTP content length exceeded 6291456 bytes"):
        runtime.invoke_endpoint(EndpointName="m", Body=b"x" * (6 * 1024 * 1024 + 1))


def test_an_unknown_endpoint_is_not_found(runtime: Any) -> None:
    with pytest.raises(runtime.exceptions.ValidationError, match="Endpoint none of account 123456789012 not found"):
        runtime.invoke_endpoint(EndpointName="none", Body=b"x")


def test_a_container_that_ends_at_once_fails_with_its_exit_code(local: LocalSageMaker, make: Make) -> None:
    make(behaviour="no-model")
    seen = wait_until_settled(local)
    assert seen["EndpointStatus"] == "Failed"
    assert "did not pass the ping health check. It ended with exit code 1." in seen["FailureReason"]
    events = local.client("logs").get_log_events(
        logGroupName="/aws/sagemaker/Endpoints/m", logStreamName=local.state.endpoints["m"].log_stream
    )["events"]
    assert [event["message"] for event in events] == ["there is no model"]


def test_a_container_that_is_never_healthy_fails(
    local: LocalSageMaker, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_endpoint, "STARTUP_SECONDS", 0.5)
    make(behaviour="never-healthy")
    seen = wait_until_settled(local)
    assert "did not pass the ping health check. Please check the log group" in seen["FailureReason"]


def test_an_archive_that_escapes_fails_the_endpoint(local: LocalSageMaker, make: Make) -> None:
    make(member="../outside")
    reason = wait_until_settled(local)["FailureReason"]
    assert "s3://bucket/m/model.tar.gz: the archive's member '../outside' leaves the folder" in reason


def test_deleting_leaves_nothing(local: LocalSageMaker, sagemaker: Any, make: Make) -> None:
    make()
    wait_until_settled(local)
    endpoint = local.state.endpoints["m"]
    sagemaker.delete_endpoint(EndpointName="m")
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName="m")
    endpoint.join()
    sagemaker.delete_endpoint_config(EndpointConfigName="m")
    for describe, name in (("endpoint", "EndpointName"), ("endpoint_config", "EndpointConfigName")):
        with pytest.raises(sagemaker.exceptions.ClientError, match="Could not find endpoint"):
            getattr(sagemaker, f"describe_{describe}")(**{name: "m"})
    with pytest.raises(sagemaker.exceptions.ClientError, match="Could not find"):
        sagemaker.delete_endpoint(EndpointName="m")
    sagemaker.create_endpoint_config(EndpointConfigName="m", ProductionVariants=[VARIANT])
    sagemaker.create_endpoint(EndpointName="m", EndpointConfigName="m")
    assert wait_until_settled(local)["EndpointStatus"] == "InService"


def test_an_endpoint_can_be_deleted_while_it_is_created(local: LocalSageMaker, sagemaker: Any, make: Make) -> None:
    make(behaviour="never-healthy")
    endpoint = local.state.endpoints["m"]
    sagemaker.delete_endpoint(EndpointName="m")
    endpoint.join()
    assert not local.state.endpoints


def test_names_that_are_taken_or_unknown_are_refused(local: LocalSageMaker, sagemaker: Any, make: Make) -> None:
    make()
    error = sagemaker.exceptions.ClientError
    with pytest.raises(error, match="Cannot create already existing endpoint configuration"):
        sagemaker.create_endpoint_config(EndpointConfigName="m", ProductionVariants=[VARIANT])
    with pytest.raises(error, match="Cannot create already existing endpoint "):
        sagemaker.create_endpoint(EndpointName="m", EndpointConfigName="m")
    with pytest.raises(error, match='Could not find endpoint configuration "arn:aws:sagemaker'):
        sagemaker.create_endpoint(EndpointName="n", EndpointConfigName="none")
    with pytest.raises(error, match="Could not find model"):
        sagemaker.create_endpoint_config(EndpointConfigName="n", ProductionVariants=[{**VARIANT, "ModelName": "none"}])
    with pytest.raises(error, match="UpdateEndpoint is not supported by the local SageMaker: delete m"):
        sagemaker.update_endpoint(EndpointName="m", EndpointConfigName="m")


@pytest.mark.parametrize(
    ("variants", "more", "match"),
    [
        ([VARIANT, {**VARIANT, "VariantName": "b"}], {}, "one variant"),
        ([{"VariantName": "a", "ModelName": "m"}], {}, "InstanceType is missing"),
        (
            [{**VARIANT, "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}}],
            {},
            "ServerlessConfig is not",
        ),
        (
            [VARIANT],
            {"AsyncInferenceConfig": {"OutputConfig": {"S3OutputPath": "s3://b/o"}}},
            "AsyncInferenceConfig is not",
        ),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    sagemaker: Any, variants: list[dict[str, Any]], more: dict[str, Any], match: str
) -> None:
    with pytest.raises(sagemaker.exceptions.ClientError, match=match):
        sagemaker.create_endpoint_config(EndpointConfigName="m", ProductionVariants=variants, **more)
