"""What stands between a client and the local SageMaker: profiles, proxies, other endpoints."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from local_sagemaker import LocalSageMaker
from local_sagemaker.access import container_access, no_proxy_variables
from local_sagemaker.state import State

_DEAD = "http://127.0.0.1:9"
_SHELL = {
    "AWS_PROFILE": "missing",
    "AWS_DEFAULT_PROFILE": "missing",
    "AWS_ENDPOINT_URL": _DEAD,
    "AWS_ENDPOINT_URL_S3": _DEAD,
    "AWS_SESSION_TOKEN": "stale",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_USE_DUALSTACK_ENDPOINT": "true",
    "HTTP_PROXY": _DEAD,
    "http_proxy": _DEAD,
}


def test_a_client_heeds_nothing_of_the_shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(f"[default]\nregion = eu-west-1\nendpoint_url = {_DEAD}\n")
    for name, value in {**_SHELL, "AWS_CONFIG_FILE": str(config)}.items():
        monkeypatch.setenv(name, value)
    with LocalSageMaker(runner="process", bucket="a-bucket", quiet=True) as local:
        assert local.client("s3").list_objects_v2(Bucket="a-bucket")["KeyCount"] == 0
        assert local.client("sagemaker").list_training_jobs()["TrainingJobSummaries"] == []
        assert local.client("sts").get_caller_identity()["Account"] == "123456789012"
        assert local.client("s3").meta.region_name == "us-east-1"


def test_the_printed_environment_works_in_a_shell_with_profiles_and_proxies(tmp_path: Path) -> None:
    program = (
        "import boto3\n"
        "print(boto3.client('s3').list_objects_v2(Bucket='a-bucket')['KeyCount'])\n"
        "print(boto3.client('sagemaker').list_models()['Models'])"
    )
    with LocalSageMaker(runner="process", bucket="a-bucket", quiet=True) as local:
        script = f'eval "$({sys.executable} -m local_sagemaker env --port {local.port})" && {sys.executable} -'
        local_test = Path(__file__).parents[2] / "local_test"
        done = subprocess.run(
            ["sh", "-c", f'{script} && echo "$NO_PROXY"'],
            input=program,
            env={**_SHELL, "HOME": str(tmp_path), "NO_PROXY": "intranet", "PYTHONPATH": str(local_test)},
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert (done.stdout.split("\n"), done.stderr) == (["0", "[]", "intranet,127.0.0.1", ""], "")


@pytest.mark.parametrize(
    ("shell", "expected"),
    [
        ({}, "127.0.0.1"),
        ({"NO_PROXY": "a, b", "no_proxy": "b,c"}, "a,b,c,127.0.0.1"),
        ({"no_proxy": "127.0.0.1,a"}, "127.0.0.1,a"),
    ],
)
def test_exceptions_from_the_proxy_are_kept(shell: dict[str, str], expected: str) -> None:
    assert no_proxy_variables(shell) == {"NO_PROXY": expected, "no_proxy": expected}


def test_a_container_gets_access_unless_it_is_isolated() -> None:
    state = State(region="eu-west-1")
    assert container_access(state, isolated=False) == {}
    state.url = "http://127.0.0.1:1"
    assert container_access(state, isolated=True) == {}
    assert container_access(state, isolated=False) == {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }
