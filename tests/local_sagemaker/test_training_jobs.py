from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from moto.cloudwatch.models import MetricDatum, cloudwatch_backends

from local_sagemaker.errors import ServiceError
from local_sagemaker.orphans import Session
from local_sagemaker.state import ACCOUNT
from local_sagemaker.storage import Storage
from training_job_support import (
    REGION,
    ROLE,
    Trainer,
    archive_content,
    channel,
    clean_moto,
    get,
    log_lines,
    make_bucket,
    put,
)

MODEL = "s3://bkt/out/job/output/model.tar.gz"
OUTPUT = "s3://bkt/out/job/output/output.tar.gz"

SAVE = "(base / 'model/weights').write_text('trained')\n"
SAVE_AT_SIGTERM = """
def save(*_):
    (base / "model/weights").write_text("half")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print("ready")
time.sleep(600)
"""
IGNORE_SIGTERM = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready")
time.sleep(600)
"""
REPORT_CHANNELS = """
files = {str(path.relative_to(base / "input/data")): path.read_text() if path.is_file() else None
         for path in sorted((base / "input/data").rglob("*"))}
(base / "output/data/files").write_text(json.dumps(files))
config = {path.name: json.loads(path.read_text()) for path in (base / "input/config").iterdir()}
(base / "output/data/config").write_text(json.dumps(config))
(base / "output/data/environment").write_text(json.dumps(dict(os.environ)))
(base / "output/data/arguments").write_text(json.dumps(sys.argv))
"""

Start = Callable[..., Trainer]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    session = Session(tmp_path_factory.mktemp("sessions"))
    yield session
    session.close()


@pytest.fixture
def start(tmp_path: Path, session: Session) -> Iterator[Start]:
    """Return what makes a trainer whose container runs the given code."""
    trainers = []

    def trainer(train: str, **files: str) -> Trainer:
        trainers.append(Trainer(tmp_path, session=session, train=train, files=files))
        return trainers[-1]

    with clean_moto():
        make_bucket()
        yield trainer
        for made in trainers:
            made.jobs.close()


def report(name: str) -> Any:
    return json.loads(archive_content(OUTPUT)[name])


def statuses(description: dict[str, Any]) -> list[tuple[str, str]]:
    return [(entry["Status"], entry["StatusMessage"]) for entry in description["SecondaryStatusTransitions"]]


def test_a_job_trains_and_stores_its_model(start: Start) -> None:
    trainer = start(SAVE + "(base / 'output/data/report').write_text('fine')")
    arn = trainer.create("Job-A", OutputDataConfig={"S3OutputPath": "s3://bkt/out/"})
    assert arn == f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:training-job/job-a"
    described = trainer.finished("Job-A")
    assert described["TrainingJobStatus"] == described["SecondaryStatus"] == "Completed"
    assert "FailureReason" not in described
    assert described["ModelArtifacts"] == {"S3ModelArtifacts": "s3://bkt/out/Job-A/output/model.tar.gz"}
    assert archive_content("s3://bkt/out/Job-A/output/model.tar.gz") == {"weights": b"trained"}
    assert archive_content("s3://bkt/out/Job-A/output/output.tar.gz") == {"report": b"fine"}
    trainer.jobs.close()
    assert list(trainer.workspace.iterdir()) == []


def test_the_transitions_have_the_texts_and_the_times_of_aws(start: Start) -> None:
    trainer = start(SAVE)
    trainer.create()
    described = trainer.finished()
    assert statuses(described) == [
        ("Starting", "Preparing the instances for training"),
        ("Downloading", "Downloading input data"),
        ("Training", "Training image download completed. Training in progress."),
        ("Uploading", "Uploading generated training model"),
        ("Completed", "Training job completed"),
    ]
    transitions = described["SecondaryStatusTransitions"]
    for entry, following in pairwise(transitions):
        assert entry["StartTime"] <= entry["EndTime"] == following["StartTime"]
    assert described["CreationTime"] <= described["TrainingStartTime"] <= described["TrainingEndTime"]
    assert described["TrainingTimeInSeconds"] >= 1
    assert described["BillableTimeInSeconds"] >= 1


def test_a_running_job_is_in_progress_and_names_no_artifacts(start: Start) -> None:
    trainer = start(SAVE_AT_SIGTERM)
    trainer.create()
    trainer.wait_for_line("ready")
    described = trainer.describe()
    assert (described["TrainingJobStatus"], described["SecondaryStatus"]) == ("InProgress", "Training")
    assert not {"ModelArtifacts", "TrainingEndTime", "FailureReason", "FinalMetricDataList"} & described.keys()
    assert "EndTime" not in described["SecondaryStatusTransitions"][-1]


def test_what_aws_fills_in_is_described(start: Start) -> None:
    trainer = start(SAVE)
    put("s3://bkt/data/a")
    trainer.create(
        InputDataConfig=[channel("training", "s3://bkt/data", ContentType="text/csv")],
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1},
        HyperParameters={"factors": "8"},
        Environment={"A": "1"},
        StoppingCondition={},
    )
    described = trainer.finished()
    assert described["InputDataConfig"] == [
        channel("training", "s3://bkt/data", ContentType="text/csv", CompressionType="None", RecordWrapperType="None")
    ]
    assert described["OutputDataConfig"] == {"KmsKeyId": "", "S3OutputPath": "s3://bkt/out"}
    assert described["ResourceConfig"]["VolumeSizeInGB"] == 30
    assert described["StoppingCondition"] == {"MaxRuntimeInSeconds": 86_400}
    assert described["HyperParameters"] == {"factors": "8"}
    assert described["Environment"] == {"A": "1"}
    assert described["AlgorithmSpecification"]["TrainingImage"] == "image"
    assert described["EnableNetworkIsolation"] is False
    assert described["EnableManagedSpotTraining"] is False
    assert described["EnableInterContainerTrafficEncryption"] is False
    assert "VpcConfig" not in described
    assert "CheckpointConfig" not in described


def test_a_job_without_channels_describes_an_empty_list(start: Start) -> None:
    trainer = start(REPORT_CHANNELS)
    trainer.create()
    assert trainer.finished()["InputDataConfig"] == []
    assert report("config")["inputdataconfig.json"] == {}
    assert report("config")["hyperparameters.json"] == {}


def test_an_empty_model_folder_gives_a_completed_job_without_an_archive(start: Start) -> None:
    trainer = start("print('nothing to save')")
    trainer.create()
    described = trainer.finished()
    assert described["TrainingJobStatus"] == "Completed"
    assert described["ModelArtifacts"] == {"S3ModelArtifacts": MODEL}
    assert Storage().list_prefix("s3://bkt/out") == []


def test_a_model_can_be_stored_uncompressed(start: Start) -> None:
    trainer = start(SAVE + "(base / 'model/sub').mkdir(); (base / 'model/sub/x').write_text('y')")
    trainer.create(OutputDataConfig={"S3OutputPath": "s3://bkt/out", "CompressionType": "NONE"})
    prefix = trainer.finished()["ModelArtifacts"]["S3ModelArtifacts"]
    assert prefix == "s3://bkt/out/job/output/model/"
    assert [entry.name for entry in Storage().list_prefix(prefix)] == ["sub/x", "weights"]


def test_links_out_of_the_container_are_not_followed(start: Start, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("private")
    trainer = start(
        f"os.symlink({str(tmp_path / 'secret')!r}, base / 'model/link')\n"
        f"os.symlink({str(tmp_path / 'secret')!r}, base / 'output/failure')\nsys.exit(1)"
    )
    trainer.create(OutputDataConfig={"S3OutputPath": "s3://bkt/out", "CompressionType": "NONE"})
    assert trainer.finished()["FailureReason"] == "AlgorithmError: , exit code: 1"
    assert Storage().list_prefix("s3://bkt/out") == []


@pytest.mark.parametrize("compression", ["NONE", "GZIP"])
@pytest.mark.parametrize("linked", [("model", "output/data", "checkpoints"), ("output",)])
def test_links_in_place_of_the_folders_are_not_followed(
    start: Start, tmp_path: Path, compression: str, linked: tuple[str, ...]
) -> None:
    (tmp_path / "secret/data").mkdir(parents=True)
    for name in ("file", "failure", "data/file"):
        (tmp_path / "secret" / name).write_text("private")
    trainer = start(
        f"import shutil\nfor name in {linked!r}:\n"
        "    shutil.rmtree(base / name, ignore_errors=True)\n"
        f"    os.symlink({str(tmp_path / 'secret')!r}, base / name)\n"
    )
    trainer.create(
        OutputDataConfig={"S3OutputPath": "s3://bkt/out", "CompressionType": compression},
        CheckpointConfig={"S3Uri": "s3://bkt/checkpoints"},
    )
    assert trainer.finished()["TrainingJobStatus"] == "Completed"
    assert Storage().list_prefix("s3://bkt/") == []


def test_a_failure_file_behind_a_link_is_not_read(start: Start, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/failure").write_text("private")
    trainer = start(
        "import shutil\nshutil.rmtree(base / 'output')\n"
        f"os.symlink({str(tmp_path / 'secret')!r}, base / 'output')\nsys.exit(1)"
    )
    trainer.create()
    assert trainer.finished()["FailureReason"] == "AlgorithmError: , exit code: 1"


def test_the_failure_file_is_the_failure_reason(start: Start) -> None:
    trainer = start(
        "(base / 'output/failure').write_text('users.csv line 3: no user\\n')\n"
        "(base / 'output/data/trace').write_text('details')\n" + SAVE + "sys.exit(3)"
    )
    trainer.create()
    described = trainer.finished()
    assert described["TrainingJobStatus"] == described["SecondaryStatus"] == "Failed"
    assert described["FailureReason"] == "AlgorithmError: users.csv line 3: no user, exit code: 3"
    assert statuses(described)[-2:] == [
        ("Uploading", "Uploading generated training model"),
        ("Failed", "Training job failed"),
    ]
    assert "ModelArtifacts" not in described
    assert not Storage().exists(MODEL)
    assert archive_content(OUTPUT) == {"trace": b"details"}


def test_a_long_failure_file_is_cut_to_what_aws_keeps(start: Start) -> None:
    trainer = start("(base / 'output/failure').write_text('é' * 5000); sys.exit(1)")
    trainer.create()
    reason = trainer.finished()["FailureReason"]
    assert reason.startswith("AlgorithmError: ééé")
    assert reason.endswith("é, exit code: 1")
    assert len(reason) <= 1024


def test_without_a_failure_file_the_exit_code_is_the_reason(start: Start) -> None:
    trainer = start("sys.exit(5)")
    trainer.create()
    assert trainer.finished()["FailureReason"] == "AlgorithmError: , exit code: 5"


def test_a_container_that_was_killed_fails_with_137(start: Start) -> None:
    trainer = start("os.kill(os.getpid(), signal.SIGKILL)")
    trainer.create()
    described = trainer.finished()
    assert described["TrainingJobStatus"] == "Failed"
    assert described["FailureReason"].startswith("AlgorithmError: The container was killed by SIGKILL")
    assert described["FailureReason"].endswith(", exit code: 137")


def test_an_entry_point_that_cannot_be_run_fails_the_job_and_is_named(start: Start) -> None:
    trainer = start(SAVE)
    trainer.create(
        AlgorithmSpecification={
            "TrainingImage": "image",
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["/image/only/start"],
        }
    )
    described = trainer.finished()
    assert described["TrainingJobStatus"] == "Failed"
    assert "/image/only/start" in described["FailureReason"]
    trainer.jobs.close()
    assert list(trainer.workspace.iterdir()) == []


def test_a_stopped_job_keeps_the_model_that_it_saved_at_sigterm(start: Start) -> None:
    trainer = start(SAVE_AT_SIGTERM)
    trainer.create()
    trainer.wait_for_line("ready")
    assert trainer.jobs.stop({"TrainingJobName": "job"}) == {}
    assert trainer.describe()["TrainingJobStatus"] in ("Stopping", "Stopped")
    described = trainer.finished()
    assert described["TrainingJobStatus"] == described["SecondaryStatus"] == "Stopped"
    assert "FailureReason" not in described
    assert [status for status, _ in statuses(described)][-3:] == ["Stopping", "Uploading", "Stopped"]
    assert described["ModelArtifacts"] == {"S3ModelArtifacts": MODEL}
    assert archive_content(MODEL) == {"weights": b"half"}


def test_a_job_that_is_stopped_is_stopped_whatever_its_exit_code(start: Start) -> None:
    trainer = start("print('ready'); time.sleep(600)")
    trainer.create()
    trainer.wait_for_line("ready")
    trainer.jobs.stop({"TrainingJobName": "job"})
    trainer.jobs.stop({"TrainingJobName": "job"})
    described = trainer.finished()
    assert described["TrainingJobStatus"] == "Stopped"
    assert "FailureReason" not in described


def test_a_job_that_is_stopped_before_its_container_starts_never_starts_it(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("s3://bkt/data/a")
    trainer = start(SAVE)
    stopped = threading.Event()
    monkeypatch.setattr("local_sagemaker.channels.download", lambda *_, **__: stopped.wait(60))
    trainer.create(InputDataConfig=[channel("training", "s3://bkt/data")])
    trainer.jobs.stop({"TrainingJobName": "job"})
    assert trainer.describe()["TrainingJobStatus"] == "Stopping"
    stopped.set()
    described = trainer.finished()
    assert described["TrainingJobStatus"] == "Stopped"
    assert [status for status, _ in statuses(described)][-2:] == ["Stopping", "Stopped"]
    assert "ModelArtifacts" not in described
    with pytest.raises(KeyError):
        log_lines("job")


def test_a_fault_of_the_local_sagemaker_is_seen_in_the_job(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("no way")

    trainer = start(SAVE)
    monkeypatch.setattr("local_sagemaker.training_output.upload_model", broken)
    trainer.create()
    described = trainer.finished()
    assert described["TrainingJobStatus"] == "Failed"
    assert described["FailureReason"] == (
        "InternalServerError: the local SageMaker could not run the job: ZeroDivisionError: no way"
    )
    assert "training job job could not be run" in caplog.text
    trainer.jobs.close()
    assert list(trainer.workspace.iterdir()) == []


def test_a_finished_job_cannot_be_stopped(start: Start) -> None:
    trainer = start(SAVE)
    trainer.create()
    trainer.finished()
    with pytest.raises(ServiceError, match="because the training job is in status Completed") as error:
        trainer.jobs.stop({"TrainingJobName": "job"})
    assert error.value.code == "ValidationException"


def test_a_job_that_takes_too_long_is_stopped_and_keeps_its_model(start: Start) -> None:
    trainer = start(SAVE_AT_SIGTERM)
    trainer.create(StoppingCondition={"MaxRuntimeInSeconds": 1})
    described = trainer.finished()
    assert described["TrainingJobStatus"] == "Stopped"
    assert described["SecondaryStatus"] == "MaxRuntimeExceeded"
    assert "FailureReason" not in described
    assert archive_content(MODEL) == {"weights": b"half"}


def test_closing_ends_jobs_that_ignore_sigterm(start: Start, monkeypatch: pytest.MonkeyPatch, session: Session) -> None:
    monkeypatch.setattr("local_sagemaker.training_jobs._GRACE_SECONDS_AT_CLOSE", 0.1)
    trainer = start(IGNORE_SIGTERM)
    trainer.create("patient")
    trainer.create("stopping")
    trainer.wait_for_line("ready", "patient")
    trainer.wait_for_line("ready", "stopping")
    trainer.jobs.stop({"TrainingJobName": "stopping"})
    trainer.jobs.close()
    assert trainer.describe("patient")["TrainingJobStatus"] == "Stopped"
    assert trainer.describe("stopping")["TrainingJobStatus"] == "Stopped"
    assert list(trainer.workspace.iterdir()) == []


def test_the_log_is_live_and_then_complete(start: Start) -> None:
    trainer = start(
        "print('first'); print('to stderr', file=sys.stderr)\n"
        "while not (base / 'go').exists(): time.sleep(0.01)\n"
        "for i in range(2000): print('line', i)\n"
        "sys.stdout.write('no newline at the end')"
    )
    trainer.create()
    trainer.wait_for_line("to stderr")
    assert log_lines("job") == ["first", "to stderr"]
    (folder,) = trainer.workspace.iterdir()
    (folder / "ml/go").touch()
    trainer.finished()
    assert log_lines("job")[2:] == [*(f"line {i}" for i in range(2000)), "no newline at the end"]


def test_metrics_in_the_log_are_published_and_described(start: Start) -> None:
    trainer = start("for i in (1, 2, 3): print(f'epoch={i}; train_loss={1 / i};')")
    trainer.create(
        AlgorithmSpecification={
            "TrainingImage": "image",
            "TrainingInputMode": "File",
            "MetricDefinitions": [
                {"Name": "train:loss", "Regex": "train_loss=(.*?);"},
                {"Name": "absent", "Regex": "absent=(.*?);"},
            ],
        }
    )
    final = trainer.finished()["FinalMetricDataList"]
    assert [(entry["MetricName"], entry["Value"]) for entry in final] == [("train:loss", 1 / 3)]
    published = [m for m in cloudwatch_backends[ACCOUNT][REGION].metric_data if isinstance(m, MetricDatum)]
    assert [metric.value for metric in published] == [1.0, 0.5, 1 / 3]
    assert {(d.name, d.value) for metric in published for d in metric.dimensions} == {("TrainingJobName", "job")}


def test_channels_hold_the_objects_under_the_names_of_the_contract(start: Start) -> None:
    for key in ("data/train/a.csv", "data/train/sub/b.csv", "data/train_old/c.csv", "data/test.csv", "one.csv"):
        put(f"s3://bkt/{key}", key)
    put("s3://bkt/data/train/empty/", b"")
    put("s3://bkt/m", json.dumps([{"prefix": "s3://bkt/data/"}, "test.csv", "train/a.csv"]))
    trainer = start(REPORT_CHANNELS)
    trainer.create(
        InputDataConfig=[
            channel("nested", "s3://bkt/data/train/"),
            channel("partial", "s3://bkt/data/tr"),
            channel("no-slash", "s3://bkt/data/train"),
            channel("exact", "s3://bkt/one.csv"),
            channel("manifest", "s3://bkt/m", S3DataType="ManifestFile"),
            channel("shard", "s3://bkt/data/train/", S3DataDistributionType="ShardedByS3Key"),
        ]
    )
    assert trainer.finished()["TrainingJobStatus"] == "Completed"
    files = {name: content for name, content in report("files").items() if content is not None}
    nested = {"a.csv": "data/train/a.csv", "sub/b.csv": "data/train/sub/b.csv"}
    assert files == {
        **{f"nested/{name}": content for name, content in nested.items()},
        **{f"shard/{name}": content for name, content in nested.items()},
        **{f"no-slash/{name}": content for name, content in nested.items()},
        "no-slash/train_old/c.csv": "data/train_old/c.csv",
        "partial/train/a.csv": "data/train/a.csv",
        "partial/train/sub/b.csv": "data/train/sub/b.csv",
        "partial/train_old/c.csv": "data/train_old/c.csv",
        "exact/one.csv": "one.csv",
        "manifest/test.csv": "data/test.csv",
        "manifest/train/a.csv": "data/train/a.csv",
    }
    assert "nested/empty" in report("files")


def test_the_configuration_files_say_what_aws_says(start: Start) -> None:
    put("s3://bkt/data/a")
    trainer = start(REPORT_CHANNELS)
    trainer.create(
        HyperParameters={"factors": "32", "name": "é"},
        InputDataConfig=[
            channel("training", "s3://bkt/data", ContentType="text/csv"),
            channel("other", "s3://bkt/data", InputMode="FastFile", S3DataDistributionType="ShardedByS3Key"),
        ],
    )
    trainer.finished()
    config = report("config")
    assert config["hyperparameters.json"] == {"factors": "32", "name": "é"}
    assert config["inputdataconfig.json"] == {
        "training": {
            "TrainingInputMode": "File",
            "S3DistributionType": "FullyReplicated",
            "RecordWrapperType": "None",
            "ContentType": "text/csv",
        },
        "other": {
            "TrainingInputMode": "FastFile",
            "S3DistributionType": "ShardedByS3Key",
            "RecordWrapperType": "None",
        },
    }
    assert config["resourceconfig.json"] == {
        "current_host": "algo-1",
        "current_instance_type": "ml.m5.large",
        "current_group_name": "homogeneousCluster",
        "hosts": ["algo-1"],
        "instance_groups": [
            {"instance_group_name": "homogeneousCluster", "instance_type": "ml.m5.large", "hosts": ["algo-1"]}
        ],
        "network_interface_name": "lo",
    }
    assert "checkpointconfig.json" not in config


def test_the_container_gets_the_variables_of_the_contract_and_of_the_request(start: Start) -> None:
    trainer = start(REPORT_CHANNELS)
    trainer.state.url = "http://127.0.0.1:1"
    arn = trainer.create(Environment={"MINE": "1", "TRAINING_JOB_NAME": "another"})
    trainer.finished()
    environment = report("environment")
    assert environment["MINE"] == "1"
    assert environment["TRAINING_JOB_NAME"] == "job"
    assert environment["TRAINING_JOB_ARN"] == arn
    assert environment["AWS_REGION"] == REGION
    assert environment["AWS_ENDPOINT_URL"] == "http://127.0.0.1:1"
    assert environment["AWS_ACCESS_KEY_ID"] == "test"
    assert report("arguments")[1:] == []


def test_an_isolated_container_gets_no_credentials(start: Start) -> None:
    trainer = start(REPORT_CHANNELS)
    trainer.state.url = "http://127.0.0.1:1"
    trainer.create(EnableNetworkIsolation=True)
    assert trainer.finished()["EnableNetworkIsolation"] is True
    assert [name for name in report("environment") if name.startswith("AWS_")] == ["AWS_REGION"]


def test_entry_point_and_arguments_of_the_request_are_run(start: Start) -> None:
    trainer = start("sys.exit('not this one')", other=REPORT_CHANNELS)
    trainer.create(
        AlgorithmSpecification={
            "TrainingImage": "image",
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["other", "--fast"],
            "ContainerArguments": ["go", "two words"],
        }
    )
    trainer.finished()
    assert report("arguments")[1:] == ["--fast", "go", "two words"]


def test_checkpoints_come_in_before_and_go_back_after(start: Start) -> None:
    put("s3://bkt/kept/epoch-1", "one")
    put("s3://bkt/kept_not/epoch-9", "nine")
    trainer = start(
        "folder = Path(json.loads((base / 'input/config/checkpointconfig.json').read_text())['LocalPath'])\n"
        "print(sorted(path.name for path in folder.iterdir()))\n"
        "(folder / 'sub').mkdir(); (folder / 'sub/epoch-2').write_text('two')"
    )
    trainer.create(CheckpointConfig={"S3Uri": "s3://bkt/kept", "LocalPath": "/opt/ml/checkpoints/"})
    assert trainer.finished()["TrainingJobStatus"] == "Completed"
    assert log_lines("job") == ["['epoch-1']"]
    assert get("s3://bkt/kept/epoch-1") == b"one"
    assert get("s3://bkt/kept/sub/epoch-2") == b"two"


def test_objects_that_no_folder_can_hold_together_fail_the_job_and_are_named(start: Start) -> None:
    put("s3://bkt/data/a")
    put("s3://bkt/data/a/b")
    trainer = start(SAVE)
    trainer.create(InputDataConfig=[channel("training", "s3://bkt/")])
    described = trainer.finished()
    assert described["TrainingJobStatus"] == "Failed"
    assert described["FailureReason"].startswith("ClientError: Data download failed: s3://bkt/data/a/b of channel")


def test_the_name_of_a_job_is_never_given_twice(start: Start) -> None:
    trainer = start(SAVE)
    trainer.create()
    with pytest.raises(ServiceError) as error:
        trainer.create()
    assert error.value.code == "ResourceInUse"
    trainer.finished()
    with pytest.raises(ServiceError) as error:
        trainer.create()
    assert error.value.code == "ResourceInUse"


def test_a_prefix_without_objects_is_refused_at_the_call(start: Start) -> None:
    trainer = start(SAVE)
    with pytest.raises(ServiceError) as error:
        trainer.create(InputDataConfig=[channel("training", "s3://bkt/nothing")])
    assert error.value.code == "ValidationException"
    assert error.value.message.startswith('No S3 objects found under S3 URL "s3://bkt/nothing" given in input data')
    assert f'the role "{ROLE}" has "s3:ListBucket" permissions on bucket "bkt".' in error.value.message
    with pytest.raises(ServiceError, match="Requested resource not found"):
        trainer.describe()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2}}, "ResourceConfig.InstanceCount 2"),
        ({"ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 0}}, "ResourceConfig.InstanceCount 0"),
        ({"ResourceConfig": {"InstanceGroups": [{}]}}, "ResourceConfig.InstanceGroups"),
        ({"ResourceConfig": {"InstanceCount": 1}}, "ResourceConfig.InstanceType is missing"),
        ({"AlgorithmSpecification": {"TrainingInputMode": "File"}}, "TrainingImage is missing"),
        (
            {"AlgorithmSpecification": {"TrainingInputMode": "File", "AlgorithmName": "a"}},
            "AlgorithmSpecification.AlgorithmName",
        ),
        ({"InputDataConfig": [channel("x", "s3://bkt/data", InputMode="Pipe")]}, 'InputMode Pipe of channel "x"'),
        ({"InputDataConfig": [channel("x", "s3://bkt/data", CompressionType="Gzip")]}, "CompressionType Gzip"),
        ({"InputDataConfig": [channel("x", "s3://bkt/data", RecordWrapperType="RecordIO")]}, "RecordWrapperType"),
        (
            {"InputDataConfig": [channel("x", "s3://bkt/data", S3DataType="AugmentedManifestFile")]},
            "S3DataType AugmentedManifestFile",
        ),
        (
            {"InputDataConfig": [{"ChannelName": "x", "DataSource": {"FileSystemDataSource": {}}}]},
            'FileSystemDataSource of channel "x"',
        ),
        ({"InputDataConfig": [channel("x", "s3://bkt/data")] * 2}, 'the channel "x" more than once'),
        ({"InputDataConfig": [channel("x", "s3://bkt/evil")]}, "leads out of the folder"),
        ({"OutputDataConfig": {"S3OutputPath": "s3://nowhere/out"}}, 'The bucket "nowhere"'),
        ({"OutputDataConfig": {"S3OutputPath": "/tmp/out"}}, "is no S3 URI"),
        ({"EnableManagedSpotTraining": True}, "MaxWaitTimeInSeconds is missing"),
        (
            {
                "EnableManagedSpotTraining": True,
                "StoppingCondition": {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 59},
            },
            "MaxWaitTimeInSeconds 59 is below MaxRuntimeInSeconds 60",
        ),
        ({"CheckpointConfig": {"S3Uri": "s3://bkt/c", "LocalPath": "/elsewhere"}}, "CheckpointConfig.LocalPath"),
        ({"TensorBoardOutputConfig": {"S3OutputPath": "s3://bkt/t"}}, "TensorBoardOutputConfig"),
        ({"RemoteDebugConfig": {"EnableRemoteDebug": True}}, "RemoteDebugConfig.EnableRemoteDebug"),
        (
            {
                "AlgorithmSpecification": {
                    "TrainingImage": "i",
                    "TrainingInputMode": "File",
                    "MetricDefinitions": [{"Name": "m", "Regex": "["}],
                }
            },
            'of the metric "m" is no regular expression',
        ),
    ],
)
def test_what_is_not_done_is_refused_by_name_and_leaves_no_job(
    start: Start, changes: dict[str, Any], words: str
) -> None:
    put("s3://bkt/data/a")
    put("s3://bkt/evil/../../escape")
    trainer = start(SAVE)
    with pytest.raises(ServiceError) as error:
        trainer.create(**changes)
    assert error.value.code == "ValidationException"
    assert words in error.value.message
    assert trainer.jobs.list_jobs({})["TrainingJobSummaries"] == []


def test_an_unknown_job_is_not_found(start: Start) -> None:
    trainer = start(SAVE)
    for operation in (trainer.jobs.describe, trainer.jobs.stop):
        with pytest.raises(ServiceError) as error:
            operation({"TrainingJobName": "unknown"})
        assert (error.value.code, error.value.message) == ("ValidationException", "Requested resource not found.")


def test_ten_jobs_run_at_once(start: Start) -> None:
    # Each waits for all the others: run one after the other, none would ever end.
    put("s3://bkt/data/a")
    trainer = start(
        "meeting = base.parent.parent.parent / 'meeting'\n"
        "meeting.mkdir(exist_ok=True)\n"
        "(meeting / os.environ['TRAINING_JOB_NAME']).touch()\n"
        "while len(list(meeting.iterdir())) < 10: time.sleep(0.02)\n"
        "(base / 'model/name').write_text(os.environ['TRAINING_JOB_NAME'])\n"
    )
    names = [f"job-{number}" for number in range(10)]
    for name in names:
        trainer.create(name, InputDataConfig=[channel("training", "s3://bkt/data")])
    for name in names:
        assert trainer.finished(name)["TrainingJobStatus"] == "Completed"
        assert archive_content(f"s3://bkt/out/{name}/output/model.tar.gz") == {"name": name.encode()}
    page = trainer.jobs.list_jobs({"MaxResults": 4, "StatusEquals": "Completed"})
    assert [summary["TrainingJobName"] for summary in page["TrainingJobSummaries"]] == names[:4]
    assert page["TrainingJobSummaries"][0]["TrainingEndTime"]
    assert "NextToken" in page


def test_tags_of_the_request_are_kept(start: Start) -> None:
    trainer = start(SAVE)
    arn = trainer.create(Tags=[{"Key": "team", "Value": "films"}])
    assert trainer.state.tags[arn] == {"team": "films"}


def test_a_job_on_spot_instances_runs_and_is_described_as_such(start: Start) -> None:
    trainer = start(SAVE)
    trainer.create(
        EnableManagedSpotTraining=True,
        StoppingCondition={"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 120},
    )
    described = trainer.finished()
    assert described["TrainingJobStatus"] == "Completed"
    assert described["EnableManagedSpotTraining"] is True
    assert described["StoppingCondition"] == {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 120}


def test_every_operation_is_there_by_its_name(start: Start) -> None:
    assert set(start(SAVE).jobs.operations()) == {
        "CreateTrainingJob",
        "DescribeTrainingJob",
        "ListTrainingJobs",
        "StopTrainingJob",
    }
