"""The JSON files below `input/config`: read with clear errors, checked for what this image cannot do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from factorbox.errors import UserError

TRAINING_CHANNEL = "training"
ITEMS_CHANNEL = "items"
VALIDATION_CHANNELS = ("validation", "testing")
"""Names of the channel that a model is measured by."""


def read_json_object(path: Path, *, example: str = "{}") -> dict[str, Any]:
    """Read a JSON object; a missing or empty file is an empty object.

    Parameters
    ----------
    path
        The file.
    example
        What it may hold, for errors.

    Raises
    ------
    UserError
        Where the file is not JSON, not an object, or gives a key twice.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; make it readable to the container's user") from None
    if not content.strip():
        return {}
    try:
        value = json.loads(content, object_pairs_hook=_without_repeats)
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is not JSON ({error}): write an object such as {example}") from None
    except (ValueError, RecursionError):
        raise UserError(f"{path} is not JSON that can be read: write an object such as {example}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path} holds no JSON object: write one such as {example}")
    return value


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise UserError(f"{repeated!r} is given twice in a configuration file: give it once")
    return content


def refuse_pipe_mode(input_data_config: dict[str, Any]) -> None:
    """Raise `UserError` for a channel in Pipe mode, under today's key and the API's."""
    for channel, settings in input_data_config.items():
        mode = settings.get("TrainingInputMode") or settings.get("InputMode") if isinstance(settings, dict) else None
        if mode == "Pipe":
            raise UserError(
                f"channel {channel} has the input mode Pipe, which factorbox does not read: use File or FastFile"
            )


def refuse_several_hosts(resource_config: dict[str, Any]) -> None:
    """Raise `UserError` for a job on more than one instance.

    Files from before 2022 name the hosts only; newer ones also have instance groups.
    """
    hosts = resource_config.get("hosts", [])
    if isinstance(hosts, list) and len(hosts) > 1:
        raise UserError(
            f"the job has {len(hosts)} instances, and factorbox trains on one: set InstanceCount to 1 and take a larger"
            " instance type if one is too small"
        )
