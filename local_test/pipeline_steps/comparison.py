"""The gate: a model that was trained on much less than the one before answers nobody.

The numbers of rows, users and items are the metrics that SageMaker found in the logs of both jobs. Where one of the
jobs has none, those in the manifest.json of both models are taken (`pairs` stands for rows there).
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from pipeline_steps import storage
from pipeline_steps.errors import GateClosedError
from pipeline_steps.progress import say
from pipeline_steps.training import Trained

_NAMES = ("rows", "users", "items")


def require_no_drop(s3: Any, now: Trained, before: Trained, *, max_drop: float) -> None:
    """Print both jobs' numbers side by side, and raise `GateClosedError` where one fell by more than `max_drop`."""
    new, old = _comparable(s3, now, before)
    table = pd.DataFrame({"before": old, "now": new}, index=list(_NAMES))
    table["change"] = [f"{_change(old[name], new[name]):+.1%}" for name in _NAMES]
    say(table.to_string())
    fell = [name for name in _NAMES if _change(old[name], new[name]) < -max_drop]
    if fell:
        what = ", ".join(f"{name} fell from {old[name]:,} to {new[name]:,}" for name in fell)
        raise GateClosedError(f"{what}: more than --max-drop {max_drop:g}, so nothing is transformed")


def _change(old: int, new: int) -> float:
    return new / old - 1 if old else 0.0


def _comparable(s3: Any, now: Trained, before: Trained) -> tuple[dict[str, int], dict[str, int]]:
    """Return the numbers of both, from the same kind of source: rows in the log are not pairs in the model."""
    new, old = (_from_metrics(trained.metrics) for trained in (now, before))
    if new is not None and old is not None:
        return new, old
    return counts_in_model(s3, now.model_data), counts_in_model(s3, before.model_data)


def _from_metrics(metrics: Mapping[str, float]) -> dict[str, int] | None:
    return {name: round(metrics[name]) for name in _NAMES} if all(name in metrics for name in _NAMES) else None


def counts_in_model(s3: Any, model_data: str) -> dict[str, int]:
    """Read the counts of manifest.json out of a model.tar.gz in S3, which is streamed, not stored.

    Raises
    ------
    GateClosedError
        Where it has none: what cannot be compared does not pass.
    """
    bucket, key = storage.split_uri(model_data)
    try:
        with (
            closing(s3.get_object(Bucket=bucket, Key=key)["Body"]) as body,
            tarfile.open(fileobj=body, mode="r|gz") as archive,
        ):
            for member in archive:
                if PurePosixPath(member.name) == PurePosixPath("manifest.json") and member.isfile():
                    content = archive.extractfile(member)
                    assert content is not None
                    return _counts(json.load(content))
    except (tarfile.TarError, EOFError, OSError, ValueError, KeyError, TypeError) as error:
        raise GateClosedError(f"{model_data} cannot be compared: {type(error).__name__}: {error}") from error
    raise GateClosedError(
        f"{model_data} cannot be compared: it holds no manifest.json, and its job's log no rows=…; users=…; items=…;"
    )


def _counts(manifest: Mapping[str, Any]) -> dict[str, int]:
    counts = manifest["counts"]
    return {
        "rows": int(counts["rows"] if "rows" in counts else counts["pairs"]),
        "users": int(counts["users"]),
        "items": int(counts["items"]),
    }
