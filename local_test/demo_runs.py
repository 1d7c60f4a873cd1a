"""Running `train` and `serve` for the demo: as processes of this machine, or in Docker."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from demo_data import DemoError

_CHECKOUT = Path(__file__).resolve().parent.parent
_READY_SECONDS = 120
# SageMaker gives a server 30 seconds to end; then it is killed.
_END_SECONDS = 35
# No proxy of the environment stands between this machine and itself.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Command:
    """A command line, and the variables that it gets beside those of this process."""

    arguments: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)


class Processes:
    """`container/train` and `container/serve`, with a folder in place of /opt/ml."""

    def train(self, base: Path) -> Command:
        """Return the command that trains in `base`."""
        return self._command("train", {"SAGEMAKER_BASE_DIR": str(base)})

    def serve(self, base: Path, *, port: int) -> Command:
        """Return the command that serves the model of `base`."""
        return self._command("serve", {"SAGEMAKER_BASE_DIR": str(base), "SAGEMAKER_BIND_TO_PORT": str(port)})

    def _command(self, name: str, variables: Mapping[str, str]) -> Command:
        # The commands begin with `#!/usr/bin/env python3`: the one that runs the demo is to be found first.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        return Command([str(_CHECKOUT / "container" / name)], {**variables, "PATH": path})


@dataclass(frozen=True)
class Containers:
    """An image, with a folder mounted as /opt/ml; the container is read-only and writes as the user of the demo."""

    image: str

    def train(self, base: Path) -> Command:
        """Return the command that trains in `base`."""
        return Command([*self._run(), "--network", "none", "--volume", f"{base}:/opt/ml", self.image, "train"])

    def serve(self, base: Path, *, port: int) -> Command:
        """Return the command that serves the model of `base`."""
        mounted = ["--volume", f"{base / 'model'}:/opt/ml/model:ro", "--publish", f"127.0.0.1:{port}:8080"]
        return Command([*self._run(), *mounted, self.image, "serve"])

    def _run(self) -> list[str]:
        return ["docker", "run", "--rm", "--read-only", "--user", f"{os.getuid()}:{os.getgid()}"]


Runner = Processes | Containers


def build_image(tag: str) -> None:
    """Build the image from the Dockerfile of this checkout; TORCH_INDEX is handed on where it is set."""
    build = ["docker", "build", "--quiet", "--tag", tag]
    if "TORCH_INDEX" in os.environ:
        build += ["--build-arg", f"TORCH_INDEX={os.environ['TORCH_INDEX']}"]
    _run_to_end([*build, str(_CHECKOUT)], failed="the image could not be built; the messages are above")


def train(runner: Runner, base: Path, *, log: Path) -> None:
    """Train, with every line of the log also on the terminal."""
    failure = base / "output" / "failure"
    failure.unlink(missing_ok=True)
    with log.open("w", encoding="utf-8") as file, _started(runner.train(base), output=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            print("   |", line, end="", flush=True)
        code = process.wait()
    if code != 0:
        reason = failure.read_text(encoding="utf-8").strip() if failure.exists() else f"its log is {log}"
        raise DemoError(f"the training failed (exit status {code}): {reason}")


@contextmanager
def served(runner: Runner, base: Path, *, log: Path) -> Iterator[str]:
    """Serve the model, and yield the address once `/ping` answers 200; the server ends with the block."""
    port = _free_port()
    address = f"http://127.0.0.1:{port}"
    with log.open("w", encoding="utf-8") as file, _started(runner.serve(base, port=port), output=file) as process:
        deadline = time.monotonic() + _READY_SECONDS
        while not _answers(f"{address}/ping"):
            if process.poll() is not None or time.monotonic() > deadline:
                last = log.read_text(encoding="utf-8").strip().splitlines()[-5:]
                raise DemoError("\n".join([f"the server did not become ready; its log is {log} and ends with", *last]))
            time.sleep(0.1)
        yield address


def post(url: str, body: str, *, content_type: str) -> str:
    """Send a request and return the answer, which has the same content type."""
    headers = {"Content-Type": content_type, "Accept": content_type}
    request = urllib.request.Request(url, data=body.encode(), headers=headers)
    try:
        with _OPENER.open(request, timeout=60) as response:
            return str(response.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            raise DemoError(f"the server answered {error.code}: {error.read().decode(errors='replace')}") from None
    except OSError as error:
        raise DemoError(f"the server did not answer: {error}") from None


@contextmanager
def _started(command: Command, *, output: int | object) -> Iterator[subprocess.Popen[str]]:
    """Start a command; whatever happens in the block, it has ended afterwards."""
    process: subprocess.Popen[str] = subprocess.Popen(
        command.arguments,
        env={**os.environ, **command.environment},
        stdin=subprocess.DEVNULL,
        stdout=output,  # type: ignore[arg-type]
        stderr=subprocess.STDOUT,
        text=True,
        # Ctrl-C is for the demo, which then ends the command in order.
        start_new_session=True,
    )
    try:
        yield process
    finally:
        # `docker run` hands the signal on to its container.
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _run_to_end(arguments: list[str], *, failed: str) -> None:
    try:
        code = subprocess.run(arguments, stdout=subprocess.DEVNULL).returncode
    except FileNotFoundError:
        raise DemoError(f"there is no {arguments[0]} on this machine: install it, or run without --docker") from None
    if code != 0:
        raise DemoError(failed)


def _answers(url: str) -> bool:
    try:
        with _OPENER.open(url, timeout=2) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.HTTPError):
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
