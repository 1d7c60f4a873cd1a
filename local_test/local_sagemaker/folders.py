"""Folders that containers write or must not write."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

_WRITE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


def make_read_only(folder: Path) -> None:
    """Take the permission to write from a folder and everything in it; links are left alone."""
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            path.chmod(stat.S_IMODE(path.stat().st_mode) & ~_WRITE)


def remove_tree(folder: Path) -> None:
    """Remove a folder and everything in it, read-only or not; one that is gone is no error."""
    for parent, names, _ in os.walk(folder):
        for path in (Path(parent, name) for name in ("", *names)):
            if not path.is_symlink():
                path.chmod(stat.S_IMODE(path.stat().st_mode) | stat.S_IRWXU)
    if folder.exists():
        shutil.rmtree(folder)
