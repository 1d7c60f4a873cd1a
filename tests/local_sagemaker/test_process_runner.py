from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_sagemaker.orphans import Session
from local_sagemaker.process_runner import ProcessContainer, ProcessRunner
from local_sagemaker.runners import ContainerSpec, RunnerError, make_runner

CONTAINERS = Path(__file__).parent / "containers"


class Lines(list[str]):
    """Collects lines, and lets a test wait for the first one."""

    def __init__(self) -> None:
        self._first = threading.Event()

    def add(self, line: str) -> None:
        self.append(line)
        self._first.set()

    def wait_for_first(self) -> str:
        assert self._first.wait(60)
        return self[0]


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    session = Session(tmp_path / "sessions")
    yield session
    session.close()


@pytest.fixture
def runner(session: Session) -> ProcessRunner:
    return ProcessRunner(container=CONTAINERS / "runner_probe", session=session)


@pytest.fixture
def lines() -> Lines:
    return Lines()


def spec_of(
    base: Path,
    behaviour: str = "",
    *,
    entrypoint: tuple[str, ...] = (),
    arguments: tuple[str, ...] = ("train",),
    serves: bool = False,
) -> ContainerSpec:
    (base / "model").mkdir(parents=True, exist_ok=True)
    return ContainerSpec(
        job="training-job/probe",
        image="whatever:1",
        entrypoint=entrypoint,
        arguments=arguments,
        environment={"BEHAVIOUR": behaviour},
        base=base,
        serves=serves,
        isolated=False,
    )


def ends(pid: int) -> bool:
    """Whether a process ends soon; one that was not yet asked for its exit code has ended."""
    for _ in range(600):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def open_pipes() -> set[str]:
    """Return the pipes that this process has open."""
    names = (os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink())
    return {name for name in names if name.startswith("pipe:")}


def get(container: ProcessContainer, body: bytes) -> bytes:
    assert container.address is not None
    connection = http.client.HTTPConnection(*container.address, timeout=30)
    try:
        connection.request("POST", "/invocations", body=body)
        return connection.getresponse().read()
    finally:
        connection.close()


@pytest.mark.parametrize(("behaviour", "code"), [("exit 0", 0), ("exit 7", 7), ("kill-itself", 137)])
def test_the_exit_code_is_the_one_that_docker_gives(
    runner: ProcessRunner, tmp_path: Path, lines: Lines, behaviour: str, code: int
) -> None:
    container = runner.start(spec_of(tmp_path / "ml", behaviour), on_line=lines.add)
    assert container.wait() == code
    container.remove()


def test_all_lines_are_there_when_it_has_ended(runner: ProcessRunner, tmp_path: Path, lines: Lines) -> None:
    container = runner.start(spec_of(tmp_path / "ml", "lines"), on_line=lines.add)
    container.wait()
    assert lines == ["to stdout", "to stderr", "no newline at the end"]


def test_a_burst_of_output_is_complete(runner: ProcessRunner, tmp_path: Path, lines: Lines) -> None:
    container = runner.start(spec_of(tmp_path / "ml", "burst"), on_line=lines.add)
    assert container.wait() == 0
    assert [line[:10] for line in lines] == [f"line {number:05d}" for number in range(20_000)]


def test_what_it_writes_is_in_the_base_folder(runner: ProcessRunner, tmp_path: Path, lines: Lines) -> None:
    container = runner.start(spec_of(tmp_path / "ml", "write"), on_line=lines.add)
    container.wait()
    container.collect()
    assert (tmp_path / "ml/model/factors").read_text() == "written"


def test_it_sees_the_request_and_not_the_shell(
    runner: ProcessRunner, tmp_path: Path, lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "mine")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    spec = spec_of(tmp_path / "ml", "environment", arguments=("train", "--flag", "two words"))
    runner.start(spec, on_line=lines.add).wait()
    seen = json.loads(lines[0])
    assert seen["environment"]["SAGEMAKER_BASE_DIR"] == str(tmp_path / "ml")
    assert not {"AWS_SECRET_ACCESS_KEY", "PYTHONPATH", "SAGEMAKER_BIND_TO_PORT"} & set(seen["environment"])
    assert seen["arguments"] == ["--flag", "two words"]
    assert Path(seen["python"]).parent == Path(sys.executable).parent


def test_an_entry_point_replaces_the_command(runner: ProcessRunner, tmp_path: Path, lines: Lines) -> None:
    spec = spec_of(tmp_path / "ml", entrypoint=("python3", "-c"), arguments=("print('here'); raise SystemExit(4)",))
    assert runner.start(spec, on_line=lines.add).wait() == 4
    assert lines == ["here"]


def test_an_entry_point_that_only_the_image_has_is_refused(runner: ProcessRunner, tmp_path: Path, lines: Lines) -> None:
    spec = spec_of(tmp_path / "ml", entrypoint=("/opt/program/special",))
    with pytest.raises(RunnerError, match="/opt/program/special"):
        runner.start(spec, on_line=lines.add)


