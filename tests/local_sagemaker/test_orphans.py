from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from local_sagemaker import docker_cli
from local_sagemaker.orphans import Session

_SLEEP = (sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(600)")
# A local SageMaker that starts a process and is then killed, as by kill -9.
_CRASH = """
import os, signal, subprocess, sys
from pathlib import Path
from local_sagemaker.orphans import Session
session = Session(Path(sys.argv[1]))
(session.workspace / "big file").write_text("left")
process = subprocess.Popen(sys.argv[2:], start_new_session=True, stdout=subprocess.DEVNULL)
session.note_process(process.pid)
print(process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def no_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers have their own tests: here the engine is neither needed nor asked."""
    monkeypatch.setattr(docker_cli, "engine_problem", lambda: "not here")


def start_sleeping() -> subprocess.Popen[bytes]:
    process = subprocess.Popen(_SLEEP, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    return process


def crash(folder: Path) -> int:
    """Run a session that crashes, and return the process that it left."""
    done = subprocess.run(
        [sys.executable, "-c", _CRASH, str(folder), sys.executable, "-c", "import time; time.sleep(600)"],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == -signal.SIGKILL
    return int(done.stdout)


def test_closing_ends_processes_and_removes_files(tmp_path: Path) -> None:
    session = Session(tmp_path / "sessions")
    process = start_sleeping()
    session.note_process(process.pid)
    (session.workspace / "file").write_text("x")
    session.close()
    session.close()
    assert process.wait() == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "sessions").iterdir()] == ["lock"]


def test_a_process_that_was_forgotten_is_left_alone(tmp_path: Path) -> None:
    session = Session(tmp_path / "sessions")
    process = start_sleeping()
    session.note_process(process.pid)
    session.forget_process(process.pid)
    session.close()
    assert process.poll() is None
    process.kill()
    process.wait()


def test_the_next_session_ends_what_a_crashed_one_left(tmp_path: Path) -> None:
    left = crash(tmp_path / "sessions")
    os.kill(left, 0)
    session = Session(tmp_path / "sessions")
    state = Path(f"/proc/{left}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] in "ZX"
    assert not list((tmp_path / "sessions").rglob("big file"))
    session.close()


def test_sessions_side_by_side_leave_each_other_alone(tmp_path: Path) -> None:
    first = Session(tmp_path / "sessions")
    process = start_sleeping()
    first.note_process(process.pid)
    second = Session(tmp_path / "sessions")
    assert first.name != second.name
    second.close()
    assert process.poll() is None
    assert first.workspace.is_dir()
    first.close()
    process.wait()


def test_a_number_that_now_names_another_process_is_left_alone(tmp_path: Path) -> None:
    session = Session(tmp_path / "sessions")
    process = start_sleeping()
    session.note_process(process.pid)
    note = next((tmp_path / "sessions").rglob(f"processes/{process.pid}"))
    note.write_text("another boot 12345")
    session.close()
    assert process.poll() is None
    process.kill()
    process.wait()


def test_a_session_closes_itself_at_exit(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from local_sagemaker.orphans import Session; Session(Path(sys.argv[1]))"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "sessions")],
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert [path.name for path in (tmp_path / "sessions").iterdir()] == ["lock"]


def test_the_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / f"local-sagemaker-{os.getuid()}").symlink_to(tmp_path)
    with pytest.raises(PermissionError, match="not a folder of this user"):
        Session()
