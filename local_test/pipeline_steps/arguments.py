"""What several programs read from their command lines: readers of values, and where and how jobs are to run."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")
_MAX_NAME = 63
# SageMaker takes 40, and some are of the pipeline itself.
_MAX_DEFINITIONS = 36


Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """How training jobs are to run; the sentences are those of `--help`."""

    name: str
    s3: str | None
    endpoint_url: str | None
    region: str | None
    role: str | None
    image: str | None
    instance_type: str
    kms_key: str | None
    subnets: Sequence[str]
    security_groups: Sequence[str]
    network_isolation: bool
    spot: bool
    max_run: int
    volume_size: int
    tags: Mapping[str, str]
    hyperparameters: Mapping[str, str]
    metric_definitions: Mapping[str, str]
    clean_up: bool

    def problem(self) -> str | None:
        """Say what is no value, and what does not go together."""
        empty = next((field.name for field in fields(self) if getattr(self, field.name) == ""), None)
        if empty is not None:
            # What an unset variable in a script leaves: not the same as no option at all.
            return f"--{empty.replace('_', '-')} is empty: give a value, or leave the option out"
        if bool(self.subnets) != bool(self.security_groups):
            return "--subnets and --security-groups go together: give both or neither"
        return None


def add_job_arguments(group: argparse._ArgumentGroup, *, program: str) -> None:
    """Add where jobs run and how; `program` begins the default name."""
    # Milliseconds, so that two runs started together do not meet.
    default_name = f"{program}-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"[:-3]
    group.add_argument("--name", type=name, default=default_name, help="of what it makes (default: the time)")
    group.add_argument(
        "--s3", metavar="S3URI", help="below which it all goes (default: the SDK's bucket, sagemaker-REGION-ACCOUNT)"
    )
    group.add_argument("--endpoint-url", metavar="URL", help="of a local SageMaker; without it, AWS")
    group.add_argument("--region", help="default: that of the environment")
    group.add_argument("--role", metavar="ARN|NAME", help="the role that SageMaker takes")
    group.add_argument("--image", help="the image that trains and serves (where a job is taken up: by default its own)")
    group.add_argument("--instance-type", default="ml.m5.xlarge", metavar="TYPE", help="default: %(default)s")
    group.add_argument("--kms-key", metavar="KEY", help="encrypts uploads, results and volumes")
    group.add_argument("--subnets", nargs="+", default=(), metavar="ID")
    group.add_argument("--security-groups", nargs="+", default=(), metavar="ID")
    group.add_argument("--network-isolation", action="store_true", help="containers without any network")
    group.add_argument(
        "--spot", action="store_true", help="train on spot instances, waiting as long again as --max-run"
    )
    group.add_argument("--max-run", type=whole, default=86_400, metavar="SECONDS", help="of a training job")
    group.add_argument("--volume-size", type=whole, default=30, metavar="GB", help="of a training job")
    group.add_argument("--tags", nargs="+", type=pair, default=(), metavar="NAME=VALUE")
    group.add_argument(
        "--hyperparameters",
        nargs="+",
        type=hyperparameters,
        default=(),
        metavar="NAME=VALUE|FILE",
        help="of training; FILE is JSON, as tune.py writes it, and what is named behind it counts",
    )
    group.add_argument(
        "--clean-up", action="store_true", help="delete what this run made, and nothing else, at its end"
    )


def given_pairs(given: Iterable[Pairs]) -> dict[str, str]:
    """Return what several arguments give together; the last one counts."""
    return {key: value for pairs in given for key, value in pairs}


def hyperparameters(text: str) -> Pairs:
    """Read NAME=VALUE, or a file of hyperparameters."""
    if "=" in text:
        return [pair(text)]
    if not Path(text).exists():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, and there is no such file")
    wanted = f'{text!r} is no file of hyperparameters: give a JSON object such as {{"epochs": "16"}}'
    content = _json_file(text, wanted=wanted)
    if not isinstance(content, dict):
        raise argparse.ArgumentTypeError(wanted)
    return [(key, value if isinstance(value, str) else json.dumps(value)) for key, value in content.items()]


def _json_file(text: str, *, wanted: str) -> object:
    try:
        return json.loads(Path(text).read_text(encoding="utf-8"))
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot read {text!r}: {error.strerror}") from None
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{wanted} ({error})") from None


def _checked(text: str, value: float | None, *, wanted: str) -> float:
    if value is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return value


def _number(text: str, convert: Callable[[str], float]) -> float | None:
    try:
        return convert(text)
    except ValueError:
        return None


def whole(text: str) -> int:
    """Read a whole number above 0."""
    value = _number(text, int)
    return int(_checked(text, value if value and value > 0 else None, wanted="a whole number above 0"))


def natural(text: str) -> int:
    """Read a whole number."""
    value = _number(text, int)
    return int(_checked(text, value if value is not None and value >= 0 else None, wanted="a whole number"))


def share(text: str) -> float:
    """Read a share, as a number or in percent."""
    percent = text.endswith("%")
    value = _number(text.removesuffix("%"), float)
    if value is not None and percent:
        value /= 100
    inside = value is not None and 0 <= value <= 1
    return _checked(text, value if inside else None, wanted="a share between 0 and 1, or 0% and 100%")


def name(text: str) -> str:
    """Read the name of jobs and models."""
    if not _NAME.fullmatch(text) or len(text) > _MAX_NAME:
        raise argparse.ArgumentTypeError(f"{text!r} is not a name: up to {_MAX_NAME} letters, digits and inner hyphens")
    return text


def pair(text: str) -> tuple[str, str]:
    """Read NAME=VALUE."""
    name, separator, value = text.partition("=")
    if not (name and separator):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def definitions(text: str) -> list[tuple[str, str]]:
    """Read a file of metric definitions."""
    wanted = (
        f'{text!r} is no file of metric definitions: give a JSON array such as [{{"Name": "x", "Regex": "x=(.*);"}}]'
    )
    entries = _json_file(text, wanted=wanted)
    if not isinstance(entries, list) or not all(map(_is_definition, entries)):
        raise argparse.ArgumentTypeError(wanted)
    if len(entries) > _MAX_DEFINITIONS:
        raise argparse.ArgumentTypeError(
            f"{text!r} has {len(entries)} metric definitions: give at most {_MAX_DEFINITIONS}"
        )
    return [(entry["Name"], entry["Regex"]) for entry in entries]


def _is_definition(entry: object) -> bool:
    return isinstance(entry, dict) and entry.keys() == {"Name", "Regex"} and all(map(_is_text, entry.values()))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)
