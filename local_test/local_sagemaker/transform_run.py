"""One transform job from its start to its end: its instances side by side."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from local_sagemaker.access import container_access
from local_sagemaker.archives import ArchiveError
from local_sagemaker.errors import ServiceError
from local_sagemaker.execution_parameters import batch_variables
from local_sagemaker.folders import remove_tree
from local_sagemaker.job import FinalStatus, Job
from local_sagemaker.model_client import AbortedError
from local_sagemaker.runners import Runner, RunnerError, is_gpu_instance
from local_sagemaker.state import State
from local_sagemaker.storage import Storage, split_uri
from local_sagemaker.transform_instance import TransformInstance, TransformSettings
from local_sagemaker.transform_request import TransformPlan

_log = logging.getLogger(__name__)


class TransformRun:
    """A transform job and the thread that runs it.

    Parameters
    ----------
    job
        The job, whose request is valid.
    plan
        What is to be done.
    state, runner, storage, workspace, quiet, settings
        As ``TransformJobs`` has them.
    """

    def __init__(
        self,
        job: Job,
        *,
        plan: TransformPlan,
        state: State,
        runner: Runner,
        storage: Storage,
        workspace: Path,
        quiet: bool,
        settings: TransformSettings,
    ) -> None:
        self.job = job
        self._plan = plan
        self._state = state
        self._runner = runner
        self._storage = storage
        self._workspace = workspace
        self._quiet = quiet
        self._settings = settings
        self._instances: Sequence[TransformInstance] = ()
        self._grace_seconds = settings.stop_grace_seconds
        self._thread = threading.Thread(target=self._run, name=f"transform-job/{job.name}", daemon=True)

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread.start()

    def stop(self, *, grace_seconds: float | None = None) -> None:
        """Ask the job to stop: no request is finished and nothing more is stored.

        Raises
        ------
        ServiceError
            ``ValidationException`` where it is over.
        """
        with self._state.lock:
            self.job.request_stop()
            if grace_seconds is not None:
                self._grace_seconds = grace_seconds
            instances = self._instances
        for instance in instances:
            instance.abort(grace_seconds=self._grace_seconds)

    def join(self, *, timeout: float) -> None:
        """Wait until nothing of the job is left; where it takes longer, kill the containers that it waits for."""
        self._thread.join(timeout)
        if self._thread.is_alive():
            for instance in self._instances:
                instance.kill()
        self._thread.join()

    def _run(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix=f"{self.job.name}-", dir=self._workspace))
        try:
            reason = self._outcome(folder)
        finally:
            remove_tree(folder)
        with self._state.lock:
            status: FinalStatus = "Failed" if reason else "Completed"
            if self.job.stop_requested.is_set():
                status, reason = "Stopped", None
            self.job.finish(status, failure_reason=reason)

    def _outcome(self, folder: Path) -> str | None:
        """Return the failure reason; ``None`` for a job that is completed or stopped."""
        try:
            return self._transform(folder)
        except AbortedError:
            return None
        except (ServiceError, RunnerError, ArchiveError) as error:
            return f"ClientError: {error.message if isinstance(error, ServiceError) else error}"
        except Exception as error:
            # The thread is the job: whatever goes wrong in it has to be seen in the job.
            _log.exception("transform job %s could not be run", self.job.name)
            return f"InternalServerError: the local SageMaker could not run the job: {type(error).__name__}: {error}"

    def _transform(self, folder: Path) -> str | None:
        model_data = None
        if uri := self._plan.model["PrimaryContainer"].get("ModelDataUrl"):
            model_data = folder / "model.tar.gz"
            self._storage.download(*split_uri(uri), model_data)
        objects = self._plan.objects
        count = min(self.job.request["TransformResources"]["InstanceCount"], len(objects))
        instances = [self._instance(number, count, folder / f"instance-{number}") for number in range(count)]
        with self._state.lock:
            if self.job.stop_requested.is_set():
                raise AbortedError
            self._instances = instances
        with ThreadPoolExecutor(max_workers=count) as pool:
            outcomes = [
                pool.submit(instance.run, model_data=model_data, on_ready=self._mark_started) for instance in instances
            ]
        return next((reason for outcome in outcomes if (reason := outcome.result())), None)

    def _instance(self, number: int, count: int, folder: Path) -> TransformInstance:
        request = self.job.request
        instance_type = request["TransformResources"].get("InstanceType", "")
        return TransformInstance(
            self._plan.objects[number::count],
            folder=folder,
            job_name=self.job.name,
            request=request,
            plan=self._plan,
            environment=self._environment(),
            gpus=is_gpu_instance(instance_type),
            state=self._state,
            runner=self._runner,
            storage=self._storage,
            quiet=self._quiet,
            settings=self._settings,
        )

    def _environment(self) -> dict[str, str]:
        return {
            **container_access(self._state, isolated=self._plan.model["EnableNetworkIsolation"]),
            **self._plan.model["PrimaryContainer"].get("Environment", {}),
            **self.job.request.get("Environment", {}),
            **batch_variables(self.job.request),
            "AWS_REGION": self._state.region,
        }

    def _mark_started(self) -> None:
        with self._state.lock:
            if self.job.start_time is None:
                self.job.mark_started()
