"""Containers by Docker: made, filled, started, emptied and removed with the ``docker`` command.

Folders are copied in and out instead of mounted: no file of this machine ever belongs to the container's user, and an
engine in a virtual machine works too. A model to serve lies in a volume of its own, mounted read-only.
"""

from __future__ import annotations

import math
import secrets
import subprocess
import tarfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

from local_sagemaker import docker_cli
from local_sagemaker.container_output import hand_on_lines
from local_sagemaker.docker_cli import DockerError, docker
from local_sagemaker.orphans import JOB_LABEL, Session
from local_sagemaker.runners import CONTAINER_PORT, KILLED, ContainerSpec, RunnerError

_ROOT = "opt/ml"
_COLLECTED = ("model", "output", "checkpoints")
# How long the engine may take to hand on the last lines of a container that has ended.
_LAST_LINES_SECONDS = 10.0


class DockerRunner:
    """Starts containers of images that this machine has; nothing is pulled.

    Parameters
    ----------
    images
        Tags of this machine by the name that requests use.
    session
        Its labels go onto everything, so that a crash leaves nothing for long.
    """

    name = "docker"

    def __init__(self, *, images: Mapping[str, str], session: Session) -> None:
        self._images = images
        self._session = session

    def start(self, spec: ContainerSpec, *, on_line: Callable[[str], None]) -> DockerContainer:
        """Start a container; see :class:`local_sagemaker.runners.Runner`."""
        parts = _Parts()
        try:
            image = docker_cli.local_image(spec.image, images=self._images)
            labels = [f"--label={name}={value}" for name, value in self._session.labels.items()]
            labels.append(f"--label={JOB_LABEL}={spec.job}")
            options = [*labels, *_environment(spec)]
            if spec.serves:
                options.append(self._serve_model(spec, image=image, labels=labels, parts=parts))
            options += self._network(spec, labels=labels, parts=parts)
            # json-file: the one driver that every engine has, and that keeps all lines until they are read.
            identity = docker(
                "create", "--pull=never", "--log-driver=json-file", *options, *_command(spec, image=image), timeout=None
            )
            parts.container = identity
            _copy_in(spec.base, identity, leave_out=("model",) if spec.serves else ())
            docker("start", identity, timeout=None)
            address = _address(identity, internal=spec.isolated) if spec.serves else None
        except DockerError as error:
            parts.remove()
            raise RunnerError(f"the container of {spec.image!r} could not be started: {error}") from error
        except BaseException:
            parts.remove()
            raise
        return DockerContainer(parts, base=spec.base, address=address, on_line=on_line)

    def _serve_model(self, spec: ContainerSpec, *, image: str, labels: list[str], parts: _Parts) -> str:
        """Put the model into a volume and return the option that mounts it read-only.

        A read-only mount cannot be copied into: a second container, which never runs, holds the volume meanwhile.
        """
        parts.volume = docker("volume", "create", *labels)
        mount = f"--mount=type=volume,source={parts.volume},target=/{_ROOT}/model,volume-nocopy"
        holder = docker("create", "--pull=never", *labels, mount, image, "true", timeout=None)
        try:
            _copy_in(spec.base, holder, only="model")
        finally:
            # Without its volumes: this one is wanted.
            docker("rm", "--force", holder, timeout=None)
        return mount + ",readonly"

    def _network(self, spec: ContainerSpec, *, labels: list[str], parts: _Parts) -> list[str]:
        """Return the options of the network: none, inside only, or as Docker gives it."""
        if not spec.isolated:
            return [f"--publish=127.0.0.1::{CONTAINER_PORT}"] if spec.serves else []
        if not spec.serves:
            return ["--network=none"]
        # Nothing leads out of an internal network, but this machine reaches into it; no port can be published.
        if "Docker Desktop" in docker("info", "--format", "{{.OperatingSystem}}"):
            raise DockerError(
                "Docker Desktop reaches no container without a network: leave EnableNetworkIsolation out of the model"
            )
        name = f"local-sagemaker-{secrets.token_hex(8)}"
        parts.network = docker("network", "create", "--internal", *labels, name)
        return [f"--network={parts.network}"]


class _Parts:
    """What was made for one container in the engine."""

    def __init__(self) -> None:
        self.container = ""
        self.volume = ""
        self.network = ""

    def remove(self) -> None:
        for kind, name in (("container", self.container), ("volume", self.volume), ("network", self.network)):
            if name:
                docker_cli.remove(kind, name)


