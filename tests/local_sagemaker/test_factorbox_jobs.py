"""factorbox itself in jobs of the local SageMaker: bad records in each mode, filters and a join."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from factorbox_jobs_support import BUCKET, train, transform
from local_sagemaker import LocalSageMaker

ROWS = "\n".join(["user_id,item_id", *(f"u{u},i{(u * k) % 7}" for u in range(20) for k in range(1, 4))])


@pytest.fixture(scope="module")
def local() -> Iterator[LocalSageMaker]:
    with LocalSageMaker(runner="process", bucket=BUCKET, quiet=True) as running:
        running.client("s3").put_object(Bucket=BUCKET, Key="training/rows.csv", Body=ROWS.encode())
        yield running


@pytest.fixture(scope="module")
def model(local: LocalSageMaker) -> str:
    train(local, "model")
    return "model"


def test_a_bad_record_fails_the_object_and_the_log_names_it(local: LocalSageMaker, model: str) -> None:
    status, output = transform(local, model, "strict", '{"user_id": "u1"}\n{"user_id": "u2", "top_n": 0}\n')
    assert (status, output) == ("Failed", "")
    logs = local.client("logs")
    group = "/aws/sagemaker/TransformJobs"
    streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix="strict/")["logStreams"]
    messages = [
        event["message"]
        for stream in streams
        for event in logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])["events"]
    ]
    assert any("record 2: top_n 0 is not a whole number" in message for message in messages)


def test_a_marked_bad_record_leaves_the_others_alone(local: LocalSageMaker, model: str) -> None:
    body = '{"user_id": "u1", "top_n": 1}\n{"user_id": "u2", "top_n": 0}\n{"user_id": "u3", "top_n": 1}\n'
    status, output = transform(local, model, "marked", body, Environment={"BAD_RECORDS": "mark"})
    assert status == "Completed"
    answers = [json.loads(line) for line in output.splitlines()]
    assert [answer["user_id"] for answer in answers] == ["u1", "u2", "u3"]
    assert answers[1]["error"]["field"] == "top_n"


def test_input_is_filtered_and_joined_with_the_answers(local: LocalSageMaker, model: str) -> None:
    body = (
        '{"id": 7, "request": {"user_id": "u1", "top_n": 1}}\n{"id": 8, "request": {"user_id": "nobody", "top_n": 2}}\n'
    )
    processing = {"InputFilter": "$.request", "JoinSource": "Input", "OutputFilter": "$['id','SageMakerOutput']"}
    status, output = transform(local, model, "joined", body, DataProcessing=processing)
    assert status == "Completed"
    answers = [json.loads(line) for line in output.splitlines()]
    assert [answer["id"] for answer in answers] == [7, 8]
    assert [len(answer["SageMakerOutput"]["recommendations"]) for answer in answers] == [1, 2]
    assert answers[1]["SageMakerOutput"]["known_user"] is False
