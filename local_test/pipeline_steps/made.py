"""What a run made, remembered as it is made, so that `--clean-up` deletes exactly that."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from botocore.exceptions import ClientError, ParamValidationError

from pipeline_steps import storage
from pipeline_steps.aws import Clients
from pipeline_steps.progress import JobKind, is_over, say, status, wait

_Note = TypeVar("_Note")
_GONE = re.compile("could not find|not found", re.IGNORECASE)


@dataclass
class Made:
    """The things that one run made, or may have made where it was interrupted while it asked for them.

    Attributes
    ----------
    objects
        URIs that it uploaded.
    folders
        URIs that were empty before, and that only its own jobs write to.
    jobs
        Kind and name of the jobs that it started.
    models
        Names of the models that it created.
    resume
        The option with which another run goes on from what is there.
    """

    objects: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    jobs: list[tuple[JobKind, str]] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    resume: str | None = None

    @contextmanager
    def noting(self, notes: list[_Note], note: _Note) -> Iterator[None]:
        """Note what the block asks for before it does, since it is there even if its answer never comes.

        Where the request is refused, the note goes: what has that name then is not this run's.
        """
        notes.append(note)
        try:
            yield
        except (ClientError, ParamValidationError):
            notes.remove(note)
            raise

    def delete(self, clients: Clients) -> None:
        """Delete all of it; jobs that still run are stopped first, since they would write again."""
        jobs = [(kind, name) for kind, name in self.jobs if _stop(clients, kind, name)]
        models = [name for name in self.models if _delete_model(clients, name)]
        written = [uri for folder in self.folders for uri in storage.list_objects(clients.s3, folder)]
        objects = sorted({*self.objects, *written})
        storage.delete(clients.s3, objects)
        say(f"Deleted: {len(objects)} objects in S3" + "".join(f", the model {name}" for name in models))
        if jobs:
            names = ", ".join(f"{kind.word} {name}" for kind, name in jobs)
            say(f"SageMaker keeps its records and logs: {names}")


def _stop(clients: Clients, kind: JobKind, name: str) -> bool:
    """Stop a job unless it has ended, and return whether there is one."""
    try:
        if is_over(status(clients, kind, name)):
            return True
    except ClientError as error:
        if _is_gone(error):
            return False
        raise
    say(f"Stopping the {kind.word} {name}")
    try:
        kind.call("stop", clients, name)
    except ClientError:
        # It may have ended by itself since it was asked.
        if not is_over(status(clients, kind, name)):
            raise
    wait(clients, kind, name)
    return True


def _delete_model(clients: Clients, name: str) -> bool:
    """Delete a model, and return whether there was one."""
    try:
        clients.sagemaker.delete_model(ModelName=name)
    except ClientError as error:
        if _is_gone(error):
            return False
        raise
    return True


def _is_gone(error: ClientError) -> bool:
    """Whether SageMaker says that there is no such thing: it has no code of its own for that."""
    details = error.response.get("Error", {})
    return details.get("Code") == "ValidationException" and bool(_GONE.search(details.get("Message", "")))
