"""Where a model comes from: a folder, an archive, or S3."""

from __future__ import annotations

import importlib
import lzma
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from factorbox.errors import PlatformError, UserError
from factorbox.manifest import MANIFEST, read_manifest
from factorbox.model_files import OPTIONAL_FILES, REQUIRED_FILES
from factorbox.recommender import Recommender

_MODEL_FILES = REQUIRED_FILES | OPTIONAL_FILES.keys() | {MANIFEST}
_ARCHIVE = "model.tar.gz"
_ARCHIVE_ENDINGS = (".tar.gz", ".tgz", ".tar")
_S3 = "s3://"
_SHOWN_NAMES = 5
_COPIED_BYTES = 1024 * 1024
_OTHER_FOLDER = "set TMPDIR to a folder that has space and that you may write"


def load(path: str | os.PathLike[str]) -> Recommender:
    """Load a model from a folder, an archive or S3; see `factorbox.load`."""
    name = os.fspath(path)
    if name.startswith(_S3):
        return _from_s3(name)
    local = Path(name).expanduser()
    if local.is_dir():
        return _from_folder(local)
    if local.is_file():
        return _from_archive(local)
    if local.exists():
        raise UserError(f"{local} is neither a folder nor a file: give a model folder or a {_ARCHIVE}")
    raise UserError(f"there is no {local}: give a model folder, a {_ARCHIVE} or an s3:// URI")


def _from_folder(folder: Path) -> Recommender:
    if not (folder / MANIFEST).exists():
        for inside in (Path("model"), Path(_ARCHIVE), Path("output", _ARCHIVE)):
            if (folder / inside / MANIFEST).exists() or (folder / inside).is_file():
                raise UserError(f"{folder} is no model folder, but holds {inside}: load {folder / inside}")
    return Recommender.load(folder)


def _from_archive(archive: Path) -> Recommender:
    def fill(folder: Path) -> None:
        with _archive_errors(str(archive)):
            _unpack(archive, folder)

    return _from_temporary(fill, name=str(archive))


def _from_s3(uri: str) -> Recommender:
    bucket, _, key = uri.removeprefix(_S3).partition("/")
    if not bucket:
        raise UserError(f"{uri} names no bucket: write s3://BUCKET/KEY")

    def fill(folder: Path) -> None:
        objects = _Objects(bucket)
        if not key.endswith(_ARCHIVE_ENDINGS):
            objects.download_model(key, folder)
            return
        archive = folder / _ARCHIVE
        objects.download(key, archive)
        with _archive_errors(uri):
            _unpack(archive, folder)
        archive.unlink()

    return _from_temporary(fill, name=uri.rstrip("/"))


