"""README.md: its tables are those of the code, and its commands are run."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tarfile
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import orjson
import pytest

import readme_tables
from docker_support import free_port

CHECKOUT = readme_tables.TOP
TEXT = readme_tables.README.read_text(encoding="utf-8")
COMMANDS = [
    re.sub(r"\s+#.*", "", line)
    for block in re.findall(r"```bash\n(.*?)```", TEXT, flags=re.DOTALL)
    for line in block.splitlines()
]

RUN_ELSEWHERE = {
    "local_test/demo.sh": ".ci/run",
    "tests/run.sh": ".ci/run",
    "docker build -t factorbox .": ".ci/run",
    "local_test/train_local.sh factorbox": "tests/docker/test_scripts_in_docker.py",
    "local_test/serve_local.sh factorbox": "tests/docker/test_scripts_in_docker.py",
    "local_test/predict.sh local_test/payloads/requests.jsonl": "tests/docker/test_scripts_in_docker.py",
}
"""Commands of the README that another test or CI runs, and the file that does."""

RUN_HERE = {
    "export PATH=$PWD/.venv/bin:$PATH",
    "SAGEMAKER_BASE_DIR=local_test/test_dir container/train",
    "tar -xzf output.tar.gz requests",
    "aws s3 cp --recursive requests s3://YOUR-BUCKET/requests",
    "python -m local_sagemaker start --bucket my-bucket",
    'eval "$(python -m local_sagemaker env)"',
    "aws s3 ls",
    *(command for command in COMMANDS if re.match(r"python local_test/(pipeline|tune)\.py ", command)),
    *(OF_A_MODEL := [command for command in COMMANDS if command.startswith("python -m factorbox ")]),
}


def test_the_tables_are_those_of_the_code() -> None:
    assert readme_tables.written() == TEXT, "run: python tests/readme_tables.py"


def test_every_command_is_run_by_a_test_or_by_ci() -> None:
    assert set(COMMANDS) == RUN_ELSEWHERE.keys() | RUN_HERE
    for command, runner in RUN_ELSEWHERE.items():
        words = (CHECKOUT / runner).read_text()
        program = command.split()[0]
        assert (f"{program} build" if program == "docker" else Path(program).name) in words, command


def test_every_file_that_it_names_exists() -> None:
    named = re.findall(r"`?((?:local_test|tests|container)/[\w./-]+)", TEXT)
    ours = [name for name in named if not name.startswith(("local_test/test_dir", "local_test/demo_output"))]
    assert ours and all((CHECKOUT / name.rstrip(".")).exists() for name in ours)


def test_the_json_answers_are_json() -> None:
    blocks = re.findall(r"```json\n(.*?)```", TEXT, flags=re.DOTALL)
    assert blocks
    for line in "".join(blocks).splitlines():
        assert orjson.loads(line)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what the commands need, so that they write nothing into the checkout."""
    folder = tmp_path / "factorbox"
    shutil.copytree(CHECKOUT / "container", folder / "container")
    shutil.copytree(
        CHECKOUT / "local_test", folder / "local_test", ignore=shutil.ignore_patterns("demo_output", "model", "output")
    )
    (folder / ".venv").symlink_to(CHECKOUT / ".venv")
    return folder


def test_training_without_docker_then_unpacking_the_requests(copy: Path) -> None:
    commands = COMMANDS[
        COMMANDS.index("export PATH=$PWD/.venv/bin:$PATH") : COMMANDS.index("tar -xzf output.tar.gz requests")
    ]
    subprocess.run(["bash", "-euc", "\n".join(commands)], cwd=copy, check=True, stdout=subprocess.DEVNULL)
    base = copy / "local_test/test_dir"
    assert (base / "model/manifest.json").exists()

    # What SageMaker makes of /opt/ml/output/data.
    with tarfile.open(copy / "output.tar.gz", "w:gz") as archive:
        for path in (base / "output/data").iterdir():
            archive.add(path, arcname=path.name)
    subprocess.run(["bash", "-euc", "tar -xzf output.tar.gz requests"], cwd=copy, check=True)
    parts = sorted(path.name for path in (copy / "requests").iterdir())
    assert parts == ["part-0000.jsonl"]


