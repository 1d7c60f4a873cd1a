"""One training job from its start to its end: input, container, output."""

from __future__ import annotations

import json
import logging
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_sagemaker import channels, training_output
from local_sagemaker.access import container_access
from local_sagemaker.archives import ArchiveError
from local_sagemaker.errors import ServiceError
from local_sagemaker.folders import remove_tree
from local_sagemaker.job import FinalStatus, Job
from local_sagemaker.logs import TRAINING_GROUP, LogStream
from local_sagemaker.metrics import MetricSearch
from local_sagemaker.runners import Container, ContainerSpec, Runner, RunnerError, is_gpu_instance
from local_sagemaker.state import State
from local_sagemaker.storage import S3Object, Storage
from local_sagemaker.training_request import CHECKPOINT_PATH, max_runtime

_HOST = "algo-1"
_GROUP = "homogeneousCluster"

_GRACE_SECONDS = 120.0
_POLL_SECONDS = 0.2

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Outcome:
    """How a job ends; the arguments of ``Job.finish``."""

    status: FinalStatus
    secondary: str | None = None
    message: str | None = None
    failure_reason: str | None = None


@dataclass(frozen=True)
class _Exit:
    """How a container ended: by itself, or because its time was over."""

    code: int | None
    timed_out: bool = False


class _StopRequestedError(Exception):
    """The job is to stop, and no container runs yet."""


