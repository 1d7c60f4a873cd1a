"""Containers as processes: ``train`` and ``serve`` of a folder, whatever the image is called.

What differs from Docker: the files of this machine are visible, network isolation is not enforced, a first process
without a handler ends at SIGTERM instead of ignoring it, and the superuser can write into the model folder.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from local_sagemaker.container_output import hand_on_lines
from local_sagemaker.folders import make_read_only
from local_sagemaker.orphans import BASE_VARIABLE, Session, kill_group, kill_left_behind
from local_sagemaker.runners import ContainerSpec, RunnerError

# A container does not see the caller's shell: no credentials, no settings, no PYTHONPATH.
_INHERITED = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "LOGNAME", "TMPDIR", "TZ", "USER")
# How long output may still come once every process of the group is dead: a process that left it may hold the pipe,
# silently or writing on.
_SILENCE_SECONDS = 0.25
_LAST_LINES_SECONDS = 2.0


class ProcessRunner:
    """Starts processes with ``SAGEMAKER_BASE_DIR`` in place of ``/opt/ml``.

    Parameters
    ----------
    container
        The folder with the executables ``train`` and ``serve``.
    session
        Notes every process group, so that a crash leaves none for long.

    Raises
    ------
    RunnerError
        Where the folder has no executable ``train`` or ``serve``.
    """

    name = "process"

    def __init__(self, *, container: Path, session: Session) -> None:
        self._container = container.resolve()
        self._session = session
        self._ports: set[int] = set()
        self._lock = threading.Lock()
        for name in ("train", "serve"):
            if not os.access(self._container / name, os.X_OK):
                raise RunnerError(
                    f"{self._container / name} is no executable file: name the folder that has train and serve "
                    "with --container"
                )

    def start(self, spec: ContainerSpec, *, on_line: Callable[[str], None]) -> ProcessContainer:
        """Start a process; see :class:`local_sagemaker.runners.Runner`."""
        command = [*spec.entrypoint, *spec.arguments]
        path = os.pathsep.join([str(self._container), str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        program = shutil.which(command[0], path=path) if command else None
        if program is None:
            raise RunnerError(
                f"the process runner finds no executable {command[0] if command else ''!r} in {self._container} or "
                "on PATH: it runs train and serve of that folder, and no path that only the image has"
            )
        port = self._free_port() if spec.serves else None
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        environment |= {"PYTHONUNBUFFERED": "1", **spec.environment, "PATH": path}
        environment[BASE_VARIABLE] = str(spec.base)
        if port is not None:
            environment["SAGEMAKER_BIND_TO_PORT"] = str(port)
            (spec.base / "model").mkdir(parents=True, exist_ok=True)
            make_read_only(spec.base / "model")
        try:
            process = subprocess.Popen(
                [program, *command[1:]],
                bufsize=0,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=self._container,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            self._give_back(port)
            raise RunnerError(f"{program} cannot be started: {error.strerror or error}") from error
        try:
            self._session.note_process(process.pid)
        except OSError as error:
            kill_group(process.pid)
            process.communicate()
            self._give_back(port)
            raise RunnerError(f"the process of {program} cannot be noted: {error}") from error
        return ProcessContainer(
            process,
            base=spec.base,
            port=port,
            on_line=on_line,
            on_end=lambda: self._ended(process.pid, port=port),
        )

    def _free_port(self) -> int:
        """Return a port that nothing listens on and that no container of this runner was given."""
        with self._lock:
            while True:
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", 0))
                    port = int(probe.getsockname()[1])
                if port not in self._ports:
                    self._ports.add(port)
                    return port

    def _give_back(self, port: int | None) -> None:
        with self._lock:
            self._ports.discard(port or 0)

    def _ended(self, pid: int, *, port: int | None) -> None:
        self._session.forget_process(pid)
        self._give_back(port)


class ProcessContainer:
    """A process group; see :class:`local_sagemaker.runners.Container`."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        *,
        base: Path,
        port: int | None,
        on_line: Callable[[str], None],
        on_end: Callable[[], None],
    ) -> None:
        self._process = process
        self._base = base
        self._on_end = on_end
        self._code: int | None = None
        self._ended = threading.Event()
        self._over = threading.Event()
        self.address = None if port is None else ("127.0.0.1", port)
        self._reader = threading.Thread(target=self._read, args=(on_line,), daemon=True)
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._reader.start()
        self._watcher.start()

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end."""
        self._over.wait(timeout)
        return self._code

    def stop(self, *, grace_seconds: float) -> int | None:
        """Send SIGTERM to the first process, as Docker does, and SIGKILL to the group after the grace."""
        self._process.send_signal(signal.SIGTERM)
        if self.wait(grace_seconds) is None:
            kill_group(self._process.pid)
        return self.wait()

    def collect(self) -> None:
        """Do nothing: the process wrote into the base folder itself."""

    def remove(self) -> None:
        """Kill the group, if it still runs."""
        if self.wait(0) is None:
            kill_group(self._process.pid)
        self._watcher.join()

    def _read(self, on_line: Callable[[str], None]) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as pipe:
            hand_on_lines(_Output(pipe.fileno(), ended=self._ended), on_line=on_line)

    def _watch(self) -> None:
        code = self._process.wait()
        # As in a container, nothing outlives the first process.
        kill_group(self._process.pid)
        kill_left_behind(self._base)
        self._ended.set()
        self._reader.join(_LAST_LINES_SECONDS)
        self._on_end()
        self._code = 128 - code if code < 0 else code
        self._over.set()


class _Output:
    """A pipe that is at its end when no one can write any more, or is silent after the processes have ended."""

    def __init__(self, pipe: int, *, ended: threading.Event) -> None:
        self._pipe = pipe
        self._ended = ended
        self._poll = select.poll()
        self._poll.register(pipe, select.POLLIN)

    def read(self, size: int, /) -> bytes:
        while True:
            ended = self._ended.is_set()
            if self._poll.poll(_SILENCE_SECONDS * 1000):
                return os.read(self._pipe, size)
            if ended:
                return b""
