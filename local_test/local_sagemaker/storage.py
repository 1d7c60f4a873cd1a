"""S3 seen from inside: moto's objects in this process, without HTTP and without copies in memory.

An object's name inside a channel or beside an output path follows one rule (``relative_name``), since an ``S3Uri`` is
a prefix of key names and not a folder.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from moto.s3.exceptions import MissingBucket
from moto.s3.models import FakeBucket, FakeKey, S3Backend, s3_backends

from local_sagemaker.errors import invalid
from local_sagemaker.state import ACCOUNT

_SCHEME = "s3://"
_BLOCK = 1024 * 1024
_LARGEST_MANIFEST = 100 * 1024 * 1024


@dataclass(frozen=True)
class S3Object:
    """One object that an ``S3Uri`` or a manifest stands for.

    Attributes
    ----------
    bucket, key
        Where it is.
    size
        Its bytes.
    name
        Its path relative to the prefix: where it lands in a channel, and what its output is called.
    """

    bucket: str
    key: str
    size: int
    name: str

    @property
    def is_folder(self) -> bool:
        """Whether this is the empty object by which the console shows a folder."""
        return self.key.endswith("/")


def split_uri(uri: str) -> tuple[str, str]:
    """Return bucket and key of ``s3://bucket/key``; the key may be empty.

    Raises
    ------
    ServiceError
        ``ValidationException`` where it is no such URI.
    """
    bucket, _, key = uri.removeprefix(_SCHEME).partition("/")
    if not uri.startswith(_SCHEME) or not bucket:
        raise invalid(f'"{uri}" is no S3 URI: write s3://BUCKET/KEY')
    return bucket, key


def relative_name(prefix: str, key: str) -> str:
    """Return the path of an object relative to the prefix that it was found by.

    ``data/train`` finds ``data/train`` (named ``train``), ``data/train/a.csv`` (``a.csv``) and
    ``data/train_old/a.csv``: there the prefix cuts a name, which is kept whole (``train_old/a.csv``).
    """
    if key == prefix:
        return key[key.rfind("/") + 1 :]
    if not prefix or prefix.endswith("/"):
        return key[len(prefix) :]
    if key[len(prefix)] == "/":
        return key[len(prefix) + 1 :]
    return key[prefix.rfind("/") + 1 :]


class Storage:
    """The S3 of one account."""

    def __init__(self, *, account: str = ACCOUNT) -> None:
        self._account = account

    def list_prefix(self, uri: str) -> list[S3Object]:
        """Return every object whose key starts with the URI's key, in order of keys.

        Raises
        ------
        ServiceError
            ``ValidationException`` where there is no such bucket.
        """
        bucket, prefix = split_uri(uri)
        keys = self._bucket(bucket, uri=uri).keys
        found = [(name, key) for name, key in keys.items() if name.startswith(prefix) and isinstance(key, FakeKey)]
        return [
            S3Object(bucket=bucket, key=name, size=key.size, name=relative_name(prefix, name))
            for name, key in sorted(found, key=lambda pair: pair[0].encode())
        ]

    def manifest(self, uri: str) -> list[S3Object]:
        """Return the objects that a manifest names, in its order.

        A manifest is ``[{"prefix": "s3://bucket/folder/"}, "a.csv", "b/c.csv"]``.

        Raises
        ------
        ServiceError
            ``ValidationException`` where the manifest or an object is missing or the manifest is none.
        """
        bucket, key = split_uri(uri)
        found = self._find(bucket, key)
        if found is None:
            raise invalid(f"Could not find the manifest at {uri}")
        if found.size > _LARGEST_MANIFEST:
            raise invalid(f"The manifest at {uri} has {found.size} bytes, more than {_LARGEST_MANIFEST}")
        prefix, names = _parse_manifest(found.value, uri=uri)
        bucket, folder = split_uri(prefix)
        objects = [(name, self._find(bucket, folder + name)) for name in names]
        if missing := [name for name, entry in objects if entry is None]:
            raise invalid(
                f"The manifest at {uri} names {len(missing)} of {len(names)} objects that do not exist: "
                f"{prefix}{missing[0]}"
            )
        return [
            S3Object(bucket=bucket, key=folder + name, size=entry.size, name=name)
            for name, entry in objects
            if entry is not None
        ]

    def require_objects(self, uri: str, *, region: str, role: str) -> list[S3Object]:
        """Return the objects of a prefix, of which there is at least one.

        Raises
        ------
        ServiceError
            ``ValidationException`` in AWS's words where there is none.
        """
        bucket, _ = split_uri(uri)
        objects = self.list_prefix(uri) if self.has_bucket(bucket) else []
        if not objects:
            raise invalid(
                f'No S3 objects found under S3 URL "{uri}" given in input data source. Please ensure that the bucket '
                f"exists in the selected region ({region}), that objects exist under that S3 prefix, and that the role "
                f'"{role}" has "s3:ListBucket" permissions on bucket "{bucket}".'
            )
        return objects

    def exists(self, uri: str) -> bool:
        """Return whether exactly this object exists."""
        bucket, key = split_uri(uri)
        return self._find(bucket, key) is not None

    def has_bucket(self, bucket: str) -> bool:
        """Return whether a bucket exists."""
        try:
            self._backend.get_bucket(bucket)
        except MissingBucket:
            return False
        return True

    def open(self, bucket: str, key: str) -> BinaryIO:
        """Open an object for reading from its beginning; it is read block by block.

        Raises
        ------
        ServiceError
            ``ValidationException`` where it does not exist.
        OSError
            While reading, where the object was replaced or deleted meanwhile.
        """
        found = self._find(bucket, key)
        if found is None:
            raise invalid(f"There is no object {_SCHEME}{bucket}/{key}")
        return cast(BinaryIO, io.BufferedReader(_ObjectReader(found), buffer_size=_BLOCK))

    def download(self, bucket: str, key: str, path: Path) -> None:
        """Write an object to a file, whose folder is made."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with self.open(bucket, key) as source, path.open("xb") as target:
            shutil.copyfileobj(source, target, _BLOCK)

    def upload(self, path: Path, bucket: str, key: str, *, kms_key: str = "") -> None:
        """Store a file as an object, which appears when it is whole.

        Raises
        ------
        ServiceError
            ``ValidationException`` where there is no such bucket.
        """
        owner = self._bucket(bucket, uri=f"{_SCHEME}{bucket}/{key}")
        # put_object takes its content as one bytes object: hand it none, and only to a key that nobody sees yet.
        new = FakeKey(
            name=key,
            value=b"",
            account_id=self._account,
            region_name=self._backend.region_name,
            bucket_name=bucket,
            is_versioned=owner.is_versioned,
            version_id=str(uuid.uuid4()) if owner.is_versioned else "null",
            encryption="aws:kms" if kms_key else None,
            kms_key_id=kms_key or None,
        )
        try:
            _fill(new, path)
        except BaseException:
            new.dispose()
            raise
        versions = owner.keys.getlist(key, []) if owner.is_versioned else []
        owner.keys.setlist(key, [*versions, new])

    @property
    def _backend(self) -> S3Backend:
        return s3_backends[self._account]["aws"]

    def _bucket(self, bucket: str, *, uri: str) -> FakeBucket:
        try:
            return self._backend.get_bucket(bucket)
        except MissingBucket:
            raise invalid(f'There is no bucket "{bucket}" ({uri}): create it first') from None

    def _find(self, bucket: str, key: str) -> FakeKey | None:
        if not self.has_bucket(bucket):
            return None
        return self._backend.get_object(bucket, key)


