"""The options of the pipeline, read and checked once before anything is sent."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

_EXAMPLE = """
  pipeline.py --training ratings.csv --all-users --image IMAGE --role ROLE                    on AWS
  pipeline.py --training s3://B/ratings/ --requests requests.jsonl --image IMAGE --role ROLE \\
      --endpoint-url http://127.0.0.1:PORT                                                    on a local SageMaker

exit codes: 0 done; 2 the input was refused; 3 a job failed; 4 the new model fell below the earlier one;
            130 interrupted (Ctrl-C); 143 stopped (SIGTERM)
"""
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9])*")
_MAX_NAME = 63
# SageMaker takes 40, and some are of the pipeline itself.
_MAX_DEFINITIONS = 36


@dataclass(frozen=True, kw_only=True)
class Options:
    """What one run is asked to do; the sentences are those of `pipeline.py --help`."""

    training: str | None
    from_job: str | None
    from_model: str | None
    requests: str | None
    all_users: bool
    top_n: int | None
    items: str | None
    available: str | None
    output: Path
    show: int
    s3: str | None
    name: str
    compare_with: str | None
    max_drop: float
    clean_up: bool
    endpoint_url: str | None
    region: str | None
    role: str | None
    image: str | None
    instance_type: str
    transform_instance_type: str | None
    instance_count: int
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
    environment: Mapping[str, str]
    content_type: str | None
    accept: str


def read_options(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line; what is wrong with it ends the program with exit code 2, as argparse does."""
    parser = _parser()
    values = vars(parser.parse_args(arguments))
    for name in ("tags", "hyperparameters", "metric_definitions", "environment"):
        values[name] = dict(values[name])
    options = Options(**{field.name: values[field.name] for field in fields(Options)})
    if problem := _problem(options):
        parser.error(problem)
    return options


