"""S3: what the steps upload, list, fetch and delete."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from pipeline_steps.errors import InputRefusedError

_DELETED_AT_ONCE = 1000


def is_uri(text: str) -> bool:
    """Whether a text is an S3 URI, not a path of this machine."""
    return text.startswith("s3://")


def split_uri(uri: str) -> tuple[str, str]:
    """Return bucket and key of an S3 URI.

    Raises
    ------
    InputRefusedError
        Where the text is none.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not (is_uri(uri) and bucket):
        raise InputRefusedError(f"{uri!r} is no S3 URI: give s3://BUCKET or s3://BUCKET/PREFIX")
    return bucket, key


def list_objects(s3: Any, uri: str) -> list[str]:
    """Return the URIs of the objects whose key begins as `uri` does, in order, without folder markers."""
    bucket, prefix = split_uri(uri)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    return [f"s3://{bucket}/{key}" for key in keys if not key.endswith("/")]


def local_files(path: Path) -> list[tuple[Path, str]]:
    """Return the files to upload for a file or a folder, each with its name below the prefix; dot files are left out.

    Raises
    ------
    InputRefusedError
        Where there is none.
    """
    if path.is_file():
        return [(path, path.name)]
    if not path.exists():
        raise InputRefusedError(f"there is no file or folder {path}: give one that is there, or an S3 URI (s3://…)")
    below = sorted(file for file in path.rglob("*") if file.is_file())
    named = [(file, file.relative_to(path).as_posix()) for file in below]
    kept = [(file, name) for file, name in named if not any(part.startswith(".") for part in name.split("/"))]
    if not kept:
        raise InputRefusedError(f"the folder {path} holds no file to upload")
    return kept


def upload(s3: Any, path: Path, folder_uri: str, *, kms_key: str | None, uploaded: list[str]) -> None:
    """Upload a file or a folder below a URI; each object joins `uploaded` before it is sent."""
    bucket, prefix = split_uri(folder_uri)
    for file, name in local_files(path):
        uploaded.append(f"s3://{bucket}/{prefix}{name}")
        try:
            s3.upload_file(str(file), bucket, f"{prefix}{name}", ExtraArgs=_encryption(kms_key))
        except OSError as error:
            raise InputRefusedError(f"cannot read {file}: {error.strerror}") from error


def copy(s3: Any, source_uri: str, uri: str, *, kms_key: str | None, uploaded: list[str]) -> None:
    """Copy an object within S3; the new one joins `uploaded` before."""
    (bucket, key), (new_bucket, new_key) = split_uri(source_uri), split_uri(uri)
    uploaded.append(uri)
    s3.copy({"Bucket": bucket, "Key": key}, new_bucket, new_key, ExtraArgs=_encryption(kms_key))


def _encryption(kms_key: str | None) -> dict[str, str] | None:
    return {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else None


def fetch(s3: Any, folder_uri: str, folder: Path) -> list[Path]:
    """Download every object below a URI into a folder and return the files.

    Raises
    ------
    InputRefusedError
        Where a file cannot be written, or a key would leave the folder.
    """
    files = []
    for uri in list_objects(s3, folder_uri):
        file = folder / uri.removeprefix(folder_uri)
        if not Path(os.path.normpath(file)).is_relative_to(os.path.normpath(folder)):
            raise InputRefusedError(f"{uri} would be written outside {folder}")
        fetch_object(s3, uri, file)
        files.append(file)
    return files


def fetch_object(s3: Any, uri: str, file: Path) -> None:
    """Download one object.

    Raises
    ------
    InputRefusedError
        Where there is none, or the file cannot be written.
    """
    bucket, key = split_uri(uri)
    missing = InputRefusedError(f"there is no object {uri}: give the URI of one object")
    if not key:
        raise missing
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(bucket, key, str(file))
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in ("404", "NoSuchKey"):
            raise missing from error
        raise
    except OSError as error:
        raise InputRefusedError(f"cannot write {file}: {error.strerror}; give another folder with --output") from error


def delete(s3: Any, uris: Sequence[str]) -> None:
    """Delete objects.

    Raises
    ------
    InputRefusedError
        Naming the first one that could not be deleted.
    """
    keys: dict[str, list[str]] = {}
    for uri in uris:
        bucket, key = split_uri(uri)
        keys.setdefault(bucket, []).append(key)
    for bucket, names in keys.items():
        for start in range(0, len(names), _DELETED_AT_ONCE):
            objects = [{"Key": name} for name in names[start : start + _DELETED_AT_ONCE]]
            answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
            for error in answer.get("Errors", []):
                raise InputRefusedError(f"s3://{bucket}/{error['Key']} could not be deleted: {error['Message']}")
