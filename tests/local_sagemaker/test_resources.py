"""Models and tags through boto3."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_sagemaker import LocalSageMaker

BUCKET = "a-bucket"
DATA = f"s3://{BUCKET}/model.tar.gz"


@pytest.fixture(scope="module")
def sagemaker() -> Iterator[Any]:
    with LocalSageMaker(runner="process", bucket=BUCKET, quiet=True) as local:
        local.client("s3").put_object(Bucket=BUCKET, Key="model.tar.gz", Body=b"not looked into before it is used")
        yield local.client("sagemaker")


def test_a_model_is_described_as_it_was_created(sagemaker: Any) -> None:
    container = {"Image": "image:1", "ModelDataUrl": DATA, "Environment": {"A": "b"}}
    role = "arn:aws:iam::123456789012:role/SageMakerRole"
    created = sagemaker.create_model(ModelName="My-Model", PrimaryContainer=container, ExecutionRoleArn=role)
    assert created["ModelArn"] == "arn:aws:sagemaker:us-east-1:123456789012:model/my-model"
    described = sagemaker.describe_model(ModelName="My-Model")
    assert described["PrimaryContainer"] == {"Mode": "SingleModel", **container}
    assert (described["ExecutionRoleArn"], described["EnableNetworkIsolation"]) == (role, False)
    # The SDK's third version refuses an empty one.
    assert "VpcConfig" not in described
    with pytest.raises(ClientError, match="Cannot create already existing model"):
        sagemaker.create_model(ModelName="My-Model", PrimaryContainer=container)


def test_a_deleted_model_is_gone(sagemaker: Any) -> None:
    sagemaker.create_model(ModelName="gone", PrimaryContainer={"Image": "image:1"})
    assert "gone" in [model["ModelName"] for model in sagemaker.list_models()["Models"]]
    sagemaker.delete_model(ModelName="gone")
    for operation in (sagemaker.describe_model, sagemaker.delete_model):
        with pytest.raises(ClientError, match=r'Could not find model "arn:aws:sagemaker:.*:model/gone"') as caught:
            operation(ModelName="gone")
        assert caught.value.response["Error"]["Code"] == "ValidationException"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({}, "PrimaryContainer is missing"),
        ({"PrimaryContainer": {"ModelDataUrl": DATA}}, "Image is missing"),
        (
            {"PrimaryContainer": {"Image": "i", "ModelDataUrl": f"s3://{BUCKET}/no.tar.gz"}},
            "Could not find model data at",
        ),
        ({"PrimaryContainer": {"Image": "i", "ModelDataUrl": f"s3://{BUCKET}/folder/"}}, "must name one .tar.gz"),
        ({"PrimaryContainer": {"Image": "i", "ModelDataUrl": "https://x/m.tar.gz"}}, "write s3://BUCKET/KEY"),
        ({"PrimaryContainer": {"Image": "i", "Mode": "MultiModel"}}, "Mode MultiModel is not supported"),
        ({"PrimaryContainer": {"ModelPackageName": "p"}}, "ModelPackageName is not supported"),
        ({"Containers": [{"Image": "i"}]}, "Containers is not supported"),
    ],
)
def test_a_model_that_cannot_run_is_refused_at_the_call(sagemaker: Any, request_: dict[str, Any], message: str) -> None:
    with pytest.raises(ClientError, match=message.replace("(", r"\(")) as caught:
        sagemaker.create_model(ModelName="refused", **request_)
    assert caught.value.response["Error"]["Code"] == "ValidationException"


def test_models_are_listed_in_pages(sagemaker: Any) -> None:
    names = [f"listed-{number:02}" for number in range(12)]
    for name in names:
        sagemaker.create_model(ModelName=name, PrimaryContainer={"Image": "image:1"})
    assert len(sagemaker.list_models(NameContains="listed-")["Models"]) == 10
    pages = sagemaker.get_paginator("list_models").paginate(
        NameContains="listed-", SortBy="Name", SortOrder="Ascending"
    )
    assert [model["ModelName"] for page in pages for model in page["Models"]] == names


def test_tags_are_added_replaced_and_removed(sagemaker: Any) -> None:
    arn = sagemaker.create_model(
        ModelName="tagged", PrimaryContainer={"Image": "image:1"}, Tags=[{"Key": "team", "Value": "a"}]
    )["ModelArn"]
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "team", "Value": "b"}, {"Key": "cost", "Value": ""}])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [
        {"Key": "cost", "Value": ""},
        {"Key": "team", "Value": "b"},
    ]
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["team", "none"])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "cost", "Value": ""}]
    with pytest.raises(ClientError, match="51 tags, and 50 are allowed"):
        sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": str(number), "Value": "x"} for number in range(50)])
    sagemaker.delete_model(ModelName="tagged")
    with pytest.raises(ClientError, match="Could not find the resource"):
        sagemaker.list_tags(ResourceArn=arn)
