"""The Docker runner, with the image's python as the container's program."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from docker_support import docker
from local_sagemaker.docker_runner import DockerContainer, DockerRunner
from local_sagemaker.orphans import JOB_LABEL, Session
from local_sagemaker.runners import ContainerSpec, RunnerError

_SERVER = """
import os, signal, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        try:
            open('/opt/ml/model/new', 'w')
            answer = 'written'
        except OSError as error:
            answer = error.strerror
        answer += ' ' + open('/opt/ml/model/factors').read()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(answer.encode())
print('listening', flush=True)
HTTPServer(('0.0.0.0', 8080), Handler).serve_forever()
"""
_IGNORE = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"
# A local SageMaker that starts a container and is then killed, as by kill -9.
_CRASH = """
import os, signal, sys
from pathlib import Path
from local_sagemaker.docker_runner import DockerRunner
from local_sagemaker.orphans import Session
from local_sagemaker.runners import ContainerSpec
session = Session(Path(sys.argv[1]))
base = session.workspace / "ml"
(base / "model").mkdir(parents=True)
spec = ContainerSpec(job="endpoint/left", image=sys.argv[2], entrypoint=("python3", "-c"), arguments=(sys.argv[3],),
                     environment={}, base=base, serves=True, isolated=True)
DockerRunner(images={}, session=session).start(spec, on_line=lambda _: None)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    session = Session(tmp_path / "sessions")
    yield session
    session.close()
    assert left_by(session) == []


@pytest.fixture
def runner(session: Session) -> DockerRunner:
    return DockerRunner(images={}, session=session)


def left_by(session: Session) -> list[str]:
    label = f"label=local-sagemaker={session.name}"
    kinds = (["container", "ls", "--all"], ["volume", "ls"], ["network", "ls"])
    return [name for kind in kinds for name in docker(*kind, "--quiet", "--filter", label).split()]


def spec_of(
    image: str,
    base: Path,
    program: str,
    *,
    environment: dict[str, str] | None = None,
    serves: bool = False,
    isolated: bool = False,
) -> ContainerSpec:
    for name in ("model", "output/data", "input/data"):
        (base / name).mkdir(parents=True, exist_ok=True)
    return ContainerSpec(
        job="training-job/probe",
        image=image,
        entrypoint=("python3", "-c"),
        arguments=(program,),
        environment=environment or {},
        base=base,
        serves=serves,
        isolated=isolated,
    )


def wait_for(lines: list[str], text: str) -> None:
    for _ in range(600):
        if text in lines:
            return
        time.sleep(0.1)
    raise AssertionError(f"no {text!r} in {lines}")


def get(container: DockerContainer) -> str:
    assert container.address is not None
    connection = http.client.HTTPConnection(*container.address, timeout=30)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def test_folders_go_in_and_come_back_as_this_users(image: str, runner: DockerRunner, tmp_path: Path) -> None:
    base = tmp_path / "ml"
    program = (
        "import os, pathlib as p; m = p.Path('/opt/ml')\n"
        "(m / 'model/deep').mkdir(); (m / 'model/deep/factors').write_text((m / 'input/data/x').read_text() * 2)\n"
        "(m / 'model/latest').symlink_to('deep'); (m / 'output/failure').write_text('because')\n"
        "os.chown(m / 'model/deep/factors', 4321, 4321)"
    )
    spec = spec_of(image, base, program)
    (base / "input/data/x").write_text("data")
    container = runner.start(spec, on_line=lambda _: None)
    assert container.wait() == 0
    container.collect()
    container.remove()
    container.remove()
    assert (base / "model/latest/factors").read_text() == "datadata"
    assert (base / "output/failure").read_text() == "because"
    assert all(path.lstat().st_uid == os.getuid() for path in base.rglob("*"))


def test_large_folders_go_in_and_come_back(image: str, runner: DockerRunner, tmp_path: Path) -> None:
    base = tmp_path / "ml"
    spec = spec_of(image, base, "import os; os.rename('/opt/ml/input/data/large', '/opt/ml/model/large')")
    content = os.urandom(1024 * 1024) * 64
    (base / "input/data/large").write_bytes(content)
    container = runner.start(spec, on_line=lambda _: None)
    assert container.wait() == 0
    container.collect()
    container.remove()
    assert (base / "model/large").read_bytes() == content


