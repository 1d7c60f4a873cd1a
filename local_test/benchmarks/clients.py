"""Clients that cost little, in a process of their own, so that they do not dominate what they measure.

Requests are made before the clock starts, answers are read and not looked at beyond their status and length. One
thread serves all connections that ask one record at a time; each payload of many records has a thread to itself.
"""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TypeVar

from benchmarks.served import used_seconds

_PIECE = 1 << 20
_PATIENCE_SECONDS = 120
_HEADERS_END = b"\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"

_T = TypeVar("_T")


@dataclass(frozen=True)
class Asked:
    """What some clients found.

    Attributes
    ----------
    latencies
        Seconds of each request, those of the warm-up left out.
    wall_seconds
        From the first of these requests to the end of the last.
    client_seconds
        Processor time of the clients in that time.
    answer_bytes
        Bytes received in that time, with headers.
    """

    latencies: list[float]
    wall_seconds: float
    client_seconds: float
    answer_bytes: int


def request_of(body: bytes, *, accept: str) -> bytes:
    """Return a request with this body of JSON Lines, ready to be sent."""
    head = (
        "POST /invocations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/jsonlines\r\n"
        f"Accept: {accept}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def elsewhere(function: Callable[..., _T], *arguments: object) -> _T:
    """Call a function in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        return executor.submit(function, *arguments).result()


def ask_singly(port: int, requests: Sequence[bytes], clients: int, seconds: float, warm_up_seconds: float) -> Asked:
    """Send requests one by one on each of several connections for some seconds, each as soon as it has its answer."""
    selector = selectors.EpollSelector()
    connections = [_connected(port) for _ in range(clients)]
    sent = [0.0] * clients
    answers = [b""] * clients
    for number, connection in enumerate(connections):
        selector.register(connection, selectors.EVENT_READ, number)
    latencies: list[float] = []
    received = 0
    begun = time.perf_counter() + warm_up_seconds
    ends = begun + seconds
    turn, used = 0, None
    for number, connection in enumerate(connections):
        sent[number] = time.perf_counter()
        connection.send(requests[turn := (turn + 1) % len(requests)])
    while (now := time.perf_counter()) < ends:
        if used is None and now >= begun:
            used = used_seconds()
        for key, _ in selector.select(1.0):
            number = key.data
            some = connections[number].recv(65536)
            if not some:
                raise SystemExit("the server closed a connection before it had answered")
            answers[number] += some
            if not _is_complete(answers[number]):
                continue
            now = time.perf_counter()
            if sent[number] >= begun:
                latencies.append(now - sent[number])
                received += len(answers[number])
            answers[number] = b""
            sent[number] = now
            connections[number].send(requests[turn := (turn + 1) % len(requests)])
    client_seconds = used_seconds() - (used or 0.0)
    for connection in connections:
        connection.close()
    return Asked(latencies, seconds, client_seconds, received)


def send_payloads(port: int, payloads: Sequence[bytes], connections: int) -> Asked:
    """Send payloads of many records by several connections, each as soon as a connection is free."""
    waiting = list(reversed(payloads))
    latencies: list[float] = []
    received: list[int] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with _connected(port) as connection:
                while True:
                    try:
                        payload = waiting.pop()
                    except IndexError:
                        return
                    started = time.perf_counter()
                    connection.sendall(payload)
                    received.append(_read_answer(connection))
                    latencies.append(time.perf_counter() - started)
        except BaseException as error:
            failures.append(error)

    used, started = used_seconds(), time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return Asked(latencies, time.perf_counter() - started, used_seconds() - used, sum(received))


def _connected(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _is_complete(answer: bytes) -> bool:
    """Whether an answer of known length has come whole."""
    head, found, body = answer.partition(_HEADERS_END)
    if not found:
        return False
    _check_status(head)
    _, _, length = head.lower().partition(b"content-length:")
    return len(body) >= int(length.split(b"\r\n", 1)[0])


def _read_answer(connection: socket.socket) -> int:
    """Read an answer, sent whole or in chunks, and return its bytes."""
    piece = bytearray(_PIECE)
    view = memoryview(piece)
    head = b""
    while _HEADERS_END not in head:
        some = connection.recv(_PIECE)
        if not some:
            raise SystemExit("the server closed the connection before an answer")
        head += some
    head, _, body = head.partition(_HEADERS_END)
    _check_status(head)
    total, end = len(body), body[-len(_LAST_CHUNK) :]
    lower = head.lower()
    length = int(lower.partition(b"content-length:")[2].split(b"\r\n", 1)[0]) if b"content-length:" in lower else None
    while end != _LAST_CHUNK if length is None else total < length:
        count = connection.recv_into(view)
        if not count:
            raise SystemExit("the server closed the connection within an answer")
        total += count
        end = (end + bytes(view[max(0, count - len(_LAST_CHUNK)) : count]))[-len(_LAST_CHUNK) :]
    return total


def _check_status(head: bytes) -> None:
    if not head.startswith(b"HTTP/1.1 200 "):
        raise SystemExit(f"the server answered {head.splitlines()[0].decode(errors='replace')}")
