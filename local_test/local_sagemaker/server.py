"""A whole local SageMaker: state, services, runner and server, put together and taken apart."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path
from string import Template
from types import TracebackType
from typing import Any, Self

from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from local_sagemaker.access import DIRECT, access_variables, direct_session, no_proxy_variables
from local_sagemaker.endpoints import Endpoints
from local_sagemaker.front import Front, Operation
from local_sagemaker.http_server import HOST, Server
from local_sagemaker.models import Models
from local_sagemaker.orphans import Session
from local_sagemaker.roles import ensure_role
from local_sagemaker.runners import RunnerKind, make_runner
from local_sagemaker.state import State
from local_sagemaker.storage import Storage
from local_sagemaker.tags import Tags
from local_sagemaker.training_jobs import TrainingJobs
from local_sagemaker.transform_jobs import TransformJobs

ROLE = "SageMakerRole"

_SECONDS_TO_ANSWER = 5.0
# moto keeps the state of its services for the whole process, so a second local SageMaker would share it.
_THE_ONE = threading.Lock()


class LocalSageMaker:
    """A local SageMaker, running as long as its ``with`` block.

    Parameters
    ----------
    port
        Where it answers on 127.0.0.1; 0 takes a free port.
    runner
        ``docker``, ``process``, or ``auto``: Docker where its engine answers, processes elsewhere.
    images
        For Docker: tags of this machine by the name that requests use.
    container
        For processes: the folder with the executables ``train`` and ``serve``; the checkout's ``container`` by default.
    bucket
        A bucket to make at the start, and the SDK's default bucket.
    region
        What ARNs say.
    quiet
        Whether the output of containers stays out of the terminal.

    Attributes
    ----------
    url, port
        Where it answers.
    runner
        ``docker`` or ``process``.
    state
        What it knows.

    Examples
    --------
    >>> with LocalSageMaker(runner="process", container=Path("container")) as local:
    ...     sagemaker = local.client("sagemaker")
    """

    def __init__(
        self,
        *,
        port: int = 0,
        runner: RunnerKind = "auto",
        images: Mapping[str, str] | None = None,
        container: Path | None = None,
        bucket: str | None = None,
        region: str = "us-east-1",
        quiet: bool = False,
    ) -> None:
        self.port = port
        self.runner: str = runner
        self.state = State(region=region)
        self._kind: RunnerKind = runner
        self._images = images or {}
        self._container = container or Path(__file__).resolve().parents[2] / "container"
        self._bucket = bucket
        self._quiet = quiet
        self._sdk_config = Path()
        self._exit = ExitStack()

    @property
    def url(self) -> str:
        """Where it answers, such as ``http://127.0.0.1:4580``."""
        return self.state.url

    @property
    def role(self) -> str:
        """The ARN of a role that SageMaker may assume."""
        return f"arn:aws:iam::{self.state.account}:role/{ROLE}"

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._start(stack)
            self._exit = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.close()

    def environment(self) -> dict[str, str]:
        """Return the variables that point boto3, the ``aws`` command and the SageMaker SDK here."""
        return {
            **access_variables(self.state),
            "AWS_REGION": self.state.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_DATA_PATH": str(files("local_sagemaker") / "awsdata"),
            "SAGEMAKER_USER_CONFIG_OVERRIDE": str(self._sdk_config),
            **no_proxy_variables(os.environ),
        }

    def client(self, service: str) -> Any:
        """Return a boto3 client of a service here, such as ``sagemaker``, ``sagemaker-runtime`` or ``s3``.

        Profiles, endpoints and proxies of this shell do not matter to it.
        """
        return direct_session(self.state).client(service, endpoint_url=self.url, config=DIRECT)

    def _start(self, stack: ExitStack) -> None:
        """Start everything, in the order in which the stack will end it backwards."""
        if not _THE_ONE.acquire(blocking=False):
            raise RuntimeError("a process holds one local SageMaker at a time: leave the other one's with block first")
        stack.callback(_THE_ONE.release)
        moto_api_backend.reset()
        stack.callback(moto_api_backend.reset)
        session = Session()
        stack.callback(session.close)
        runner = make_runner(self._kind, images=self._images, container=self._container, session=session)
        self.runner = runner.name

        state, storage, quiet = self.state, Storage(account=self.state.account), self._quiet
        work = session.workspace
        services = (
            Tags(state=state),
            Models(state=state, storage=storage),
            TrainingJobs(state=state, runner=runner, storage=storage, workspace=work, quiet=quiet),
            TransformJobs(state=state, runner=runner, storage=storage, workspace=work, quiet=quiet),
            endpoints := Endpoints(state=state, runner=runner, storage=storage, workspace=work, quiet=quiet),
        )
        operations: dict[str, Operation] = {}
        for service in services:
            operations.update(service.operations())

        front = Front(
            state=state,
            operations=operations,
            invoke=endpoints.invoke,
            moto_app=DomainDispatcherApplication(create_backend_app),
            environment=self.environment,
        )
        try:
            server = Server(front, port=self.port)
        except OSError as error:
            raise OSError(f"port {self.port} cannot be had ({error.strerror}): give another one") from None
        self.port = server.server_port
        state.url = f"http://{HOST}:{self.port}"
        self._sdk_config = work / "sagemaker.yaml"
        self._sdk_config.write_text(self._filled_sdk_config())
        thread = threading.Thread(target=server.serve_forever, name="local-sagemaker", daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.close, timeout=_SECONDS_TO_ANSWER)
        for service in services:
            stack.callback(service.close)
        stack.callback(state.close)

        ensure_role(ROLE, account=state.account)
        if self._bucket:
            self._make_bucket(self._bucket)

    def _filled_sdk_config(self) -> str:
        template = Template((files("local_sagemaker") / "sagemaker.yaml").read_text())
        bucket = self._bucket or f"sagemaker-{self.state.region}-{self.state.account}"
        return template.substitute(bucket=bucket, role=self.role)

    def _make_bucket(self, name: str) -> None:
        elsewhere = {"LocationConstraint": self.state.region}
        where = {} if self.state.region == "us-east-1" else {"CreateBucketConfiguration": elsewhere}
        self.client("s3").create_bucket(Bucket=name, **where)
