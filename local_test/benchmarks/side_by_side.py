"""Timing several things in turn in one process, so that what else the machine does falls on all of them alike."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

_QUIET_SHARE = 0.06
"""A run counts as quiet where other processes used at most this share of the processors."""


@dataclass(frozen=True)
class Timed:
    """The runs of one thing.

    Attributes
    ----------
    seconds
        Wall time of each run.
    others
        Share of the machine's processors that other processes used during each run.
    """

    seconds: tuple[float, ...]
    others: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median seconds."""
        return statistics.median(self.seconds)

    @property
    def quiet(self) -> int:
        """Runs during which the rest of the machine was quiet."""
        return sum(share <= _QUIET_SHARE for share in self.others)

    def __str__(self) -> str:
        return (
            f"{self.median:.4g} s ({min(self.seconds):.4g} to {max(self.seconds):.4g};"
            f" {self.quiet} of {len(self.seconds)} runs quiet)"
        )


def in_turn(named: Mapping[str, Callable[[], object]], *, runs: int, warm_ups: int = 1) -> dict[str, Timed]:
    """Call each function in turn, `runs` times over, and return its times.

    Parameters
    ----------
    named
        What to time; each call does the whole work anew.
    runs
        Timed rounds. The order is turned round from one to the next.
    warm_ups
        Rounds before those, which are not timed: nothing that is compared pays for compilation or first use.
    """
    for _ in range(warm_ups):
        for function in named.values():
            function()
    seconds: dict[str, list[float]] = {name: [] for name in named}
    others: dict[str, list[float]] = {name: [] for name in named}
    for number in range(runs):
        order = list(named) if number % 2 == 0 else list(named)[::-1]
        for name in order:
            busy, own, started = _busy_seconds(), _own_seconds(), time.perf_counter()
            named[name]()
            took = time.perf_counter() - started
            used_by_others = (_busy_seconds() - busy) - (_own_seconds() - own)
            seconds[name].append(took)
            others[name].append(max(0.0, used_by_others) / (took * (os.cpu_count() or 1)))
    return {name: Timed(tuple(seconds[name]), tuple(others[name])) for name in named}


def ratio(slower: Timed, faster: Timed) -> float:
    """Return how many times faster the one is, as the median over the rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(slower.seconds, faster.seconds, strict=True))


def machine() -> str:
    """Name the machine for a table: processor, cores, memory."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    model = next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")), "?")
    flags = next((line.split() for line in text.splitlines() if line.startswith("flags")), [])
    vectors = next((name for name in ("avx512_bf16", "avx512f", "avx2") if name in flags), "no avx2")
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    return f"{cores} processors ({model}, {vectors}), {gib:.0f} GiB, Linux {platform.release().split('-')[0]}"


def _busy_seconds() -> float:
    """Seconds that all processors together have worked since the machine started."""
    fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq, *_ = (int(field) for field in fields)
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    """Processor seconds of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
