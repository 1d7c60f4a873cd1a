"""Log streams: what containers print, in CloudWatch Logs and on the terminal while they run."""

from __future__ import annotations

import contextlib
import sys
import threading
import time

from moto.logs.models import LogsBackend, logs_backends

from local_sagemaker.state import State

TRAINING_GROUP = "/aws/sagemaker/TrainingJobs"
TRANSFORM_GROUP = "/aws/sagemaker/TransformJobs"
ENDPOINT_GROUP = "/aws/sagemaker/Endpoints"

# CloudWatch's limit for one event, in characters rather than bytes: it is there to bound one event, no more.
_LONGEST_EVENT = 256 * 1024


class LogStream:
    """One stream of one log group; both are made where they are missing.

    Lines go straight into moto's store, in this process, so that a reader sees each one as soon as it is written.

    Parameters
    ----------
    group, stream
        Their names, such as ``/aws/sagemaker/TrainingJobs`` and ``JOB/algo-1-1700000000``.
    state
        The region and the account, and the lock under which streams are made.
    label
        What stands in front of each line on the terminal, such as the job's name.
    quiet
        Whether nothing is written to the terminal.
    """

    def __init__(self, group: str, stream: str, *, state: State, label: str, quiet: bool = False) -> None:
        self.group = group
        self.stream = stream
        self._backend: LogsBackend = logs_backends[state.account][state.region]
        self._label = label
        self._quiet = quiet
        self._lock = threading.Lock()
        self._last = 0
        # moto looks and then makes, so that two threads could each make the group and one would lose its streams.
        with state.lock:
            self._backend.ensure_log_group(group)
            self._backend.ensure_log_stream(group, stream)

    def write(self, line: str) -> None:
        """Add one line, without its line end; CloudWatch keeps no empty ones."""
        line = line.rstrip("\r\n")
        if not line:
            return
        parts = [line[start : start + _LONGEST_EVENT] for start in range(0, len(line), _LONGEST_EVENT)]
        with self._lock:
            # Readers sort by time: a clock that is set back must not turn lines around.
            self._last = max(self._last, time.time_ns() // 1_000_000)
            events = [{"timestamp": self._last, "message": part} for part in parts]
            self._backend.put_log_events(self.group, self.stream, events)
        if not self._quiet:
            # A terminal that has gone away is no reason to end a job: the stream has the line.
            with contextlib.suppress(OSError):
                sys.stdout.write(f"{self._label} | {line}\n")
                sys.stdout.flush()
