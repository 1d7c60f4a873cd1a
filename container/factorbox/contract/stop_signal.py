"""SIGTERM and SIGINT as a question that work asks between blocks."""

from __future__ import annotations

import logging
import signal
import threading
from types import FrameType


class StopSignal:
    """Remembers that the job was told to stop.

    As process 1 a program gets no default SIGTERM action from the kernel: without this handler a stopped job would
    go on until SIGKILL, 120 seconds later, and lose its model.
    """

    def __init__(self) -> None:
        self._told = threading.Event()

    def install(self) -> None:
        """Catch SIGTERM and SIGINT in this process (main thread only)."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._remember)

    def is_set(self) -> bool:
        """Whether the job was told to stop."""
        return self._told.is_set()

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if not self._told.is_set():
            logging.getLogger(__name__).info(
                "%s: stopping as soon as a model can be saved", signal.Signals(number).name
            )
        self._told.set()
