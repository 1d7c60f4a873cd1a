"""Giving memory back that this process no longer uses."""

from __future__ import annotations

import ctypes

import pyarrow as pa


def release_unused_memory() -> None:
    """Return free memory to the system, which allocators keep for later: between phases that is as much as the data."""
    pa.default_memory_pool().release_unused()
    # The C library of other systems than Linux, and some of Linux, have no such function.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
