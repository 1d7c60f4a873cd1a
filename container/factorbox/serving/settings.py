"""What the server reads from the environment, checked once at its start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

from factorbox.errors import UserError

UnknownUsers = Literal["mean", "empty", "error"]
BadRecords = Literal["error", "mark"]

MAX_PAYLOAD_VARIABLE = "SAGEMAKER_MAX_PAYLOAD_IN_MB"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to serve.

    Attributes
    ----------
    port
        `SAGEMAKER_BIND_TO_PORT`.
    workers
        `MODEL_SERVER_WORKERS`: worker processes; None for one a usable processor.
    timeout
        `MODEL_SERVER_TIMEOUT`: seconds after which a worker that does not respond at all is replaced.
    max_payload_mib
        `SAGEMAKER_MAX_PAYLOAD_IN_MB`: the largest request body in MiB, 0 for no limit.
    concurrent_transforms
        `SAGEMAKER_MAX_CONCURRENT_TRANSFORMS`: requests that a transform job sends at the same time; None where it
        does not say.
    exclude_seen
        `DEFAULT_EXCLUDE_SEEN`: for requests that do not say; None for the model's own default.
    unknown_users
        `UNKNOWN_USERS`: an unknown user gets the ranking of the mean user, an empty one, or is a bad record.
    bad_records
        `BAD_RECORDS`: a bad record refuses the whole request, or is marked in its place.
    trailing_newline
        `TRAILING_NEWLINE`: whether an answer ends with a newline.
    console
        `CONSOLE`: whether there is a page at `/`; never in a transform job, where `SAGEMAKER_BATCH` is set.
    """

    port: int = 8080
    workers: int | None = None
    timeout: int = 600
    max_payload_mib: int = 100
    concurrent_transforms: int | None = None
    exclude_seen: bool | None = None
    unknown_users: UnknownUsers = "mean"
    bad_records: BadRecords = "error"
    trailing_newline: bool = False
    console: bool = True


def settings_from(environ: Mapping[str, str]) -> Settings:
    """Read the settings from environment variables; an empty one counts as unset.

    Raises
    ------
    UserError
        Naming the variable, its value and the values that it takes.
    """
    return Settings(
        port=_whole(environ, "SAGEMAKER_BIND_TO_PORT", minimum=1, maximum=65_535) or Settings.port,
        workers=_whole(environ, "MODEL_SERVER_WORKERS", minimum=1, maximum=1_000),
        timeout=_whole(environ, "MODEL_SERVER_TIMEOUT", minimum=1, maximum=86_400) or Settings.timeout,
        max_payload_mib=_given(_whole(environ, MAX_PAYLOAD_VARIABLE), default=Settings.max_payload_mib),
        # SageMaker's 0 leaves the number to the container.
        concurrent_transforms=_whole(environ, "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS", maximum=1_000) or None,
        exclude_seen=_switch(environ, "DEFAULT_EXCLUDE_SEEN"),
        unknown_users=cast(
            UnknownUsers, _choice(environ, "UNKNOWN_USERS", get_args(UnknownUsers)) or Settings.unknown_users
        ),
        bad_records=cast(BadRecords, _choice(environ, "BAD_RECORDS", get_args(BadRecords)) or Settings.bad_records),
        trailing_newline=_switch(environ, "TRAILING_NEWLINE") or False,
        console=_switch(environ, "CONSOLE") is not False and not environ.get("SAGEMAKER_BATCH", "").strip(),
    )


def _given(value: int | None, *, default: int) -> int:
    return default if value is None else value


def _whole(environ: Mapping[str, str], name: str, *, minimum: int = 0, maximum: int = 1_000_000) -> int | None:
    """Read a whole number, None where the variable is unset."""
    text = environ.get(name, "").strip()
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 10 and minimum <= int(text) <= maximum):
        raise UserError(
            f"{name}={text!r} is not possible: give a whole number from {minimum} to {maximum}, or leave it unset"
        )
    return int(text)


def _switch(environ: Mapping[str, str], name: str) -> bool | None:
    """Read a yes or no, None where the variable is unset."""
    value = _choice(environ, name, ("1", "true", "0", "false"))
    return None if value is None else value in ("1", "true")


def _choice(environ: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str | None:
    """Read one of a few words in any case, None where the variable is unset."""
    text = environ.get(name, "").strip()
    if not text:
        return None
    if text.lower() not in choices:
        raise UserError(f"{name}={text!r} is not known: give one of {', '.join(choices)}, or leave it unset")
    return text.lower()
