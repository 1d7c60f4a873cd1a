"""Compiled inner loops: one decorator, and where their machine code comes from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def kernel(*, reassociate: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile a function with numba, without the GIL and with its machine code kept on disk.

    No kernel is parallel by itself: threads are given ranges of rows (`factorbox.threads`), so that results do
    not depend on their number, and a process may fork after kernels have run.

    Parameters
    ----------
    reassociate
        Let the compiler reorder and fuse floating-point sums, which vectorizes dot products; the result then
        depends on the processor type (never on the number of threads).
    """
    fastmath = {"reassoc", "contract", "nsz", "arcp"} if reassociate else False
    return numba.njit(nogil=True, cache=True, fastmath=fastmath, error_model="numpy")  # type: ignore[no-any-return]
