"""The JSON files of a job, old and new."""

from __future__ import annotations

from pathlib import Path

import pytest

from factorbox.contract.config_files import read_json_object, refuse_pipe_mode, refuse_several_hosts
from factorbox.contract.paths import Paths
from factorbox.errors import UserError


def test_a_missing_or_empty_file_is_an_empty_object(tmp_path: Path) -> None:
    assert read_json_object(tmp_path / "none.json") == {}
    (tmp_path / "empty.json").write_text(" \n")
    assert read_json_object(tmp_path / "empty.json") == {}


@pytest.mark.parametrize(
    "content", [b"{", b"epochs: 3", b"\xff\xfe", b"[" * 100_000, b"{'a': 1}"], ids=lambda c: repr(c[:9])
)
def test_what_is_not_json_is_refused_with_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "hyperparameters.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"hyperparameters.json is not JSON.*: write an object such as"):
        read_json_object(path)


@pytest.mark.parametrize("content", ["[]", "3", '"x"', "null", "true"])
def test_what_is_no_object_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "hyperparameters.json"
    path.write_text(content)
    with pytest.raises(UserError, match="holds no JSON object"):
        read_json_object(path)


def test_a_repeated_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hyperparameters.json"
    path.write_text('{"epochs": "1", "epochs": "2"}')
    with pytest.raises(UserError, match="'epochs' is given twice"):
        read_json_object(path)


def test_pipe_mode_is_refused_with_the_channel() -> None:
    observed = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}
    refuse_pipe_mode({"training": observed, "items": {"InputMode": "FastFile"}})
    for key in ("TrainingInputMode", "InputMode"):
        with pytest.raises(UserError, match=r"channel training has the input mode Pipe.*use File or FastFile"):
            refuse_pipe_mode({"training": {key: "Pipe"}})


def test_one_host_is_accepted_in_files_old_and_new() -> None:
    refuse_several_hosts({})
    refuse_several_hosts({"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"})
    refuse_several_hosts(
        {
            "current_host": "algo-1",
            "current_instance_type": "ml.c4.xlarge",
            "current_group_name": "homogeneousCluster",
            "hosts": ["algo-1"],
            "instance_groups": [
                {"instance_group_name": "homogeneousCluster", "instance_type": "ml.c4.xlarge", "hosts": ["algo-1"]}
            ],
            "network_interface_name": "eth0",
        }
    )


def test_several_hosts_are_refused_with_their_number() -> None:
    with pytest.raises(UserError, match=r"the job has 2 instances.*set InstanceCount to 1"):
        refuse_several_hosts({"current_host": "algo-1", "hosts": ["algo-1", "algo-2"]})


def test_the_base_folder_is_opt_ml_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Paths.from_environment().channel("training") == Path("/opt/ml/input/data/training")
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", "/somewhere")
    assert Paths.from_environment().failure == Path("/somewhere/output/failure")
