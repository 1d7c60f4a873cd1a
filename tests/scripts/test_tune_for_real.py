"""The search with factorbox on a local SageMaker: real jobs, as processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

import tune
from local_sagemaker import LocalSageMaker

BUCKET = "a-bucket"
NDCG = "validation:ndcg@10"
Tune = Callable[..., int]


@pytest.fixture(scope="module")
def local() -> Iterator[LocalSageMaker]:
    with LocalSageMaker(runner="process", bucket=BUCKET, quiet=True) as running:
        yield running


@pytest.fixture
def search(local: LocalSageMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tune:
    for name, value in local.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)

    def search(*arguments: str, users: int) -> int:
        rows = [f"u{user:02},{(user % 2) * 5 + (user + k) % 4},{1 + k}" for user in range(users) for k in range(3)]
        (tmp_path / "rows.csv").write_text("\n".join(["user_id,item_id,total_interactions", *rows]))
        where = ["--s3", f"s3://{BUCKET}/work", "--output", str(tmp_path / "best.json"), "--role", local.role]
        quick = ["--hyperparameters", "epochs=2", "validation=random"]
        return tune.main(["--training", str(tmp_path / "rows.csv"), "--image", "any", *where, *quick, *arguments])

    return search


def test_the_best_of_some_jobs_is_written_and_trains(
    local: LocalSageMaker, search: Tune, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search("--trials", "3", "--parallel", "2", "--name", "a-search", users=60) == 0
    client = local.client("sagemaker")
    described = [client.describe_training_job(TrainingJobName=f"a-search-00{number}") for number in (1, 2, 3)]
    values = [
        next(one["Value"] for one in job["FinalMetricDataList"] if one["MetricName"] == NDCG) for job in described
    ]
    best = json.loads((tmp_path / "best.json").read_text())
    winners = [job["HyperParameters"] for job, value in zip(described, values, strict=True) if value == max(values)]
    assert any(best.items() <= winner.items() for winner in winners)
    assert f"={max(values):.6g}; its hyperparameters: {tmp_path}/best.json\n" in capsys.readouterr().out

    kept = ("AlgorithmSpecification", "RoleArn", "InputDataConfig", "OutputDataConfig", "ResourceConfig")
    request = {**{name: described[0][name] for name in kept}, "StoppingCondition": {"MaxRuntimeInSeconds": 600}}
    client.create_training_job(TrainingJobName="with-the-best", HyperParameters=best, **request)
    client.get_waiter("training_job_completed_or_stopped").wait(
        TrainingJobName="with-the-best", WaiterConfig={"Delay": 1, "MaxAttempts": 200}
    )
    assert client.describe_training_job(TrainingJobName="with-the-best")["TrainingJobStatus"] == "Completed"


def test_data_that_nothing_can_be_held_out_of_fail_with_what_factorbox_says(
    search: Tune, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert search("--trials", "3", "--parallel", "3", users=12) == 3
    printed = capsys.readouterr()
    assert f"the tuning objective {NDCG} is never logged by this job" in printed.err
    assert "all of the first 3 trials failed" in printed.err
    assert not (tmp_path / "best.json").exists()


def test_the_local_sagemaker_refuses_a_tuning_job_by_name(
    local: LocalSageMaker, search: Tune, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune.main(["--ranges"]) == 0
    request = json.loads(capsys.readouterr().out)
    definition = request["TrainingJobDefinition"]
    definition["AlgorithmSpecification"]["TrainingImage"] = "any"
    definition |= {
        "RoleArn": local.role,
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/work"},
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    }
    with pytest.raises(ClientError, match="CreateHyperParameterTuningJob"):
        local.client("sagemaker").create_hyper_parameter_tuning_job(HyperParameterTuningJobName="a-search", **request)
