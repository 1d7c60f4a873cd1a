"""The operations on transform jobs: create, describe, list and stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from local_sagemaker.job import Job, check_new, find
from local_sagemaker.listing import list_page
from local_sagemaker.runners import Runner
from local_sagemaker.state import State
from local_sagemaker.storage import Storage
from local_sagemaker.transform_instance import TransformSettings
from local_sagemaker.transform_request import described_request, plan_transform
from local_sagemaker.transform_run import TransformRun

# A server that ends waits less than AWS does.
_GRACE_SECONDS_AT_CLOSE = 5.0


class TransformJobs:
    """Transform jobs, each in a thread of its own; ``state.transform_jobs`` holds them by name.

    Parameters
    ----------
    state
        The store that all services share.
    runner
        What runs the containers.
    storage
        Where input comes from and output goes.
    workspace
        A folder in which each job makes one of its own, and removes it.
    quiet
        Whether what containers print stays off the terminal.
    settings
        How patient jobs are; AWS's values by default.
    """

    def __init__(
        self,
        *,
        state: State,
        runner: Runner,
        storage: Storage,
        workspace: Path,
        quiet: bool = False,
        settings: TransformSettings | None = None,
    ) -> None:
        self._state = state
        self._runner = runner
        self._storage = storage
        self._workspace = workspace
        self._quiet = quiet
        self._settings = settings or TransformSettings()
        self._runs: dict[str, TransformRun] = {}

    def operations(self) -> Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        """Return each operation by its name."""
        return {
            "CreateTransformJob": self.create,
            "DescribeTransformJob": self.describe,
            "ListTransformJobs": self.list_jobs,
            "StopTransformJob": self.stop,
        }

    def close(self) -> None:
        """Stop every job, and wait until nothing of it is left."""
        runs = list(self._runs.values())
        for run in runs:
            with self._state.lock:
                running = not run.job.is_over
                if running:
                    run.stop(grace_seconds=_GRACE_SECONDS_AT_CLOSE)
        for run in runs:
            run.join(timeout=2 * _GRACE_SECONDS_AT_CLOSE)

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        """Check the request, its model and its input, and start the job."""
        name = request["TransformJobName"]
        arn = self._state.arn("transform-job", name)
        check_new(name, self._state.transform_jobs, arn=arn)
        plan = plan_transform(request, state=self._state, storage=self._storage)
        with self._state.lock:
            # Once more: another request may have taken the name while the input was looked at.
            check_new(name, self._state.transform_jobs, arn=arn)
            job = Job(name, kind="transform", request=request, state=self._state)
            run = TransformRun(
                job,
                plan=plan,
                state=self._state,
                runner=self._runner,
                storage=self._storage,
                workspace=self._workspace,
                quiet=self._quiet,
                settings=self._settings,
            )
            self._state.transform_jobs[name] = job
            self._state.tag(job.arn, request.get("Tags", []))
            self._runs[name] = run
            run.start()
        return {"TransformJobArn": job.arn}

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return everything about a job; what is not known yet is left out."""
        with self._state.lock:
            job = find(request["TransformJobName"], self._state.transform_jobs)
            answer = {
                "TransformJobName": job.name,
                "TransformJobArn": job.arn,
                "TransformJobStatus": job.status,
                **described_request(job.request),
                "CreationTime": job.creation_time,
            }
            if job.failure_reason is not None:
                answer["FailureReason"] = job.failure_reason
            if job.start_time is not None:
                answer["TransformStartTime"] = job.start_time
            if job.end_time is not None:
                answer["TransformEndTime"] = job.end_time
            return answer

    def list_jobs(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return one page of summaries, newest first where the request says nothing else."""
        with self._state.lock:
            entries = [job.entry(_summary(job)) for job in self._state.transform_jobs.values()]
        return list_page(entries, request=request, key="TransformJobSummaries")

    def stop(self, request: dict[str, Any]) -> dict[str, Any]:
        """Ask a job to stop; objects that are not complete are not stored."""
        name = find(request["TransformJobName"], self._state.transform_jobs).name
        self._runs[name].stop()
        return {}


def _summary(job: Job) -> dict[str, Any]:
    summary = {
        "TransformJobName": job.name,
        "TransformJobArn": job.arn,
        "CreationTime": job.creation_time,
        "LastModifiedTime": job.last_modified_time,
        "TransformJobStatus": job.status,
    }
    if job.end_time is not None:
        summary["TransformEndTime"] = job.end_time
    if job.failure_reason is not None:
        summary["FailureReason"] = job.failure_reason
    return summary
