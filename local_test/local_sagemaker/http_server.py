"""A small HTTP/1.1 server for a WSGI application: threads, kept-alive connections, 127.0.0.1 and nothing else."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import sys
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import RawIOBase
from itertools import chain
from typing import IO, Any, cast
from urllib.parse import unquote_to_bytes
from wsgiref.types import WSGIApplication, WSGIEnvironment

from werkzeug.exceptions import ClientDisconnected
from werkzeug.serving import DechunkedInput
from werkzeug.wsgi import LimitedStream

HOST = "127.0.0.1"

_BLOCK = 64 * 1024
# What a request that was answered early may still send before its connection is closed instead of read to the end.
_MOST_DRAINED = 64 * 1024 * 1024


class Server(ThreadingHTTPServer):
    """Serves a WSGI application on 127.0.0.1, a thread for each connection.

    Parameters
    ----------
    application
        What answers.
    port
        Where; 0 takes a free port, and ``server_port`` tells which.

    Raises
    ------
    OSError
        Where the port is taken.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, application: WSGIApplication, *, port: int) -> None:
        self.application = application
        self._connections: set[socket.socket] = set()
        self._ended = threading.Condition()
        super().__init__((HOST, port), _Handler)

    def server_bind(self) -> None:
        """Bind without the base class's question for a host name, which may go out to a name server."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.socket.getsockname()[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember a connection and give it its thread."""
        with self._ended:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection and forget it."""
        super().shutdown_request(request)
        with self._ended:
            self._connections.discard(request)
            self._ended.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Show what went wrong with a connection, unless its client just went away."""
        if not isinstance(sys.exception(), ConnectionError | ClientDisconnected):
            super().handle_error(request, client_address)

    def close(self, *, timeout: float) -> None:
        """Take no more requests, end idle connections, and give those under way time to be answered (seconds)."""
        self.shutdown()
        self.server_close()
        with self._ended:
            for connection in self._connections:
                with contextlib.suppress(OSError):  # its client closed it first
                    connection.shutdown(socket.SHUT_RD)
            self._ended.wait_for(lambda: not self._connections, timeout=timeout)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = _BLOCK
    server: Server

    def __getattr__(self, name: str) -> Any:
        # http.server looks for do_GET, do_PUT and so on; here the application knows the methods.
        if name.startswith("do_"):
            return self._handle_request
        raise AttributeError(name)

    def handle_expect_100(self) -> bool:
        """Say that the body may come, at once: clients such as botocore wait a second for it, then send anyway."""
        go_on = super().handle_expect_100()
        self.wfile.flush()
        return go_on

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: a request is no event."""

    def _handle_request(self) -> None:
        chunked = "chunked" in self.headers.get("Transfer-Encoding", "").lower()
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal():
            self.send_error(400, "Content-Length is no number")
            return
        source = cast(IO[bytes], self.rfile)
        body: RawIOBase = DechunkedInput(source) if chunked else LimitedStream(source, int(length))
        head: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            head[:] = status, headers
            return None

        answer = self.server.application(self._environment(body, chunked=chunked), start_response)
        try:
            # An application may call start_response as late as in its first block.
            blocks = iter(answer)
            first = next(blocks, b"")
            self._write(*head, blocks=chain((first,), blocks))
        finally:
            if hasattr(answer, "close"):
                answer.close()
        self._drain(body)

    def _environment(self, body: RawIOBase, *, chunked: bool) -> WSGIEnvironment:
        path, _, query = self.path.partition("?")
        environment: WSGIEnvironment = {
            "REQUEST_METHOD": self.command,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "RAW_URI": self.path,
            "REQUEST_URI": self.path,
            "SERVER_NAME": HOST,
            "SERVER_PORT": str(self.server.server_port),
            "SERVER_PROTOCOL": self.request_version,
            "REMOTE_ADDR": HOST,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": body,
            "wsgi.input_terminated": chunked,
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in self.headers.items():
            key = name.upper().replace("-", "_")
            key = key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
            environment[key] = f"{environment[key]},{value}" if key in environment else value
        return environment

    def _write(self, status: str, headers: list[tuple[str, str]], *, blocks: Iterable[bytes]) -> None:
        code, _, phrase = status.partition(" ")
        self.send_response_only(int(code), phrase)
        for name, value in headers:
            if name.lower() != "connection":
                self.send_header(name, value)
        names = {name.lower() for name, _ in headers}
        if "date" not in names:
            self.send_header("Date", self.date_time_string())
        has_body = self.command != "HEAD" and code not in ("204", "304")
        chunked = has_body and "content-length" not in names
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for block in blocks:
            if block and has_body:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(block), block) if chunked else block)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def _drain(self, body: RawIOBase) -> None:
        """Read what the application left of the body: the next request comes after it."""
        left = _MOST_DRAINED
        while left > 0 and (block := body.read(_BLOCK)):
            left -= len(block)
        self.close_connection = self.close_connection or left <= 0
