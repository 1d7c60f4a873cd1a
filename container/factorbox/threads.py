"""Threads that work on fixed blocks, so that a result does not depend on how many there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch

Block = TypeVar("Block")
Result = TypeVar("Result")

Run = Callable[[Callable[[int], Any], Iterable[int]], Iterable[Any]]
"""How blocks are worked off, each named by where it begins: `map`, or `Threads.map`."""


class Threads:
    """A pool whose threads run torch products single-threaded and release the GIL in kernels.

    Parallelism comes from the blocks alone: the same blocks give the same bits on one thread or sixty.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool = ThreadPoolExecutor(
            count, thread_name_prefix="factorbox", initializer=torch.set_num_threads, initargs=(1,)
        )

    def map(self, function: Callable[[Block], Result], blocks: Iterable[Block]) -> list[Result]:
        """Apply a function to each block; results in the order of the blocks."""
        return list(self._pool.map(function, blocks))

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait for the threads to end."""
        self._pool.shutdown(wait=True, cancel_futures=True)
