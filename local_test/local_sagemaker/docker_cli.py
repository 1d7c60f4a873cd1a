"""The ``docker`` command: the only way in which Docker is used."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence

# An engine that does not answer a question in this time does not work.
_PATIENCE = 60.0
_ECR_REGISTRY = re.compile(r"\d{12}\.dkr\.ecr(-fips)?\.[a-z0-9-]+\.amazonaws\.com(\.cn)?/")
_TAG_OR_DIGEST = re.compile(r"(:[^/:@]+)?(@.*)?$")
# What docker says of something that is gone, or about to be.
_GONE = re.compile(
    r"no such (container|volume|network)|removal of container \S+ is already in progress|not found", re.I
)


class DockerError(Exception):
    """A docker command failed; the message is what it said."""


def docker(*arguments: str, timeout: float | None = _PATIENCE) -> str:
    """Run a docker command.

    Parameters
    ----------
    *arguments
        What follows ``docker``.
    timeout
        In seconds; ``None`` for a command that may take long.

    Returns
    -------
    str
        What it printed, without white space around it.

    Raises
    ------
    DockerError
        Where it fails, takes too long or is not installed.
    """
    try:
        # In a session of its own Ctrl-C does not reach it: the local SageMaker ends its jobs in order.
        done = subprocess.run(
            ["docker", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise DockerError("there is no docker command on PATH") from None
    except subprocess.TimeoutExpired:
        raise DockerError(f"docker {arguments[0]} did not end in {timeout:g} seconds") from None
    if done.returncode:
        raise DockerError(_sentence(done.stderr) or f"docker {arguments[0]} ended with {done.returncode}")
    return done.stdout.strip()


def engine_problem() -> str | None:
    """Return why Docker cannot be used; ``None`` where it can."""
    if not shutil.which("docker"):
        return "there is no docker command on PATH"
    try:
        docker("version", "--format", "{{.Server.Version}}", timeout=10)
    except DockerError as error:
        return f"the Docker engine does not answer: {error}"
    return None


def remove(kind: str, *names: str) -> None:
    """Remove containers, volumes or networks by name, running or not; those that are gone are no error."""
    options = {"container": ["--force", "--volumes"], "volume": ["--force"], "network": []}[kind]
    for name in names:
        try:
            docker(kind, "rm", *options, name, timeout=None)
        except DockerError as error:
            if not _GONE.search(str(error)):
                raise


def remove_labelled(label: str, value: str, *, spare: Callable[[str], bool] = lambda _: False, by: str = "") -> None:
    """Remove all containers, volumes and networks with a label; nothing where Docker cannot be used.

    Parameters
    ----------
    label, value
        What they carry.
    spare
        Whether to keep one, by the value of another of its labels.
    by
        The name of that other label.
    """
    if engine_problem():
        return
    # Containers first: they hold the others.
    for kind, listed in (("container", ["--all"]), ("volume", []), ("network", [])):
        identity = "{{.Name}}" if kind == "volume" else "{{.ID}}"
        form = f'{identity} {{{{.Label "{by or label}"}}}}'
        rows = docker(kind, "ls", *listed, "--filter", f"label={label}={value}", "--format", form)
        remove(kind, *(name for name, _, mark in (row.partition(" ") for row in rows.splitlines()) if not spare(mark)))


def local_image(image: str, *, images: Mapping[str, str]) -> str:
    """Return the image of this machine that a request means; nothing is ever pulled.

    Parameters
    ----------
    image
        As the request names it, with the registry of an account or not.
    images
        Tags of this machine by name: the request's whole name, or what is left without registry or without tag.

    Raises
    ------
    DockerError
        Where this machine has no such image.
    """
    short = _ECR_REGISTRY.sub("", image)
    repository = _TAG_OR_DIGEST.sub("", short)
    for name in (image, short, repository):
        if name in images:
            candidates: Sequence[str] = [images[name]]
            break
    else:
        candidates = list(dict.fromkeys([image, short]))
    for candidate in candidates:
        try:
            return docker("image", "inspect", "--format", "{{.Id}}", candidate)
        except DockerError as error:
            if "no such image" not in str(error).lower():
                raise
    raise DockerError(
        f"this machine has no image {candidates[-1]!r} for {image!r}: build it with that tag (docker build -t), "
        f"or start with --image {repository}=TAG; nothing is pulled"
    )


def has_gpus() -> bool:
    """Whether the engine can pass NVIDIA GPUs into containers."""
    return "nvidia" in docker("info", "--format", "{{json .Runtimes}}")


def _sentence(text: str) -> str:
    """Return what docker said without its preambles."""
    text = " ".join(line.strip() for line in text.strip().splitlines() if line.strip())
    return re.sub(r"^(Error response from daemon: |Error: )+", "", text)
