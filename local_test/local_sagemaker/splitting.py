"""Cut an object into payloads, each the body of one request.

A payload is a piece of the object exactly as it is, newlines included, so that the payloads of an object together
give the object. Nothing larger than one payload is held in memory.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Literal

Split = Literal["None", "Line"]
Strategy = Literal["MultiRecord", "SingleRecord"]

BLOCK_BYTES = 1024 * 1024


class ObjectError(Exception):
    """An object cannot be transformed; the message is for the data-log.

    Parameters
    ----------
    message
        What is wrong, and the remedy.
    kind
        Who can help: ``ClientError`` (the input or the request) or ``AlgorithmError`` (the container).
    """

    def __init__(self, message: str, *, kind: Literal["ClientError", "AlgorithmError"] = "ClientError") -> None:
        super().__init__(message)
        self.kind = kind


@contextmanager
def reading() -> Iterator[None]:
    """Turn what may happen while an object is read or decompressed into an ``ObjectError``."""
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        raise ObjectError(f"The object cannot be read: {error}") from error


@dataclass(frozen=True, eq=False)
class Payload:
    """What one request carries. It can be read again: for a retry, and for a join.

    Attributes
    ----------
    content
        The bytes, or how to open them where they are too many for the memory.
    chunked
        Whether the request announces no length (``Transfer-Encoding: chunked``).
    """

    content: bytes | bytearray | Callable[[], BinaryIO]
    chunked: bool = False

    def body(self) -> bytes | bytearray | Iterator[bytes]:
        """Return the body as a connection takes it: an iterator is sent in chunks."""
        if callable(self.content):
            return _blocks(self.content)
        return iter([bytes(self.content)]) if self.chunked else self.content

    def open(self) -> BinaryIO:
        """Open the content for reading from its beginning."""
        return self.content() if callable(self.content) else io.BytesIO(self.content)


def split_object(
    open_object: Callable[[], BinaryIO], *, split: Split, strategy: Strategy, limit: int
) -> Iterator[Payload]:
    """Yield the payloads of an object in order; an empty object has none.

    Parameters
    ----------
    open_object
        Opens the object for reading from its beginning.
    split
        ``None`` sends it whole; ``Line`` cuts it after newlines.
    strategy
        With ``Line``: one record a payload, or as many as fit.
    limit
        The largest payload in bytes; 0 lifts the limit, and requests are then sent in chunks.

    Raises
    ------
    ObjectError
        Where the object, or one of its records, is larger than the limit.
    """
    if split == "Line" and strategy == "SingleRecord":
        return _records(open_object, limit=limit)
    if limit == 0:
        return _streamed(open_object)
    if split == "Line":
        return _groups_of_records(open_object, limit=limit)
    return _whole(open_object, limit=limit)


def _whole(open_object: Callable[[], BinaryIO], *, limit: int) -> Iterator[Payload]:
    with open_object() as source:
        content = source.read(limit + 1)
    if len(content) > limit:
        raise ObjectError(
            f"The object is larger than {_megabytes(limit)}: split it by SplitType=Line, give a larger "
            "MaxPayloadInMB, or 0 to send it in chunks"
        )
    if content:
        yield Payload(content)


def _streamed(open_object: Callable[[], BinaryIO]) -> Iterator[Payload]:
    with open_object() as source:
        empty = not source.read(1)
    if not empty:
        yield Payload(open_object, chunked=True)


def _records(open_object: Callable[[], BinaryIO], *, limit: int) -> Iterator[Payload]:
    with open_object() as source:
        number = 0
        while record := source.readline(limit + 1 if limit else -1):
            number += 1
            if limit and len(record) > limit:
                raise _record_too_large(number, limit)
            yield Payload(record, chunked=not limit)


def _groups_of_records(open_object: Callable[[], BinaryIO], *, limit: int) -> Iterator[Payload]:
    with open_object() as source:
        buffer = bytearray()
        number = 0
        while True:
            # One byte more than fits tells whether the object ends here.
            while len(buffer) <= limit and (block := source.read(min(BLOCK_BYTES, limit + 1 - len(buffer)))):
                buffer += block
            if len(buffer) <= limit:
                break
            end = buffer.rfind(b"\n", 0, limit) + 1
            if not end:
                raise _record_too_large(number + 1, limit)
            rest = buffer[end:]
            del buffer[end:]
            number += buffer.count(b"\n")
            yield Payload(buffer)
            buffer = rest
        if buffer:
            yield Payload(buffer)


def _blocks(open_content: Callable[[], BinaryIO]) -> Iterator[bytes]:
    # While a request is sent, an OSError would look like a lost connection.
    with reading(), open_content() as source:
        while block := source.read(BLOCK_BYTES):
            yield block


def _record_too_large(number: int, limit: int) -> ObjectError:
    return ObjectError(
        f"Record {number} is larger than {_megabytes(limit)}: give a larger MaxPayloadInMB, or 0 to send it in chunks"
    )


def _megabytes(limit: int) -> str:
    return f"MaxPayloadInMB={limit / (1024 * 1024):g}"