def test_stop_lets_it_save_and_returns_its_code(runner: ProcessRunner, tmp_path: Path, lines: Lines) -> None:
    container = runner.start(spec_of(tmp_path / "ml", "wait-for-sigterm"), on_line=lines.add)
    lines.wait_for_first()
    assert container.wait(0) is None
    assert container.stop(grace_seconds=60) == 3
    assert (tmp_path / "ml/model/factors").read_text() == "saved at the end"
    assert container.stop(grace_seconds=60) == 3


def test_who_ignores_sigterm_is_killed_after_the_grace(runner: ProcessRunner, tmp_path: Path, lines: Lines) -> None:
    container = runner.start(spec_of(tmp_path / "ml", "ignore-sigterm"), on_line=lines.add)
    lines.wait_for_first()
    assert container.stop(grace_seconds=0.2) == 137


def test_no_child_outlives_the_first_process(runner: ProcessRunner, tmp_path: Path, lines: Lines) -> None:
    container = runner.start(spec_of(tmp_path / "ml", "leave-a-child"), on_line=lines.add)
    assert container.wait() == 0
    assert ends(int(lines[0]))


def test_no_daemon_outlives_the_first_process(runner: ProcessRunner, tmp_path: Path, lines: Lines) -> None:
    container = runner.start(spec_of(tmp_path / "ml", "leave-a-daemon"), on_line=lines.add)
    assert container.wait() == 0
    assert ends(int(lines[0]))


def test_a_stranger_that_holds_the_output_holds_up_nothing(runner: ProcessRunner, tmp_path: Path, lines: Lines) -> None:
    before = open_pipes()
    container = runner.start(spec_of(tmp_path / "ml", "leave-a-stranger"), on_line=lines.add)
    try:
        assert container.wait() == 0
        container.remove()
        assert open_pipes() == before
    finally:
        os.kill(int(lines[0]), signal.SIGKILL)


def test_a_process_that_cannot_be_noted_is_ended(tmp_path: Path, lines: Lines) -> None:
    session = Session(tmp_path / "sessions")
    runner = ProcessRunner(container=CONTAINERS / "runner_probe", session=session)
    session.close()
    before = open_pipes()
    with pytest.raises(RunnerError, match="cannot be noted"):
        runner.start(spec_of(tmp_path / "ml", "ignore-sigterm"), on_line=lines.add)
    assert open_pipes() == before


def test_remove_ends_it_and_may_be_called_twice(runner: ProcessRunner, tmp_path: Path, lines: Lines) -> None:
    container = runner.start(spec_of(tmp_path / "ml", "ignore-sigterm"), on_line=lines.add)
    lines.wait_for_first()
    container.remove()
    container.remove()
    assert container.wait(0) == 137


def test_servers_side_by_side_answer_on_ports_of_their_own(runner: ProcessRunner, tmp_path: Path) -> None:
    containers = []
    for number in range(3):
        lines = Lines()
        spec = spec_of(tmp_path / str(number), arguments=("serve",), serves=True)
        containers.append(runner.start(spec, on_line=lines.add))
        lines.wait_for_first()
    pids = {json.loads(get(container, b"x"))["pid"] for container in containers}
    assert len(pids) == 3
    for container in containers:
        assert container.stop(grace_seconds=60) == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser writes everywhere")
def test_a_served_model_is_read_only(runner: ProcessRunner, tmp_path: Path, lines: Lines) -> None:
    container = runner.start(spec_of(tmp_path / "ml", arguments=("serve",), serves=True), on_line=lines.add)
    lines.wait_for_first()
    assert get(container, b"write") == b"read-only"
    container.remove()


def test_a_served_model_has_no_permission_to_write(runner: ProcessRunner, tmp_path: Path, lines: Lines) -> None:
    spec = spec_of(tmp_path / "ml", arguments=("serve",), serves=True)
    (spec.base / "model/factors").write_text("x")
    container = runner.start(spec, on_line=lines.add)
    container.remove()
    assert not any(path.stat().st_mode & 0o222 for path in (spec.base / "model", spec.base / "model/factors"))


def test_a_folder_without_train_and_serve_is_refused(session: Session, tmp_path: Path) -> None:
    with pytest.raises(RunnerError, match=r"train is no executable file.*--container"):
        make_runner("process", images={}, container=tmp_path, session=session)


def test_docker_is_refused_by_name_where_there_is_none(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RunnerError, match=r"no docker command on PATH; --runner process"):
        make_runner("docker", images={}, container=CONTAINERS / "runner_probe", session=session)


def test_auto_means_processes_where_there_is_no_docker(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    runner = make_runner("auto", images={}, container=CONTAINERS / "runner_probe", session=session)
    assert runner.name == "process"


def test_a_port_is_given_to_one_container_at_a_time(runner: ProcessRunner, tmp_path: Path, lines: Lines) -> None:
    container = runner.start(spec_of(tmp_path / "ml", arguments=("serve",), serves=True), on_line=lines.add)
    lines.wait_for_first()
    container.remove()
    assert container.address is not None
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(container.address)