class DockerContainer:
    """A container of the engine; see :class:`local_sagemaker.runners.Container`."""

    def __init__(
        self, parts: _Parts, *, base: Path, address: tuple[str, int] | None, on_line: Callable[[str], None]
    ) -> None:
        self.address = address
        self._parts = parts
        self._base = base
        self._on_line = on_line
        self._code: int | None = None
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._removed = False
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end."""
        self._over.wait(timeout)
        return self._code

    def stop(self, *, grace_seconds: float) -> int | None:
        """Let the engine send SIGTERM, and SIGKILL after the grace."""
        try:
            docker("stop", f"--time={math.ceil(grace_seconds)}", self._parts.container, timeout=None)
        except DockerError as error:
            if not self._over.wait(_LAST_LINES_SECONDS):
                raise RunnerError(f"the container could not be stopped: {error}") from error
        return self.wait()

    def collect(self) -> None:
        """Copy the folders that containers write out of the container."""
        for name in _COLLECTED:
            try:
                (self._base / name).mkdir(parents=True, exist_ok=True)
                docker("cp", f"{self._parts.container}:/{_ROOT}/{name}/.", str(self._base / name), timeout=None)
            except DockerError as error:
                # A container may well not have one, or have removed it.
                if "could not find the file" not in str(error).lower():
                    raise RunnerError(f"/{_ROOT}/{name} cannot be copied out of the container: {error}") from error

    def remove(self) -> None:
        """Remove the container with its volume and network."""
        with self._lock:
            if not self._removed:
                self._parts.remove()
                self._removed = True
        self._watcher.join()

    def _watch(self) -> None:
        identity = self._parts.container
        with _WholeLog(identity) as log:
            reader = threading.Thread(target=hand_on_lines, args=(log,), kwargs={"on_line": self._on_line}, daemon=True)
            reader.start()
            code = _wait(identity)
            log.end(within_seconds=_LAST_LINES_SECONDS)
            reader.join()
        if code == KILLED and _ran_out_of_memory(identity):
            self._on_line("the container was killed because it used more memory than it may (OOMKilled)")
        self._code = code
        self._over.set()


class _WholeLog:
    """Everything that a container prints, as it comes.

    docker logs, unlike docker attach, misses nothing that was printed before, and slows nobody down. But while it
    follows it may end a moment early: what is missing then is read from the log of the ended container.
    """

    def __init__(self, identity: str) -> None:
        self._identity = identity
        self._ended = threading.Event()
        self._seen = 0
        self._following = self._open("--follow")
        self._rest: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for process in (self._following, self._rest):
            if process is not None:
                process.kill()
                # Closes the pipe and waits.
                with process:
                    pass

    def end(self, *, within_seconds: float) -> None:
        """Say that the container has ended: what follows it has so long to finish."""
        try:
            self._following.wait(within_seconds)
        except subprocess.TimeoutExpired:
            self._following.kill()
        self._ended.set()

    def read(self, size: int, /) -> bytes:
        """Return some bytes; none once the container has ended and its log has been read."""
        if self._rest is None:
            if chunk := _read(self._following, size):
                self._seen += len(chunk)
                return chunk
            self._ended.wait()
            self._rest = self._open()
            seen = self._seen
            while seen and (skipped := _read(self._rest, min(seen, size))):
                seen -= len(skipped)
        return _read(self._rest, size)

    def _open(self, *options: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["docker", "logs", *options, self._identity],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _read(process: subprocess.Popen[bytes], size: int) -> bytes:
    assert process.stdout is not None
    return process.stdout.read1(size)  # type: ignore[attr-defined, no-any-return]


def _environment(spec: ContainerSpec) -> list[str]:
    values = dict(spec.environment)
    options = []
    if spec.gpus and docker_cli.has_gpus():
        options.append("--gpus=all")
    else:
        values.setdefault("NVIDIA_VISIBLE_DEVICES", "void")
    return [*options, *(f"--env={name}={value}" for name, value in values.items())]


def _command(spec: ContainerSpec, *, image: str) -> list[str]:
    if not spec.entrypoint:
        return [image, *spec.arguments]
    # The option takes one word; the others come before the arguments.
    return [f"--entrypoint={spec.entrypoint[0]}", image, *spec.entrypoint[1:], *spec.arguments]


def _copy_in(base: Path, identity: str, *, only: str = "", leave_out: tuple[str, ...] = ()) -> None:
    """Copy a base folder, or one folder of it, to ``/opt/ml`` of a container: root's, and readable by all."""

    def member(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        info.mode |= 0o755 if info.isdir() else 0o644
        return info

    process = subprocess.Popen(
        ["docker", "cp", "-", f"{identity}:/"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with process:
        assert process.stdin is not None and process.stderr is not None
        problem = ""
        try:
            with process.stdin, tarfile.open(fileobj=process.stdin, mode="w|", bufsize=1024 * 1024) as archive:
                for folder in ("opt", _ROOT):
                    info = tarfile.TarInfo(folder)
                    info.type = tarfile.DIRTYPE
                    archive.addfile(member(info))
                for path in sorted(base.iterdir()):
                    if path.name not in leave_out and only in ("", path.name):
                        archive.add(path, arcname=f"{_ROOT}/{path.name}", filter=member)
        except OSError as error:
            problem = str(error)
        # What docker says is the better reason: where it ended early, the error above is but a broken pipe.
        problem = process.stderr.read().decode(errors="replace").strip() or problem
    if process.returncode or problem:
        raise DockerError(f"/{_ROOT} could not be filled: {problem}")


def _address(identity: str, *, internal: bool) -> tuple[str, int]:
    """Return where a container answers; port 0, where nothing can, if it has ended already."""
    try:
        if internal:
            form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
            host, port = docker("inspect", "--format", form, identity), str(CONTAINER_PORT)
        else:
            host, _, port = docker("port", identity, str(CONTAINER_PORT)).partition("\n")[0].rpartition(":")
    except DockerError:
        # An engine may answer so for a container without ports, that is one that runs no more.
        host = ""
    return (host, int(port)) if host else ("127.0.0.1", 0)


def _wait(identity: str) -> int:
    """Return the exit code once the container has ended; that of a kill where someone else removed it."""
    try:
        return int(docker("wait", identity, timeout=None))
    except DockerError:
        return KILLED


def _ran_out_of_memory(identity: str) -> bool:
    try:
        return docker("inspect", "--format", "{{.State.OOMKilled}}", identity) == "true"
    except DockerError:
        return False
