from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from local_sagemaker.http_connection import MEMORY_BYTES, Connection, DisconnectedError, Response
from transform_support import Request, serving


@contextmanager
def saying(*replies: bytes, seconds: float = 0.0) -> Iterator[tuple[str, int]]:
    """A server that answers the requests of one connection with given bytes, piece by piece, and then closes it."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            connection, _ = listener.accept()
            # The client may have had enough.
            with connection, suppress(BrokenPipeError, ConnectionResetError):
                for reply in replies:
                    connection.recv(65536)
                    for start in range(0, len(reply), 1000):
                        connection.sendall(reply[start : start + 1000])
                        over.wait(seconds)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            over.set()
            thread.join()


def ask(address: tuple[str, int], *, folder: Path, times: int = 1, timeout: float = 20) -> Sequence[tuple[int, bytes]]:
    answers = []
    with closing(Connection(address, timeout=timeout, spool=folder)) as connection:
        for _ in range(times):
            response = connection.request("POST", "/invocations", headers={}, body=b"x")
            answers.append((response.status, read(response)))
    return answers


def read(response: Response) -> bytes:
    with response.body as body:
        return body.read()


def test_a_body_with_its_length_leaves_the_connection_for_the_next_request(tmp_path: Path) -> None:
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
    with saying(reply, reply) as address:
        assert ask(address, folder=tmp_path, times=2) == [(200, b"abc")] * 2


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n3;x=1\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n",
            b"abcde",
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", b"a"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 200\nContent-Length: 1\n\na", b"a"),
    ],
)
def test_each_way_to_end_a_body_is_understood(reply: bytes, answer: bytes, tmp_path: Path) -> None:
    with saying(reply, reply) as address:
        assert [body for _, body in ask(address, folder=tmp_path, times=2)] == [answer, answer]


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\n\r\nabc",
        b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc",
    ],
)
def test_a_connection_that_ends_with_its_answer_is_not_used_again(reply: bytes, tmp_path: Path) -> None:
    with saying(reply) as address, closing(Connection(address, timeout=20, spool=tmp_path)) as connection:
        assert read(connection.request("GET", "/", headers={})) == b"abc"
        assert not connection.reusable


def test_a_large_answer_goes_to_a_file(tmp_path: Path) -> None:
    content = b"0123456789" * (MEMORY_BYTES // 5)

    def application(_request: Request) -> tuple[int, bytes]:
        return 200, content

    with serving(application) as address, closing(Connection(address, timeout=20, spool=tmp_path)) as connection:
        response = connection.request("POST", "/invocations", headers={})
        assert response.body.fileno() > 0
        assert read(response) == content


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (b"", "no answer: the connection was closed"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the answer is no HTTP"),
        (b"HTTP/1.1 2xx OK\r\n\r\n", "the answer is no HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "the connection was closed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", "cut off 2 bytes before its end"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabc", "Content-Length b'-5'"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nabc\r\n", "cut off|a chunk of length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "a chunk of length b'xyz'"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 2 + b"X" * 70_000, "a line of over"),
    ],
)
def test_what_is_no_whole_answer_is_a_lost_connection(reply: bytes, message: str, tmp_path: Path) -> None:
    with saying(reply) as address, pytest.raises(DisconnectedError, match=message) as error:
        ask(address, folder=tmp_path)
    assert not error.value.idle


def test_a_connection_that_closes_between_two_requests_says_so(tmp_path: Path) -> None:
    with saying(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as address:
        with pytest.raises(DisconnectedError) as error:
            ask(address, folder=tmp_path, times=2)
        assert error.value.idle


def test_no_answer_in_time_is_a_timeout(tmp_path: Path) -> None:
    with saying(b"HTTP/1.1 200 OK\r\n", seconds=20) as address, pytest.raises(TimeoutError):
        ask(address, folder=tmp_path, timeout=0.2)


def test_an_answer_that_trickles_in_is_a_timeout_too(tmp_path: Path) -> None:
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000
    with saying(reply, seconds=0.1) as address, pytest.raises(TimeoutError):
        ask(address, folder=tmp_path, timeout=0.4)


def test_a_refusal_before_the_body_was_read_is_seen(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
                connection.shutdown(socket.SHUT_WR)
                # Closing with unread bytes would reset the connection, and the answer could be lost.
                while connection.recv(1 << 20):
                    pass

        thread = threading.Thread(target=refuse)
        thread.start()
        with closing(Connection(listener.getsockname(), timeout=20, spool=tmp_path)) as connection:
            response = connection.request("POST", "/invocations", headers={}, body=bytes(5_000_000))
            assert (response.status, read(response)) == (413, b"no")
        thread.join()


def test_headers_length_and_chunks_arrive(tmp_path: Path) -> None:
    seen = []

    def application(request: Request) -> tuple[int, bytes]:
        seen.append((request.headers.get("Content-Type"), request.headers.get("Content-Length"), request.body))
        return 200, b""

    with serving(application) as address, closing(Connection(address, timeout=20, spool=tmp_path)) as connection:
        headers = {"Content-Type": "text/csv"}
        connection.request("POST", "/invocations", headers=headers, body=b"abc")
        connection.request("POST", "/invocations", headers=headers, body=bytearray(b"x") * 300_000)
        connection.request("POST", "/invocations", headers=headers, body=iter([b"abc", b"", b"d" * 20]))
    assert seen == [
        ("text/csv", "3", b"abc"),
        ("text/csv", "300000", b"x" * 300_000),
        ("text/csv", None, b"abc" + b"d" * 20),
    ]


def test_another_thread_ends_a_request(tmp_path: Path) -> None:
    waiting, errors = threading.Event(), []

    def application(_request: Request) -> tuple[int, bytes]:
        waiting.set()
        over.wait(20)
        return 200, b""

    over = threading.Event()
    with serving(application) as address, closing(Connection(address, timeout=20, spool=tmp_path)) as connection:

        def ask_in_vain() -> None:
            with pytest.raises(DisconnectedError) as error:
                connection.request("POST", "/invocations", headers={})
            errors.append(error.value)

        thread = threading.Thread(target=ask_in_vain)
        thread.start()
        assert waiting.wait(20)
        connection.abort()
        thread.join()
        over.set()
    assert len(errors) == 1
