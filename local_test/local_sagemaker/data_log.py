"""The data-log stream of a transform job: what happened to which object, in the words that users search for."""

from __future__ import annotations

from datetime import UTC, datetime

from local_sagemaker.logs import LogStream
from local_sagemaker.model_client import InvocationError
from local_sagemaker.storage import S3Object


class DataLog:
    """Writes one data-log stream; from any thread."""

    def __init__(self, stream: LogStream) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Add a line about the job."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        self._stream.write(f"{now}:[sagemaker logs]: {text}")

    def about(self, entry: S3Object, text: str) -> None:
        """Add lines about an object."""
        for line in text.split("\n"):
            self.write(f"{entry.bucket}/{entry.key}: {line}".rstrip())

    def failed_invocation(self, entry: S3Object, error: InvocationError) -> None:
        """Say how the container failed, with the content of its answer."""
        if error.status is None:
            self.about(entry, f"Unable to get response from algorithm\n{error.message}")
        elif 400 <= error.status < 500:
            self.about(entry, f"ClientError: {error.status}\n\nMessage:\n{error.message}")
        else:
            self.about(entry, f"Bad HTTP status received from algorithm: {error.status}\n\nMessage:\n{error.message}")