class _ObjectReader(io.RawIOBase):
    """Reads an object of moto's where it lies; many may read one object at once."""

    def __init__(self, source: FakeKey) -> None:
        self._source = source
        self._position = 0
        with source.lock:
            # moto works out a missing ETag lazily and without the lock, moving the position under our feet.
            _ = source.etag

    def readable(self) -> bool:
        return True

    def readinto(self, target: bytearray | memoryview) -> int:  # type: ignore[override]
        with self._source.lock:
            if self._source.disposed:
                raise OSError(
                    f"{_SCHEME}{self._source.bucket_name}/{self._source.name} was replaced or deleted while it was read"
                )
            self._source._value_buffer.seek(self._position)
            block = self._source._value_buffer.read(len(target))
        target[: len(block)] = block
        self._position += len(block)
        return len(block)


def _fill(key: FakeKey, path: Path) -> None:
    digest = hashlib.md5(usedforsecurity=False)
    size = 0
    with path.open("rb") as source:
        while block := source.read(_BLOCK):
            key._value_buffer.write(block)
            digest.update(block)
            size += len(block)
    key.contentsize = size
    key._etag = digest.hexdigest()


def _parse_manifest(content: bytes, *, uri: str) -> tuple[str, list[str]]:
    """Return the prefix and the names of a manifest."""
    try:
        entries = json.loads(content)
    except ValueError as error:
        raise invalid(f"The manifest at {uri} is no JSON: {error}") from None
    except RecursionError:
        raise invalid(f"The manifest at {uri} is JSON that is nested too deeply") from None
    match entries:
        case [{"prefix": str(prefix)}, *names] if _all_texts(names):
            return prefix, list(dict.fromkeys(names))
    raise invalid(f'The manifest at {uri} is none: write [{{"prefix": "s3://BUCKET/FOLDER/"}}, "NAME", ...]')


def _all_texts(names: Iterable[object]) -> bool:
    return all(isinstance(name, str) and name for name in names)
