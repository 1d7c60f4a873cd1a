"""One endpoint: a container that is brought up, watched, asked and taken down.

::

    Creating ──► InService ──► Deleting ──► gone
        │            │            ▲
        └──► Failed ◄┘────────────┘
"""

from __future__ import annotations

import http.client
import logging
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from local_sagemaker.access import container_access
from local_sagemaker.archives import ArchiveError, unpack
from local_sagemaker.errors import ServiceError
from local_sagemaker.folders import remove_tree
from local_sagemaker.logs import ENDPOINT_GROUP, LogStream
from local_sagemaker.runners import Container, ContainerSpec, Runner, RunnerError, is_gpu_instance
from local_sagemaker.state import State, utc_now
from local_sagemaker.storage import Storage, split_uri

Status = Literal["Creating", "InService", "Failed", "Deleting"]

STARTUP_SECONDS = 480
"""How long a container may take to answer /ping where the configuration does not say."""
_STOP_SECONDS = 30
_PING_SECONDS = 2.0
_PAUSE_SECONDS = 0.2

_log = logging.getLogger(__name__)


class LiveEndpoint:
    """An endpoint and the thread that looks after its container.

    Parameters
    ----------
    name
        The endpoint's name.
    config
        What ``DescribeEndpointConfig`` answers, as it was when the endpoint was created.
    model
        What ``DescribeModel`` answers, as it was then.
    state, runner, storage, workspace, quiet
        As the service has them.
    on_gone
        Called when nothing of the endpoint is left after ``delete``.
    """

    def __init__(
        self,
        name: str,
        *,
        config: Mapping[str, Any],
        model: Mapping[str, Any],
        state: State,
        runner: Runner,
        storage: Storage,
        workspace: Path,
        quiet: bool,
        on_gone: Callable[[], None],
    ) -> None:
        self.name = name
        self.arn = state.arn("endpoint", name)
        self.config = config
        self.variant: Mapping[str, Any] = config["ProductionVariants"][0]
        self.model = model
        self.status: Status = "Creating"
        self.failure_reason: str | None = None
        self.creation_time = self.last_modified_time = utc_now()
        self.log_stream = f"{self.variant['VariantName']}/i-{secrets.token_hex(9)[:17]}"
        self.address: tuple[str, int] | None = None
        self._state = state
        self._runner = runner
        self._storage = storage
        self._workspace = workspace
        self._quiet = quiet
        self._on_gone = on_gone
        self._deleted = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"endpoint {name}", daemon=True)

    @property
    def log_group(self) -> str:
        """The log group of the endpoint."""
        return f"{ENDPOINT_GROUP}/{self.name}"

    def start(self) -> None:
        """Begin to bring the container up."""
        self._thread.start()

    def delete(self) -> None:
        """Begin to take the container down, whatever state it is in; a second call does nothing."""
        with self._state.changed:
            self._enter("Deleting")
            self._deleted.set()

    def join(self) -> None:
        """Wait until nothing is left after ``delete``."""
        self._thread.join()

    def _enter(self, status: Status, *, failure_reason: str | None = None) -> None:
        with self._state.changed:
            if self.status != "Deleting":
                self.status = status
                self.failure_reason = failure_reason
                self.last_modified_time = utc_now()
                self._state.changed.notify_all()

    def _run(self) -> None:
        place = f"The primary container for production variant {self.variant['VariantName']}"
        try:
            folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=self._workspace))
            try:
                self._serve(folder / "ml", place=place)
            finally:
                remove_tree(folder)
        except (ArchiveError, RunnerError, ServiceError) as error:
            text = error.message if isinstance(error, ServiceError) else str(error)
            self._enter("Failed", failure_reason=f"{place} could not be started: {text}")
        except Exception as error:
            # The thread is the endpoint: whatever goes wrong in it has to be seen there.
            _log.exception("endpoint %s could not be run", self.name)
            self._enter("Failed", failure_reason=f"{place} could not be run: {type(error).__name__}: {error}")
        self._deleted.wait()
        self._on_gone()

    def _serve(self, base: Path, *, place: str) -> None:
        self._lay_out(base)
        if self._deleted.is_set():
            return
        log = LogStream(self.log_group, self.log_stream, state=self._state, label=self.name, quiet=self._quiet)
        container = self._runner.start(self._spec(base), on_line=log.write)
        try:
            self.address = container.address
            code = self._wait_until_healthy(container)
            if self.status == "InService":
                while not self._deleted.is_set() and (code := container.wait(_PAUSE_SECONDS)) is None:
                    pass
            if self._deleted.is_set():
                container.stop(grace_seconds=_STOP_SECONDS)
                return
            was = "ended" if self.status == "InService" else "did not pass the ping health check"
            ended = "" if code is None else f" It ended with exit code {code}."
            self._enter("Failed", failure_reason=f"{place} {was}.{ended} Please check the log group {self.log_group}.")
        finally:
            container.remove()

    def _lay_out(self, base: Path) -> None:
        (base / "model").mkdir(parents=True)
        if uri := self.model["PrimaryContainer"].get("ModelDataUrl"):
            bucket, key = split_uri(uri)
            archive = base.parent / "model.tar.gz"
            self._storage.download(bucket, key, archive)
            try:
                unpack(archive, base / "model")
            except ArchiveError as error:
                raise ArchiveError(f"{uri}: {error}") from error
            archive.unlink()

    def _spec(self, base: Path) -> ContainerSpec:
        container = self.model["PrimaryContainer"]
        isolated = self.model.get("EnableNetworkIsolation", False)
        return ContainerSpec(
            job=f"endpoint/{self.name}",
            image=container["Image"],
            entrypoint=(),
            arguments=("serve",),
            environment={
                **container_access(self._state, isolated=isolated),
                **container.get("Environment", {}),
                "AWS_REGION": self._state.region,
            },
            base=base,
            serves=True,
            isolated=isolated,
            gpus=is_gpu_instance(self.variant["InstanceType"]),
        )

    def _wait_until_healthy(self, container: Container) -> int | None:
        """Ping until the endpoint is in service, the container ends (its exit code) or the time is over."""
        window = self.variant.get("ContainerStartupHealthCheckTimeoutInSeconds", STARTUP_SECONDS)
        end = time.monotonic() + window
        while not self._deleted.is_set() and time.monotonic() < end:
            if self._is_healthy():
                self._enter("InService")
                break
            if (code := container.wait(_PAUSE_SECONDS)) is not None:
                return code
        return None

    def _is_healthy(self) -> bool:
        assert self.address is not None
        connection = http.client.HTTPConnection(*self.address, timeout=_PING_SECONDS)
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
