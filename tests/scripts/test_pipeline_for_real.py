"""The pipeline with factorbox on a local SageMaker: real jobs, as processes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pipeline
from factorbox.commands.metric_definitions import metric_definitions
from factorbox.evaluation.metrics import METRICS
from local_sagemaker import LocalSageMaker

BUCKET = "a-bucket"
Run = Callable[..., int]


@pytest.fixture(scope="module")
def local() -> Iterator[LocalSageMaker]:
    with LocalSageMaker(runner="process", bucket=BUCKET, quiet=True) as running:
        yield running


@pytest.fixture
def run(local: LocalSageMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    for name, value in local.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)

    def run(*arguments: str, users: int = 12) -> int:
        rows = [f"u{user:02},{(user % 2) * 5 + (user + k) % 4}" for user in range(users) for k in range(3)]
        (tmp_path / "rows.csv").write_text("\n".join(["user_id,item_id", *rows]))
        where = ["--s3", f"s3://{BUCKET}/work", "--output", str(tmp_path / "out"), "--role", local.role]
        return pipeline.main([*where, "--image", "any", *arguments])

    return run


def objects(local: LocalSageMaker) -> list[str]:
    return [entry["Key"] for entry in local.client("s3").list_objects_v2(Bucket=BUCKET).get("Contents", [])]


def test_all_users_get_their_items_and_a_smaller_job_is_held_back(
    local: LocalSageMaker, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = ["--training", str(tmp_path / "rows.csv"), "--hyperparameters", "epochs=2", "embedding_dim=4"]
    assert run(*training, "--all-users", "--top-n", "2", "--name", "first") == 0
    rows = (tmp_path / "out/recommendations.csv").read_text().splitlines()
    assert rows[0] == "user_id,item_id,score"
    assert [row.split(",")[0] for row in rows[1:]] == [f"u{user:02}" for user in range(12) for _ in range(2)]
    assert "epoch=2;" in capsys.readouterr().out

    kept = objects(local)
    smaller = [*training, "--all-users", "--compare-with", "first", "--clean-up"]
    assert run(*smaller, "--name", "second", users=8) == 4
    assert "rows fell from 36 to 24" in capsys.readouterr().err
    assert objects(local) == kept

    assert run("--from-job", "first", "--all-users", "--name", "third", "--clean-up") == 0
    assert objects(local) == kept
    models = {model["ModelName"] for model in local.client("sagemaker").list_models()["Models"]}
    assert models & {"first", "second", "third"} == {"first"}


def test_items_are_gone_from_the_answers_while_they_are_unavailable(run: Run, tmp_path: Path) -> None:
    everything = {"0", "1", "2", "3", "5", "6", "7", "8"}
    (tmp_path / "items.csv").write_text("item_id,title,available\n2,Two,0\n5,Five,1\nelsewhere,x,0\n")
    (tmp_path / "list.csv").write_text("item_id,available\n5,0\n7,false\n2,1\n")
    training = ["--training", str(tmp_path / "rows.csv"), "--hyperparameters", "epochs=2", "embedding_dim=4"]
    asking = ["--all-users", "--top-n", "99", "--environment", "DEFAULT_EXCLUDE_SEEN=false"]

    def recommended() -> set[str]:
        rows = (tmp_path / "out/recommendations.csv").read_text().splitlines()[1:]
        answers: dict[str, set[str]] = {}
        for row in rows:
            answers.setdefault(row.split(",")[0], set()).add(row.split(",")[1])
        (same,) = set(map(frozenset, answers.values()))
        assert len(answers) == 12
        return set(same)

    assert run(*training, *asking, "--items", str(tmp_path / "items.csv"), "--name", "with-items") == 0
    assert recommended() == everything - {"2"}
    listed = ["--available", str(tmp_path / "list.csv")]
    assert run("--from-model", "with-items", *asking, *listed, "--name", "with-list", "--clean-up") == 0
    assert recommended() == everything - {"5", "7"}


def test_what_a_job_measures_reaches_sagemaker_and_its_report_comes_home(
    local: LocalSageMaker, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "definitions.json").write_text(json.dumps(metric_definitions()))
    training = ["--training", str(tmp_path / "rows.csv"), "--metric-definitions", str(tmp_path / "definitions.json")]
    hyperparameters = ["--hyperparameters", "epochs=2", "embedding_dim=4", "validation=random"]
    assert run(*training, *hyperparameters, "--all-users", "--name", "measured", users=60) == 0
    described = local.client("sagemaker").describe_training_job(TrainingJobName="measured")
    metrics = {entry["MetricName"]: entry["Value"] for entry in described["FinalMetricDataList"]}
    ranking = [metric for metric in METRICS if metric.kind == "ranking"]
    of_rankings = {name for metric in ranking for name in (metric.log_name, metric.baseline_name)}
    assert metrics.keys() == {"rows", "users", "items", "train_loss", *of_rankings}
    assert (metrics["rows"], metrics["users"], metrics["items"]) == (180, 60, 8)
    ndcg, of_popular = metrics["validation:ndcg@10"], metrics["most_popular:ndcg@10"]
    printed = capsys.readouterr().out
    assert f"   quality: ndcg@10 {ndcg:.4f} (most popular {of_popular:.4f}), " in printed
    assert f"   report: {tmp_path}/out/report.html\n" in printed
    assert (tmp_path / "out/report.html").read_text().rstrip().endswith("</html>")
    assert "quality" in json.loads((tmp_path / "out/report.json").read_text())


def test_a_model_that_fails_its_gate_leaves_a_report_and_no_model(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = ["--training", str(tmp_path / "rows.csv"), "--all-users", "--name", "not-good-enough"]
    gate = ["--hyperparameters", "epochs=2", "validation=random", "min_metric=validation:ndcg@10>=0.999"]
    assert run(*training, *gate, users=60) == 3
    printed = capsys.readouterr()
    assert "validation:ndcg@10=0." in printed.err and "is not >= 0.999" in printed.err
    assert printed.out.endswith(f"   report: {tmp_path}/out/report.html\n")


def test_a_job_that_fails_shows_what_factorbox_says(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = ["--training", str(tmp_path / "rows.csv"), "--hyperparameters", "epoch=2"]
    assert run(*training, "--all-users", "--name", "wrong") == 3
    assert "AlgorithmError: unknown hyperparameter" in capsys.readouterr().err


def test_what_the_local_sagemaker_refuses_is_code_2(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = ["--training", str(tmp_path / "rows.csv")]
    assert run(*training, "--all-users", "--name", "n", "--instance-type", "small") == 2
    assert "ValidationException" in capsys.readouterr().err
