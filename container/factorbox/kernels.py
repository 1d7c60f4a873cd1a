"""Compiled inner loops: one decorator, the processor they are compiled for, and where the code is kept.

numba keeps machine code in the `__pycache__` beside the source. Three things differ here, all so that a
container never compiles when it starts:

* Code is made for a level of x86-64 instead of the very processor at hand, so that what an image carries fits
  every processor of that level. Where no level fits, numba compiles for the processor itself.
* The cache is read from folders that cannot be written, too. What cannot be saved stays in memory.
* One stamp covers every file with kernels, since numba inlines a kernel into its callers in other files.

Kernels have no annotations: numba infers the types from the arguments of each call and looks at no others, and one
kernel may be called with several. That is what `type: ignore[no-untyped-def]` stands for beside each;
`untyped-decorator` is numba's own `intrinsic`, which has no annotations.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, InTreeCacheLocator
from numba.core.dispatcher import Dispatcher
from numba.core.registry import cpu_target

_V2_FLAGS = frozenset(("cx16", "lahf_lm", "pni", "popcnt", "sse4_1", "sse4_2", "ssse3"))
_V3_FLAGS = _V2_FLAGS | {"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"}
TARGETS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "x86-64-v4": _V3_FLAGS | {"avx512bw", "avx512cd", "avx512dq", "avx512f", "avx512vl"},
        "x86-64-v3": _V3_FLAGS,
    }
)
"""The levels that kernels are compiled for, best first, and the processor flags that each needs.

The flags are named as Linux prints them in /proc/cpuinfo (`abm` is lzcnt, `pni` is SSE 3).
"""

_config: Any = numba.config


def fitting_target(cpuinfo: str) -> str | None:
    """Return the best of `TARGETS` that a processor can run, given the text of its /proc/cpuinfo."""
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    flags = next((value.split() for name, _, value in lines if name.strip() == "flags"), [])
    return next((target for target, needed in TARGETS.items() if needed.issubset(flags)), None)


def _choose_target() -> None:
    """Fix the target before numba makes its code generator, which happens with the first kernel.

    NUMBA_CPU_NAME, which numba itself reads, goes first.
    """
    if _config.CPU_NAME is None:
        try:
            cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        except OSError:
            # Not Linux: the processor itself is the target.
            return
        _config.CPU_NAME = fitting_target(cpuinfo)
    if _config.CPU_NAME in TARGETS:
        # Those of the level alone; numba would add what the processor at hand has beyond it.
        _config.CPU_FEATURES = ""


_choose_target()


@lru_cache(maxsize=1)
def _package_stamp() -> str:
    """Digest of every source file of this package that holds kernels, or intrinsics that they are made of."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        source = path.read_bytes()
        if b"@kernel(" in source or b"@intrinsic" in source:
            digest.update(source)
    return digest.hexdigest()


class _Locator(InTreeCacheLocator):
    """The `__pycache__` beside the source, whether or not it can be written."""

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> _Locator:
        return cls(py_func, py_file)

    def get_source_stamp(self) -> tuple[bytes, str]:
        return super().get_source_stamp(), _package_stamp()  # type: ignore[no-untyped-call]


class _CacheImpl(CompileResultCacheImpl):
    _locator_classes = [_Locator]  # noqa: RUF012 (numba declares a list)


class _Cache(FunctionCache):
    """numba's cache of one function, for folders that may be unreadable, incomplete or read-only."""

    _impl_class = _CacheImpl

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        except OSError:
            # Somebody else's folder, or one that vanished: the same as an empty one.
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
        except OSError:
            # A read-only or full disk costs the next process a compilation, and this one nothing.
            return

    def argument_types(self) -> list[tuple[Any, ...]]:
        """Return the argument types that were compiled for any target, from the index on disk."""
        index = self._cache_file._load_index()  # type: ignore[no-untyped-call]
        return list(dict.fromkeys(types for types, _, _ in index))


def kernel(*, reassociate: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile a function of a module with numba, without the GIL and with its machine code kept on disk.

    No kernel is parallel by itself: threads are given ranges of rows (`factorbox.threads`), so that results
    do not depend on their number, and a process may fork after kernels have run. Constants and kernels that a
    kernel uses must stand in a file with kernels: a change to them elsewhere would go unseen. Kernels carry no
    annotations: numba infers their types from the call, and compiles one version for each.

    Parameters
    ----------
    reassociate
        Let the compiler reorder and fuse floating-point sums, which vectorizes dot products; the result then
        depends on the processor type (never on the number of threads).
    """
    fastmath = {"reassoc", "contract", "nsz", "arcp"} if reassociate else False
    compiled = numba.njit(nogil=True, fastmath=fastmath, error_model="numpy")

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        dispatcher: Any = compiled(function)
        # `cache=True` would look for a writable folder, and fail where there is none.
        dispatcher._cache = _Cache(function)  # type: ignore[no-untyped-call]
        return dispatcher  # type: ignore[no-any-return]

    return decorate


def imported_kernels() -> Iterator[Any]:
    """Yield the kernels of every module of this package that has been imported."""
    package = __name__.partition(".")[0]
    for name, module in sorted(sys.modules.items()):
        if name.startswith(f"{package}."):
            own = (value for value in vars(module).values() if isinstance(value, Dispatcher))
            yield from (value for value in own if value.py_func.__module__ == name)


def compile_for_this_target(kernels: Iterable[Any]) -> None:
    """Compile kernels for this process's target, for all the argument types on disk, without running them.

    The argument types are those that the kernels have been called with in this folder, under any target, so
    that a machine can prepare code that its own processor could not run.
    """
    for dispatcher in kernels:
        for types in dispatcher._cache.argument_types():
            dispatcher.compile(types)


def never_called(kernels: Iterable[Any]) -> list[str]:
    """Name the kernels whose argument types are known neither in this process nor on disk."""
    return [
        dispatcher.py_func.__name__
        for dispatcher in kernels
        if not (dispatcher.signatures or dispatcher._cache.argument_types())
    ]


def target() -> str:
    """Return what this process compiles for: one of `TARGETS`, or the name of its processor."""
    _, name, _ = cpu_target.target_context.codegen().magic_tuple()
    return str(name)


def summary() -> str:
    """Say what kernels run on and how many had to be compiled in this process, as a line for the log."""
    stats = [dispatcher.stats for dispatcher in imported_kernels()]
    compiled = sum(sum(s.cache_misses.values()) for s in stats)
    loaded = sum(sum(s.cache_hits.values()) for s in stats)
    return f"kernels={target()}; compiled={compiled}; loaded={loaded};"
