from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local_sagemaker.model_client import AbortedError, InvocationError, ModelClient, Retries
from local_sagemaker.splitting import Payload
from transform_support import Answer, Application, Request, echo, serving


class Driven:
    def __init__(self, client: ModelClient, remarks: list[str]) -> None:
        self.client = client
        self.remarks = remarks

    def invoke(self, content: bytes = b"x") -> bytes:
        with self.client.invoke(Payload(content), headers={}).body as body:
            return body.read()


@contextmanager
def driven(
    application: Application, *, folder: Path, timeout: float = 20, retries: int = 3, exit_code: int | None = None
) -> Iterator[Driven]:
    remarks: list[str] = []
    with serving(application) as address:
        client = ModelClient(
            address,
            timeout=timeout,
            retries=Retries(most=retries, pause_seconds=0.01),
            spool=folder,
            exit_code=lambda: exit_code,
            on_retry=remarks.append,
        )
        try:
            yield Driven(client, remarks)
        finally:
            client.close()


def answering(*answers: Answer) -> tuple[Application, list[Request]]:
    """An application that gives one answer after another, the last for ever."""
    left, seen = list(answers), []

    def application(request: Request) -> Answer:
        seen.append(request)
        return left.pop(0) if len(left) > 1 else left[0]

    return application, seen


@pytest.mark.parametrize("failure", [(500, b"oops"), (503, b"busy"), None])
def test_a_server_error_and_a_lost_connection_are_tried_again(failure: Answer, tmp_path: Path) -> None:
    application, seen = answering(failure, failure, (200, b"ok"))
    with driven(application, folder=tmp_path) as here:
        assert here.invoke() == b"ok"
        assert len(seen) == 3
        assert len(here.remarks) == 2
        assert "Attempt 1 of 4 failed" in here.remarks[0]


def test_what_stays_wrong_is_told_with_status_and_content(tmp_path: Path) -> None:
    application, seen = answering((500, b"out of \xe2\x82\xac"))
    with driven(application, folder=tmp_path, retries=2) as here, pytest.raises(InvocationError) as error:
        here.invoke()
    assert (error.value.status, error.value.message, len(seen)) == (500, "out of €", 3)


@pytest.mark.parametrize("status", [400, 413, 415, 302])
def test_a_refusal_is_not_tried_again(status: int, tmp_path: Path) -> None:
    application, seen = answering((status, b"record 3: no"))
    with driven(application, folder=tmp_path) as here, pytest.raises(InvocationError) as error:
        here.invoke()
    assert (error.value.status, error.value.message, len(seen)) == (status, "record 3: no", 1)


def test_a_timeout_is_tried_again_and_told(tmp_path: Path) -> None:
    over, seen = threading.Event(), []

    def application(request: Request) -> Answer:
        seen.append(request)
        over.wait(20)
        return 200, b"late"

    with driven(application, folder=tmp_path, timeout=0.2, retries=1) as here:
        with pytest.raises(InvocationError, match=r"no answer within 0.2 seconds") as error:
            here.invoke()
        over.set()
    assert (error.value.status, len(seen)) == (None, 2)


def test_a_dead_container_is_not_asked_again(tmp_path: Path) -> None:
    application, seen = answering(None)
    ended = pytest.raises(InvocationError, match="has ended with exit code 137")
    with driven(application, folder=tmp_path, exit_code=137) as here, ended:
        here.invoke()
    assert len(seen) == 1


def test_a_connection_that_the_server_closed_while_idle_is_no_attempt(tmp_path: Path) -> None:
    application, seen = answering((200, b"one"), None, (200, b"two"))
    with driven(application, folder=tmp_path, retries=0) as here:
        assert here.invoke() == b"one"
        assert here.invoke() == b"two"
    assert len(seen) == 3


def test_an_answer_without_content_is_a_success(tmp_path: Path) -> None:
    with driven(lambda _request: (204, b""), folder=tmp_path) as here:
        assert here.invoke() == b""


def test_a_payload_is_sent_whole_again(tmp_path: Path) -> None:
    application, seen = answering((500, b""), (200, b""))
    source = tmp_path / "object"
    source.write_bytes(b"abc" * 1_000_000)
    with driven(application, folder=tmp_path) as here:
        payload = Payload(lambda: source.open("rb"), chunked=True)
        here.client.invoke(payload, headers={}).body.close()
    assert [request.body for request in seen] == [b"abc" * 1_000_000] * 2
    assert all(request.chunked for request in seen)


def test_pings_go_on_until_one_is_answered_by_200(tmp_path: Path) -> None:
    application, seen = answering((503, b""), None, (404, b""), (200, b""))
    with driven(application, folder=tmp_path) as here:
        assert here.client.wait_until_healthy(20)
    assert [request.path for request in seen] == ["/ping"] * 4


def test_pings_end_with_the_window_or_with_the_container(tmp_path: Path) -> None:
    application, _ = answering((503, b""))
    with driven(application, folder=tmp_path) as here:
        assert not here.client.wait_until_healthy(0.2)
    with driven(application, folder=tmp_path, exit_code=1) as here:
        assert not here.client.wait_until_healthy(1000)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((200, b'{"MaxPayloadInMB": 3}'), {"MaxPayloadInMB": 3}),
        ((200, b"[]"), {}),
        ((200, b"<html>"), {}),
        ((404, b'{"MaxPayloadInMB": 3}'), {}),
        (None, {}),
    ],
)
def test_execution_parameters_are_an_object_or_nothing(
    answer: Answer, expected: dict[str, int], tmp_path: Path
) -> None:
    with driven(lambda _request: answer, folder=tmp_path) as here:
        assert here.client.execution_parameters() == expected


def test_abort_ends_requests_under_way_and_refuses_new_ones(tmp_path: Path) -> None:
    begun, over = threading.Event(), threading.Event()

    def application(request: Request) -> Answer:
        begun.set()
        over.wait(20)
        return echo(request)

    with driven(application, folder=tmp_path) as here:

        def abort() -> None:
            assert begun.wait(20)
            here.client.abort()

        thread = threading.Thread(target=abort)
        thread.start()
        with pytest.raises(AbortedError):
            here.invoke()
        thread.join()
        over.set()
        with pytest.raises(AbortedError):
            here.invoke()
        with pytest.raises(AbortedError):
            here.client.wait_until_healthy(20)
