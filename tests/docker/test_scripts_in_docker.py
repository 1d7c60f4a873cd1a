from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from docker_support import LOCAL_TEST, base_folder, free_port


def test_the_three_scripts_train_serve_and_predict(image: str, tmp_path: Path) -> None:
    base = base_folder(tmp_path)
    subprocess.run([LOCAL_TEST / "train_local.sh", image, base], check=True)
    assert (base / "model/manifest.json").exists()
    assert {path.stat().st_uid for path in base.rglob("*")} == {os.getuid()}

    environment = {**os.environ, "PORT": str(free_port())}
    server = subprocess.Popen([LOCAL_TEST / "serve_local.sh", image, base], env=environment)
    try:
        rows = _predict("requests.csv", environment).split("\n")
        assert [row.split(",")[0] for row in rows[:-1]] == ["ada"] * 3 + ["ben"] * 10 + ["somebody new"] * 2
        lines = _predict("requests.jsonl", environment, "application/jsonlines", "application/jsonlines").splitlines()
        assert len(lines) == 3
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0


def _predict(name: str, environment: dict[str, str], *types: str) -> str:
    command = [str(LOCAL_TEST / "predict.sh"), str(LOCAL_TEST / "payloads" / name), *types]
    deadline = time.monotonic() + 60
    while True:
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True)
        if done.returncode == 0:
            return done.stdout
        if time.monotonic() > deadline:
            pytest.fail("the server did not become ready")
        time.sleep(0.2)
