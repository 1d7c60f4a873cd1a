"""The command line: `python -m factorbox COMMAND`, with a help text for each command."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factorbox.errors import FactorboxError

if TYPE_CHECKING:
    from factorbox.commands.evaluate import Evaluated
    from factorbox.recommender import Recommender

_EXPORT = """\
Write the vectors of a model for other programs: [w_u, 1] for each user and [h_i, b_i] for each item, as float32. The
items with the largest inner product with a user's vector are those that the model ranks first for that user, so any
index for maximum inner product search gives the model's own ranking. Leave out the items whose available is false, and
those that the user has seen.
"""
_FILES = """\
files:
  npy      user_vectors.npy, item_vectors.npy, user_ids.json and item_ids.json (the ids of the rows), and
           item_available.npy
  parquet  users.parquet (user_id, vector) and items.parquet (item_id, available, vector)

examples:
  python -m factorbox export model.tar.gz --format npy --output vectors
  python -m factorbox export s3://bucket/job/output/model.tar.gz --format parquet --output vectors
"""
_EVALUATE = """\
Measure a model by interactions that it was not trained on, beside the ranking by popularity and, for a model of
ratings, beside means and biases. Users and items that the model does not know, and what it was trained on, are left out
and counted. With --queries, measure it for histories of which you know what should be recommended.
"""
_QUERIES = """\
a query a line, with its history as in a request and the ids of the items that a good model recommends for it:
  {"name": "a horror fan", "history": ["219", "448"], "relevant": ["200", "185"]}

examples:
  python -m factorbox evaluate model.tar.gz last_week.csv
  python -m factorbox evaluate model.tar.gz --queries personas.jsonl --k 5
"""
_REPORT = """\
Write report.html and report.json, as a training job does: what a model has learned, and how good it is, by what its
training held out or, where DATA is given, by interactions that it was not trained on.
"""
_DEFINITIONS = """\
Print what SageMaker is to find in the log of a training job, as JSON: the value of MetricDefinitions in
create_training_job, or with --objectives what a tuning job may optimise, the best choice first.

