"""Running the image: what the tests in tests/docker share."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

LOCAL_TEST = Path(__file__).resolve().parent.parent / "local_test"
ANY_USER = 12345
"""A user that the image does not know."""


def docker(*arguments: str, check: bool = True) -> str:
    """Run a docker command and return what it printed, errors among it."""
    done = subprocess.run(["docker", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0 or not check, done.stdout
    return done.stdout


def base_folder(parent: Path) -> Path:
    """Make a folder to mount as /opt/ml, with the made-up input of local_test/test_dir, that any user may write."""
    base = parent / "opt-ml"
    shutil.copytree(LOCAL_TEST / "test_dir/input", base / "input")
    for name in ("model", "output"):
        (base / name).mkdir()
    for folder in (base, base / "model", base / "output"):
        folder.chmod(0o777)
    return base


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Container:
    """A container that was started in the background."""

    def __init__(self, identity: str) -> None:
        self.identity = identity

    def logs(self) -> str:
        """Return everything that it has printed."""
        return docker("logs", self.identity)

    def wait_for(self, text: str, *, seconds: float = 60) -> None:
        """Return once its log has a text; fail where it ends or takes too long before."""
        deadline = time.monotonic() + seconds
        while text not in self.logs():
            assert self.is_running() and time.monotonic() < deadline, f"no {text!r} in:\n{self.logs()}"
            time.sleep(0.1)

    def is_running(self) -> bool:
        """Whether its process 1 is alive."""
        return docker("inspect", "--format", "{{.State.Running}}", self.identity).strip() == "true"

    def exit_code(self) -> int:
        """Wait for its end and return the exit status; 137 where it had to be killed."""
        return int(docker("wait", self.identity))

    def address(self) -> str:
        """Return where this machine reaches its port 8080."""
        return "http://" + docker("port", self.identity, "8080").split("->")[-1].strip()


@contextmanager
def running(image: str, command: Sequence[str], *, options: Sequence[str] = ()) -> Iterator[Container]:
    """Start a container; it is removed afterwards."""
    container = Container(docker("run", "--detach", *options, image, *command).strip())
    try:
        yield container
    finally:
        docker("rm", "--force", container.identity)


@contextmanager
def serving(image: str, model: Path, *, options: Sequence[str] = ()) -> Iterator[Container]:
    """Serve a model folder, mounted read-only; the block begins once /ping answers 200."""
    mounted = ("--volume", f"{model}:/opt/ml/model:ro", "--publish", "127.0.0.1::8080")
    with running(image, ["serve"], options=(*mounted, *options)) as container:
        deadline = time.monotonic() + 60
        while not _is_ready(container):
            assert container.is_running() and time.monotonic() < deadline, container.logs()
            time.sleep(0.1)
        yield container


def ask(container: Container, body: str) -> str:
    """Post JSON Lines and return the answer in JSON Lines."""
    headers = {"Content-Type": "application/jsonlines", "Accept": "application/jsonlines"}
    request = urllib.request.Request(container.address() + "/invocations", data=body.encode(), headers=headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        return str(response.read().decode())


def _is_ready(container: Container) -> bool:
    try:
        with urllib.request.urlopen(container.address() + "/ping", timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False