def _from_temporary(fill: Callable[[Path], None], *, name: str) -> Recommender:
    """Load from a temporary folder that `fill` puts the model into.

    The folder is removed at once: its mapped files live on until the last array of them is gone.
    """
    with tempfile.TemporaryDirectory(prefix="factorbox-", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        try:
            fill(folder)
            return Recommender.load(folder)
        except PlatformError as error:
            # Where it was unpacked is gone when this is read.
            raise PlatformError(str(error).replace(str(folder), name)) from error


def _unpack(archive: Path, folder: Path) -> None:
    """Write the model's files, plain ones at the top of the archive, and nothing else that it holds."""
    others = []
    with tarfile.open(archive) as members:
        for member in members:
            name = member.name.removeprefix("./")
            if name not in _MODEL_FILES:
                others.append(name)
                continue
            source = members.extractfile(member) if member.isreg() else None
            if source is None:
                raise UserError(f"{name} in {archive.name} is no plain file: pack the model folder anew")
            if (folder / name).exists():
                raise UserError(f"{name} is twice in {archive.name}: pack the model folder anew")
            _require_space(member.size, folder=folder)
            with source:
                _write(source, folder / name)
    if not (folder / MANIFEST).exists():
        found = ", ".join(repr(name) for name in others[:_SHOWN_NAMES]) or "nothing"
        raise UserError(
            f"no model in {archive.name}: {MANIFEST} is not at its top (found there: {found}); give the {_ARCHIVE} of a"
            " training job of factorbox, or pack the content of a model folder rather than the folder"
        )


def _write(source: IO[bytes], target: Path) -> None:
    with target.open("wb") as file:
        shutil.copyfileobj(source, file, _COPIED_BYTES)


def _require_space(size: int, *, folder: Path) -> None:
    """Refuse what the disk cannot take before it is full."""
    free = shutil.disk_usage(folder).free
    if size > free:
        raise PlatformError(
            f"not enough disk space to unpack the model: a file of it has {size:,} bytes, and {free:,} are free in"
            f" {folder.parent}; set TMPDIR to a folder with more"
        )


@contextmanager
def _archive_errors(name: str) -> Iterator[None]:
    """Turn errors of unpacking into one sentence.

    Raises
    ------
    UserError
        Where it is no archive, or a broken one.
    PlatformError
        Where a file cannot be read or written.
    """
    broken = UserError(
        f"{name} is no tar archive, or a broken one: give the {_ARCHIVE} of a training job, and copy it again if it is"
        " cut off"
    )
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise broken from error
    except OSError as error:
        # gzip and bz2 report broken data so, without an error number.
        if error.errno is None:
            raise broken from error
        if error.filename == name:
            raise PlatformError(f"cannot read {name}: {error.strerror}") from error
        raise PlatformError(f"cannot unpack {name}: {error.strerror}; {_OTHER_FOLDER}") from error


class _Objects:
    """A bucket of S3, read with the credentials, region and endpoint that boto3 finds by itself."""

    def __init__(self, bucket: str) -> None:
        try:
            self._boto3 = importlib.import_module("boto3")
            self._errors = importlib.import_module("botocore.exceptions")
            self._transfer_error = importlib.import_module("boto3.exceptions").Boto3Error
        except ModuleNotFoundError as error:
            raise PlatformError(f"models in S3 need {error.name}, which is not installed: pip install boto3") from None
        self._bucket = bucket
        with self._s3_errors(""):
            self._client: Any = self._boto3.client("s3")

    def download(self, key: str, target: Path) -> None:
        """Download an object.

        Raises
        ------
        UserError
            Where there is no such object.
        PlatformError
            Where it may not or cannot be read.
        """
        with self._s3_errors(key):
            self._client.download_file(self._bucket, key, str(target))

    def download_model(self, prefix: str, folder: Path) -> None:
        """Download the manifest below a prefix, and the files that it names; see `download`."""
        start = f"{prefix.rstrip('/')}/".lstrip("/")
        try:
            self.download(start + MANIFEST, folder / MANIFEST)
        except UserError as error:
            raise UserError(f"no model below {self._uri(start)}: {error}{self._hint(start)}") from error
        for name in read_manifest(folder)["files"]:
            self.download(start + name, folder / name)

    def _hint(self, start: str) -> str:
        """Name an archive below a prefix, where the bucket may be listed and there is one."""
        try:
            listing = self._client.list_objects_v2(Bucket=self._bucket, Prefix=start)
        except (self._errors.BotoCoreError, self._errors.ClientError):
            return ""
        keys = [found["Key"] for found in listing.get("Contents", [])]
        archives = [key for key in keys if key.endswith(_ARCHIVE_ENDINGS)]
        return f"; found {self._uri(archives[0])}: load that" if archives else ""

    def _uri(self, key: str) -> str:
        return f"{_S3}{self._bucket}/{key}"

    @contextmanager
    def _s3_errors(self, key: str) -> Iterator[None]:
        uri, errors = self._uri(key), self._errors
        try:
            yield
        except errors.ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in ("404", "NoSuchKey", "NoSuchBucket"):
                raise UserError(
                    f"there is no {uri}: give the s3:// URI of a {_ARCHIVE}, or of a prefix with {MANIFEST}"
                ) from error
            if code in ("403", "AccessDenied"):
                raise PlatformError(
                    f"may not read {uri} (403): these credentials need s3:GetObject on it, and without s3:ListBucket a"
                    " missing object looks the same"
                ) from error
            raise PlatformError(f"cannot read {uri}: {error}") from error
        except (errors.NoCredentialsError, errors.PartialCredentialsError) as error:
            raise PlatformError(
                f"no AWS credentials to read {uri}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or"
                " run where a role gives them"
            ) from error
        except (errors.BotoCoreError, self._transfer_error) as error:
            raise PlatformError(f"cannot read {uri}: {error}") from error
        except OSError as error:
            raise PlatformError(f"cannot download {uri}: {error.strerror or error}; {_OTHER_FOLDER}") from error
