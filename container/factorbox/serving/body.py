"""Reading a request's body whole, within the payload limit."""

from __future__ import annotations

from http import HTTPStatus
from typing import Protocol

from gunicorn.http.errors import ParseException

from factorbox.serving.refusals import RequestError
from factorbox.serving.settings import MAX_PAYLOAD_VARIABLE

_PIECE = 1 << 20
# A body that is too large is still read, up to here, and thrown away: many clients look at an answer only after
# they have sent everything, and would otherwise see a broken connection in place of the 413.
_THROWN_AWAY = 1 << 30


class ByteStream(Protocol):
    """The part of a WSGI input stream that is read here."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, none at the end."""
        ...


def read_body(stream: ByteStream, *, content_length: int | None, max_payload_mib: int) -> bytes:
    """Return the body of a request, sent with its length or in chunks.

    Parameters
    ----------
    stream
        The WSGI input, which ends where the body ends.
    content_length
        The length that the client announced, None for a chunked body.
    max_payload_mib
        The largest body in MiB, 0 for no limit.

    Raises
    ------
    RequestError
        413 for a body above the limit, 400 for one that was cut off.
    """
    limit = max_payload_mib << 20
    pieces: list[bytes] = []
    received = 0
    try:
        while piece := stream.read(_PIECE):
            received += len(piece)
            if not limit or received <= limit:
                pieces.append(piece)
                if received == content_length:
                    break
            elif received > limit + _THROWN_AWAY:
                break
            else:
                pieces.clear()
    except (OSError, ParseException) as error:  # the connection ended, or a chunk is not what it announced
        raise _cut_off(received, content_length) from error
    if limit and received > limit:
        raise RequestError(
            f"the request body is larger than {max_payload_mib} MiB, the value of {MAX_PAYLOAD_VARIABLE}: send "
            "fewer records at a time, or raise that environment variable (0 = no limit)",
            status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        )
    if content_length is not None and received < content_length:
        raise _cut_off(received, content_length)
    return b"".join(pieces)


def throw_away(stream: ByteStream) -> None:
    """Read what a client sends to a place where it is not wanted, so that it comes to look at the answer."""
    received = 0
    try:
        while received < _THROWN_AWAY and (piece := stream.read(_PIECE)):
            received += len(piece)
    except (OSError, ParseException):
        # The answer stays the same, whoever is there to read it.
        return


def _cut_off(received: int, content_length: int | None) -> RequestError:
    announced = "in chunks" if content_length is None else f"of {content_length} announced"
    return RequestError(
        f"the request body could not be read to its end, after {received} bytes {announced}: it was cut off, stalled,"
        " or its chunks are not framed as they announce; send it again",
        status=HTTPStatus.BAD_REQUEST,
    )
