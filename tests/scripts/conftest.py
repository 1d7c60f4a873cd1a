"""The scripts and modules of local_test, and stand-ins for the programs that they call."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(CHECKOUT / "local_test"))


@pytest.fixture
def checkout() -> Path:
    return CHECKOUT


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Put programs first on PATH; each writes its arguments into the file that is returned, then runs `body`."""
    programs, calls = tmp_path / "bin", tmp_path / "calls"
    programs.mkdir()
    calls.touch()
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")

    def make(name: str, body: str = "") -> Path:
        program = programs / name
        program.write_text(f'#!/bin/sh\necho "{name} $*" >>"{calls}"\n{body}\n')
        program.chmod(0o755)
        return calls

    return make
