"""The state machine of jobs, and the store that it notifies."""

from __future__ import annotations

import threading

import pytest

from local_sagemaker.errors import ServiceError
from local_sagemaker.job import Job, check_new, find
from local_sagemaker.state import State


@pytest.fixture
def state() -> State:
    return State()


def _job(state: State) -> Job:
    return Job("My-Job", kind="training", request={}, state=state)


def test_a_new_job_is_starting(state: State) -> None:
    job = _job(state)
    assert (job.status, job.secondary_status, job.is_over) == ("InProgress", "Starting", False)
    assert job.transitions[0]["StatusMessage"] == "Starting the training job"
    assert job.arn == "arn:aws:sagemaker:us-east-1:123456789012:training-job/my-job"


def test_a_transition_ends_when_the_next_begins(state: State) -> None:
    job = _job(state)
    job.advance("Starting", "Launching requested ML instances")
    job.advance("Training", "Training image download completed. Training in progress.")
    starting, training = job.transitions
    assert starting["StatusMessage"] == "Launching requested ML instances"
    assert starting["EndTime"] == training["StartTime"]
    assert "EndTime" not in training


@pytest.mark.parametrize(
    ("status", "message"),
    [("Completed", "Training job completed"), ("Failed", "Training job failed"), ("Stopped", "Training job stopped")],
)
def test_a_finished_job_has_aws_texts_and_times(state: State, status: str, message: str) -> None:
    job = _job(state)
    job.mark_started()
    job.finish(status)  # type: ignore[arg-type]
    assert (job.status, job.secondary_status, job.is_over) == (status, status, True)
    assert job.transitions[-1]["StatusMessage"] == message
    assert job.start_time is not None and job.end_time is not None
    assert job.start_time <= job.end_time == job.transitions[-1]["EndTime"] == job.last_modified_time


def test_a_failure_reason_is_cut_to_what_aws_keeps(state: State) -> None:
    job = _job(state)
    job.finish("Failed", failure_reason="x" * 2000)
    assert job.failure_reason == "x" * 1024


def test_a_job_out_of_time_ends_with_its_own_secondary_status(state: State) -> None:
    job = _job(state)
    job.finish("Stopped", secondary="MaxRuntimeExceeded", message="too long")
    assert (job.status, job.secondary_status) == ("Stopped", "MaxRuntimeExceeded")
    assert job.transitions[-1]["StatusMessage"] == "too long"


def test_stopping_stays_while_output_is_uploaded(state: State) -> None:
    job = _job(state)
    job.request_stop()
    job.request_stop()
    job.advance("Uploading", "Uploading generated training model")
    assert (job.status, job.secondary_status) == ("Stopping", "Uploading")
    assert job.stop_requested.is_set()
    assert [transition["Status"] for transition in job.transitions] == ["Starting", "Stopping", "Uploading"]


def test_a_job_that_is_over_cannot_be_stopped_or_changed(state: State) -> None:
    job = _job(state)
    job.finish("Stopped")
    with pytest.raises(ServiceError, match="rejected because the training job is in status Stopped") as caught:
        job.request_stop()
    assert caught.value.code == "ValidationException"
    with pytest.raises(RuntimeError, match="My-Job is Stopped"):
        job.finish("Completed")


def test_names_are_unique_and_unknown_ones_refused(state: State) -> None:
    state.training_jobs["My-Job"] = _job(state)
    assert find("My-Job", state.training_jobs).name == "My-Job"
    with pytest.raises(ServiceError) as taken:
        check_new("My-Job", state.training_jobs, arn="arn:x")
    with pytest.raises(ServiceError) as unknown:
        find("Other", state.training_jobs)
    assert (taken.value.code, unknown.value.code) == ("ResourceInUse", "ValidationException")
    assert unknown.value.message == "Requested resource not found."


def test_a_wait_ends_with_the_change_that_it_waits_for(state: State) -> None:
    job = _job(state)
    results: list[bool] = []
    waiter = threading.Thread(target=lambda: results.append(state.wait_for(lambda: job.is_over, timeout=30)))
    waiter.start()
    job.advance("Training", "Training in progress.")
    job.finish("Completed")
    waiter.join(timeout=30)
    assert results == [True]


def test_a_wait_ends_when_the_state_is_closed_or_time_is_up(state: State) -> None:
    assert not state.wait_for(lambda: False, timeout=0.01)
    state.close()
    assert not state.wait_for(lambda: False, timeout=3600)