def _problem(options: Options) -> str | None:
    """Say what does not go together, and what is no value."""
    empty = next((field.name for field in fields(options) if getattr(options, field.name) == ""), None)
    if empty is not None:
        # What an unset variable in a script leaves: not the same as no option at all.
        return f"--{empty.replace('_', '-')} is empty: give a value, or leave the option out"
    if options.top_n is not None and not options.all_users:
        return "--top-n goes with --all-users; other requests say their own top_n"
    if bool(options.subnets) != bool(options.security_groups):
        return "--subnets and --security-groups go together: give both or neither"
    if not options.training and (options.hyperparameters or options.metric_definitions or options.spot):
        return "--hyperparameters, --metric-definitions and --spot go with --training: what exists was trained already"
    if options.from_model:
        return None
    if not options.role:
        return "--role is needed to train and to create a model: give its ARN, or its name"
    if options.training and not options.image:
        return "--image is needed to train: give the image as ECR, or the local SageMaker, knows it"
    return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pipeline.py",
        description="Train, create the model, transform, fetch: with SageMaker and S3, on AWS or on this machine.",
        epilog="examples:" + _EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument_group("what to start from (one of them)").add_mutually_exclusive_group(required=True)
    add.add_argument("--training", metavar="PATH|S3URI", help="training data: a file, a folder or an S3 URI")
    add.add_argument("--from-job", metavar="JOB", help="a training job that exists; it is waited for if it still runs")
    add.add_argument("--from-model", metavar="MODEL", help="a SageMaker model that exists")

    group = parser.add_argument_group("what to ask")
    add = group.add_mutually_exclusive_group(required=True)
    add.add_argument("--requests", metavar="PATH|S3URI", help="one request a line: a file, a folder or an S3 URI")
    add.add_argument(
        "--all-users", action="store_true", help="the requests that training wrote: requests/ in its output.tar.gz"
    )
    group.add_argument("--top-n", type=_whole, metavar="N", help="with --all-users: N items for each user")
    group.add_argument(
        "--content-type", metavar="TYPE", help="of the requests (default: by their names, or JSON Lines)"
    )
    group.add_argument("--accept", default="text/csv", metavar="TYPE", help="of the answers (default: %(default)s)")

    group = parser.add_argument_group("what is known of the items")
    group.add_argument(
        "--items",
        metavar="PATH|S3URI",
        help="CSV of item ids and titles, joined to the answers; with --training also the job's channel items",
    )
    group.add_argument(
        "--available",
        metavar="PATH|S3URI",
        help="CSV of item ids and available (1 or 0), in the place of the model's own list: the model is packed anew"
        " and becomes another SageMaker model (needs factorbox here)",
    )

    group = parser.add_argument_group("what becomes of the answers")
    group.add_argument(
        "--output", type=Path, default=Path("recommendations"), metavar="FOLDER", help="default: %(default)s"
    )
    group.add_argument("--show", type=_natural, default=3, metavar="N", help="users to print (default: %(default)s)")

    group = parser.add_argument_group("an earlier job")
    group.add_argument(
        "--compare-with", metavar="JOB", help="an earlier training job to compare rows, users, items with"
    )
    group.add_argument(
        "--max-drop",
        type=_share,
        default=0.1,
        metavar="SHARE",
        help="do not transform where one of them fell by more: 0.1 or 10%% (default: %(default)s)",
    )

    group = parser.add_argument_group("where and how")
    group.add_argument(
        "--name", type=_name, default=_default_name(), help="of the jobs and the model (default: the time)"
    )
    group.add_argument(
        "--s3", metavar="S3URI", help="below which it all goes (default: the SDK's bucket, sagemaker-REGION-ACCOUNT)"
    )
    group.add_argument("--endpoint-url", metavar="URL", help="of a local SageMaker; without it, AWS")
    group.add_argument("--region", help="default: that of the environment")
    group.add_argument("--role", metavar="ARN|NAME", help="the role that SageMaker takes")
    group.add_argument("--image", help="the image that trains and serves (default with --from-job: that job's)")
    group.add_argument("--instance-type", default="ml.m5.xlarge", metavar="TYPE", help="default: %(default)s")
    group.add_argument("--transform-instance-type", metavar="TYPE", help="default: --instance-type")
    group.add_argument(
        "--instance-count", type=_whole, default=1, metavar="N", help="of the transform job; training takes one"
    )
    group.add_argument("--kms-key", metavar="KEY", help="encrypts uploads, results and volumes")
    group.add_argument("--subnets", nargs="+", default=(), metavar="ID")
    group.add_argument("--security-groups", nargs="+", default=(), metavar="ID")
    group.add_argument("--network-isolation", action="store_true", help="containers without any network")
    group.add_argument(
        "--spot", action="store_true", help="train on spot instances, waiting as long again as --max-run"
    )
    group.add_argument("--max-run", type=_whole, default=86_400, metavar="SECONDS", help="of the training job")
    group.add_argument("--volume-size", type=_whole, default=30, metavar="GB", help="of the training job")
    group.add_argument("--tags", nargs="+", type=_pair, default=(), metavar="NAME=VALUE")
    group.add_argument("--hyperparameters", nargs="+", type=_pair, default=(), metavar="NAME=VALUE")
    group.add_argument(
        "--metric-definitions",
        type=_definitions,
        default=(),
        metavar="FILE",
        help="JSON array of what SageMaker is to find in the training job's log, each with Name and Regex, as"
        " `python -m factorbox metric-definitions` prints it",
    )
    group.add_argument(
        "--environment", nargs="+", type=_pair, default=(), metavar="NAME=VALUE", help="of the transform's containers"
    )
    group.add_argument(
        "--clean-up", action="store_true", help="delete what this run made, and nothing else, at its end"
    )
    return parser


def _default_name() -> str:
    # Milliseconds, so that two runs started together do not meet.
    return f"pipeline-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"[:-3]


def _checked(text: str, value: float | None, *, wanted: str) -> float:
    if value is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return value


def _number(text: str, convert: Callable[[str], float]) -> float | None:
    try:
        return convert(text)
    except ValueError:
        return None


def _whole(text: str) -> int:
    value = _number(text, int)
    return int(_checked(text, value if value and value > 0 else None, wanted="a whole number above 0"))


def _natural(text: str) -> int:
    value = _number(text, int)
    return int(_checked(text, value if value is not None and value >= 0 else None, wanted="a whole number"))


def _share(text: str) -> float:
    percent = text.endswith("%")
    value = _number(text.removesuffix("%"), float)
    if value is not None and percent:
        value /= 100
    inside = value is not None and 0 <= value <= 1
    return _checked(text, value if inside else None, wanted="a share between 0 and 1, or 0% and 100%")


def _name(text: str) -> str:
    if not _NAME.fullmatch(text) or len(text) > _MAX_NAME:
        raise argparse.ArgumentTypeError(f"{text!r} is not a name: up to {_MAX_NAME} letters, digits and inner hyphens")
    return text


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not (name and separator):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _definitions(text: str) -> list[tuple[str, str]]:
    """Read a file of metric definitions."""
    wanted = (
        f'{text!r} is no file of metric definitions: give a JSON array such as [{{"Name": "x", "Regex": "x=(.*);"}}]'
    )
    try:
        entries = json.loads(Path(text).read_text(encoding="utf-8"))
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot read {text!r}: {error.strerror}") from None
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{wanted} ({error})") from None
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
