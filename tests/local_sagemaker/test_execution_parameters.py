from __future__ import annotations

from typing import Any

import pytest

from local_sagemaker.execution_parameters import ExecutionParameters, asks_container, batch_variables, settle

CONTAINER = {"MaxConcurrentTransforms": 8, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 20}


@pytest.mark.parametrize(
    ("request_", "container", "expected"),
    [
        ({}, {}, ExecutionParameters(1, 6, "MultiRecord")),
        ({}, CONTAINER, ExecutionParameters(8, 20, "SingleRecord")),
        ({"MaxPayloadInMB": 0}, CONTAINER, ExecutionParameters(8, 0, "SingleRecord")),
        ({"MaxConcurrentTransforms": 0}, CONTAINER, ExecutionParameters(8, 20, "SingleRecord")),
        (
            {"MaxConcurrentTransforms": 3, "MaxPayloadInMB": 1, "BatchStrategy": "MultiRecord"},
            CONTAINER,
            ExecutionParameters(3, 1, "MultiRecord"),
        ),
        ({"BatchStrategy": "SingleRecord"}, {"MaxPayloadInMB": 0}, ExecutionParameters(1, 0, "SingleRecord")),
    ],
)
def test_the_request_comes_before_the_container_and_the_container_before_the_defaults(
    request_: dict[str, Any], container: dict[str, Any], expected: ExecutionParameters
) -> None:
    assert settle(request_, container=container) == (expected, [])


@pytest.mark.parametrize(
    "container",
    [
        {"MaxConcurrentTransforms": 0},
        {"MaxConcurrentTransforms": True},
        {"MaxPayloadInMB": -1},
        {"MaxPayloadInMB": "6"},
        {"BatchStrategy": "MultiRecord"},
        {"BatchStrategy": None},
    ],
)
def test_what_a_container_says_wrongly_is_left_out_and_told(container: dict[str, Any]) -> None:
    parameters, (remark,) = settle({}, container=container)
    assert parameters == ExecutionParameters()
    assert next(iter(container)) in remark


def test_they_are_written_as_the_data_log_has_them() -> None:
    assert str(ExecutionParameters()) == "MaxConcurrentTransforms=1, MaxPayloadInMB=6, BatchStrategy=MULTI_RECORD"


def test_variables_are_set_only_where_the_request_gives_a_value() -> None:
    assert batch_variables({}) == {"SAGEMAKER_BATCH": "true"}
    assert batch_variables({"MaxConcurrentTransforms": 0}) == {"SAGEMAKER_BATCH": "true"}
    assert batch_variables({"MaxConcurrentTransforms": 2, "MaxPayloadInMB": 0, "BatchStrategy": "SingleRecord"}) == {
        "SAGEMAKER_BATCH": "true",
        "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS": "2",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": "0",
        "SAGEMAKER_BATCH_STRATEGY": "SINGLE_RECORD",
    }


def test_the_container_is_asked_unless_the_request_says_everything() -> None:
    everything = {"MaxConcurrentTransforms": 2, "MaxPayloadInMB": 0, "BatchStrategy": "SingleRecord"}
    assert not asks_container(everything)
    assert asks_container(everything | {"MaxConcurrentTransforms": 0})
    assert asks_container({})
