"""What a training job says of its model: a few figures, and the report that it leaves in output.tar.gz."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Any

from botocore.exceptions import ClientError

from pipeline_steps import storage
from pipeline_steps.progress import say

PAGE, NUMBERS = "report.html", "report.json"

_MODEL = "validation"
_SHOWN = 3


def show_quality(metrics: Mapping[str, float]) -> None:
    """Print how good a model is, from the metrics that SageMaker found in the log; nothing where there are none.

    Names are `PART:METRIC`: the part `validation` is the model's, any other is what it stands beside.
    """
    of_model = {name: value for part, name, value in _parts(metrics) if part == _MODEL}
    others = dict.fromkeys(part for part, _, _ in _parts(metrics) if part != _MODEL)
    for other in others:
        beside = {name: value for part, name, value in _parts(metrics) if part == other}
        both = [name for name in of_model if name in beside][:_SHOWN]
        if both:
            # The first one says what stands in the parentheses.
            words = [f"{other.replace('_', ' ')} ", *[""] * (len(both) - 1)]
            figures = [
                f"{name} {of_model[name]:.4f} ({word}{beside[name]:.4f})"
                for name, word in zip(both, words, strict=True)
            ]
            say(f"   quality: {', '.join(figures)}")
    if of_model and not others:
        say(f"   quality: {', '.join(f'{name} {value:.4f}' for name, value in list(of_model.items())[:_SHOWN])}")


def _parts(metrics: Mapping[str, float]) -> list[tuple[str, str, float]]:
    named = ((*name.partition(":"), value) for name, value in metrics.items())
    return [(part, name, value) for part, separator, name, value in named if separator]


def fetch_report(s3: Any, output_data: str, folder: Path) -> None:
    """Bring the report of a job home, where there is one, and say where it is.

    A report is worth a look and no more: what keeps it away is said, and the pipeline goes on.

    Parameters
    ----------
    output_data
        The URI of the job's output.tar.gz.
    folder
        Where its files go, over earlier ones.
    """
    try:
        if output_data not in storage.list_objects(s3, output_data):
            return
        found = _unpack(s3, output_data, folder)
    except (ClientError, tarfile.TarError, EOFError, OSError, zlib.error) as error:
        say(f"   the report in {output_data} cannot be fetched: {error}")
        return
    if PAGE in found:
        say(f"   report: {folder / PAGE}")


def _unpack(s3: Any, output_data: str, folder: Path) -> set[str]:
    """Unpack the files of a report, each whole or not at all, and return which there are."""
    bucket, key = storage.split_uri(output_data)
    found: set[str] = set()
    with (
        closing(s3.get_object(Bucket=bucket, Key=key)["Body"]) as body,
        tarfile.open(fileobj=body, mode="r|gz") as archive,
        tempfile.TemporaryDirectory(dir=folder, prefix=".report-") as partial,
    ):
        for member in archive:
            name = PurePosixPath(member.name).as_posix()
            if member.isfile() and name in (PAGE, NUMBERS):
                content = archive.extractfile(member)
                assert content is not None
                with (Path(partial) / name).open("wb") as file:
                    shutil.copyfileobj(content, file)
                found.add(name)
            if len(found) == len((PAGE, NUMBERS)):
                break
        for name in found:
            os.replace(Path(partial) / name, folder / name)
    return found
