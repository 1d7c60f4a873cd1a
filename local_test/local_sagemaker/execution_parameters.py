"""How a container is driven: what the request says, else what the container says, else the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from local_sagemaker.splitting import Strategy

_MEGABYTE = 1024 * 1024
_WIRE_NAMES: Mapping[Strategy, str] = {"MultiRecord": "MULTI_RECORD", "SingleRecord": "SINGLE_RECORD"}
_STRATEGIES: Mapping[str, Strategy] = {wire: name for name, wire in _WIRE_NAMES.items()}


@dataclass(frozen=True)
class ExecutionParameters:
    """What each instance of a transform job keeps to.

    Attributes
    ----------
    concurrency
        Requests under way at once; at least 1.
    payload_mb
        The largest payload in MiB; 0 is no limit.
    strategy
        How many records a payload takes.
    """

    concurrency: int = 1
    payload_mb: int = 6
    strategy: Strategy = "MultiRecord"

    @property
    def payload_bytes(self) -> int:
        """The largest payload in bytes; 0 is no limit."""
        return self.payload_mb * _MEGABYTE

    def __str__(self) -> str:
        return (
            f"MaxConcurrentTransforms={self.concurrency}, MaxPayloadInMB={self.payload_mb}, "
            f"BatchStrategy={_WIRE_NAMES[self.strategy]}"
        )


def asks_container(request: Mapping[str, Any]) -> bool:
    """Return whether a ``CreateTransformJob`` leaves anything to the container."""
    return not (request.get("MaxConcurrentTransforms") and "MaxPayloadInMB" in request and "BatchStrategy" in request)


def settle(request: Mapping[str, Any], *, container: Mapping[str, Any]) -> tuple[ExecutionParameters, list[str]]:
    """Return the parameters of a job, and what is wrong with the container's.

    Parameters
    ----------
    request
        The parameters of ``CreateTransformJob``; ``MaxConcurrentTransforms`` 0 asks the container, as no value does.
    container
        The answer of ``/execution-parameters``; empty where there is none.
    """
    remarks: list[str] = []

    def whole_number(name: str, *, least: int, default: int) -> int:
        value = container.get(name, default)
        if isinstance(value, int) and not isinstance(value, bool) and value >= least:
            return value
        remarks.append(
            f"/execution-parameters gives {name}={value!r}, which is no integer >= {least}: {default} is used"
        )
        return default

    defaults = ExecutionParameters()
    strategy = request.get("BatchStrategy")
    if strategy is None:
        wire = container.get("BatchStrategy", _WIRE_NAMES[defaults.strategy])
        strategy = _STRATEGIES.get(str(wire))
        if strategy is None:
            remarks.append(
                f"/execution-parameters gives BatchStrategy={wire!r}, which is neither MULTI_RECORD nor SINGLE_RECORD: "
                f"{_WIRE_NAMES[defaults.strategy]} is used"
            )
            strategy = defaults.strategy
    concurrency = request.get("MaxConcurrentTransforms") or whole_number(
        "MaxConcurrentTransforms", least=1, default=defaults.concurrency
    )
    payload_mb = request.get("MaxPayloadInMB")
    if payload_mb is None:
        payload_mb = whole_number("MaxPayloadInMB", least=0, default=defaults.payload_mb)
    return ExecutionParameters(concurrency=concurrency, payload_mb=payload_mb, strategy=strategy), remarks


def batch_variables(request: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables by which a container learns that it works for a transform job.

    The three limits are there only where the request gives them.
    """
    variables = {"SAGEMAKER_BATCH": "true"}
    if "MaxPayloadInMB" in request:
        variables["SAGEMAKER_MAX_PAYLOAD_IN_MB"] = str(request["MaxPayloadInMB"])
    if "BatchStrategy" in request:
        variables["SAGEMAKER_BATCH_STRATEGY"] = _WIRE_NAMES[request["BatchStrategy"]]
    if request.get("MaxConcurrentTransforms"):
        variables["SAGEMAKER_MAX_CONCURRENT_TRANSFORMS"] = str(request["MaxConcurrentTransforms"])
    return variables
