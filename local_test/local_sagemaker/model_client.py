"""Drives one container: pings it, asks how it wants to be driven, and sends it requests."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_sagemaker.http_connection import Connection, DisconnectedError, Response
from local_sagemaker.splitting import Payload

_PING_SECONDS = 2.0
# A container may need minutes to load its model, or a tenth of a second.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_LONGEST_MESSAGE = 16 * 1024


class AbortedError(Exception):
    """The client was told to end."""


class InvocationError(Exception):
    """A request failed for good.

    Parameters
    ----------
    status
        The status of the last answer; ``None`` where there was none.
    message
        The content of that answer, or what kept it from coming.
    """

    def __init__(self, status: int | None, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True)
class Retries:
    """When a request is sent again: after a timeout, a lost connection or a 5xx, and never after a 4xx.

    Attributes
    ----------
    most
        ``InvocationsMaxRetries``.
    pause_seconds
        The pause before the first; it doubles with each.
    """

    most: int = 3
    pause_seconds: float = 0.5


class ModelClient:
    """Requests to one container, from any number of threads; each has a connection of its own that is kept alive.

    Parameters
    ----------
    address
        Where the container answers.
    timeout
        ``InvocationsTimeoutInSeconds``: for one attempt.
    retries
        When to try again.
    spool
        The folder for large answers.
    exit_code
        Tells whether the container has ended: a request is not sent to a dead one again.
    on_retry
        Called with what went wrong before an attempt is repeated.
    """

    def __init__(
        self,
        address: tuple[str, int],
        *,
        timeout: float,
        retries: Retries,
        spool: Path,
        exit_code: Callable[[], int | None],
        on_retry: Callable[[str], None],
    ) -> None:
        self._address = address
        self._timeout = timeout
        self._retries = retries
        self._spool = spool
        self._exit_code = exit_code
        self._on_retry = on_retry
        self._idle: deque[Connection] = deque()
        self._open: set[Connection] = set()
        self._lock = threading.Lock()
        self._aborted = threading.Event()

    def wait_until_healthy(self, window_seconds: float) -> bool:
        """Ping until the container answers 200, and return whether it did before it ended or the window closed.

        Raises
        ------
        AbortedError
            Where the client was told to end.
        """
        end = time.monotonic() + window_seconds
        pause = _FIRST_PAUSE
        while True:
            response = self._ask("/ping")
            if response is not None and response.status == 200:
                return True
            if self._exit_code() is not None or time.monotonic() + pause > end:
                return False
            self._pause(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def execution_parameters(self) -> Mapping[str, Any]:
        """Return the container's answer to ``/execution-parameters``; empty where it has none."""
        response = self._ask("/execution-parameters")
        if response is None or response.status != 200:
            return {}
        try:
            answer = json.loads(response.body.read())
        except ValueError:
            return {}
        return answer if isinstance(answer, dict) else {}

    def invoke(self, payload: Payload, *, headers: Mapping[str, str]) -> Response:
        """Send a payload to ``/invocations`` and return the answer, which is a success.

        Raises
        ------
        InvocationError
            Where the last attempt has failed.
        AbortedError
            Where the client was told to end.
        """
        retries = 0
        while True:
            error = self._attempt(payload, headers)
            if isinstance(error, Response):
                return error
            self._check_aborted()
            if (code := self._exit_code()) is not None:
                raise InvocationError(None, f"the container has ended with exit code {code}")
            if retries >= self._retries.most or (error.status is not None and error.status < 500):
                raise error
            self._on_retry(_described(error, attempt=retries + 1, attempts=self._retries.most + 1))
            self._pause(self._retries.pause_seconds * 2**retries)
            retries += 1

    def abort(self) -> None:
        """End every request under way and refuse new ones."""
        self._aborted.set()
        with self._lock:
            for connection in self._open:
                connection.abort()

    def close(self) -> None:
        """Close the connections; no request is under way any more."""
        with self._lock:
            for connection in self._open:
                connection.close()
            self._open.clear()
            self._idle.clear()

    def _attempt(self, payload: Payload, headers: Mapping[str, str]) -> Response | InvocationError:
        try:
            response = self._post(payload, headers)
        except TimeoutError:
            return InvocationError(None, f"no answer within {self._timeout:g} seconds")
        except OSError as error:
            return InvocationError(None, str(error))
        if 200 <= response.status < 300:
            return response
        with response.body as body:
            return InvocationError(response.status, body.read(_LONGEST_MESSAGE).decode("utf-8", "replace"))

    def _post(self, payload: Payload, headers: Mapping[str, str]) -> Response:
        while True:
            connection = self._connection()
            try:
                response = connection.request("POST", "/invocations", headers=headers, body=payload.body())
            except DisconnectedError as error:
                self._drop(connection)
                # Not an attempt: the server had closed a connection that was waiting for its next request.
                if error.idle and not self._aborted.is_set() and self._exit_code() is None:
                    continue
                raise
            except BaseException:
                self._drop(connection)
                raise
            if connection.reusable:
                self._idle.append(connection)
            else:
                self._drop(connection)
            return response

    def _connection(self) -> Connection:
        self._check_aborted()
        try:
            return self._idle.pop()
        except IndexError:
            connection = Connection(self._address, timeout=self._timeout, spool=self._spool)
        with self._lock:
            self._open.add(connection)
        if self._aborted.is_set():
            self._drop(connection)
            raise AbortedError
        return connection

    def _drop(self, connection: Connection) -> None:
        with self._lock:
            self._open.discard(connection)
        connection.close()

    def _ask(self, path: str) -> Response | None:
        """GET with a connection of its own; ``None`` where nothing answers."""
        self._check_aborted()
        try:
            connection = Connection(self._address, timeout=_PING_SECONDS, spool=self._spool)
        except OSError:
            return None
        try:
            return connection.request("GET", path, headers={})
        except OSError:
            return None
        finally:
            connection.close()

    def _pause(self, seconds: float) -> None:
        if self._aborted.wait(seconds):
            raise AbortedError

    def _check_aborted(self) -> None:
        if self._aborted.is_set():
            raise AbortedError


def _described(error: InvocationError, *, attempt: int, attempts: int) -> str:
    what = f"status {error.status}" if error.status is not None else error.message
    return f"Attempt {attempt} of {attempts} failed ({what}); the request is sent again"
