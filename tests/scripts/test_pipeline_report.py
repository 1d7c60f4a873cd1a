"""What the pipeline says of a model's quality, and the report that it brings home."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from fake_sagemaker import archive
from pipeline_steps.options import read_options
from pipeline_steps.report import fetch_report, show_quality
from pipeline_steps.training import training_request

BUCKET = "a-bucket"
OUTPUT = f"s3://{BUCKET}/job/output/output.tar.gz"
REPORT = {"report.html": b"<html>", "report.json": b"{}"}
DEFINITIONS = [{"Name": "train_loss", "Regex": "loss: (.*)"}, {"Name": "validation:x", "Regex": "x=(.*);"}]


@pytest.fixture
def s3() -> Any:
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        yield client


def put(s3: Any, body: bytes) -> None:
    s3.put_object(Bucket=BUCKET, Key="job/output/output.tar.gz", Body=body)


@pytest.mark.parametrize("requests_first", [True, False])
def test_the_report_is_taken_out_of_the_output(
    s3: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], requests_first: bool
) -> None:
    requests = {"requests/part-0000.jsonl": b"{}", "requests/report.html": b"another"}
    put(s3, archive({**requests, **REPORT} if requests_first else {**REPORT, **requests}))
    (tmp_path / "report.html").write_text("of an earlier run")
    fetch_report(s3, OUTPUT, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == REPORT
    assert capsys.readouterr().out == f"   report: {tmp_path}/report.html\n"


def test_names_with_a_dot_in_front_are_the_same_files(s3: Any, tmp_path: Path) -> None:
    put(s3, archive({f"./{name}": content for name, content in REPORT.items()}))
    fetch_report(s3, OUTPUT, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == REPORT


@pytest.mark.parametrize("output", [None, {"requests/part-0000.jsonl": b"{}"}, {}])
def test_without_a_report_nothing_is_said(
    s3: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], output: dict[str, bytes] | None
) -> None:
    if output is not None:
        put(s3, archive(output))
    fetch_report(s3, OUTPUT, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""


def test_only_plain_files_are_taken(s3: Any, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        link = tarfile.TarInfo("report.html")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo("../report.json"))
    put(s3, packed.getvalue())
    (tmp_path / "out").mkdir()
    fetch_report(s3, OUTPUT, tmp_path / "out")
    assert [path.name for path in tmp_path.rglob("*")] == ["out"]


@pytest.mark.parametrize("body", [b"no archive", archive({"report.html": bytes(range(256)) * 99})[:200]])
def test_a_damaged_output_is_said_and_does_not_end_the_pipeline(
    s3: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], body: bytes
) -> None:
    put(s3, body)
    (tmp_path / "report.html").write_text("of an earlier run")
    fetch_report(s3, OUTPUT, tmp_path)
    assert capsys.readouterr().out.startswith(f"   the report in {OUTPUT} cannot be fetched: ")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_folder_that_cannot_be_written_does_not_end_the_pipeline(
    s3: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(s3, archive(REPORT))
    fetch_report(s3, OUTPUT, tmp_path / "none")
    assert "cannot be fetched: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({"rows": 100.0, "train_loss": 0.5}, []),
        ({"validation:ndcg@10": 0.49, "rows": 100.0}, ["   quality: ndcg@10 0.4900"]),
        (
            {
                "train_loss": 0.5,
                "validation:ndcg@10": 0.49101,
                "validation:precision@10": 0.4,
                "validation:recall@10": 0.3,
                "validation:map@10": 0.2,
                "validation:rmse": 0.9,
                "most_popular:ndcg@10": 0.25,
                "most_popular:precision@10": 0.2,
                "most_popular:recall@10": 0.1,
                "most_popular:map@10": 0.05,
                "mean_ratings:rmse": 0.95,
            },
            [
                "   quality: ndcg@10 0.4910 (most popular 0.2500), precision@10 0.4000 (0.2000), recall@10 0.3000"
                " (0.1000)",
                "   quality: rmse 0.9000 (mean ratings 0.9500)",
            ],
        ),
    ],
)
def test_quality_is_said_in_a_line_beside_each_baseline(
    metrics: dict[str, float], said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    show_quality(metrics)
    assert capsys.readouterr().out.splitlines() == said


def given(*arguments: str) -> Any:
    return read_options(["--training", "x", "--all-users", "--role", "r", "--image", "i", *arguments])


def test_metric_definitions_join_the_pipeline_s_own_in_the_request(tmp_path: Path) -> None:
    (tmp_path / "definitions.json").write_text(json.dumps(DEFINITIONS))
    options = given("--metric-definitions", str(tmp_path / "definitions.json"))
    request = training_request(options, channels={}, work="s3://b/w", role="r")
    sent = {entry["Name"]: entry["Regex"] for entry in request["AlgorithmSpecification"]["MetricDefinitions"]}
    assert list(sent) == ["rows", "users", "items", "train_loss", "validation:x"]
    # A definition that is given takes the place of the pipeline's.
    assert sent["train_loss"] == "loss: (.*)"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "no file of metric definitions"),
        ("{}", "no file of metric definitions: give a JSON array"),
        ('[{"Name": "x"}]', "no file of metric definitions"),
        ('[{"Name": "x", "Regex": ""}]', "no file of metric definitions"),
        (json.dumps(DEFINITIONS * 20), "has 40 metric definitions: give at most 36"),
        (None, "cannot read"),
    ],
)
def test_what_is_no_list_of_definitions_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, words: str
) -> None:
    if content is not None:
        (tmp_path / "definitions.json").write_text(content)
    with pytest.raises(SystemExit) as stopped:
        given("--metric-definitions", str(tmp_path / "definitions.json"))
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err


def test_metric_definitions_are_for_a_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "definitions.json").write_text(json.dumps(DEFINITIONS))
    with pytest.raises(SystemExit):
        read_options(["--from-job", "j", "--all-users", "--metric-definitions", str(tmp_path / "definitions.json")])
    assert "--metric-definitions and --spot go with --training" in capsys.readouterr().err
