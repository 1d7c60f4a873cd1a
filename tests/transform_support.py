"""Containers for tests of transform jobs: HTTP servers in threads of the test, behind the protocol of a runner."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from moto.logs.models import logs_backends
from moto.s3.models import s3_backends

from local_sagemaker.job import Job
from local_sagemaker.logs import TRANSFORM_GROUP
from local_sagemaker.runners import ContainerSpec
from local_sagemaker.state import ACCOUNT, State
from local_sagemaker.storage import Storage
from local_sagemaker.transform_instance import TransformSettings
from local_sagemaker.transform_jobs import TransformJobs
from training_job_support import REGION

QUICK = TransformSettings(ping_window_seconds=20, retry_pause_seconds=0.01, stop_grace_seconds=5)


@dataclass(frozen=True)
class Request:
    path: str
    headers: Mapping[str, str]
    body: bytes
    chunked: bool = False


# The status and the content; None closes the connection without an answer.
Answer = tuple[int, bytes] | None
Application = Callable[[Request], Answer]


def echo(request: Request) -> Answer:
    return 200, request.body


@contextmanager
def serving(application: Application, *, address: str = "127.0.0.1") -> Iterator[tuple[str, int]]:
    """Serve an application in threads; /ping and /execution-parameters are answered unless it does."""
    server = _Server((address, 0), _Handler)
    server.application = application
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield ("127.0.0.1", server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    application: Application

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone away is part of some tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        self._answer(self.server.application(Request(self.path, dict(self.headers), b"")))

    def do_POST(self) -> None:
        chunked = self.headers.get("Transfer-Encoding") == "chunked"
        body = self._chunks() if chunked else self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(self.server.application(Request(self.path, dict(self.headers), body, chunked)))

    def _chunks(self) -> bytes:
        parts = []
        while length := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(length))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, answer: Answer) -> None:
        if answer is None:
            self.close_connection = True
            return
        status, body = answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


class FakeContainer:
    def __init__(self, spec: ContainerSpec, application: Application) -> None:
        self.spec = spec
        self.invocations: list[Request] = []
        self.exit_code: int | None = None
        self.removed = False
        self._application = application
        self._lock = threading.Lock()
        self._serving = serving(self._answer)
        self.address: tuple[str, int] | None = self._serving.__enter__()

    def _answer(self, request: Request) -> Answer:
        if request.path == "/invocations":
            with self._lock:
                self.invocations.append(request)
            return self._application(request)
        answer = self._application(request) if _answers_more(self._application) else None
        return answer or ((200, b"") if request.path == "/ping" else (404, b""))

    def wait(self, timeout: float | None = None) -> int | None:
        return self.exit_code

    def stop(self, *, grace_seconds: float) -> int | None:
        if self.exit_code is None:
            self.exit_code = 0
        return self.exit_code

    def collect(self) -> None:
        pass

    def remove(self) -> None:
        if not self.removed:
            self.removed = True
            self._serving.__exit__(None, None, None)


def answers_everything(application: Application) -> Application:
    """Mark an application that sees /ping and /execution-parameters too, and answers None to leave them."""
    application.answers_everything = True  # type: ignore[attr-defined]
    return application


def _answers_more(application: Application) -> bool:
    return getattr(application, "answers_everything", False)


class FakeRunner:
    """Runs one application as every container."""

    name = "fake"

    def __init__(self, application: Application = echo) -> None:
        self.application = application
        self.containers: list[FakeContainer] = []

    def start(self, spec: ContainerSpec, *, on_line: Callable[[str], None]) -> FakeContainer:
        on_line("the container has started")
        container = FakeContainer(spec, self.application)
        self.containers.append(container)
        return container

    @property
    def bodies(self) -> list[bytes]:
        return [request.body for container in self.containers for request in container.invocations]


@dataclass
class Bench:
    """Transform jobs over moto's S3 with a fake runner and one model, ``m``; input in bucket ``bkt``."""

    workspace: Path
    runner: Any = field(default_factory=FakeRunner)
    settings: TransformSettings = QUICK
    state: State = field(default_factory=lambda: State(region=REGION))

    def __post_init__(self) -> None:
        self.model()
        self.jobs = TransformJobs(
            state=self.state,
            runner=self.runner,
            storage=Storage(),
            workspace=self.workspace,
            quiet=True,
            settings=self.settings,
        )

    def model(self, name: str = "m", **container: Any) -> None:
        self.state.models[name] = {
            "ModelName": name,
            "PrimaryContainer": {"Image": "image:1", "Environment": {}, **container},
            "ExecutionRoleArn": "arn:aws:iam::123456789012:role/r",
            "EnableNetworkIsolation": False,
        }

    def create(self, name: str = "j", **changes: Any) -> None:
        self.jobs.create(request(name, **changes))

    def wait(self, name: str = "j") -> dict[str, Any]:
        job: Job = self.state.transform_jobs[name]
        assert self.state.wait_for(lambda: job.is_over, timeout=60), f"{name} is still {job.status}"
        return self.jobs.describe({"TransformJobName": name})

    def run(self, name: str = "j", **changes: Any) -> dict[str, Any]:
        self.create(name, **changes)
        return self.wait(name)

    def completed(self, name: str = "j", **changes: Any) -> dict[str, Any]:
        description = self.run(name, **changes)
        assert description["TransformJobStatus"] == "Completed", (description, self.data_log(name))
        return description

    def data_log(self, name: str = "j") -> list[str]:
        """The data-log lines of all instances, without the time."""
        lines = []
        for stream, entries in logs_backends[ACCOUNT][REGION].groups[TRANSFORM_GROUP].streams.items():
            if stream.startswith(f"{name}/") and stream.endswith("/data-log"):
                lines += [event.message.partition(":[sagemaker logs]: ")[2] for event in entries.events]
        return lines

    def outputs(self) -> dict[str, bytes]:
        """Every object below s3://bkt/out, by its name."""
        keys = s3_backends[ACCOUNT]["aws"].get_bucket("bkt").keys
        return {name.removeprefix("out/"): keys[name].value for name in keys if name.startswith("out/")}


def request(name: str = "j", **changes: Any) -> dict[str, Any]:
    """A CreateTransformJob; ``split``, ``assemble``, ``content_type``, ``accept``, ``uri``... are short for members."""
    source: dict[str, Any] = {
        "DataSource": {
            "S3DataSource": {
                "S3DataType": changes.pop("data_type", "S3Prefix"),
                "S3Uri": changes.pop("uri", "s3://bkt/in"),
            }
        }
    }
    output: dict[str, Any] = {"S3OutputPath": changes.pop("output_path", "s3://bkt/out")}
    for short, target, member in (
        ("content_type", source, "ContentType"),
        ("split", source, "SplitType"),
        ("compression", source, "CompressionType"),
        ("accept", output, "Accept"),
        ("assemble", output, "AssembleWith"),
    ):
        if short in changes:
            target[member] = changes.pop(short)
    return {
        "TransformJobName": name,
        "ModelName": changes.pop("model", "m"),
        "TransformInput": source,
        "TransformOutput": output,
        "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": changes.pop("instances", 1)},
        **changes,
    }
