"""The command line: `python -m factorbox COMMAND`, with a help text for each command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from factorbox.errors import FactorboxError

if TYPE_CHECKING:
    from factorbox.exporting import Format

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code: 0, or 2 where it was refused or could not be done."""
    asked = _parser().parse_args(arguments)
    try:
        sys.stdout.write(_export(asked.model, output=asked.output, format=asked.format) + "\n")
    except FactorboxError as error:
        sys.stderr.write(f"factorbox: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("factorbox: interrupted\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m factorbox", description="Work with a trained model.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    export = commands.add_parser(
        "export",
        help="write the vectors of users and items for other programs",
        description=_EXPORT,
        epilog=_FILES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    export.add_argument("model", metavar="MODEL", help="a folder, a model.tar.gz, or an s3:// URI of either")
    export.add_argument("--format", choices=("npy", "parquet"), required=True, help="what the vectors are written as")
    export.add_argument(
        "--output",
        type=_folder,
        required=True,
        metavar="DIR",
        help="the folder to write into: new, empty, or with an earlier export in the same format, which is replaced",
    )
    return parser


def _folder(text: str) -> Path:
    """Read the name of a folder; an empty one, as of an unset variable, would be the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("the name of the folder is empty")
    return Path(text)


def _export(model: str, *, output: Path, format: Format) -> str:
    # Here, because numba and torch take seconds, for which neither a help text nor a wrong argument should wait.
    from factorbox.exporting import FILES, export
    from factorbox.loading import load

    exported = export(load(model), folder=output, format=format)
    return (
        f"{exported.users:,} users and {exported.items:,} items, {exported.dimension} numbers each, in {output}:"
        f" {', '.join(FILES[format])}"
    )


if __name__ == "__main__":
    sys.exit(main())
