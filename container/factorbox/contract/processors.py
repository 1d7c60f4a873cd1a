"""How many processors this process may really use."""

from __future__ import annotations

import math
import os
from pathlib import Path


def usable_processors(*, cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the processors of this process: its CPU affinity, or less where a control group has a quota.

    Parameters
    ----------
    cgroup
        Where the container's own control group is mounted, version 2 (`cpu.max`) or 1 (`cpu/cpu.cfs_quota_us`).

    Notes
    -----
    A quota is rounded up: with 1.5 processors two workers keep both busy, one would leave a third idle.
    """
    affinity = len(os.sched_getaffinity(0))
    quota = _quota(cgroup)
    return affinity if quota is None else max(1, min(affinity, math.ceil(quota)))


def _quota(cgroup: Path) -> float | None:
    """Return the processors that the control group grants, None where it sets no limit."""
    if fields := _words(cgroup / "cpu.max"):
        granted, *period = fields
    else:
        granted, *period = [
            word for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us") for word in _words(cgroup / "cpu" / name)
        ] or ["max"]
    # Version 2 writes "max" and version 1 writes -1 for "no limit".
    if not granted.isdecimal() or len(period) != 1 or not period[0].isdecimal() or int(period[0]) == 0:
        return None
    return int(granted) / int(period[0])


def _words(file: Path) -> list[str]:
    """Return the words of a small file, none where it does not exist or may not be read."""
    try:
        return file.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError):
        return []
