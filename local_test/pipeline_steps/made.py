"""What a run made, remembered as it is made, so that `--clean-up` deletes exactly that."""

from __future__ import annotations

from dataclasses import dataclass, field

from botocore.exceptions import ClientError

from pipeline_steps import storage
from pipeline_steps.aws import Clients
from pipeline_steps.progress import JobKind, is_over, say, status, wait


@dataclass
class Made:
    """The things that one run made.

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

    def delete(self, clients: Clients) -> None:
        """Delete all of it; jobs that still run are stopped first, since they would write again."""
        for kind, name in self.jobs:
            _stop(clients, kind, name)
        for name in self.models:
            clients.sagemaker.delete_model(ModelName=name)
        written = [uri for folder in self.folders for uri in storage.list_objects(clients.s3, folder)]
        objects = sorted({*self.objects, *written})
        storage.delete(clients.s3, objects)
        say(f"Deleted: {len(objects)} objects in S3" + "".join(f", the model {name}" for name in self.models))
        if self.jobs:
            names = ", ".join(f"{kind.word} {name}" for kind, name in self.jobs)
            say(f"SageMaker keeps its records and logs: {names}")


def _stop(clients: Clients, kind: JobKind, name: str) -> None:
    if is_over(status(clients, kind, name)):
        return
    say(f"Stopping the {kind.word} {name}")
    try:
        kind.call("stop", clients, name)
    except ClientError:
        # It may have ended by itself since it was asked.
        if not is_over(status(clients, kind, name)):
            raise
    wait(clients, kind, name)
