"""The options of tune.py, read and checked once before anything is sent."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from pipeline_steps.arguments import JobOptions, add_job_arguments, given_pairs, natural, whole

_EXAMPLE = """
  tune.py --training ratings.csv --image IMAGE --role ROLE --trials 40 --parallel 4           on AWS
  tune.py --training ratings.csv --image any --role ROLE --endpoint-url http://127.0.0.1:PORT on a local SageMaker
  tune.py --ranges --algorithm bpr                                  for a tuning job of SageMaker's own

exit codes: 0 done; 2 the input was refused; 3 no trial came to a value; 130 interrupted (Ctrl-C); 143 stopped (SIGTERM)
"""
_MAX_NAME = 58


@dataclass(frozen=True, kw_only=True)
class TuneOptions(JobOptions):
    """What one search is asked to do; the sentences are those of `tune.py --help`."""

    training: str | None
    ranges: bool
    validation: str | None
    items: str | None
    algorithm: str | None
    space: Path | None
    metric: str | None
    trials: int
    parallel: int
    seed: int
    output: Path


def read_tune_options(arguments: Sequence[str] | None = None) -> TuneOptions:
    """Read the command line; what is wrong with it ends the program with exit code 2, as argparse does."""
    parser = _parser()
    values = vars(parser.parse_args(arguments))
    values["tags"] = dict(values["tags"])
    values["metric_definitions"] = {}
    values["hyperparameters"] = given_pairs(values["hyperparameters"])
    options = TuneOptions(**{field.name: values[field.name] for field in fields(TuneOptions)})
    if problem := options.problem() or _problem(options):
        parser.error(problem)
    return options


def _problem(options: TuneOptions) -> str | None:
    """Say what does not go together."""
    named = options.hyperparameters.get("algorithm", options.algorithm)
    if options.algorithm not in (None, named):
        return f"--algorithm {options.algorithm} and --hyperparameters algorithm={named} disagree: give one of them"
    if options.ranges:
        return None
    if len(options.name) > _MAX_NAME:
        return f"--name {options.name}: give at most {_MAX_NAME} characters, as trials add their number"
    if not (options.image and options.role):
        return "--image and --role are needed to train: give both"
    if not options.output.absolute().parent.is_dir():
        return f"--output {options.output}: there is no folder {options.output.absolute().parent}"
    return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tune.py",
        description="Search the hyperparameters of factorbox by training jobs: with SageMaker and S3, on AWS or on this"
        " machine. The first trial is the algorithm with its defaults, so the best is never worse than those.",
        epilog="examples:" + _EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument_group("what to do (one of them)").add_mutually_exclusive_group(required=True)
    add.add_argument("--training", metavar="PATH|S3URI", help="search: training data, a file, a folder or an S3 URI")
    add.add_argument(
        "--ranges",
        action="store_true",
        help="print the search as JSON for SageMaker's CreateHyperParameterTuningJob instead: add where its data are,"
        " the image, the role and the instances",
    )

    group = parser.add_argument_group("what is searched, and by what")
    group.add_argument("--algorithm", metavar="NAME", help="as the hyperparameter (default: that of a job without any)")
    group.add_argument(
        "--space",
        type=Path,
        metavar="FILE",
        help="ranges in the form that --ranges prints (default: those of the algorithm); what --hyperparameters gives"
        " is not searched",
    )
    group.add_argument(
        "--metric",
        metavar="NAME",
        help="of a trial (default: validation:ndcg@10, and validation:rmse for models of ratings)",
    )
    group.add_argument("--trials", type=whole, default=20, metavar="N", help="default: %(default)s")
    group.add_argument(
        "--parallel", type=whole, default=1, metavar="N", help="training jobs at the same time (default: %(default)s)"
    )
    group.add_argument("--seed", type=natural, default=0, metavar="N", help="of the search (default: %(default)s)")
    group.add_argument(
        "--output",
        type=Path,
        default=Path("hyperparameters.json"),
        metavar="FILE",
        help="the best so far, written anew with each better trial (default: %(default)s)",
    )

    group = parser.add_argument_group("what is known beside the training data")
    group.add_argument(
        "--validation", metavar="PATH|S3URI", help="the channel validation (default: some training data are held out)"
    )
    group.add_argument("--items", metavar="PATH|S3URI", help="the channel items")

    add_job_arguments(parser.add_argument_group("where and how"), program="tune")
    return parser
