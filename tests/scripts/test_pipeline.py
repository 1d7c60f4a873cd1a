from __future__ import annotations

import gzip
import io
import json
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

import pipeline
from artifact_support import model_files
from factorbox import artifact
from fake_sagemaker import BUCKET, WORK, FakeSageMaker, archive, manifest, refusal
from pipeline_steps.aws import Clients
from pipeline_steps.errors import InputRefusedError
from pipeline_steps.transform import unpack_requests

ROLE = "arn:aws:iam::123456789012:role/a-role"


@dataclass
class Cloud:
    """The cloud of one test, with a short way to run the pipeline in it."""

    sagemaker: FakeSageMaker
    s3: Any
    folder: Path
    work_is_named: bool = True

    def run(self, *arguments: str) -> int:
        common = ["--role", ROLE, "--image", "an-image", "--output", str(self.folder / "out")]
        return pipeline.main([*common, *(("--s3", WORK) if self.work_is_named else ()), *arguments])

    def train(self, *arguments: str, name: str = "now") -> int:
        data = self.folder / "ratings.csv"
        data.write_text("user_id,item_id\n007,1\n")
        return self.run("--training", str(data), "--all-users", "--name", name, *arguments)

    def objects(self) -> list[str]:
        return [entry["Key"] for entry in self.s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]

    def read(self, key: str) -> str:
        return str(self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode())


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
    sagemaker = FakeSageMaker(s3, logs)
    clients = Clients(sagemaker=sagemaker, **services)
    monkeypatch.setattr(Clients, "connect", lambda **_: clients)
    yield Cloud(sagemaker, s3, tmp_path)
    for bucket in [entry["Name"] for entry in s3.list_buckets()["Buckets"]]:
        for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
            s3.delete_object(Bucket=bucket, Key=entry["Key"])
        s3.delete_bucket(Bucket=bucket)
    for group in logs.describe_log_groups()["logGroups"]:
        logs.delete_log_group(logGroupName=group["logGroupName"])


