"""container/serve as a process of its own, over real HTTP."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from factorbox import artifact
from factorbox.data.ids import Ids
from factorbox.data.interactions import Interactions
from factorbox.models.base import Factors
from factorbox.serving.server import STALL_SECONDS, bind
from support import CONTAINER, interactions_from_rows

PATIENCE = 60.0


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like /opt/ml with a model of random factors; user u has seen the items u and u + 1."""
    folder = tmp_path_factory.mktemp("serving")
    rng = np.random.default_rng(7)
    n_users, n_items, d = 40, 300, 8
    factors = Factors(
        user_factors=rng.normal(size=(n_users, d)).astype(np.float32),
        item_factors=rng.normal(size=(n_items, d)).astype(np.float32),
        user_biases=np.zeros(n_users, dtype=np.float32),
        item_biases=np.zeros(n_items, dtype=np.float32),
        epochs=1,
        train_loss=0.5,
    )
    artifact.save(
        folder / "model",
        interactions=interactions_from_rows([[u, u + 1] for u in range(n_users)], n_items=n_items),
        factors=factors,
        algorithm="als",
        hyperparameters={},
        metrics={},
    )
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(base: Path, *, port: int, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(CONTAINER / "serve")],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(base), "SAGEMAKER_BIND_TO_PORT": str(port), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@dataclass(frozen=True)
class Running:
    """A server that answers its health check."""

    port: int
    process: subprocess.Popen[str]

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def ask(self, body: bytes | Iterator[bytes], **headers: str) -> tuple[int, str, bytes]:
        """Post to /invocations, an iterator in chunks; header names are given with underscores."""
        connection = self.connect()
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request("POST", "/invocations", body=body, headers={"Content-Type": "application/json"} | named)
            response = connection.getresponse()
            return response.status, response.headers["Content-Type"] or "", response.read()
        finally:
            connection.close()

    def get(self, path: str) -> tuple[int, bytes]:
        connection = self.connect()
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]


@contextmanager
def running(base: Path, **environment: str) -> Iterator[Running]:
    """Start a server, wait until it is healthy, and stop it whatever happens."""
    port = free_port()
    process = start(base, port=port, **environment)
    server = Running(port, process)
    try:
        wait_until(lambda: process.poll() is not None or is_healthy(server))
        assert process.poll() is None, process.communicate()[0]
        yield server
    finally:
        process.terminate()
        try:
            process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
            process.wait()


def received(client: socket.socket) -> bytes:
    """Read until the server closes the connection."""
    return b"".join(iter(lambda: client.recv(65_536), b""))


def is_healthy(server: Running) -> bool:
    try:
        return server.get("/ping") == (200, b"")
    except OSError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(int(PATIENCE / 0.05)):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("gave up waiting")


@pytest.fixture(scope="module")
def server(base: Path) -> Iterator[Running]:
    with running(base, MODEL_SERVER_WORKERS="2", SAGEMAKER_MAX_PAYLOAD_IN_MB="1") as started:
        yield started


def test_json_requests_are_answered_in_csv(server: Running) -> None:
    status, content_type, body = server.ask(b'{"user_id": "u0003", "top_n": "5"}\n{"user_id": "u0004", "top_n": 2}\n')

    rows = [row.split(",") for row in body.decode().split("\n")]
    assert (status, content_type) == (200, "text/csv")
    assert [row[0] for row in rows] == ["u0003"] * 5 + ["u0004"] * 2
    assert not {"i0003", "i0004"} & {row[1] for row in rows[:5]}
    assert [float(row[2]) for row in rows[:5]] == sorted((float(row[2]) for row in rows[:5]), reverse=True)


def test_csv_requests_are_answered_in_json_lines(server: Running) -> None:
    status, content_type, body = server.ask(
        b"u0003,2\r\nnobody\r\n", Content_Type="text/csv", Accept="application/jsonlines"
    )

    known, unknown = map(json.loads, body.decode().split("\n"))
    assert (status, content_type) == (200, "application/jsonlines")
    assert (known["user_id"], len(known["recommendations"])) == ("u0003", 2)
    assert (unknown["known_user"], len(unknown["recommendations"])) == (False, 10)


