from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

StandIn = Callable[..., Path]
# `docker login --password-stdin` reads; a stand-in that did not would break the pipe.
DOCKER = 'if [ "$1" = login ]; then cat >/dev/null; fi'
REGISTRY = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"


def run(script: Path, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [str(script), *map(str, arguments)]
    return subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True)


def test_training_runs_as_the_caller_over_the_folder(checkout: Path, stand_in: StandIn, tmp_path: Path) -> None:
    calls = stand_in("docker")
    assert run(checkout / "local_test/train_local.sh", "some-image", tmp_path).returncode == 0
    call = calls.read_text()
    assert f"--user {os.getuid()}:{os.getgid()} " in call
    assert call.endswith(f"--volume {tmp_path}:/opt/ml some-image train\n")


def test_training_uses_test_dir_where_no_folder_is_given(checkout: Path, stand_in: StandIn, tmp_path: Path) -> None:
    calls = stand_in("docker")
    (tmp_path / "test_dir").mkdir()
    shutil.copy(checkout / "local_test/train_local.sh", tmp_path)
    run(tmp_path / "train_local.sh", "some-image")
    assert f"--volume {tmp_path}/test_dir:/opt/ml some-image train" in calls.read_text()


def test_serving_mounts_the_model_read_only(checkout: Path, stand_in: StandIn, tmp_path: Path) -> None:
    calls = stand_in("docker")
    assert run(checkout / "local_test/serve_local.sh", "some-image", tmp_path, PORT="9001").returncode == 0
    call = calls.read_text()
    assert "--publish 127.0.0.1:9001:8080" in call
    assert call.endswith(f"--volume {tmp_path}/model:/opt/ml/model:ro some-image serve\n")


@pytest.mark.parametrize("script", ["train_local.sh", "serve_local.sh", "predict.sh"])
def test_a_script_without_arguments_prints_its_usage(checkout: Path, script: str) -> None:
    done = run(checkout / "local_test" / script)
    assert done.returncode != 0
    assert f"usage: {checkout}/local_test/{script}" in done.stderr


@pytest.fixture
def echo_port() -> Iterator[str]:
    """A server that answers with the headers and the body that it was sent; 400 where the body says so."""

    class Echo(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self.send_response(400 if "refuse" in body else 200)
            self.end_headers()
            self.wfile.write(f"{self.path} {self.headers['Content-Type']} {self.headers['Accept']} {body}".encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield str(server.server_port)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("name", "types", "sent"),
    [
        ("a.csv", (), "text/csv text/csv"),
        ("a.jsonl", (), "application/jsonlines text/csv"),
        ("a.jsonl", ("application/json",), "application/json text/csv"),
        ("a.csv", ("text/csv", "application/jsonlines"), "text/csv application/jsonlines"),
    ],
)
def test_predict_sends_the_file_byte_for_byte(
    checkout: Path, echo_port: str, tmp_path: Path, name: str, types: tuple[str, ...], sent: str
) -> None:
    (tmp_path / name).write_text("one\ntwo")
    done = run(checkout / "local_test/predict.sh", tmp_path / name, *types, PORT=echo_port)
    assert done.returncode == 0
    assert done.stdout == f"/invocations {sent} one\ntwo\n"


def test_predict_shows_a_refusal_and_fails(checkout: Path, echo_port: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("refuse me")
    done = run(checkout / "local_test/predict.sh", tmp_path / "a.csv", PORT=echo_port)
    assert done.returncode != 0
    assert "refuse me" in done.stdout


def test_predict_names_a_file_that_is_not_there(checkout: Path, tmp_path: Path) -> None:
    done = run(checkout / "local_test/predict.sh", tmp_path / "nothing.csv")
    assert done.returncode == 1
    assert f"cannot read {tmp_path}/nothing.csv" in done.stderr


def test_push_creates_the_repository_logs_in_builds_and_pushes(checkout: Path, stand_in: StandIn) -> None:
    stand_in("docker", DOCKER)
    calls = stand_in(
        "aws",
        'case "$*" in "sts "*) echo 123456789012 ;; *describe-repositories*) exit 254 ;;'
        " *get-login-password*) echo secret ;; esac",
    )
    done = run(checkout / "container/build_and_push.sh", "factorbox", "v1", AWS_REGION="eu-west-1", TORCH_INDEX="")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{REGISTRY}/factorbox:v1\n"
    expected = [
        "aws sts get-caller-identity --query Account --output text",
        "aws ecr describe-repositories --region eu-west-1 --repository-names factorbox",
        "aws ecr create-repository --region eu-west-1 --repository-name factorbox",
        "aws ecr get-login-password --region eu-west-1",
        f"docker login --username AWS --password-stdin {REGISTRY}",
        f"docker build --build-arg TORCH_INDEX= --tag {REGISTRY}/factorbox:v1 {checkout}",
        f"docker push {REGISTRY}/factorbox:v1",
    ]
    # The login is a pipe: either side may be first to note its call.
    assert sorted(calls.read_text().splitlines()) == sorted(expected)


def test_push_stops_where_the_build_fails(checkout: Path, stand_in: StandIn) -> None:
    stand_in("docker", DOCKER + '; test "$1" != build')
    calls = stand_in("aws", "echo 123456789012")
    done = run(checkout / "container/build_and_push.sh", "factorbox", AWS_REGION="eu-west-1")
    assert done.returncode != 0
    assert "docker push" not in calls.read_text()
