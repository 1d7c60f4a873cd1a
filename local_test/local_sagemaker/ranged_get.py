"""A short-cut for reading parts of S3 objects.

moto reads a whole object for each range that is asked for, so the parts in which boto3 downloads a large object cost
time that grows with the square of its size. Here a part is read where it lies.
"""

from __future__ import annotations

import re
from wsgiref.types import WSGIEnvironment

from moto.s3.models import FakeKey, s3_backends

from local_sagemaker.protocol import Answer

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
# Longer parts are left to moto: here a part is held in memory.
_LONGEST = 256 * 1024 * 1024
# What else a condition or a query may ask of an object is for moto to answer.
_MOTOS_OWN = (
    "HTTP_IF_NONE_MATCH",
    "HTTP_IF_MODIFIED_SINCE",
    "HTTP_IF_UNMODIFIED_SINCE",
    "HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION_CUSTOMER_ALGORITHM",
)


def answer_range(environ: WSGIEnvironment, *, account: str) -> Answer | None:
    """Answer a plain ``GET`` of one range of an object, or return ``None`` for moto to answer."""
    wanted = _RANGE.fullmatch(environ.get("HTTP_RANGE", ""))
    if environ["REQUEST_METHOD"] != "GET" or environ["QUERY_STRING"] or wanted is None:
        return None
    if any(name in environ for name in _MOTOS_OWN):
        return None
    bucket, _, name = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace").removeprefix("/").partition("/")
    buckets = s3_backends[account]["aws"].buckets
    key = buckets[bucket].keys.get(name) if bucket in buckets else None
    if not isinstance(key, FakeKey) or not name:
        return None
    with key.lock:
        # A missing ETag is worked out at the first look, which moves the buffer's position: look first.
        etag = key.etag
        expected = environ.get("HTTP_IF_MATCH", etag)
        first, last = int(wanted[1]), min(int(wanted[2] or key.size - 1), key.size - 1)
        if expected.strip('"') != etag.strip('"') or not first <= last or last - first >= _LONGEST:
            return None
        key._value_buffer.seek(first)
        part = key._value_buffer.read(last - first + 1)
        told = {**key.response_dict, **key.metadata}
    headers = {"content-type": "binary/octet-stream", **{name.lower(): str(value) for name, value in told.items()}}
    headers |= {"accept-ranges": "bytes", "content-range": f"bytes {first}-{last}/{key.size}"}
    del headers["content-length"]
    return Answer(206, headers, part)