Every job that measures its model logs the metrics of rankings and the values of most_popular beside them. One whose
model predicts ratings logs validation:loss, validation:rmse, validation:mae and those of mean_ratings too: choose rmse
or mae as an objective for such a model alone. A job with validation=none has train_loss only.
"""
_MODEL_HELP = "a folder, a model.tar.gz, or an s3:// URI of either"
_DATA_HELP = "a CSV or Parquet file, or a folder of such, with the columns of the training data"
_READING = ("user_column", "item_column", "weight_column", "timestamp_column", "delimiter", "min_rating")
"""The options that say how DATA are read, by the names of `factorbox.data.columns.ReadOptions`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code: 0, or 2 where it was refused or could not be done."""
    asked = _parser().parse_args(arguments)
    if problem := _problem(asked):
        asked.command.error(problem)
    try:
        sys.stdout.write(asked.run(asked) + "\n")
    except FactorboxError as error:
        sys.stderr.write(f"factorbox: {error}\n")
        return 2
    except MemoryError:
        sys.stderr.write("factorbox: there is too little memory for this: ask for less, or take a larger machine\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("factorbox: interrupted\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m factorbox", description="Work with a trained model.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, *, help: str, description: str, epilog: str = "") -> argparse.ArgumentParser:
        formatter = argparse.RawDescriptionHelpFormatter
        return commands.add_parser(name, help=help, description=description, epilog=epilog, formatter_class=formatter)

    evaluate = add(
        "evaluate", help="measure a model by data that it was not trained on", description=_EVALUATE, epilog=_QUERIES
    )
    evaluate.add_argument("model", metavar="MODEL", help=_MODEL_HELP)
    evaluate.add_argument("data", metavar="DATA", type=_path, nargs="?", help=_DATA_HELP)
    evaluate.add_argument("--queries", type=_path, metavar="FILE", help="JSON lines, instead of DATA: see below")
    evaluate.add_argument("--k", type=_whole, default=10, metavar="N", help="length of rankings (default: %(default)s)")
    evaluate.add_argument("--json", action="store_true", help="print all numbers as JSON")
    _add_data_options(evaluate)
    evaluate.set_defaults(run=_evaluate, command=evaluate)

    report = add("report", help="write the report of a model", description=_REPORT)
    report.add_argument("model", metavar="MODEL", help=_MODEL_HELP)
    report.add_argument("data", metavar="DATA", type=_path, nargs="?", help=_DATA_HELP)
    report.add_argument(
        "--output",
        type=_folder,
        default=Path("report"),
        metavar="DIR",
        help="the folder to write into (default: %(default)s)",
    )
    _add_data_options(report)
    report.set_defaults(run=_report, command=report)

    export = add(
        "export",
        help="write the vectors of users and items for other programs",
        description=_EXPORT,
        epilog=_FILES,
    )
    export.add_argument("model", metavar="MODEL", help=_MODEL_HELP)
    export.add_argument("--format", choices=("npy", "parquet"), required=True, help="what the vectors are written as")
    export.add_argument(
        "--output",
        type=_folder,
        required=True,
        metavar="DIR",
        help="the folder to write into: new, empty, or with an earlier export in the same format, which is replaced",
    )
    export.set_defaults(run=_export)

    definitions = add(
        "metric-definitions", help="print what SageMaker is to find in the log of a job", description=_DEFINITIONS
    )
    definitions.add_argument("--objectives", action="store_true", help="what a tuning job may optimise, instead")
    definitions.set_defaults(run=_definitions)
    return parser


def _problem(asked: argparse.Namespace) -> str | None:
    """Say what does not go together."""
    if asked.run is _evaluate and (asked.data is None) == (asked.queries is None):
        return "evaluate takes either DATA or --queries FILE: give one of them"
    idle = [name for name in (*_READING, "users") if getattr(asked, name, None) is not None]
    if idle and asked.data is None:
        return f"--{idle[0].replace('_', '-')} is about DATA, and there are none: give them, or leave the option out"
    return None


def _add_data_options(command: argparse.ArgumentParser) -> None:
    """Add how DATA are read and how many users are measured."""
    group = command.add_argument_group("about DATA, where they differ from the training data")
    for role in ("user", "item", "weight", "timestamp"):
        group.add_argument(f"--{role}-column", metavar="NAME", help=f"the column with the {role} of each row")
    group.add_argument("--delimiter", metavar="CHARACTER", help="between the fields of a CSV file; tab for a tab")
    group.add_argument("--min-rating", type=float, metavar="N", help="rows whose weight is below it are left out")
    group.add_argument("--users", type=_whole, metavar="N", help="measure at most so many users (default: 5000)")


def _folder(text: str) -> Path:
    """Read the name of a folder, which need not be there."""
    folder = _named(text, what="folder")
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise argparse.ArgumentTypeError(f"{text} is a file: give a folder")
    return folder


def _path(text: str) -> Path:
    """Read the name of a file, which may be a folder."""
    return _named(text, what="file")


def _named(text: str, *, what: str) -> Path:
    if not text:
        # As of an unset variable; it would be the current folder.
        raise argparse.ArgumentTypeError(f"the name of the {what} is empty")
    return Path(text)


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _definitions(asked: argparse.Namespace) -> str:
    from factorbox.commands.metric_definitions import metric_definitions, tuning_objectives

    return json.dumps(tuning_objectives() if asked.objectives else metric_definitions(), indent=2)


# What follows imports numba and torch where it is run: they take seconds, for which neither a help text nor a wrong
# argument should wait.


def _evaluate(asked: argparse.Namespace) -> str:
    from factorbox.commands.evaluate_queries import judge, read_queries
    from factorbox.loading import load

    model = load(asked.model)
    if asked.queries is not None:
        judged = judge(model, read_queries(asked.queries, model), k=asked.k)
        return _json(judged.record()) if asked.json else judged.table()
    evaluated = _evaluated(model, asked, k=asked.k)
    return _json(evaluated.record()) if asked.json else f"{evaluated.summary}\n\n{evaluated.table()}"


def _evaluated(model: Recommender, asked: argparse.Namespace, *, k: int) -> Evaluated:
    """Measure a model by DATA."""
    from factorbox.commands.evaluate import MOST_USERS, evaluate_on
    from factorbox.contract.processors import usable_processors

    given = {name: getattr(asked, name) for name in _READING}
    return evaluate_on(
        model,
        asked.data,
        reading={name: value for name, value in given.items() if value is not None},
        k=k,
        most_users=asked.users or MOST_USERS,
        threads=usable_processors(),
    )


def _report(asked: argparse.Namespace) -> str:
    from factorbox.commands.report import measured_inputs, saved_inputs
    from factorbox.evaluation.metrics import K
    from factorbox.loading import load
    from factorbox.report.writing import NUMBERS, PAGE, write_report

    model = load(asked.model)
    inputs = (
        saved_inputs(model)
        if asked.data is None
        else measured_inputs(model, _evaluated(model, asked, k=K), data=asked.data)
    )
    write_report(asked.output, inputs)
    return f"{inputs.measured}\n{asked.output / PAGE}\n{asked.output / NUMBERS}"


def _export(asked: argparse.Namespace) -> str:
    from factorbox.commands.export import FILES, export
    from factorbox.loading import load

    exported = export(load(asked.model), folder=asked.output, format=asked.format)
    return (
        f"{exported.users:,} users and {exported.items:,} items, {exported.dimension} numbers each, in {asked.output}:"
        f" {', '.join(FILES[asked.format])}"
    )


def _json(record: dict[str, Any]) -> str:
    """Write numbers as JSON, in which what is not finite is null."""
    import orjson

    return orjson.dumps(record, option=orjson.OPT_INDENT_2).decode()


if __name__ == "__main__":
    sys.exit(main())
