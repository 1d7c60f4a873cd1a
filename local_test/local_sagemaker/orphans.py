"""Nothing is left behind: what a local SageMaker started can be found and ended, also after kill -9.

::

    <folder of this user>/
    ├── lock                 held while a session begins
    └── <session>/
        ├── lock             held as long as the server lives; the kernel lets go of it, however the server ends
        ├── processes/<pid>  one file a process group: when its first process started
        └── work/            temporary files of jobs

Containers, volumes and networks carry the session's name and owner as labels. Whatever belongs to a session whose
lock is free is ended when the next session of the same user begins.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import secrets
import signal
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from local_sagemaker import docker_cli
from local_sagemaker.folders import remove_tree

SESSION_LABEL = "local-sagemaker"
OWNER_LABEL = "local-sagemaker.owner"
JOB_LABEL = "local-sagemaker.job"
BASE_VARIABLE = "SAGEMAKER_BASE_DIR"
"""Names the folder that stands for /opt/ml in the environment of a job's processes."""

_DYING_SECONDS = 5.0


class Session:
    """One run of a local SageMaker.

    Beginning one ends what crashed sessions of the same user and folder left. It closes itself when the interpreter
    exits.

    Parameters
    ----------
    folder
        Where sessions are noted; by default a folder of this user among the temporary files.

    Attributes
    ----------
    name
        Tells this session from all others; the value of the label ``local-sagemaker``.
    workspace
        A folder for temporary files, which goes with the session.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or _own_folder()
        self._folder.mkdir(parents=True, exist_ok=True)
        self.name = secrets.token_hex(8)
        self._own = self._folder / self.name
        self.workspace = self._own / "work"
        self._pid = os.getpid()
        self._closed = False
        with _locked(self._folder / "lock"):
            self.workspace.mkdir(parents=True)
            self._processes.mkdir()
            self._lock = os.open(self._own / "lock", os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            self._end_orphans()
        atexit.register(self.close)

    @property
    def labels(self) -> dict[str, str]:
        """The labels of everything that this session makes in Docker."""
        return {SESSION_LABEL: self.name, OWNER_LABEL: self._owner}

    def note_process(self, pid: int) -> None:
        """Note the first process of a process group that was just started."""
        (self._processes / str(pid)).write_text(_started_at(pid) or "")

    def forget_process(self, pid: int) -> None:
        """Forget a process group that is gone."""
        (self._processes / str(pid)).unlink(missing_ok=True)

    def close(self) -> None:
        """End every process and container of the session and remove its files; a second call does nothing."""
        # A forked child inherits this object and the call at exit, but none of what it stands for.
        if self._closed or os.getpid() != self._pid:
            return
        self._closed = True
        atexit.unregister(self.close)
        _end_processes(self._processes)
        docker_cli.remove_labelled(SESSION_LABEL, self.name)
        # A session that begins now must not see the folder half gone.
        with _locked(self._folder / "lock"):
            remove_tree(self._own)
        os.close(self._lock)

    @property
    def _processes(self) -> Path:
        return self._own / "processes"

    @property
    def _owner(self) -> str:
        # Another user, machine or folder may share the Docker engine: theirs is not ours to judge.
        return f"{os.getuid()}@{socket.gethostname()}:{self._folder.resolve()}"

    def _end_orphans(self) -> None:
        """End what belongs to sessions that no server holds any more."""
        alive = set()
        for own in list(self._folder.iterdir()):
            if own.is_dir() and not _is_free(own / "lock"):
                alive.add(own.name)
            elif own.is_dir():
                _end_processes(own / "processes")
                kill_left_behind(own)
                remove_tree(own)
        docker_cli.remove_labelled(OWNER_LABEL, self._owner, by=SESSION_LABEL, spare=alive.__contains__)


def _own_folder() -> Path:
    """Return this user's folder among the temporary files, checked to be nobody else's."""
    folder = Path(tempfile.gettempdir()) / f"local-sagemaker-{os.getuid()}"
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise PermissionError(f"{folder} is not a folder of this user: remove it, or set TMPDIR to another place")
    return folder


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_free(lock: Path) -> bool:
    """Whether nobody holds a session's lock; one that was never made belongs to a session that died at birth."""
    try:
        file = lock.open("r+")
    except FileNotFoundError:
        return True
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _end_processes(notes: Path) -> None:
    killed = []
    for note in notes.iterdir() if notes.is_dir() else ():
        pid = int(note.name)
        now = _started_at(pid)
        # The number of a first process that has ended is not given away while its group has members. Where it
        # names a process that started at another time, the group is long gone.
        if now is None or now == note.read_text():
            kill_group(pid)
            killed.append(pid)
    # A process dies a moment after the signal; until then it may still write into what is removed next.
    end = time.monotonic() + _DYING_SECONDS
    while any(_started_at(pid) for pid in killed) and time.monotonic() < end:
        time.sleep(0.01)


def kill_group(pid: int) -> None:
    """Send SIGKILL to a process group; one that is gone is no error."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def kill_left_behind(folder: Path) -> None:
    """Send SIGKILL to every process of this user that works in a base folder below `folder`.

    A process that called setsid is in no group of ours any more; its environment still names the base folder.
    """
    marks = (f"{BASE_VARIABLE}={folder}".encode(), f"{BASE_VARIABLE}={folder}/".encode())
    for process in Path("/proc").glob("[0-9]*"):
        try:
            variables = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            # Another user's, or one that has just ended.
            continue
        if any(variable == marks[0] or variable.startswith(marks[1]) for variable in variables):
            with suppress(ProcessLookupError):
                os.kill(int(process.name), signal.SIGKILL)


def _started_at(pid: int) -> str | None:
    """Return when a process started, in ticks since this boot and with the boot's name; ``None`` if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # Z and X: dead, and kept for whoever asks for the exit code.
    return None if fields[0] in "ZX" else f"{boot} {fields[19]}"
