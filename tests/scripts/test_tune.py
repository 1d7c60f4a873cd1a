"""The search in a SageMaker whose jobs end at once, with the values that the test says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.session import get_session
from botocore.validate import validate_parameters
from moto import mock_aws

import tune
from factorbox.training.search_spaces import SEARCH_SPACES
from fake_sagemaker import BUCKET, WORK, FakeSageMaker, refusal
from pipeline_steps.arguments import given_pairs, hyperparameters
from pipeline_steps.aws import Clients
from pipeline_steps.options import read_options
from pipeline_steps.tuning import write_json

ROLE = "arn:aws:iam::123456789012:role/a-role"
NDCG = "validation:ndcg@10"


class Judging(FakeSageMaker):
    """Gives each job the metrics that `judge` says of its hyperparameters; where that raises, the job fails."""

    judge: Callable[[Mapping[str, str]], dict[str, float]] = staticmethod(lambda given: {NDCG: 0.25})

    def create_training_job(self, **request: Any) -> None:
        try:
            self.metrics = self.judge(request["HyperParameters"])
            self.training_ends = ("Completed", "")
        except ValueError as error:
            self.training_ends = ("Failed", str(error))
        super().create_training_job(**request)

    def tried(self) -> list[dict[str, str]]:
        """Return the hyperparameters of all jobs, in order."""
        return [request["HyperParameters"] for _, request in self.requests]


@dataclass
class Cloud:
    """The cloud of one test, with a short way to search in it."""

    sagemaker: Judging
    s3: Any
    folder: Path

    @property
    def best(self) -> Path:
        return self.folder / "hyperparameters.json"

    def tune(self, *arguments: str) -> int:
        data = self.folder / "rows.csv"
        data.write_text("user_id,item_id\n007,1\n")
        common = ["--role", ROLE, "--image", "an-image", "--s3", WORK, "--name", "now", "--output", str(self.best)]
        return tune.main(["--training", str(data), *common, *arguments])

    def objects(self) -> list[str]:
        return [entry["Key"] for entry in self.s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


@pytest.fixture(scope="module")
def services() -> Iterator[dict[str, Any]]:
    """Clients of services that only this process has; to make them takes a second."""
    with mock_aws():
        names = ("s3", "logs", "iam", "sts")
        yield {name: boto3.client(name, region_name="us-east-1") for name in names}


@pytest.fixture
def cloud(services: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    s3, logs = services["s3"], services["logs"]
    s3.create_bucket(Bucket=BUCKET)
    sagemaker = Judging(s3, logs)
    monkeypatch.setattr(Clients, "connect", lambda **_: Clients(sagemaker=sagemaker, **services))
    yield Cloud(sagemaker, s3, tmp_path)
    for entry in s3.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        s3.delete_object(Bucket=BUCKET, Key=entry["Key"])
    s3.delete_bucket(Bucket=BUCKET)
    for group in logs.describe_log_groups()["logGroups"]:
        logs.delete_log_group(logGroupName=group["logGroupName"])


def by_dimension(given: Mapping[str, str]) -> dict[str, float]:
    """Judge a job by its dimension: 64 is best, and the default is said to be bad."""
    return {NDCG: 1 / (1 + abs(int(given["embedding_dim"]) - 64)) if "embedding_dim" in given else 0.001}


def test_the_best_trial_is_written_and_its_lines_are_printed(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.sagemaker.judge = by_dimension
    assert cloud.tune("--trials", "6", "--hyperparameters", "epochs=3") == 0
    tried = cloud.sagemaker.tried()
    beside = {"refit": "false", "write_requests": "false", "_tuning_objective_metric": NDCG}
    assert tried[0] == {"algorithm": "als", "epochs": "3", **beside}
    searched = SEARCH_SPACES["als"].keys() - {"epochs"}
    assert all(one.keys() == tried[0].keys() | searched and one["epochs"] == "3" for one in tried[1:])
    values = [by_dimension(one)[NDCG] for one in tried]
    best = values.index(max(values))
    written = json.loads(cloud.best.read_text())
    assert written == {name: value for name, value in tried[best].items() if name not in beside}
    printed = capsys.readouterr().out
    assert f"trial 1 of 6: {NDCG}=0.001, the best so far; 0 s; defaults\n" in printed
    assert printed.count("\ntrial ") == 6
    assert f"Best: trial {best + 1}, {NDCG}={max(values):.6g}; its hyperparameters: {cloud.best}\n" in printed
    assert not list(cloud.folder.glob(".*partial"))


def test_the_same_seed_tries_the_same_and_another_one_does_not(cloud: Cloud) -> None:
    cloud.sagemaker.judge = by_dimension
    runs = []
    for name, seed in (("one", "1"), ("again", "1"), ("other", "2")):
        before = len(cloud.sagemaker.requests)
        assert cloud.tune("--trials", "4", "--name", name, "--seed", seed) == 0
        runs.append(cloud.sagemaker.tried()[before:])
    assert runs[0] == runs[1] != runs[2]


def test_a_smaller_error_is_better_for_models_of_ratings(cloud: Cloud) -> None:
    cloud.sagemaker.judge = lambda given: {"validation:rmse": float(given.get("regularization", 9))}
    assert cloud.tune("--algorithm", "explicit", "--trials", "5") == 0
    tried = cloud.sagemaker.tried()
    assert {one["_tuning_objective_metric"] for one in tried} == {"validation:rmse"}
    least = min(float(one["regularization"]) for one in tried[1:])
    assert float(json.loads(cloud.best.read_text())["regularization"]) == least


def test_a_failed_job_is_a_failed_trial_with_sagemakers_reason(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    def judge(given: Mapping[str, str]) -> dict[str, float]:
        if len(cloud.sagemaker.requests) in (1, 2):
            raise ValueError("AlgorithmError: the loss became nan")
        return {NDCG: 0.5}

    cloud.sagemaker.judge = judge
    assert cloud.tune("--trials", "5") == 0
    printed = capsys.readouterr().out
    assert printed.count("Failed: AlgorithmError: the loss became nan; embedding_dim=") == 2
    assert f"Best: trial 1, {NDCG}=0.5" in printed
    assert json.loads(cloud.best.read_text()) == {"algorithm": "als"}


def test_a_search_whose_trials_all_fail_ends_after_three(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    def judge(given: Mapping[str, str]) -> dict[str, float]:
        raise ValueError("UserError: rows.csv has no column user_id")

    cloud.sagemaker.judge = judge
    assert cloud.tune("--trials", "20") == 3
    assert len(cloud.sagemaker.requests) == 3
    assert capsys.readouterr().err == (
        "tune: all of the first 3 trials failed, the last one with: UserError: rows.csv has no column user_id\n"
    )
    assert not cloud.best.exists()


def test_a_job_without_the_metric_ends_the_search(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.sagemaker.judge = lambda given: {"train_loss": 0.5}
    assert cloud.tune("--trials", "5") == 3
    assert len(cloud.sagemaker.requests) == 1
    assert f"job now-001 completed without {NDCG} (SageMaker found train_loss in its log)" in capsys.readouterr().err


def test_ctrl_c_stops_what_runs_and_keeps_the_best_so_far(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    def judge(given: Mapping[str, str]) -> dict[str, float]:
        cloud.sagemaker.endless = len(cloud.sagemaker.requests) >= 1
        return {NDCG: 0.5}

    cloud.sagemaker.judge = judge
    # The jobs of trials 2 and 3 never end; describing the first of them is interrupted.
    assert cloud.tune("--trials", "8", "--parallel", "2") == 130
    printed = capsys.readouterr()
    assert cloud.sagemaker.running() == []
    assert "Stopping the training job now-002\n" in printed.out
    assert printed.err == "tune: interrupted\n"


def test_what_is_refused_when_a_job_is_asked_for_stops_the_others_and_is_code_2(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    def judge(given: Mapping[str, str]) -> dict[str, float]:
        if cloud.sagemaker.requests:
            raise refusal("CreateTrainingJob", "the quota of ml.m5.xlarge is 1", code="ResourceLimitExceeded")
        cloud.sagemaker.endless = True
        return {NDCG: 0.5}

    cloud.sagemaker.judge = judge
    assert cloud.tune("--trials", "4", "--parallel", "2") == 2
    assert cloud.sagemaker.running() == []
    printed = capsys.readouterr()
    assert printed.err.endswith("the quota of ml.m5.xlarge is 1 (ResourceLimitExceeded)\n")
    assert printed.out.count("Stopping the training job") == 1


def test_clean_up_leaves_nothing_in_s3_and_the_file_here(cloud: Cloud) -> None:
    assert cloud.tune("--trials", "2", "--clean-up") == 0
    assert cloud.objects() == []
    assert cloud.best.exists()
    assert cloud.tune("--trials", "2", "--name", "kept") == 0
    assert {key.split("/")[2] for key in cloud.objects()} == {"training", "kept-001", "kept-002"}


def test_channels_beside_the_training_data_are_given_to_every_job(cloud: Cloud) -> None:
    for name in ("held-out.csv", "items.csv"):
        (cloud.folder / name).write_text("user_id,item_id\n007,2\n")
    channels = ["--validation", str(cloud.folder / "held-out.csv"), "--items", str(cloud.folder / "items.csv")]
    assert cloud.tune("--trials", "2", *channels) == 0
    for _, request in cloud.sagemaker.requests:
        assert [one["ChannelName"] for one in request["InputDataConfig"]] == ["training", "validation", "items"]
        # Nothing is taken from the training data, so nothing is to be put back.
        assert "refit" not in request["HyperParameters"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--hyperparameters", "epoch=3"], "unknown hyperparameter 'epoch': did you mean 'epochs'"),
        (["--hyperparameters", "validation=none"], "is never logged by this job, since validation=none"),
        (["--metric", "ndcg"], "--metric 'ndcg' is none to search by: take one of validation:ndcg@10, "),
        (["--metric", "validation:rmse"], "needs a model of ratings, and this one ranks only"),
        (["--algorithm", "magic"], "unknown algorithm 'magic'"),
        (["--algorithm", "bpr", "--hyperparameters", "algorithm=als"], "disagree: give one of them"),
        (["--name", "n" * 59], "give at most 58 characters"),
        (["--trials", "0"], "'0' is not a whole number above 0"),
        (["--space", "no-such-file"], "cannot read --space no-such-file"),
        (["--output", "no/such/folder/best.json"], "there is no folder"),
        (["--output", "/dev/null"], "it is there already and is no file"),
        (["--output", str(Path(__file__).parent)], "it is there already and is no file"),
        (["--output", "/proc/best.json"], "cannot write /proc/best.json"),
        (["--hyperparameters", "no-such-file.json"], "is not NAME=VALUE, and there is no such file"),
    ],
)
def test_what_cannot_be_is_refused_before_any_job(
    cloud: Cloud, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    try:
        code = cloud.tune(*arguments)
    except SystemExit as stop:
        code = int(stop.code or 0)
    assert code == 2
    assert message in capsys.readouterr().err
    assert cloud.sagemaker.requests == [] and cloud.objects() == []


def test_a_space_of_ones_own_is_searched_and_what_is_given_is_not(cloud: Cloud) -> None:
    space = {
        "ParameterRanges": {
            "IntegerParameterRanges": [
                {"Name": "embedding_dim", "MinValue": "8", "MaxValue": "9", "ScalingType": "Linear"},
                {"Name": "epochs", "MinValue": "1", "MaxValue": "2", "ScalingType": "Linear"},
            ]
        }
    }
    (cloud.folder / "space.json").write_text(json.dumps(space))
    # By its other name too.
    assert (
        cloud.tune("--trials", "4", "--space", str(cloud.folder / "space.json"), "--hyperparameters", "n_iter=1") == 0
    )
    tried = cloud.sagemaker.tried()
    assert {one["embedding_dim"] for one in tried[1:]} <= {"8", "9"} and "embedding_dim" not in tried[0]
    assert all(one["n_iter"] == "1" and "epochs" not in one for one in tried)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            '{"ContinuousParameterRanges": [{"Name": "embedding_dim", "MinValue": "8", "MaxValue": "9"}]}',
            "is not a whole number",
        ),
        ("[" * 200_000, "it is nested too deeply"),
    ],
    ids=["no whole numbers", "deep"],
)
def test_a_space_whose_trials_would_fail_is_refused(
    cloud: Cloud, capsys: pytest.CaptureFixture[str], space: str, message: str
) -> None:
    (cloud.folder / "space.json").write_text(space)
    assert cloud.tune("--space", str(cloud.folder / "space.json")) == 2
    assert message in capsys.readouterr().err
    assert cloud.sagemaker.requests == []


def test_the_best_is_written_where_a_link_leads(tmp_path: Path) -> None:
    (tmp_path / "kept.json").write_text("{}")
    (tmp_path / "link.json").symlink_to("kept.json")
    write_json(tmp_path / "link.json", {"epochs": "3"})
    assert (tmp_path / "link.json").is_symlink()
    assert json.loads((tmp_path / "kept.json").read_text()) == {"epochs": "3"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept.json", "link.json"]


def test_a_space_of_another_algorithm_is_refused(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    space = {"CategoricalParameterRanges": [{"Name": "batch_size", "Values": ["64"]}]}
    (cloud.folder / "space.json").write_text(json.dumps(space))
    assert cloud.tune("--space", str(cloud.folder / "space.json")) == 2
    assert "batch_size is no hyperparameter of als: search among embedding_dim, " in capsys.readouterr().err


@pytest.mark.parametrize("algorithm", SEARCH_SPACES)
def test_the_ranges_are_a_request_for_a_tuning_job_as_soon_as_it_says_where(
    algorithm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tune.main(["--ranges", "--algorithm", algorithm, "--trials", "30", "--parallel", "3"]) == 0
    request = json.loads(capsys.readouterr().out)
    definition = request["TrainingJobDefinition"]
    definition["AlgorithmSpecification"]["TrainingImage"] = "an-image"
    definition |= {
        "RoleArn": ROLE,
        "OutputDataConfig": {"S3OutputPath": WORK},
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    }
    operation = get_session().get_service_model("sagemaker").operation_model("CreateHyperParameterTuningJob")
    report = validate_parameters({"HyperParameterTuningJobName": "a-search", **request}, operation.input_shape)
    assert report is None
    config = request["HyperParameterTuningJobConfig"]
    named = {one["Name"] for ranges in config["ParameterRanges"].values() for one in ranges}
    assert named == SEARCH_SPACES[algorithm].keys()
    metrics = {one["Name"] for one in definition["AlgorithmSpecification"]["MetricDefinitions"]}
    assert config["HyperParameterTuningJobObjective"]["MetricName"] in metrics
    assert config["ResourceLimits"] == {"MaxNumberOfTrainingJobs": 30, "MaxParallelTrainingJobs": 3}
    # SageMaker keeps the two apart, and refuses what stands in both.
    assert named.isdisjoint(definition["StaticHyperParameters"])


def test_hyperparameters_come_from_a_file_and_what_is_named_behind_it_counts(tmp_path: Path) -> None:
    file = tmp_path / "hyperparameters.json"
    file.write_text(json.dumps({"algorithm": "bpr", "epochs": 7, "exclude_seen": True}))
    given = given_pairs([hyperparameters(str(file)), hyperparameters("epochs=9")])
    assert given == {"algorithm": "bpr", "epochs": "9", "exclude_seen": "true"}
    where = ["--training", "rows.csv", "--all-users", "--image", "any", "--role", ROLE]
    assert read_options([*where, "--hyperparameters", str(file), "epochs=9"]).hyperparameters == given
