"""How much memory this container may use, and how much it uses."""

from __future__ import annotations

from pathlib import Path

_CGROUP_LIMITS = ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory_limit(root: Path = Path("/")) -> int:
    """Return the bytes that the container may use: the smaller of its cgroup's limit and the machine's memory."""
    limits = [_meminfo(root)["MemTotal"]]
    for name in _CGROUP_LIMITS:
        try:
            text = (root / name).read_text().strip()
        except OSError:
            continue  # The other version of cgroups, or none.
        if text.isdigit():
            limits.append(int(text))
    return min(limits)


def memory_in_use(root: Path = Path("/")) -> int:
    """Return the resident bytes of this process."""
    for entry in (root / "proc/self/status").read_text().splitlines():
        if entry.startswith("VmRSS:"):
            return int(entry.split()[1]) * 1024
    raise ValueError("/proc/self/status has no VmRSS")


def _meminfo(root: Path) -> dict[str, int]:
    entries = (entry.split() for entry in (root / "proc/meminfo").read_text().splitlines())
    return {parts[0].rstrip(":"): int(parts[1]) * 1024 for parts in entries}
