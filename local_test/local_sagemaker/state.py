"""What one local SageMaker knows: jobs, models, endpoints and tags, in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local_sagemaker.job import Job

ACCOUNT = "123456789012"


def utc_now() -> datetime:
    """Return the time as every response states it: in UTC, to the millisecond."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


class State:
    """The store that all services share. Whoever reads or changes more than one entry holds ``lock``.

    Attributes
    ----------
    region, account
        What ARNs are made of.
    url
        Where the server answers, such as ``http://127.0.0.1:4580``; empty before it listens.
    training_jobs, transform_jobs
        Jobs by name.
    models, endpoint_configs, endpoints
        What the services keep, by name.
    tags
        Key to value, by ARN.
    lock
        Guards everything here.
    changed
        A condition on ``lock``, notified at every change of a status.
    """

    def __init__(self, *, region: str = "us-east-1", account: str = ACCOUNT) -> None:
        self.region = region
        self.account = account
        self.url = ""
        self.training_jobs: dict[str, Job] = {}
        self.transform_jobs: dict[str, Job] = {}
        self.models: dict[str, Any] = {}
        self.endpoint_configs: dict[str, Any] = {}
        self.endpoints: dict[str, Any] = {}
        self.tags: dict[str, dict[str, str]] = {}
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self._closed = False

    def arn(self, kind: str, name: str) -> str:
        """Return the ARN of a resource; SageMaker writes the name in lower case."""
        return f"arn:aws:sagemaker:{self.region}:{self.account}:{kind}/{name.lower()}"

    def tag(self, arn: str, tags: Iterable[Mapping[str, str]]) -> None:
        """Add the ``Tags`` of a request to a resource; a key that is there gets the new value."""
        with self.lock:
            self.tags.setdefault(arn, {}).update({tag["Key"]: tag["Value"] for tag in tags})

    def forget_tags(self, arn: str) -> None:
        """Drop the tags of a resource that is gone."""
        with self.lock:
            self.tags.pop(arn, None)

    def notify(self) -> None:
        """Wake all who wait for a change."""
        with self.changed:
            self.changed.notify_all()

    def wait_for(self, condition: Callable[[], bool], *, timeout: float) -> bool:
        """Wait until a condition holds, and return whether it does; ends early where the state is closed.

        The condition is evaluated with the lock held, at once and after every change.
        """
        end = time.monotonic() + timeout
        with self.changed:
            while not (holds := condition()) and not self._closed:
                left = end - time.monotonic()
                if left <= 0:
                    break
                self.changed.wait(left)
        return holds

    def close(self) -> None:
        """End every wait: the server is stopping."""
        with self.changed:
            self._closed = True
            self.changed.notify_all()
