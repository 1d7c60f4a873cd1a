"""SIGTERM and SIGINT as a question that work asks between blocks."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class JobStopped(BaseException):
    """The job was told to stop while there was nothing to save.

    Not an `Exception`, so that no handler between the work and the command takes it for a failure of the work.
    """


class StopSignal:
    """Remembers that the job was told to stop.

    As process 1 a program gets no default SIGTERM action from the kernel: without this handler a stopped job would
    go on until SIGKILL, 120 seconds later, and lose its model.
    """

    def __init__(self) -> None:
        self._told = threading.Event()
        self._nothing_to_save = False

    def install(self) -> None:
        """Catch SIGTERM and SIGINT in this process (main thread only)."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._remember)

    def is_set(self) -> bool:
        """Whether the job was told to stop."""
        return self._told.is_set()

    @contextmanager
    def ends_at_once(self) -> Iterator[None]:
        """Within this block a signal raises `JobStopped` in the main thread: there is no model to wait for."""
        self._nothing_to_save = True
        try:
            if self.is_set():
                raise JobStopped
            yield
            # What is raised while a compiler calls back is printed and lost.
            if self.is_set():
                raise JobStopped
        finally:
            self._nothing_to_save = False

    def _remember(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        first = not self._told.is_set()
        self._told.set()
        if self._nothing_to_save:
            self._nothing_to_save = False
            raise JobStopped
        if first:
            logging.getLogger(__name__).info("%s: ending once one epoch is complete and its model is saved", name)
