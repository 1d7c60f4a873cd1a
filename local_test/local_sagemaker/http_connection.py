"""A keep-alive HTTP/1.1 connection to a container.

``http.client`` spends ten times as long on a small request (100 µs of processor time against 10 µs), most of it in
parsing headers as an e-mail; over 200,000 requests that would be 20 seconds taken from the container.
"""

from __future__ import annotations

import io
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

# Answers up to this size stay in memory.
MEMORY_BYTES = 1024 * 1024
_BLOCK = 256 * 1024
_LONGEST_LINE = 64 * 1024
_MOST_HEADERS = 200


class DisconnectedError(OSError):
    """The connection ended, or what came is no HTTP.

    Parameters
    ----------
    message
        What happened.
    idle
        Whether it had been used before and nothing of an answer came: the server may have closed it between two
        requests, and then the request can be sent again.
    """

    def __init__(self, message: str, *, idle: bool = False) -> None:
        super().__init__(message)
        self.idle = idle


@dataclass(frozen=True, eq=False)
class Response:
    """An answer.

    Attributes
    ----------
    status
        The HTTP status.
    body
        The content, to be read from its beginning; a temporary file where it is large.
    """

    status: int
    body: IO[bytes]


class Connection:
    """One connection. Not for several threads, except ``abort``.

    Parameters
    ----------
    address
        Host and port.
    timeout
        Seconds for a whole request, from connecting to the last byte of the answer.
    spool
        The folder for large answers.

    Attributes
    ----------
    reusable
        Whether another request may follow.
    """

    def __init__(self, address: tuple[str, int], *, timeout: float, spool: Path) -> None:
        self._address = address
        self._timeout = timeout
        self._spool = spool
        self._socket = socket.create_connection(address, timeout=timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = self._socket.makefile("rb")
        self._used = False
        self._hurried = False
        self.reusable = True

    def close(self) -> None:
        """Let go of the socket."""
        self.reusable = False
        self._reader.close()
        self._socket.close()

    def abort(self) -> None:
        """End a request under way in another thread, which sees ``DisconnectedError``."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            # It has ended by itself.
            return

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: bytes | bytearray | Iterator[bytes] = b"",
    ) -> Response:
        """Send a request and read its whole answer.

        Parameters
        ----------
        body
            An iterator is sent in chunks, without a length.

        Raises
        ------
        TimeoutError
            Where the answer is not there in time.
        DisconnectedError
            Where there is none, or none that can be read.
        """
        deadline = time.monotonic() + self._timeout
        idle, self._used = self._used, True
        if self._hurried:
            self._socket.settimeout(self._timeout)
            self._hurried = False
        try:
            sent = self._send(method, path, headers, body)
            return self._receive(deadline, idle=idle, sent=sent, empty=method == "HEAD")
        except BaseException:
            self.reusable = False
            raise

    def _send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | bytearray | Iterator[bytes]
    ) -> bool:
        """Return whether everything was taken; a server that refuses a body may answer before it has read it."""
        length = f"Content-Length: {len(body)}" if isinstance(body, bytes | bytearray) else "Transfer-Encoding: chunked"
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self._address[0]}:{self._address[1]}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join([*lines, *([] if method == "GET" else [length]), "", ""]).encode("latin-1")
        try:
            if not isinstance(body, bytes | bytearray):
                self._socket.sendall(head)
                # An empty chunk would end the body.
                for block in filter(None, body):
                    self._socket.sendall(b"%x\r\n" % len(block))
                    self._socket.sendall(block)
                    self._socket.sendall(b"\r\n")
                self._socket.sendall(b"0\r\n\r\n")
            elif len(body) <= _BLOCK:
                self._socket.sendall(head + body)
            else:
                self._socket.sendall(head)
                self._socket.sendall(body)
        except (BrokenPipeError, ConnectionResetError):
            self.reusable = False
            return False
        return True

    def _receive(self, deadline: float, *, idle: bool, sent: bool, empty: bool) -> Response:
        try:
            status, version = self._status()
            while 100 <= status < 200:
                self._headers()
                status, version = self._status()
        except (ConnectionError, DisconnectedError) as error:
            raise DisconnectedError(f"no answer: {error or 'the connection was closed'}", idle=idle) from None
        headers = self._headers()
        connection = headers.get(b"connection", b"").lower()
        if not sent or b"close" in connection or (version == b"HTTP/1.0" and b"keep-alive" not in connection):
            self.reusable = False
        try:
            return Response(status, self._body(headers, deadline, empty=empty or status in (204, 304)))
        except ConnectionError as error:
            raise DisconnectedError(f"the answer was cut off: {error}") from None

    def _status(self) -> tuple[int, bytes]:
        line = self._line()
        version, _, rest = line.partition(b" ")
        if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
            raise DisconnectedError(f"the answer is no HTTP: {line[:80]!r}")
        return int(rest[:3]), version

    def _headers(self) -> dict[bytes, bytes]:
        headers: dict[bytes, bytes] = {}
        while line := self._line():
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
            if len(headers) > _MOST_HEADERS:
                raise DisconnectedError(f"the answer has more than {_MOST_HEADERS} headers")
        return headers

    def _line(self) -> bytes:
        line = self._reader.readline(_LONGEST_LINE)
        if not line.endswith(b"\n"):
            raise DisconnectedError(
                "the connection was closed" if len(line) < _LONGEST_LINE else f"a line of over {_LONGEST_LINE} bytes"
            )
        return line.rstrip(b"\r\n")

    def _body(self, headers: Mapping[bytes, bytes], deadline: float, *, empty: bool) -> IO[bytes]:
        if empty:
            return io.BytesIO()
        if b"chunked" in headers.get(b"transfer-encoding", b"").lower():
            return self._spooled(self._chunks(deadline))
        if (announced := headers.get(b"content-length")) is None:
            self.reusable = False
            return self._spooled(self._rest(deadline))
        if not announced.isdigit():
            raise DisconnectedError(f"the answer has Content-Length {announced!r}")
        return self._spooled(self._exactly(int(announced), deadline))

    def _exactly(self, length: int, deadline: float) -> Iterator[bytes]:
        while length:
            block = self._reader.read1(min(length, _BLOCK))
            if not block:
                raise DisconnectedError(f"the answer was cut off {length} bytes before its end")
            length -= len(block)
            yield block
            if length:
                self._keep(deadline)

    def _chunks(self, deadline: float) -> Iterator[bytes]:
        while True:
            digits = self._line().partition(b";")[0].strip()
            try:
                length = int(digits, 16)
            except ValueError:
                raise DisconnectedError(f"the answer has a chunk of length {digits[:20]!r}") from None
            if not length:
                break
            yield from self._exactly(length, deadline)
            self._line()
            self._keep(deadline)
        self._headers()

    def _rest(self, deadline: float) -> Iterator[bytes]:
        while block := self._reader.read1(_BLOCK):
            yield block
            self._keep(deadline)

    def _keep(self, deadline: float) -> None:
        """End a request whose answer trickles in."""
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(left)
        self._hurried = True

    def _spooled(self, blocks: Iterator[bytes]) -> IO[bytes]:
        start: list[bytes] = []
        size = 0
        for block in blocks:
            start.append(block)
            size += len(block)
            if size > MEMORY_BYTES:
                return _file(start, blocks, folder=self._spool)
        return io.BytesIO(start[0] if len(start) == 1 else b"".join(start))


def _file(start: list[bytes], blocks: Iterator[bytes], *, folder: Path) -> BinaryIO:
    # Closed by whoever reads the answer.
    target = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
    try:
        for block in start:
            target.write(block)
        for block in blocks:
            target.write(block)
        target.seek(0)
    except BaseException:
        target.close()
        raise
    return target
