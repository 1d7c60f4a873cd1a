"""The server: gunicorn over the Flask application, one process a processor.

The master binds the port, loads the model and forks; it never runs a product, because a product before a fork makes
every product after it hang. Each worker makes its first product itself and only then accepts requests.
"""

from __future__ import annotations

import gc
import logging
import os
import socket
import struct
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from factorbox import kernels
from factorbox.contract.log_lines import configure_logging, line
from factorbox.contract.paths import Paths
from factorbox.contract.processors import usable_processors
from factorbox.errors import FactorboxError, PlatformError
from factorbox.recommender import Recommender
from factorbox.serving.app import create_app
from factorbox.serving.invocations import Recommends
from factorbox.serving.settings import Settings, settings_from

# SageMaker sends SIGKILL 30 seconds after SIGTERM.
DRAIN_SECONDS = 25
# Longer than a client pauses between two requests: a connection that closes meanwhile costs it an error.
KEEP_ALIVE_SECONDS = 75
# Seconds that a client may pause within a request: the thread that waits for it is wanted by others.
STALL_SECONDS = 60
# Threads of a worker: all requests of a transform job may reach the same one, and /ping wants one even beside clients
# that stall. They cost little: the work is done by one processor however many there are.
MIN_THREADS = 16
BACKLOG = 2048

_logger = logging.getLogger(__name__)


def main() -> int:
    """Serve the model until SIGTERM or SIGINT; the exit status is 0 after an orderly end."""
    configure_logging()
    try:
        settings = settings_from(os.environ)
        heartbeats = writable_folder()
        with _port_errors(settings.port):
            listener = bind(settings.port)
        recommender = Recommender.load(Paths.from_environment().model)
        with _port_errors(settings.port):
            listener.listen(BACKLOG)
    except FactorboxError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    workers = settings.workers or usable_processors()
    server = Server(recommender, settings=settings, workers=workers, listener=listener, heartbeats=heartbeats)
    _logger.info(
        line(
            port=settings.port,
            workers=workers,
            threads=server.cfg.threads,
            users=len(recommender.user_ids),
            items=len(recommender.item_ids),
        )
    )
    # What is loaded stays until the end: the workers share its memory only while no collector writes into it.
    gc.collect()
    gc.freeze()
    server.run()
    return 0


class Server(BaseApplication):  # type: ignore[misc]
    """gunicorn, configured here and nowhere else.

    Parameters
    ----------
    recommender
        The loaded model, which the workers share.
    settings
        How to serve.
    workers
        Worker processes.
    listener
        A listening socket.
    heartbeats
        A writable folder, best in memory, for the files by which workers tell that they are alive.
    """

    def __init__(
        self,
        recommender: Recommends,
        *,
        settings: Settings,
        workers: int,
        listener: socket.socket,
        heartbeats: Path,
    ) -> None:
        self._recommender = recommender
        self._settings = settings
        self._workers = workers
        self._listener = listener
        self._heartbeats = heartbeats
        self._ready = threading.Event()
        super().__init__()

    def load_config(self) -> None:
        """Set what differs from gunicorn's defaults."""
        options: dict[str, Any] = {
            "bind": f"fd://{self._listener.detach()}",
            "workers": self._workers,
            "worker_class": "gthread",
            "threads": max(MIN_THREADS, (self._settings.concurrent_transforms or self._workers) + 1),
            "preload_app": True,
            "timeout": self._settings.timeout,
            "graceful_timeout": DRAIN_SECONDS,
            "keepalive": KEEP_ALIVE_SECONDS,
            # The most that gunicorn takes: a search for a thousand characters outside ASCII is a long address.
            "limit_request_line": 8190,
            "worker_tmp_dir": str(self._heartbeats),
            "control_socket_disable": True,
            "loglevel": "warning",
            "proc_name": "factorbox",
            "post_worker_init": self._warm_up,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Make the application; gunicorn calls this once, in the master."""
        return create_app(self._recommender, settings=self._settings, workers=self._workers, ready=self._ready.is_set)

    def run(self) -> None:
        """Serve until a signal ends the master."""
        _Master(self).run()

    def _warm_up(self, worker: Any) -> None:
        """Make the first product of a worker; one that fails ends the server."""
        try:
            self._recommender.warm_up()
        except Exception:
            _logger.exception("a worker cannot answer with this model")
            sys.exit(Arbiter.WORKER_BOOT_ERROR)
        _logger.info(kernels.summary())
        self._ready.set()


class _Master(Arbiter):  # type: ignore[misc]
    """gunicorn's master without what would load the code anew: there is one model and one configuration."""

    def handle_hup(self) -> None:
        """End in order when the terminal closes."""
        self.handle_term()

    def handle_usr2(self) -> None:
        """Start no second master."""


def bind(port: int) -> socket.socket:
    """Take the port without listening on it: nothing connects before the model is loaded.

    Raises
    ------
    OSError
        Where the port cannot be had.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Every accepted connection inherits it; gunicorn's threads would wait for ever.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", STALL_SECONDS, 0))
    try:
        listener.bind(("0.0.0.0", port))
    except OSError:
        listener.close()
        raise
    return listener


@contextmanager
def _port_errors(port: int) -> Iterator[None]:
    """Say what to do about a port that cannot be had."""
    try:
        yield
    except OSError as error:
        raise PlatformError(
            f"port {port} cannot be used ({error.strerror}): end what listens there, or set SAGEMAKER_BIND_TO_PORT"
        ) from error


def writable_folder() -> Path:
    """Return the folder for heartbeat files: in memory, because a slow disk would make workers look dead.

    Raises
    ------
    PlatformError
        Where there is none.
    """
    shared_memory = Path("/dev/shm")
    if os.access(shared_memory, os.W_OK | os.X_OK):
        return shared_memory
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:
        raise PlatformError(
            "neither /dev/shm nor a folder for temporary files is writable: mount one, or set TMPDIR"
        ) from None