def test_a_chunked_body_is_answered_like_any_other(server: Running) -> None:
    lines = [b'{"user_id": "u%04d"}\n' % user for user in range(40)]

    chunked = server.ask(iter(lines))

    assert chunked[0] == 200
    assert chunked == server.ask(b"".join(lines))


@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_above_the_limit_is_refused_though_the_client_sends_it_all(server: Running, chunked: bool) -> None:
    lines = [b'{"user_id": "u0000"}\n' * 1_000] * 150

    if chunked:
        status, _, body = server.ask(iter(lines))
    else:
        status, _, body = server.ask(b"".join(lines))

    assert status == 413
    assert b"SAGEMAKER_MAX_PAYLOAD_IN_MB" in body


@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (b"Content-Length: 100", b'{"user_id": "u0000"}'),
        (b"Transfer-Encoding: chunked", b'14\r\n{"user_id": "u0000"}\r\n20\r\n{"user'),
        (b"Transfer-Encoding: chunked", b'14\r\n{"user_id": "u0000"}\r\nzz\r\n'),
    ],
)
def test_a_body_that_was_cut_off_is_not_answered_as_if_it_were_whole(
    server: Running, framing: bytes, body: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as client:
        client.sendall(
            b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            + framing
            + b"\r\n\r\n"
            + body
        )
        client.shutdown(socket.SHUT_WR)
        answer = received(client)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"cut off" in answer


def test_an_answer_of_many_blocks_is_streamed_and_whole(server: Running) -> None:
    requests = b"".join(b'{"user_id": "u%04d", "top_n": 1000000000}\n' % (k % 40) for k in range(2_000))

    status, _, body = server.ask(requests)

    assert status == 200
    assert body.count(b"\n") == 2_000 * 298 - 1
    assert body.startswith(b"u0000,")
    assert body.rsplit(b"\n", 1)[1].startswith(b"u0039,")


def test_both_workers_answer(server: Running) -> None:
    """A product in the master before the fork would make these hang."""
    workers = server.workers()
    assert len(workers) == 2
    wanted = server.ask(b'{"user_id": "u0001"}')
    for asleep in workers:
        os.kill(asleep, signal.SIGSTOP)
        try:
            assert server.ask(b'{"user_id": "u0001"}') == wanted
        finally:
            os.kill(asleep, signal.SIGCONT)


def test_the_contracts_other_routes_answer(server: Running) -> None:
    status, body = server.get("/execution-parameters")

    assert (status, json.loads(body)["MaxConcurrentTransforms"]) == (200, 2)
    assert server.get("/nothing")[0] == 404


def test_sigterm_lets_a_request_finish_and_ends_with_status_0(base: Path) -> None:
    with running(base, MODEL_SERVER_WORKERS="1") as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as client:
            client.sendall(
                b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b"Content-Length: 20\r\nExpect: 100-continue\r\n\r\n"
            )
            # A thread of the worker has the request now, and waits for its body.
            assert client.recv(65_536).startswith(b"HTTP/1.1 100 ")
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: not has_sockets(server.process.pid))
            client.sendall(b'{"user_id": "u0001"}')
            answer = received(client)

        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.count(b"\nu0001,") == 10
        assert server.process.wait(timeout=PATIENCE) == 0


def has_sockets(pid: int) -> bool:
    """Whether a process has an open socket; the master closes its listener when it is told to stop."""
    return any(os.readlink(entry).startswith("socket:") for entry in Path(f"/proc/{pid}/fd").iterdir())


def test_sigint_ends_the_server(base: Path) -> None:
    with running(base, MODEL_SERVER_WORKERS="1") as server:
        server.process.send_signal(signal.SIGINT)

        assert server.process.wait(timeout=PATIENCE) == 0


def refused(base: Path, **environment: str) -> str:
    """Run a server that must not come up, and return what it says."""
    port = int(environment.pop("SAGEMAKER_BIND_TO_PORT", free_port()))
    process = start(base, port=port, **environment)
    try:
        output, _ = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
    assert process.returncode != 0
    assert "Traceback" not in output
    return output


