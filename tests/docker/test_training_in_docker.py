from __future__ import annotations

import json
from pathlib import Path

from docker_support import ANY_USER, base_folder, docker, running


def test_any_user_trains_on_a_read_only_system_without_network(trained: tuple[Path, str]) -> None:
    base, log = trained
    assert "epoch=10;" in log
    assert json.loads((base / "model/manifest.json").read_text())["algorithm"] == "als"
    requests = (base / "output/data/requests/part-0000.jsonl").read_text().splitlines()
    assert json.loads(requests[0]) == {"user_id": "ada", "top_n": "10"}


def test_a_job_leaves_no_file_of_another_user_behind(trained: tuple[Path, str]) -> None:
    base, _ = trained
    written = [path for name in ("model", "output") for path in (base / name).rglob("*")]
    assert written
    assert {path.stat().st_uid for path in written} == {ANY_USER}


def test_root_trains_the_same_bytes(image: str, trained: tuple[Path, str], tmp_path: Path) -> None:
    base = base_folder(tmp_path)
    docker("run", "--rm", "--volume", f"{base}:/opt/ml", image, "train")
    for name in ("manifest.json", "factors.safetensors", "users.arrow", "items.arrow"):
        assert (base / "model" / name).read_bytes() == (trained[0] / "model" / name).read_bytes()


def test_a_failed_job_says_why_in_the_failure_file(image: str, tmp_path: Path) -> None:
    base = base_folder(tmp_path)
    (base / "input/config/hyperparameters.json").write_text('{"embedding_dims": "8"}')
    with running(image, ["train"], options=("--volume", f"{base}:/opt/ml")) as container:
        assert container.exit_code() == 1
        assert "Traceback" not in container.logs()
    failure = (base / "output/failure").read_text()
    assert "embedding_dims" in failure
    assert "embedding_dim" in failure.replace("embedding_dims", "")


def test_sigterm_to_process_1_saves_the_model_as_it_stands(image: str, tmp_path: Path) -> None:
    base = base_folder(tmp_path)
    (base / "input/config/hyperparameters.json").write_text('{"epochs": "100000", "embedding_dim": "512"}')
    with running(image, ["train"], options=("--volume", f"{base}:/opt/ml")) as container:
        container.wait_for("epoch=1;")
        docker("stop", "--time", "60", container.identity)
        assert container.exit_code() == 0
        assert "stopped early" in container.logs()
    assert json.loads((base / "model/manifest.json").read_text())["counts"]["epochs"] < 100_000
