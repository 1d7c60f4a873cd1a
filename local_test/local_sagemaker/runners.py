"""Running containers: what jobs and endpoints ask for, and the two runners that do it.

The Docker runner runs the image; the process runner runs ``train`` and ``serve`` of a folder, whatever the image is
called. Everything above this module is the same for both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from local_sagemaker.orphans import Session

RunnerKind = Literal["auto", "docker", "process"]

CONTAINER_PORT = 8080
"""Where a container answers that was given no other port."""

KILLED = 137
"""The exit code of what was ended by SIGKILL: 128 + 9, as Docker counts."""


class RunnerError(Exception):
    """A container cannot be made or started; the message fits into a failure reason."""


@dataclass(frozen=True)
class ContainerSpec:
    """What to run.

    Attributes
    ----------
    job
        Whose container it is: ``training-job/NAME``, ``transform-job/NAME`` or ``endpoint/NAME``.
    image
        As the request named it.
    entrypoint
        Replaces the image's own; empty for the image's.
    arguments
        ``("train",)``, ``("serve",)`` or the request's ``ContainerArguments``.
    environment
        Variables of the contract and of the request.
    base
        The folder of this machine whose content becomes ``/opt/ml``.
    serves
        Whether it answers on port 8080; its ``model`` folder is then read-only.
    isolated
        ``EnableNetworkIsolation``.
    gpus
        Whether it gets the GPUs of this machine: those of a GPU instance type do.
    """

    job: str
    image: str
    entrypoint: tuple[str, ...]
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    base: Path
    serves: bool
    isolated: bool
    gpus: bool = False


class Container(Protocol):
    """A container that was started."""

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port where it answers; ``None`` for one that does not serve."""

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for its end; every line of its output has been handed on by then.

        Parameters
        ----------
        timeout
            In seconds; ``None`` waits as long as it takes.

        Returns
        -------
        int or None
            The exit code, 128 + n after signal n; ``None`` while it runs.
        """

    def stop(self, *, grace_seconds: float) -> int | None:
        """Send SIGTERM to its first process, and SIGKILL to all of it after the grace; return the exit code."""

    def collect(self) -> None:
        """Bring what it wrote into ``model``, ``output`` and ``checkpoints`` to the spec's base folder.

        Raises
        ------
        RunnerError
            Where that cannot be read or written.
        """

    def remove(self) -> None:
        """End it and leave nothing of it; a second call does nothing."""


class Runner(Protocol):
    """Starts containers; safe to use from many threads."""

    @property
    def name(self) -> str:
        """``docker`` or ``process``."""

    def start(self, spec: ContainerSpec, *, on_line: Callable[[str], None]) -> Container:
        """Start a container.

        Parameters
        ----------
        spec
            What to run.
        on_line
            Called from one thread of the container's with every line of its stdout and stderr, without the newline.

        Raises
        ------
        RunnerError
            Where it cannot be started; nothing of it is left then.
        """


def is_gpu_instance(instance_type: str) -> bool:
    """Return whether SageMaker's instances of a type have GPUs: the families p and g."""
    return re.match(r"ml\.[pg]\d", instance_type) is not None


def make_runner(kind: RunnerKind, *, images: Mapping[str, str], container: Path, session: Session) -> Runner:
    """Return the runner that was asked for.

    Parameters
    ----------
    kind
        ``auto`` is Docker where its engine answers, processes elsewhere.
    images
        Tags of this machine by the name that requests use; for Docker.
    container
        The folder with the executables ``train`` and ``serve``; for processes.
    session
        Where containers and processes are noted, so that they can be found after a crash.

    Raises
    ------
    RunnerError
        Where the engine does not answer, or the folder has no ``train`` or ``serve``.
    """
    # Imported here because both import this module.
    from local_sagemaker import docker_cli
    from local_sagemaker.docker_runner import DockerRunner
    from local_sagemaker.process_runner import ProcessRunner

    problem = docker_cli.engine_problem() if kind != "process" else None
    if kind == "docker" and problem:
        raise RunnerError(f"{problem}; --runner process needs no Docker")
    if kind == "process" or problem:
        return ProcessRunner(container=container, session=session)
    return DockerRunner(images=images, session=session)
