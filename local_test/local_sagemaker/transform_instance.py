"""One instance of a transform job: a container, from its start to its end, and the objects that are its share."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_sagemaker.archives import unpack
from local_sagemaker.data_log import DataLog
from local_sagemaker.execution_parameters import asks_container, settle
from local_sagemaker.logs import TRANSFORM_GROUP, LogStream
from local_sagemaker.model_client import AbortedError, ModelClient, Retries
from local_sagemaker.runners import Container, ContainerSpec, Runner
from local_sagemaker.state import State
from local_sagemaker.storage import S3Object, Storage
from local_sagemaker.transform_objects import ObjectTransforms
from local_sagemaker.transform_request import TransformPlan

_NO_PING = (
    "AlgorithmError: Model container failed to respond to ping. Please ensure /ping endpoint is implemented and "
    "responds with an HTTP 200 status code"
)


@dataclass(frozen=True, kw_only=True)
class TransformSettings:
    """How patient a transform job is.

    Attributes
    ----------
    ping_window_seconds
        How long a container may take until ``/ping`` answers 200; half an hour on AWS.
    retry_pause_seconds
        The pause before a request is sent again; it doubles each time.
    stop_grace_seconds
        Between SIGTERM and SIGKILL.
    """

    ping_window_seconds: float = 30 * 60
    retry_pause_seconds: float = 0.5
    stop_grace_seconds: float = 30


class TransformInstance:
    """An instance. ``run`` is called once; ``abort`` from any thread, at any time.

    Parameters
    ----------
    objects
        Its share of the input.
    folder
        A new folder of its own, for ``/opt/ml`` and temporary files.
    job_name, request, plan
        The job.
    environment
        Variables of the container.
    state, runner, storage, quiet, settings
        As ``TransformJobs`` has them.
    """

    def __init__(
        self,
        objects: Sequence[S3Object],
        *,
        folder: Path,
        job_name: str,
        request: Mapping[str, Any],
        plan: TransformPlan,
        environment: Mapping[str, str],
        gpus: bool,
        state: State,
        runner: Runner,
        storage: Storage,
        quiet: bool,
        settings: TransformSettings,
    ) -> None:
        self._objects = objects
        self._folder = folder
        self._job_name = job_name
        self._request = request
        self._plan = plan
        self._environment = environment
        self._gpus = gpus
        self._state = state
        self._runner = runner
        self._storage = storage
        self._quiet = quiet
        self._settings = settings
        self._grace_seconds = settings.stop_grace_seconds
        self._lock = threading.Lock()
        self._aborted = False
        self._client: ModelClient | None = None
        self._container: Container | None = None

    def run(self, *, model_data: Path | None, on_ready: Callable[[], None]) -> str | None:
        """Run the container over the objects, and return the failure reason where something failed.

        Parameters
        ----------
        model_data
            The model archive, where the model has one.
        on_ready
            Called when the container is healthy.

        Raises
        ------
        AbortedError
            Where ``abort`` was called before everything was done.
        RunnerError, ArchiveError
            Where the container cannot be started, or the model data not be unpacked.
        """
        base, spool = self._folder / "ml", self._folder / "answers"
        (base / "model").mkdir(parents=True)
        spool.mkdir()
        if model_data is not None:
            unpack(model_data, base / "model")
        name = f"{self._job_name}/i-{secrets.token_hex(8)}-{int(time.time())}"
        output, data_log = self._stream(name), DataLog(self._stream(f"{name}/data-log"))
        self._check_aborted()
        self._container = container = self._runner.start(self._spec(base), on_line=output.write)
        try:
            return self._drive(container, data_log=data_log, spool=spool, on_ready=on_ready)
        finally:
            container.stop(grace_seconds=self._grace_seconds)
            container.remove()

    def abort(self, *, grace_seconds: float | None = None) -> None:
        """End the requests under way, and the container with the given grace or its usual one."""
        with self._lock:
            if grace_seconds is not None:
                self._grace_seconds = grace_seconds
            self._aborted = True
            if self._client is not None:
                self._client.abort()

    def kill(self) -> None:
        """End a container that takes its time to stop."""
        if self._container is not None:
            self._container.stop(grace_seconds=0)

    def _drive(
        self, container: Container, *, data_log: DataLog, spool: Path, on_ready: Callable[[], None]
    ) -> str | None:
        client = self._connect(container, data_log=data_log, spool=spool)
        try:
            if not client.wait_until_healthy(self._settings.ping_window_seconds):
                code = container.wait(0)
                return _NO_PING if code is None else f"{_NO_PING}. The container has ended with exit code {code}"
            on_ready()
            answer = client.execution_parameters() if asks_container(self._request) else {}
            parameters, remarks = settle(self._request, container=answer)
            data_log.write(str(parameters))
            for remark in [*remarks, *self._remarks()]:
                data_log.write(f"Warning: {remark}")
            transforms = ObjectTransforms(
                plan=self._plan,
                parameters=parameters,
                client=client,
                storage=self._storage,
                data_log=data_log,
                spool=spool,
            )
            return transforms.run(self._objects)
        finally:
            client.close()

    def _connect(self, container: Container, *, data_log: DataLog, spool: Path) -> ModelClient:
        if container.address is None:
            raise RuntimeError(f"the {self._runner.name} runner gave no address for a container that serves")
        client = ModelClient(
            container.address,
            timeout=self._plan.timeout_seconds,
            retries=Retries(most=self._plan.most_retries, pause_seconds=self._settings.retry_pause_seconds),
            spool=spool,
            exit_code=lambda: container.wait(0),
            on_retry=data_log.write,
        )
        with self._lock:
            self._client = client
        self._check_aborted()
        return client

    def _check_aborted(self) -> None:
        if self._aborted:
            raise AbortedError

    def _remarks(self) -> list[str]:
        remarks = self._plan.processing.warnings if self._plan.processing else []
        if "DataCaptureConfig" in self._request:
            remarks = [*remarks, "DataCaptureConfig is not supported by the local SageMaker: nothing is captured"]
        return remarks

    def _stream(self, name: str) -> LogStream:
        return LogStream(TRANSFORM_GROUP, name, state=self._state, label=self._job_name, quiet=self._quiet)

    def _spec(self, base: Path) -> ContainerSpec:
        return ContainerSpec(
            job=f"transform-job/{self._job_name}",
            image=self._plan.model["PrimaryContainer"]["Image"],
            entrypoint=(),
            arguments=("serve",),
            environment=self._environment,
            base=base,
            serves=True,
            isolated=self._plan.model["EnableNetworkIsolation"],
            gpus=self._gpus,
        )