def test_what_a_container_has_not_is_not_missed(image: str, runner: DockerRunner, tmp_path: Path) -> None:
    spec = spec_of(image, tmp_path / "ml", "import shutil; shutil.rmtree('/opt/ml/output')")
    container = runner.start(spec, on_line=lambda _: None)
    assert container.wait() == 0
    container.collect()
    container.remove()


def test_every_line_is_there_when_it_has_ended(image: str, runner: DockerRunner, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "for n in range(20000): print(f'line {n:05d}', 'x' * 90)\n"
        "print('y' * 100_000)\n"
        "sys.stdout.flush(); sys.stdout.buffer.write(bytes([255]) + b'no newline')"
    )
    lines: list[str] = []
    container = runner.start(spec_of(image, tmp_path / "ml", program), on_line=lines.append)
    assert container.wait() == 0
    container.remove()
    assert [line[:10] for line in lines[:20_000]] == [f"line {n:05d}" for n in range(20_000)]
    assert lines[20_000:] == ["y" * 100_000, "\N{REPLACEMENT CHARACTER}no newline"]


def test_environment_and_exit_code_pass_through(image: str, runner: DockerRunner, tmp_path: Path) -> None:
    program = "import os, sys; print(os.environ['A'], os.environ['NVIDIA_VISIBLE_DEVICES'], sep='|'); sys.exit(7)"
    lines: list[str] = []
    spec = spec_of(image, tmp_path / "ml", program, environment={"A": "one = two\nthree"})
    container = runner.start(spec, on_line=lines.append)
    assert container.wait() == 7
    container.remove()
    assert lines == ["one = two", "three|void"]


def test_stop_kills_who_ignores_sigterm(image: str, runner: DockerRunner, tmp_path: Path) -> None:
    lines: list[str] = []
    container = runner.start(spec_of(image, tmp_path / "ml", _IGNORE), on_line=lines.append)
    wait_for(lines, "ready")
    assert container.wait(0) is None
    assert container.stop(grace_seconds=0.5) == 137
    assert container.stop(grace_seconds=0.5) == 137
    container.remove()


def test_stop_lets_it_end_with_its_own_code(image: str, runner: DockerRunner, tmp_path: Path) -> None:
    program = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(3)); print('ready', flush=True)"
    lines: list[str] = []
    spec = spec_of(image, tmp_path / "ml", f"{program}; time.sleep(600)")
    container = runner.start(spec, on_line=lines.append)
    wait_for(lines, "ready")
    assert container.stop(grace_seconds=60) == 3
    container.remove()


def test_lack_of_memory_is_said_in_the_log(image: str, runner: DockerRunner, session: Session, tmp_path: Path) -> None:
    program = "import signal, time; signal.signal(10, lambda *_: bytearray(2**29)); print('ready', flush=True)"
    lines: list[str] = []
    container = runner.start(spec_of(image, tmp_path / "ml", f"{program}; time.sleep(600)"), on_line=lines.append)
    wait_for(lines, "ready")
    identity = docker("ps", "--quiet", "--filter", f"label=local-sagemaker={session.name}").strip()
    docker("update", "--memory=64m", "--memory-swap=64m", identity)
    docker("kill", "--signal=USR1", identity)
    assert container.wait() == 137
    container.remove()
    assert lines[-1].endswith("(OOMKilled)")


def test_a_container_that_someone_else_removes_has_ended(
    image: str, runner: DockerRunner, session: Session, tmp_path: Path
) -> None:
    lines: list[str] = []
    container = runner.start(spec_of(image, tmp_path / "ml", _IGNORE), on_line=lines.append)
    wait_for(lines, "ready")
    docker("rm", "--force", docker("ps", "--quiet", "--filter", f"label=local-sagemaker={session.name}").strip())
    assert container.wait() == 137
    container.remove()


