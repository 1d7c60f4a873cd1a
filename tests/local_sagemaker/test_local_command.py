"""The command ``python -m local_sagemaker`` and the notebook's role."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from local_sagemaker.__main__ import main
from local_sagemaker.notebook import notebook_role

ROLE = "arn:aws:iam::123456789012:role/SageMakerRole"


def test_env_says_how_to_start_what_does_not_answer(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert main(["env", "--port", str(port)]) == 1
    printed = capsys.readouterr()
    # Nothing that a shell would evaluate.
    assert printed.out == ""
    assert f"run python -m local_sagemaker start --port {port}" in printed.err


def test_a_taken_port_and_a_missing_container_are_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["start", "--port", port, "--runner", "process"]) == 1
        assert f"port {port}" in capsys.readouterr().err
    assert main(["start", "--port", "0", "--runner", "process", "--container", str(tmp_path)]) == 1
    assert "--container" in capsys.readouterr().err


@pytest.mark.parametrize("image", ["recommender", "=tag", "name="])
def test_an_image_is_name_and_tag(image: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["start", "--image", image])
    assert "is not NAME=TAG" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["99999", "-1", "x"])
def test_a_port_that_is_none_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["start", f"--port={port}"])
    assert "is no port: give a number from 0 to 65535" in capsys.readouterr().err


@pytest.mark.parametrize("bucket", ["ab", "Bad_Bucket", "a..b", "-abc", "a" * 64])
def test_a_bucket_name_that_aws_refuses_is_refused(bucket: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["start", f"--bucket={bucket}"])
    assert "is no bucket name" in capsys.readouterr().err


def test_the_notebooks_role_is_there_and_goes(tmp_path: Path) -> None:
    path = tmp_path / "ml" / "metadata" / "resource-metadata.json"
    with notebook_role(ROLE, path=path) as told:
        assert json.loads(path.read_text())["ExecutionRoleArn"] == ROLE
        assert ROLE in told
    assert list(tmp_path.iterdir()) == []


def test_somebody_elses_notebook_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "resource-metadata.json"
    path.write_text("theirs")
    with notebook_role(ROLE, path=path) as told:
        assert "stays as it is" in told
    assert path.read_text() == "theirs"


def test_where_the_file_cannot_be_written_the_command_is_printed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "metadata" / "resource-metadata.json"
    with notebook_role(ROLE, path=path) as told:
        assert f"sudo tee {path}" in told and ROLE in told
