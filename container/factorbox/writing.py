"""Writing results whole or not at all, and saying what to do where the disk will not have them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from factorbox.errors import PlatformError

_PARTIAL = ".partial-"


@contextmanager
def partial_folder(folder: Path) -> Iterator[Path]:
    """Make a folder of this process's own inside `folder`, and remove it, with those of processes that were killed."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{_PARTIAL}*"):
        if not _is_alive(left.name.removeprefix(_PARTIAL)):
            shutil.rmtree(left)
    partial = folder / f"{_PARTIAL}{os.getpid()}"
    partial.mkdir()
    try:
        yield partial
    finally:
        shutil.rmtree(partial)


def _is_alive(process: str) -> bool:
    """Whether another process has this number; in a container the one that was killed had ours."""
    return process != str(os.getpid()) and Path("/proc", process).exists()


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn an error of the file system into one sentence about `folder` with its remedy.

    Raises
    ------
    PlatformError
        In the place of an `OSError`, or of safetensors' own.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        full = "No space left" in str(error) or "quota" in str(error)
        space, access = "free disk space (VolumeSizeInGB in SageMaker)", "make it a folder that this user may write"
        reason = getattr(error, "strerror", None) or ("the disk is full" if full else "it could not be written")
        raise PlatformError(f"cannot write to {folder}: {reason}; {space if full else access}") from error
