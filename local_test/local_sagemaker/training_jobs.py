"""The operations on training jobs: create, describe, list and stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from local_sagemaker.channels import find_objects
from local_sagemaker.job import Job, check_new, find
from local_sagemaker.listing import list_page
from local_sagemaker.runners import Runner
from local_sagemaker.state import State
from local_sagemaker.storage import Storage
from local_sagemaker.training_request import check_request, described_request
from local_sagemaker.training_run import TrainingRun

# A server that ends waits less than AWS does.
_GRACE_SECONDS_AT_CLOSE = 5.0


class TrainingJobs:
    """Training jobs, each in a thread of its own; ``state.training_jobs`` holds them by name.

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
    """

    def __init__(self, *, state: State, runner: Runner, storage: Storage, workspace: Path, quiet: bool = False) -> None:
        self._state = state
        self._runner = runner
        self._storage = storage
        self._workspace = workspace
        self._quiet = quiet
        self._runs: dict[str, TrainingRun] = {}

    def operations(self) -> Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        """Return each operation by its name."""
        return {
            "CreateTrainingJob": self.create,
            "DescribeTrainingJob": self.describe,
            "ListTrainingJobs": self.list_jobs,
            "StopTrainingJob": self.stop,
        }

    def close(self) -> None:
        """Stop every job, and wait until nothing of it is left."""
        runs = list(self._runs.values())
        for run in runs:
            run.shut_down(grace_seconds=_GRACE_SECONDS_AT_CLOSE)
        for run in runs:
            run.join(timeout=2 * _GRACE_SECONDS_AT_CLOSE)

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        """Check the request and its input, and start the job."""
        name = request["TrainingJobName"]
        check_new(name, self._state.training_jobs, arn=self._state.arn("training-job", name))
        check_request(request, storage=self._storage)
        objects = {
            channel["ChannelName"]: find_objects(
                channel,
                input_mode=request["AlgorithmSpecification"]["TrainingInputMode"],
                storage=self._storage,
                region=self._state.region,
                role=request["RoleArn"],
            )
            for channel in request.get("InputDataConfig", [])
        }
        with self._state.lock:
            # Once more: another request may have taken the name while the input was looked at.
            check_new(name, self._state.training_jobs, arn=self._state.arn("training-job", name))
            job = Job(name, kind="training", request=request, state=self._state)
            run = TrainingRun(
                job,
                objects=objects,
                state=self._state,
                runner=self._runner,
                storage=self._storage,
                workspace=self._workspace,
                quiet=self._quiet,
            )
            self._state.training_jobs[name] = job
            self._state.tag(job.arn, request.get("Tags", []))
            self._runs[name] = run
            run.start()
        return {"TrainingJobArn": job.arn}

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return everything about a job; what is not known yet is left out."""
        with self._state.lock:
            job = find(request["TrainingJobName"], self._state.training_jobs)
            run = self._runs[job.name]
            answer = {
                "TrainingJobName": job.name,
                "TrainingJobArn": job.arn,
                "TrainingJobStatus": job.status,
                "SecondaryStatus": job.secondary_status,
                **described_request(job.request),
                "CreationTime": job.creation_time,
                "LastModifiedTime": job.last_modified_time,
                "SecondaryStatusTransitions": [dict(transition) for transition in job.transitions],
            }
            if run.artifacts is not None and job.is_over:
                answer["ModelArtifacts"] = {"S3ModelArtifacts": run.artifacts}
            if job.failure_reason is not None:
                answer["FailureReason"] = job.failure_reason
            if metrics := run.metrics.final():
                answer["FinalMetricDataList"] = metrics
            if job.start_time is not None:
                answer["TrainingStartTime"] = job.start_time
            if job.start_time is not None and job.end_time is not None:
                seconds = max(1, round((job.end_time - job.start_time).total_seconds()))
                answer |= {
                    "TrainingEndTime": job.end_time,
                    "TrainingTimeInSeconds": seconds,
                    "BillableTimeInSeconds": seconds,
                }
            return answer

    def list_jobs(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return one page of summaries, oldest first where the request says nothing else."""
        with self._state.lock:
            entries = [job.entry(_summary(job)) for job in self._state.training_jobs.values()]
        return list_page(entries, request=request, key="TrainingJobSummaries", descending=False)

    def stop(self, request: dict[str, Any]) -> dict[str, Any]:
        """Ask a job to stop: SIGTERM, and SIGKILL 120 seconds later."""
        find(request["TrainingJobName"], self._state.training_jobs).request_stop()
        return {}


def _summary(job: Job) -> dict[str, Any]:
    summary = {
        "TrainingJobName": job.name,
        "TrainingJobArn": job.arn,
        "CreationTime": job.creation_time,
        "LastModifiedTime": job.last_modified_time,
        "TrainingJobStatus": job.status,
        "SecondaryStatus": job.secondary_status,
    }
    if job.end_time is not None:
        summary["TrainingEndTime"] = job.end_time
    return summary