def test_the_commands_for_a_trained_model(copy: Path) -> None:
    start = COMMANDS.index("export PATH=$PWD/.venv/bin:$PATH")
    # The model of the demo takes a download; any other has the same commands.
    commands = [command.replace("demo_output/opt_ml/", "test_dir/") for command in OF_A_MODEL]
    script = "\n".join([*COMMANDS[start : start + 2], *commands])
    subprocess.run(["bash", "-euc", script], cwd=copy, check=True, stdout=subprocess.DEVNULL)
    assert sorted(path.name for path in (copy / "vectors").iterdir()) == ["items.parquet", "users.parquet"]


@pytest.mark.skipif(
    not os.environ.get("FACTORBOX_AWS"), reason="FACTORBOX_AWS names no aws command; .ci/run installs it"
)
def test_uploading_the_requests(tmp_path: Path) -> None:
    (tmp_path / "requests").mkdir()
    (tmp_path / "requests/part-0000.jsonl").write_text('{"user_id":"1","top_n":"10"}\n')
    received: dict[str, bytes] = {}

    class Bucket(BaseHTTPRequestHandler):
        """Takes what a bucket is sent."""

        def do_PUT(self) -> None:
            received[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("ETag", '"0"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        environment = {
            "PATH": f"{Path(os.environ['FACTORBOX_AWS']).parent}:/usr/bin:/bin",
            "HOME": str(tmp_path),
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        }
        command = "aws s3 cp --recursive requests s3://YOUR-BUCKET/requests".replace("YOUR-BUCKET", "a-bucket")
        subprocess.run(["bash", "-euc", command], cwd=tmp_path, env=environment, check=True, stdout=subprocess.DEVNULL)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert received == {"/a-bucket/requests/part-0000.jsonl": b'{"user_id":"1","top_n":"10"}\n'}


def test_serving_without_docker_answers_as_the_readme_says(copy: Path) -> None:
    port = free_port()
    environment = {
        **os.environ,
        "PATH": f"{CHECKOUT}/.venv/bin:{os.environ['PATH']}",
        "SAGEMAKER_BASE_DIR": "local_test/test_dir",
        "SAGEMAKER_BIND_TO_PORT": str(port),
    }
    subprocess.run(["container/train"], cwd=copy, env=environment, check=True, stdout=subprocess.DEVNULL)
    server = subprocess.Popen(["container/serve"], cwd=copy, env=environment, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5) as answer:
                    assert answer.status == 200
                break
            except urllib.error.URLError:
                assert server.poll() is None and time.monotonic() < deadline
                time.sleep(0.2)
        body = (CHECKOUT / "local_test/payloads/requests.jsonl").read_bytes()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations", data=body, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            rows = answer.read().decode().splitlines()
        assert rows and all(len(row.split(",")) == 3 for row in rows)
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0


def test_the_local_sagemaker_and_the_pipeline(copy: Path) -> None:
    start = COMMANDS.index("python -m local_sagemaker start --bucket my-bucket")
    server_command, *client_commands = COMMANDS[start : start + 6]
    if not os.environ.get("FACTORBOX_AWS"):
        client_commands.remove("aws s3 ls")
    port = f" --port {free_port()}"
    aws = Path(os.environ.get("FACTORBOX_AWS", "")).parent
    environment = {**os.environ, "PATH": f"{CHECKOUT}/.venv/bin:{os.environ['PATH']}:{aws}"}
    server = subprocess.Popen(
        [*server_command.split(), *port.split(), "--runner", "process", "--quiet"],
        cwd=copy,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    try:
        script = "\n".join(client_commands).replace("local_sagemaker env", f"local_sagemaker env{port}")
        wait = f"until python -m local_sagemaker env{port} >/dev/null 2>&1; do sleep 0.2; done"
        done = subprocess.run(
            ["timeout", "240", "bash", "-euc", f"{wait}\n{script}"],
            cwd=copy,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    answers = (copy / "recommendations/recommendations.csv").read_text().splitlines()
    assert len(answers) == 1 + 3 * 26
    assert json.loads((copy / "hyperparameters.json").read_text())["validation"] == "stratified"
    assert '"ParameterRanges"' in done.stdout
