"""The options of the pipeline, read and checked once before anything is sent."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from pipeline_steps.arguments import (
    JobOptions,
    add_job_arguments,
    definitions,
    given_pairs,
    natural,
    pair,
    share,
    whole,
)

_EXAMPLE = """
  pipeline.py --training ratings.csv --all-users --image IMAGE --role ROLE                    on AWS
  pipeline.py --training s3://B/ratings/ --requests requests.jsonl --image IMAGE --role ROLE \\
      --endpoint-url http://127.0.0.1:PORT                                                    on a local SageMaker

exit codes: 0 done; 2 the input was refused; 3 a job failed; 4 the new model fell below the earlier one;
            130 interrupted (Ctrl-C); 143 stopped (SIGTERM)
"""


@dataclass(frozen=True, kw_only=True)
class Options(JobOptions):
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
    compare_with: str | None
    max_drop: float
    transform_instance_type: str | None
    instance_count: int
    environment: Mapping[str, str]
    content_type: str | None
    accept: str


def read_options(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line; what is wrong with it ends the program with exit code 2, as argparse does."""
    parser = _parser()
    values = vars(parser.parse_args(arguments))
    for name in ("tags", "metric_definitions", "environment"):
        values[name] = dict(values[name])
    values["hyperparameters"] = given_pairs(values["hyperparameters"])
    options = Options(**{field.name: values[field.name] for field in fields(Options)})
    if problem := _problem(options):
        parser.error(problem)
    return options


def _problem(options: Options) -> str | None:
    """Say what does not go together, and what is no value."""
    if problem := options.problem():
        return problem
    if options.top_n is not None and not options.all_users:
        return "--top-n goes with --all-users; other requests say their own top_n"
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
    group.add_argument("--top-n", type=whole, metavar="N", help="with --all-users: N items for each user")
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
    group.add_argument("--show", type=natural, default=3, metavar="N", help="users to print (default: %(default)s)")

    group = parser.add_argument_group("an earlier job")
    group.add_argument(
        "--compare-with", metavar="JOB", help="an earlier training job to compare rows, users, items with"
    )
    group.add_argument(
        "--max-drop",
        type=share,
        default=0.1,
        metavar="SHARE",
        help="do not transform where one of them fell by more: 0.1 or 10%% (default: %(default)s)",
    )

    group = parser.add_argument_group("where and how")
    add_job_arguments(group, program="pipeline")
    group.add_argument("--transform-instance-type", metavar="TYPE", help="default: --instance-type")
    group.add_argument(
        "--instance-count", type=whole, default=1, metavar="N", help="of the transform job; training takes one"
    )
    group.add_argument(
        "--metric-definitions",
        type=definitions,
        default=(),
        metavar="FILE",
        help="JSON array of what SageMaker is to find in the training job's log, each with Name and Regex, as"
        " `python -m factorbox metric-definitions` prints it",
    )
    group.add_argument(
        "--environment", nargs="+", type=pair, default=(), metavar="NAME=VALUE", help="of the transform's containers"
    )
    return parser