@pytest.mark.parametrize("isolated", [False, True])
def test_a_served_model_is_read_only_even_for_root(
    image: str, runner: DockerRunner, session: Session, tmp_path: Path, isolated: bool
) -> None:
    lines: list[str] = []
    spec = spec_of(image, tmp_path / "ml", _SERVER, serves=True, isolated=isolated)
    (spec.base / "model/factors").write_text("the model")
    container = runner.start(spec, on_line=lines.append)
    wait_for(lines, "listening")
    assert get(container) == "Read-only file system the model"
    networks = docker("network", "ls", "--quiet", "--filter", f"label=local-sagemaker={session.name}").split()
    insides = [docker("network", "inspect", "--format", "{{.Internal}}", name).strip() for name in networks]
    assert insides == (["true"] if isolated else [])
    assert container.stop(grace_seconds=30) == 0
    container.remove()


def test_an_isolated_training_has_no_network(image: str, runner: DockerRunner, tmp_path: Path) -> None:
    program = "import os; print(*os.listdir('/sys/class/net'))"
    lines: list[str] = []
    container = runner.start(spec_of(image, tmp_path / "ml", program, isolated=True), on_line=lines.append)
    assert container.wait() == 0
    container.remove()
    assert lines == ["lo"]


def test_a_server_that_ends_at_once_still_shows_why(image: str, runner: DockerRunner, tmp_path: Path) -> None:
    lines: list[str] = []
    spec = spec_of(image, tmp_path / "ml", "import sys; sys.exit('no model')", serves=True)
    container = runner.start(spec, on_line=lines.append)
    assert container.wait() == 1
    assert lines == ["no model"]
    with pytest.raises(OSError):
        get(container)
    container.remove()


def test_a_missing_image_is_refused_and_never_pulled(
    image: str, runner: DockerRunner, session: Session, tmp_path: Path
) -> None:
    with pytest.raises(RunnerError, match="this machine has no image 'no-such-image:1'"):
        runner.start(spec_of("no-such-image:1", tmp_path / "ml", ""), on_line=lambda _: None)
    assert left_by(session) == []


@pytest.mark.parametrize("serves", [False, True])
def test_a_program_that_the_image_has_not_leaves_nothing(
    image: str, runner: DockerRunner, session: Session, tmp_path: Path, serves: bool
) -> None:
    spec = spec_of(image, tmp_path / "ml", "", serves=serves, isolated=True)
    broken = ContainerSpec(**{**spec.__dict__, "entrypoint": ("/no/such/program",)})
    with pytest.raises(RunnerError, match="/no/such/program"):
        runner.start(broken, on_line=lambda _: None)
    assert left_by(session) == []


def test_many_at_once_keep_apart(image: str, runner: DockerRunner, tmp_path: Path) -> None:
    program = "import os; print(os.environ['NUMBER']); open('/opt/ml/model/n', 'w').write(os.environ['NUMBER'])"
    seen: dict[int, list[str]] = {number: [] for number in range(5)}

    def run(number: int) -> None:
        base = tmp_path / str(number)
        spec = spec_of(image, base, program, environment={"NUMBER": str(number)})
        container = runner.start(spec, on_line=seen[number].append)
        container.wait()
        container.collect()
        container.remove()

    threads = [threading.Thread(target=run, args=(number,)) for number in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {number: [str(number)] for number in seen}
    assert [(tmp_path / str(number) / "model/n").read_text() for number in seen] == [str(n) for n in seen]


def test_the_end_of_the_session_removes_what_runs(image: str, tmp_path: Path) -> None:
    session = Session(tmp_path / "sessions")
    runner = DockerRunner(images={}, session=session)
    lines: list[str] = []
    spec = spec_of(image, tmp_path / "ml", _IGNORE, serves=True, isolated=True)
    container = runner.start(spec, on_line=lines.append)
    wait_for(lines, "ready")
    assert len(left_by(session)) == 3
    session.close()
    assert left_by(session) == []
    assert container.wait() == 137


def test_the_next_session_removes_what_a_crashed_one_left(image: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _CRASH, str(tmp_path / "sessions"), image, _IGNORE],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == -9
    label = f"label={JOB_LABEL}=endpoint/left"
    assert docker("ps", "--quiet", "--filter", label).split()
    session = Session(tmp_path / "sessions")
    session.close()
    for kind in (["container", "ls", "--all"], ["volume", "ls"], ["network", "ls"]):
        assert docker(*kind, "--quiet", "--filter", label).split() == []
