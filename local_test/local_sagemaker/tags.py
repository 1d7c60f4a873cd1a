"""Tags of anything that has an ARN here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

from local_sagemaker.errors import invalid
from local_sagemaker.state import State

_MOST_TAGS = 50


class Tags:
    """The operations on tags; ``state.tags`` holds them by ARN."""

    def __init__(self, *, state: State) -> None:
        self._state = state

    def operations(self) -> Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        """Return each operation by its name."""
        return {"AddTags": self.add, "ListTags": self.list_tags, "DeleteTags": self.delete}

    def close(self) -> None:
        """Do nothing: tags run nothing."""

    def add(self, request: dict[str, Any]) -> dict[str, Any]:
        """Add tags to a resource and return all that it has."""
        arn = request["ResourceArn"]
        with self._state.lock:
            together = {**self._of(arn), **{tag["Key"]: tag["Value"] for tag in request["Tags"]}}
            if len(together) > _MOST_TAGS:
                raise invalid(f"{arn} would have {len(together)} tags, and {_MOST_TAGS} are allowed.")
            self._state.tag(arn, request["Tags"])
            return {"Tags": self._listed(arn)}

    def list_tags(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the tags of a resource: at most 50, so there is one page."""
        with self._state.lock:
            self._of(request["ResourceArn"])
            return {"Tags": self._listed(request["ResourceArn"])}

    def delete(self, request: dict[str, Any]) -> dict[str, Any]:
        """Remove tags by their keys; a key that is not there is no error."""
        with self._state.lock:
            tags = self._of(request["ResourceArn"])
            for key in request["TagKeys"]:
                tags.pop(key, None)
        return {}

    def _of(self, arn: str) -> dict[str, str]:
        known = {
            *self._state.tags,
            *(job.arn for job in chain(self._state.training_jobs.values(), self._state.transform_jobs.values())),
        }
        if arn not in known:
            raise invalid(f"Could not find the resource {arn}: there is nothing with this ARN here.")
        return self._state.tags.setdefault(arn, {})

    def _listed(self, arn: str) -> list[dict[str, str]]:
        return [{"Key": key, "Value": value} for key, value in sorted(self._state.tags[arn].items())]
