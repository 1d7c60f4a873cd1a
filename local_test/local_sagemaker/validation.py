"""Check the parameters of an operation against the API's own model, and refuse as AWS does.

boto3 checks names, types and lower bounds before it sends a request; patterns, enumerations and upper bounds are for
the service to check.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import boto3
from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StructureShape

from local_sagemaker.errors import ServiceError, invalid

# Java's classes that the model's patterns use, in the words of Python's re.
_JAVA_CLASSES = {r"\p{Alnum}": "a-zA-Z0-9", r"\p{L}": r"\w", r"\p{N}": r"\d", r"\p{Z}": r"\s"}

# What becomes an argument or a variable of a process, and cannot hold NUL there.
_PROCESS_TEXTS = (
    "AlgorithmImage",
    "ContainerImage",
    "EnvironmentValue",
    "TrainingContainerArgument",
    "TrainingContainerEntrypointString",
    "TrainingEnvironmentValue",
    "TransformEnvironmentValue",
)
_SURROGATE = re.compile("[\ud800-\udfff]")

_TYPES: Mapping[str, tuple[type, ...]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float),
}


@cache
def service_model() -> ServiceModel:
    """Return botocore's model of the SageMaker API."""
    # Without a session, which would heed the user's profiles.
    return ServiceModel(Loader().load_service_model("sagemaker", "service-2"), "sagemaker")


def validate(operation: str, params: dict[str, Any]) -> None:
    """Check the parameters of an operation: required members, types, patterns, enumerations and ranges.

    Parameters
    ----------
    operation
        An operation of the API, such as ``CreateTrainingJob``.
    params
        Its parameters, as they came in JSON.

    Raises
    ------
    ServiceError
        ``ValidationException`` that lists every violation in AWS's words; ``SerializationException`` for a value of
        another type.
    """
    violations = list(_violations(params, service_model().operation_model(operation).input_shape, at=""))
    if violations:
        count = f"{len(violations)} validation error{'s' if len(violations) > 1 else ''} detected"
        raise invalid(f"{count}: {'; '.join(violations)}")


def _violations(value: Any, shape: Shape, *, at: str) -> Iterator[str]:
    right_type = isinstance(value, _TYPES[shape.type_name])
    if not right_type or (isinstance(value, bool) and shape.type_name != "boolean"):
        raise ServiceError(
            "SerializationException", f"{at or 'The request'} is {type(value).__name__}, and {shape.type_name} is due"
        )
    match shape:
        case StructureShape():
            yield from _of_structure(value, shape, at=at)
        case MapShape():
            yield from _of_size(len(value), value, shape, at=at)
            for key, member in value.items():
                yield from _violations(key, shape.key, at=f"{at}.{key}.key")
                yield from _violations(member, shape.value, at=f"{at}.{key}.member")
        case ListShape():
            yield from _of_size(len(value), value, shape, at=at)
            for number, member in enumerate(value, start=1):
                yield from _violations(member, shape.member, at=f"{at}.{number}.member")
        case _ if shape.type_name == "string":
            yield from _of_text(value, shape, at=at)
        case _ if shape.type_name not in ("boolean", "timestamp"):
            yield from _of_number(value, shape, at=at)


def _of_structure(value: Mapping[str, Any], shape: StructureShape, *, at: str) -> Iterator[str]:
    for name in shape.required_members:
        if value.get(name) is None:
            yield _violation(None, _join(at, name), "Member must not be null")
    for name, member in value.items():
        if name not in shape.members:
            raise invalid(
                f"{_join(at, name)} is no parameter of this version of the API (boto3 {boto3.__version__}): give one of"
                f" {', '.join(shape.members)}"
            )
        if member is not None:
            yield from _violations(member, shape.members[name], at=_join(at, name))


def _of_text(value: str, shape: Shape, *, at: str) -> Iterator[str]:
    if _SURROGATE.search(value):
        yield _violation(value, at, "Member must be valid Unicode, without lone surrogates")
    if "\0" in value and shape.name in _PROCESS_TEXTS:
        yield _violation(value, at, "Member must not contain NUL")
    allowed = shape.metadata.get("enum")
    if allowed and value not in allowed:
        yield _violation(value, at, f"Member must satisfy enum value set: [{', '.join(allowed)}]")
    too_long = list(_of_size(len(value), value, shape, at=at))
    yield from too_long
    pattern = shape.metadata.get("pattern")
    # Some patterns take time that grows with the power of the length: only what has an allowed length is matched.
    if pattern and not too_long and not _compiled(pattern).fullmatch(value):
        yield _violation(value, at, f"Member must satisfy regular expression pattern: {pattern}")


def _of_size(size: int, value: Any, shape: Shape, *, at: str) -> Iterator[str]:
    yield from _of_range(size, shape, say=lambda rule: _violation(value, at, f"Member must have length {rule}"))


def _of_number(value: float, shape: Shape, *, at: str) -> Iterator[str]:
    yield from _of_range(value, shape, say=lambda rule: _violation(value, at, f"Member must have value {rule}"))


def _of_range(value: float, shape: Shape, *, say: Callable[[str], str]) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and value < low:
        yield say(f"greater than or equal to {low}")
    if high is not None and value > high:
        yield say(f"less than or equal to {high}")


def _violation(value: Any, at: str, rule: str) -> str:
    shown = "null" if value is None else f"'{value}'"
    text = f"Value {shown} at '{at}' failed to satisfy constraint: {rule}"
    # A lone surrogate could not be printed by who receives it.
    return text.encode(errors="backslashreplace").decode()


def _join(at: str, name: str) -> str:
    # AWS writes members with a small first letter here: inputDataConfig.1.member.channelName.
    name = name[:1].lower() + name[1:]
    return f"{at}.{name}" if at else name


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    for java, python in _JAVA_CLASSES.items():
        pattern = pattern.replace(java, python)
    return re.compile(pattern)