def test_it_trains_creates_the_model_transforms_for_all_users_and_joins_titles(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    (cloud.folder / "items.csv").write_text('movieId,title\n1,"One, the first"\n2,Two\n')
    assert cloud.train("--top-n", "3", "--items", str(cloud.folder / "items.csv")) == 0
    assert cloud.sagemaker.operations() == ["CreateTrainingJob", "CreateModel", "CreateTransformJob"]
    channels = cloud.sagemaker.request("CreateTrainingJob")["InputDataConfig"]
    assert [(entry["ChannelName"], entry["DataSource"]["S3DataSource"]["S3Uri"]) for entry in channels] == [
        ("training", f"{WORK}/now/training/"),
        ("items", f"{WORK}/now/items/"),
    ]
    assert cloud.objects() == [
        "work/now/items/items.csv",
        "work/now/output/model.tar.gz",
        "work/now/output/output.tar.gz",
        "work/now/recommendations/part-0000.jsonl.out",
        "work/now/requests/part-0000.jsonl",
        "work/now/training/ratings.csv",
    ]
    assert cloud.read("work/now/requests/part-0000.jsonl").splitlines()[0] == '{"user_id": "007", "top_n": "3"}'
    joined = (cloud.folder / "out/recommendations.csv").read_text().splitlines()
    assert joined[:3] == ["user_id,item_id,score,title", '007,1,1.0,"One, the first"', "007,2,0.5,Two"]
    assert len(joined) == 1 + 2 * 3
    printed = capsys.readouterr().out
    assert "   | epoch=1; train_loss=0.5;" in printed
    assert "Starting - Preparing the instances for training" in printed
    assert "One, the first" in printed


def test_the_report_of_a_job_comes_home_with_its_quality(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.sagemaker.output["report.html"] = b"<html>"
    cloud.sagemaker.metrics = {
        "rows": 1.0,
        "users": 1.0,
        "items": 1.0,
        "validation:x@10": 0.5,
        "most_popular:x@10": 0.25,
    }
    assert cloud.train() == 0
    assert (cloud.folder / "out/report.html").read_bytes() == b"<html>"
    said = f"   quality: x@10 0.5000 (most popular 0.2500)\n   report: {cloud.folder}/out/report.html\n"
    assert said in capsys.readouterr().out
    (cloud.folder / "out/report.html").unlink()
    assert cloud.run("--from-job", "now", "--all-users", "--name", "again") == 0
    assert said in capsys.readouterr().out


def test_a_job_that_fails_may_leave_a_report_that_tells_why(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.sagemaker.output["report.html"] = b"<html>"
    cloud.sagemaker.training_ends = ("Failed", "AlgorithmError: the model is not good enough")
    assert cloud.train() == 3
    printed = capsys.readouterr()
    assert printed.out.endswith(f"   report: {cloud.folder}/out/report.html\n")
    assert "not good enough" in printed.err


def test_without_top_n_the_requests_go_as_training_wrote_them(cloud: Cloud) -> None:
    assert cloud.train() == 0
    assert (
        cloud.read("work/now/requests/part-0000.jsonl").encode() == cloud.sagemaker.output["requests/part-0000.jsonl"]
    )


def test_every_option_reaches_the_requests(cloud: Cloud) -> None:
    options = "--kms-key K --subnets a b --security-groups c --network-isolation --tags team=x --spot --max-run 60"
    more = "--hyperparameters epochs=3 lr=0.1 --instance-type ml.c5.large --transform-instance-type ml.c5.xlarge"
    last = "--instance-count 2 --volume-size 7 --environment BAD_RECORDS=mark --accept application/jsonlines --show 0"
    cloud.sagemaker.answer = lambda request: [json.dumps({"user_id": request["user_id"], "recommendations": []})]
    assert cloud.train(*options.split(), *more.split(), *last.split()) == 0
    training, model, transform = (request for _, request in cloud.sagemaker.requests)
    assert training["HyperParameters"] == {"epochs": "3", "lr": "0.1"}
    assert training["ResourceConfig"] == {
        "InstanceType": "ml.c5.large",
        "InstanceCount": 1,
        "VolumeSizeInGB": 7,
        "VolumeKmsKeyId": "K",
    }
    assert training["OutputDataConfig"] == {"S3OutputPath": WORK, "KmsKeyId": "K"}
    assert training["StoppingCondition"] == {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 120}
    assert training["EnableManagedSpotTraining"] is True
    for request in (training, model):
        assert request["VpcConfig"] == {"Subnets": ["a", "b"], "SecurityGroupIds": ["c"]}
        assert request["EnableNetworkIsolation"] is True
    for request in (training, model, transform):
        assert request["Tags"] == [{"Key": "team", "Value": "x"}]
    assert transform["TransformResources"] == {
        "InstanceType": "ml.c5.xlarge",
        "InstanceCount": 2,
        "VolumeKmsKeyId": "K",
    }
    assert transform["TransformOutput"]["KmsKeyId"] == "K"
    assert transform["TransformOutput"]["Accept"] == "application/jsonlines"
    assert transform["Environment"] == {"BAD_RECORDS": "mark"}
    uploaded = cloud.s3.head_object(Bucket=BUCKET, Key="work/now/training/ratings.csv")
    assert (uploaded["ServerSideEncryption"], uploaded["SSEKMSKeyId"]) == ("aws:kms", "K")


def test_a_failed_training_gives_its_reason_and_code_3(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.sagemaker.training_ends = ("Failed", "AlgorithmError: line 7 has no user, exit code: 1")
    assert cloud.train() == 3
    assert "line 7 has no user" in capsys.readouterr().err
    assert cloud.sagemaker.operations() == ["CreateTrainingJob"]


def test_a_failed_transform_says_how_to_go_on(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.sagemaker.transform_ends = ("Failed", "ClientError: See job logs for more information")
    assert cloud.train() == 3
    assert "ClientError: See job logs" in (said := capsys.readouterr().err)
    assert "--from-model now" in said
    cloud.sagemaker.transform_ends = ("Completed", "")
    assert cloud.run("--from-model", "now", "--all-users", "--name", "again") == 0
    assert cloud.sagemaker.operations()[3:] == ["CreateTransformJob"]


def test_an_interrupted_run_is_taken_up_from_its_job(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.sagemaker.endless = True
    assert cloud.train() == 130
    assert "--from-job now" in capsys.readouterr().err
    cloud.sagemaker.endless = False
    cloud.train(name="other")
    assert cloud.run("--from-job", "other", "--all-users", "--name", "again") == 0
    assert cloud.sagemaker.operations()[-2:] == ["CreateModel", "CreateTransformJob"]


def test_a_stopped_job_is_a_failure_whose_model_can_be_taken_up(cloud: Cloud) -> None:
    cloud.sagemaker.training_ends = ("Stopped", "")
    assert cloud.train() == 3
    assert cloud.run("--from-job", "now", "--all-users", "--name", "again") == 0


@pytest.mark.parametrize("metrics", [True, False])
def test_the_gate_closes_on_a_large_drop_and_nothing_is_transformed(
    cloud: Cloud, capsys: pytest.CaptureFixture[str], metrics: bool
) -> None:
    if not metrics:
        cloud.sagemaker.metrics = None
    assert cloud.train(name="before") == 0
    # Ten users become eight: in the log, and in the model.
    cloud.sagemaker.metrics = {"rows": 100.0, "users": 8.0, "items": 20.0} if metrics else None
    cloud.sagemaker.model = manifest(pairs=97, users=8, items=20)
    assert cloud.train("--compare-with", "before", "--max-drop", "10%") == 4
    assert "users fell from 10 to 8" in capsys.readouterr().err
    assert cloud.sagemaker.operations()[3:] == ["CreateTrainingJob"]
    assert cloud.train("--compare-with", "before", "--max-drop", "0.2", name="more") == 0


def test_numbers_of_the_log_are_not_compared_with_those_of_a_model(cloud: Cloud) -> None:
    cloud.sagemaker.metrics = {"rows": 1000.0, "users": 10.0, "items": 20.0}
    assert cloud.train(name="before") == 0
    cloud.sagemaker.metrics = None
    assert cloud.train("--compare-with", "before") == 0


def test_what_cannot_be_compared_does_not_pass(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.sagemaker.metrics, cloud.sagemaker.model = None, {"weights": b"0"}
    assert cloud.train(name="before") == 0
    assert cloud.train("--compare-with", "before") == 4
    assert "cannot be compared" in capsys.readouterr().err


def test_an_unknown_earlier_job_is_refused_before_training(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    assert cloud.train("--compare-with", "none") == 2
    assert "Requested resource not found." in capsys.readouterr().err
    assert cloud.sagemaker.operations() == []


def test_clean_up_deletes_what_the_run_made_and_nothing_else(cloud: Cloud) -> None:
    others = ["mine.csv", "work/now2/output/model.tar.gz", "work/other", "work/nowhere"]
    for key in others:
        cloud.s3.put_object(Bucket=BUCKET, Key=key, Body=b"x")
    assert cloud.train("--clean-up") == 0
    assert cloud.objects() == sorted(others)
    assert cloud.sagemaker.deleted == ["now"]
    assert (cloud.folder / "out/part-0000.jsonl.out").exists()


def test_clean_up_leaves_the_job_and_the_model_that_were_there_before(cloud: Cloud) -> None:
    assert cloud.train(name="before") == 0
    kept = cloud.objects()
    assert cloud.run("--from-model", "before", "--all-users", "--name", "again", "--clean-up") == 0
    assert cloud.objects() == kept
    assert cloud.sagemaker.deleted == []


def test_clean_up_stops_a_job_that_still_runs(cloud: Cloud) -> None:
    cloud.sagemaker.endless = True
    stopped: list[str] = []

    def status(*, TrainingJobName: str) -> dict[str, Any]:
        if not stopped and not asked:
            asked.append(TrainingJobName)
            raise KeyboardInterrupt
        return {"TrainingJobStatus": "Stopped" if stopped else "InProgress", "SecondaryStatusTransitions": []}

    asked: list[str] = []
    cloud.sagemaker.describe_training_job = status  # type: ignore[method-assign]
    cloud.sagemaker.stop_training_job = lambda *, TrainingJobName: stopped.append(TrainingJobName)  # type: ignore[method-assign]
    assert cloud.train("--clean-up") == 130
    assert stopped == ["now"]
    assert cloud.objects() == []


@pytest.mark.parametrize("operation", ["CreateTrainingJob", "CreateModel", "CreateTransformJob"])
def test_clean_up_finds_what_was_made_though_the_answer_never_came(cloud: Cloud, operation: str) -> None:
    cloud.sagemaker.interrupted_in = operation
    assert cloud.train("--clean-up") == 130
    assert cloud.sagemaker.operations()[-1] == operation
    assert (cloud.sagemaker.running(), cloud.sagemaker.models(), cloud.objects()) == ([], [], [])


@pytest.mark.parametrize("operation", ["create_training_job", "create_model", "create_transform_job"])
def test_clean_up_goes_on_where_the_interrupted_request_made_nothing(
    cloud: Cloud, capsys: pytest.CaptureFixture[str], operation: str
) -> None:
    def interrupt(**_: Any) -> None:
        raise KeyboardInterrupt

    setattr(cloud.sagemaker, operation, interrupt)
    assert cloud.train("--clean-up") == 130
    assert (cloud.sagemaker.models(), cloud.objects()) == ([], [])
    assert "refused" not in capsys.readouterr().err


@pytest.mark.parametrize("operation", ["CreateTrainingJob", "CreateModel", "CreateTransformJob"])
def test_clean_up_leaves_what_had_the_name_before(cloud: Cloud, operation: str) -> None:
    fake, elsewhere = cloud.sagemaker, ["--s3", f"s3://{BUCKET}/elsewhere"]
    fake.interrupted_in = operation
    if operation == "CreateTrainingJob":
        assert cloud.train(*elsewhere) == 130
    else:
        assert cloud.train(name="before") == 130
        assert cloud.run("--from-job", "before", "--all-users", "--name", "now", *elsewhere) == 130
    running, models, kept = fake.running(), fake.models(), cloud.objects()
    assert "now" in running + models
    fake.interrupted_in = None
    if operation == "CreateTransformJob":
        again = cloud.run("--from-model", "before", "--all-users", "--name", "now", "--clean-up")
    elif operation == "CreateModel":
        again = cloud.run("--from-job", "before", "--all-users", "--name", "now", "--clean-up")
    else:
        again = cloud.train("--clean-up")
    assert again == 2
    assert (fake.running(), fake.models(), cloud.objects()) == (running, models, kept)


def test_an_interrupt_while_it_still_imports_gives_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "pandas.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = subprocess.run(
        [sys.executable, pipeline.__file__, "--help"],
        env={"PATH": "", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_clean_up_after_a_failure_keeps_the_failure_s_code(cloud: Cloud) -> None:
    cloud.sagemaker.transform_ends = ("Failed", "x")
    assert cloud.train("--clean-up") == 3
    assert cloud.objects() == []


def test_a_name_in_use_is_refused_before_anything_is_sent(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.s3.put_object(Bucket=BUCKET, Key="work/now/x", Body=b"x")
    assert cloud.train("--clean-up") == 2
    assert "give another --name" in capsys.readouterr().err
    assert cloud.objects() == ["work/now/x"]


def test_a_refused_request_is_code_2_with_the_service_s_words(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(**request: Any) -> None:
        raise refusal("CreateModel", "Could not find model data at s3://x.")

    cloud.sagemaker.create_model = refuse  # type: ignore[method-assign]
    assert cloud.train() == 2
    assert "Could not find model data at s3://x. (ValidationException)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("training", "requests", "words"),
    [
        ("{folder}/none.csv", "{folder}/ask.jsonl", "there is no file or folder"),
        ("{folder}/empty", "{folder}/ask.jsonl", "holds no file"),
        ("{folder}/ask.jsonl", "s3://a-bucket/none", "no object whose name begins with"),
        ("s3://", "{folder}/ask.jsonl", "no S3 URI"),
        ("s3://another-bucket/x", "{folder}/ask.jsonl", "another-bucket; make it"),
    ],
)
def test_missing_input_is_refused_before_training(
    cloud: Cloud, capsys: pytest.CaptureFixture[str], training: str, requests: str, words: str
) -> None:
    (cloud.folder / "ask.jsonl").write_text('{"user_id":"1","top_n":"1"}')
    (cloud.folder / "empty").mkdir()
    where = {"folder": cloud.folder}
    assert cloud.run("--training", training.format(**where), "--requests", requests.format(**where)) == 2
    assert words in capsys.readouterr().err
    assert cloud.sagemaker.operations() == []


@pytest.mark.parametrize(
    "arguments",
    [
        "--training x --requests y --top-n 3",
        "--training x --all-users --subnets a",
        "--training x",
        "--all-users",
        "--training x --from-job y --all-users",
        "--training x --all-users --max-drop 2",
        "--training x --all-users --name a_b",
        "--training x --all-users --tags novalue",
        "--training x --all-users --top-n 0",
        "--from-job x --all-users --hyperparameters epochs=3",
        "--from-model x --all-users --spot",
    ],
)
def test_options_that_do_not_go_together_end_with_code_2(cloud: Cloud, arguments: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        cloud.run(*arguments.split())
    assert stopped.value.code == 2


@pytest.mark.parametrize("option", ["--available", "--items", "--kms-key"])
def test_an_empty_value_is_not_taken_for_no_value(
    cloud: Cloud, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    # An unset variable in a nightly script once served the model with the old list.
    with pytest.raises(SystemExit) as stopped:
        cloud.run("--from-model", "x", "--all-users", option, "")
    assert stopped.value.code == 2
    assert f"{option} is empty: give a value, or leave the option out" in capsys.readouterr().err


def test_items_without_titles_are_for_the_training_alone(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    items = cloud.folder / "items.csv"
    items.write_text("item_id,available\n1,0\n")
    assert cloud.train("--items", str(items)) == 0
    assert (cloud.folder / "out/recommendations.csv").read_text().startswith("user_id,item_id,score\n")
    assert cloud.run("--from-job", "now", "--all-users", "--items", str(items), "--name", "again") == 2
    assert "has no column title, and so nothing to join" in capsys.readouterr().err


def test_items_are_read_as_the_training_reads_them(cloud: Cloud) -> None:
    content = b"sku\ttitle\n1\tOne, the first\n"
    cloud.s3.put_object(Bucket=BUCKET, Key="items.tsv.gz", Body=gzip.compress(content))
    read = ["--hyperparameters", "item_column=sku", "delimiter=tab"]
    assert cloud.train("--items", f"s3://{BUCKET}/items.tsv.gz", *read) == 0
    assert '"One, the first"' in (cloud.folder / "out/recommendations.csv").read_text()


def test_items_that_are_not_one_file_are_refused_before_training(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    for key in ("i/items.csv", "i/items.csv.old"):
        cloud.s3.put_object(Bucket=BUCKET, Key=key, Body=b"item_id,title\n1,One\n")
    for path, words in (
        (str(cloud.folder), "is a folder: give one CSV file"),
        (f"s3://{BUCKET}/i/", f"there is no object s3://{BUCKET}/i/"),
        (f"s3://{BUCKET}", f"there is no object s3://{BUCKET}"),
        (f"s3://{BUCKET}/i/items.csv", "other objects' names begin with"),
    ):
        assert cloud.train("--items", path) == 2
        assert words in capsys.readouterr().err
    assert cloud.sagemaker.operations() == []


def test_s3_uris_are_taken_as_they_are(cloud: Cloud) -> None:
    cloud.s3.put_object(Bucket=BUCKET, Key="in/r.csv", Body=b"user_id,item_id\n1,2\n")
    cloud.s3.put_object(Bucket=BUCKET, Key="ask/a.requests", Body=b'{"user_id":"1","top_n":"2"}')
    cloud.s3.put_object(Bucket=BUCKET, Key="items.csv", Body=b"item_id,title\n1,One\n")
    uris = [f"s3://{BUCKET}/{key}" for key in ("in/", "ask/a.requests", "items.csv")]
    arguments = ["--training", uris[0], "--requests", uris[1], "--items", uris[2], "--name", "now"]
    assert cloud.run(*arguments) == 0
    channels = cloud.sagemaker.request("CreateTrainingJob")["InputDataConfig"]
    assert [channel["DataSource"]["S3DataSource"]["S3Uri"] for channel in channels] == [uris[0], uris[2]]
    assert (cloud.folder / "out/recommendations.csv").read_text().splitlines()[1] == "1,1,1.0,One"
    assert not [key for key in cloud.objects() if key.startswith(("work/now/training", "work/now/requests"))]


@pytest.fixture
def available(cloud: Cloud) -> list[str]:
    """Jobs train a model of factorbox; the option with a list for it."""
    cloud.sagemaker.model = model_files(cloud.folder / "model")
    (cloud.folder / "list.csv").write_text("item_id,available\ni0001,0\ni0002,1\nnowhere,0\n")
    return ["--available", str(cloud.folder / "list.csv")]


def unavailable(cloud: Cloud, uri: str) -> list[int]:
    """Return the items that are unavailable in a model of the bucket."""
    content = cloud.s3.get_object(Bucket=BUCKET, Key=uri.removeprefix(f"s3://{BUCKET}/"))["Body"].read()
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for member in archive:
                source = archive.extractfile(member)
                assert source is not None
                Path(folder, member.name).write_bytes(source.read())
        return [int(item) for item in (~artifact.load(Path(folder)).available).nonzero()[0]]


def test_a_list_of_available_items_is_packed_into_the_model_that_answers(
    cloud: Cloud, available: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cloud.train(*available) == 0
    assert cloud.sagemaker.operations() == ["CreateTrainingJob", "CreateModel", "CreateTransformJob"]
    uri = cloud.sagemaker.request("CreateModel")["PrimaryContainer"]["ModelDataUrl"]
    assert uri == f"{WORK}/now/model/model.tar.gz"
    assert unavailable(cloud, uri) == [1]
    assert unavailable(cloud, f"{WORK}/now/output/model.tar.gz") == [3]
    assert "1 of 5 items unavailable; 1 of the list not in the model" in capsys.readouterr().out


def test_a_list_for_a_job_or_a_model_that_exists_makes_another_model_and_nothing_anew(
    cloud: Cloud, available: list[str]
) -> None:
    options = "--subnets a --security-groups b --network-isolation --image its-image"
    assert cloud.train(*options.split(), name="before") == 0
    cloud.s3.put_object(Bucket=BUCKET, Key="list.csv", Body=Path(available[1]).read_bytes())
    in_s3 = ["--available", f"s3://{BUCKET}/list.csv", "--all-users"]
    kept, models = cloud.objects(), len(cloud.sagemaker.models())
    described = cloud.sagemaker.describe_model(ModelName="before")
    described["PrimaryContainer"]["Environment"] = {"BAD_RECORDS": "mark"}
    assert cloud.run("--from-job", "before", *in_s3, "--name", "of-job") == 0
    arguments = ["--from-model", "before", *in_s3, "--s3", WORK, "--output", str(cloud.folder / "out")]
    assert pipeline.main([*arguments, "--name", "of-model"]) == 0
    assert len(cloud.sagemaker.models()) == models + 2
    (_, first), *_, (_, last) = [entry for entry in cloud.sagemaker.requests if entry[0] == "CreateModel"]
    container = {"Image": "its-image", "Environment": {"BAD_RECORDS": "mark"}}
    assert last == {
        **first,
        "ModelName": "of-model",
        "PrimaryContainer": {**container, "ModelDataUrl": f"{WORK}/of-model/model/model.tar.gz"},
    }
    for name in ("of-job", "of-model"):
        assert unavailable(cloud, f"{WORK}/{name}/model/model.tar.gz") == [1]
        assert cloud.sagemaker.transform_model(name) == name
    assert cloud.run("--from-model", "of-model", "--all-users", "--name", "later") == 0
    assert set(kept) < set(cloud.objects())


def test_clean_up_deletes_the_model_that_was_packed_anew(cloud: Cloud, available: list[str]) -> None:
    assert cloud.train(name="before") == 0
    kept = cloud.objects()
    assert cloud.run("--from-model", "before", "--all-users", *available, "--name", "again", "--clean-up") == 0
    assert cloud.objects() == kept
    assert cloud.sagemaker.models() == ["before"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("item_id,available\n1,x\n", "--available: bad value 'x' in list.csv, line 2"),
        ("item_id,title\n1,x\n", "--available: list.csv has no column available"),
        ("", "--available: list.csv is empty"),
        ("item_id,available\n", "--available: list.csv holds column names only"),
        (None, "--available: there is no file"),
    ],
)
def test_a_bad_list_is_refused_before_training(
    cloud: Cloud, available: list[str], capsys: pytest.CaptureFixture[str], text: str | None, words: str
) -> None:
    assert cloud.train(name="before") == 0
    kept, operations = cloud.objects(), cloud.sagemaker.operations()
    (cloud.folder / "list.csv").unlink() if text is None else (cloud.folder / "list.csv").write_text(text)
    data = ["--training", str(cloud.folder / "ratings.csv")]
    for start in (data, ["--from-job", "before"], ["--from-model", "before"]):
        assert cloud.run(*start, "--all-users", *available, "--name", "again") == 2
        assert words in capsys.readouterr().err
        assert (cloud.objects(), cloud.sagemaker.operations()) == (kept, operations)


def test_the_list_has_the_item_column_of_the_training(cloud: Cloud, available: list[str]) -> None:
    cloud.sagemaker.model = model_files(cloud.folder / "other", item_column="sku", delimiter=";")
    Path(available[1]).write_text("sku;available\ni0004;0\n")
    names = ["--hyperparameters", 'item_column="sku"', "delimiter=;"]
    assert cloud.train(*available, *names, name="one") == 0
    for start in ("--from-job", "--from-model"):
        assert cloud.run(start, "one", "--all-users", *available, "--name", f"x{start}") == 0
        assert unavailable(cloud, f"{WORK}/x{start}/model/model.tar.gz") == [4]


def test_a_list_for_the_model_of_another_image_is_refused_by_name(
    cloud: Cloud, available: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    cloud.sagemaker.model = {"weights.bin": b"0"}
    assert cloud.train(*available) == 2
    assert "--available: no model in model.tar.gz: manifest.json is missing" in capsys.readouterr().err
    assert cloud.sagemaker.operations() == ["CreateTrainingJob"]


def test_without_factorbox_a_list_is_refused_before_training(
    cloud: Cloud, available: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "factorbox", None)
    assert cloud.train(*available) == 2
    assert "--available needs factorbox here" in capsys.readouterr().err
    assert cloud.sagemaker.operations() == []


def test_the_pipeline_runs_without_factorbox(tmp_path: Path) -> None:
    (tmp_path / "factorbox.py").write_text("raise SystemExit('imported')\n")
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import pipeline"],
        env={"PYTHONPATH": str(Path(pipeline.__file__).parent)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_answers_in_json_lines_keep_their_numbers(cloud: Cloud) -> None:
    cloud.sagemaker.answer = lambda request: [
        f'{{"user_id":"{request["user_id"]}","recommendations":[{{"item_id":"1","score":0.70251226}}]}}'
    ]
    assert cloud.train("--accept", "application/jsonlines") == 0
    assert (cloud.folder / "out/recommendations.csv").read_text().splitlines()[1] == "007,1,0.70251226"


def test_answers_of_another_kind_of_image_are_fetched_and_shown_as_they_are(
    cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud.sagemaker.answer = lambda request: ["0.25"]
    assert cloud.train() == 0
    assert "part-0000.jsonl.out holds no recommendations" in (printed := capsys.readouterr().out)
    assert "   0.25" in printed
    assert not (cloud.folder / "out/recommendations.csv").exists()


def test_an_image_that_wrote_no_requests_is_told_from_a_fault(cloud: Cloud, capsys: pytest.CaptureFixture[str]) -> None:
    cloud.sagemaker.output = {}
    assert cloud.train() == 2
    assert "give --requests" in capsys.readouterr().err


def test_names_that_lead_out_of_the_archive_s_folder_are_not_unpacked(cloud: Cloud) -> None:
    cloud.s3.put_object(Bucket=BUCKET, Key="o.tar.gz", Body=archive({"requests/../../x": b"1", "x": b"2"}))
    folder = cloud.folder / "a/b"
    folder.mkdir(parents=True)
    with pytest.raises(InputRefusedError, match="holds no requests/"):
        unpack_requests(cloud.s3, f"s3://{BUCKET}/o.tar.gz", folder, top_n=None)
    assert [path.name for path in cloud.folder.rglob("x")] == []


def test_who_may_not_read_logs_is_told_so_once_and_gets_the_rest(
    cloud: Cloud, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: str) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "DescribeLogStreams")

    monkeypatch.setattr(cloud.sagemaker.logs, "get_paginator", refuse)
    assert cloud.train() == 0
    assert capsys.readouterr().out.count("the log cannot be shown") == 2, "once for each job"


def test_without_credentials_it_says_what_to_set(tmp_path: Path) -> None:
    environment = {"PATH": "", "HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    arguments = ["--from-model", "m", "--requests", str(tmp_path), "--region", "us-east-1"]
    done = subprocess.run(
        [sys.executable, pipeline.__file__, *arguments], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "Unable to locate credentials; set AWS_ACCESS_KEY_ID" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("url", ["nonsense", "http://127.0.0.1:9"])
def test_a_url_where_nothing_answers_is_code_2(tmp_path: Path, url: str) -> None:
    environment = {"PATH": "", "HOME": str(tmp_path), "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    arguments = ["--from-model", "m", "--requests", str(tmp_path), "--region", "us-east-1", "--endpoint-url", url]
    done = subprocess.run(
        [sys.executable, pipeline.__file__, *arguments], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert url in done.stderr and "Traceback" not in done.stderr


def test_a_role_can_be_given_by_name(cloud: Cloud, services: dict[str, Any]) -> None:
    services["iam"].create_role(RoleName="r", AssumeRolePolicyDocument="{}")
    assert cloud.train("--role", "r") == 0
    assert cloud.sagemaker.request("CreateModel")["ExecutionRoleArn"] == "arn:aws:iam::123456789012:role/r"


def test_without_s3_the_bucket_of_the_sdk_is_taken(cloud: Cloud) -> None:
    bucket = "sagemaker-us-east-1-123456789012"
    cloud.s3.create_bucket(Bucket=bucket)
    cloud.work_is_named = False
    assert cloud.train() == 0
    assert cloud.s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 5
