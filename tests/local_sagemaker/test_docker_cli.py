"""The docker command, played by a script: what is asked of it, and what its answers mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from local_sagemaker import docker_cli
from local_sagemaker.docker_cli import DockerError

_ECR = "123456789012.dkr.ecr.us-east-1.amazonaws.com/rec:1"


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A docker command that has the images listed in the file beside it."""
    command = tmp_path / "docker"
    command.write_text(
        "#!/bin/sh\n"
        f'if [ "$1" != image ]; then echo "Error response from daemon: $1 is broken" >&2; exit 1; fi\n'
        f"for last; do :; done\n"
        f'if grep -qxF "$last" {tmp_path}/images; then echo "id of $last"\n'
        'else echo "Error: No such image: $last" >&2; exit 1; fi\n'
    )
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path / "images"


@pytest.mark.parametrize(
    ("here", "asked", "images", "found"),
    [
        ("rec:1", "rec:1", {}, "rec:1"),
        ("rec:1", _ECR, {}, "rec:1"),
        (_ECR, _ECR, {}, _ECR),
        ("mine:dev", _ECR, {"rec": "mine:dev"}, "mine:dev"),
        ("mine:dev", _ECR, {"rec:1": "mine:dev"}, "mine:dev"),
        ("mine:dev", _ECR, {_ECR: "mine:dev"}, "mine:dev"),
        ("mine:dev", "localhost:5000/a/rec:1", {"localhost:5000/a/rec": "mine:dev"}, "mine:dev"),
        ("mine:dev", "rec@sha256:0123", {"rec": "mine:dev"}, "mine:dev"),
    ],
)
def test_an_image_is_found_under_the_names_it_may_have(
    docker: Path, here: str, asked: str, images: dict[str, str], found: str
) -> None:
    docker.write_text(f"{here}\n")
    assert docker_cli.local_image(asked, images=images) == f"id of {found}"


def test_a_missing_image_is_refused_with_what_to_do(docker: Path) -> None:
    docker.write_text("")
    with pytest.raises(DockerError, match=r"no image 'rec:1' for '123.*docker build -t.*--image rec=TAG"):
        docker_cli.local_image(_ECR, images={})


def test_an_error_is_what_docker_says(docker: Path) -> None:
    with pytest.raises(DockerError, match=r"^start is broken$"):
        docker_cli.docker("start", "x")


def test_an_engine_that_does_not_answer_is_named(docker: Path) -> None:
    assert docker_cli.engine_problem() == "the Docker engine does not answer: version is broken"


def test_a_missing_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert docker_cli.engine_problem() == "there is no docker command on PATH"
    with pytest.raises(DockerError, match="no docker command"):
        docker_cli.docker("version")
