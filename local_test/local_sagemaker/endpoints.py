"""Endpoints and their configurations: one live container behind ``InvokeEndpoint``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from local_sagemaker.errors import ServiceError, invalid
from local_sagemaker.invocation import invoke
from local_sagemaker.listing import Entry, list_page
from local_sagemaker.live_endpoint import LiveEndpoint
from local_sagemaker.models import find_model
from local_sagemaker.runners import Runner
from local_sagemaker.state import State, utc_now
from local_sagemaker.storage import Storage

# What a configuration may have. Some of it means nothing on one machine: keys, networks, volumes.
_CONFIG_FIELDS = {
    "EndpointConfigName",
    "ProductionVariants",
    "Tags",
    "KmsKeyId",
    "ExecutionRoleArn",
    "VpcConfig",
}
_REQUIRED_OF_VARIANT = ("ModelName", "InstanceType", "InitialInstanceCount")
_VARIANT_FIELDS = {
    "VariantName",
    *_REQUIRED_OF_VARIANT,
    "InitialVariantWeight",
    "VolumeSizeInGB",
    "ModelDataDownloadTimeoutInSeconds",
    "ContainerStartupHealthCheckTimeoutInSeconds",
    "EnableSSMAccess",
    "RoutingConfig",
    "InferenceAmiVersion",
}


class Endpoints:
    """The operations on endpoints and their configurations.

    However many instances a configuration asks for, one container runs.

    Parameters
    ----------
    state
        ``state.endpoint_configs`` holds what ``DescribeEndpointConfig`` answers, ``state.endpoints`` each
        :class:`LiveEndpoint`, by name.
    runner
        Starts the containers.
    storage
        Where model data comes from.
    workspace
        A folder for temporary files.
    quiet
        Whether the containers' logs stay off the terminal.
    """

    def __init__(self, *, state: State, runner: Runner, storage: Storage, workspace: Path, quiet: bool = False) -> None:
        self._state = state
        self._runner = runner
        self._storage = storage
        self._workspace = workspace
        self._quiet = quiet

    def operations(self) -> Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]]:
        """Return each operation by its name."""
        return {
            "CreateEndpointConfig": self.create_config,
            "DescribeEndpointConfig": self.describe_config,
            "ListEndpointConfigs": self.list_configs,
            "DeleteEndpointConfig": self.delete_config,
            "CreateEndpoint": self.create,
            "DescribeEndpoint": self.describe,
            "ListEndpoints": self.list_endpoints,
            "UpdateEndpoint": self.update,
            "DeleteEndpoint": self.delete,
        }

    def close(self) -> None:
        """Delete every endpoint and wait until nothing of them is left."""
        with self._state.lock:
            endpoints: list[LiveEndpoint] = list(self._state.endpoints.values())
        for endpoint in endpoints:
            endpoint.delete()
        for endpoint in endpoints:
            endpoint.join()

    def invoke(self, name: str, headers: Mapping[str, str], body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        """Answer ``InvokeEndpoint``: status, headers and body.

        Raises
        ------
        ServiceError
            ``ValidationError`` or ``ModelError``.
        """
        with self._state.lock:
            endpoint: LiveEndpoint | None = self._state.endpoints.get(name)
        if endpoint is None:
            text = f"Endpoint {name} of account {self._state.account} not found."
            raise ServiceError("ValidationError", text)
        if endpoint.status != "InService":
            reason = f": {endpoint.failure_reason}" if endpoint.failure_reason else "."
            text = f"Endpoint {name} of account {self._state.account} is {endpoint.status}, not InService{reason}"
            raise ServiceError("ValidationError", text)
        return invoke(endpoint, headers, body)

    def create_config(self, request: dict[str, Any]) -> dict[str, Any]:
        """Keep a configuration whose model exists."""
        name = request["EndpointConfigName"]
        arn = self._state.arn("endpoint-config", name)
        _refuse_others(request, _CONFIG_FIELDS)
        if len(request["ProductionVariants"]) != 1:
            raise invalid("The local SageMaker runs one variant of an endpoint: give one in ProductionVariants.")
        variant = {"InitialVariantWeight": 1.0, **request["ProductionVariants"][0]}
        _refuse_others(variant, _VARIANT_FIELDS)
        if missing := [field for field in _REQUIRED_OF_VARIANT if field not in variant]:
            raise invalid(f"{missing[0]} is missing in ProductionVariants.")
        with self._state.lock:
            find_model(variant["ModelName"], state=self._state)
            if name in self._state.endpoint_configs:
                raise invalid(f'Cannot create already existing endpoint configuration "{arn}".')
            self._state.endpoint_configs[name] = {
                "EndpointConfigName": name,
                "EndpointConfigArn": arn,
                "ProductionVariants": [variant],
                **{key: request[key] for key in ("KmsKeyId", "ExecutionRoleArn", "VpcConfig") if key in request},
                "EnableNetworkIsolation": False,
                "CreationTime": utc_now(),
            }
            self._state.tag(arn, request.get("Tags", ()))
        return {"EndpointConfigArn": arn}

    def describe_config(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return all about a configuration."""
        return self._config(request["EndpointConfigName"])

    def list_configs(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return a page of configurations, the newest first."""
        with self._state.lock:
            configs = list(self._state.endpoint_configs.values())
        entries = [
            Entry(
                name=config["EndpointConfigName"],
                creation_time=config["CreationTime"],
                summary={key: config[key] for key in ("EndpointConfigName", "EndpointConfigArn", "CreationTime")},
            )
            for config in configs
        ]
        return list_page(entries, request=request, key="EndpointConfigs")

    def delete_config(self, request: dict[str, Any]) -> dict[str, Any]:
        """Forget a configuration; an endpoint that was made of it keeps it."""
        with self._state.lock:
            config = self._config(request["EndpointConfigName"])
            del self._state.endpoint_configs[config["EndpointConfigName"]]
            self._state.forget_tags(config["EndpointConfigArn"])
        return {}

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        """Begin to bring an endpoint up."""
        name = request["EndpointName"]
        _refuse_others(request, {"EndpointName", "EndpointConfigName", "Tags"})
        with self._state.lock:
            config = self._config(request["EndpointConfigName"])
            model = find_model(config["ProductionVariants"][0]["ModelName"], state=self._state)
            arn = self._state.arn("endpoint", name)
            if name in self._state.endpoints:
                raise invalid(f'Cannot create already existing endpoint "{arn}".')
            endpoint = LiveEndpoint(
                name,
                config=config,
                model=model,
                state=self._state,
                runner=self._runner,
                storage=self._storage,
                workspace=self._workspace,
                quiet=self._quiet,
                on_gone=lambda: self._forget(endpoint),
            )
            self._state.endpoints[name] = endpoint
            self._state.tag(arn, request.get("Tags", ()))
            endpoint.start()
        return {"EndpointArn": arn}

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return all about an endpoint."""
        with self._state.lock:
            endpoint = self._endpoint(request["EndpointName"])
            variant = endpoint.variant
            image = endpoint.model["PrimaryContainer"]["Image"]
            count, weight = variant["InitialInstanceCount"], variant["InitialVariantWeight"]
            deployed = {"SpecifiedImage": image, "ResolvedImage": image, "ResolutionTime": endpoint.creation_time}
            return {
                "EndpointName": endpoint.name,
                "EndpointArn": endpoint.arn,
                "EndpointConfigName": endpoint.config["EndpointConfigName"],
                "ProductionVariants": [
                    {
                        "VariantName": variant["VariantName"],
                        "DeployedImages": [deployed],
                        "CurrentWeight": weight,
                        "DesiredWeight": weight,
                        "CurrentInstanceCount": count if endpoint.status == "InService" else 0,
                        "DesiredInstanceCount": count,
                    }
                ],
                "EndpointStatus": endpoint.status,
                **({"FailureReason": endpoint.failure_reason} if endpoint.failure_reason else {}),
                "CreationTime": endpoint.creation_time,
                "LastModifiedTime": endpoint.last_modified_time,
            }

    def list_endpoints(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return a page of endpoints, the newest first."""
        with self._state.lock:
            entries = [
                Entry(
                    name=endpoint.name,
                    creation_time=endpoint.creation_time,
                    last_modified_time=endpoint.last_modified_time,
                    status=endpoint.status,
                    summary={
                        "EndpointName": endpoint.name,
                        "EndpointArn": endpoint.arn,
                        "CreationTime": endpoint.creation_time,
                        "LastModifiedTime": endpoint.last_modified_time,
                        "EndpointStatus": endpoint.status,
                    },
                )
                for endpoint in self._state.endpoints.values()
            ]
        return list_page(entries, request=request, key="Endpoints")

    def update(self, request: dict[str, Any]) -> dict[str, Any]:
        """Refuse: an endpoint here keeps its configuration."""
        raise invalid(
            f"UpdateEndpoint is not supported by the local SageMaker: delete {request['EndpointName']} and create it "
            "again with the new configuration."
        )

    def delete(self, request: dict[str, Any]) -> dict[str, Any]:
        """Begin to take an endpoint down, also one that is being created."""
        with self._state.lock:
            self._endpoint(request["EndpointName"]).delete()
        return {}

    def _config(self, name: str) -> dict[str, Any]:
        config: dict[str, Any] | None = self._state.endpoint_configs.get(name)
        if config is None:
            raise invalid(f'Could not find endpoint configuration "{self._state.arn("endpoint-config", name)}".')
        return config

    def _endpoint(self, name: str) -> LiveEndpoint:
        endpoint: LiveEndpoint | None = self._state.endpoints.get(name)
        if endpoint is None:
            raise invalid(f'Could not find endpoint "{self._state.arn("endpoint", name)}".')
        return endpoint

    def _forget(self, endpoint: LiveEndpoint) -> None:
        with self._state.changed:
            del self._state.endpoints[endpoint.name]
            self._state.forget_tags(endpoint.arn)
            self._state.changed.notify_all()


def _refuse_others(given: Mapping[str, Any], known: Collection[str]) -> None:
    for name, value in given.items():
        if value and name not in known:
            raise invalid(f"{name} is not supported by the local SageMaker: leave it out.")
