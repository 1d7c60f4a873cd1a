"""Models: an image, its model data in S3 and its environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from local_sagemaker.errors import invalid
from local_sagemaker.listing import Entry, list_page
from local_sagemaker.state import State, utc_now
from local_sagemaker.storage import Storage

_NOT_SUPPORTED = {
    "Containers": "an inference pipeline; give one container as PrimaryContainer",
    "InferenceExecutionConfig": "how an inference pipeline runs; give one container as PrimaryContainer",
}
_NOT_SUPPORTED_IN_CONTAINER = {
    "ModelPackageName": "a model of the registry; give Image and ModelDataUrl",
    "InferenceSpecificationName": "a part of a model package; give Image and ModelDataUrl",
    "ModelDataSource": "model data as single objects; give ModelDataUrl with a .tar.gz",
    "AdditionalModelDataSources": "further model data; put it into the .tar.gz of ModelDataUrl",
    "MultiModelConfig": "several models in one container; create one model for each",
}


def find_model(name: str, *, state: State) -> dict[str, Any]:
    """Return a model: what ``DescribeModel`` answers, with ``PrimaryContainer``, ``EnableNetworkIsolation``...

    Raises
    ------
    ServiceError
        ``ValidationException`` in AWS's words where there is none.
    """
    model: dict[str, Any] | None = state.models.get(name)
    if model is None:
        raise invalid(f'Could not find model "{state.arn("model", name)}".')
    return model


class Models:
    """The operations on models; ``state.models`` holds the answer of ``DescribeModel`` by name."""

    def __init__(self, *, state: State, storage: Storage) -> None:
        self._state = state
        self._storage = storage

    def operations(self) -> Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        """Return each operation by its name."""
        return {
            "CreateModel": self.create,
            "DescribeModel": self.describe,
            "ListModels": self.list_models,
            "DeleteModel": self.delete,
        }

    def close(self) -> None:
        """Do nothing: a model runs nothing."""

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        """Keep a model whose data exists."""
        name = request["ModelName"]
        _refuse(request, _NOT_SUPPORTED)
        container = request.get("PrimaryContainer")
        if container is None:
            raise invalid("PrimaryContainer is missing: give the image and its ModelDataUrl.")
        self._check_container(container)
        arn = self._state.arn("model", name)
        model: dict[str, Any] = {
            "ModelName": name,
            "PrimaryContainer": {"Mode": "SingleModel", "Environment": {}, **container},
            **{key: request[key] for key in ("ExecutionRoleArn", "VpcConfig") if key in request},
            "CreationTime": utc_now(),
            "ModelArn": arn,
            "EnableNetworkIsolation": request.get("EnableNetworkIsolation", False),
        }
        with self._state.lock:
            if name in self._state.models:
                raise invalid(f'Cannot create already existing model "{arn}".')
            self._state.models[name] = model
            self._state.tag(arn, request.get("Tags", ()))
        return {"ModelArn": arn}

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return all about a model."""
        return find_model(request["ModelName"], state=self._state)

    def list_models(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return a page of models, the newest first."""
        with self._state.lock:
            models = list(self._state.models.values())
        entries = [
            Entry(
                name=model["ModelName"],
                creation_time=model["CreationTime"],
                summary={key: model[key] for key in ("ModelName", "ModelArn", "CreationTime")},
            )
            for model in models
        ]
        return list_page(entries, request=request, key="Models")

    def delete(self, request: dict[str, Any]) -> dict[str, Any]:
        """Forget a model; jobs and endpoints that run keep their copy of it."""
        with self._state.lock:
            model = find_model(request["ModelName"], state=self._state)
            del self._state.models[model["ModelName"]]
            self._state.forget_tags(model["ModelArn"])
        return {}

    def _check_container(self, container: Mapping[str, Any]) -> None:
        _refuse(container, _NOT_SUPPORTED_IN_CONTAINER)
        if container.get("Mode", "SingleModel") != "SingleModel":
            raise invalid("Mode MultiModel is not supported by the local SageMaker: create one model for each.")
        if "Image" not in container:
            raise invalid("Image is missing in PrimaryContainer: name the image that serves the model.")
        if (uri := container.get("ModelDataUrl")) is None:
            return
        if not uri.startswith("s3://"):
            raise invalid(f'ModelDataUrl "{uri}" is not supported by the local SageMaker: write s3://BUCKET/KEY.')
        if not uri.endswith(".tar.gz"):
            raise invalid(f'ModelDataUrl "{uri}" must name one .tar.gz, as a training job writes it.')
        if not self._storage.exists(uri):
            raise invalid(f"Could not find model data at {uri}.")


def _refuse(given: Mapping[str, Any], refused: Mapping[str, str]) -> None:
    for name, remedy in refused.items():
        if given.get(name):
            raise invalid(f"{name} is not supported by the local SageMaker: it is {remedy}.")