def test_sighup_ends_the_server_in_order(base: Path) -> None:
    with running(base) as server:
        server.process.send_signal(signal.SIGHUP)
        assert server.process.wait(PATIENCE) == 0


def test_a_large_body_for_a_wrong_path_gets_its_404(server: Running) -> None:
    connection = server.connect()
    try:
        connection.request("POST", "/invocation", body=b"x" * 6_000_000, headers={"Content-Type": "text/csv"})
        assert connection.getresponse().status == 404
    finally:
        connection.close()


def test_a_stalled_client_holds_a_thread_for_a_bounded_time_only() -> None:
    listener = bind(free_port())
    try:
        listener.listen()
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
            seconds, _ = struct.unpack("ll", accepted.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16))
        assert seconds == STALL_SECONDS
    finally:
        listener.close()


def test_an_encoded_body_is_refused_by_the_name_of_its_encoding(server: Running) -> None:
    status, _, body = server.ask(b"u0", Content_Type="text/csv", Content_Encoding="gzip")
    assert status == 415 and b"Content-Encoding 'gzip'" in body


def test_a_damaged_model_ends_the_process_with_the_name_of_the_file(base: Path, tmp_path: Path) -> None:
    shutil.copytree(base / "model", tmp_path / "model")
    factors = tmp_path / "model/factors.safetensors"
    content = bytearray(factors.read_bytes())
    content[len(content) // 2] ^= 0x01
    factors.write_bytes(content)

    assert str(factors) in refused(tmp_path)


def test_a_port_in_use_ends_the_process_with_its_number(base: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        output = refused(base, SAGEMAKER_BIND_TO_PORT=str(port))

    assert f"port {port} cannot be used" in output
    assert "SAGEMAKER_BIND_TO_PORT" in output


def private_bytes(pid: int) -> tuple[int, int]:
    """Return what a process has of its own: copied pages of the model's files, and other written memory."""
    copied = elsewhere = 0
    of_model = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        name, *values = line.split()
        if not name.endswith(":"):
            of_model = line.endswith((".safetensors", ".arrow"))
        elif name == "Anonymous:" and of_model:
            copied += int(values[0]) * 1024
        elif name == "Private_Dirty:" and not of_model:
            elsewhere += int(values[0]) * 1024
    return copied, elsewhere


def test_workers_share_one_copy_of_the_model(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    n_users, n_items, d = 300_000, 1000, 64
    user_factors = rng.standard_normal((n_users, d), dtype=np.float32)
    ids = Ids.from_texts([f"user-{u:07d}" for u in range(n_users)])
    interactions = Interactions(
        user_ids=ids,
        item_ids=Ids.from_texts([f"i{i:04d}" for i in range(n_items)]),
        indptr=np.arange(n_users + 1),
        item_indices=(np.arange(n_users) % n_items).astype(np.int32),
        weights=np.ones(n_users, dtype=np.float32),
    )
    factors = Factors(
        user_factors=user_factors,
        item_factors=rng.standard_normal((n_items, d), dtype=np.float32),
        user_biases=np.zeros(n_users, dtype=np.float32),
        item_biases=np.zeros(n_items, dtype=np.float32),
        epochs=1,
        train_loss=0.5,
    )
    artifact.save(
        tmp_path / "model", interactions=interactions, factors=factors, algorithm="als", hyperparameters={}, metrics={}
    )
    body = "\n".join(f"{ids[u]},1" for u in range(0, n_users, 1000)).encode()
    with running(tmp_path, MODEL_SERVER_WORKERS="2") as server:
        wait_until(lambda: len(server.workers()) == 2)
        for _ in range(8):
            assert server.ask(body, Content_Type="text/csv")[0] == 200
        for pid in server.workers():
            copied, elsewhere = private_bytes(pid)
            assert copied == 0
            # The factors alone are 77 MB, the ids and their look-up another 5.
            assert elsewhere < user_factors.nbytes
