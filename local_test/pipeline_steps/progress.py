"""Waiting for a job: what it is doing, and what its containers write, as it happens."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from pipeline_steps.aws import Clients
from pipeline_steps.errors import JobFailedError

_FIRST_PAUSE = 0.3
_LONGEST_PAUSE = 10.0
_ENDS = ("Completed", "Failed", "Stopped")


@dataclass(frozen=True)
class JobKind:
    """The names that SageMaker has for one kind of job."""

    word: str
    api: str

    @property
    def name_key(self) -> str:
        """The member of a request that names the job."""
        return f"{self.api}Name"

    @property
    def status_key(self) -> str:
        """The member of a description that has its status."""
        return f"{self.api}Status"

    @property
    def log_group(self) -> str:
        """Where its containers' logs are."""
        return f"/aws/sagemaker/{self.api}s"

    def call(self, verb: str, clients: Clients, name: str) -> Any:
        """Call `describe` or `stop` of this kind of job."""
        operation = getattr(clients.sagemaker, f"{verb}_{self.word.replace(' ', '_')}")
        return operation(**{self.name_key: name})


TRAINING = JobKind(word="training job", api="TrainingJob")
TRANSFORM = JobKind(word="transform job", api="TransformJob")


def say(text: str = "") -> None:
    """Print a line now, also where the output is a file."""
    print(text, flush=True)


def status(clients: Clients, kind: JobKind, name: str) -> str:
    """Return the status of a job."""
    return str(kind.call("describe", clients, name)[kind.status_key])


def is_over(status: str) -> bool:
    """Whether a job with this status has ended."""
    return status in _ENDS


def wait(clients: Clients, kind: JobKind, name: str) -> Mapping[str, Any]:
    """Wait until a job has ended, showing its status and its log, and return its description."""
    log = LogTail(clients.logs, group=kind.log_group, job=name)
    shown: set[tuple[str, str]] = set()
    pause = _FIRST_PAUSE
    while True:
        description: Mapping[str, Any] = kind.call("describe", clients, name)
        for state in _states(kind, description):
            if state not in shown:
                shown.add(state)
                say("   " + " - ".join(filter(None, state)))
        log.show_new()
        if is_over(description[kind.status_key]):
            return description
        time.sleep(pause)
        pause = min(pause * 1.2, _LONGEST_PAUSE)


def require_completed(kind: JobKind, name: str, description: Mapping[str, Any]) -> None:
    """Raise `JobFailedError` with the reason unless a job has completed."""
    ended = description[kind.status_key]
    if ended != "Completed":
        why = description.get("FailureReason") or description.get("SecondaryStatus") or "no reason was given"
        raise JobFailedError(f"the {kind.word} {name} ended as {ended}: {why}")


def _states(kind: JobKind, description: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what a job went through, in order; a transform job tells only where it is."""
    transitions = description.get("SecondaryStatusTransitions")
    if transitions is None:
        return [(description[kind.status_key], "")]
    return [(entry["Status"], entry.get("StatusMessage", "")) for entry in transitions]


class LogTail:
    """The new lines of a job's log streams."""

    def __init__(self, logs: Any, *, group: str, job: str) -> None:
        self._logs = logs
        self._group = group
        self._prefix = f"{job}/"
        self._tokens: dict[str, str] = {}
        self._readable = True

    def show_new(self) -> None:
        """Print what came since the last call; who may not read logs is told so once and waits without."""
        if not self._readable:
            return
        try:
            for stream in self._streams():
                self._show(stream)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            # The group or the stream is made with the first line.
            if code == "ResourceNotFoundException":
                return
            if code == "ThrottlingException":
                return
            self._readable = False
            say(f"   the log cannot be shown: {error}")

    def _streams(self) -> list[str]:
        pages = self._logs.get_paginator("describe_log_streams").paginate(
            logGroupName=self._group, logStreamNamePrefix=self._prefix
        )
        return [stream["logStreamName"] for page in pages for stream in page["logStreams"]]

    def _show(self, stream: str) -> None:
        while True:
            token = self._tokens.get(stream)
            more = {"nextToken": token} if token else {}
            page = self._logs.get_log_events(logGroupName=self._group, logStreamName=stream, startFromHead=True, **more)
            for event in page["events"]:
                say(f"   | {event['message'].rstrip()}")
            # At the end of a stream the token stays as it was.
            self._tokens[stream] = page["nextForwardToken"]
            if page["nextForwardToken"] == token:
                return
