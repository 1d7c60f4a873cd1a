"""The one state machine of training and transform jobs.

::

    InProgress ──► Completed | Failed | Stopped
        │
        └─ request_stop() ──► Stopping ──► Stopped | Failed

Secondary statuses (Starting, Downloading, Training, Uploading...) run beside it as a list of transitions; AWS shows
them for training jobs only.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from local_sagemaker.errors import ServiceError, invalid
from local_sagemaker.listing import Entry
from local_sagemaker.state import State, utc_now

Kind = Literal["training", "transform"]
Status = Literal["InProgress", "Completed", "Failed", "Stopping", "Stopped"]
FinalStatus = Literal["Completed", "Failed", "Stopped"]

_OVER = ("Completed", "Failed", "Stopped")
_LONGEST_REASON = 1024


class Job:
    """A job, from its creation to its end. Every change takes the state's lock and wakes those who wait.

    Parameters
    ----------
    name
        The job's name; ``arn`` is made of it.
    kind
        ``training`` or ``transform``.
    request
        The validated parameters of the ``Create`` operation.
    state
        The store whose lock guards the job.

    Attributes
    ----------
    status, secondary_status, failure_reason
        As ``Describe`` shows them.
    transitions
        ``SecondaryStatusTransitions``: dictionaries with ``Status``, ``StartTime``, ``EndTime``, ``StatusMessage``.
    creation_time, last_modified_time
        Times in UTC.
    start_time, end_time
        When work began (``mark_started``) and when the job was over; ``None`` before that.
    stop_requested
        Set by ``request_stop``; the thread that runs the job looks at it.
    """

    def __init__(self, name: str, *, kind: Kind, request: Mapping[str, Any], state: State) -> None:
        self.name = name
        self.kind: Kind = kind
        self.arn = state.arn(f"{kind}-job", name)
        self.request = request
        self.status: Status = "InProgress"
        self.secondary_status = ""
        self.transitions: list[dict[str, Any]] = []
        self.failure_reason: str | None = None
        self.creation_time = utc_now()
        self.last_modified_time = self.creation_time
        self.start_time: datetime | None = None
        self.end_time: datetime | None = None
        self.stop_requested = threading.Event()
        self._state = state
        self.advance("Starting", f"Starting the {kind} job")

    @property
    def is_over(self) -> bool:
        """Whether the job is Completed, Failed or Stopped."""
        return self.status in _OVER

    def advance(self, secondary: str, message: str) -> None:
        """Enter a secondary status, or give the present one another message."""
        with self._state.changed:
            self._check_running()
            self._enter(secondary, message)

    def mark_started(self) -> None:
        """Note that the work has begun: the start time that ``Describe`` shows."""
        with self._state.changed:
            self._check_running()
            self.start_time = utc_now()
            self._touch(self.start_time)

    def entry(self, summary: dict[str, Any]) -> Entry:
        """Return the job as a list sees it, with the summary that is answered."""
        return Entry(
            name=self.name,
            creation_time=self.creation_time,
            last_modified_time=self.last_modified_time,
            status=self.status,
            summary=summary,
        )

    def request_stop(self) -> None:
        """Ask a running job to stop; asking twice is no error.

        Raises
        ------
        ServiceError
            ``ValidationException`` where the job is over.
        """
        with self._state.changed:
            if self.is_over:
                raise invalid(f"The request was rejected because the {self.kind} job is in status {self.status}.")
            if self.status != "Stopping":
                self.status = "Stopping"
                self._enter("Stopping", f"Stopping the {self.kind} job")
            self.stop_requested.set()

    def finish(
        self,
        status: FinalStatus,
        *,
        secondary: str | None = None,
        message: str | None = None,
        failure_reason: str | None = None,
    ) -> None:
        """End the job.

        Parameters
        ----------
        status
            How it ended.
        secondary
            The last secondary status where it is another one, such as ``MaxRuntimeExceeded``.
        message
            The last status message; AWS's own for the status where none is given.
        failure_reason
            What a failed job shows; cut to the 1,024 characters that AWS keeps.
        """
        with self._state.changed:
            self._check_running()
            self.status = status
            self.failure_reason = failure_reason[:_LONGEST_REASON] if failure_reason is not None else None
            self._enter(secondary or status, message or f"{self.kind.capitalize()} job {status.lower()}")
            self.end_time = self.transitions[-1]["EndTime"] = self.last_modified_time

    def _enter(self, secondary: str, message: str) -> None:
        now = utc_now()
        if self.transitions and self.secondary_status == secondary:
            self.transitions[-1]["StatusMessage"] = message
        else:
            if self.transitions:
                self.transitions[-1]["EndTime"] = now
            self.transitions.append({"Status": secondary, "StartTime": now, "StatusMessage": message})
            self.secondary_status = secondary
        self._touch(now)

    def _touch(self, now: datetime) -> None:
        self.last_modified_time = now
        self._state.changed.notify_all()

    def _check_running(self) -> None:
        if self.is_over:
            raise RuntimeError(f"{self.kind} job {self.name} is {self.status}: nothing about it changes any more")


def check_new(name: str, jobs: Mapping[str, Job], *, arn: str) -> None:
    """Refuse the name of a job that exists.

    Raises
    ------
    ServiceError
        ``ResourceInUse``.
    """
    if name in jobs:
        raise ServiceError(
            "ResourceInUse",
            f"Job name must be unique within an AWS account and region, and a job with this name already exists"
            f" ({arn}). Choose another name.",
        )


def find(name: str, jobs: Mapping[str, Job]) -> Job:
    """Return the job of a name.

    Raises
    ------
    ServiceError
        ``ValidationException``, as SageMaker answers for an unknown job (the waiters depend on it).
    """
    try:
        return jobs[name]
    except KeyError:
        raise invalid("Requested resource not found.") from None
