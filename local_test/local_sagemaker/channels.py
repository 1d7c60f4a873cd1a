"""The input channels of a training job: checked at the call, downloaded before the container starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from local_sagemaker.errors import ServiceError, invalid
from local_sagemaker.storage import S3Object, Storage

Channel = Mapping[str, Any]


def find_objects(channel: Channel, *, input_mode: str, storage: Storage, region: str, role: str) -> list[S3Object]:
    """Return the objects of a channel.

    Parameters
    ----------
    channel
        One entry of ``InputDataConfig``.
    input_mode
        ``TrainingInputMode`` of the job, for a channel that has no ``InputMode``.
    storage
        The S3 to look in.
    region, role
        What AWS's message names where there is nothing.

    Raises
    ------
    ServiceError
        ``ValidationException`` where there is no object, or for what is not done here.
    """
    name = channel["ChannelName"]
    source = _checked_source(channel, mode=channel.get("InputMode", input_mode))
    uri = source["S3Uri"]
    if source["S3DataType"] == "ManifestFile":
        objects = storage.manifest(uri)
    else:
        objects = storage.require_objects(uri, region=region, role=role)
    for entry in objects:
        _local_parts(entry, channel=name)
    return objects


def input_data_config(channels: Sequence[Channel], *, input_mode: str) -> dict[str, dict[str, str]]:
    """Return what ``inputdataconfig.json`` says; its names are not quite those of the API."""
    return {channel["ChannelName"]: _channel_config(channel, input_mode=input_mode) for channel in channels}


def download(objects: Sequence[S3Object], folder: Path, *, channel: str, storage: Storage) -> None:
    """Write the objects of a channel below its folder.

    Raises
    ------
    ServiceError
        ``ValidationException`` where an object is gone, or two of them want the same path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for entry in objects:
        path = folder.joinpath(*_local_parts(entry, channel=channel))
        try:
            if entry.is_folder:
                path.mkdir(parents=True, exist_ok=True)
            else:
                storage.download(entry.bucket, entry.key, path)
        except OSError as error:
            raise _download_failed(entry, channel, error.strerror or str(error)) from error
        except ServiceError as error:
            raise _download_failed(entry, channel, error.message) from error


def _channel_config(channel: Channel, *, input_mode: str) -> dict[str, str]:
    source = channel["DataSource"]["S3DataSource"]
    config = {
        "TrainingInputMode": channel.get("InputMode", input_mode),
        "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
        "RecordWrapperType": channel.get("RecordWrapperType", "None"),
    }
    if "ContentType" in channel:
        config["ContentType"] = channel["ContentType"]
    return config


def _checked_source(channel: Channel, *, mode: str) -> Mapping[str, Any]:
    name = channel["ChannelName"]
    if mode == "Pipe":
        raise invalid(f'InputMode Pipe of channel "{name}" is not supported by the local SageMaker: use File')
    # AWS knows both for Pipe mode only.
    for field in ("CompressionType", "RecordWrapperType"):
        if (value := channel.get(field, "None")) != "None":
            raise invalid(f'{field} {value} of channel "{name}" needs InputMode Pipe: leave it out in {mode} mode')
    source: Mapping[str, Any] | None = channel["DataSource"].get("S3DataSource")
    if source is None:
        kinds = ", ".join(channel["DataSource"]) or "an empty DataSource"
        raise invalid(f'{kinds} of channel "{name}" is not supported by the local SageMaker: use S3DataSource')
    if source["S3DataType"] not in ("S3Prefix", "ManifestFile"):
        raise invalid(
            f'S3DataType {source["S3DataType"]} of channel "{name}" is not supported by the local SageMaker: '
            "use S3Prefix or ManifestFile"
        )
    for field in ("AttributeNames", "InstanceGroupNames", "ModelAccessConfig", "HubAccessConfig"):
        if source.get(field):
            raise invalid(f'{field} of channel "{name}" is not supported by the local SageMaker: leave it out')
    return source


def _local_parts(entry: S3Object, *, channel: str) -> list[str]:
    """Return the path below the channel's folder; a key may hold anything, a path must stay inside."""
    parts = [part for part in entry.name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise invalid(
            f's3://{entry.bucket}/{entry.key} leads out of the folder of channel "{channel}": '
            'rename the object so that its key holds no ".."'
        )
    return parts


def _download_failed(entry: S3Object, channel: str, reason: str) -> ServiceError:
    return invalid(f'Data download failed: s3://{entry.bucket}/{entry.key} of channel "{channel}": {reason}')
