from __future__ import annotations

import io

import pytest
from gunicorn.http.errors import InvalidChunkSize

from factorbox.serving.body import read_body
from factorbox.serving.refusals import RequestError

MIB = 1 << 20


class BrokenStream:
    """Gives a few bytes, then fails as gunicorn does on a chunked body that ends too early."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self._pieces = [b"abc"]

    def read(self, size: int, /) -> bytes:
        if self._pieces:
            return self._pieces.pop()
        raise self._error


@pytest.mark.parametrize("length", [None, 5])
def test_a_body_is_read_with_or_without_a_length(length: int | None) -> None:
    assert read_body(io.BytesIO(b"hello"), content_length=length, max_payload_mib=1) == b"hello"


@pytest.mark.parametrize("limit", [2, 0])
def test_a_body_of_exactly_the_limit_or_without_one_is_read(limit: int) -> None:
    body = bytes(2 * MIB)

    assert read_body(io.BytesIO(body), content_length=None, max_payload_mib=limit) == body


@pytest.mark.parametrize("length", [None, 2 * MIB + 1])
def test_a_larger_body_is_refused_by_the_name_of_the_variable(length: int | None) -> None:
    stream = io.BytesIO(bytes(2 * MIB + 1))

    with pytest.raises(RequestError, match="SAGEMAKER_MAX_PAYLOAD_IN_MB") as refused:
        read_body(stream, content_length=length, max_payload_mib=2)

    assert refused.value.status == 413
    # A client that is still sending sees the answer only if its body is taken.
    assert stream.read() == b""


def test_a_body_shorter_than_announced_was_cut_off() -> None:
    with pytest.raises(RequestError, match="after 3 bytes of 10 announced: it was cut off") as refused:
        read_body(io.BytesIO(b"abc"), content_length=10, max_payload_mib=1)

    assert refused.value.status == 400


@pytest.mark.parametrize("error", [OSError("gone"), InvalidChunkSize(b"zz")])
def test_a_chunked_body_that_breaks_off_was_cut_off(error: Exception) -> None:
    with pytest.raises(RequestError, match="after 3 bytes in chunks: it was cut off") as refused:
        read_body(BrokenStream(error), content_length=None, max_payload_mib=1)

    assert refused.value.status == 400
