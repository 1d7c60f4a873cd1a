"""Parameters are checked against the API's own model, in AWS's words."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from botocore.model import ListShape, MapShape, Shape, StructureShape

from local_sagemaker.errors import ServiceError
from local_sagemaker.protocol import read_json
from local_sagemaker.validation import _compiled, service_model, validate

_OPERATIONS = [
    *(f"{verb}{kind}Job" for kind in ("Training", "Transform") for verb in ("Create", "Describe", "Stop")),
    *(f"{verb}{kind}" for kind in ("Model", "EndpointConfig", "Endpoint") for verb in ("Create", "Describe", "Delete")),
    *(f"List{kind}s" for kind in ("TrainingJob", "TransformJob", "Model", "EndpointConfig", "Endpoint")),
    *("AddTags", "ListTags", "DeleteTags"),
]


def _training_job(**changes: Any) -> dict[str, Any]:
    return {
        "TrainingJobName": "a-job",
        "RoleArn": "arn:aws:iam::123456789012:role/SageMakerRole",
        "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/output"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 360000},
        **changes,
    }


def test_a_good_request_passes() -> None:
    validate("CreateTrainingJob", _training_job(HyperParameters={"factors": "8"}, Tags=[{"Key": "team", "Value": "é"}]))


@pytest.mark.parametrize(
    ("changes", "violation"),
    [
        (
            {"TrainingJobName": "bad_name!"},
            "1 validation error detected: Value 'bad_name!' at 'trainingJobName' failed to satisfy constraint: Member"
            " must satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}",
        ),
        ({"TrainingJobName": "a" * 64}, "Member must have length less than or equal to 63"),
        (
            {"ResourceConfig": {"InstanceType": "ml.huge", "InstanceCount": 1, "VolumeSizeInGB": 10}},
            "Value 'ml.huge' at 'resourceConfig.instanceType' failed to satisfy constraint: Member must satisfy enum",
        ),
        (
            {"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": -1, "VolumeSizeInGB": 10}},
            "Value '-1' at 'resourceConfig.instanceCount' failed to satisfy constraint: Member must have value greater",
        ),
        (
            {"OutputDataConfig": {}},
            "Value null at 'outputDataConfig.s3OutputPath' failed to satisfy constraint: Member",
        ),
        (
            {"InputDataConfig": [{"ChannelName": "a b", "DataSource": {}}]},
            "Value 'a b' at 'inputDataConfig.1.member.channelName'",
        ),
        ({"HyperParameters": {"a": "b\nc"}}, "at 'hyperParameters.a.member' failed"),
        ({"HyperParameters": {str(number): "1" for number in range(101)}}, "Member must have length less than or"),
        ({"HyperParameters": {"a": "\ud800"}}, "Value '\\ud800' at 'hyperParameters.a.member' failed"),
        ({"HyperParameters": {"\udfff": "a"}}, "at 'hyperParameters.\\udfff.key' failed"),
        ({"Environment": {"A": "\ud800"}}, "at 'environment.A.member' failed to satisfy constraint: Member must be"),
        ({"Environment": {"A": "x\0y"}}, "at 'environment.A.member' failed to satisfy constraint: Member must not"),
        (
            {"AlgorithmSpecification": {"TrainingInputMode": "File", "ContainerArguments": ["\0"]}},
            "at 'algorithmSpecification.containerArguments.1.member' failed to satisfy constraint: Member must not",
        ),
        (
            {"AlgorithmSpecification": {"TrainingInputMode": "File", "ContainerEntrypoint": ["\0"]}},
            "at 'algorithmSpecification.containerEntrypoint.1.member' failed to satisfy constraint: Member must not",
        ),
        ({"Color": "red"}, "color is no parameter of this version of the API"),
    ],
)
def test_a_violation_is_named_with_its_place(changes: dict[str, Any], violation: str) -> None:
    with pytest.raises(ServiceError, match=re.escape(violation)) as caught:
        validate("CreateTrainingJob", _training_job(**changes))
    assert caught.value.code == "ValidationException"


@pytest.mark.parametrize(
    ("operation", "params", "place"),
    [
        ("CreateTransformJob", {"Environment": {"A": "\0"}}, "environment.A.member"),
        (
            "CreateModel",
            {"PrimaryContainer": {"Image": "i", "Environment": {"A": "\0"}}},
            "primaryContainer.environment.A.member",
        ),
    ],
)
def test_no_variable_of_a_container_may_hold_nul(operation: str, params: dict[str, Any], place: str) -> None:
    with pytest.raises(ServiceError, match=f"at '{place}' failed to satisfy constraint: Member must not contain NUL"):
        validate(operation, params)


def test_a_body_that_is_nested_too_deeply_cannot_be_read() -> None:
    with pytest.raises(ServiceError, match="nested too deeply") as caught:
        read_json({"wsgi.input": io.BytesIO(b"[" * 5000)})
    assert (caught.value.code, caught.value.status) == ("SerializationException", 400)


def test_all_violations_are_told_at_once() -> None:
    with pytest.raises(ServiceError, match=r"2 validation errors detected: .*trainingJobName.*; .*roleArn"):
        validate("CreateTrainingJob", _training_job(TrainingJobName="-", RoleArn="arn:aws:iam::1:nobody-of-note"))


@pytest.mark.parametrize("count", ["1", 1.5, True, [1]])
def test_a_value_of_another_type_cannot_be_read(count: object) -> None:
    config = {"InstanceType": "ml.m5.large", "InstanceCount": count, "VolumeSizeInGB": 10}
    with pytest.raises(ServiceError, match=r"resourceConfig\.instanceCount is .*, and integer is due") as caught:
        validate("CreateTrainingJob", _training_job(ResourceConfig=config))
    assert caught.value.code == "SerializationException"


def test_times_may_be_numbers() -> None:
    validate("ListTrainingJobs", {"CreationTimeAfter": 1700000000.5, "CreationTimeBefore": 1700000001})


@pytest.mark.parametrize("operation", _OPERATIONS)
def test_every_pattern_of_an_operation_is_understood(operation: str) -> None:
    for shape in _shapes(service_model().operation_model(operation).input_shape, {}).values():
        if pattern := shape.metadata.get("pattern"):
            assert "\\p" not in _compiled(pattern).pattern


def _shapes(shape: Shape, seen: dict[str, Shape]) -> dict[str, Shape]:
    if shape.name not in seen:
        seen[shape.name] = shape
        match shape:
            case StructureShape():
                inner = list(shape.members.values())
            case ListShape():
                inner = [shape.member]
            case MapShape():
                inner = [shape.key, shape.value]
            case _:
                inner = []
        for each in inner:
            _shapes(each, seen)
    return seen