class TrainingRun:
    """A training job and the thread that runs it.

    Parameters
    ----------
    job
        The job, whose request is valid.
    objects
        The objects of each channel.
    state, runner, storage, workspace, quiet
        As ``TrainingJobs`` has them.

    Attributes
    ----------
    metrics
        The metrics found so far.
    artifacts
        ``S3ModelArtifacts``; ``None`` until the model was uploaded, or would have been, had there been one.
    """

    def __init__(
        self,
        job: Job,
        *,
        objects: Mapping[str, Sequence[S3Object]],
        state: State,
        runner: Runner,
        storage: Storage,
        workspace: Path,
        quiet: bool,
    ) -> None:
        self.job = job
        self.metrics = MetricSearch(
            job.request["AlgorithmSpecification"].get("MetricDefinitions", []), job=job.name, state=state
        )
        self.artifacts: str | None = None
        self._objects = objects
        self._state = state
        self._runner = runner
        self._storage = storage
        self._workspace = workspace
        self._quiet = quiet
        self._grace_seconds = _GRACE_SECONDS
        self._container: Container | None = None
        self._thread = threading.Thread(target=self._run, name=f"training-job/{job.name}", daemon=True)

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread.start()

    def shut_down(self, *, grace_seconds: float) -> None:
        """Ask the job to end with a shorter grace; ``join`` waits for it."""
        self._grace_seconds = grace_seconds
        with self._state.lock:
            if not self.job.is_over:
                self.job.request_stop()

    def join(self, *, timeout: float) -> None:
        """Wait for the thread; where it takes longer, kill the container that it waits for."""
        self._thread.join(timeout)
        if self._thread.is_alive() and (container := self._container):
            container.stop(grace_seconds=0)
        self._thread.join()

    def _run(self) -> None:
        outcome = self._outcome()
        with self._state.lock:
            if self.job.stop_requested.is_set():
                outcome = _Outcome("Stopped")
            self.job.finish(
                outcome.status,
                secondary=outcome.secondary,
                message=outcome.message,
                failure_reason=outcome.failure_reason,
            )

    def _outcome(self) -> _Outcome:
        try:
            folder = Path(tempfile.mkdtemp(prefix=f"{self.job.name}-", dir=self._workspace))
            try:
                return self._train(folder)
            finally:
                remove_tree(folder)
        except _StopRequestedError:
            return _Outcome("Stopped")
        except (ServiceError, RunnerError, ArchiveError) as error:
            text = error.message if isinstance(error, ServiceError) else str(error)
            return _Outcome("Failed", failure_reason=f"ClientError: {text}")
        except Exception as error:
            # The thread is the job: whatever goes wrong in it has to be seen in the job.
            _log.exception("training job %s could not be run", self.job.name)
            reason = f"InternalServerError: the local SageMaker could not run the job: {type(error).__name__}: {error}"
            return _Outcome("Failed", failure_reason=reason)

    def _train(self, folder: Path) -> _Outcome:
        base = folder / "ml"
        self._advance("Starting", "Launching requested ML instances")
        self._advance("Starting", "Preparing the instances for training")
        self._advance("Downloading", "Downloading input data")
        self.job.mark_started()
        self._prepare(base)
        self._advance("Training", "Downloading the training image")
        ended = self._run_container(base)
        with self._state.lock:
            self.job.advance("Uploading", "Uploading generated training model")
        # What a job that is stopped has saved until then is a model.
        stopped = ended.timed_out or self.job.stop_requested.is_set()
        self._upload(folder, base=base, keep_model=stopped or ended.code == 0)
        if ended.timed_out:
            message = "Training job runtime exceeded MaxRuntimeInSeconds provided"
            return _Outcome("Stopped", secondary="MaxRuntimeExceeded", message=message)
        if ended.code != 0:
            return _Outcome("Failed", failure_reason=training_output.failure_reason(base, code=ended.code))
        return _Outcome("Completed")

    def _advance(self, secondary: str, message: str) -> None:
        with self._state.lock:
            if self.job.stop_requested.is_set():
                raise _StopRequestedError
            self.job.advance(secondary, message)

    def _prepare(self, base: Path) -> None:
        """Lay out /opt/ml: configuration, channels, checkpoints and the folders to write to."""
        request = self.job.request
        inputs = request.get("InputDataConfig", [])
        mode = request["AlgorithmSpecification"]["TrainingInputMode"]
        for name in ("input/config", "input/data", "model", "output/data"):
            (base / name).mkdir(parents=True)
        config: dict[str, Any] = {
            "hyperparameters": request.get("HyperParameters", {}),
            "inputdataconfig": channels.input_data_config(inputs, input_mode=mode),
            "resourceconfig": self._resource_config(),
        }
        if target := request.get("CheckpointConfig"):
            local = base / "checkpoints"
            path = CHECKPOINT_PATH if self._runner.name == "docker" else str(local)
            config["checkpointconfig"] = {"LocalPath": path}
            kept = self._storage.list_prefix(target["S3Uri"].rstrip("/") + "/")
            channels.download(kept, local, channel="checkpoints", storage=self._storage)
        for name, content in config.items():
            text = json.dumps(content, ensure_ascii=False)
            (base / "input" / "config" / f"{name}.json").write_text(text, encoding="utf-8")
        for name, objects in self._objects.items():
            channels.download(objects, base / "input" / "data" / name, channel=name, storage=self._storage)

    def _resource_config(self) -> dict[str, Any]:
        instance_type = self.job.request["ResourceConfig"]["InstanceType"]
        return {
            "current_host": _HOST,
            "current_instance_type": instance_type,
            "current_group_name": _GROUP,
            "hosts": [_HOST],
            "instance_groups": [
                {"instance_group_name": _GROUP, "instance_type": instance_type, "hosts": [_HOST]},
            ],
            "network_interface_name": "eth0" if self._runner.name == "docker" else "lo",
        }

    def _spec(self, base: Path) -> ContainerSpec:
        request = self.job.request
        algorithm = request["AlgorithmSpecification"]
        entrypoint = tuple(algorithm.get("ContainerEntrypoint", ()))
        # Entry point alone: nothing of the default command is left, as `docker run --entrypoint` does it.
        default = () if entrypoint else ("train",)
        return ContainerSpec(
            job=f"training-job/{self.job.name}",
            image=algorithm["TrainingImage"],
            entrypoint=entrypoint,
            arguments=tuple(algorithm.get("ContainerArguments", default)),
            environment=self._environment(),
            base=base,
            serves=False,
            isolated=request.get("EnableNetworkIsolation", False),
            gpus=is_gpu_instance(request["ResourceConfig"]["InstanceType"]),
        )

    def _environment(self) -> dict[str, str]:
        request = self.job.request
        return {
            **container_access(self._state, isolated=request.get("EnableNetworkIsolation", False)),
            **request.get("Environment", {}),
            "TRAINING_JOB_NAME": self.job.name,
            "TRAINING_JOB_ARN": self.job.arn,
            "AWS_REGION": self._state.region,
        }

    def _run_container(self, base: Path) -> _Exit:
        stream = LogStream(
            TRAINING_GROUP,
            f"{self.job.name}/{_HOST}-{int(time.time())}",
            state=self._state,
            label=self.job.name,
            quiet=self._quiet,
        )

        def on_line(line: str) -> None:
            stream.write(line)
            self.metrics.search(line)

        self._container = container = self._runner.start(self._spec(base), on_line=on_line)
        try:
            with self._state.lock:
                if not self.job.stop_requested.is_set():
                    self.job.advance("Training", "Training image download completed. Training in progress.")
            ended = self._wait(container)
            container.collect()
            return ended
        finally:
            container.remove()

    def _wait(self, container: Container) -> _Exit:
        deadline = time.monotonic() + max_runtime(self.job.request)
        while (code := container.wait(_POLL_SECONDS)) is None:
            if self.job.stop_requested.is_set():
                return _Exit(container.stop(grace_seconds=self._grace_seconds))
            if time.monotonic() >= deadline:
                return _Exit(container.stop(grace_seconds=self._grace_seconds), timed_out=True)
        return _Exit(code)

    def _upload(self, scratch: Path, *, base: Path, keep_model: bool) -> None:
        request = self.job.request
        places = {"job": self.job.name, "output": request["OutputDataConfig"], "scratch": scratch}
        if keep_model:
            self.artifacts = training_output.upload_model(base, storage=self._storage, **places)
        # A failed job's too: that is where diagnostics are.
        training_output.upload_data(base, storage=self._storage, **places)
        if target := request.get("CheckpointConfig"):
            training_output.upload_checkpoints(base / "checkpoints", target["S3Uri"], storage=self._storage)
